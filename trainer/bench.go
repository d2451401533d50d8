package trainer

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// Bench times optimizer steps of a config on random tokens, without a run folder. The caller closes it.
type Bench struct {
	Config  config.Resolved
	stepper Stepper
	random  *rand.Rand
	tokens  []int32 // nil: random ones
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

// FreshModel is the model of a config with random weights, to compute with in float32 and not to train. It starts libtorch
// with these threads, 0 being all cores. The caller closes it.
func FreshModel(c config.Run, threads int) (*model.Transformer, error) {
	r, err := c.Resolve(config.DataFacts{Vocab: c.Model.Vocab})
	if err != nil {
		return nil, err
	}
	if err := torch.Check(); err != nil {
		return nil, err
	}
	if err := torch.SetThreads(ThreadsOr(threads)); err != nil {
		return nil, err
	}
	m, err := model.New(r.Model, torch.Float32, nn.Inference)
	if err != nil {
		return nil, err
	}
	if err := m.Initialize(r.Seed); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close frees the model.
func (b *Bench) Close() { b.stepper.Close() }

// StepName is the implementation that is timed.
func (b *Bench) StepName() string { return b.stepper.Name() }

// SaveWeights writes the weights that are trained as a safetensors file.
func (b *Bench) SaveWeights(w io.Writer) error {
	return safetensors.Write(w, safetensors.PyTorch(), sources(b.stepper.Registry(), nn.Params, ""))
}

// Device is where the steps run, with what is known of a GPU's.
func (b *Bench) Device() (DeviceUse, error) {
	if g, ok := b.stepper.(*graph); ok {
		return g.use()
	}
	return DeviceUse{Name: "cpu"}, nil
}

// BenchStep is one timed step. Seconds have making its batch in them, BatchSeconds are that part alone.
type BenchStep struct {
	StepResult
	Began                 time.Time
	Seconds, BatchSeconds float64
}

// Run makes n steps. Where the stepper allows it the next step is started before the last one is read, as training
// does, and a step's seconds are those between results.
func (b *Bench) Run(n int) ([]BenchStep, error) {
	if p, ok := b.stepper.(pipelined); ok {
		return b.runAhead(p, n)
	}
	steps := make([]BenchStep, 0, n)
	for range n {
		began := time.Now()
		batch := b.next()
		ready := time.Since(began)
		r, err := b.stepper.Step(context.Background(), batch, b.update())
		if err != nil {
			return nil, err
		}
		steps = append(steps, BenchStep{StepResult: r, Began: began, Seconds: time.Since(began).Seconds(), BatchSeconds: ready.Seconds()})
		b.done++
	}
	return steps, nil
}

func (b *Bench) runAhead(p pipelined, n int) ([]BenchStep, error) {
	steps := make([]BenchStep, 0, n)
	began := time.Now()
	for i := range n {
		for launched := i + min(i, 1); launched < min(i+2, n); launched++ {
			if err := b.launch(p); err != nil {
				return nil, err
			}
		}
		r, err := p.Wait()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		steps = append(steps, BenchStep{StepResult: r, Began: began, Seconds: now.Sub(began).Seconds()})
		began = now
	}
	return steps, nil
}

func (b *Bench) update() Update {
	return Update{LR: b.Config.LRAt(b.done), DecayFactor: b.Config.DecayFactorAt(b.done)}
}

func (b *Bench) launch(p pipelined) error {
	err := p.Launch(b.next(), b.update())
	b.done++
	return err
}

// maxBenchTokens bounds the file that UseTokens reads, 1 GiB.
const maxBenchTokens = 1 << 28

// UseTokens takes the batches from a file of little-endian int32 instead of random tokens: windows of Context tokens with
// their successors as targets, in file order, and from the beginning again at the end. A file that is too short or has ids
// outside the vocabulary is BadData.
func (b *Bench) UseTokens(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return record.Fail(record.CodeOf(err), "read the tokens to train on: %w", err)
	}
	least := int(b.Config.TokensPerStep) + 1
	if len(text)/4 < least || len(text)/4 > maxBenchTokens || len(text)%4 != 0 {
		return record.Fail(record.BadData, "%s has %d bytes, from %d to %d of 4 each are possible: a step reads %d ids", path, len(text), 4*least, 4*maxBenchTokens, least)
	}
	ids := make([]int32, len(text)/4)
	for i := range ids {
		ids[i] = int32(binary.LittleEndian.Uint32(text[4*i:]))
		if ids[i] < 0 || int(ids[i]) >= b.Config.Model.Vocab {
			return record.Fail(record.BadData, "%s: token %d has id %d, the vocabulary has %d", path, i, ids[i], b.Config.Model.Vocab)
		}
	}
	b.tokens = ids
	return nil
}

// next is the batch of the step to come.
func (b *Bench) next() data.Batch {
	if b.tokens == nil {
		return b.randomBatch()
	}
	time := b.Config.Window
	out := data.NewBatch(b.Config.Batch.Sequences, time)
	windows := int64((len(b.tokens) - 1) / time)
	for row := range int64(b.Config.Batch.Sequences) {
		from := int((b.done*int64(b.Config.Batch.Sequences)+row)%windows) * time
		copy(out.Inputs[int(row)*time:], b.tokens[from:from+time])
		copy(out.Targets[int(row)*time:], b.tokens[from+1:from+1+time])
	}
	return out
}

func (b *Bench) randomBatch() data.Batch {
	out := data.NewBatch(b.Config.Batch.Sequences, b.Config.Window)
	for i := range out.Inputs {
		out.Inputs[i], out.Targets[i] = b.random.Int32N(int32(b.Config.Model.Vocab)), b.random.Int32N(int32(b.Config.Model.Vocab))
	}
	return out
}
