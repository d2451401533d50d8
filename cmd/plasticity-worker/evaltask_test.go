package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/record"
)

// taskFolder is a prepared task.
func taskFolder(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	if _, err := task.Make(context.Background(), task.Options{Name: name, Out: out, Seed: 3, Train: 20, Test: 150, Levels: []int{1}}); err != nil {
		t.Fatal(err)
	}
	return out
}

// files reads the results of an evaluation.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"results.json", "samples_judge.jsonl", responsesFile, settingsFile} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// An evaluation that was cut off at any byte of its responses goes on and ends as one that nobody disturbed; the same again
// changes nothing; another one is refused.
func TestEvalTask_GoesOn(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	if code, _, errs := work(t, request.CommandTrain, request.Train{
		Config: configFile(t, corpus(t), 20), Sets: []string{"model.context=128"}, Out: base, Resume: "auto", Quiet: true,
	}); code != record.OK {
		t.Fatal(errs)
	}
	r := request.EvalTask{
		Model: base, Task: taskFolder(t, "judge"), Out: filepath.Join(t.TempDir(), "calm"), Samples: 3, MaxTokens: 6, Temperature: 1,
		RepetitionPenalty: 1.1, Precision: "f32", Seed: 5, Threads: 1, JSON: true,
	}
	code, out, errs := work(t, request.CommandEvalTask, r)
	if code != record.OK {
		t.Fatalf("%d %s", code, errs)
	}
	first := decode[struct {
		Task      string
		Unchanged bool
		Results   map[string]any
	}](t, out)
	if first.Task != "judge" || first.Unchanged || first.Results["n"] != 150.0 || first.Results["pass@3"] == nil || first.Results["loss_nats_per_token"] == nil {
		t.Errorf("%s", out)
	}
	want := files(t, r.Out)
	if _, out, _ = work(t, request.CommandEvalTask, r); !strings.Contains(out, `"unchanged":true`) {
		t.Errorf("the same again: %s", out)
	}
	whole := []byte(want[responsesFile])
	third := bytes.IndexByte(whole, '\n') + 1
	for _, n := range []int{0, third - 1, third, third + 40, len(whole) / 2, len(whole) - 1} {
		r.Out = filepath.Join(t.TempDir(), fmt.Sprint("cut", n))
		if err := os.Mkdir(r.Out, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{settingsFile: want[settingsFile], responsesFile: string(whole[:n])} {
			if err := os.WriteFile(filepath.Join(r.Out, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if code, _, errs := work(t, request.CommandEvalTask, r); code != record.OK {
			t.Fatalf("cut at %d: %d %s", n, code, errs)
		}
		for name, text := range files(t, r.Out) {
			if text != want[name] {
				t.Errorf("cut at byte %d of %d: %s differs from that of the undisturbed evaluation", n, len(whole), name)
			}
		}
	}
	for what, c := range map[string]struct {
		change func(*request.EvalTask)
		code   record.Code
		words  string
	}{
		"another seed":        {func(r *request.EvalTask) { r.Seed = 6 }, record.Mismatch, settingsFile},
		"other samples":       {func(r *request.EvalTask) { r.Samples = 4 }, record.Mismatch, settingsFile},
		"fewer problems":      {func(r *request.EvalTask) { r.Limit = 7 }, record.Mismatch, settingsFile},
		"a task without text": {func(r *request.EvalTask) { r.Task = "nowhere" }, record.BadData, "nowhere"},
		"no model":            {func(r *request.EvalTask) { r.Model = "nowhere" }, record.BadData, "nowhere"},
	} {
		other := r
		c.change(&other)
		if code, out, errs := work(t, request.CommandEvalTask, other); code != c.code || out != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%s: %d %q %q, want %d with %q", what, code, out, errs, c.code, c.words)
		}
	}
	// Responses that are not this task's.
	r.Out = filepath.Join(t.TempDir(), "wrong")
	if err := os.Mkdir(r.Out, 0o755); err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(want[responsesFile], `"id":"judge-test-000001"`, `"id":"other"`, 1)
	for name, text := range map[string]string{settingsFile: want[settingsFile], responsesFile: wrong} {
		if err := os.WriteFile(filepath.Join(r.Out, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errs := work(t, request.CommandEvalTask, r); code != record.BadData || !strings.Contains(errs, responsesFile+":2") {
		t.Errorf("responses of another problem: %d %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(r.Out, "results.json")); err == nil {
		t.Error("there are results of them")
	}
}
