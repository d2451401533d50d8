package eval

import (
	"context"
	"math"

	"plasticity/data"
	"plasticity/record"
)

// LossResult is a mean loss over fixed windows.
type LossResult struct {
	NatsPerToken float64
	BitsPerByte  float64 // by the bytes of UTF-8 that the text's tokens stand for, on average
	Tokens       int64
}

// Scorer computes losses with the weights of a model: model.Transformer operation by operation, a
// training step's engine in one crossing.
type Scorer interface {
	Context() int // tokens of a window
	// SummedLoss adds up the losses in nats of a batch of whole windows.
	SummedLoss(b data.Batch) (float64, error)
}

// Loss is the mean cross-entropy of m over the first windows of a set, in file order: at most
// maxTokens of them (0: all), the same every time, each token with equal weight. sequences is how many
// windows go through the model at once; it does not change what is measured.
func Loss(ctx context.Context, m Scorer, set *data.Set, maxTokens int64, sequences int) (LossResult, error) {
	var out LossResult
	sum := 0.0
	for batch, err := range set.Batches(m.Context(), sequences, maxTokens) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return LossResult{}, err
		}
		loss, err := m.SummedLoss(batch)
		if err != nil {
			return LossResult{}, err
		}
		sum += loss
		out.Tokens += int64(len(batch.Targets))
	}
	if out.Tokens == 0 {
		return LossResult{}, record.Fail(record.BadData, "%s has no window of %d tokens to measure the loss on", set.Dir(), m.Context())
	}
	out.NatsPerToken = sum / float64(out.Tokens)
	out.BitsPerByte = out.NatsPerToken / math.Ln2 / set.BytesPerToken()
	return out, nil
}
