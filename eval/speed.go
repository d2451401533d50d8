package eval

import (
	"context"
	"math/rand/v2"
	"time"

	"plasticity/record"
	"plasticity/torch"
)

// Speed is how long one greedy continuation took.
type Speed struct {
	Prefill time.Duration // the prompt, and the first new token
	Decode  time.Duration // the other new tokens
}

// Time continues a random prompt by exactly n tokens, at least 2, the way Generate does. The prompt is the same in every call. The
// error is a record.Failure: Usage when the model's context is too short.
func (g *Generator) Time(ctx context.Context, prompt, n int) (Speed, error) {
	c := g.model.Config()
	if prompt < 1 || n < 2 || prompt+n > c.Context {
		return Speed{}, record.Fail(record.Usage, "time a prompt of %d tokens and %d new ones: at least 1 and 2, together at most the model's context of %d", prompt, n, c.Context)
	}
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]torch.Row, prompt)
	for i := range rows {
		rows[i].ID = random.Int32N(int32(c.Vocab))
	}
	began := time.Now()
	sequences, err := g.sequences(1, prompt+n)
	if err != nil {
		return Speed{}, err
	}
	defer sequences.close()
	if err := sequences.begin(0); err != nil {
		return Speed{}, err
	}
	var out Speed
	logits := make([]float32, c.Vocab)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		rows[len(rows)-1].Wanted = 1
		if err := sequences.append(rows, logits); err != nil {
			return out, err
		}
		rows = []torch.Row{{ID: argmax(logits)}}
		if i == 0 {
			out.Prefill = time.Since(began)
		}
	}
	out.Decode = time.Since(began) - out.Prefill
	return out, nil
}
