package eval

import (
	"context"
	"math"

	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// LossResult is a mean loss over fixed windows.
type LossResult struct {
	NatsPerToken float64
	BitsPerByte  float64 // by the bytes of UTF-8 that the text's tokens stand for, on average
	Tokens       int64
}

// Loss is the mean cross-entropy of m over the first windows of a set, in file order: at most
// maxTokens of them (0: all), the same every time, each token with equal weight. sequences is how many
// windows go through the model at once; it does not change what is measured.
func Loss(ctx context.Context, m *model.Transformer, set *data.Set, maxTokens int64, sequences int) (LossResult, error) {
	return LossBy(ctx, func(b data.Batch) (float64, error) { return summedLoss(m, b) }, m.Config().Context, set, maxTokens, sequences)
}

// LossBy is Loss with another way to compute it: summed gives the sum of the losses of a batch of windows of
// length tokens.
func LossBy(ctx context.Context, summed func(data.Batch) (float64, error), length int, set *data.Set, maxTokens int64, sequences int) (LossResult, error) {
	var out LossResult
	sum := 0.0
	for batch, err := range set.Batches(length, sequences, maxTokens) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return LossResult{}, err
		}
		loss, err := summed(batch)
		if err != nil {
			return LossResult{}, err
		}
		sum += loss
		out.Tokens += int64(len(batch.Targets))
	}
	if out.Tokens == 0 {
		return LossResult{}, record.Fail(record.BadData, "%s has no window of %d tokens to measure the loss on", set.Dir(), length)
	}
	out.NatsPerToken = sum / float64(out.Tokens)
	out.BitsPerByte = out.NatsPerToken / math.Ln2 / set.BytesPerToken()
	return out, nil
}

// summedLoss adds up the losses of a batch's tokens.
func summedLoss(m *model.Transformer, b data.Batch) (float64, error) {
	context := m.Config().Context
	rows := len(b.Inputs) / context
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	loss := m.Loss(s, s.FromInt32(b.Inputs, rows, context), s.FromInt32(b.Targets, rows, context), 0, 1)
	return s.Item(loss), s.Err()
}
