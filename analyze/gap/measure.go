package gap

import (
	"context"

	"plasticity/analyze/window"
	"plasticity/record"
)

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
	// Bootstrapped intervals of Gap: over windows, or pairs of them, and over whole documents; NaN where there is one alone.
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
func Compare(ctx context.Context, m window.Scorer, heldOut string, paired bool, seen, unseen window.Sample, seed int64, done func()) (Comparison, error) {
	a, err := seen.Losses(ctx, m, done)
	if err != nil {
		return Comparison{}, err
	}
	b, err := unseen.Losses(ctx, m, done)
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{
		HeldOut: heldOut, Pairing: unpaired, Sequences: seen.Len(), Tokens: seen.Tokens(),
		SeenDocuments: seen.DocumentCount(), HeldOutDocuments: unseen.DocumentCount(),
		SeenLoss: record.Float(window.Mean(a)), HeldOutLoss: record.Float(window.Mean(b)), Gap: record.Float(window.Mean(b) - window.Mean(a)),
	}
	samples := [][]float64{b, a}
	documents := [][]int{unseen.Documents, seen.Documents}
	if paired {
		c.Pairing = pairedByDocument
		samples, documents = [][]float64{window.Differences(a, b)}, documents[:1]
	}
	c.Interval = window.Interval(seed, samples, nil)
	c.DocumentInterval = window.Interval(seed, samples, documents)
	return c, nil
}
