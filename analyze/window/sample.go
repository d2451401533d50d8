package window

import (
	"context"
	"math"
	"slices"

	"plasticity/data"
	"plasticity/record"
)

// drawing is the stream of the permutation that a sample of a seed comes from.
const drawing = 3

// Text is a prepared split to draw windows from.
type Text struct {
	Set       *data.Set
	Documents data.Documents
	Context   int   // tokens of a window
	Windows   int64 // how many there are
}

// NewText reads the set once, for its documents. One that is too short for a window is BadData.
func NewText(set *data.Set, context int) (*Text, error) {
	t := &Text{Set: set, Context: context, Windows: set.WindowCount(context)}
	if t.Windows == 0 {
		return nil, record.Fail(record.BadData, "%s: %d tokens have no window of the model's context, %d: give a folder with more text", set.Dir(), set.Tokens(), context)
	}
	var err error
	t.Documents, err = set.DocumentPlaces()
	return t, err
}

// DocumentOf is the document, from 0, that a window begins in.
func (t *Text) DocumentOf(window int64) int { return t.Documents.Of(window * int64(t.Context)) }

// Draw takes n different windows, or all where there are not so many, in an order made of the seed.
func (t *Text) Draw(n, seed int64) Sample {
	s, order := Sample{Text: t}, data.NewPermutation(t.Windows, seed, drawing)
	for i := range min(n, t.Windows) {
		s.Add(order.At(i))
	}
	return s
}

// Sample is a number of windows of a text.
type Sample struct {
	Text      *Text
	Windows   []int64
	Documents []int // that each begins in
}

// Add takes a window in.
func (s *Sample) Add(window int64) {
	s.Windows, s.Documents = append(s.Windows, window), append(s.Documents, s.Text.DocumentOf(window))
}

// Len is how many windows there are.
func (s *Sample) Len() int { return len(s.Windows) }

// Tokens is how many tokens the model predicts.
func (s *Sample) Tokens() int64 { return int64(len(s.Windows)) * int64(s.Text.Context) }

// DocumentCount is how many documents the windows begin in.
func (s *Sample) DocumentCount() int {
	return len(slices.Compact(slices.Sorted(slices.Values(s.Documents))))
}

// Scorer computes losses: eval.Scorer.
type Scorer interface {
	// SummedLoss adds up the losses in nats of the targets of a batch.
	SummedLoss(b data.Batch) (float64, error)
}

// Losses are the mean losses in nats per token of the windows. done, unless it is nil, is told of each. A loss that is not finite is NonFinite.
func (s *Sample) Losses(ctx context.Context, m Scorer, done func()) ([]float64, error) {
	out := make([]float64, 0, len(s.Windows))
	for b, err := range s.Text.Set.Pick(s.Text.Context, s.Windows) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		sum, err := m.SummedLoss(b)
		if err != nil {
			return nil, err
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			return nil, record.Fail(record.NonFinite, "the loss of a window of %s is %v: the weights are damaged or diverged in training", s.Text.Set.Dir(), sum)
		}
		out = append(out, sum/float64(s.Text.Context))
		if done != nil {
			done()
		}
	}
	return out, nil
}
