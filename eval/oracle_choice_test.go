package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/eval/metric"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// choiceSpec is what oracle/choice_parity.py reads.
type choiceSpec struct {
	Dir     string            `json:"dir"`
	Context int               `json:"context"`
	Tests   map[string]string `json:"tests"`
}

// choiceScores is what it says of a problem.
type choiceScores struct {
	Pairs    [][2]string `json:"pairs"`
	LogProbs []float64   `json:"log_probs"`
	Greedy   []bool      `json:"greedy"`
	Acc      bool        `json:"acc"`
	AccNorm  bool        `json:"acc_norm"`
}

// docs makes rows of each layout, of words with brackets, white space, characters of several bytes and the name of a special token.
func docs(seed uint64, n int) map[string][]map[string]any {
	r := rand.New(rand.NewPCG(seed, 9))
	words := strings.Fields("Zwölf Boxkämpfer jagen Viktor quer über den GROSSEN Sylter Deich 🥊. [title] [sub step] Fix x 12 große Éa")
	words = append(words, " ", "a  b", data.EndOfText)
	some := func(most int) string {
		var s []string
		for range 1 + r.IntN(most) {
			s = append(s, words[r.IntN(len(words))])
		}
		return strings.Join(s, " ")
	}
	choices := func() (texts, labels []string) {
		for i := range 3 + r.IntN(3) {
			texts, labels = append(texts, some(5)), append(labels, string(rune('A'+i)))
		}
		return texts, labels
	}
	out := map[string][]map[string]any{}
	for range n {
		texts, labels := choices()
		key := labels[r.IntN(len(labels))]
		labelled := map[string]any{"text": texts, "label": labels}
		add := func(name string, row map[string]any) { out[name] = append(out[name], row) }
		add("hellaswag", map[string]any{
			"activity_label": some(2), "ctx_a": some(20), "ctx_b": some(4), "endings": texts, "label": fmt.Sprint(r.IntN(len(texts))),
		})
		add("winogrande", map[string]any{
			"sentence": some(12) + " _ " + some(6) + " ", "option1": some(1), "option2": some(2), "answer": fmt.Sprint(1 + r.IntN(2)),
		})
		add("piqa", map[string]any{"goal": some(20), "sol1": some(9), "sol2": some(9), "label": r.IntN(2)})
		add("openbookqa", map[string]any{"question_stem": some(20) + " x ", "choices": labelled, "answerKey": " " + key})
		add("arc_easy", map[string]any{"question": some(20), "choices": labelled, "answerKey": key})
		add("arc_challenge", map[string]any{"question": some(20), "choices": labelled, "answerKey": key})
		add("mathqa", map[string]any{
			"Problem": some(20), "correct": string(rune('a' + r.IntN(5))),
			"options": fmt.Sprintf("a ) %d , b ) %s , c ) 3 , d ) rs . %d , e ) none of these", r.IntN(99), some(2), r.IntN(9)),
		})
	}
	return out
}

// Log-likelihoods, greedy flags and right answers are those of an independent scorer with transformers, from the same files on, in both
// families and for every layout; many contexts are longer than the model's.
func TestLogLikelihoods_Oracle(t *testing.T) {
	oracle(t)
	for i, family := range []string{config.Llama2, config.OLMo2} {
		_, _, tokenizer := small(t, family)
		m, err := model.New(config.Model{
			Family: family, Layers: 3, Width: 48, Heads: 6, KVHeads: 2, FFN: 80, Vocab: tokenizer.Vocab() + 6, Context: 96, RopeTheta: 10000, NormEps: 1e-5,
		}, torch.Float32, nn.Training)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		if err := m.Initialize(5); err != nil {
			t.Fatal(err)
		}
		if family == config.OLMo2 { // fresh weights of the other one say enough, and log-likelihoods of −1000 would be rounded to 1e-4
			sharpen(t, m)
		}
		end, _ := tokenizer.EOS()
		spec := choiceSpec{Dir: filepath.Join(t.TempDir(), "hf"), Context: m.Config().Context, Tests: map[string]string{}}
		if err := model.SaveHF(record.OS(), spec.Dir, m, model.ExportOptions{DType: safetensors.F32, Tokenizer: tokenizer, EOS: []int32{end}}); err != nil {
			t.Fatal(err)
		}
		for name, rows := range docs(uint64(i), 12) {
			spec.Tests[name] = filepath.Join(t.TempDir(), name+".jsonl")
			var b bytes.Buffer
			for _, row := range rows {
				if err := json.NewEncoder(&b).Encode(row); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(spec.Tests[name], b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var answer struct{ Tests map[string][]choiceScores }
		ask(t, "choice_parity.py", spec, &answer)
		for name, g := range generators(t, m, tokenizer) {
			for test, file := range spec.Tests {
				compareChoices(t, family+", "+name+", "+test, g, test, file, answer.Tests[test])
			}
		}
	}
}

// compareChoices scores a test and compares it with what the oracle says.
func compareChoices(t *testing.T, what string, g *Generator, test, file string, want []choiceScores) {
	t.Helper()
	set, err := task.LoadMultipleChoice(context.Background(), task.MultipleChoiceOptions{Name: test, From: file})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Problems) != len(want) {
		t.Fatalf("%s: %d problems, want %d", what, len(set.Problems), len(want))
	}
	var groups [][]task.Pair
	for _, p := range set.Problems {
		groups = append(groups, p.Pairs)
	}
	worst, cut, right := 0.0, 0, 0
	for i, got := range likelihoods(t, g, groups) {
		p, want := set.Problems[i], want[i]
		c := metric.Choice{Gold: p.Gold}
		var pairs [][2]string
		for k, l := range got {
			pairs = append(pairs, [2]string{p.Pairs[k].Context, p.Pairs[k].Continuation})
			c.LogProbs, c.Lengths = append(c.LogProbs, l.LogProb), append(c.Lengths, utf8.RuneCountInString(p.Choices[k]))
			difference := math.Abs(l.LogProb - want.LogProbs[k])
			worst = max(worst, difference)
			if !(difference <= 1e-4) || l.Greedy != want.Greedy[k] {
				t.Errorf("%s: problem %d, choice %d: %+v, of transformers %v %v", what, i, k, l, want.LogProbs[k], want.Greedy[k])
			}
			if l.Cut > 0 {
				cut++
			}
		}
		if diff := cmp.Diff(want.Pairs, pairs); diff != "" {
			t.Errorf("%s: problem %d (-oracle +ours):\n%s", what, i, diff)
		}
		if c.Correct() != want.Acc || set.Normalised && c.CorrectNorm() != want.AccNorm {
			t.Errorf("%s: problem %d: acc %v, acc_norm %v, of transformers %v, %v", what, i, c.Correct(), c.CorrectNorm(), want.Acc, want.AccNorm)
		}
		if want.Acc {
			right++
		}
	}
	t.Logf("%s: %d problems, largest difference %.1e, %d contexts cut, %d right", what, len(want), worst, cut, right)
}
