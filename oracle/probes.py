"""Fits scikit-learn's logistic regression on features of `plasticity analyze probes`, to compare package analyze/probe with.

    python probes.py FEATURES.safetensors GRID OUT.json

GRID is the list of C as JSON. OUT.json gets, for each layer of the file, the C with the highest accuracy on the texts to choose by,
the first of equal ones, and the accuracies there and on the test texts, and the same of every C.
cmd/plasticity-worker/analyzeprobes_test.go writes the one and reads the other.
"""

import json
import struct
import sys

import numpy
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def read(path):
    """The tensors of a safetensors file of float32."""
    with open(path, "rb") as file:
        blob = file.read()
    (size,) = struct.unpack("<Q", blob[:8])
    tensors = {}
    for name, entry in json.loads(blob[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = numpy.frombuffer(blob[8 + size + begin : 8 + size + end], "<f4")
            tensors[name] = values.reshape(entry["shape"]).astype(numpy.float64)
    return tensors


def main() -> None:
    tensors, grid = read(sys.argv[1]), json.loads(sys.argv[2])
    labels = {split: tensors[f"labels.{split}"][:, 0].astype(int) for split in ("train", "val", "test")}
    layers = {}
    for layer in sorted({name.split(".")[1] for name in tensors if name.startswith("layer.")}):
        x = {split: tensors[f"layer.{layer}.{split}"] for split in labels}
        scaler = StandardScaler().fit(x["train"])
        fits = []
        for c in grid:
            fit = LogisticRegression(C=c, tol=1e-6, max_iter=10000).fit(scaler.transform(x["train"]), labels["train"])
            score = {split: fit.score(scaler.transform(x[split]), labels[split]) for split in labels}
            fits.append({"c": c, **score})
        layers[layer] = {"best": max(fits, key=lambda f: f["val"]), "fits": fits}
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        json.dump({"layers": layers, "scikit-learn": sklearn.__version__}, file)


if __name__ == "__main__":
    main()
