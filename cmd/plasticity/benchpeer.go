package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"plasticity/config"
	"plasticity/record"
)

// exists says whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// oraclePython is the Python that tools/get.sh oracle installs for the pinned packages of this source tree; "" when it is
// not there. The folder's name has their hash, as third_party/cache.sh makes it.
func (a *app) oraclePython(root string) string {
	pins, err := os.ReadFile(filepath.Join(root, "third_party", "oracle.txt"))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(pins)
	found, err := filepath.Glob(filepath.Join(a.cacheDir(), "oracle-py*-"+hex.EncodeToString(sum[:])[:12], "bin", "python"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

// peerShape describes a model for oracle/bench.py.
func peerShape(c config.Run, vocab int) (string, error) {
	m := c.Model
	text, err := json.Marshal(map[string]any{
		"name": c.Name, "sequences": c.Batch.Sequences, "context": m.Context,
		"shape": map[string]any{
			"layers": m.Layers, "width": m.Width, "heads": m.Heads, "kv_heads": m.KVHeads, "ffn": m.FFN, "vocab": vocab,
			"rope_theta": m.RopeTheta, "norm_eps": m.NormEps, "family": m.Family,
		},
	})
	if err != nil {
		return "", record.Fail(record.Internal, "describe the model: %w", err)
	}
	return string(text), nil
}

// againstPyTorch is the only program to compare with.
const againstPyTorch = "pytorch"

// oracle finds the Python of the comparisons, and the folder of their programs: beside the program's folder, in the
// source tree.
func (a *app) oracle() (python, scripts string, err error) {
	worker, err := a.workerPath()
	if err != nil {
		return "", "", err
	}
	root := filepath.Dir(filepath.Dir(worker))
	scripts = filepath.Join(root, "oracle")
	if !exists(filepath.Join(scripts, "bench.py")) {
		return "", "", record.Fail(record.Failed, "comparing with PyTorch needs the source tree: build there with make build, then run bin/plasticity bench … --against pytorch")
	}
	if python = a.getenv(config.EnvPrefix + "ORACLE"); python == "" {
		python = a.oraclePython(root)
	}
	if python == "" || !exists(python) {
		return "", "", record.Fail(record.Failed, "comparing with PyTorch needs its Python environment, which is not there: run %s/tools/get.sh oracle once (1.6 GB to fetch), or set PLASTICITY_ORACLE to a Python with torch 2.11, transformers and safetensors", root)
	}
	return python, scripts, nil
}

// againstPyTorch lets oracle/bench.py compare the model of a configuration.
func (a *app) againstPyTorch(ctx context.Context, c config.Run, vocab int, isa string, asJSON bool) error {
	python, scripts, err := a.oracle()
	if err != nil {
		return err
	}
	worker, err := a.workerPath()
	if err != nil {
		return err
	}
	if c.Model.TieEmbeddings {
		return record.Fail(record.Usage, "model.tie_embeddings is true, which the PyTorch side does not know: set it to false for the comparison")
	}
	shape, err := peerShape(c, vocab)
	if err != nil {
		return err
	}
	args := []string{filepath.Join(scripts, "bench.py"), "--worker", worker, "--shape", shape, "--out", ""}
	if c.Threads > 0 {
		args = append(args, "--threads", strconv.Itoa(c.Threads))
	}
	if isa != "" {
		args = append(args, "--isa", isa)
	}
	if asJSON {
		args = append(args, "--json")
	}
	a.say("training %s here and in PyTorch, in turns; compiling PyTorch's modes takes some minutes", c.Name)
	cmd := exec.Command(python, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = a.env, a.out, a.err
	return supervise(ctx, cmd)
}
