package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/analyze/gap"
	"plasticity/cmd/internal/request"
	"plasticity/data"
	"plasticity/record"
)

// randomText prepares documents of random words: what a model learns of their order is learned by heart.
func randomText(t *testing.T) string {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "prepared")
	random := rand.New(rand.NewPCG(1, 1))
	words := strings.Fields("the union state is strong of we people law great war peace trade land new year")
	for i := range 12 {
		var text strings.Builder
		for range 300 {
			text.WriteString(words[random.IntN(len(words))] + " ")
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{in}, Tokenizer: "bpe:300", Out: out, ValFraction: 0.25, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	return out
}

// trained trains a model on prepared text.
func trained(t *testing.T, prepared, budget, lr string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	text := fmt.Sprintf(`name: gap
precision: f32
threads: 1
model: {family: llama2, layers: 2, width: 64, heads: 4, kv_heads: 4, ffn: 128, context: 32}
data: {train: %s/train, val: %s/val}
budget: %s
batch: {sequences: 8}
optimizer: {lr: %s, weight_decay: 0}
`, prepared, prepared, budget, lr)
	file := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := work(t, request.CommandTrain, request.Train{Config: file, Out: dir, Resume: "auto", Quiet: true}); code != record.OK {
		t.Fatalf("train: %d %s", code, errs)
	}
	return dir
}

type analyzed struct {
	Out       string     `json:"out"`
	Unchanged bool       `json:"unchanged"`
	Results   gap.Result `json:"results"`
}

func gapOf(t *testing.T, r request.AnalyzeGap) analyzed {
	t.Helper()
	r.Tokens, r.Seed, r.Threads, r.JSON, r.Quiet = 4096, 1, 1, true, true
	code, out, errs := work(t, request.CommandAnalyzeGap, r)
	if code != record.OK || errs != "" {
		t.Fatalf("gap: %d %s", code, errs)
	}
	return decode[analyzed](t, out)
}

// A model that has learned its text by heart has a gap, one that has learned nothing has none.
func TestAnalyzeGap_FindsAnOverfitAndNothingElse(t *testing.T) {
	prepared := randomText(t)
	over := trained(t, prepared, "{epochs: 20}", "1e-2")
	got := gapOf(t, request.AnalyzeGap{Model: over})
	if got.Out != filepath.Join(over, "analyze", "gap") || got.Unchanged || len(got.Results.Comparisons) != 1 {
		t.Fatalf("%+v", got)
	}
	c := got.Results.Comparisons[0]
	t.Log(got.Results.Describe())
	if c.HeldOut != gap.Validation || c.Interval[0] <= 0.1 || c.DocumentInterval[0] <= 0.1 {
		t.Errorf("trained 20 times on the same text: %+v", c)
	}

	fresh := trained(t, prepared, "{steps: 1}", "1e-9")
	got = gapOf(t, request.AnalyzeGap{Model: fresh})
	t.Log(got.Results.Describe())
	if len(got.Results.Comparisons) != 2 || got.Results.WindowsRead != 8 {
		t.Fatalf("%+v", got.Results)
	}
	for _, c := range got.Results.Comparisons {
		if c.Interval[0] > 0 || c.Interval[1] < 0 {
			t.Errorf("a model that has learned nothing: %+v", c)
		}
	}

	// The same again is not computed again, another draw is not put over it.
	if again := gapOf(t, request.AnalyzeGap{Model: fresh}); !again.Unchanged || again.Results.Comparisons[0] != got.Results.Comparisons[0] {
		t.Errorf("%+v", again)
	}
	code, _, errs := work(t, request.CommandAnalyzeGap, request.AnalyzeGap{Model: fresh, Tokens: 4096, Seed: 2})
	if code != record.Mismatch || !strings.Contains(errs, "--out") {
		t.Errorf("another seed in the same folder: %d %s", code, errs)
	}

	// A Hugging Face folder does not say what it was trained on.
	hf, freshHF := filepath.Join(t.TempDir(), "hf"), filepath.Join(t.TempDir(), "hf")
	for run, out := range map[string]string{over: hf, fresh: freshHF} {
		if code, _, errs := work(t, request.CommandExport, request.Export{Run: run, Out: out, Quiet: true}); code != record.OK {
			t.Fatalf("export: %d %s", code, errs)
		}
	}
	for _, missing := range []request.AnalyzeGap{{Model: hf, Tokens: 1}, {Model: hf, Tokens: 1, Out: t.TempDir(), Data: prepared + "/train"}} {
		if code, _, errs := work(t, request.CommandAnalyzeGap, missing); code != record.Usage || !strings.Contains(errs, "--") {
			t.Errorf("%+v: %d %s", missing, code, errs)
		}
	}
	same := gapOf(t, request.AnalyzeGap{Model: hf, Out: t.TempDir(), Data: prepared + "/train", HeldOut: prepared + "/val"})
	if a := same.Results.Comparisons[0]; a.HeldOutLoss != c.HeldOutLoss || a.Interval[0] <= 0.1 {
		t.Errorf("the same weights from a folder: %+v, from the run %+v", a, c)
	}
	none := gapOf(t, request.AnalyzeGap{Model: freshHF, Out: t.TempDir(), Data: prepared + "/train", HeldOut: prepared + "/val"})
	t.Log(none.Results.Describe())
	if c := none.Results.Comparisons[0]; c.Sequences < 40 || c.Interval[0] > 0 || c.Interval[1] < 0 || c.Interval[1]-c.Interval[0] > 0.2 {
		t.Errorf("fresh weights, all windows: %+v", c)
	}
	code, _, errs = work(t, request.CommandAnalyzeGap, request.AnalyzeGap{Model: over, Data: prepared + "/val", HeldOut: prepared + "/train", Tokens: 1, Out: t.TempDir()})
	if code != record.Mismatch || !strings.Contains(errs, "--data") {
		t.Errorf("text of another run: %d %s", code, errs)
	}
}
