package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/record"
)

// Ranking that was cut off at any byte goes on and ends as one that nobody disturbed; the same again changes nothing; a run and its
// exported folder get the same numbers; another evaluation is refused, and nothing is written for a test without problems.
func TestEvalChoices_GoesOn(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	if code, _, errs := work(t, request.CommandTrain, request.Train{
		Config: configFile(t, corpus(t), 5), Sets: []string{"model.context=128"}, Out: base, Resume: "auto", Quiet: true,
	}); code != record.OK {
		t.Fatal(errs)
	}
	r := request.EvalChoices{Model: base, Choices: "reading", Limit: 40, Out: filepath.Join(t.TempDir(), "calm"), Precision: "f32", Threads: 1, JSON: true}
	code, out, errs := work(t, request.CommandEvalChoices, r)
	if code != record.OK {
		t.Fatalf("%d %s", code, errs)
	}
	first := decode[struct {
		Task      string
		Unchanged bool
		Results   map[string]any
	}](t, out)
	if first.Task != "reading" || first.Unchanged || first.Results["n"] != 40.0 || first.Results["acc_norm,none"] == nil || first.Results["acc_stderr,none"] == nil {
		t.Errorf("%s", out)
	}
	want := folderOf(t, r.Out)
	for _, name := range []string{"results.json", "samples_reading.jsonl", likelihoodsFile, settingsFile} {
		if want[name] == "" {
			t.Fatalf("there is no %s", name)
		}
	}
	if _, out, _ = work(t, request.CommandEvalChoices, r); !strings.Contains(out, `"unchanged":true`) {
		t.Errorf("the same again: %s", out)
	}
	whole := []byte(want[likelihoodsFile])
	line := bytes.IndexByte(whole, '\n') + 1
	for _, n := range []int{line - 1, len(whole) / 2} {
		r.Out = t.TempDir()
		put(t, r.Out, map[string]string{settingsFile: want[settingsFile], likelihoodsFile: string(whole[:n])})
		if code, _, errs := work(t, request.CommandEvalChoices, r); code != record.OK {
			t.Fatalf("cut at %d: %d %s", n, code, errs)
		}
		sameFiles(t, fmt.Sprintf("cut at byte %d of %d", n, len(whole)), folderOf(t, r.Out), want)
	}

	exported := filepath.Join(t.TempDir(), "hf")
	if code, _, errs := work(t, request.CommandExport, request.Export{Run: base, Out: exported}); code != record.OK {
		t.Fatal(errs)
	}
	hf := r
	hf.Model, hf.Out, hf.Threads = exported, filepath.Join(t.TempDir(), "hf"), 2
	if code, _, errs := work(t, request.CommandEvalChoices, hf); code != record.OK {
		t.Fatal(errs)
	}
	if got := folderOf(t, hf.Out); got["samples_reading.jsonl"] != want["samples_reading.jsonl"] {
		t.Error("the exported folder gets other samples than its run, or two threads other ones than one")
	}

	empty := filepath.Join(t.TempDir(), "val.jsonl")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*request.EvalChoices)
		code   record.Code
		words  string
	}{
		"fewer problems":  {func(r *request.EvalChoices) { r.Limit = 7 }, record.Mismatch, settingsFile},
		"other precision": {func(r *request.EvalChoices) { r.Precision = "bf16" }, record.Mismatch, settingsFile},
		"another test":    {func(r *request.EvalChoices) { r.Choices = "choice4" }, record.Mismatch, settingsFile},
		"no data":         {func(r *request.EvalChoices) { r.Data = "nowhere" }, record.BadData, "nowhere"},
		"no problems":     {func(r *request.EvalChoices) { r.Choices, r.Data, r.Out = "piqa", empty, empty+".out" }, record.BadData, "no problem in"},
		"no model":        {func(r *request.EvalChoices) { r.Model = "nowhere" }, record.BadData, "nowhere"},
	} {
		other := r
		c.change(&other)
		if code, out, errs := work(t, request.CommandEvalChoices, other); code != c.code || out != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%s: %d %q %q, want %d with %q", what, code, out, errs, c.code, c.words)
		}
	}
	if _, err := os.Stat(empty + ".out"); err == nil {
		t.Error("there is a folder for a test without problems")
	}

	// A signal, here a context that has ended, stops it with the place to go on from.
	stopped, stop := context.WithCancel(context.Background())
	stop()
	cut := r
	cut.Out = t.TempDir()
	if err := evalChoices(stopped, cut, streams{out: io.Discard, errs: io.Discard}); record.CodeOf(err) != record.Stopped || !strings.Contains(err.Error(), likelihoodsFile) {
		t.Errorf("stopped: %v", err)
	}

	// Lines that are not this test's.
	for what, text := range map[string]string{
		"another problem":  strings.Replace(want[likelihoodsFile], `{"doc_id":1,`, `{"doc_id":2,`, 1),
		"too few choices":  strings.Replace(want[likelihoodsFile], "\n", "\n"+`{"doc_id":1,"log_probs":[-1],"greedy":[true],"cut":[0]}`+"\n", 1),
		"too many lines":   want[likelihoodsFile] + `{"doc_id":40}` + "\n",
		"two in a line":    strings.Replace(want[likelihoodsFile], "\n", " {}\n", 1),
		"not JSON objects": strings.Replace(want[likelihoodsFile], "\n", "\n[]\n", 1),
	} {
		r.Out = t.TempDir()
		put(t, r.Out, map[string]string{settingsFile: want[settingsFile], likelihoodsFile: text})
		if code, _, errs := work(t, request.CommandEvalChoices, r); code != record.BadData || !strings.Contains(errs, likelihoodsFile) {
			t.Errorf("%s: %d %s", what, code, errs)
		}
		if _, err := os.Stat(filepath.Join(r.Out, "results.json")); err == nil {
			t.Errorf("%s: there are results of them", what)
		}
	}
}

// Lengths are characters of the choices, not bytes, and not those of the continuations.
func TestChoiceTask_CountsCharacters(t *testing.T) {
	t.Parallel()
	test := &task.MultipleChoiceTest{Name: "quiz", Problems: []task.MultipleChoice{{
		Pairs: []task.Pair{{Context: "q", Continuation: " é🥊"}, {Context: "q", Continuation: " abc"}}, Choices: []string{"é🥊", "abc"},
	}}}
	got, cut, pairs := choiceTask(test, choiceEvaluation{}, []likelihoods{{LogProbs: []float64{-1, -2}, Greedy: []bool{true, false}, Cut: []int{0, 4}}})
	if lengths := got.Choices[0].Lengths; !slices.Equal(lengths, []int{2, 3}) || cut != 1 || pairs != 2 {
		t.Errorf("lengths %v, %d of %d cut", lengths, cut, pairs)
	}
}

// What fits no context loses its beginning, which the results say.
func TestEvalChoices_SaysWhatWasCut(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	if code, _, errs := work(t, request.CommandTrain, request.Train{
		Config: configFile(t, corpus(t), 2), Sets: []string{"model.context=32"}, Out: base, Resume: "auto", Quiet: true,
	}); code != record.OK {
		t.Fatal(errs)
	}
	rows := filepath.Join(t.TempDir(), "val.jsonl")
	for goal, want := range map[string]float64{"Sit?": 0, strings.Repeat("xyz ", 20): 2} {
		text := fmt.Sprintf(`{"goal":%q,"sol1":"a","sol2":"b","label":0}`+"\n", goal)
		if err := os.WriteFile(rows, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := request.EvalChoices{Model: base, Choices: "piqa", Data: rows, Out: filepath.Join(t.TempDir(), "out"), Precision: "f32"}
		code, out, errs := work(t, request.CommandEvalChoices, r)
		if code != record.OK || !strings.Contains(out, "acc_norm") {
			t.Fatalf("%d %s %s", code, out, errs)
		}
		text2, err := os.ReadFile(filepath.Join(r.Out, "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		var results struct {
			Configs map[string]map[string]any
		}
		if err := json.Unmarshal(text2, &results); err != nil {
			t.Fatal(err)
		}
		if results.Configs["piqa"]["contexts_cut"] != want {
			t.Errorf("%q: %v", goal, results.Configs)
		}
		if said := strings.Contains(errs, "2 of 2 contexts"); said != (want > 0) {
			t.Errorf("%q: it says %q", goal, errs)
		}
	}
}
