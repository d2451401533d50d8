package model_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// shapes are small models of both families, with the sizes that go wrong: grouped and single key heads, a feed-forward
// width that no vector length divides, tied embeddings, one layer, one head.
func shapes() map[string]config.Model {
	llama := config.Model{Family: config.Llama2, Layers: 2, Width: 48, Heads: 6, KVHeads: 2, FFN: 100, Vocab: 304, Context: 96, RopeTheta: 10_000, NormEps: 1e-5}
	olmo := config.Model{Family: config.OLMo2, Layers: 2, Width: 48, Heads: 4, KVHeads: 4, FFN: 100, Vocab: 304, Context: 96, RopeTheta: 500_000, NormEps: 1e-6}
	with := func(m config.Model, change func(*config.Model)) config.Model {
		change(&m)
		return m
	}
	return map[string]config.Model{
		"llama2-grouped": llama,
		"llama2-single-key-tied": with(llama, func(m *config.Model) {
			m.Width, m.Heads, m.KVHeads, m.FFN, m.TieEmbeddings = 40, 4, 1, 67, true
		}),
		"llama2-odd":   with(llama, func(m *config.Model) { m.Layers, m.Width, m.Heads, m.KVHeads, m.FFN = 3, 66, 3, 3, 51 }),
		"llama2-least": with(llama, func(m *config.Model) { m.Layers, m.Width, m.Heads, m.KVHeads, m.FFN = 1, 2, 1, 1, 1 }),
		"olmo2":        olmo,
		"olmo2-grouped-tied": with(olmo, func(m *config.Model) {
			m.Heads, m.KVHeads, m.FFN, m.TieEmbeddings = 6, 2, 67, true
		}),
		"olmo2-single-key": with(olmo, func(m *config.Model) { m.Layers, m.Width, m.Heads, m.KVHeads = 3, 36, 2, 1 }),
	}
}

// build makes an initialised model that is closed with the test, with gains and rows that are not all alike.
func build(t testing.TB, cfg config.Model, precision torch.DType) *model.Transformer {
	t.Helper()
	m, err := model.New(cfg, precision, nn.Training)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.Initialize(7); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range m.Registry().Params() {
		if len(p.Shape) != 1 {
			continue
		}
		gains := make([]float32, p.Len())
		for i := range gains {
			gains[i] = 0.7 + 0.6*random.Float32()
		}
		if err := m.Registry().Write(nn.Params, p.Name, gains); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Registry().Round(); err != nil {
		t.Fatal(err)
	}
	return m
}

// ids are n token ids.
func ids(seed uint64, n, vocab int) []int32 {
	random := rand.New(rand.NewPCG(seed, 3))
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(random.IntN(vocab))
	}
	return out
}

// logits runs the model over [batch, time] ids.
func logits(t testing.TB, m *model.Transformer, tokens []int32, batch, time int) []float32 {
	t.Helper()
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	out := s.Float32s(m.Logits(s, s.FromInt32(tokens, batch, time)))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// lossOf is the mean loss over the targets that count.
func lossOf(t testing.TB, m *model.Transformer, tokens, targets []int32, batch int, zLoss float64, backward bool) float64 {
	t.Helper()
	options := []torch.Option{torch.NoGrad}
	if backward {
		options = nil
	}
	s := torch.NewScope(options...)
	defer s.Close()
	count := 0
	for _, id := range targets {
		if id >= 0 {
			count++
		}
	}
	time := len(tokens) / batch
	loss := m.Loss(s, s.FromInt32(tokens, batch, time), s.FromInt32(targets, batch, time), zLoss, float64(count))
	if backward {
		s.Backward(loss)
	}
	value := s.Item(loss)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestLoss_IsThatOfTheLogits(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			m := build(t, cfg, torch.Float32)
			tokens, targets := ids(1, 24, cfg.Vocab), ids(2, 24, cfg.Vocab)
			targets[3], targets[11] = -1, -1
			scores := logits(t, m, tokens, 2, 12)
			want, n := 0.0, 0.0
			for i, target := range targets {
				if target < 0 {
					continue
				}
				row := scores[i*cfg.Vocab : (i+1)*cfg.Vocab]
				sum := 0.0
				for _, x := range row {
					sum += math.Exp(float64(x))
				}
				lse := math.Log(sum)
				want += lse - float64(row[target]) + 0.01*lse*lse
				n++
			}
			if got := lossOf(t, m, tokens, targets, 2, 0.01, false); math.Abs(got-want/n) > 1e-5*want/n {
				t.Errorf("loss %v, from the logits %v", got, want/n)
			}
		})
	}
}

func TestLoss_GradientsAreThoseOfFiniteDifferences(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			m := build(t, cfg, torch.Float32)
			r := m.Registry()
			tokens, targets := ids(3, 40, cfg.Vocab), ids(4, 40, cfg.Vocab)
			lossOf(t, m, tokens, targets, 4, 1e-3, true)
			for _, p := range r.Params() {
				gradient, err := r.Read(nn.Grads, p.Name)
				if err != nil {
					t.Fatal(err)
				}
				values, err := r.Read(nn.Params, p.Name)
				if err != nil {
					t.Fatal(err)
				}
				norm := 0.0
				for _, g := range gradient {
					norm += float64(g) * float64(g)
				}
				norm = math.Sqrt(norm)
				if norm == 0 {
					t.Errorf("%s has no gradient", p.Name)
					continue
				}
				// Along the gradient the loss rises by its norm. The step stands out of float32's noise; vectors of two elements,
				// which the norms bend strongly, take a smaller one.
				step := 0.02
				if cfg.Width < 8 {
					step = 0.005
				}
				at := func(sign float64) float64 {
					moved := slices.Clone(values)
					for i, g := range gradient {
						moved[i] += float32(sign * step * float64(g) / norm)
					}
					if err := r.Write(nn.Params, p.Name, moved); err != nil {
						t.Fatal(err)
					}
					return lossOf(t, m, tokens, targets, 4, 1e-3, false)
				}
				// Two widths take the cubic term out.
				wide := (at(1) - at(-1)) / (2 * step)
				step /= 2
				narrow := (at(1) - at(-1)) / (2 * step)
				if numeric := (4*narrow - wide) / 3; math.Abs(numeric-norm) > 0.01*norm+2e-4 {
					t.Errorf("%s: the loss rises by %v along a gradient of norm %v", p.Name, numeric, norm)
				}
				if err := r.Write(nn.Params, p.Name, values); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func norm32(values []float32) float64 {
	sum := 0.0
	for _, x := range values {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

func TestLoss_GradientsOfMicroBatchesAddUp(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			m := build(t, cfg, torch.Float32)
			tokens, targets := ids(5, 40, cfg.Vocab), ids(6, 40, cfg.Vocab)
			lossOf(t, m, tokens, targets, 4, 0, true)
			whole := gradients(t, m)
			if err := m.Registry().ZeroGrad(); err != nil {
				t.Fatal(err)
			}
			for part := range 4 {
				s := torch.NewScope()
				s.Backward(m.Loss(s, s.FromInt32(tokens[part*10:part*10+10], 1, 10), s.FromInt32(targets[part*10:part*10+10], 1, 10), 0, 40))
				if err := s.Err(); err != nil {
					t.Fatal(err)
				}
				s.Close()
			}
			torchtest.Close(t, "gradients", gradients(t, m), whole, 1e-5)
		})
	}
}

// gradients reads all gradients.
func gradients(t testing.TB, m *model.Transformer) []float32 {
	t.Helper()
	all := make([]float32, m.Registry().NumParams())
	if err := m.Registry().Flat(nn.Grads).Read(0, all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLogits_DependOnThePastOnly(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			m := build(t, cfg, torch.Float32)
			tokens := ids(8, 20, cfg.Vocab)
			before := logits(t, m, tokens, 1, 20)
			for i := 9; i < 20; i++ {
				tokens[i] = (tokens[i] + 1) % int32(cfg.Vocab)
			}
			after := logits(t, m, tokens, 1, 20)
			torchtest.Close(t, "logits of the prefix", after[:9*cfg.Vocab], before[:9*cfg.Vocab], 1e-5)
			if slices.Equal(after[9*cfg.Vocab:], before[9*cfg.Vocab:]) {
				t.Error("the tokens make no difference")
			}
			torchtest.Close(t, "logits of the prefix alone", logits(t, m, tokens[:9], 1, 9), before[:9*cfg.Vocab], 1e-5)
		})
	}
}

func TestLogits_SequencesOfABatchAreIndependent(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			m := build(t, cfg, torch.Float32)
			tokens := ids(9, 36, cfg.Vocab)
			all := logits(t, m, tokens, 3, 12)
			for b := range 3 {
				one := logits(t, m, tokens[b*12:b*12+12], 1, 12)
				torchtest.Close(t, "one sequence", one, all[b*12*cfg.Vocab:(b+1)*12*cfg.Vocab], 1e-5)
			}
		})
	}
}

func TestDecode_EqualsTheWholeSequence(t *testing.T) {
	for _, precision := range []torch.DType{torch.Float32, torch.BFloat16} {
		for name, cfg := range shapes() {
			t.Run(name, func(t *testing.T) {
				torchtest.NoLeaks(t)
				m := build(t, cfg, precision)
				const batch, time, prompt = 3, 17, 6
				tokens := ids(10, batch*time, cfg.Vocab)
				want := logits(t, m, tokens, batch, time)
				c, err := m.NewCache(batch, time)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				tolerance := 2e-5
				if precision == torch.BFloat16 {
					tolerance = 0.05
				}
				for _, pieces := range [][]int{{prompt, 1, 1, 1, 8}, {1, 1, 15}, {time}} {
					c.Truncate(0)
					for _, n := range pieces {
						from := c.Len()
						got := decode(t, m, c, columns(tokens, batch, time, from, n), n)
						for b := range batch {
							at := (b*time + from + n - 1) * cfg.Vocab
							torchtest.Close(t, "logits", got[b*cfg.Vocab:(b+1)*cfg.Vocab], want[at:at+cfg.Vocab], tolerance)
						}
					}
				}
			})
		}
	}
}

// columns are n tokens of each sequence from a position on.
func columns(tokens []int32, batch, time, from, n int) []int32 {
	var out []int32
	for b := range batch {
		out = append(out, tokens[b*time+from:b*time+from+n]...)
	}
	return out
}

// decode runs one piece through the cache.
func decode(t testing.TB, m *model.Transformer, c *model.Cache, tokens []int32, n int) []float32 {
	t.Helper()
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	out := s.Float32s(m.Decode(s, s.FromInt32(tokens, len(tokens)/n, n), c))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDecode_NoRoom(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["llama2-grouped"]
	m := build(t, cfg, torch.Float32)
	for _, sizes := range [][2]int{{0, 5}, {1, 0}, {1, cfg.Context + 1}} {
		if _, err := m.NewCache(sizes[0], sizes[1]); record.CodeOf(err) != record.Usage {
			t.Errorf("%v: %v", sizes, err)
		}
	}
	c, err := m.NewCache(2, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	decode(t, m, c, ids(1, 8, cfg.Vocab), 4)
	for _, c2 := range []struct{ batch, time int }{{2, 2}, {1, 1}} {
		s := torch.NewScope(torch.NoGrad)
		m.Decode(s, s.FromInt32(ids(1, c2.batch*c2.time, cfg.Vocab), c2.batch, c2.time), c)
		if s.Err() == nil || c.Len() != 4 || c.Cap() != 5 {
			t.Errorf("%v: error %v, %d tokens of %d", c2, s.Err(), c.Len(), c.Cap())
		}
		s.Close()
	}
}

func TestLogits_TooLongOrUnknown(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["olmo2"]
	m := build(t, cfg, torch.Float32)
	for name, tokens := range map[string][]int32{
		"longer than the context": ids(1, cfg.Context+1, cfg.Vocab), "id above the vocabulary": {1, int32(cfg.Vocab)}, "negative id": {1, -1},
	} {
		s := torch.NewScope()
		m.Logits(s, s.FromInt32(tokens, 1, len(tokens)))
		if s.Err() == nil {
			t.Errorf("%s: no error", name)
		}
		s.Close()
	}
}

func TestLoss_BFloat16IsClose(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			exact, rounded := build(t, cfg, torch.Float32), build(t, cfg, torch.BFloat16)
			tokens, targets := ids(12, 60, cfg.Vocab), ids(13, 60, cfg.Vocab)
			a, b := lossOf(t, exact, tokens, targets, 4, 1e-3, true), lossOf(t, rounded, tokens, targets, 4, 1e-3, true)
			if math.Abs(a-b) > 0.01*a {
				t.Errorf("loss %v in float32, %v in bfloat16", a, b)
			}
			g, h := gradients(t, exact), gradients(t, rounded)
			difference := make([]float32, len(g))
			for i := range g {
				difference[i] = g[i] - h[i]
			}
			if relative := norm32(difference) / norm32(g); relative > 0.03 {
				t.Errorf("gradients differ by %v of their norm", relative)
			}
		})
	}
}

func TestInitialize_Deviations(t *testing.T) {
	torchtest.NoLeaks(t)
	deviation := func(m *model.Transformer, name string) (std, largest float64) {
		values, err := m.Registry().Read(nn.Params, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range values {
			std += float64(x) * float64(x)
			largest = math.Max(largest, math.Abs(float64(x)))
		}
		return math.Sqrt(std / float64(len(values))), largest
	}
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 0.06*want {
			t.Errorf("%s: standard deviation %v, want %v", what, got, want)
		}
	}
	cfg := config.Model{Family: config.Llama2, Layers: 3, Width: 64, Heads: 4, KVHeads: 2, FFN: 176, Vocab: 512, Context: 8, RopeTheta: 1e4, NormEps: 1e-5}
	llama, err := model.New(cfg, torch.Float32, nn.Training)
	if err != nil {
		t.Fatal(err)
	}
	defer llama.Close()
	if err := llama.Initialize(1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "lm_head.weight", "model.layers.2.self_attn.q_proj.weight"} {
		std, _ := deviation(llama, name)
		near(name, std, math.Sqrt(2/(5*64.0)))
	}
	for _, name := range []string{"model.layers.0.self_attn.o_proj.weight", "model.layers.2.mlp.down_proj.weight"} {
		std, _ := deviation(llama, name)
		near(name, std, 1/(math.Sqrt(64)*3))
	}
	if gain, largest := deviation(llama, "model.norm.weight"); gain != 1 || largest != 1 {
		t.Errorf("gains %v", gain)
	}
	cfg.Family = config.OLMo2
	olmo, err := model.New(cfg, torch.Float32, nn.Training)
	if err != nil {
		t.Fatal(err)
	}
	defer olmo.Close()
	if err := olmo.Initialize(1); err != nil {
		t.Fatal(err)
	}
	for _, p := range olmo.Registry().Params() {
		std, largest := deviation(olmo, p.Name)
		if len(p.Shape) == 1 {
			near(p.Name, std, 1)
			continue
		}
		near(p.Name, std, 0.02*0.98658) // a normal distribution cut off at three standard deviations
		if largest > 0.06 {
			t.Errorf("%s reaches %v", p.Name, largest)
		}
	}
}

func TestNew_ImpossibleShape(t *testing.T) {
	torchtest.NoLeaks(t)
	for name, change := range map[string]func(*config.Model){
		"family":        func(m *config.Model) { m.Family = "gpt2" },
		"no layers":     func(m *config.Model) { m.Layers = 0 },
		"width":         func(m *config.Model) { m.Width = 50 },
		"odd head":      func(m *config.Model) { m.Width, m.Heads, m.KVHeads = 9, 3, 3 },
		"kv heads":      func(m *config.Model) { m.KVHeads = 4 },
		"no vocabulary": func(m *config.Model) { m.Vocab = 0 },
		"huge":          func(m *config.Model) { m.FFN = 1 << 40 },
		"theta":         func(m *config.Model) { m.RopeTheta = math.NaN() },
		"eps":           func(m *config.Model) { m.NormEps = 0 },
	} {
		cfg := shapes()["llama2-grouped"]
		change(&cfg)
		if _, err := model.New(cfg, torch.Float32, nn.Training); record.CodeOf(err) != record.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
