package main

import (
	"context"

	"plasticity/analyze/window"
	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
)

// configOf reads the record and the configuration of a model's run.
func configOf(source model.Source) (*record.Run, config.Run, error) {
	run, err := record.Open(source.RunDir)
	if err != nil {
		return nil, config.Run{}, err
	}
	c, err := config.Load(config.LoadOptions{File: run.Path(record.ResolvedFile)})
	return run, c, err
}

// heldOut opens the text to measure a model on: the folder named, or the validation text of the model's run, which must be the one that the
// run had.
func heldOut(source model.Source, named string) (*data.Set, error) {
	if named != "" {
		set, err := data.Open(named)
		if err != nil {
			return nil, err
		}
		return set, belongs(source, set)
	}
	var c config.Run
	var run *record.Run
	if source.RunDir != "" {
		var err error
		if run, c, err = configOf(source); err != nil {
			return nil, err
		}
	}
	if c.Data.Val == "" {
		return nil, record.Fail(record.Usage, "%s has no validation text of its own: name prepared text with --data", source.Path)
	}
	set, err := data.Open(c.Data.Val)
	if err != nil {
		return nil, record.Fail(record.CodeOf(err), "the validation text of run %s: %w: name its folder with --data", run.Info.ID, err)
	}
	if set.Digest() != run.Info.ValDigest {
		return nil, record.Fail(record.Mismatch, "%s is not the validation text that run %s had: name its folder with --data", set.Dir(), run.Info.ID)
	}
	return set, belongs(source, set)
}

// drawn verifies the text, since what is measured must be what its digest says, and draws windows of at most so many tokens, one at least.
func drawn(ctx context.Context, set *data.Set, length int, tokens, seed int64) (*window.Sample, error) {
	if err := set.Verify(ctx); err != nil {
		return nil, err
	}
	text, err := window.NewText(set, length)
	if err != nil {
		return nil, err
	}
	sample := text.Draw(max(1, tokens/int64(length)), seed)
	return &sample, nil
}

// ownScorer is a scorer with the model it computes with.
type ownScorer struct {
	*eval.ModelScorer
	model  *model.Transformer
	source model.Source // of the weights
}

// openScorer opens a model to compute the losses of single windows with. The caller closes it.
func openScorer(s streams, quiet bool, path string, threads int) (*ownScorer, error) {
	m, source, err := open(path, threads)
	if err != nil {
		return nil, err
	}
	scorer, err := eval.NewScorer(m, 1, compute(threads))
	if err != nil {
		m.Close()
		return nil, err
	}
	fellBack(s, quiet, scorer.Fallback())
	return &ownScorer{scorer, m, source}, nil
}

// Close frees the scorer and its model.
func (s *ownScorer) Close() {
	s.ModelScorer.Close()
	s.model.Close()
}
