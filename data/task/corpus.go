package task

import (
	"context"
	"iter"

	"plasticity/config"
	"plasticity/data"
)

// Corpus is a task in tokens, for models of one context: what is trained on and what is measured. It is immutable.
type Corpus struct {
	set         *Set
	tokenizer   *data.Tokenizer
	train, test []tokens
	context     int     // at most so many tokens are read
	bytes       float64 // of UTF-8 that a token of a test response stands for
}

// tokens is an encoded example.
type tokens struct {
	ids   []int32
	start int // of the response
}

// Encode tokenises both sides of the task for a context of so many tokens. A row has one token more than its inputs. The
// error is a Failure that names the example.
func (s *Set) Encode(tok *data.Tokenizer, context int) (*Corpus, error) {
	c := &Corpus{set: s, tokenizer: tok, context: context}
	var err error
	if c.train, err = encodeAll(tok, s.train, context); err != nil {
		return nil, err
	}
	if c.test, err = encodeAll(tok, s.test, context); err != nil {
		return nil, err
	}
	eos, _ := tok.EOS() // stands for no text
	bytes, count := 0, 0
	for _, r := range c.test {
		for _, id := range r.ids[max(r.start, 1):] {
			if id != eos {
				bytes += len(tok.Bytes(id))
			}
			count++
		}
	}
	c.bytes = float64(bytes) / float64(max(count, 1))
	return c, nil
}

func encodeAll(tok *data.Tokenizer, examples []Example, context int) ([]tokens, error) {
	rows := make([]tokens, len(examples))
	for i, e := range examples {
		ids, start, err := Encode(tok, e, context+1)
		if err != nil {
			return nil, err
		}
		rows[i] = tokens{ids, start}
	}
	return rows, nil
}

// Dir returns the folder of the task.
func (c *Corpus) Dir() string { return c.set.Dir() }

// BytesPerToken is how many bytes of UTF-8 a token of a test response stands for, on average.
func (c *Corpus) BytesPerToken() float64 { return c.bytes }

// Counted returns how many tokens of each side the loss is over.
func (c *Corpus) Counted() (train, test int64) { return counted(c.train), counted(c.test) }

// Facts is what a configuration needs to know of the task: its tokens are those that the loss is over, and both sides have
// one digest.
func (c *Corpus) Facts() config.DataFacts {
	train, test := c.Counted()
	return config.DataFacts{
		Vocab: c.tokenizer.Vocab(), TrainTokens: train, ValTokens: test, Examples: int64(len(c.train)), Longest: c.Longest(), TrainDigest: c.set.Digest(),
		ValDigest: c.set.Digest(), TokenizerDigest: c.tokenizer.Digest(), Source: "task " + c.set.Name(), Task: c.set.Name(),
	}
}

// Longest returns how many tokens the longest example of either side reads; at least 1.
func (c *Corpus) Longest() int { return max(longest(c.train), longest(c.test)) }

func longest(rows []tokens) int {
	n := 1
	for _, r := range rows {
		n = max(n, len(r.ids)-1)
	}
	return n
}

func counted(rows []tokens) int64 {
	n := int64(0)
	for _, r := range rows {
		n += int64(len(r.ids) - max(r.start, 1))
	}
	return n
}

// Batches returns the test set in its order, sequences to a batch, for evaluation: at least one example, at most as many as
// have maxTokens tokens that the loss is over (0: all). An error ends the sequence.
func (c *Corpus) Batches(_, sequences int, maxTokens int64) iter.Seq2[data.Batch, error] {
	return func(yield func(data.Batch, error) bool) {
		if sequences < 1 {
			yield(data.Batch{}, usage("%d sequences to a batch: must be positive", sequences))
			return
		}
		rows := c.test
		for i, sum := 0, int64(0); maxTokens > 0 && i < len(rows); i++ {
			if sum += counted(rows[i : i+1]); sum > maxTokens {
				rows = rows[:max(i, 1)]
			}
		}
		for step := int64(0); len(rows) > 0; step++ {
			n := min(sequences, len(rows))
			b := c.pad(rows[:n])
			b.Step = step
			if !yield(b, nil) {
				return
			}
			rows = rows[n:]
		}
	}
}

// timeUnit is what the length of a batch is a multiple of, within the context: the engine pads to it anyway, and a batch has
// few lengths.
const timeUnit = 32

// pad puts rows side by side: behind a row's own tokens zeros, whose targets do not count. No row sees another.
func (c *Corpus) pad(rows []tokens) data.Batch {
	time := min((longest(rows)+timeUnit-1)/timeUnit*timeUnit, c.context)
	b := data.NewBatch(len(rows), time)
	for i := range b.Targets {
		b.Targets[i] = -1
	}
	for i, r := range rows {
		inputs, targets := b.Inputs[i*time:(i+1)*time], b.Targets[i*time:(i+1)*time]
		copy(inputs, r.ids[:len(r.ids)-1])
		for t := max(r.start, 1); t < len(r.ids); t++ {
			targets[t-1] = r.ids[t]
		}
	}
	return b
}

// LoaderOptions says what a Loader delivers. The batch of a step is a function of the corpus and of these alone: every epoch has
// each example once, and its last batch those that are left.
type LoaderOptions struct {
	Sequences int    // examples a batch
	Seed      int64  // of the order
	Order     string // data.Shuffled, anew each epoch, or data.Sequential
	Start     int64  // the first step to deliver
}

// Read returns how many tokens the loss is over in the first steps that a loader with these options delivers.
func (c *Corpus) Read(o LoaderOptions, steps int64) int64 {
	if len(c.train) == 0 || o.Sequences < 1 {
		return 0 // no loader delivers any
	}
	epochs := steps / StepsPerEpoch(len(c.train), o.Sequences)
	n := epochs * counted(c.train)
	for step := epochs * StepsPerEpoch(len(c.train), o.Sequences); step < steps; step++ {
		rows, _ := c.rows(o, step)
		n += counted(rows)
	}
	return n
}

// rows are the examples of a step, and how often all have been read before.
func (c *Corpus) rows(o LoaderOptions, step int64) (rows []tokens, epoch int64) {
	perEpoch := StepsPerEpoch(len(c.train), o.Sequences)
	epoch = step / perEpoch
	first := int(step%perEpoch) * o.Sequences
	order := data.NewPermutation(int64(len(c.train)), o.Seed, epoch)
	for i := first; i < min(first+o.Sequences, len(c.train)); i++ {
		at := int64(i)
		if o.Order == data.Shuffled {
			at = order.At(at)
		}
		rows = append(rows, c.train[at])
	}
	return rows, epoch
}

// StepsPerEpoch returns how many batches of so many examples an epoch has.
func StepsPerEpoch(examples, sequences int) int64 {
	return (int64(examples) + int64(sequences) - 1) / int64(sequences)
}

// Loader delivers batches of the training side.
type Loader struct {
	corpus *Corpus
	o      LoaderOptions
	step   int64
}

// Loader returns a loader. Errors are Failures.
func (c *Corpus) Loader(o LoaderOptions) (*Loader, error) {
	switch {
	case o.Sequences < 1 || o.Start < 0:
		return nil, usage("batches of %d examples from step %d on: at least 1 and 0", o.Sequences, o.Start)
	case o.Order != data.Shuffled && o.Order != data.Sequential:
		return nil, usage("data order %q: %s or %s", o.Order, data.Shuffled, data.Sequential)
	case len(c.train) == 0:
		return nil, bad("%s: no example to train on: %s", c.Dir(), remedy)
	}
	return &Loader{corpus: c, o: o, step: o.Start}, nil
}

// Next returns the batch of the next step.
func (l *Loader) Next(ctx context.Context) (data.Batch, error) {
	if err := ctx.Err(); err != nil {
		return data.Batch{}, err
	}
	rows, epoch := l.corpus.rows(l.o, l.step)
	b := l.corpus.pad(rows)
	b.Step, b.Epoch = l.step, epoch
	l.step++
	return b, nil
}

// Close does nothing: there is nothing to let go of.
func (l *Loader) Close() error { return nil }
