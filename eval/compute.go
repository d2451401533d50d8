package eval

import (
	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// Compute says what computes with a model's weights, which lie on the CPU.
type Compute struct {
	Step      string      // config.StepAuto, config.StepEngine or config.StepReference; empty: auto
	ISA       string      // instruction set of the engine; empty: the best
	Precision torch.DType // of the engine's products
	Threads   int         // at least 1
}

// newEngine makes an engine for batches of so many sequences, or none where the reference computes: because it was asked for, or,
// with a reason, because this CPU has no engine.
func (c Compute) newEngine(m *model.Transformer, sequences int) (e *torch.Engine, fallback string, err error) {
	if c.Step == config.StepReference {
		return nil, "", nil
	}
	e, err = m.NewEngine(torch.EngineOptions{Precision: c.Precision, Threads: c.Threads, Sequences: int64(sequences), ISA: c.ISA})
	switch {
	case err == nil:
		return e, "", nil
	case c.Step == config.StepEngine:
		return nil, "", err
	}
	return nil, err.Error(), nil
}

// ModelScorer computes losses with the weights of a model that is not being trained.
type ModelScorer struct {
	model     *model.Transformer
	engine    *torch.Engine // nil: the reference
	fallback  string
	sequences int
}

// NewScorer makes a scorer for batches of at most so many windows. The caller closes it before the model.
func NewScorer(m *model.Transformer, sequences int, c Compute) (*ModelScorer, error) {
	s := &ModelScorer{model: m, sequences: sequences}
	var err error
	s.engine, s.fallback, err = c.newEngine(m, sequences)
	return s, err
}

// Close frees what the scorer has, not the model. Closing twice is harmless.
func (s *ModelScorer) Close() {
	if s.engine != nil {
		s.engine.Close()
	}
}

// Fallback says why the reference computes although the engine was wanted; empty where it does not.
func (s *ModelScorer) Fallback() string { return s.fallback }

// Context is the number of tokens of a window.
func (s *ModelScorer) Context() int { return s.model.Context() }

// SummedLoss adds up the losses in nats of the targets of a batch that count.
func (s *ModelScorer) SummedLoss(b data.Batch) (float64, error) {
	if s.engine == nil {
		return s.model.SummedLoss(b)
	}
	return s.engine.Loss(s.model.Registry().Flat(nn.Params), torch.Batch{
		IDs: b.Inputs, Targets: b.Targets, Sequences: int64(b.Sequences()), Time: int64(b.Time), Micro: int64(s.sequences), Divisor: 1,
	})
}
