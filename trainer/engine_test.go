package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// isas lists the instruction sets of this CPU that the engine can use.
func isas(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, isa := range []string{"avx2", "avx512", "avx512_bf16", "amx"} {
		if _, err := torch.EngineISA(isa); err == nil {
			out = append(out, isa)
		}
	}
	if len(out) == 0 {
		t.Fatal("this CPU has no instruction set for the engine")
	}
	return out
}

// resolve opens the data of a config and settles it.
func resolve(t testing.TB, sets []string) (config.Resolved, *data.Set, *data.Set) {
	t.Helper()
	c := load(t, sets)
	source, err := openText(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Resolve(source.facts())
	if err != nil {
		t.Fatal(err)
	}
	return r, source.train, source.val
}

// stepper makes the step of a config, closed with the test.
func stepper(t testing.TB, r config.Resolved) Stepper {
	t.Helper()
	s, err := newStepper(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// values reads a buffer of a step.
func values(t testing.TB, s Stepper, b nn.Buffer) []float32 {
	t.Helper()
	f := s.Registry().Flat(b)
	out := make([]float32, f.Len())
	if err := f.Read(0, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// distance is the norm of a − b relative to that of b.
func distance(a, b []float32) float64 {
	difference, norm := 0.0, 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		difference += d * d
		norm += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(difference / math.Max(norm, 1e-60))
}

// Forty steps with clipping, decay in three groups, both schedules, z-loss and micro-batches: the engine's losses, gradient
// norms, values and moments follow the reference's.
func TestEngine_TrainsAsTheReference(t *testing.T) {
	torchtest.NoLeaks(t)
	prepared := corpus(t, 1)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		sets := settings(prepared, "model.family="+family, "budget.steps=40", "optimizer.z_loss=1e-3", "optimizer.clip_norm=0.7", "optimizer.weight_decay=0.5",
			`optimizer.groups=[{match: "*up_proj*", weight_decay: 3}]`, "decay_schedule.kind=linear", "schedule.kind=wsd", "batch.sequences=8", "batch.micro_sequences=4", "optimizer.lr=2e-3")
		want := recorded(t, sets, "step=reference")
		for _, isa := range isas(t) {
			for _, threads := range []int{1, 2, 4} {
				got := recorded(t, sets, "isa="+isa, fmt.Sprint("threads=", threads))
				loss, norm := got.away(want)
				p, m, v := distance(got.params, want.params), distance(got.m, want.m), distance(got.v, want.v)
				t.Logf("%s %s %d threads, f32, 40 steps: losses differ by %.1e, gradient norms by %.1e, values by %.1e, moments by %.1e and %.1e; loss %.4f → %.4f, %d steps clipped",
					family, isa, threads, loss, norm, p, m, v, want.losses[0], want.losses[39], want.clipped(0.7))
				if !(loss <= 1e-3) || !(norm <= 1e-3) || !(p <= 1e-3) || !(m <= 1e-2) || !(v <= 1e-2) || want.clipped(0.7) < 5 {
					t.Errorf("%s %s %d threads: the engine trains something else", family, isa, threads)
				}
			}
		}
	}
}

// course is what a training computed.
type course struct {
	losses, norms []float64
	params, m, v  []float32
}

// clipped counts the steps whose gradient was longer than limit.
func (c course) clipped(limit float64) int {
	n := 0
	for _, norm := range c.norms {
		if norm > limit {
			n++
		}
	}
	return n
}

// away is the largest relative difference of losses and of norms.
func (c course) away(want course) (loss, norm float64) {
	for i := range want.losses {
		loss = math.Max(loss, math.Abs(c.losses[i]/want.losses[i]-1))
		norm = math.Max(norm, math.Abs(c.norms[i]/want.norms[i]-1))
	}
	return loss, norm
}

// recorded trains a config to its end without a folder.
func recorded(t testing.TB, sets []string, more ...string) course {
	t.Helper()
	r, set, _ := resolve(t, slices.Concat(sets, more))
	s, err := newStepper(r)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	loader, err := data.NewLoader(set, data.LoaderOptions{Context: r.Model.Context, Sequences: r.Batch.Sequences, Seed: r.Seed, Order: r.Data.Order})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	var out course
	for step := range r.Steps {
		b, err := loader.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		result, err := s.Step(context.Background(), b, Update{LR: r.LRAt(step), DecayFactor: r.DecayFactorAt(step)})
		if err != nil {
			t.Fatal(err)
		}
		out.losses, out.norms = append(out.losses, result.Loss), append(out.norms, result.GradNorm)
	}
	out.params, out.m, out.v = values(t, s, nn.Params), values(t, s, nn.ExpAvg), values(t, s, nn.ExpAvgSq)
	return out
}

// In bfloat16 the engine stays as close to the float32 reference as the reference in bfloat16 does.
func TestEngine_TrainsInBfloat16(t *testing.T) {
	prepared := corpus(t, 1)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		sets := settings(prepared, "model.family="+family, "budget.steps=40")
		exact := recorded(t, sets, "step=reference")
		ownLoss, ownNorm := recorded(t, sets, "step=reference", "precision=bf16").away(exact)
		for _, isa := range isas(t) {
			loss, norm := recorded(t, sets, "precision=bf16", "isa="+isa).away(exact)
			t.Logf("%s bf16, 40 steps, away from the float32 reference: %s losses %.1e, norms %.1e; reference losses %.1e, norms %.1e", family, isa, loss, norm, ownLoss, ownNorm)
			if !(loss <= math.Max(3*ownLoss, 3e-3)) || !(norm <= math.Max(3*ownNorm, 3e-2)) {
				t.Errorf("%s %s: too far", family, isa)
			}
		}
	}
}

// Equal runs are equal bit for bit, in both precisions, with several threads.
func TestEngine_EqualRunsAreEqual(t *testing.T) {
	prepared := corpus(t, 1)
	for _, isa := range isas(t) {
		for _, precision := range []string{"f32", "bf16"} {
			sets := settings(prepared, "isa="+isa, "precision="+precision, "threads=3")
			var got [2]outcome
			for i := range got {
				dir := filepath.Join(folder(t), "run")
				if _, err := train(t, dir, sets); err != nil {
					t.Fatal(err)
				}
				got[i] = outcomeOf(t, dir)
			}
			if diff := cmp.Diff(got[0], got[1]); diff != "" {
				t.Errorf("%s %s: two runs of one config differ:\n%s", isa, precision, diff)
			}
			t.Logf("%s %s, 3 threads: twice weights %.12s, moments %.12s, steps %.12s", isa, precision, got[0].Model, got[0].Optimizer, got[0].Chain)
		}
	}
}

// What is not finite is refused as the reference refuses it: same exit code, and not a bit has changed.
func TestStepper_RefusesWhatIsNotFinite(t *testing.T) {
	prepared := corpus(t, 1)
	for _, step := range []string{"step=reference", "step=engine"} {
		for _, precision := range []string{"f32", "bf16"} {
			t.Run(step+" "+precision, func(t *testing.T) {
				r, set, _ := resolve(t, settings(prepared, step, "precision="+precision, "threads=2"))
				s := stepper(t, r)
				batch := firstBatch(t, set, r)
				update := Update{LR: 1e-3, DecayFactor: 1}
				if _, err := s.Step(context.Background(), batch, update); err != nil {
					t.Fatal(err)
				}
				good := values(t, s, nn.Params)
				for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), 3e38} {
					poisoned := slices.Clone(good[:16])
					poisoned[3] = bad
					name := "model.norm.weight"
					if err := s.Registry().Write(nn.Params, name, poisoned); err != nil {
						t.Fatal(err)
					}
					if err := s.Registry().Round(); err != nil {
						t.Fatal(err)
					}
					before := [3][]float32{values(t, s, nn.Params), values(t, s, nn.ExpAvg), values(t, s, nn.ExpAvgSq)}
					result, err := s.Step(context.Background(), batch, update)
					if record.CodeOf(err) != record.NonFinite || finite(result) == nil {
						t.Errorf("gain %v: result %+v, error %v", bad, result, err)
					}
					for i, b := range []nn.Buffer{nn.Params, nn.ExpAvg, nn.ExpAvgSq} {
						if !sameBits(before[i], values(t, s, b)) {
							t.Errorf("gain %v: buffer %d has changed", bad, b)
						}
					}
					if s.Updates() != 1 {
						t.Errorf("gain %v: %d updates are counted", bad, s.Updates())
					}
				}
				// And from good values it goes on.
				if err := s.Registry().Flat(nn.Params).Write(0, good); err != nil {
					t.Fatal(err)
				}
				if err := s.Registry().Round(); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Step(context.Background(), batch, update); err != nil || s.Updates() != 2 {
					t.Errorf("after the refusals: %v, %d updates", err, s.Updates())
				}
			})
		}
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

func firstBatch(t testing.TB, set *data.Set, r config.Resolved) data.Batch {
	t.Helper()
	for b, err := range set.Batches(r.Model.Context, r.Batch.Sequences, 0) {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Fatal("no batch")
	return data.Batch{}
}

// The engine evaluates what it trains: the loss over the same windows as the reference's with the same weights, also when
// these were written behind its back, and its model generates with them.
func TestEngine_Evaluates(t *testing.T) {
	torchtest.NoLeaks(t)
	prepared := corpus(t, 1)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		for _, precision := range []string{"f32", "bf16"} {
			sets := settings(prepared, "model.family="+family, "precision="+precision, "batch.micro_sequences=2", "threads=2")
			r, set, val := resolve(t, sets)
			e, ref := stepper(t, r), stepper(t, with(r, config.StepReference))
			if e.Name() != config.StepEngine || ref.Name() != config.StepReference {
				t.Fatalf("steps %s and %s", e.Name(), ref.Name())
			}
			b := firstBatch(t, set, r)
			for range 3 {
				if _, err := e.Step(context.Background(), b, Update{LR: 1e-3, DecayFactor: 1}); err != nil {
					t.Fatal(err)
				}
			}
			tolerance := map[string]float64{"f32": 1e-5, "bf16": 3e-3}[precision]
			for _, when := range []string{"trained", "overwritten"} {
				if when == "overwritten" {
					fresh := r
					fresh.Seed = 99
					if err := e.Registry().Flat(nn.Params).Write(0, values(t, stepper(t, fresh), nn.Params)); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(ref.Registry().Flat(nn.Params).Write(0, values(t, e, nn.Params)), ref.Registry().Round(), e.Registry().Prepare()); err != nil {
					t.Fatal(err)
				}
				got, want, own := lossOf(t, e.Scorer(), val), lossOf(t, ref.Scorer(), val), lossOf(t, e.Model(), val)
				t.Logf("%s %s, %s: engine %.7f, reference %.7f, %.1e apart, over %d tokens", family, precision, when, got.NatsPerToken, want.NatsPerToken, math.Abs(got.NatsPerToken/want.NatsPerToken-1), got.Tokens)
				if !(math.Abs(got.NatsPerToken/want.NatsPerToken-1) <= tolerance) || got.Tokens != want.Tokens {
					t.Errorf("%s %s, %s: engine %+v, reference %+v", family, precision, when, got, want)
				}
				if own != want {
					t.Errorf("%s %s, %s: the engine's model has loss %+v, the reference's %+v", family, precision, when, own, want)
				}
			}
		}
	}
}

func with(r config.Resolved, step string) config.Resolved {
	r.Step = step
	return r
}

func lossOf(t testing.TB, m eval.Scorer, set *data.Set) eval.LossResult {
	t.Helper()
	// Windows that do not fill the last batch are part of it.
	loss, err := eval.Loss(context.Background(), m, set, 16*7, 2)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

// A profile covers the steps: the threads' parts, waiting included, fill the time from each step's begin to its end.
func TestEngine_Profiles(t *testing.T) {
	c := load(t, []string{"model.preset=llama2-s", "model.vocab=512", "threads=2", "precision=bf16"})
	b, err := NewBench(c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 { // the second recording forgets the first
		steps, spans, inside, err := b.Profile(3)
		if err != nil || !inside {
			t.Fatalf("inside %v, %v", inside, err)
		}
		seconds, covered, parts := 0.0, map[int]float64{}, map[string]float64{}
		for _, s := range steps {
			seconds += s.Seconds - s.BatchSeconds
		}
		for _, s := range spans {
			if s.Thread >= 0 {
				covered[s.Thread] += s.Seconds
				parts[s.Part] += s.Seconds
			}
		}
		if len(covered) != 2 || parts["attention"] <= 0 || parts["adamw"] <= 0 || parts["head_back"] <= 0 {
			t.Fatalf("threads %v, parts %v", covered, parts)
		}
		for thread, got := range covered {
			if got > seconds*1.02 {
				t.Errorf("thread %d: %v s of parts in %v s of steps", thread, got, seconds)
			}
		}
		t.Logf("%d spans; parts cover %.1f%% and %.1f%% of the steps", len(spans), 100*covered[0]/seconds, 100*covered[1]/seconds)
	}
}
