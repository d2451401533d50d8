package trainer

import (
	"context"
	"fmt"
	"runtime"

	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/optim"
)

// graph makes the step on a GPU, in one crossing. Weights and moments lie in the device's memory, in the
// registry's flat buffers, so checkpoints and norms read them as they do the host's.
type graph struct {
	registry *nn.Registry
	adam     *optim.AdamW // groups, and the count of updates
	graph    *torch.Graph
	device   int
	context  int // of the model
	shape    graphShape
	hardware string // what decides the bits: the device and the implementation of attention
	planned  torch.GraphMemory
	flying   int64 // steps on their way
}

// newGraph makes the step of a config with fresh weights or those of config.init.
func newGraph(c config.Resolved, device int) (Stepper, error) {
	runtime.LockOSThread() // undone by nothing: libraries keep their plans per thread for the process's life
	if err := torch.SetThreads(Threads(c.Run)); err != nil {
		return nil, err
	}
	g, err := buildGraph(c, device, graphChoice{})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// graphChoice departs from what a run gets by itself; for tests.
type graphChoice struct {
	attention     int
	launches      bool
	deterministic bool
	recompute     bool
	streams       int
}

func buildGraph(c config.Resolved, device int, choice graphChoice) (*graph, error) {
	g := &graph{registry: nn.NewRegistry(), device: device, context: c.Model.Context, shape: shapeOf(c)}
	model.Declare(g.registry, c.Model)
	if err := g.build(c, choice); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *graph) build(c config.Resolved, choice graphChoice) error {
	groups, err := decayGroups(c, g.registry.Params())
	if err != nil {
		return err
	}
	o := graphOptions(c, g.device)
	o.Attention, o.Launches, o.Streams = choice.attention, choice.launches, choice.streams
	o.Deterministic = o.Deterministic || choice.deterministic
	if err := g.plan(&o, choice.recompute); err != nil {
		return err
	}
	if err := g.registry.BuildOn(g.device, torch.BFloat16, nn.Training); err != nil {
		return err
	}
	if err := g.fill(c); err != nil {
		return err
	}
	g.adam = optim.NewAdamW(g.registry, groups, optim.Options{})
	layers, err := graphLayers(g.registry, c.Model)
	if err != nil {
		return err
	}
	if g.graph, err = torch.NewGraph(o, graphState(g.registry), layers, g.adam.Segments()); err != nil {
		return err
	}
	attention, _, err := g.graph.Describe()
	if err != nil {
		return err
	}
	info, err := torch.DescribeCUDA(g.device)
	g.hardware = fmt.Sprintf("%s, attention %s", info.Name, attention)
	return err
}

// headroom is the share of a device's free memory that a step may take without computing anything again.
const headroom = 0.92

// plan decides whether there is room to keep what backward would else compute again, and refuses a step for
// which there is none, before anything is allocated. Both ways give the same bits.
func (g *graph) plan(o *torch.GraphOptions, recompute bool) error {
	info, err := torch.DescribeCUDA(g.device)
	if err != nil {
		return err
	}
	o.Keep = !recompute
	if g.planned, err = torch.PlanGraph(*o); err != nil {
		return err
	}
	if o.Keep && float64(graphBytes(g.planned)) > headroom*float64(info.Free) {
		o.Keep = false
		if g.planned, err = torch.PlanGraph(*o); err != nil {
			return err
		}
	}
	if need := graphBytes(g.planned); need > info.Free {
		return record.Fail(record.OutOfMemory, "a step needs %s and %s (%s) has %s free: %s", bytesText(need), g.deviceName(), info.Name, bytesText(info.Free), advice(*o, info.Free))
	}
	return nil
}

// advice names the largest micro-batch that fits.
func advice(o torch.GraphOptions, free int64) string {
	for n := o.MicroSequences - 1; n > 0; n-- {
		if o.MicroSequences = n; o.Sequences%n != 0 {
			continue
		}
		if m, err := torch.PlanGraph(o); err == nil && float64(graphBytes(m)) <= headroom*float64(free) {
			return fmt.Sprintf("set batch.micro_sequences: %d", n)
		}
	}
	return "the model is too large for it"
}

// fill sets the weights. Those of another run or of Hugging Face are read by a model on the host.
func (g *graph) fill(c config.Resolved) error {
	if c.Weights() == "" {
		return g.registry.Initialize(c.Seed)
	}
	m, err := model.New(c.Model, torch.Float32, nn.Inference)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.LoadWeights(c.Weights()); err != nil {
		return err
	}
	for _, p := range g.registry.Params() {
		values, err := m.Registry().Read(nn.Params, p.Name)
		if err != nil {
			return err
		}
		if err := g.registry.Write(nn.Params, p.Name, values); err != nil {
			return err
		}
	}
	return g.registry.Round()
}

// graphOptions translates a config. What the graph calls its context is the length of its sequences.
func graphOptions(c config.Resolved, device int) torch.GraphOptions {
	m, o, shape := c.Model, c.Optimizer, shapeOf(c)
	family := torch.GraphLlama2
	if m.Family == config.OLMo2 {
		family = torch.GraphOLMo2
	}
	return torch.GraphOptions{
		Device: device, Family: family, Layers: m.Layers, Width: m.Width, Heads: m.Heads, KVHeads: m.KVHeads, FFN: m.FFN,
		Vocab: m.Vocab, Context: shape.time, Tied: m.TieEmbeddings, Sequences: shape.sequences,
		MicroSequences: min(c.Batch.MicroSequences, shape.sequences), Parameters: m.Parameters(),
		RopeTheta: m.RopeTheta, NormEps: m.NormEps, ZLoss: o.ZLoss, ClipNorm: o.ClipNorm,
		Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, Deterministic: c.Deterministic,
	}
}

// graphState names the registry's buffers.
func graphState(r *nn.Registry) torch.GraphState {
	s := torch.GraphState{
		Params: r.Flat(nn.Params), Grads: r.Flat(nn.Grads), M: r.Flat(nn.ExpAvg), V: r.Flat(nn.ExpAvgSq), Copy16: r.Copy16(),
		Embedding: r.Param("model.embed_tokens.weight").Offset, Norm: r.Param("model.norm.weight").Offset,
	}
	s.Head = s.Embedding
	if head := r.Param("lm_head.weight"); head != nil {
		s.Head = head.Offset
	}
	return s
}

// graphLayers finds each layer's parameters. Weights of one fused product must follow each other.
func graphLayers(r *nn.Registry, m config.Model) ([]torch.GraphLayer, error) {
	var problem error
	layers := make([]torch.GraphLayer, m.Layers)
	for i := range layers {
		at := func(name string) int64 { return r.Param(fmt.Sprintf("model.layers.%d.%s.weight", i, name)).Offset }
		size := func(name string) int64 { return r.Param(fmt.Sprintf("model.layers.%d.%s.weight", i, name)).Len() }
		for _, pair := range [][2]string{{"self_attn.q_proj", "self_attn.k_proj"}, {"self_attn.k_proj", "self_attn.v_proj"}, {"mlp.gate_proj", "mlp.up_proj"}} {
			if at(pair[0])+size(pair[0]) != at(pair[1]) {
				problem = record.Fail(record.Internal, "layer %d: %s does not follow %s in the flat buffers", i, pair[1], pair[0])
			}
		}
		l := torch.GraphLayer{
			QKV: at("self_attn.q_proj"), O: at("self_attn.o_proj"), GateUp: at("mlp.gate_proj"), Down: at("mlp.down_proj"),
			Norm1: -1, Norm2: at("post_attention_layernorm"), QNorm: -1, KNorm: -1,
		}
		if m.Family == config.OLMo2 {
			l.Norm1, l.Norm2 = l.Norm2, at("post_feedforward_layernorm")
			l.QNorm, l.KNorm = at("self_attn.q_norm"), at("self_attn.k_norm")
		} else {
			l.Norm1 = at("input_layernorm")
		}
		layers[i] = l
	}
	return layers, problem
}

func (g *graph) Name() string              { return stepGraph }
func (g *graph) Registry() *nn.Registry    { return g.registry }
func (g *graph) Updates() int64            { return g.adam.Updates() }
func (g *graph) SetUpdates(n int64)        { g.adam.SetUpdates(n) }
func (g *graph) Groups() []optim.Group     { return g.adam.Groups() }
func (g *graph) ISA() string               { return "" }
func (g *graph) Scorer() eval.Scorer       { return g }
func (g *graph) Context() int              { return g.context }
func (g *graph) Model() *model.Transformer { return nil } // the weights are on the device
func (g *graph) deviceName() string        { return fmt.Sprintf("cuda:%d", g.device) }

// Close frees the buffers; a step on its way is waited for.
func (g *graph) Close() {
	if g.graph != nil {
		g.graph.Close()
	}
	g.registry.Close()
}

// Step is Launch and Wait.
func (g *graph) Step(_ context.Context, b data.Batch, u Update) (StepResult, error) {
	if err := g.Launch(b, u); err != nil {
		return StepResult{}, err
	}
	return g.Wait()
}

// Launch starts the next step.
func (g *graph) Launch(b data.Batch, u Update) error {
	b, err := g.shape.pad(b, g.shape.sequences)
	if err != nil {
		return err
	}
	err = g.graph.Launch(b.Inputs, b.Targets, u.LR, u.DecayFactor, g.adam.Updates()+g.flying+1)
	if err == nil {
		g.flying++
	}
	return err
}

// Wait reads the result of the oldest step on its way. The device itself does not update with a loss or norm
// that is not finite, nor afterwards, until this has been reported.
func (g *graph) Wait() (StepResult, error) {
	r, err := g.graph.Wait()
	if err != nil {
		return StepResult{}, err
	}
	g.flying--
	out := StepResult{Loss: r.Loss, GradNorm: r.Norm}
	if !r.Stopped {
		g.adam.SetUpdates(g.adam.Updates() + 1)
		return out, nil
	}
	for ; g.flying > 0; g.flying-- {
		if _, err := g.graph.Wait(); err != nil {
			return out, err
		}
	}
	return out, finite(out)
}

// SummedLoss adds up the losses of the targets of a batch that count, with the current weights.
func (g *graph) SummedLoss(b data.Batch) (float64, error) {
	b, err := g.shape.pad(b, b.Sequences())
	if err != nil {
		return 0, err
	}
	return g.graph.Loss(b.Inputs, b.Targets)
}

// DeviceUse is what a stepper's device is and holds.
type DeviceUse struct {
	Name                     string // cpu, cuda:0
	Hardware                 string
	Launch                   string // graph, or why not
	PeakBytes, ReservedBytes int64  // at most, of tensors and taken from the device
	PlannedBytes             int64
}

// use asks the device.
func (g *graph) use() (DeviceUse, error) {
	_, launch, err := g.graph.Describe()
	if err != nil {
		return DeviceUse{}, err
	}
	info, err := torch.DescribeCUDA(g.device)
	return DeviceUse{
		Name: g.deviceName(), Hardware: g.hardware, Launch: launch, PeakBytes: info.Peak, ReservedBytes: info.Reserved,
		PlannedBytes: graphBytes(g.planned),
	}, err
}

// graphBytes is all that a step holds.
func graphBytes(m torch.GraphMemory) int64 { return m.State + m.Activations + m.Scratch + m.Logits }
