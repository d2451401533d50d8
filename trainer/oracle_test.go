package trainer

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The benchmark compares like with like: over its first steps both families train here as they do in PyTorch, in every
// precision, from the same weights and tokens. With PLASTICITY_ORACLE=python, and bin/ built.
func TestOracle_BenchmarkTrainsAlike(t *testing.T) {
	python := os.Getenv("PLASTICITY_ORACLE")
	if python == "" {
		t.Skip("needs PyTorch: make oracle")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range []string{"llama2", "olmo2"} {
		t.Run(family, func(t *testing.T) {
			shape := `{"name":"tiny","sequences":4,"context":16,"shape":{"family":"` + family +
				`","layers":2,"width":32,"heads":4,"kv_heads":2,"ffn":48,"vocab":64,"rope_theta":10000.0,"norm_eps":1e-5}}`
			cmd := exec.Command(python, filepath.Join(root, "oracle", "bench.py"), "--shape", shape, "--modes", "f32,bf16,autocast",
				"--rounds", "2", "--turn", "0.001", "--threads", "1", "--out", "", "--json")
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			var result struct {
				Rows []struct {
					Contender       string
					Void            bool
					LossDifference  float64 `json:"loss_difference"`
					NormDifference  float64 `json:"norm_difference"`
					TokensPerSecond float64 `json:"tokens_per_second"`
					GFLOPSFull      float64 `json:"gflops_full"`
					GFLOPSCausal    float64 `json:"gflops_causal"`
				}
				Failures []string
			}
			if err := json.Unmarshal(out, &result); err != nil {
				t.Fatal(err)
			}
			if len(result.Rows) != 2+3 || len(result.Failures) > 0 {
				t.Errorf("%d rows, failures %v", len(result.Rows), result.Failures)
			}
			for _, row := range result.Rows {
				if row.Void || !(row.TokensPerSecond > 0) || !(row.GFLOPSFull > row.GFLOPSCausal) {
					t.Errorf("%+v", row)
				}
				t.Logf("%-28s loss within %.1e, gradient norm within %.1e", row.Contender, row.LossDifference, row.NormDifference)
			}
		})
	}
}
