"""Computes the spectra of attention products in full, to compare package analyze/rank with.

    python rank_parity.py SPEC.json OUT.json

SPEC.json lists Hugging Face folders and formulas; OUT.json gets, for each, layer by layer and head by head, the singular values
that numpy finds in the whole D × D products W_QK and W_VP, in float64, and the ranks and the balance by their definitions.
analyze/rank/oracle_test.go writes the one and reads the other.
"""

import json
import pathlib
import sys

import numpy as np
import safetensors.torch


def load(folder):
    """All tensors of a folder as float64, from one file or several."""
    tensors = {}
    for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
        tensors.update(safetensors.torch.load_file(file))
    return {name: t.double().numpy() for name, t in tensors.items()}


def ranks(sigma, formula, size):
    """The measures of the product's singular values, of which size can be other than zero."""
    powers = sigma ** formula["power"]
    reached = np.cumsum(powers) / powers.sum()
    pseudo = float(np.argmax(reached >= formula["threshold"] * (1 - 1e-12)) + 1)
    if formula["normalisation"] == "head_size":
        pseudo /= size
    p = sigma / sigma.sum()
    p = p[p > 0]
    squares = sigma**2
    return {
        "pseudo_rank": pseudo,
        "tolerance_rank": float((sigma > formula["tolerance"] * sigma[0]).sum()),
        "stable_rank": squares.sum() / squares.max(),
        "entropy_rank": np.exp(-(p * np.log(p)).sum()),
        "participation_ratio": squares.sum() ** 2 / (squares**2).sum(),
    }


def measure(a, b, formula):
    """Measures the product of a [D, E] and b [E, D]."""
    sigma = np.linalg.svd(a @ b, compute_uv=False)
    size = a.shape[1]
    # Behind the first E there is rounding only.
    assert sigma[size:].max(initial=0) <= 1e-12 * sigma[0]
    sigma = sigma[:size]
    return {"singular_values": sigma.tolist()} | ranks(sigma, formula, size)


def balance(shared, own):
    """Compares a factor [E, D] that heads share with the factors [E, D] of those heads."""
    difference = np.linalg.norm(shared @ shared.T - sum(f @ f.T for f in own))
    return difference / (np.linalg.norm(shared) ** 2 + sum(np.linalg.norm(f) ** 2 for f in own))


def heads_of(tensors, config, layer, formula):
    """Both products of each query head of a layer."""
    heads = config["num_attention_heads"]
    group = heads // config.get("num_key_value_heads", heads)
    size = config["hidden_size"] // heads
    prefix = f"model.layers.{layer}.self_attn."
    q, k, v, o = (tensors[f"{prefix}{name}_proj.weight"] for name in "qkvo")
    if formula["folded_norms"]:
        q = np.diag(tensors[f"{prefix}q_norm.weight"]) @ q
        k = np.diag(tensors[f"{prefix}k_norm.weight"]) @ k
    rows = [slice(h * size, (h + 1) * size) for h in range(heads)]
    for h in range(heads):
        mine, shared = rows[h], rows[h // group]
        together = rows[h // group * group : (h // group + 1) * group]
        yield {
            "qk": measure(q[mine].T, k[shared], formula) | {"balance": balance(k[shared], [q[r] for r in together])},
            "vp": measure(v[shared].T, o[:, mine].T, formula) | {"balance": balance(v[shared], [o[:, r].T for r in together])},
        }


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        questions = json.load(file)
    answers = []
    for question in questions:
        config = json.loads((pathlib.Path(question["dir"]) / "config.json").read_text(encoding="utf-8"))
        tensors = load(question["dir"])
        answers.append([list(heads_of(tensors, config, layer, question["formula"])) for layer in range(config["num_hidden_layers"])])
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"versions": {"numpy": np.__version__}, "answers": answers}, file)


if __name__ == "__main__":
    main()
