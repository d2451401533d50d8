package model_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/model"
	"plasticity/torch/nn"
)

// listing is a preset's parameters as text. Layers are alike, so the first stands for all.
func listing(t *testing.T, p config.Preset) string {
	t.Helper()
	r := nn.NewRegistry()
	model.Declare(r, p.Model)
	if r.NumParams() != p.Model.Parameters() {
		t.Errorf("%s: %d parameters declared, the configuration counts %d", p.Name, r.NumParams(), p.Model.Parameters())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d parameters in %d tensors\n", p.Name, r.NumParams(), len(r.Params()))
	first := map[string]string{}
	for _, param := range r.Params() {
		layer, name := 0, param.Name
		if _, err := fmt.Sscanf(param.Name, "model.layers.%d.", &layer); err == nil {
			name = strings.Replace(param.Name, fmt.Sprintf(".%d.", layer), ".*.", 1)
		}
		line := fmt.Sprintf("%s %v std %.6g cut %g or %g", name, param.Shape, param.Init.Std, param.Init.Truncate, param.Init.Constant)
		if layer == 0 {
			first[name] = line
			b.WriteString("  " + line + "\n")
		} else if first[name] != line {
			t.Errorf("%s: %s is not like layer 0's: %s", p.Name, param.Name, line)
		}
	}
	return b.String()
}

func TestDeclare_Presets(t *testing.T) {
	var b strings.Builder
	for _, p := range config.Presets() {
		b.WriteString(listing(t, p))
	}
	golden := filepath.Join("testdata", "presets.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (to renew it: go test ./model -run Presets -update):\n%s", golden, diff)
	}
}

func TestDeclare_PaperCounts(t *testing.T) {
	// In units of 100,000, as the paper's tables have them: all parameters, and those outside both embedding matrices.
	for name, want := range map[string][2]int64{
		"llama2-0.5b": {5009, 4026}, "llama2-1b": {10006, 8695}, "llama2-4b": {40003, 37381}, "olmo2-1b": {14849, 10739},
	} {
		p, ok := config.PresetByName(name)
		if !ok {
			t.Fatalf("no preset %s", name)
		}
		r := nn.NewRegistry()
		model.Declare(r, p.Model)
		inner := r.NumParams() - r.Param("lm_head.weight").Len() - r.Param("model.embed_tokens.weight").Len()
		if got := [2]int64{(r.NumParams() + 50_000) / 100_000, (inner + 50_000) / 100_000}; got != want {
			t.Errorf("%s: %v hundred thousand parameters, want %v", name, got, want)
		}
	}
}
