package gap

import (
	"context"
	"math"

	"plasticity/data"
	"plasticity/record"
)

// Scorer computes losses: eval.Scorer.
type Scorer interface {
	// SummedLoss adds up the losses in nats of the targets of a batch.
	SummedLoss(b data.Batch) (float64, error)
}

// losses are the mean losses in nats per token of the windows of a side.
func (s *Side) losses(ctx context.Context, m Scorer, done func()) ([]float64, error) {
	out := make([]float64, 0, len(s.windows))
	for b, err := range s.set.Pick(s.context, s.windows) {
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
			return nil, record.Fail(record.NonFinite, "the loss of a window of %s is %v: the weights are damaged or diverged in training", s.set.Dir(), sum)
		}
		out = append(out, sum/float64(s.context))
		done()
	}
	return out, nil
}

// Comparison is the loss on text that was read in training beside that on as much text that was not.
type Comparison struct {
	HeldOut   string `json:"held_out"`  // Validation or Unread
	Pairing   string `json:"pairing"`   // "document" or "none"
	Sequences int    `json:"sequences"` // of each side
	Tokens    int64  `json:"tokens"`    // of each side
	// How many documents the windows of each side begin in.
	SeenDocuments    int `json:"seen_documents"`
	HeldOutDocuments int `json:"held_out_documents"`
	// Mean losses in nats per token, and that of the held-out side less that of the other.
	SeenLoss    record.Float `json:"seen_nats_per_token"`
	HeldOutLoss record.Float `json:"held_out_nats_per_token"`
	Gap         record.Float `json:"gap_nats_per_token"`
	// Bootstrapped intervals of Gap: over windows, or pairs of them, and over whole documents.
	Interval         [2]record.Float `json:"gap_interval_95"`
	DocumentInterval [2]record.Float `json:"gap_interval_95_over_documents"`
}

// The kinds of held-out text.
const (
	Validation = "validation split"
	Unread     = "training split, not read yet"

	pairedByDocument = "document"
	unpaired         = "none"
)

// Compare measures the losses of two sides, paired or not, of the same number of windows. done is told of each window.
func Compare(ctx context.Context, m Scorer, heldOut string, paired bool, seen, unseen Side, seed int64, done func()) (Comparison, error) {
	a, err := seen.losses(ctx, m, done)
	if err != nil {
		return Comparison{}, err
	}
	b, err := unseen.losses(ctx, m, done)
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{
		HeldOut: heldOut, Pairing: unpaired, Sequences: len(a), Tokens: int64(len(a)) * int64(seen.context),
		SeenDocuments: len(groups(a, seen.documents)), HeldOutDocuments: len(groups(b, unseen.documents)),
		SeenLoss: record.Float(mean(a)), HeldOutLoss: record.Float(mean(b)), Gap: record.Float(mean(b) - mean(a)),
	}
	samples := [][]float64{b, a}
	documents := [][]int{unseen.documents, seen.documents}
	if paired {
		c.Pairing = pairedByDocument
		difference := make([]float64, len(a))
		for i := range a {
			difference[i] = b[i] - a[i]
		}
		samples, documents = [][]float64{difference}, documents[:1]
	}
	c.Interval = interval(seed, samples, nil)
	c.DocumentInterval = interval(seed, samples, documents)
	return c, nil
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
