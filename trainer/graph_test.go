package trainer

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// resolved is a config without data: batches are random.
func resolved(t testing.TB, sets ...string) config.Resolved {
	t.Helper()
	c := load(t, append([]string{"name=graph", "threads=4", "budget.steps=1000", "optimizer.lr=1e-3", "schedule.kind=constant"}, sets...))
	r, err := c.Resolve(config.DataFacts{Vocab: c.Model.Vocab})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// randomBatches are n batches of a skewed distribution, so that there is something to learn.
func randomBatches(c config.Resolved, n int) []data.Batch {
	random := rand.New(rand.NewPCG(7, 8))
	out := make([]data.Batch, n)
	for i := range out {
		tokens := int(c.TokensPerStep)
		b := data.Batch{Inputs: make([]int32, tokens), Targets: make([]int32, tokens), Time: c.Model.Context}
		last := int32(0)
		for j := range tokens {
			b.Inputs[j] = last
			last = (last*5 + int32(random.ExpFloat64()*4)) % int32(c.Model.Vocab)
			b.Targets[j] = last
		}
		out[i] = b
	}
	return out
}

// graphCases are shapes of both families: usual, grouped, tied, odd, and micro-batches with a remainder.
func graphCases() map[string][]string {
	return map[string][]string{
		"llama2 grouped": {
			"model.family=llama2", "model.layers=3", "model.width=128", "model.heads=4", "model.kv_heads=2", "model.ffn=352",
			"model.vocab=512", "model.context=128", "batch.sequences=8", "batch.micro_sequences=8",
		},
		"llama2 head 64, micro-batches": {
			"model.family=llama2", "model.layers=2", "model.width=256", "model.heads=4", "model.kv_heads=1", "model.ffn=688",
			"model.vocab=1000", "model.context=64", "batch.sequences=9", "batch.micro_sequences=3", "optimizer.z_loss=1e-3",
		},
		"llama2 odd": {
			"model.family=llama2", "model.layers=2", "model.width=60", "model.heads=3", "model.kv_heads=1", "model.ffn=70",
			"model.vocab=257", "model.context=37", "batch.sequences=4", "batch.micro_sequences=2", "model.tie_embeddings=true",
		},
		"olmo2": {
			"model.family=olmo2", "model.layers=3", "model.width=128", "model.heads=4", "model.kv_heads=4", "model.ffn=352",
			"model.vocab=512", "model.context=128", "batch.sequences=8", "batch.micro_sequences=8",
		},
		"olmo2 grouped, tied, micro-batches": {
			"model.family=olmo2", "model.layers=2", "model.width=192", "model.heads=6", "model.kv_heads=2", "model.ffn=500",
			"model.vocab=999", "model.context=80", "batch.sequences=8", "batch.micro_sequences=4", "model.tie_embeddings=true",
			"optimizer.z_loss=1e-4",
		},
	}
}

// trace is what a stepper computed: its numbers and, after the first step, its gradients.
type trace struct {
	numbers []float64
	grads   map[string][]float32
	values  []float32
}

func traceOf(t *testing.T, s Stepper, batches []data.Batch) trace {
	t.Helper()
	out := trace{grads: map[string][]float32{}}
	for i, b := range batches {
		r, err := s.Step(context.Background(), b, Update{LR: 1e-3, DecayFactor: 1})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		out.numbers = append(out.numbers, r.Loss, r.GradNorm)
		for _, p := range s.Registry().Params() {
			if i > 0 {
				break
			}
			if out.grads[p.Name], err = s.Registry().Read(nn.Grads, p.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range s.Registry().Params() {
		v, err := s.Registry().Read(nn.Params, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		out.values = append(out.values, v...)
	}
	return out
}

// losses are those of the numbers that are losses.
func (t trace) losses() []float64 {
	var out []float64
	for i := 0; i < len(t.numbers); i += 2 {
		out = append(out, t.numbers[i])
	}
	return out
}

// parting is by how much losses part, relatively, and at which step, from 1, they do most.
func parting(got, want []float64) (worst float64, step int) {
	for i := range got {
		if d := math.Abs(got[i]-want[i]) / want[i]; !(d <= worst) {
			worst, step = d, i+1
		}
	}
	return worst, step
}

// onHost is the reference's trace in a precision.
func onHost(t *testing.T, c config.Resolved, precision string, batches []data.Batch) trace {
	t.Helper()
	s, err := newStepper(onReference(c, precision))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return traceOf(t, s, batches)
}

// onReference is the config of the reference on the CPU.
func onReference(c config.Resolved, precision string) config.Resolved {
	c.Device, c.Step, c.Precision = "cpu", config.StepReference, precision
	return c
}

func onDevice(t *testing.T, c config.Resolved, choice graphChoice, batches []data.Batch) (trace, DeviceUse) {
	t.Helper()
	g, err := buildGraph(c, 0, choice)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	out := traceOf(t, g, batches)
	use, err := g.use()
	if err != nil {
		t.Fatal(err)
	}
	return out, use
}

// The step on the GPU is as near to the reference in float32 as the reference in bfloat16 is: losses and norms of
// some steps, the gradient of every parameter, the values in the end.
func TestGraph_MatchesTheReference(t *testing.T) {
	torchtest.RequireCUDA(t)
	torchtest.NoLeaks(t)
	for name, sets := range graphCases() {
		t.Run(name, func(t *testing.T) {
			c := resolved(t, sets...)
			matchReference(t, c, randomBatches(c, 5))
		})
	}
}

// matchReference holds the device's trace of batches to the reference's and returns it.
func matchReference(t *testing.T, c config.Resolved, batches []data.Batch) trace {
	t.Helper()
	exact, rounded := onHost(t, c, "f32", batches), onHost(t, c, "bf16", batches)
	got, use := onDevice(t, c, graphChoice{}, batches)
	t.Logf("%s, %s", use.Hardware, use.Launch)
	if use.Launch != "graph" {
		t.Errorf("not a graph: %s", use.Launch)
	}
	// One norm in bfloat16 may be right by chance: the yardstick is the reference's worst step.
	var theirs [2]float64 // of losses, of norms
	for i, w := range exact.numbers {
		theirs[i%2] = math.Max(theirs[i%2], math.Abs(rounded.numbers[i]-w)/w)
	}
	for i, w := range exact.numbers {
		if mine := math.Abs(got.numbers[i]-w) / w; !(mine <= 3*theirs[i%2]+3e-3) {
			t.Errorf("number %d is %v, exact %v (differs by %.1e, the reference's bf16 by up to %.1e)", i, got.numbers[i], w, mine, theirs[i%2])
		}
	}
	worst, worstName := 0.0, ""
	for p, want := range exact.grads {
		mine, theirs := distance(got.grads[p], want), distance(rounded.grads[p], want)
		if !(mine <= 2*theirs+2e-3) {
			t.Errorf("gradient of %s differs by %.1e, the reference's bf16 by %.1e", p, mine, theirs)
		}
		if mine > worst {
			worst, worstName = mine, p
		}
	}
	mine, rounding := distance(got.values, exact.values), distance(rounded.values, exact.values)
	if !(mine <= 2*rounding+1e-3) {
		t.Errorf("values after %d steps differ by %.1e, the reference's bf16 by %.1e", len(batches), mine, rounding)
	}
	t.Logf("losses and norms %.5v; largest distance of a gradient %.1e (%s); values %.1e (reference in bf16 %.1e)", got.numbers, worst, worstName, mine, rounding)
	return got
}

// Graph and launches, one stream and two, kept and computed again, all give the same bits; every implementation of
// attention gives the same numbers, and repeats itself where that was asked for, at a length where blocks are many.
func TestGraph_RepeatsItself(t *testing.T) {
	torchtest.RequireCUDA(t)
	sets := []string{
		"model.family=llama2", "model.layers=3", "model.width=256", "model.heads=4", "model.kv_heads=2", "model.ffn=352",
		"model.vocab=512", "model.context=1024", "batch.sequences=4", "batch.micro_sequences=2",
	}
	c := resolved(t, sets...)
	batches := randomBatches(c, 5)
	want, use := onDevice(t, c, graphChoice{deterministic: true}, batches)
	t.Logf("%s; last loss %v", use.Hardware, want.numbers[len(want.numbers)-2])
	for name, choice := range map[string]graphChoice{
		"again": {deterministic: true}, "launches": {deterministic: true, launches: true},
		"one stream": {deterministic: true, streams: 1}, "two streams": {deterministic: true, streams: 2},
		"recompute":              {deterministic: true, recompute: true, streams: 1},
		"recompute, two streams": {deterministic: true, recompute: true, streams: 2},
	} {
		got, _ := onDevice(t, c, choice, batches)
		if d := distance(got.values, want.values); d != 0 {
			t.Errorf("%s: values differ by %.1e", name, d)
		}
	}
	for _, attention := range []int{torch.AttentionAuto, torch.AttentionFlash, torch.AttentionMath} {
		a, use := onDevice(t, c, graphChoice{attention: attention}, batches)
		b, _ := onDevice(t, c, graphChoice{attention: attention}, batches)
		t.Logf("%s: repeats itself: %v; distance from the deterministic one %.1e", use.Hardware, distance(a.values, b.values) == 0, distance(a.values, want.values))
		if d := distance(a.values, want.values); d > 1e-2 {
			t.Errorf("%s: values differ by %.1e", use.Hardware, d)
		}
	}
}

// Steps started ahead compute what steps one by one do.
func TestGraph_Ahead(t *testing.T) {
	torchtest.RequireCUDA(t)
	c := resolved(t, graphCases()["llama2 head 64, micro-batches"]...)
	batches := randomBatches(c, 6)
	want, _ := onDevice(t, c, graphChoice{}, batches)
	if diff := cmp.Diff(want.numbers, ahead(t, c, batches)); diff != "" {
		t.Errorf("(-one by one +ahead):\n%s", diff)
	}
}

// ahead are the losses and norms of steps of which each is started before the one before it is read.
func ahead(t *testing.T, c config.Resolved, batches []data.Batch) []float64 {
	t.Helper()
	g, err := buildGraph(c, 0, graphChoice{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var numbers []float64
	for i := range len(batches) + 1 {
		if i < len(batches) {
			if err := g.Launch(batches[i], Update{LR: 1e-3, DecayFactor: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if i > 0 {
			r, err := g.Wait()
			if err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, r.Loss, r.GradNorm)
		}
	}
	return numbers
}

// A loss that is not finite changes nothing, also when the next step was on its way, and the step can go on.
func TestGraph_NonFinite(t *testing.T) {
	torchtest.RequireCUDA(t)
	c := resolved(t, graphCases()["olmo2"]...)
	g, err := buildGraph(c, 0, graphChoice{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	batches := randomBatches(c, 3)
	u := Update{LR: 1e-3, DecayFactor: 1}
	if _, err := g.Step(context.Background(), batches[0], u); err != nil {
		t.Fatal(err)
	}
	name := "model.norm.weight"
	good, err := g.registry.Read(nn.Params, name)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]float32(nil), good...)
	bad[3] = float32(math.NaN())
	write := func(values []float32) {
		if err := g.registry.Write(nn.Params, name, values); err != nil {
			t.Fatal(err)
		}
		if err := g.registry.Round(); err != nil {
			t.Fatal(err)
		}
	}
	head := func() []float32 {
		v, err := g.registry.Read(nn.Params, "lm_head.weight")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := head()
	write(bad)
	for range 2 {
		if err := g.Launch(batches[1], u); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Wait(); record.CodeOf(err) != record.NonFinite {
		t.Fatalf("a weight that is NaN gave %v", err)
	}
	if d := distance(head(), before); d != 0 || g.Updates() != 1 {
		t.Errorf("values moved by %v, %d updates counted", d, g.Updates())
	}
	write(good)
	r, err := g.Step(context.Background(), batches[2], u)
	if err != nil || g.Updates() != 2 {
		t.Errorf("afterwards: %v, %v, %d updates", r, err, g.Updates())
	}
	if d := distance(head(), before); d == 0 {
		t.Error("the step afterwards changed nothing")
	}
	long := data.Batch{Inputs: batches[0].Inputs, Targets: append([]int32(nil), batches[0].Targets...), Time: batches[0].Time}
	long.Targets[5] = int32(c.Model.Vocab)
	if _, err := g.Step(context.Background(), long, u); err == nil {
		t.Error("a target outside the vocabulary was taken")
	}
}

// The validation loss is that of the reference's forward.
func TestGraph_SummedLoss(t *testing.T) {
	torchtest.RequireCUDA(t)
	for name, sets := range graphCases() {
		c := resolved(t, sets...)
		g, err := buildGraph(c, 0, graphChoice{})
		if err != nil {
			t.Fatal(err)
		}
		host, err := newStepper(onReference(c, "f32"))
		if err != nil {
			t.Fatal(err)
		}
		b := randomBatches(c, 1)[0]
		tokens := c.Batch.MicroSequences * c.Model.Context
		b = data.Batch{Inputs: b.Inputs[:tokens], Targets: b.Targets[:tokens], Time: b.Time}
		sameSummedLoss(t, name, g, host, b, 2e-3)
		host.Close()
		g.Close()
	}
}

// sameSummedLoss holds the device's loss of a batch to the reference's, relatively.
func sameSummedLoss(t *testing.T, name string, g *graph, host Stepper, b data.Batch, bound float64) {
	t.Helper()
	got, err := g.SummedLoss(b)
	if err != nil {
		t.Fatal(err)
	}
	want, err := host.Scorer().SummedLoss(b)
	if d := math.Abs(got-want) / want; err != nil || !(d <= bound) {
		t.Errorf("%s: %d sequences of %d: %v, reference %v, %v", name, b.Sequences(), b.Time, got, want, err)
	}
}

// The loss of a few hundred steps stays beside the CPU's.
func TestGraph_LossCurve(t *testing.T) {
	torchtest.RequireCUDA(t)
	for _, family := range []string{"llama2", "olmo2"} {
		sets := []string{
			"model.family=" + family, "model.layers=3", "model.width=128", "model.heads=4", "model.kv_heads=2", "model.ffn=352",
			"model.vocab=300", "model.context=64", "batch.sequences=8", "optimizer.lr=3e-3",
		}
		c := resolved(t, sets...)
		batches := randomBatches(c, 200)
		want := onHost(t, c, "bf16", batches)
		got, use := onDevice(t, c, graphChoice{}, batches)
		worst, at := parting(got.losses(), want.losses())
		n := len(got.numbers)
		t.Logf("%s, %s: loss %.4f → %.4f, CPU %.4f → %.4f; largest difference %.1e at step %d", family, use.Hardware, got.numbers[0], got.numbers[n-2], want.numbers[0], want.numbers[n-2], worst, at)
		if !(worst < 0.02) {
			t.Errorf("%s: the losses part by %.1e at step %d", family, worst, at)
		}
	}
}

// A run on the GPU that is stopped and started again ends with the same bits.
func TestGraph_Resumes(t *testing.T) {
	torchtest.RequireCUDA(t)
	prepared := corpus(t, 1)
	for _, family := range []string{"llama2", "olmo2"} {
		sets := settings(prepared, "precision=bf16", "device=cuda", "model.family="+family, "model.width=64", "model.ffn=96", "model.context=32", "batch.micro_sequences=2", "metrics.log_every_steps=7")
		resumes(t, sets, 1, 4, 17)
	}
}

// resumes trains undisturbed, and stopped at each of some steps, and holds the outcomes equal. It returns the folder of the
// run that was not disturbed.
func resumes(t *testing.T, sets []string, at ...int) string {
	t.Helper()
	calm := filepath.Join(folder(t), "calm")
	if _, err := train(t, calm, sets); err != nil {
		t.Fatal(err)
	}
	want := outcomeOf(t, calm)
	for _, n := range at {
		dir := filepath.Join(folder(t), "stopped")
		if _, err := train(t, dir, sets, stopping(n)); record.CodeOf(err) != record.Stopped {
			t.Fatalf("stopped at step %d: %v", n, err)
		}
		if _, err := train(t, dir, sets); err != nil {
			t.Fatalf("resumed at step %d: %v", n, err)
		}
		if diff := cmp.Diff(want, outcomeOf(t, dir)); diff != "" {
			t.Errorf("resumed at step %d (-undisturbed +resumed):\n%s", n, diff)
		}
	}
	t.Logf("resumed at %v: weights %.12s, moments %.12s", at, want.Model, want.Optimizer)
	return calm
}

// The tensors that were planned are those that exist.
func TestGraph_MemoryAsPlanned(t *testing.T) {
	torchtest.RequireCUDA(t)
	for name, sets := range map[string][]string{
		"llama2": {"model.family=llama2", "model.layers=8", "model.width=768", "model.heads=12", "model.kv_heads=4", "model.ffn=2048", "model.vocab=32000", "model.context=1024", "batch.sequences=16", "batch.micro_sequences=8"},
		"olmo2":  {"model.family=olmo2", "model.layers=8", "model.width=768", "model.heads=12", "model.kv_heads=12", "model.ffn=2048", "model.vocab=32000", "model.context=1024", "batch.sequences=8", "batch.micro_sequences=8"},
	} {
		c := resolved(t, sets...)
		before, err := torch.DescribeCUDA(0) // workspaces of the graphs before stay
		if err != nil {
			t.Fatal(err)
		}
		g, err := buildGraph(c, 0, graphChoice{})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range randomBatches(c, 2) {
			if _, err := g.Step(context.Background(), b, Update{LR: 1e-3, DecayFactor: 1}); err != nil {
				t.Fatal(err)
			}
		}
		use, err := g.use()
		if err != nil {
			t.Fatal(err)
		}
		g.Close()
		use.PeakBytes -= before.Allocated
		off := float64(use.PeakBytes)/float64(use.PlannedBytes) - 1
		t.Logf("%s: planned %s, peak of tensors %s (%+.1f %%), taken from the device %s; %s", name, bytesText(use.PlannedBytes), bytesText(use.PeakBytes), 100*off, bytesText(use.ReservedBytes), use.Hardware)
		if math.Abs(off) > 0.05 {
			t.Errorf("%s: the plan is off by %.1f %%", name, 100*off)
		}
	}
}

// Without a GPU: the memory can be planned, and asking for the device says why there is none.
func TestGraph_PlanWithoutGPU(t *testing.T) {
	c := resolved(t, "model.preset=llama2-1b", "batch.sequences=32", "batch.micro_sequences=16")
	memory, err := torch.PlanGraph(graphOptions(c, 0))
	if err != nil {
		t.Fatal(err)
	}
	if memory.State != 18*c.Model.Parameters() || memory.Activations < 20<<30 || memory.Activations > 60<<30 || memory.Scratch <= 0 || memory.Logits > 1<<30 {
		t.Errorf("planned %+v", memory)
	}
	t.Logf("llama2-1b, 16 × 2048 tokens: state %s, activations %s, scratch %s, logits %s", bytesText(memory.State), bytesText(memory.Activations), bytesText(memory.Scratch), bytesText(memory.Logits))
	devices, err := torch.OpenCUDA()
	if err != nil || devices.Count > 0 {
		t.Skipf("there are %d GPUs, %v", devices.Count, err)
	}
	for _, device := range []string{"cuda", "cuda:1"} {
		_, err := place(load(t, []string{"device=" + device}))
		if record.CodeOf(err) != record.DeviceLost || !strings.Contains(err.Error(), devices.Reason) {
			t.Errorf("device %s: %v", device, err)
		}
	}
	sets := settings(corpus(t, 1), "device=cuda", "precision=bf16")
	p, err := MakePlan(load(t, sets), "")
	if err != nil || p.Estimate != "none" || p.Memory.State != 18*p.Parameters {
		t.Errorf("plan %+v, %v", p, err)
	}
	if _, err := train(t, filepath.Join(folder(t), "run"), sets); record.CodeOf(err) != record.DeviceLost {
		t.Errorf("training: %v", err)
	}
	if _, err := place(load(t, []string{"device=cuda", "step=reference"})); record.CodeOf(err) != record.Usage {
		t.Errorf("the reference on a GPU: %v", err)
	}
	for _, device := range []string{"auto", "cpu"} {
		if at, err := place(load(t, []string{"device=" + device})); err != nil || at.device != torch.CPU {
			t.Errorf("device %s: %+v, %v", device, at, err)
		}
	}
}
