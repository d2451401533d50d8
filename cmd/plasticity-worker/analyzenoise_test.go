package main

import (
	"context"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/analyze/noise"
	"plasticity/cmd/internal/request"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
)

type shaken struct {
	Out       string       `json:"out"`
	Unchanged bool         `json:"unchanged"`
	Results   noise.Result `json:"results"`
}

// The loss without noise is the one that eval says, noise of growing size makes it rise, and the run's weights stay as they are.
func TestAnalyzeNoise(t *testing.T) {
	prepared, root := randomText(t), t.TempDir()
	base := baseModel(t, prepared, root)
	last, _, err := record.FindCheckpoint(record.OS(), base)
	if err != nil {
		t.Fatal(err)
	}
	before := folderOf(t, last.Path("."))
	ask := func(r request.AnalyzeNoise) request.AnalyzeNoise {
		if r.Sigmas == nil {
			r.Sigmas = []float64{0.001, 0.1, 0.5}
		}
		r.Draws, r.Tokens, r.Seed, r.Threads, r.JSON, r.Quiet = 3, 1<<20, max(1, r.Seed), 1, true, true
		return r
	}
	get := func(r request.AnalyzeNoise) shaken {
		return decode[shaken](t, made(t, request.CommandAnalyzeNoise, ask(r)))
	}
	got := get(request.AnalyzeNoise{Model: base})
	t.Log(got.Results.Describe())
	r := got.Results
	said := decode[request.Loss](t, made(t, request.CommandEvalLoss, request.EvalLoss{Model: base, Data: prepared + "/val", Threads: 1, JSON: true}))
	if got.Out != filepath.Join(base, "analyze", "noise") || got.Unchanged || math.Abs(float64(r.Loss-said.LossNatsPerToken)) > 1e-5 || r.Tokens != said.Tokens || r.Matrices != 2*7+2 {
		t.Errorf("%+v, eval says %+v", got, said)
	}
	if l := r.Levels; math.Abs(float64(l[0].Rise)) > 0.01 || l[1].Rise < 5*l[0].Rise || l[2].Rise < 5*l[1].Rise || l[2].Rise < 0.1 || r.SigmaAtRise == nil || *r.SigmaAtRise > 0.5 {
		t.Errorf("levels %+v", l)
	}
	sameFiles(t, "the checkpoint", folderOf(t, last.Path(".")), before)
	if again := get(request.AnalyzeNoise{Model: base}); !again.Unchanged || again.Results.Describe() != r.Describe() {
		t.Errorf("%+v", again)
	}
	hf := filepath.Join(t.TempDir(), "hf")
	made(t, request.CommandExport, request.Export{Run: base, Out: hf, Quiet: true})
	if folder := get(request.AnalyzeNoise{Model: hf, Data: prepared + "/val", Out: t.TempDir()}); folder.Results.Levels[2].Loss != r.Levels[2].Loss {
		t.Errorf("from a Hugging Face folder: %+v", folder)
	}
	for what, c := range map[string]struct {
		r     request.AnalyzeNoise
		code  record.Code
		words string
	}{
		"other sizes":       {request.AnalyzeNoise{Model: base, Sigmas: []float64{0.1}}, record.Mismatch, "--out"},
		"sizes in disorder": {request.AnalyzeNoise{Model: base, Sigmas: []float64{0.2, 0.1}}, record.Usage, "sigmas"},
		"a folder, no text": {request.AnalyzeNoise{Model: hf, Out: t.TempDir()}, record.Usage, "--data"},
		"a folder, no out":  {request.AnalyzeNoise{Model: hf, Data: prepared + "/val"}, record.Usage, "--out"},
		"another tokenizer": {request.AnalyzeNoise{Model: base, Data: corpus(t) + "/val", Out: t.TempDir()}, record.Mismatch, "tokenizer"},
		"no model":          {request.AnalyzeNoise{Model: "nowhere"}, record.BadData, "nowhere"},
	} {
		if code, out, errs := inside(t, request.CommandAnalyzeNoise, ask(c.r)); code != c.code || out != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%s: %d %q %q, want %d with %q", what, code, out, errs, c.code, c.words)
		}
	}
	everyMatrixAndNoGain(t, base)
}

// everyMatrixAndNoGain looks at the weights while there is noise on them, and after it: every matrix has moved by σ of its norm, no gain has,
// and then all of them are back to the bit.
func everyMatrixAndNoGain(t *testing.T, path string) {
	t.Helper()
	m, source, err := model.Open(path, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	file, err := source.OpenWeights()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read := func() map[string][]float32 {
		out := map[string][]float32{}
		for _, p := range m.Registry().Params() {
			if out[p.Name], err = m.Registry().Read(nn.Params, p.Name); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	original, looked := read(), 0
	s := noise.Settings{Seed: 1, Sigmas: []float64{0.25}, Draws: 2}
	_, err = noise.Measure(context.Background(), s, &storedWeights{m, file}, func(context.Context) (float64, error) {
		if looked++; looked == 1 {
			return 1, nil
		}
		for name, now := range read() {
			var distance, square float64
			for i, x := range original[name] {
				d := float64(now[i]) - float64(x)
				distance, square = distance+d*d, square+float64(x)*float64(x)
			}
			moved, want := math.Sqrt(distance/square), 0.25
			if strings.Contains(name, "norm") {
				want = 0
			}
			if math.Abs(moved-want) > 0.06 {
				t.Errorf("%s moved by %v of its norm, want %v", name, moved, want)
			}
		}
		return 2, nil
	}, func() {})
	if err != nil || looked != 3 {
		t.Fatal(err, looked)
	}
	if now := read(); !maps.EqualFunc(now, original, slices.Equal[[]float32]) {
		t.Error("the weights are not back")
	}
}
