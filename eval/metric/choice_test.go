package metric_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/eval/metric"
	"plasticity/record"
)

// choices are three problems: right by both, by the sum alone, and by length alone.
func choices() []metric.Choice {
	arguments := [][2]string{{"Q é <1>", " a"}, {"Q é <1>", " bbbb"}}
	lengths := []int{1, 4}
	return []metric.Choice{
		{Doc: map[string]any{"q": "é"}, Target: 0, Arguments: arguments, Lengths: lengths, Gold: 0, LogProbs: []float64{-1, -5}, Greedy: []bool{true, false}},
		{Doc: map[string]any{"q": 2}, Target: 0, Arguments: arguments, Lengths: lengths, Gold: 0, LogProbs: []float64{-2, -4}, Greedy: []bool{false, false}},
		{Doc: nil, Target: "rest", Arguments: arguments, Lengths: lengths, Gold: 1, LogProbs: []float64{-2, -4}, Greedy: []bool{false, false}},
	}
}

func choiceTask() *metric.ChoiceTask {
	return &metric.ChoiceTask{Name: "quiz", Config: map[string]any{"model": "m"}, Total: 9, Normalised: true, Choices: choices()}
}

func TestChoiceTask_Estimates(t *testing.T) {
	t.Parallel()
	task := choiceTask()
	got := task.Estimates()
	if len(got) != 2 || got[0].Name != "acc" || got[1].Name != "acc_norm" {
		t.Fatalf("%+v", got)
	}
	// Of 1, 1, 0 and of 1, 0, 1: mean ⅔, deviation of a sample √(⅓), over √3.
	for _, e := range got {
		low, high := metric.Wilson(2, 3)
		if math.Abs(e.Value-2.0/3) > 1e-15 || math.Abs(e.StdErr-1.0/3) > 1e-15 || e.CI95 != [2]float64{low, high} {
			t.Errorf("%+v", e)
		}
	}
	// The first of equal ones counts, and a problem without a right choice is wrong.
	for _, c := range []struct {
		gold    int
		correct bool
	}{{0, true}, {1, false}, {-1, false}} {
		choice := metric.Choice{Gold: c.gold, LogProbs: []float64{-1, -1}, Lengths: []int{2, 2}}
		if choice.Correct() != c.correct || choice.CorrectNorm() != c.correct {
			t.Errorf("%+v", c)
		}
	}
	// A choice without characters is never the likeliest by length, as NumPy divides.
	empty := metric.Choice{Gold: 0, LogProbs: []float64{-1, -9}, Lengths: []int{0, 1}}
	if !empty.Correct() || empty.CorrectNorm() {
		t.Error("an empty choice is the likeliest by length")
	}
}

func TestWriteChoices_HarnessShape(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	if unchanged, err := metric.WriteChoices(record.OS(), dir, "m", choiceTask()); err != nil || unchanged {
		t.Fatal(unchanged, err)
	}
	var results struct {
		Results map[string]map[string]any `json:"results"`
		NSample map[string]map[string]int `json:"n-samples"`
		NShot   map[string]int            `json:"n-shot"`
		Higher  map[string]map[string]any `json:"higher_is_better"`
	}
	read(t, filepath.Join(dir, metric.ResultsFile), &results)
	quiz := results.Results["quiz"]
	for name, want := range map[string]any{"alias": "quiz", "acc,none": 2.0 / 3, "acc_norm,none": 2.0 / 3, "n": 3.0} {
		if quiz[name] != want {
			t.Errorf("%s is %v, want %v", name, quiz[name], want)
		}
	}
	for _, name := range []string{"acc_stderr,none", "acc_norm_stderr,none"} {
		if x, ok := quiz[name].(float64); !ok || math.Abs(x-1.0/3) > 1e-15 {
			t.Errorf("%s is %v", name, quiz[name])
		}
	}
	if diff := cmp.Diff(map[string]int{"original": 9, "effective": 3}, results.NSample["quiz"]); diff != "" {
		t.Error(diff)
	}
	if n, ok := results.NShot["quiz"]; !ok || n != 0 || len(results.Higher["quiz"]) != 2 {
		t.Errorf("%+v", results)
	}
	samples, err := os.ReadFile(filepath.Join(dir, metric.SamplesFile("quiz")))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(samples), []byte("\n"))
	want := `{"doc_id":1,"doc":{"q":2},"target":0,"arguments":{"gen_args_0":{"arg_0":"Q é <1>","arg_1":" a"},"gen_args_1":{"arg_0":"Q é <1>","arg_1":" bbbb"}},` +
		`"resps":[[[-2,false]],[[-4,false]]],"filtered_resps":[[-2,false],[-4,false]],"filter":"none","metrics":["acc","acc_norm"],"prompt_hash":"`
	if len(lines) != 3 || !strings.HasPrefix(string(lines[1]), want) || !strings.HasSuffix(string(lines[1]), `,"acc":1,"acc_norm":0}`) {
		t.Errorf("%s\nwant %s…", lines[1], want)
	}
}

func read(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatal(err)
	}
}

// One problem has no standard error, and a test without acc_norm does not say it.
func TestWriteChoices_OneProblem(t *testing.T) {
	t.Parallel()
	task := choiceTask()
	task.Choices, task.Normalised = task.Choices[:1], false
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	low, _ := metric.Wilson(1, 1)
	if want := fmt.Sprintf(`{"alias":"quiz","acc,none":1,"acc_stderr,none":"N/A","acc_ci95":[%v,1],"n":1}`, low); string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	if said := task.Describe(); !strings.Contains(said, "N/A") || strings.Contains(said, "acc_norm") {
		t.Error(said)
	}
}

func TestWriteChoices_Refuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := metric.WriteChoices(record.OS(), dir, "m", choiceTask()); err != nil {
		t.Fatal(err)
	}
	if unchanged, err := metric.WriteChoices(record.OS(), dir, "m", choiceTask()); err != nil || !unchanged {
		t.Error("the same again:", unchanged, err)
	}
	other := choiceTask()
	other.Choices[0].LogProbs[0] = -3
	if _, err := metric.WriteChoices(record.OS(), dir, "m", other); record.CodeOf(err) != record.NotPermitted {
		t.Error("another result:", err)
	}
	for what, change := range map[string]func(*metric.ChoiceTask){
		"no problems":                  func(c *metric.ChoiceTask) { c.Choices = nil },
		"no choices":                   func(c *metric.ChoiceTask) { c.Choices[1].LogProbs = nil },
		"2 log-likelihoods for 1":      func(c *metric.ChoiceTask) { c.Choices[1].Arguments = c.Choices[1].Arguments[:1] },
		"the gold choice is 2 of 2":    func(c *metric.ChoiceTask) { c.Choices[1].Gold = 2 },
		"a log-likelihood is NaN":      func(c *metric.ChoiceTask) { c.Choices[1].LogProbs[0] = math.NaN() },
		"a log-likelihood is -Inf":     func(c *metric.ChoiceTask) { c.Choices[1].LogProbs[1] = math.Inf(-1) },
		"test quiz, problem 1: no cho": func(c *metric.ChoiceTask) { c.Choices[1].LogProbs = nil },
	} {
		wrong, out := choiceTask(), filepath.Join(t.TempDir(), "out")
		change(wrong)
		if _, err := metric.WriteChoices(record.OS(), out, "m", wrong); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something was written", what)
		}
	}
	wrong := choiceTask()
	wrong.Name = "../quiz"
	if _, err := metric.WriteChoices(record.OS(), dir, "m", wrong); err == nil {
		t.Error("a name that leaves the folder")
	}
}
