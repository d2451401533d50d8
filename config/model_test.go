package config

import (
	"fmt"
	"strings"
	"testing"
)

// The counts of the paper (in millions) are what its authors' architecture tables say; all digits are in presets.golden.
func TestPresets_ParametersOfThePaper(t *testing.T) {
	for name, want := range map[string]struct{ total, inner string }{
		"llama2-0.5b": {"500.9", "402.6"},
		"llama2-1b":   {"1000.6", "869.5"},
		"llama2-4b":   {"4000.3", "3738.1"},
		"olmo2-1b":    {"1484.9", "1073.9"},
	} {
		preset, ok := PresetByName(name)
		if !ok {
			t.Fatalf("no preset %s", name)
		}
		m := preset.Model
		total := fmt.Sprintf("%.1f", float64(m.Parameters())/1e6)
		inner := fmt.Sprintf("%.1f", float64(m.Parameters()-2*int64(m.Vocab)*int64(m.Width))/1e6)
		if total != want.total || inner != want.inner {
			t.Errorf("%s: %s M, %s M without embeddings; want %s and %s", name, total, inner, want.total, want.inner)
		}
	}
}

func TestPresets_Golden(t *testing.T) {
	var out strings.Builder
	for _, p := range Presets() {
		m := p.Model
		full, causal := m.FLOPsPerToken(m.Context)
		fmt.Fprintf(&out, "%s: L%d d%d h%d/%d of %d ffn%d V%d T%d theta %g eps %g: %d parameters, %d in matrices, %.0f FLOPs a token, %.0f causal\n",
			p.Name, m.Layers, m.Width, m.Heads, m.KVHeads, m.HeadSize(), m.FFN, m.Vocab, m.Context, m.RopeTheta, m.NormEps,
			m.Parameters(), m.MatmulParameters(), full, causal)
	}
	golden(t, "presets.golden", out.String())
}

func TestPresets_Load(t *testing.T) {
	for _, p := range Presets() {
		run, err := Load(LoadOptions{Sets: []string{"model.preset=" + p.Name}})
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		} else if run.Model != p.Model {
			t.Errorf("%s: %+v, want %+v", p.Name, run.Model, p.Model)
		}
	}
}

// By hand for one layer of width 8, two heads of 4, one key head, ffn 3, vocabulary 5:
// q 64, k and v 32 each, o 64, ffn 72; embeddings 40 each; gains 8+8 and 8 at the end.
func TestModel_ParametersByHand(t *testing.T) {
	m := Model{Family: Llama2, Layers: 1, Width: 8, Heads: 2, KVHeads: 1, FFN: 3, Vocab: 5, Context: 10}
	if got := m.Parameters(); got != 64+64+64+72+80+24 {
		t.Errorf("%d", got)
	}
	if got := m.MatmulParameters(); got != 64+64+64+72+40 {
		t.Errorf("matrices: %d", got)
	}
	for _, length := range []int{10, 3} {
		if full, causal := m.FLOPsPerToken(length); full != float64(6*304+12*8*length) || causal != float64(6*304+6*8*length) {
			t.Errorf("FLOPs at %d tokens: %v, causal %v", length, full, causal)
		}
	}
	m.TieEmbeddings = true
	if got := m.Parameters(); got != 64+64+64+72+40+24 {
		t.Errorf("tied: %d", got)
	}
	m.TieEmbeddings, m.Family = false, OLMo2
	if got := m.Parameters(); got != 64+64+64+72+80+24+8+4 {
		t.Errorf("olmo2: %d", got)
	}
}
