package eval

import (
	"context"

	"plasticity/data"
	"plasticity/data/task"
	"plasticity/model"
)

// Rewarder scores texts with a reward model.
type Rewarder struct {
	*Pooler
	reward *model.Reward
	pad    *int32
}

// NewRewarder makes a rewarder of a model, which it owns even if it fails; pad is the token that fills up batches, nil for none. The
// caller closes it.
func NewRewarder(reward *model.Reward, pad *int32, c Compute) (*Rewarder, error) {
	pooler, err := NewPooler(reward.Trunk, c)
	if err != nil {
		reward.Close()
		return nil, err
	}
	return &Rewarder{pooler, reward, pad}, nil
}

// Close frees everything. Closing twice is harmless.
func (r *Rewarder) Close() {
	r.Pooler.Close()
	r.reward.Close()
}

// Score returns the reward of each text, as transformers' LlamaForSequenceClassification computes it: read at the last token that
// does not fill up a batch. What a text gets does not depend on the others, to the bit.
func (r *Rewarder) Score(ctx context.Context, texts [][]int32) ([]float64, error) {
	own := make([][]int32, len(texts))
	for i, ids := range texts {
		own[i] = unpadded(ids, r.pad)
	}
	states, err := r.Pool(ctx, own)
	if err != nil {
		return nil, err
	}
	rewards := make([]float64, len(states))
	for i, h := range states {
		rewards[i] = dot(h, r.reward.Score)
	}
	return rewards, nil
}

// unpadded leaves out the tokens at the end that fill up a batch. As in transformers the first one stays.
func unpadded(ids []int32, pad *int32) []int32 {
	for pad != nil && len(ids) > 1 && ids[len(ids)-1] == *pad {
		ids = ids[:len(ids)-1]
	}
	return ids
}

// dot is the inner product, added up in float64.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// AnswerTokens are the tokens of an example's prompt with a response to it, as a reward model reads them: both tokenised by
// themselves, as in fine-tuning, without an end of text.
func AnswerTokens(tok *data.Tokenizer, e task.Example, response string) []int32 {
	return append(tok.Encode(task.Prompt(e)), tok.Encode(response)...)
}
