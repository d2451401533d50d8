package trainer

import (
	"context"
	"fmt"
	"math"

	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/optim"
)

// Update holds the schedules' values for one optimizer step.
type Update struct {
	LR          float64
	DecayFactor float64 // multiplies every group's weight decay
}

// StepResult is what one optimizer step computed.
type StepResult struct {
	Loss     float64 // mean over the batch's targets that count, nats
	GradNorm float64 // before clipping
}

// Stepper is one implementation of the training step. It owns the weights and the moments.
type Stepper interface {
	// Name is what the record says: reference, engine, graph.
	Name() string
	// ISA is the instruction set of the step's own kernels; empty when they are libtorch's.
	ISA() string
	// Step makes one update. A loss or norm that is not finite is a NonFinite failure, with the
	// result, and nothing has changed. A cancelled context may give the step up before its update;
	// the error is then the context's and nothing has changed either.
	Step(ctx context.Context, b data.Batch, u Update) (StepResult, error)
	// Registry is where the state lies, for checkpoints and norms.
	Registry() *nn.Registry
	// Updates is the number of updates made, for AdamW's bias correction; SetUpdates restores it.
	Updates() int64
	SetUpdates(n int64)
	// Groups says which parameters decay by how much.
	Groups() []optim.Group
	// Scorer computes losses with the current weights; nil when there is no model (tests).
	Scorer() eval.Scorer
	// Model has the current weights; nil when there is none (tests). Before it computes with them, as for
	// generation, its registry must be told to Prepare.
	Model() *model.Transformer
	Close()
}

// reference runs the model operation by operation through libtorch's autograd.
type reference struct {
	model *model.Transformer
	adam  *optim.AdamW
	micro int // sequences in a pass
	zLoss float64
}

// choice is which implementation of the step runs.
type choice struct {
	gpu    bool
	device int // with gpu: the number of the CUDA device
	engine bool
	isa    string // of the engine's kernels
	why    string // why it is not the one that auto would like best; empty: it is
}

// name is what the record says.
func (o choice) name() string {
	if o.gpu {
		return stepGraph
	}
	if o.engine {
		return config.StepEngine
	}
	return config.StepReference
}

// stepGraph is the step on a GPU: what device chooses, not step.
const stepGraph = "graph"

// chooseStep settles what a config leaves to this machine. probe is torch.EngineISA, or a test's.
func chooseStep(c config.Run, at placement, probe func(isa string) (string, error)) (choice, error) {
	if at.device != torch.CPU {
		return choice{gpu: true, device: at.device}, nil
	}
	if c.Step == config.StepReference {
		return choice{}, nil
	}
	wanted := c.ISA
	if wanted == config.ISAAuto {
		wanted = ""
	}
	isa, err := probe(wanted)
	switch {
	case err == nil:
		return choice{engine: true, isa: isa}, nil
	case wanted != "":
		return choice{}, record.Fail(record.Usage, "isa %s: this CPU does not have it, or its kernel does not grant it: set isa: auto", wanted)
	case c.Step == config.StepEngine:
		return choice{}, record.Fail(record.Usage, "step engine: its kernels need a CPU with AVX2: set step: auto, which takes the reference here")
	case record.CodeOf(err) == record.OutOfMemory:
		return choice{}, err
	}
	return choice{why: fmt.Sprintf("the engine needs a CPU with AVX2, so the step is the reference, several times slower (%v)", err)}, nil
}

// newStepper makes the step that a config asks for, with fresh weights or those of config.init.
func newStepper(c config.Resolved) (Stepper, error) {
	at, err := place(c.Run)
	if err != nil {
		return nil, err
	}
	chosen, err := chooseStep(c.Run, at, torch.EngineISA)
	if err != nil {
		return nil, err
	}
	return chosen.make(c)
}

// make builds the chosen step. It starts libtorch with the config's threads.
func (o choice) make(c config.Resolved) (Stepper, error) {
	if err := torch.Check(); err != nil {
		return nil, err
	}
	if o.gpu {
		return newGraph(c, o.device)
	}
	if err := torch.SetThreads(Threads(c.Run)); err != nil {
		return nil, err
	}
	use := nn.Training
	if o.engine {
		use = nn.Stepping
	}
	m, err := model.New(c.Model, precision(c.Run), use)
	if err != nil {
		return nil, err
	}
	var s Stepper
	if o.engine {
		s, err = newEngine(c, m, o.isa)
	} else {
		s, err = newReference(c, m)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	if c.Weights() == "" {
		err = m.Initialize(c.Seed)
	} else {
		err = m.LoadWeights(c.Weights())
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// decayGroups assigns parameters to the config's groups.
func decayGroups(c config.Resolved, params []*nn.Param) ([]optim.Group, error) {
	rules := make([]optim.Rule, len(c.Optimizer.Groups))
	for i, g := range c.Optimizer.Groups {
		rules[i] = optim.Rule{Match: g.Match, WeightDecay: g.WeightDecay}
	}
	return optim.Assign(params, c.WeightDecay, c.Optimizer.NoDecay, rules)
}

func newReference(c config.Resolved, m *model.Transformer) (*reference, error) {
	groups, err := decayGroups(c, m.Registry().Params())
	if err != nil {
		return nil, err
	}
	o := c.Optimizer
	return &reference{
		model: m,
		adam: optim.NewAdamW(m.Registry(), groups, optim.Options{
			Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, ClipNorm: o.ClipNorm,
		}),
		micro: c.Batch.MicroSequences, zLoss: o.ZLoss,
	}, nil
}

func (r *reference) Name() string              { return config.StepReference }
func (r *reference) ISA() string               { return "" }
func (r *reference) Scorer() eval.Scorer       { return r.model }
func (r *reference) Registry() *nn.Registry    { return r.model.Registry() }
func (r *reference) Updates() int64            { return r.adam.Updates() }
func (r *reference) SetUpdates(n int64)        { r.adam.SetUpdates(n) }
func (r *reference) Model() *model.Transformer { return r.model }
func (r *reference) Groups() []optim.Group     { return r.adam.Groups() }
func (r *reference) Close()                    { r.model.Close() }

// Step adds up the gradients of all micro-batches and updates once.
func (r *reference) Step(ctx context.Context, b data.Batch, u Update) (StepResult, error) {
	if err := r.Registry().ZeroGrad(); err != nil {
		return StepResult{}, err
	}
	var out StepResult
	rows := b.Sequences()
	for first := 0; first < rows; first += r.micro {
		if err := ctx.Err(); first > 0 && err != nil {
			return StepResult{}, err
		}
		loss, err := r.gradients(b, first, min(r.micro, rows-first))
		if err != nil {
			return StepResult{}, err
		}
		out.Loss += loss
	}
	var err error
	if out.GradNorm, err = r.adam.GradNorm(); err != nil {
		return StepResult{}, err
	}
	if err := finite(out); err != nil {
		return out, err
	}
	return out, r.adam.Step(u.LR, u.DecayFactor, out.GradNorm)
}

// gradients adds those of n sequences from first on. Dividing by all targets of the batch that count makes
// the micro-batches' losses add up to the batch's mean.
func (r *reference) gradients(b data.Batch, first, n int) (float64, error) {
	time := b.Time
	s := torch.NewScope()
	defer s.Close()
	from, to := first*time, (first+n)*time
	ids := s.FromInt32(b.Inputs[from:to], n, time)
	targets := s.FromInt32(b.Targets[from:to], n, time)
	loss := r.model.Loss(s, ids, targets, r.zLoss, float64(b.Counted()))
	s.Backward(loss)
	return s.Item(loss), s.Err()
}

// finite refuses a result that must not reach the weights.
func finite(r StepResult) error {
	var what string
	switch {
	case math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0):
		what = "loss"
	case math.IsNaN(r.GradNorm) || math.IsInf(r.GradNorm, 0):
		what = "norm of the gradient"
	default:
		return nil
	}
	return record.Fail(record.NonFinite, "the %s is not finite (loss %v, gradient norm %v), so the update was not made: lower optimizer.lr, or look at the data of this step", what, r.Loss, r.GradNorm)
}
