package answer_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// agreement is the least share of pairs on which math-verify must judge as we do.
const agreement = 0.98

// With PLASTICITY_ANSWERS=python, a Python that has math-verify, every pair of testdata/pairs.txt is judged by the library as
// well. Each disagreement must have its reason in the file, and each reason its disagreement.
func TestMath_OracleMathVerify(t *testing.T) {
	python := os.Getenv("PLASTICITY_ANSWERS")
	if python == "" {
		t.Skip("PLASTICITY_ANSWERS is not set: make oracle sets it")
	}
	pairs := readPairs(t)
	question := make([][2]string, len(pairs))
	for i, p := range pairs {
		question[i] = [2]string{p.a, p.b}
	}
	input, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd := exec.CommandContext(t.Context(), python, "../../oracle/answers.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &complaint
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &complaint)
	}
	var verdict struct {
		Versions map[string]string `json:"versions"`
		Same     []bool            `json:"same"`
	}
	if err := json.Unmarshal(output, &verdict); err != nil {
		t.Fatal(err)
	}
	if len(verdict.Same) != len(pairs) {
		t.Fatalf("%d verdicts for %d pairs", len(verdict.Same), len(pairs))
	}
	agreed := 0
	for i, p := range pairs {
		switch {
		case verdict.Same[i] == p.same && p.differs == "":
			agreed++
		case verdict.Same[i] == p.same:
			agreed++
			t.Errorf("%s: it judges %s and %s as we do, so drop %q", p.section, p.a, p.b, p.differs)
		case p.differs == "":
			t.Errorf("%s: it says %v of %s and %s, and we have no reason", p.section, verdict.Same[i], p.a, p.b)
		default:
			t.Logf("%s: it says %v of %s and %s: %s", p.section, verdict.Same[i], p.a, p.b, p.differs)
		}
	}
	share := float64(agreed) / float64(len(pairs))
	t.Logf("%v agrees on %d of %d pairs, %.2f %%", verdict.Versions, agreed, len(pairs), 100*share)
	if share < agreement {
		t.Errorf("%.4f is less than %v", share, agreement)
	}
}
