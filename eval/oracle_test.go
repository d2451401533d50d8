package eval

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// generateSpec is what oracle/generate_parity.py reads.
type generateSpec struct {
	Dir       string    `json:"dir"`
	Prompts   [][]int32 `json:"prompts"`
	NewTokens int       `json:"new_tokens"`
	Penalty   float64   `json:"penalty"`
	End       int32     `json:"end"`
}

// Prompts of different lengths that are continued greedily in one batch, with a repetition penalty, become what transformers'
// generate makes of each alone, in both families.
func TestGenerator_OracleGreedy(t *testing.T) {
	oracle(t)
	const prompts, longest, made, penalty = 64, 60, 40, 1.1
	for _, family := range []string{config.Llama2, config.OLMo2} {
		_, _, tokenizer := small(t, family)
		m, err := model.New(config.Model{
			Family: family, Layers: 3, Width: 48, Heads: 6, KVHeads: 2, FFN: 80, Vocab: tokenizer.Vocab(), Context: longest + made, RopeTheta: 10000, NormEps: 1e-5,
		}, torch.Float32, nn.Training)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		if err := m.Initialize(5); err != nil {
			t.Fatal(err)
		}
		sharpen(t, m)
		end, _ := tokenizer.EOS()
		spec := generateSpec{Dir: filepath.Join(t.TempDir(), "hf"), NewTokens: made, Penalty: penalty, End: end}
		if err := model.SaveHF(record.OS(), spec.Dir, m, model.ExportOptions{DType: safetensors.F32, Tokenizer: tokenizer, EOS: []int32{end}}); err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich 🥊. ", 9)
		all := tokenizer.Encode(text)
		var together []Prompt
		for i := range prompts {
			from := i * 7 % (len(all) - longest)
			prompt := tokenizer.Decode(all[from : from+1+i*(longest-1)/(prompts-1)])
			ids := tokenizer.Encode(prompt)
			together = append(together, Prompt{Text: prompt})
			spec.Prompts = append(spec.Prompts, ids)
		}
		var answer struct{ Tokens [][]int32 }
		ask(t, "generate_parity.py", spec, &answer)
		for name, g := range generators(t, m, tokenizer) {
			got, err := g.Generate(context.Background(), together, GenerateOptions{MaxTokens: made, Sampling: Sampling{RepetitionPenalty: penalty}})
			if err != nil {
				t.Fatal(err)
			}
			tokens, ended := 0, 0
			for i, samples := range got {
				tokens += len(samples[0].Tokens)
				if samples[0].Finish == FinishEnd {
					ended++
				}
				if !slices.Equal(samples[0].Tokens, answer.Tokens[i]) {
					t.Errorf("%s, %s: prompt %d of %d tokens becomes %v, of transformers %v", family, name, i, len(spec.Prompts[i]), samples[0].Tokens, answer.Tokens[i])
				}
			}
			t.Logf("%s, %s: %d prompts of %d to %d tokens, %d new tokens equal, %d texts ended", family, name, prompts, len(spec.Prompts[0]), len(spec.Prompts[prompts-1]), tokens, ended)
		}
	}
}

// oracle is the Python with transformers; without it the test is left out.
func oracle(t *testing.T) string {
	t.Helper()
	python := os.Getenv("PLASTICITY_ORACLE")
	if python == "" {
		t.Skip("needs transformers: make oracle")
	}
	return python
}

// ask gives a spec to a script of the folder oracle and reads what it answers.
func ask(t *testing.T, script string, spec, answer any) {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "spec.json"), filepath.Join(t.TempDir(), "out.json")
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), oracle(t), filepath.Join("..", "oracle", script), in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if text, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatal(err)
	}
}
