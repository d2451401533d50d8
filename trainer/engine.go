package trainer

import (
	"context"

	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/optim"
)

// engine makes a whole step in one crossing, with hand-written kernels over the registry's buffers.
// Whoever writes those buffers need not tell it: torch.Engine sees it and takes the new values.
type engine struct {
	model   *model.Transformer
	native  *torch.Engine
	config  config.Resolved
	groups  []optim.Group
	base    []float64 // weight decay of every parameter, before the schedule
	decay   []float64 // of the current step
	updates int64
}

// newEngine makes an engine over the registry of m, which was built for Stepping.
func newEngine(c config.Resolved, m *model.Transformer, isa string) (*engine, error) {
	params := m.Registry().Params()
	groups, err := decayGroups(c, params)
	if err != nil {
		return nil, err
	}
	e := &engine{model: m, config: c, groups: groups, base: make([]float64, len(params)), decay: make([]float64, len(params))}
	of := map[*nn.Param]float64{}
	for _, g := range groups {
		for _, p := range g.Params {
			of[p] = g.WeightDecay
		}
	}
	for i, p := range params {
		e.base[i] = of[p]
	}
	e.native, err = m.NewEngine(engineOptions(c, isa))
	return e, err
}

// engineOptions are those of the engine that trains and evaluates a config.
func engineOptions(c config.Resolved, isa string) torch.EngineOptions {
	return torch.EngineOptions{
		Precision: precision(c.Run), Threads: Threads(c.Run), Backward: true, Sequences: int64(c.Batch.MicroSequences), ISA: isa,
	}
}

func (e *engine) Name() string              { return config.StepEngine }
func (e *engine) ISA() string               { return e.native.ISA() }
func (e *engine) Registry() *nn.Registry    { return e.model.Registry() }
func (e *engine) Updates() int64            { return e.updates }
func (e *engine) SetUpdates(n int64)        { e.updates = n }
func (e *engine) Groups() []optim.Group     { return e.groups }
func (e *engine) Scorer() eval.Scorer       { return e }
func (e *engine) Model() *model.Transformer { return e.model }
func (e *engine) Context() int              { return e.config.Model.Context }

// Close frees the engine and the model below it.
func (e *engine) Close() {
	e.native.Close()
	e.model.Close()
}

// batch is the whole of b, to go through in the config's micro-batches.
func (e *engine) batch(b data.Batch) torch.Batch {
	return torch.Batch{
		IDs: b.Inputs, Targets: b.Targets, Sequences: int64(b.Sequences()), Time: int64(b.Time), Micro: int64(e.config.Batch.MicroSequences),
		Divisor: float64(b.Counted()), ZLoss: e.config.Optimizer.ZLoss,
	}
}

// Step is one crossing, which nothing interrupts: the loop looks at the context before each step.
func (e *engine) Step(_ context.Context, b data.Batch, u Update) (StepResult, error) {
	for i, d := range e.base {
		e.decay[i] = d * u.DecayFactor
	}
	r, o := e.Registry(), e.config.Optimizer
	out, err := e.native.Step(r.Flat(nn.Params), r.Flat(nn.ExpAvg), r.Flat(nn.ExpAvgSq), e.batch(b), torch.EngineUpdate{
		AdamW: torch.AdamW{LR: u.LR, Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, Step: e.updates + 1},
		Clip:  o.ClipNorm, Decay: e.decay,
	})
	if err != nil {
		return StepResult{}, err
	}
	result := StepResult{Loss: out.Loss, GradNorm: out.GradNorm}
	if err := finite(result); err != nil {
		return result, err
	}
	if !out.Updated {
		return result, record.Fail(record.Internal, "the engine made no update for loss %v and gradient norm %v", out.Loss, out.GradNorm)
	}
	e.updates++
	return result, nil
}

// SummedLoss adds up the losses of the targets of a batch that count, with the current weights.
func (e *engine) SummedLoss(b data.Batch) (float64, error) {
	return e.native.Loss(e.Registry().Flat(nn.Params), e.batch(b))
}

// maxSpans bounds the spans of a thread in a profile, 24 MiB; what comes after is not recorded.
const maxSpans = 1 << 20

// SetProfile begins or ends recording where the time of steps goes.
func (e *engine) SetProfile(on bool) error {
	if on {
		return e.native.Trace(maxSpans)
	}
	return e.native.Trace(0)
}

// Spans are the parts of the steps since then.
func (e *engine) Spans() ([]Span, error) {
	native, err := e.native.Spans()
	if err != nil {
		return nil, err
	}
	parts, spans := torch.EngineParts(), make([]Span, len(native))
	for i, s := range native {
		spans[i] = Span{Part: parts[s.Part], Thread: int(s.Thread), Start: s.Start, Seconds: s.Seconds}
	}
	return spans, nil
}
