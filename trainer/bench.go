package trainer

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
)

// Bench times optimizer steps of a config on random tokens, without a run folder. The caller closes it.
type Bench struct {
	Config  config.Resolved
	stepper Stepper
	random  *rand.Rand
	done    int64
}

// NewBench makes the model with fresh weights, or those of config.init.
func NewBench(c config.Run) (*Bench, error) {
	r, err := c.Resolve(config.DataFacts{Vocab: c.Model.Vocab})
	if err != nil {
		return nil, err
	}
	stepper, err := newStepper(r)
	if err != nil {
		return nil, err
	}
	return &Bench{Config: r, stepper: stepper, random: rand.New(rand.NewPCG(1, 2))}, nil
}

// Close frees the model.
func (b *Bench) Close() { b.stepper.Close() }

// StepName is the implementation that is timed.
func (b *Bench) StepName() string { return b.stepper.Name() }

// Run makes n steps on the given batch (nil: random tokens) and returns each one's seconds and loss.
func (b *Bench) Run(n int, batch *data.Batch) (seconds, losses []float64, err error) {
	for range n {
		next := batch
		if next == nil {
			next = b.randomBatch()
		}
		start := time.Now()
		r, err := b.stepper.Step(context.Background(), *next, Update{LR: b.Config.LRAt(b.done), DecayFactor: b.Config.DecayFactorAt(b.done)})
		if err != nil {
			return nil, nil, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
		losses = append(losses, r.Loss)
		b.done++
	}
	return seconds, losses, nil
}

func (b *Bench) randomBatch() *data.Batch {
	n := int(b.Config.TokensPerStep)
	out := &data.Batch{Inputs: make([]int32, n), Targets: make([]int32, n)}
	for i := range n {
		out.Inputs[i], out.Targets[i] = b.random.Int32N(int32(b.Config.Model.Vocab)), b.random.Int32N(int32(b.Config.Model.Vocab))
	}
	return out
}

// Result sums timed steps up.
func (b *Bench) Result(seconds []float64) BenchResult {
	sorted := slices.Sorted(slices.Values(seconds))
	median := sorted[len(sorted)/2]
	_, causal := b.Config.Model.FLOPsPerToken()
	rate := float64(b.Config.TokensPerStep) / median
	return BenchResult{
		Best: sorted[0], Median: median, TokensPerSecond: rate, GFLOPS: rate * causal / 1e9,
	}
}

// BenchResult is what a bench measured.
type BenchResult struct {
	Best, Median    float64 // seconds of a step
	TokensPerSecond float64 // at the median
	GFLOPS          float64 // causal count, at the median
}

// CheckSteps refuses a number of steps that cannot be timed.
func CheckSteps(steps, warmup int) error {
	if steps < 1 || warmup < 0 {
		return record.Fail(record.Usage, "--steps %d --warmup %d: at least one step, and no negative warm-up", steps, warmup)
	}
	return nil
}
