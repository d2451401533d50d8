package rank

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"plasticity/config"
	"plasticity/torch/safetensors"
)

// question and oracleHead are what oracle/rank_parity.py reads and writes.
type question struct {
	Dir     string  `json:"dir"`
	Formula Formula `json:"formula"`
}

type oracleProduct struct {
	SingularValues []float64 `json:"singular_values"`
	PseudoRank     float64   `json:"pseudo_rank"`
	Tolerance      float64   `json:"tolerance_rank"`
	Stable         float64   `json:"stable_rank"`
	Entropy        float64   `json:"entropy_rank"`
	Participation  float64   `json:"participation_ratio"`
	Balance        float64   `json:"balance"`
}

type oracleHead struct {
	QK oracleProduct `json:"qk"`
	VP oracleProduct `json:"vp"`
}

// Singular values and ranks are those that numpy finds in the whole D × D products: both families, plain, grouped and multi-query
// heads, odd head sizes, one head, every type, one file and several, gains folded in or not.
func TestAnalyze_OracleNumpy(t *testing.T) {
	python := os.Getenv("PLASTICITY_ORACLE")
	if python == "" {
		t.Skip("needs numpy and safetensors: make oracle")
	}
	folded := DefaultFormula()
	folded.FoldedNorms = true
	energy := Formula{Power: 2, Threshold: 0.9, Normalisation: ByHeadSize, Tolerance: 0.3}
	var questions []question
	for i, c := range []struct {
		shape   shape
		dtype   safetensors.DType
		shards  int
		formula Formula
	}{
		{shape{config.Llama2, 2, 64, 4, 4, 16, 9}, safetensors.F32, 1, DefaultFormula()},
		{shape{config.Llama2, 2, 96, 6, 2, 16, 9}, safetensors.BF16, 3, energy},
		{shape{config.Llama2, 1, 75, 5, 1, 16, 9}, safetensors.F16, 1, DefaultFormula()},
		{shape{config.Llama2, 1, 24, 1, 1, 16, 9}, safetensors.F32, 1, energy},
		{shape{config.OLMo2, 2, 64, 4, 4, 16, 9}, safetensors.BF16, 2, folded},
		{shape{config.OLMo2, 1, 91, 7, 1, 16, 9}, safetensors.F32, 1, folded},
		{shape{config.OLMo2, 2, 60, 10, 5, 16, 9}, safetensors.F32, 4, energy},
		{shape{config.OLMo2, 1, 12, 12, 3, 16, 9}, safetensors.F32, 1, DefaultFormula()}, // heads of one dimension
	} {
		questions = append(questions, question{writeFolder(t, c.shape.hf(nil), c.shape.tensors(uint64(100+i), c.dtype), c.shards), c.formula})
	}
	products, worst := 0, 0.0
	for i, layers := range askNumpy(t, python, questions) {
		report, _, err := Analyze(context.Background(), Options{Model: questions[i].Dir, Formula: questions[i].Formula, Spectra: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(layers) != len(report.Layers) {
			t.Fatalf("%d layers, numpy has %d", len(report.Layers), len(layers))
		}
		for l, heads := range layers {
			for h, want := range heads {
				worst = max(worst, compareProduct(t, &report.Layers[l].QK, h, &want.QK), compareProduct(t, &report.Layers[l].VP, h, &want.VP))
				products += 2
			}
		}
	}
	t.Logf("%d products of %d models: singular values within %.1e of the largest", products, len(questions), worst)
}

// compareProduct compares a head and returns the largest difference of singular values, relative to the largest.
func compareProduct(t *testing.T, p *Product, h int, want *oracleProduct) float64 {
	t.Helper()
	got, worst := p.SingularValues[h], 0.0
	if len(got) != len(want.SingularValues) {
		t.Fatalf("%d singular values, numpy has %d", len(got), len(want.SingularValues))
	}
	for i, s := range want.SingularValues {
		worst = math.Max(worst, math.Abs(got[i]-s)/want.SingularValues[0])
	}
	if !(worst <= 1e-6) {
		t.Errorf("singular values %v, of numpy %v", got, want.SingularValues)
	}
	for name, pair := range map[string][2]float64{
		"pseudo-rank": {p.Heads[h], want.PseudoRank}, "tolerance rank": {p.Tolerance.Heads[h], want.Tolerance},
		"stable rank": {p.Stable.Heads[h], want.Stable}, "entropy rank": {p.Entropy.Heads[h], want.Entropy},
		"participation ratio": {p.Participation.Heads[h], want.Participation}, "balance": {p.Balance.Heads[h], want.Balance},
	} {
		if !near(pair[0], pair[1]) {
			t.Errorf("head %d: %s %v, by numpy %v", h, name, pair[0], pair[1])
		}
	}
	return worst
}

func askNumpy(t *testing.T, python string, questions []question) [][][]oracleHead {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "spec.json"), filepath.Join(t.TempDir(), "out.json")
	text, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	put(t, in, text)
	if said, err := exec.Command(python, filepath.Join("..", "..", "oracle", "rank_parity.py"), in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if text, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	var said struct {
		Answers [][][]oracleHead `json:"answers"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	if len(said.Answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(said.Answers), len(questions))
	}
	return said.Answers
}
