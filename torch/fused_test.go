package torch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"plasticity/torch"
	"plasticity/torch/torchtest"
)

// leaf is a parameter of its own: values and gradients in flat buffers.
type leaf struct {
	values, grads, copy16 *torch.Flat
	tensor, compute       *torch.Tensor
	data                  []float32
}

func newLeaf(t *testing.T, seed uint64, bf16 bool, shape ...int) *leaf {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	l := &leaf{data: randoms(seed, n)}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	l.values, err = torch.NewFlat(torch.Float32, int64(n))
	must(err)
	l.grads, err = torch.NewFlat(torch.Float32, int64(n))
	must(err)
	l.tensor, err = l.values.Leaf(l.grads, 0, shape...)
	must(err)
	if bf16 {
		l.copy16, err = torch.NewFlat(torch.BFloat16, int64(n))
		must(err)
		l.compute, err = l.copy16.View(0, shape...)
		must(err)
	}
	l.set(t, l.data)
	t.Cleanup(func() {
		l.tensor.Close()
		l.compute.Close()
		l.values.Close()
		l.grads.Close()
		if l.copy16 != nil {
			l.copy16.Close()
		}
	})
	return l
}

func (l *leaf) set(t *testing.T, data []float32) {
	t.Helper()
	if err := l.values.Write(0, data); err != nil {
		t.Fatal(err)
	}
	if l.copy16 != nil {
		if err := l.values.RoundTo(l.copy16); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *leaf) weight() torch.Weight { return torch.Weight{Value: l.tensor, Compute: l.compute} }

func (l *leaf) grad(t *testing.T) []float32 {
	t.Helper()
	out := make([]float32, len(l.data))
	if err := l.grads.Read(0, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func randoms(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(r.NormFloat64() * 0.5)
	}
	return data
}

// mix turns a result into one number that depends on every element differently.
func mix(s *torch.Scope, y *torch.Tensor) *torch.Tensor {
	flat := s.Reshape(s.To(y, torch.Float32), y.Numel())
	return s.Sum(s.Mul(flat, s.FromFloat32(randoms(99, y.Numel()), y.Numel())))
}

// checkGradients compares the backward pass of f with finite differences at every leaf.
func checkGradients(t *testing.T, leaves map[string]*leaf, f func(s *torch.Scope) *torch.Tensor) {
	t.Helper()
	torchtest.NoLeaks(t)
	s := torch.NewScope()
	s.Backward(f(s))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	value := func() float64 {
		s := torch.NewScope(torch.NoGrad)
		defer s.Close()
		v := s.Item(f(s))
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, l := range leaves {
		torchtest.FiniteDiff(t, name, func(x []float32) float64 { l.set(t, x); return value() }, l.data, l.grad(t), 1e-2, 2e-2)
		l.set(t, l.data) // the last difference is still in the buffer
	}
}

func TestLinear_GradientIsThatOfFiniteDifferences(t *testing.T) {
	x, w := newLeaf(t, 1, false, 2, 3, 5), newLeaf(t, 2, false, 7, 5)
	checkGradients(t, map[string]*leaf{"x": x, "w": w}, func(s *torch.Scope) *torch.Tensor {
		return mix(s, s.Linear(x.tensor, w.weight()))
	})
}

func TestRMSNorm_GradientIsThatOfFiniteDifferences(t *testing.T) {
	x, g := newLeaf(t, 1, false, 37, 9), newLeaf(t, 2, false, 9)
	checkGradients(t, map[string]*leaf{"x": x, "gain": g}, func(s *torch.Scope) *torch.Tensor {
		return mix(s, s.RMSNorm(x.tensor, g.tensor, 1e-5, torch.Float32))
	})
}

func TestSwiGLU_GradientIsThatOfFiniteDifferences(t *testing.T) {
	g, u := newLeaf(t, 1, false, 3, 17), newLeaf(t, 2, false, 3, 17)
	checkGradients(t, map[string]*leaf{"gate": g, "up": u}, func(s *torch.Scope) *torch.Tensor {
		return mix(s, s.SwiGLU(g.tensor, u.tensor))
	})
}

func TestEmbedding_GradientIsThatOfFiniteDifferences(t *testing.T) {
	table := newLeaf(t, 1, false, 5, 4)
	checkGradients(t, map[string]*leaf{"table": table}, func(s *torch.Scope) *torch.Tensor {
		return mix(s, s.Embedding(s.FromInt32([]int32{3, 0, 3, 4, 1, 3}, 2, 3), table.tensor))
	})
}

func TestRope_GradientIsThatOfFiniteDifferences(t *testing.T) {
	x := newLeaf(t, 1, false, 2, 3, 2, 6)
	checkGradients(t, map[string]*leaf{"x": x}, func(s *torch.Scope) *torch.Tensor {
		angles := randoms(5, 5*3)
		cosine, sine := make([]float32, len(angles)), make([]float32, len(angles))
		for i, a := range angles {
			cosine[i], sine[i] = float32(math.Cos(float64(a))), float32(math.Sin(float64(a)))
		}
		return mix(s, s.Rope(x.tensor, s.FromFloat32(cosine, 5, 3), s.FromFloat32(sine, 5, 3), 2))
	})
}

func TestAttention_GradientIsThatOfFiniteDifferences(t *testing.T) {
	for _, c := range []struct{ batch, time, heads, groups, size int }{
		{1, 1, 1, 1, 2}, {2, 5, 2, 2, 4}, {1, 6, 4, 2, 3}, {2, 4, 3, 1, 8}, {1, 140, 1, 1, 2},
	} {
		t.Run(fmt.Sprintf("B%d_T%d_H%d_G%d_E%d", c.batch, c.time, c.heads, c.groups, c.size), func(t *testing.T) {
			q := newLeaf(t, 1, false, c.batch, c.time, c.heads, c.size)
			k := newLeaf(t, 2, false, c.batch, c.time, c.groups, c.size)
			v := newLeaf(t, 3, false, c.batch, c.time, c.groups, c.size)
			checkGradients(t, map[string]*leaf{"q": q, "k": k, "v": v}, func(s *torch.Scope) *torch.Tensor {
				return mix(s, s.Attention(q.tensor, k.tensor, v.tensor, 0))
			})
		})
	}
}

func TestAttention_OverACacheEqualsTheWhole(t *testing.T) {
	torchtest.NoLeaks(t)
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	const batch, time, heads, groups, size = 2, 9, 4, 2, 6
	q := s.FromFloat32(randoms(1, batch*time*heads*size), batch, time, heads, size)
	k := s.FromFloat32(randoms(2, batch*time*groups*size), batch, time, groups, size)
	v := s.FromFloat32(randoms(3, batch*time*groups*size), batch, time, groups, size)
	whole := s.Attention(q, k, v, 0)
	for _, split := range []int{1, 4, 8} {
		first := s.Attention(s.Narrow(q, 1, 0, split), k, v, 0)
		rest := s.Attention(s.Narrow(q, 1, split, time-split), k, v, split)
		torchtest.Close(t, fmt.Sprint("split at ", split), s.Float32s(s.Cat(1, first, rest)), s.Float32s(whole), 1e-5)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestLinearCrossEntropy_GradientIsThatOfFiniteDifferences(t *testing.T) {
	for _, z := range []float64{0, 0.05} {
		x, w := newLeaf(t, 1, false, 6, 5), newLeaf(t, 2, false, 11, 5)
		checkGradients(t, map[string]*leaf{"x": x, "w": w}, func(s *torch.Scope) *torch.Tensor {
			targets := s.FromInt32([]int32{3, -1, 10, 0, 7, -1}, 6)
			return s.LinearCrossEntropy(x.tensor, w.weight(), targets, z, 4)
		})
	}
}

func TestLinearCrossEntropy_EqualsLogSoftmax(t *testing.T) {
	torchtest.NoLeaks(t)
	const rows, width, vocab = 2500, 8, 300 // more rows than one chunk
	x, w := newLeaf(t, 1, false, rows, width), newLeaf(t, 2, false, vocab, width)
	targets := make([]int32, rows)
	for i := range targets {
		targets[i] = int32(i*7%vocab) - int32(i%11/10)*1000
		targets[i] = max(targets[i], -1)
	}
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	got := s.Item(s.LinearCrossEntropy(x.tensor, w.weight(), s.FromInt32(targets, rows), 0, 1))
	logp := s.Float32s(s.LogSoftmax(s.Linear(x.tensor, w.weight())))
	want := 0.0
	for i, y := range targets {
		if y >= 0 {
			want -= float64(logp[i*vocab+int(y)])
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if math.Abs(got-want) > 1e-4*want {
		t.Fatalf("loss %v, by log-softmax %v", got, want)
	}
}

// In bfloat16 a product's inputs are rounded to 8 bits: its error is a few parts in a thousand of
// the size of its terms.
func TestBFloat16_StaysCloseToFloat32(t *testing.T) {
	torchtest.NoLeaks(t)
	run := func(bf16 bool) (float64, []float32) {
		x, w := newLeaf(t, 1, false, 64, 32), newLeaf(t, 2, bf16, 48, 32)
		s := torch.NewScope()
		defer s.Close()
		targets := make([]int32, 64)
		loss := s.LinearCrossEntropy(x.tensor, w.weight(), s.FromInt32(targets, 64), 0, 64)
		s.Backward(loss)
		value := s.Item(loss)
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		return value, w.grad(t)
	}
	want, wantGrad := run(false)
	got, gotGrad := run(true)
	if math.Abs(got-want) > 5e-3*want {
		t.Errorf("loss %v in bfloat16, %v in float32", got, want)
	}
	torchtest.Close(t, "gradient", gotGrad, wantGrad, 5e-3)
}
