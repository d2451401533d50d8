package eval

import (
	"context"
	"iter"
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
	// SummedLoss adds up the losses in nats of the targets of a batch that count.
	SummedLoss(b data.Batch) (float64, error)
}

// Text is what a loss is measured on: windows of prepared text (data.Set), or responses of a task.
type Text interface {
	Dir() string
	// Batches are the first sequences, the same every time: at most as many as have maxTokens inputs (0: all).
	Batches(context, sequences int, maxTokens int64) iter.Seq2[data.Batch, error]
	// BytesPerToken is how many bytes of UTF-8 a token that counts stands for, on average.
	BytesPerToken() float64
}

// Loss is the mean cross-entropy of m over the first sequences of a text, in its order: at most as many as
// have maxTokens tokens (0: all), the same every time, each token that counts with equal weight. sequences is how
// many go through the model at once; it does not change what is measured. It may be no number, which training records: see FiniteLoss.
func Loss(ctx context.Context, m Scorer, text Text, maxTokens int64, sequences int) (LossResult, error) {
	var out LossResult
	sum := 0.0
	for batch, err := range text.Batches(m.Context(), sequences, maxTokens) {
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
		out.Tokens += int64(batch.Counted())
	}
	if out.Tokens == 0 {
		return LossResult{}, record.Fail(record.BadData, "%s has no token to measure the loss on with a context of %d", text.Dir(), m.Context())
	}
	out.NatsPerToken = sum / float64(out.Tokens)
	out.BitsPerByte = out.NatsPerToken / math.Ln2 / text.BytesPerToken()
	return out, nil
}

// FiniteLoss is NonFinite for a loss, on what is named, that is no finite number: there is nothing to report of such a model.
func FiniteLoss(nats float64, on string) error {
	if math.IsNaN(nats) || math.IsInf(nats, 0) {
		return record.Fail(record.NonFinite, "the loss on %s is %v: the weights are damaged or diverged in training", on, nats)
	}
	return nil
}
