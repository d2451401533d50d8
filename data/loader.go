package data

import (
	"context"
	"fmt"
	"sync"

	"plasticity/record"
)

// Orders of the windows of an epoch.
const (
	Shuffled   = "shuffled"   // a new permutation every epoch, a pure function of seed and epoch
	Sequential = "sequential" // file order
)

// Batch is one step's worth of sequences.
type Batch struct {
	// Inputs and Targets have Sequences × Time tokens, row by row; each target is the token after its input, or −1 where
	// it does not count.
	Inputs, Targets []int32
	Time            int // tokens of a row
	// Step is the step that the batch is for, Epoch how often the set was read in full before its first window.
	Step, Epoch int64
}

// NewBatch returns a batch of zeros.
func NewBatch(sequences, time int) Batch {
	return Batch{Inputs: make([]int32, sequences*time), Targets: make([]int32, sequences*time), Time: time}
}

// Sequences returns the number of rows.
func (b *Batch) Sequences() int { return len(b.Inputs) / b.Time }

// Counted returns how many targets count.
func (b *Batch) Counted() int {
	n := 0
	for _, target := range b.Targets {
		if target >= 0 {
			n++
		}
	}
	return n
}

// window reads window i into a row of b.
func (r *reader) window(b *Batch, row, context int, i int64) error {
	inputs, targets := b.Inputs[row*context:(row+1)*context], b.Targets[row*context:(row+1)*context]
	start := i * int64(context)
	if err := r.tokens(inputs, start); err != nil {
		return err
	}
	copy(targets, inputs[1:])
	return r.tokens(targets[context-1:], start+int64(context))
}

// LoaderOptions says what a Loader delivers. The batch of step s has the samples s·Sequences to (s+1)·Sequences−1 of an
// endless sequence of epochs, so it is a function of the set and of these options alone.
type LoaderOptions struct {
	Context   int    // tokens a window
	Sequences int    // windows a batch
	Vocab     int    // of the model; 0: the set's. A smaller one is a Failure with Mismatch
	Seed      int64  // of the order
	Order     string // Shuffled or Sequential
	Start     int64  // the first step to deliver; to resume, the number of steps done
}

// Loader prepares batches ahead in a goroutine of its own.
type Loader struct {
	set     *Set
	o       LoaderOptions
	windows int64
	read    *reader
	order   Permutation
	epoch   int64 // of order; −1: none yet

	batches chan delivery
	stop    chan struct{}
	once    sync.Once
	failed  error // the last delivery's error, for all calls after it
}

// delivery is a batch or the error that ends them.
type delivery struct {
	batch Batch
	err   error
}

// ahead is how many finished batches wait.
const ahead = 2

// NewLoader starts a loader; Close it. Errors are Failures.
func NewLoader(set *Set, o LoaderOptions) (*Loader, error) {
	switch {
	case o.Context < 1 || o.Sequences < 1:
		return nil, usage("context %d and sequences %d must be positive", o.Context, o.Sequences)
	case int64(o.Context)*int64(o.Sequences) > maxBatchTokens:
		return nil, usage("a batch of %d × %d tokens: at most %d are supported", o.Sequences, o.Context, maxBatchTokens)
	case o.Start < 0 || o.Start > maxTokens/int64(o.Sequences):
		return nil, usage("first step %d is not in [0, %d]", o.Start, maxTokens/int64(o.Sequences))
	case o.Order != Shuffled && o.Order != Sequential:
		return nil, usage("data order %q: %s or %s", o.Order, Shuffled, Sequential)
	case o.Vocab != 0 && o.Vocab < set.Vocab():
		return nil, record.Fail(record.Mismatch, "%s: its vocabulary has %d tokens, the model's %d: set model.vocab to 0 or to %d at least",
			set.Dir(), set.Vocab(), o.Vocab, set.Vocab())
	}
	l := &Loader{
		set: set, o: o, windows: set.WindowCount(o.Context), read: newReader(set), epoch: -1,
		batches: make(chan delivery, ahead), stop: make(chan struct{}),
	}
	if l.windows == 0 {
		return nil, set.tooShort(o.Context)
	}
	go l.run()
	return l, nil
}

// maxBatchTokens bounds what a batch allocates: 256 Mi tokens are 2 GiB.
const maxBatchTokens = 1 << 28

// Next returns the next batch. After an error, which keeps its place in the order of batches, all calls return it.
func (l *Loader) Next(ctx context.Context) (Batch, error) {
	if l.failed != nil {
		return Batch{}, l.failed
	}
	select {
	case d, ok := <-l.batches:
		if !ok {
			d.err = record.Fail(record.Internal, "%s: batch asked for after the loader was closed", l.set.Dir())
		}
		l.failed = d.err
		return d.batch, d.err
	case <-ctx.Done():
		return Batch{}, record.FailIO(ctx.Err(), "wait for data")
	}
}

// Close stops the loader and waits for its goroutine. It may be called more than once, but not during Next.
func (l *Loader) Close() error {
	l.once.Do(func() { close(l.stop) })
	for range l.batches { // until the goroutine closes it
	}
	return nil
}

// run delivers batches until it is stopped or fails.
func (l *Loader) run() {
	defer close(l.batches)
	defer l.read.close() //nolint:errcheck // only read
	for step := l.o.Start; ; step++ {
		b, err := l.build(step)
		select {
		case l.batches <- delivery{b, err}:
		case <-l.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

// build makes the batch of a step. A panic becomes an error, so that whoever waits for the batch hears of it.
func (l *Loader) build(step int64) (b Batch, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, err = Batch{}, record.Fail(record.Internal, "%s: loading the batch of step %d: %v", l.set.Dir(), step, r)
		}
	}()
	b = NewBatch(l.o.Sequences, l.o.Context)
	first := step * int64(l.o.Sequences)
	b.Step, b.Epoch = step, first/l.windows
	for row := range l.o.Sequences {
		sample := first + int64(row)
		window, err := l.place(sample)
		if err != nil {
			return Batch{}, err
		}
		if err := l.read.window(&b, row, l.o.Context, window); err != nil {
			return Batch{}, fmt.Errorf("step %d: %w", step, err)
		}
	}
	return b, nil
}

// place returns the window of a sample. At the start of an epoch it checks that the shards are what they were.
func (l *Loader) place(sample int64) (int64, error) {
	epoch, index := sample/l.windows, sample%l.windows
	if epoch != l.epoch {
		if err := l.set.unchanged(); err != nil {
			return 0, err
		}
		l.order, l.epoch = NewPermutation(l.windows, l.o.Seed, epoch), epoch
	}
	if l.o.Order == Sequential {
		return index, nil
	}
	return l.order.At(index), nil
}
