package model_test

import (
	"fmt"
	"math"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// What engine and reference may differ by: the norm of the difference of a parameter's gradient, relative to the norm
// of the reference's in float32.
const (
	engineF32  = 1e-4
	engineBF16 = 5e-2 // the reference's own bfloat16 is as far away
	// A gradient this much smaller than the whole one is made of rounding: it is measured against this share of the whole.
	negligible = 1e-4
)

// engineCase is a model with the batch it sees.
type engineCase struct {
	cfg             config.Model
	sequences, time int
	micro           int
	masked          int // every n-th target does not count; 0: all do
	zLoss           float64
	threads         int
}

func (c engineCase) String() string {
	m := c.cfg
	return fmt.Sprintf("%s-L%d-D%d-H%d-G%d-F%d-V%d-tied=%v-%dx%d/%d-%dthreads", m.Family, m.Layers, m.Width, m.Heads, m.KVHeads, m.FFN, m.Vocab, m.TieEmbeddings, c.sequences, c.time, c.micro, c.threads)
}

// engineCases go through widths that no tile divides, head sizes of 2 to 128, one to sixteen heads, grouped, single and own
// keys, sequences of 1 to 512 tokens, vocabularies of 7 to 5000, and micro-batches of one, two and all sequences.
func engineCases() []engineCase {
	type shape struct{ layers, heads, kv, size, ffn, vocab, sequences, time int }
	shapes := []shape{
		{1, 1, 1, 2, 1, 7, 1, 1},
		{1, 1, 1, 8, 16, 7, 2, 3},
		{2, 1, 1, 16, 24, 31, 3, 5},
		{2, 2, 1, 8, 24, 270, 4, 16},
		{2, 2, 2, 10, 33, 100, 4, 17},
		{1, 3, 1, 22, 51, 64, 2, 33},
		{3, 3, 3, 22, 51, 304, 3, 31},
		{2, 4, 2, 12, 100, 304, 4, 32},
		{2, 6, 2, 8, 100, 304, 4, 40},
		{1, 4, 1, 10, 67, 129, 4, 64},
		{2, 4, 4, 32, 352, 512, 4, 64},
		{1, 2, 1, 64, 200, 513, 2, 65},
		{1, 1, 1, 128, 160, 96, 2, 96},
		{1, 2, 2, 128, 300, 1000, 1, 100},
		{1, 16, 16, 8, 96, 300, 2, 48},
		{1, 16, 4, 8, 160, 257, 3, 63},
		{1, 16, 1, 16, 128, 999, 2, 30},
		{2, 5, 5, 14, 77, 321, 5, 20},
		{1, 8, 2, 20, 90, 5000, 2, 24},
		{1, 7, 7, 6, 41, 4097, 2, 50},
		{1, 8, 4, 32, 344, 1200, 1, 256},
		{1, 16, 8, 12, 100, 300, 1, 512},
		{1, 2, 1, 18, 40, 33, 1, 512},
		{1, 4, 2, 16, 64, 65, 2, 257},
		{4, 4, 4, 16, 64, 48, 6, 12},
	}
	var cases []engineCase
	for i, s := range shapes {
		for f, family := range []string{config.Llama2, config.OLMo2} {
			c := engineCase{
				cfg: config.Model{
					Family: family, Layers: s.layers, Width: s.heads * s.size, Heads: s.heads, KVHeads: s.kv, FFN: s.ffn, Vocab: s.vocab,
					Context: s.time + i%3, RopeTheta: 10_000, NormEps: 1e-5, TieEmbeddings: (i+f)%3 == 0,
				},
				sequences: s.sequences, time: s.time, micro: []int{s.sequences, 1, min(2, s.sequences)}[(i+f)%3],
				masked: []int{0, 3, 7}[i%3], threads: []int{1, 2, 4}[(i+f)%3],
			}
			if (i+f)%2 == 1 {
				c.zLoss = 1e-3
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// tokens are the case's ids and targets.
func (c engineCase) tokens() (inputs, targets []int32) {
	n := c.sequences * c.time
	inputs, targets = ids(1, n, c.cfg.Vocab), ids(2, n, c.cfg.Vocab)
	for i := range targets {
		if c.masked > 0 && i%c.masked == 1 {
			targets[i] = -1
		}
	}
	return inputs, targets
}

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

// reference computes a case's loss and gradients by autograd.
func (c engineCase) reference(t testing.TB, m *model.Transformer) (float64, []float32) {
	t.Helper()
	inputs, targets := c.tokens()
	s := torch.NewScope()
	defer s.Close()
	loss := m.Loss(s, s.FromInt32(inputs, c.sequences, c.time), s.FromInt32(targets, c.sequences, c.time), c.zLoss, float64(len(inputs)))
	s.Backward(loss)
	value := s.Item(loss)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return value, gradients(t, m)
}

// engine computes the same in one crossing, on the values of m.
func (c engineCase) engine(t testing.TB, m *model.Transformer, precision torch.DType, isa string) (float64, []float32) {
	t.Helper()
	e, err := m.NewEngine(torch.EngineOptions{Precision: precision, Threads: c.threads, Backward: true, Sequences: int64(c.micro), ISA: isa})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	grads, err := torch.NewFlat(torch.Float32, m.Registry().NumParams())
	if err != nil {
		t.Fatal(err)
	}
	defer grads.Close()
	inputs, targets := c.tokens()
	r, err := e.Gradients(m.Registry().Flat(nn.Params), grads, torch.Batch{
		IDs: inputs, Targets: targets, Sequences: int64(c.sequences), Time: int64(c.time), Micro: int64(c.micro), Divisor: float64(len(inputs)), ZLoss: c.zLoss,
	})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, grads.Len())
	if err := grads.Read(0, out); err != nil {
		t.Fatal(err)
	}
	if norm := norm32(out); math.Abs(r.GradNorm-norm) > 1e-4*norm {
		t.Errorf("%v, %s: the gradient's norm is %v and was said to be %v", c, isa, norm, r.GradNorm)
	}
	return r.Loss, out
}

// worst is the largest relative error of a parameter's gradient, and whose it is.
func worst(m *model.Transformer, got, want []float32) (float64, string) {
	whole, largest, name := norm32(want), 0.0, ""
	for _, p := range m.Registry().Params() {
		from, to := p.Offset, p.Offset+p.Len()
		difference := make([]float32, p.Len())
		for i := range difference {
			difference[i] = got[from+int64(i)] - want[from+int64(i)]
		}
		e := norm32(difference) / math.Max(norm32(want[from:to]), negligible*whole)
		if !(e <= largest) { // NaN is the worst
			largest, name = e, p.Name
		}
	}
	return largest, name
}

// Loss and gradients of the engine are the reference's, with every instruction set of this CPU, in both precisions.
func TestEngine_GradientsAreTheReferences(t *testing.T) {
	type line struct {
		gradient, loss float64
		where          string // the largest difference of a gradient is
	}
	found := map[string]line{}
	note := func(key string, gradient, loss float64, where string) {
		f := found[key]
		if f.loss = math.Max(f.loss, loss); gradient > f.gradient {
			f.gradient, f.where = gradient, where
		}
		found[key] = f
	}
	sets, count := isas(t), 0
	for _, c := range engineCases() {
		t.Run(c.String(), func(t *testing.T) {
			torchtest.NoLeaks(t)
			m, half := build(t, c.cfg, torch.Float32), build(t, c.cfg, torch.BFloat16)
			wantLoss, want := c.reference(t, m)
			halfLoss, halfGradients := c.reference(t, half)
			own, name := worst(m, halfGradients, want)
			note("reference bf16", own, math.Abs(halfLoss/wantLoss-1), c.String()+" "+name)
			for _, isa := range sets {
				for _, p := range []struct {
					name      string
					precision torch.DType
					gradient  float64
					loss      float64
				}{{"f32", torch.Float32, engineF32, 1e-5}, {"bf16", torch.BFloat16, math.Max(engineBF16, 2*own), 1e-2}} {
					loss, got := c.engine(t, m, p.precision, isa)
					e, name := worst(m, got, want)
					l := math.Abs(loss/wantLoss - 1)
					note(isa+" "+p.name, e, l, c.String()+" "+name)
					count++
					if !(e <= p.gradient) || !(l <= p.loss) {
						t.Errorf("%s %s: the gradient of %s differs by %.2e of its norm (reference bf16: %.2e), loss %v, reference %v", isa, p.name, name, e, own, loss, wantLoss)
					}
				}
			}
		})
	}
	text := fmt.Sprintf("%d shapes, %d comparisons; largest relative differences from the float32 reference\n%-18s %12s %12s  %s\n", len(engineCases()), count, "", "gradient", "loss", "worst gradient")
	for _, key := range append([]string{"reference"}, sets...) {
		for _, precision := range []string{"f32", "bf16"} {
			if f, ok := found[key+" "+precision]; ok {
				text += fmt.Sprintf("%-18s %12.2e %12.2e  %s\n", key+" "+precision, f.gradient, f.loss, f.where)
			}
		}
	}
	t.Log(text)
}
