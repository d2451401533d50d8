package trainer

import (
	"context"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
)

// The kinds of a run in its record.
const (
	kindPretrain = "pretrain"
	kindFinetune = "finetune"
)

// source is what a run reads: prepared text, or a task and the tokenizer of the model that is fine-tuned on it.
type source interface {
	kind() string
	facts() config.DataFacts
	// verify reads once what open did not read, so that other content is not trained on under this run's id.
	verify(ctx context.Context) error
	keepTokenizer(fsys record.FS, r *record.Run, context int) error
	// load delivers the batches from a step on.
	load(c config.Resolved, start int64) (batches, error)
	// read is how many tokens the loss is over in the first steps.
	read(c config.Resolved, steps int64) int64
	validation() eval.Text // nil: none
}

// batches are those of the steps, in order.
type batches interface {
	Next(ctx context.Context) (data.Batch, error)
	Close() error
}

// openSource opens the data of a config. For a task it also fills in the model, which is the base.
func openSource(c *config.Run, base *model.Source) (source, error) {
	if c.Data.Task != "" {
		return openTask(c, base)
	}
	return openText(*c)
}

// text is prepared text.
type text struct {
	train, val *data.Set // val may be nil
}

func openText(c config.Run) (*text, error) {
	var t text
	var err error
	if t.train, err = data.Open(c.Data.Train); err != nil || c.Data.Val == "" {
		return &t, err
	}
	if t.val, err = data.Open(c.Data.Val); err != nil {
		return nil, err
	}
	if t.val.TokenizerDigest() != t.train.TokenizerDigest() {
		return nil, record.Fail(record.Mismatch, "%s and %s were made with different tokenizers: prepare both with one", c.Data.Train, c.Data.Val)
	}
	if t.val.Digest() == t.train.Digest() {
		return nil, record.Fail(record.Usage, "data.val: %s has the text of data.train, %s: validate on text that is not trained on, or leave data.val out", c.Data.Val, c.Data.Train)
	}
	return &t, nil
}

func (t *text) kind() string { return kindPretrain }

func (t *text) facts() config.DataFacts {
	facts := config.DataFacts{
		Vocab: t.train.Vocab(), TrainTokens: t.train.Tokens(), TrainDigest: t.train.Digest(),
		TokenizerDigest: t.train.TokenizerDigest(), Source: t.train.Source(),
	}
	if t.val != nil {
		facts.ValTokens, facts.ValDigest = t.val.Tokens(), t.val.Digest()
	}
	return facts
}

// verify compares every shard's digest: one of the same size with other content opens as well.
func (t *text) verify(ctx context.Context) error {
	for _, set := range []*data.Set{t.train, t.val} {
		if set == nil {
			continue
		}
		if err := set.Verify(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *text) keepTokenizer(fsys record.FS, r *record.Run, context int) error {
	return keepTokenizer(fsys, r, t.train.Tokenizer, context)
}

func (t *text) load(c config.Resolved, start int64) (batches, error) {
	l, err := data.NewLoader(t.train, data.LoaderOptions{
		Context: c.Model.Context, Sequences: c.Batch.Sequences, Vocab: c.Model.Vocab, Seed: c.Seed, Order: c.Data.Order, Start: start,
	})
	if err != nil {
		return nil, err // not a loader that is nil
	}
	return l, nil
}

func (t *text) read(c config.Resolved, steps int64) int64 { return steps * c.TokensPerStep }

func (t *text) validation() eval.Text {
	if t.val == nil {
		return nil
	}
	return t.val
}

// exercises are the examples of a task.
type exercises struct {
	corpus    *task.Corpus
	tokenizer *data.Tokenizer
}

// openTask opens a task for the base model, and gives the config that model's shape.
func openTask(c *config.Run, base *model.Source) (_ *exercises, err error) {
	shape := base.Config
	if c.Model != config.Defaults().Model && c.Model != shape {
		return nil, record.Fail(record.Usage, "model: fine-tuning changes no shape, and %s has another one: leave the section model out", c.Init)
	}
	c.Model = shape
	e := &exercises{}
	if e.tokenizer, err = base.Tokenizer(); err != nil {
		return nil, err
	}
	set, err := task.Open(c.Data.Task)
	if err != nil {
		return nil, err
	}
	e.corpus, err = set.Encode(e.tokenizer, shape.Context)
	return e, err
}

func (e *exercises) kind() string { return kindFinetune }

func (e *exercises) facts() config.DataFacts { return e.corpus.Facts() }

// verify has nothing left to do: opening read all of it and compared its digests.
func (e *exercises) verify(context.Context) error { return nil }

func (e *exercises) keepTokenizer(fsys record.FS, r *record.Run, context int) error {
	return keepTokenizer(fsys, r, func() (*data.Tokenizer, error) { return e.tokenizer, nil }, context)
}

func (e *exercises) load(c config.Resolved, start int64) (batches, error) {
	o := loaderOptions(c)
	o.Start = start
	l, err := e.corpus.Loader(o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (e *exercises) read(c config.Resolved, steps int64) int64 {
	return e.corpus.Read(loaderOptions(c), steps)
}

// loaderOptions is the order of the examples, from the first step on.
func loaderOptions(c config.Resolved) task.LoaderOptions {
	return task.LoaderOptions{Sequences: c.Batch.Sequences, Seed: c.Seed, Order: c.Data.Order}
}

func (e *exercises) validation() eval.Text { return e.corpus }
