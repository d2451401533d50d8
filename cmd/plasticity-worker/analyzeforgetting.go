package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"plasticity/analyze/forgetting"
	"plasticity/cmd/internal/request"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// analyzeForgetting compares the losses of a fine-tuned model and of its base on text that the base was made for.
func analyzeForgetting(ctx context.Context, r request.AnalyzeForgetting, s streams) error {
	tuned, err := s.locate(r.Model)
	if err != nil {
		return err
	}
	out, err := analysisDir(tuned, r.Out, "forgetting")
	if err != nil {
		return err
	}
	base, identity, err := baseOf(tuned, r.Base)
	if err != nil {
		return err
	}
	set, err := heldOut(base, r.Data)
	if err != nil {
		return err
	}
	if err := belongs(tuned, set); err != nil {
		return err
	}
	f := forgettingOf{streams: s, request: r, set: set, base: base.Path, settings: forgetting.Settings{
		Base: identity, TextDigest: set.Digest(), Context: min(base.Config.Context, tuned.Config.Context), Tokens: r.Tokens, Seed: r.Seed,
	}}
	if f.settings.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	if f.settings.Base == f.settings.Model {
		return record.Fail(record.Usage, "%s and %s are the same weights: name another base model with --base", base.Path, r.Model)
	}
	return keep(s, r.JSON, out, forgetting.File, analysis[*forgetting.Result]{
		find:    func() (*forgetting.Result, bool, error) { return forgetting.Find(record.OS(), out, f.settings) },
		measure: func() (*forgetting.Result, error) { return f.measure(ctx) },
	})
}

// baseOf finds the model that a fine-tuned one was made from, and what identifies its weights: the one named, or, of a run, the one it started from. A
// run that started from fresh weights has none.
func baseOf(tuned model.Source, named string) (model.Source, string, error) {
	if tuned.RunDir == "" {
		if named == "" {
			return model.Source{}, "", record.Fail(record.Usage, "%s is a Hugging Face folder: name the model that it was fine-tuned from with --base", tuned.Path)
		}
		return identified(named)
	}
	run, c, err := configOf(tuned)
	switch {
	case err != nil:
		return model.Source{}, "", err
	case c.Fresh:
		return model.Source{}, "", record.Fail(record.Usage, "%s was never pretrained (fresh: true): there is nothing that it could forget", tuned.Path)
	case named != "":
		return identified(named)
	case c.Init == "" || len(run.Info.Parents) == 0:
		return model.Source{}, "", record.Fail(record.Usage, "%s was not made from another model: name a fine-tuned run, or the model to compare it with by --base", tuned.Path)
	}
	parent, why := run.Info.Parents[0], ""
	// A sweep's runs lie side by side: where their folder was moved, the base is beside the run.
	for _, path := range []string{c.Init, filepath.Join(filepath.Dir(filepath.Clean(tuned.RunDir)), parent)} {
		base, identity, err := identified(path)
		switch {
		case err == nil && strings.HasPrefix(identity, parent):
			return base, identity, nil
		case err == nil:
			why += fmt.Sprintf("; %s is %s", path, identity)
		default:
			why += fmt.Sprintf("; %v", err)
		}
	}
	return model.Source{}, "", record.Fail(record.Mismatch, "run %s was made from %s: name its folder with --base%s", run.Info.ID, parent, why)
}

// identified locates a model and says which weights it has.
func identified(path string) (model.Source, string, error) {
	source, err := model.Locate(path)
	if err != nil {
		return model.Source{}, "", err
	}
	identity, err := trainer.Identity(path)
	return source, identity, err
}

// forgettingOf is the measurement of what a model has forgotten.
type forgettingOf struct {
	streams  streams
	request  request.AnalyzeForgetting
	settings forgetting.Settings
	set      *data.Set
	base     string // folder
}

// measure computes the losses of one model and then of the other.
func (f *forgettingOf) measure(ctx context.Context) (*forgetting.Result, error) {
	sample, err := drawn(ctx, f.set, f.settings.Context, f.settings.Tokens, f.settings.Seed)
	if err != nil {
		return nil, err
	}
	done, progress := 0, f.streams.counter(f.request.Quiet, "%d of %d windows", 0, 2*sample.Len())
	defer progress.end()
	losses := func(path string) ([]float64, error) {
		scorer, err := openScorer(f.streams, f.request.Quiet, path, f.request.Threads)
		if err != nil {
			return nil, err
		}
		defer scorer.Close()
		return sample.Losses(ctx, scorer, func() { done++; progress.show(done) })
	}
	base, err := losses(f.base)
	if err != nil {
		return nil, err
	}
	tuned, err := losses(f.request.Model)
	if err != nil {
		return nil, err
	}
	return forgetting.Compare(f.settings, sample, base, tuned), nil
}
