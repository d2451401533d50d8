package eval

import (
	"context"
	"math/rand/v2"
	"time"

	"plasticity/model"
	"plasticity/record"
)

// Speed is how long one greedy continuation took.
type Speed struct {
	Prefill time.Duration // the prompt, and the first new token
	Decode  time.Duration // the other new tokens
}

// TimeGeneration continues a random prompt by exactly n tokens, at least 2, the way Generate does. The prompt is the same
// in every call. The error is a record.Failure: Usage when the model's context is too short.
func TimeGeneration(ctx context.Context, m *model.Transformer, prompt, n int) (Speed, error) {
	if prompt < 1 || n < 2 {
		return Speed{}, record.Fail(record.Usage, "time a prompt of %d tokens and %d new ones: at least 1 and 2", prompt, n)
	}
	random := rand.New(rand.NewPCG(1, 2))
	next := make([]int32, prompt)
	for i := range next {
		next[i] = random.Int32N(int32(m.Config().Vocab))
	}
	began := time.Now()
	cache, err := m.NewCache(1, prompt+n)
	if err != nil {
		return Speed{}, err
	}
	defer cache.Close()
	var out Speed
	for i := range n {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		logits, err := decode(m, next, cache)
		if err != nil {
			return out, err
		}
		next = []int32{argmax(logits)}
		if i == 0 {
			out.Prefill = time.Since(began)
		}
	}
	out.Decode = time.Since(began) - out.Prefill
	return out, nil
}
