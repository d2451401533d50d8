package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/analyze/label"
	"plasticity/analyze/probe"
	"plasticity/cmd/internal/request"
	"plasticity/record"
)

type probed struct {
	Out       string       `json:"out"`
	Unchanged bool         `json:"unchanged"`
	Results   probe.Result `json:"results"`
}

// probesRequest is one of a task that any model can do.
func probesRequest(model, data, out, pool string) request.AnalyzeProbes {
	return request.AnalyzeProbes{
		Model: model, Task: label.Kind, Data: data, Out: out, Pool: pool, Train: 200, Val: 100, Test: 300, Seed: 1, Threads: 1, JSON: true, Quiet: true,
	}
}

// kinds writes documents of words and documents of code.
func kinds(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(2, 2))
	vocabulary := map[string]string{
		"sotu": "the union state is strong of we people law great war peace trade land new year", "goroot": "if err != nil { return } func x() := 0 for i++ }",
	}
	for _, kind := range slices.Sorted(maps.Keys(vocabulary)) {
		words := strings.Fields(vocabulary[kind])
		if err := os.Mkdir(filepath.Join(dir, kind), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			var text strings.Builder
			for range 6000 {
				text.WriteString(words[random.IntN(len(words))] + " ")
			}
			if err := os.WriteFile(filepath.Join(dir, kind, fmt.Sprint(i, ".txt")), []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func probesOf(t *testing.T, r request.AnalyzeProbes) probed {
	t.Helper()
	code, out, errs := work(t, request.CommandAnalyzeProbes, r)
	if code != record.OK || errs != "" {
		t.Fatalf("probes: %d %s", code, errs)
	}
	return decode[probed](t, out)
}

// A run of each family and the Hugging Face folder made of it have the same probes, to the number; the control task is at chance.
func TestAnalyzeProbes_RunsAndFolders(t *testing.T) {
	prepared, texts := randomText(t), kinds(t)
	for family, run := range map[string]string{"llama2": trained(t, prepared, "{steps: 30}", "1e-2"), "olmo2": olmo(t, prepared)} {
		got := probesOf(t, probesRequest(run, texts, "", probe.Mean))
		t.Log(got.Results.Describe())
		if got.Out != filepath.Join(run, "analyze", "probes-"+label.Kind) || got.Results.Synthetic || len(got.Results.Layers) != 3 || got.Results.Cut == 0 {
			t.Fatalf("%s: %+v", family, got)
		}
		if s := got.Results.Summary; s.Documents != 4 { // a quarter of ten of each kind
			t.Errorf("%s: the test texts are of %d documents", family, s.Documents)
		}
		for _, l := range got.Results.Layers {
			if l.Control.Accuracy < 0.4 || float64(l.Control.Accuracy) > float64(got.Results.Summary.Majority)+0.06 {
				t.Errorf("%s, layer %d: the control task is not at chance: %+v", family, l.Layer, l.Control)
			}
			if l.Probe.Accuracy < 0.95 {
				t.Errorf("%s, layer %d: %+v", family, l.Layer, l.Probe)
			}
		}
		if again := probesOf(t, probesRequest(run, texts, "", probe.Mean)); !again.Unchanged || again.Results.Summary != got.Results.Summary {
			t.Errorf("%s: %+v", family, again)
		}
		hf := filepath.Join(t.TempDir(), "hf")
		if code, _, errs := work(t, request.CommandExport, request.Export{Run: run, Out: hf, Quiet: true}); code != record.OK {
			t.Fatalf("export: %d %s", code, errs)
		}
		some := probesRequest(hf, texts, t.TempDir(), probe.Mean)
		some.Layers = []string{"1", "embedding"}
		if s := probesOf(t, some); len(s.Results.Layers) != 2 || s.Results.Layers[1].Probe.Accuracy != got.Results.Layers[2].Probe.Accuracy || s.Results.Layers[0].Layer != probe.Embedding {
			t.Errorf("%s: %+v", family, s)
		}
	}
}

func TestAnalyzeProbes_Refusals(t *testing.T) {
	run, texts := olmo(t, randomText(t)), kinds(t)
	probesOf(t, probesRequest(run, texts, "", probe.Mean))
	hf := filepath.Join(t.TempDir(), "hf")
	if code, _, errs := work(t, request.CommandExport, request.Export{Run: run, Out: hf, Quiet: true}); code != record.OK {
		t.Fatalf("export: %d %s", code, errs)
	}
	layer := probesRequest(run, texts, t.TempDir(), probe.Mean)
	layer.Layers = []string{"2"}
	for name, c := range map[string]struct {
		r    request.AnalyzeProbes
		code record.Code
		want string
	}{
		"another pooling in the folder": {probesRequest(run, texts, "", probe.Last), record.Mismatch, "--out"},
		"a folder without --out":        {probesRequest(hf, texts, "", probe.Mean), record.Usage, "--out"},
		"no such layer":                 {layer, record.Usage, "0 to 1"},
		"no data":                       {probesRequest(run, t.TempDir(), "", probe.Mean), record.IO, "goroot"},
	} {
		if code, _, errs := work(t, request.CommandAnalyzeProbes, c.r); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s", name, code, errs)
		}
	}
}

// olmo trains a small model of the other family.
func olmo(t *testing.T, prepared string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	file := configFile(t, prepared, 20)
	if code, _, errs := work(t, request.CommandTrain, request.Train{Config: file, Out: dir, Resume: "auto", Quiet: true}); code != record.OK {
		t.Fatalf("train: %d %s", code, errs)
	}
	return dir
}

// theirs is what oracle/probes.py writes.
type theirs struct {
	Layers map[string]struct {
		Best theirFit   `json:"best"`
		Fits []theirFit `json:"fits"`
	} `json:"layers"`
	Version string `json:"scikit-learn"`
}

type theirFit struct {
	C, Train, Val, Test float64
}

// Accuracies are within half a point of scikit-learn's on the same features and splits, with two labels and with many.
func TestAnalyzeProbes_OracleScikitLearn(t *testing.T) {
	python := os.Getenv("PLASTICITY_PROBES")
	if python == "" {
		t.Skip("needs scikit-learn: make oracle")
	}
	run := trained(t, randomText(t), "{steps: 30}", "1e-2")
	for _, task := range []string{label.Synthetic, label.Decade} {
		features := filepath.Join(t.TempDir(), "features.safetensors")
		r := probesRequest(run, "", t.TempDir(), probe.Last)
		r.Task, r.Features, r.Train, r.Test = task, features, 500, 1000
		if task == label.Decade {
			r.Data = speeches(t)
		}
		ours := probesOf(t, r)
		compareProbes(t, python, features, ours.Results)
	}
}

func compareProbes(t *testing.T, python, features string, ours probe.Result) {
	t.Helper()
	grid, err := json.Marshal(ours.Settings.Grid)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.json")
	if said, err := exec.CommandContext(t.Context(), python, filepath.Join("..", "..", "oracle", "probes.py"), features, string(grid), out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var want theirs
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Layers) != len(ours.Layers) {
		t.Fatalf("%d layers there, %d here", len(want.Layers), len(ours.Layers))
	}
	for _, l := range ours.Layers {
		best := want.Layers[probe.LayerName(l.Layer)].Best
		t.Logf("scikit-learn %s, %s, %d labels, %s, layer %s: C %g, %.4f; here C %g, %.4f", want.Version, ours.Settings.Task, len(ours.Labels), ours.Settings.Pool,
			probe.LayerName(l.Layer), best.C, best.Test, float64(l.Probe.C), float64(l.Probe.Accuracy))
		for name, d := range map[string]float64{
			"train": best.Train - float64(l.Probe.Train), "val": best.Val - float64(l.Probe.Val), "test": best.Test - float64(l.Probe.Accuracy),
		} {
			if math.Abs(d) > 0.005 {
				t.Errorf("%s, %s, layer %s: %s accuracy differs by %v", ours.Settings.Task, ours.Settings.Pool, probe.LayerName(l.Layer), name, d)
			}
		}
	}
}

// speeches are the State of the Union addresses in the cache, where tools/oracle.sh puts them.
func speeches(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("PLASTICITY_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, "plasticity")
	}
	dir := filepath.Join(cache, "data", "sotu")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("%v: plasticity data fetch sotu", err)
	}
	return dir
}
