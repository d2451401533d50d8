package main

import (
	"context"

	"plasticity/analyze/noise"
	"plasticity/analyze/window"
	"plasticity/cmd/internal/request"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
	"plasticity/trainer"
)

// analyzeNoise measures how a model's loss answers to noise on its weights.
func analyzeNoise(ctx context.Context, r request.AnalyzeNoise, s streams) error {
	if err := noise.Check(r.Sigmas, r.Draws); err != nil {
		return err
	}
	source, err := s.locate(r.Model)
	if err != nil {
		return err
	}
	out, err := analysisDir(source, r.Out, "noise")
	if err != nil {
		return err
	}
	set, err := heldOut(source, r.Data)
	if err != nil {
		return err
	}
	n := noiseOf{streams: s, request: r, set: set, settings: noise.Settings{
		TextDigest: set.Digest(), Context: source.Config.Context, Tokens: r.Tokens, Seed: r.Seed, Sigmas: r.Sigmas, Draws: r.Draws,
	}}
	if n.settings.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	return keep(s, r.JSON, out, noise.File, analysis[*noise.Result]{
		find:    func() (*noise.Result, bool, error) { return noise.Find(record.OS(), out, n.settings) },
		measure: func() (*noise.Result, error) { return n.measure(ctx) },
	})
}

// noiseOf is the measurement of a model's answer to noise.
type noiseOf struct {
	streams  streams
	request  request.AnalyzeNoise
	settings noise.Settings
	set      *data.Set
}

// measure opens the model and asks it for its losses.
func (n *noiseOf) measure(ctx context.Context) (*noise.Result, error) {
	sample, err := drawn(ctx, n.set, n.settings.Context, n.settings.Tokens, n.settings.Seed)
	if err != nil {
		return nil, err
	}
	scorer, err := openScorer(n.streams, n.request.Quiet, n.request.Model, n.request.Threads)
	if err != nil {
		return nil, err
	}
	defer scorer.Close()
	file, err := scorer.source.OpenWeights()
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	done, progress := 0, n.streams.counter(n.request.Quiet, "%d of %d losses", 0, 1+len(n.settings.Sigmas)*n.settings.Draws)
	defer progress.end()
	loss := func(ctx context.Context) (float64, error) {
		losses, err := sample.Losses(ctx, scorer, nil)
		return window.Mean(losses), err
	}
	result, err := noise.Measure(ctx, n.settings, &storedWeights{scorer.model, file}, loss, func() { done++; progress.show(done) })
	if err != nil {
		return nil, err
	}
	result.Text, result.Sequences, result.Tokens = n.set.Dir(), sample.Len(), sample.Tokens()
	return result, nil
}

// storedWeights are those of a model in memory, whose originals stay in their file: there is no second copy in memory.
type storedWeights struct {
	model *model.Transformer
	file  *safetensors.File
}

// Matrices are all parameters with two dimensions; the others are gains.
func (w *storedWeights) Matrices() []string {
	var names []string
	for _, p := range w.model.Registry().Params() {
		if len(p.Shape) == 2 {
			names = append(names, p.Name)
		}
	}
	return names
}

func (w *storedWeights) Original(name string) ([]float32, error) { return w.file.Float32(name) }

func (w *storedWeights) Set(name string, values []float32) error {
	return w.model.Registry().Write(nn.Params, name, values)
}

func (w *storedWeights) Restore() error { return w.model.Load(w.file) }
