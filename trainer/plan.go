package trainer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// Plan is what a run would do and cost: --dry-run.
type Plan struct {
	ID            string         `json:"id"`
	Model         string         `json:"model"`
	Parameters    int64          `json:"parameters"`
	Steps         int64          `json:"steps"`
	Tokens        int64          `json:"tokens"` // that the loss is over, of a task about
	TPP           float64        `json:"tokens_per_parameter"`
	Epochs        record.Float   `json:"epochs"` // passes over the training data; NaN when it is not there
	WeightDecay   float64        `json:"weight_decay"`
	Tau           record.Float   `json:"tau"`
	FLOPsFull     float64        `json:"flops_full"`    // 6·N + 12·L·d·s a token that is read, padding included
	FLOPsCausal   float64        `json:"flops_causal"`  // 6·N + 6·L·d·s of them
	Step          string         `json:"step"`          // reference | engine | graph
	ISA           string         `json:"isa,omitempty"` // of the engine's kernels
	Memory        Memory         `json:"memory"`
	Disk          int64          `json:"disk_bytes"` // checkpoints kept, and one being written
	DiskFree      int64          `json:"disk_free_bytes"`
	Seconds       float64        `json:"estimated_seconds"` // steps and evaluations
	StepSeconds   float64        `json:"step_seconds"`
	Estimate      string         `json:"estimate"`       // measured: by steps made now; product: from the rate below; none
	ProductGFLOPS float64        `json:"product_gflops"` // of a large matrix product, measured now in the run's precision
	Precision     string         `json:"precision"`
	Threads       int            `json:"threads"`
	Device        string         `json:"device"`
	DecayGroups   []PlannedGroup `json:"decay_groups"`
	Data          string         `json:"data"`
}

// Memory is an estimate in bytes.
type Memory struct {
	State       int64 `json:"state"`       // values, moments; for the reference gradients and the rounded copy, too
	Activations int64 `json:"activations"` // of one micro-batch; for the engine everything that it takes besides the state
}

// PlannedGroup says which parameters decay by how much.
type PlannedGroup struct {
	Name        string   `json:"name"`
	WeightDecay float64  `json:"weight_decay"`
	Elements    int64    `json:"elements"`
	Parameters  []string `json:"parameters"`
}

const (
	// efficiency is the share of the product rate that a step is taken to reach when it is not measured.
	efficiency = 0.45
	// measurable is the memory up to which a plan makes a few steps to time them.
	measurable = 2 << 30
	// forwardShare is what an evaluated token costs of a trained one: forward without backward.
	forwardShare = 1.0 / 3
)

// MakePlan resolves a config and estimates its cost. It trains and writes nothing. Prepared text need not be there when the config has the
// vocabulary: then the plan has no id.
func MakePlan(c config.Run, out string) (Plan, error) {
	if err := c.CheckTrainable(); err != nil {
		return Plan{}, err
	}
	at, err := place(c)
	wanted := strings.HasPrefix(c.Device, "cuda")
	if err != nil && (!wanted || record.CodeOf(err) != record.DeviceLost) {
		return Plan{}, err
	}
	absent := err // the GPU that is asked for is not here: its memory can be planned, its speed not
	base, _, err := locateInit(&c)
	if err != nil {
		return Plan{}, err
	}
	facts, there, err := plannedFacts(&c, base)
	if err != nil {
		return Plan{}, err
	}
	r, err := c.Resolve(facts)
	if err != nil {
		return Plan{}, err
	}
	if c.Fresh {
		base = nil
	}
	parent, err := parentOf(base)
	if err != nil {
		return Plan{}, err
	}
	chosen, err := chooseStep(c, at, torch.EngineISA)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{
		ID: r.ID(facts, parent.identity), Model: modelName(r.Model), Parameters: r.Model.Parameters(), Steps: r.Steps, Tokens: r.TokensTotal,
		TPP: float64(r.TokensTotal) / float64(r.Model.Parameters()), Epochs: record.Float(float64(r.TokensTotal) / float64(facts.TrainTokens)),
		WeightDecay: r.WeightDecay, Tau: record.Float(r.Tau), Precision: c.Precision, Threads: Threads(c), Device: "cpu", Step: chosen.name(), ISA: chosen.isa,
		Disk: checkpointBytes(r.Model.Parameters()) * int64(r.Checkpoint.Keep+1), Data: facts.Source,
	}
	if !there {
		p.ID, p.Epochs = "unknown", record.Float(math.NaN())
	}
	p.FLOPsFull, p.FLOPsCausal = r.FLOPs()
	if p.Memory, err = chosen.memory(r); err != nil {
		return Plan{}, err
	}
	if p.DecayGroups, err = plannedGroups(r); err != nil {
		return Plan{}, err
	}
	if p.DiskFree, err = record.FreeBytes(existing(out)); err != nil {
		return Plan{}, err
	}
	if wanted || at.device != torch.CPU {
		if err := p.planDevice(r, at, absent); err != nil || p.Estimate != "" {
			return p, err
		}
	}
	return p, p.estimate(r)
}

// plannedFacts describes the data; of prepared text that is not there yet, what the config says.
func plannedFacts(c *config.Run, base *model.Source) (facts config.DataFacts, there bool, err error) {
	read, err := openSource(c, base)
	if err == nil {
		return read.facts(), true, nil
	}
	_, missing := os.Stat(filepath.Join(c.Data.Train, data.ManifestFile))
	if c.Data.Task != "" || c.Model.Vocab == 0 || !errors.Is(missing, fs.ErrNotExist) {
		return facts, false, err
	}
	return config.DataFacts{Vocab: c.Model.Vocab, Source: c.Data.Train + ", which is not there yet"}, false, nil
}

// planDevice fills in what a GPU will hold, and the time of a step if the GPU is here and has room.
func (p *Plan) planDevice(r config.Resolved, at placement, absent error) error {
	memory, err := torch.PlanGraph(graphOptions(r, max(at.device, 0)))
	if err != nil {
		return err
	}
	p.Device = "cuda"
	p.Memory = Memory{State: memory.State, Activations: memory.Activations + memory.Scratch + memory.Logits}
	if absent != nil {
		p.Estimate, p.Device = "none", "cuda, which is not here"
		return nil
	}
	r.Init = "" // any weights take the same time
	if p.StepSeconds, err = timeStep(r); err != nil {
		return err
	}
	p.Estimate, p.Device = "measured", fmt.Sprintf("cuda:%d", at.device)
	p.evaluations(r)
	return nil
}

// estimate times a few steps on random tokens, or for a large model only a product, and scales up.
func (p *Plan) estimate(r config.Resolved) error {
	if err := torch.SetThreads(p.Threads); err != nil {
		return err
	}
	rate, err := torch.ProductGFLOPS(precision(r.Run), 1024, 3)
	if err != nil {
		return err
	}
	p.ProductGFLOPS = rate
	p.Estimate, p.StepSeconds = "product", p.FLOPsFull/float64(p.Steps)/(rate*1e9*efficiency)
	if p.Memory.State+p.Memory.Activations < measurable && p.StepSeconds < 1 {
		r.Init = "" // any weights take the same time
		if p.StepSeconds, err = timeStep(r); err != nil {
			return err
		}
		p.Estimate = "measured"
	}
	p.evaluations(r)
	return nil
}

// evaluations adds their time to that of the steps.
func (p *Plan) evaluations(r config.Resolved) {
	evaluations := int64(1)
	if r.Eval.EverySteps > 0 {
		evaluations = (p.Steps + r.Eval.EverySteps - 1) / r.Eval.EverySteps
	}
	if r.Data.Val == "" && r.Data.Task == "" {
		evaluations = 0
	}
	perToken := p.StepSeconds / float64(r.Batch.Sequences*r.Window)
	p.Seconds = p.StepSeconds*float64(p.Steps) + forwardShare*perToken*float64(evaluations*r.Eval.Tokens)
}

// timeStep makes a few steps with weights that are thrown away, and returns the best one's seconds.
func timeStep(r config.Resolved) (float64, error) {
	stepper, err := newStepper(r)
	if err != nil {
		return 0, err
	}
	defer stepper.Close()
	b := &Bench{Config: r, stepper: stepper, random: rand.New(rand.NewPCG(1, 2))}
	steps, err := b.Run(4)
	if err != nil {
		return 0, err
	}
	best := steps[1].Seconds
	for _, s := range steps[2:] {
		best = min(best, s.Seconds)
	}
	return best, nil
}

// plannedGroups assigns parameters to decay groups without allocating them.
func plannedGroups(c config.Resolved) ([]PlannedGroup, error) {
	r := nn.NewRegistry()
	model.Declare(r, c.Model)
	groups, err := decayGroups(c, r.Params())
	if err != nil {
		return nil, err
	}
	out := make([]PlannedGroup, len(groups))
	for i, g := range groups {
		out[i] = PlannedGroup{Name: g.Name, WeightDecay: g.WeightDecay}
		for _, p := range g.Params {
			out[i].Elements += p.Len()
			out[i].Parameters = append(out[i].Parameters, p.Name)
		}
	}
	return out, nil
}

// memory counts what a step holds.
func (o choice) memory(c config.Resolved) (Memory, error) {
	if !o.engine {
		return referenceMemory(c), nil
	}
	more, err := torch.EngineBytes(model.EngineModel(c.Model), engineOptions(c, o.isa))
	return Memory{State: 12 * c.Model.Parameters(), Activations: more}, err
}

// referenceMemory is four float32 buffers and the rounded copy; and for a micro-batch, what autograd
// keeps of each layer, with the largest chunk of logits.
func referenceMemory(c config.Resolved) Memory {
	m := c.Model
	perValue := int64(16)
	element := int64(4)
	if c.Precision == "bf16" {
		perValue, element = 18, 2
	}
	kv := m.Width / m.Heads * m.KVHeads
	rows := int64(c.Batch.MicroSequences) * int64(m.Context)
	layer := int64(2*m.Width)*4 + element*int64(6*m.Width+2*kv+3*m.FFN)
	logits := min(rows, 1024) * int64(m.Vocab) * (element + 4)
	return Memory{State: perValue * m.Parameters(), Activations: rows*layer*int64(m.Layers) + logits}
}

// Write prints the plan for people.
func (p Plan) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("run", "%s", p.ID)
	row("model", "%s, %s parameters", p.Model, count(p.Parameters))
	row("data", "%s", p.Data)
	passes := ""
	if !math.IsNaN(float64(p.Epochs)) {
		passes = fmt.Sprintf(", %.3g passes over the data", float64(p.Epochs))
	}
	row("tokens", "%s in %d steps (%.3g per parameter%s)", count(p.Tokens), p.Steps, p.TPP, passes)
	row("weight decay", "%g (τ %.3g of the training)", p.WeightDecay, float64(p.Tau))
	for _, g := range p.DecayGroups {
		row("  "+g.Name, "%g over %s elements: %s", g.WeightDecay, count(g.Elements), abridged(g.Parameters))
	}
	row("FLOPs", "%.3g full, %.3g causal", p.FLOPsFull, p.FLOPsCausal)
	row("step", "%s", stepText(p.Step, p.ISA, p.Precision, p.Threads))
	row("memory", "%s state, about %s to compute with", bytesText(p.Memory.State), bytesText(p.Memory.Activations))
	row("disk", "%s for checkpoints, %s free", bytesText(p.Disk), bytesText(p.DiskFree))
	row("device", "%s", p.Device)
	how := "steps timed now"
	switch p.Estimate {
	case "product":
		how = fmt.Sprintf("from a product's %.0f GFLOP/s", p.ProductGFLOPS)
		fallthrough
	case "measured":
		row("time", "about %s on this machine (%d threads, %.3g s a step, %s)", durationText(p.Seconds), p.Threads, p.StepSeconds, how)
	}
	if err := t.Flush(); err != nil {
		return record.Fail(record.IO, "print the plan: %w", err)
	}
	return nil
}

// abridged lists names, the middle left out when there are many.
func abridged(names []string) string {
	if len(names) > 4 {
		return fmt.Sprintf("%s, %s, … %s (%d)", names[0], names[1], names[len(names)-1], len(names))
	}
	return strings.Join(names, ", ")
}

// bytesText writes a size in binary units.
func bytesText(n int64) string {
	x := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if x < 1024 {
			return fmt.Sprintf("%.3g %s", x, unit)
		}
		x /= 1024
	}
	return fmt.Sprintf("%.3g TiB", x)
}
