package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// idVersion changes when the same configuration no longer means the same training.
const idVersion = "plasticity-run-1"

// ID returns what a run is, as 16 hexadecimal digits: a hash of everything that decides its numbers, with the digests of
// its data and tokenizer and the id of its parent ("" for none). Name, paths, device, threads, the implementation of the
// step and its kernels, the micro-batch, checkpoints and live metrics stay out, so the same cell has the same id on every machine.
func (r Resolved) ID(d DataFacts, parent string) string {
	var fields bytes.Buffer
	// A buffer takes every write, and the values are plain numbers and text.
	_ = r.writeJSON(&fields, func(f field) bool { return f.identity && !f.idle(&r.Run) })
	var id bytes.Buffer
	_ = json.NewEncoder(&id).Encode([]any{
		idVersion, json.RawMessage(fields.Bytes()), r.Steps, d.TrainDigest, d.ValDigest, d.TokenizerDigest, parent,
	})
	sum := sha256.New()
	_, _ = io.Copy(sum, &id)
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// Diff lists the differences that matter when a run is resumed: the same fields as ID, as
// "optimizer.lr: 0.001 → 0.002" from r to other.
func (r Resolved) Diff(other Resolved) []string {
	var out []string
	for _, f := range newTable() {
		if !f.identity {
			continue
		}
		a, b := r.shown(f), other.shown(f)
		if a != b {
			out = append(out, fmt.Sprintf("%s: %s → %s", f.path, a, b))
		}
	}
	if r.Steps != other.Steps {
		out = append(out, fmt.Sprintf("steps: %d → %d", r.Steps, other.Steps))
	}
	return slices.Clip(out)
}

// shown gives the value of a field in one line.
func (r Resolved) shown(f field) string {
	if f.idle(&r.Run) {
		return "none"
	}
	return canonical(f.value(&r.Run))
}

// canonical writes a value so that equal values are equal text: text as it is, numbers in the shortest form, lists as
// JSON.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.ReplaceAll(string(text), `,"`, `, "`)
}
