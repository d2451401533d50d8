package eval

import (
	"context"
	"hash/fnv"

	"plasticity/data/task"
	"plasticity/eval/metric"
	"plasticity/record"
)

// AnswerOptions say how the problems of a task are answered: once greedily, and by samples.
type AnswerOptions struct {
	Samples   int      // of each problem, at least 1
	MaxTokens int      // of an answer; 0: what the context has room for
	Sampling  Sampling // of the samples; the greedy answer has its repetition penalty alone
	Seed      int64
	Stops     []string
}

// chunk is how many problems are answered before the first of them are handed over.
const chunk = 64

// Answer answers problems and hands them over with their responses, in order. What a problem gets depends on it, the model and
// the options alone: each (problem, sample) has a random stream of its own. An example whose prompt does not fit the model is BadData.
func (g *Generator) Answer(ctx context.Context, examples []task.Example, o AnswerOptions, each func(metric.Problem) error) error {
	most := g.model.Config().Context
	if o.MaxTokens > 0 {
		most = o.MaxTokens
	}
	for len(examples) > 0 {
		some := examples[:min(chunk, len(examples))]
		examples = examples[len(some):]
		prompts := make([]Prompt, len(some))
		for i, e := range some {
			ids, err := g.promptTokens(Prompt{Text: task.Prompt(e)})
			if err != nil {
				return record.Fail(record.BadData, "example %.80q: %w", e.ID, err)
			}
			prompts[i] = Prompt{Tokens: ids, Stream: streamOf(e.ID)}
		}
		greedy, err := g.Generate(ctx, prompts, GenerateOptions{
			MaxTokens: most, Sampling: Sampling{RepetitionPenalty: o.Sampling.RepetitionPenalty}, Stops: o.Stops,
		})
		if err != nil {
			return err
		}
		samples, err := g.Generate(ctx, prompts, GenerateOptions{
			MaxTokens: most, Samples: o.Samples, Sampling: o.Sampling, Seed: o.Seed, Stops: o.Stops,
		})
		if err != nil {
			return err
		}
		for i, e := range some {
			p := metric.Problem{ID: e.ID, Problem: e.Instruction, Answer: e.Answer, Greedy: &greedy[i][0].Text}
			for _, s := range samples[i] {
				p.Responses = append(p.Responses, s.Text)
			}
			if err := each(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// streamOf is the random stream of a problem's first sample: FNV-1a of its id.
func streamOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash takes every write
	return h.Sum64()
}

// ResponseLosses are the cross-entropies of the test set's responses, in its order. One that is not finite is NonFinite.
func ResponseLosses(ctx context.Context, m Scorer, c *task.Corpus) ([]metric.Loss, error) {
	var out []metric.Loss
	for b, err := range c.Batches(m.Context(), 1, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		nats, err := m.SummedLoss(b)
		if err == nil {
			err = FiniteLoss(nats, "a response of "+c.Dir())
		}
		if err != nil {
			return nil, err
		}
		out = append(out, metric.Loss{Nats: nats, Tokens: int64(b.Counted())})
	}
	return out, nil
}
