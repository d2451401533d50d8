package main

import (
	"context"
	"math"

	"plasticity/analyze/gap"
	"plasticity/analyze/window"
	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// readText is the text that a model was trained on and what it read of it.
type readText struct {
	train, heldOut string // folders; no held-out one: empty
	samples        int64
	order          string
	seed           int64
}

// analyzeGap compares the losses on text that a model was trained on and on text that it was not.
func analyzeGap(ctx context.Context, r request.AnalyzeGap, s streams) error {
	source, err := s.locate(r.Model)
	if err != nil {
		return err
	}
	out, err := analysisDir(source, r.Out, "gap")
	if err != nil {
		return err
	}
	read, err := readBy(source, r)
	if err != nil {
		return err
	}
	g := gapping{streams: s, request: r, settings: gap.Settings{
		Samples: read.samples, Order: read.order, OrderSeed: read.seed, Context: source.Config.Context, Tokens: r.Tokens, Seed: r.Seed,
	}}
	if g.settings.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	if err := g.open(source, read); err != nil {
		return err
	}
	return keep(s, r.JSON, out, gap.File, analysis[*gap.Result]{
		find:    func() (*gap.Result, bool, error) { return gap.Find(record.OS(), out, g.settings) },
		measure: func() (*gap.Result, error) { return g.measure(ctx) },
	})
}

// readBy finds out what a model has read: from the run's configuration and step, or, for any other model, as the request says.
func readBy(source model.Source, r request.AnalyzeGap) (readText, error) {
	given := readText{train: r.Data, heldOut: r.HeldOut, samples: gap.AllRead, order: data.Sequential}
	var c config.Run
	if source.RunDir != "" {
		var err error
		if _, c, err = configOf(source); err != nil {
			return readText{}, err
		}
	}
	if c.Data.Train == "" || c.Weights() != "" || source.Step == 0 {
		if r.Data == "" || r.HeldOut == "" {
			return readText{}, record.Fail(record.Usage, "%s does not say which prepared text its weights were trained on from the first step: name it with --data, and text that they were not trained on with --heldout", source.Path)
		}
		return given, nil
	}
	read := readText{train: c.Data.Train, heldOut: c.Data.Val, samples: source.Step * int64(c.Batch.Sequences), order: c.Data.Order, seed: c.Seed}
	if r.Data != "" {
		read.train = r.Data
	}
	if r.HeldOut != "" {
		read.heldOut = r.HeldOut
	}
	return read, nil
}

// gapping is the measurement of a gap.
type gapping struct {
	streams streams
	request request.AnalyzeGap

	settings       gap.Settings
	train, heldOut *data.Set // heldOut may be nil
}

// open opens the texts and compares them with the model.
func (g *gapping) open(source model.Source, read readText) error {
	var err error
	if g.train, err = data.Open(read.train); err != nil {
		return err
	}
	if err := belongs(source, g.train); err != nil {
		return err
	}
	g.settings.TrainDigest = g.train.Digest()
	if read.samples != gap.AllRead {
		run, err := record.Open(source.RunDir)
		if err != nil {
			return err
		}
		if run.Info.DataDigest != g.train.Digest() {
			return record.Fail(record.Mismatch, "%s is not the text that run %s was trained on: name its folder with --data", g.train.Dir(), run.Info.ID)
		}
	}
	if read.heldOut == "" {
		return nil
	}
	if g.heldOut, err = data.Open(read.heldOut); err != nil {
		return err
	}
	g.settings.HeldOutDigest = g.heldOut.Digest()
	if g.heldOut.Digest() == g.train.Digest() {
		return record.Fail(record.Usage, "%s is the text that the model was trained on: name other text with --heldout", g.heldOut.Dir())
	}
	return belongs(source, g.heldOut)
}

// measure draws the windows of both sides and computes their losses.
func (g *gapping) measure(ctx context.Context) (*gap.Result, error) {
	result := &gap.Result{Settings: g.settings, Train: g.train.Dir()}
	if err := g.train.Verify(ctx); err != nil { // what is compared must be what was read
		return nil, err
	}
	train, err := window.NewText(g.train, g.settings.Context)
	if err != nil {
		return nil, err
	}
	samples := g.settings.Samples
	if samples == gap.AllRead {
		samples = train.Windows
	}
	history := data.NewHistory(train.Windows, samples, g.settings.OrderSeed, g.settings.Order)
	result.Windows, result.WindowsRead, result.Passes = history.Windows(), history.Read(), record.Float(history.Passes())
	if g.settings.Samples == gap.AllRead {
		result.Passes = record.Float(math.NaN())
	}
	scorer, err := openScorer(g.streams, g.request.Quiet, g.request.Model, g.request.Threads)
	if err != nil {
		return nil, err
	}
	defer scorer.Close()
	n := max(1, g.settings.Tokens/int64(g.settings.Context))
	compare := func(heldOut string, paired bool, seen, unseen window.Sample) error {
		done, progress := 0, g.streams.counter(g.request.Quiet, heldOut+": %d of %d windows", 0, 2*seen.Len())
		defer progress.end()
		c, err := gap.Compare(ctx, scorer, heldOut, paired, seen, unseen, g.settings.Seed, func() { done++; progress.show(done) })
		result.Comparisons = append(result.Comparisons, c)
		return err
	}
	if g.heldOut != nil {
		result.HeldOut = g.heldOut.Dir()
		text, err := window.NewText(g.heldOut, g.settings.Context)
		if err != nil {
			return nil, err
		}
		seen, unseen := gap.Unpaired(train, history, text, n, g.settings.Seed)
		if err := compare(gap.Validation, false, seen, unseen); err != nil {
			return nil, err
		}
	}
	if seen, unseen := gap.Paired(train, history, n, g.settings.Seed); seen.Len() > 0 {
		if err := compare(gap.Unread, true, seen, unseen); err != nil {
			return nil, err
		}
	}
	if len(result.Comparisons) == 0 {
		return nil, record.Fail(record.BadData, "%s: the run has read all windows of it and has no validation text: name held-out text with --heldout", g.train.Dir())
	}
	return result, nil
}
