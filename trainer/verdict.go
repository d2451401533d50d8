package trainer

import (
	"context"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// VerdictOptions say how a model learns to tell right texts from wrong ones.
type VerdictOptions struct {
	Steps   int
	Batch   int     // texts a step
	LR      float64 // peak
	Seed    int64   // of the order
	Threads int     // 0: all cores
	// Progress is called after each step with the loss of its batch, nats a text.
	Progress func(step int, loss float64)
}

// Verdict is a model that has learned it. Close frees the model.
type Verdict struct {
	stepper Stepper
	Score   []float32 // [D]
}

// Model has the layers below the score.
func (v *Verdict) Model() *model.Transformer { return v.stepper.Model() }

// Close frees the model.
func (v *Verdict) Close() { v.stepper.Close() }

// TrainVerdict trains the layers of base and a fresh output layer, with the step that trains everything here: after the last token of a
// text the next one is model.Right or model.Wrong, and nothing else counts in the loss. Of all tokens only those two ever follow, so the
// others soon have no probability, and what is left is the binary cross-entropy of a score: the difference of the two rows. base stays
// as it is. The same texts, options, threads and instruction set give the same bits. The error is a record.Failure, or the context's.
func TrainVerdict(ctx context.Context, base *model.Transformer, texts [][]int32, right []bool, o VerdictOptions) (*Verdict, error) {
	c := verdictConfig(base.Config(), texts, o)
	chosen, err := chooseStep(c.Run, placement{device: torch.CPU}, torch.EngineISA)
	if err != nil {
		return nil, err
	}
	s, err := chosen.make(c)
	if err != nil {
		return nil, err
	}
	v := &Verdict{stepper: s}
	if err = s.Model().LoadLayers(base); err == nil {
		err = v.train(ctx, c, texts, right, o)
	}
	if err == nil {
		v.Score, err = s.Model().VerdictScore()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return v, nil
}

// verdictConfig is the recipe: AdamW without decay, gradients clipped, warm-up and a cosine to zero.
func verdictConfig(m config.Model, texts [][]int32, o VerdictOptions) config.Resolved {
	c := config.Resolved{Run: config.Defaults(), Steps: int64(o.Steps)}
	m.TieEmbeddings = false
	for _, ids := range texts {
		m.Context = max(m.Context, padded(len(ids)))
	}
	c.Model, c.Seed, c.Threads, c.Precision, c.Init = m, o.Seed, o.Threads, "f32", ""
	c.Batch.Sequences, c.Batch.MicroSequences = o.Batch, o.Batch
	c.Optimizer = config.Optimizer{LR: o.LR, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, ClipNorm: 1}
	c.Schedule = config.Schedule{Kind: "cosine", WarmupFraction: 0.1}
	return c
}

// padded is the length of a batch with a text of n tokens: the engine fills up to it anyway.
func padded(n int) int { return (n + 31) / 32 * 32 }

func (v *Verdict) train(ctx context.Context, c config.Resolved, texts [][]int32, right []bool, o VerdictOptions) error {
	if len(texts) == 0 || len(texts) != len(right) {
		return record.Fail(record.Internal, "%d texts and %d verdicts", len(texts), len(right))
	}
	for step := range c.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		result, err := v.stepper.Step(ctx, verdictBatch(texts, right, o, step), Update{LR: c.LRAt(step), DecayFactor: 1})
		if err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(int(step)+1, result.Loss)
		}
	}
	return nil
}

// verdictBatch is the batch of a step: every epoch has each text once, in an order of its own.
func verdictBatch(texts [][]int32, right []bool, o VerdictOptions, step int64) data.Batch {
	n := int64(len(texts))
	var rows []int64
	longest := 1
	for i := range int64(o.Batch) {
		at := step*int64(o.Batch) + i
		order := data.NewPermutation(n, o.Seed, at/n)
		rows = append(rows, order.At(at%n))
		longest = max(longest, len(texts[rows[i]]))
	}
	b := data.NewBatch(o.Batch, padded(longest))
	for i := range b.Targets {
		b.Targets[i] = -1
	}
	for i, row := range rows {
		from := i * b.Time
		copy(b.Inputs[from:], texts[row])
		verdict := model.Wrong
		if right[row] {
			verdict = model.Right
		}
		b.Targets[from+len(texts[row])-1] = verdict
	}
	return b
}
