package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	want := folderOf(t, r.Out)
	for _, name := range []string{"results.json", "samples_judge.jsonl", responsesFile, settingsFile} {
		if want[name] == "" {
			t.Fatalf("there is no %s", name)
		}
	}
	if _, out, _ = work(t, request.CommandEvalTask, r); !strings.Contains(out, `"unchanged":true`) {
		t.Errorf("the same again: %s", out)
	}
	whole := []byte(want[responsesFile])
	third := bytes.IndexByte(whole, '\n') + 1
	for _, n := range []int{0, third - 1, third, third + 40, len(whole) / 2, len(whole) - 1} {
		r.Out = filepath.Join(t.TempDir(), fmt.Sprint("cut", n))
		put(t, r.Out, map[string]string{settingsFile: want[settingsFile], responsesFile: string(whole[:n])})
		if code, _, errs := work(t, request.CommandEvalTask, r); code != record.OK {
			t.Fatalf("cut at %d: %d %s", n, code, errs)
		}
		sameFiles(t, fmt.Sprintf("cut at byte %d of %d", n, len(whole)), folderOf(t, r.Out), want)
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
	r.Out = filepath.Join(t.TempDir(), "results of something else")
	put(t, r.Out, map[string]string{"results.json": "{}"})
	if code, out, errs := work(t, request.CommandEvalTask, r); code != record.NotPermitted || out != "" || !strings.Contains(errs, "results.json is not of this evaluation") {
		t.Errorf("%s: %d %q %q", r.Out, code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(r.Out, responsesFile)); err == nil {
		t.Error("problems were answered into it")
	}
	// Responses that are not this task's.
	r.Out = filepath.Join(t.TempDir(), "wrong")
	wrong := strings.Replace(want[responsesFile], `"id":"judge-test-000001"`, `"id":"other"`, 1)
	put(t, r.Out, map[string]string{settingsFile: want[settingsFile], responsesFile: wrong})
	if code, _, errs := work(t, request.CommandEvalTask, r); code != record.BadData || !strings.Contains(errs, responsesFile+":2") {
		t.Errorf("responses of another problem: %d %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(r.Out, "results.json")); err == nil {
		t.Error("there are results of them")
	}
}

// A signal ends in 75 and says where to go on; another failure is not hidden by it.
func TestUntilSignal_Stops(t *testing.T) {
	hit := func(ctx context.Context) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
	}
	err := untilSignal(context.Background(), "here.jsonl", func(ctx context.Context) error {
		hit(ctx)
		return record.FailIO(ctx.Err(), "at work")
	})
	if record.CodeOf(err) != record.Stopped || !strings.Contains(err.Error(), "here.jsonl") {
		t.Errorf("stopped: %v", err)
	}
	err = untilSignal(context.Background(), "here.jsonl", func(ctx context.Context) error {
		hit(ctx)
		return record.Fail(record.BadData, "damaged")
	})
	if record.CodeOf(err) != record.BadData || err.Error() != "damaged" {
		t.Errorf("damaged when the signal came: %v", err)
	}
}
