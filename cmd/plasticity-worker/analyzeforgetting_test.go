package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/analyze/forgetting"
	"plasticity/cmd/internal/request"
	"plasticity/record"
)

// inside runs a command in this process, which saves the start of another.
func inside(t *testing.T, command string, r any) (code record.Code, out, errs string) {
	t.Helper()
	text, err := request.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	var said, complained bytes.Buffer
	code = run([]string{command, text}, streams{strings.NewReader(""), &said, &complained})
	return code, said.String(), complained.String()
}

// made runs a command that must succeed.
func made(t *testing.T, command string, r any) string {
	t.Helper()
	code, out, errs := inside(t, command, r)
	if code != record.OK {
		t.Fatalf("%s: %d %s", command, code, errs)
	}
	return out
}

// baseModel trains a model whose context has room for an exercise, in root, under its id.
func baseModel(t *testing.T, prepared, root string) string {
	t.Helper()
	first := filepath.Join(root, "first")
	sets := []string{"model.context=128", "optimizer.lr=1e-2"}
	made(t, request.CommandTrain, request.Train{Config: configFile(t, prepared, 60), Sets: sets, Out: first, Resume: "auto", Quiet: true})
	opened, err := record.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, opened.Info.ID)
	if err := os.Rename(first, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tunedModel fine-tunes a model on a task.
func tunedModel(t *testing.T, base, task, out string, more ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tune.yaml")
	text := "precision: f32\nthreads: 1\nbudget: {steps: 20}\nbatch: {sequences: 4}\noptimizer: {lr: 1e-2, weight_decay: 0}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	made(t, request.CommandTrain, request.Train{Config: file, Init: base, Sets: append(more, "data.task="+task), Out: out, Resume: "auto", Quiet: true})
}

type forgotten struct {
	Out       string            `json:"out"`
	Unchanged bool              `json:"unchanged"`
	Results   forgetting.Result `json:"results"`
}

// What a model has forgotten is its loss less its base's, each the one that eval says, wherever the folders lie; what cannot be compared
// is refused by name.
func TestAnalyzeForgetting(t *testing.T) {
	prepared, exercises, root := randomText(t), taskFolder(t, "judge"), filepath.Join(t.TempDir(), "root")
	base, tuned, fresh := baseModel(t, prepared, root), filepath.Join(root, "tuned"), filepath.Join(root, "fresh")
	tunedModel(t, base, exercises, tuned)
	tunedModel(t, base, exercises, fresh, "fresh=true", "budget.steps=1")
	ask := func(r request.AnalyzeForgetting) request.AnalyzeForgetting {
		r.Tokens, r.Seed, r.Threads, r.JSON, r.Quiet = 1<<20, max(1, r.Seed), 1, true, true
		return r
	}
	get := func(r request.AnalyzeForgetting) forgotten {
		return decode[forgotten](t, made(t, request.CommandAnalyzeForgetting, ask(r)))
	}
	got := get(request.AnalyzeForgetting{Model: tuned})
	t.Log(got.Results.Describe())
	r := got.Results
	if got.Out != filepath.Join(tuned, "analyze", "forgetting") || got.Unchanged || r.Interval[0] <= 0.1 || r.DocumentInterval[0] <= 0 || r.Sequences < 5 || r.Documents < 2 {
		t.Errorf("%+v", got)
	}
	for path, loss := range map[string]record.Float{base: r.BaseLoss, tuned: r.TunedLoss} {
		said := decode[request.Loss](t, made(t, request.CommandEvalLoss, request.EvalLoss{Model: path, Data: prepared + "/val", Threads: 1, JSON: true}))
		if math.Abs(float64(said.LossNatsPerToken-loss)) > 1e-5 || said.Tokens != r.Tokens {
			t.Errorf("%s: loss %v on %d tokens, eval says %+v", path, loss, r.Tokens, said)
		}
	}
	if again := get(request.AnalyzeForgetting{Model: tuned}); !again.Unchanged || again.Results != r {
		t.Errorf("%+v", again)
	}

	// A folder of runs may move; a base that is nowhere is asked for.
	moved := filepath.Join(filepath.Dir(root), "moved")
	if err := os.Rename(root, moved); err != nil {
		t.Fatal(err)
	}
	base, tuned, fresh = filepath.Join(moved, filepath.Base(base)), filepath.Join(moved, "tuned"), filepath.Join(moved, "fresh")
	if again := get(request.AnalyzeForgetting{Model: tuned, Out: t.TempDir()}); again.Results != r {
		t.Errorf("moved: %+v", again)
	}
	elsewhere := filepath.Join(moved, "elsewhere")
	if err := os.Rename(base, elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fresh, base); err != nil { // another run in its place
		t.Fatal(err)
	}
	if again := get(request.AnalyzeForgetting{Model: tuned, Base: elsewhere}); !again.Unchanged {
		t.Errorf("named: %+v", again)
	}
	hf, tunedHF := filepath.Join(t.TempDir(), "hf"), filepath.Join(t.TempDir(), "hf")
	made(t, request.CommandExport, request.Export{Run: elsewhere, Out: hf, Quiet: true})
	made(t, request.CommandExport, request.Export{Run: tuned, Out: tunedHF, Quiet: true})
	folders := get(request.AnalyzeForgetting{Model: tunedHF, Base: hf, Data: prepared + "/val", Out: t.TempDir()})
	if folders.Results.Forgetting != r.Forgetting || folders.Results.Interval != r.Interval {
		t.Errorf("from Hugging Face folders: %+v", folders)
	}
	for what, c := range map[string]struct {
		r     request.AnalyzeForgetting
		code  record.Code
		words string
	}{
		"another draw":        {request.AnalyzeForgetting{Model: tuned, Base: elsewhere, Seed: 2}, record.Mismatch, "--out"},
		"another run there":   {request.AnalyzeForgetting{Model: tuned}, record.Mismatch, "--base"},
		"never pretrained":    {request.AnalyzeForgetting{Model: fresh, Base: elsewhere}, record.Usage, "never pretrained"},
		"a base model":        {request.AnalyzeForgetting{Model: elsewhere}, record.Usage, "--base"},
		"itself":              {request.AnalyzeForgetting{Model: elsewhere, Base: elsewhere}, record.Usage, "same weights"},
		"a folder, no base":   {request.AnalyzeForgetting{Model: tunedHF, Out: t.TempDir()}, record.Usage, "--base"},
		"a folder, no text":   {request.AnalyzeForgetting{Model: tunedHF, Base: hf, Out: t.TempDir()}, record.Usage, "--data"},
		"a folder, no out":    {request.AnalyzeForgetting{Model: tunedHF, Base: hf, Data: prepared + "/val"}, record.Usage, "--out"},
		"another tokenizer":   {request.AnalyzeForgetting{Model: tuned, Base: elsewhere, Data: corpus(t) + "/val", Out: t.TempDir()}, record.Mismatch, "tokenizer"},
		"no model":            {request.AnalyzeForgetting{Model: "nowhere"}, record.BadData, "nowhere"},
		"no text in a folder": {request.AnalyzeForgetting{Model: tuned, Base: elsewhere, Data: "nowhere", Out: t.TempDir()}, record.BadData, "nowhere"},
	} {
		if code, out, errs := inside(t, request.CommandAnalyzeForgetting, ask(c.r)); code != c.code || out != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%s: %d %q %q, want %d with %q", what, code, out, errs, c.code, c.words)
		}
	}
}
