package eval

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/torchtest"
)

// statesShapes are a model of each family, with key heads that are grouped.
func statesShapes() map[string]config.Model {
	shapes := map[string]config.Model{}
	for _, family := range []string{config.Llama2, config.OLMo2} {
		shapes[family] = config.Model{
			Family: family, Layers: 3, Width: 48, Heads: 6, KVHeads: 2, FFN: 100, Vocab: 250, Context: 40, RopeTheta: 10000, NormEps: 1e-5,
		}
	}
	return shapes
}

func statesOf(t *testing.T, m *model.Transformer, texts [][]int32, layers []int, mean bool) [][]float32 {
	t.Helper()
	done := 0
	out, err := States(context.Background(), m, texts, StatesOptions{Layers: layers, Mean: mean, Report: func(n int) { done = n }})
	if err != nil {
		t.Fatal(err)
	}
	if done != len(texts) {
		t.Errorf("%d of %d texts reported", done, len(texts))
	}
	return out
}

// relative is the largest difference of two lists over the largest value.
func relative(a, b []float32) float64 {
	worst, size := 0.0, 0.0
	for i := range a {
		worst, size = max(worst, math.Abs(float64(a[i]-b[i]))), max(size, math.Abs(float64(b[i])))
	}
	return worst / size
}

// What fills up a batch is not seen, each text has the states that it has alone, and the mean is that of the states of its beginnings.
func TestStates_OfATextAlone(t *testing.T) {
	torchtest.NoLeaks(t)
	for family, shape := range statesShapes() {
		m := randomModel(t, shape)
		all := texts(5, 30, 250, 2)
		layers := []int{0, 2, 3}
		last, mean := statesOf(t, m, all, layers, false), statesOf(t, m, all, layers, true)
		const width = 48
		for i, ids := range all {
			var beginnings [][]int32
			for n := range ids {
				beginnings = append(beginnings, ids[:n+1])
			}
			alone := statesOf(t, m, beginnings, layers, false)
			for k := range layers {
				want := make([]float32, width)
				for n := range ids {
					for j := range want {
						want[j] += alone[k][n*width+j] / float32(len(ids))
					}
				}
				if d := relative(last[k][i*width:(i+1)*width], alone[k][(len(ids)-1)*width:]); d > 1e-5 {
					t.Errorf("%s, text %d, layer %d: the last state is off by %v", family, i, layers[k], d)
				}
				if d := relative(mean[k][i*width:(i+1)*width], want); d > 1e-5 {
					t.Errorf("%s, text %d, layer %d: the mean is off by %v", family, i, layers[k], d)
				}
			}
		}
	}
}

// The last state, normalised, is what the model's output layer sees.
func TestStates_EndWhereTheModelEnds(t *testing.T) {
	m := randomModel(t, statesShapes()[config.OLMo2])
	all := texts(5, 40, 250, 2)
	states := statesOf(t, m, all, []int{3}, false)[0]
	trunk, err := m.Trunk(40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trunk.Close)
	p, err := NewPooler(trunk, Compute{Step: config.StepReference, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	want, err := p.Pool(context.Background(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want { // the gain is one
		row := states[i*48 : (i+1)*48]
		sum := 0.0
		for _, x := range row {
			sum += float64(x) * float64(x)
		}
		got := make([]float32, len(row))
		for j, x := range row {
			got[j] = float32(float64(x) / math.Sqrt(sum/48+1e-5))
		}
		if d := relative(got, w); d > 1e-5 {
			t.Errorf("text %d: off by %v", i, d)
		}
	}
}

func TestStates_RefuseWhatIsNotFinite(t *testing.T) {
	m := randomModel(t, statesShapes()[config.Llama2])
	name := "model.layers.1.mlp.down_proj.weight"
	values, err := m.Registry().Read(0, name)
	if err != nil {
		t.Fatal(err)
	}
	values[5] = float32(math.NaN())
	if err := m.Registry().Write(0, name, values); err != nil {
		t.Fatal(err)
	}
	if _, err := States(context.Background(), m, [][]int32{{1, 2}}, StatesOptions{Layers: []int{1}}); err != nil {
		t.Error("below the damage:", err)
	}
	if _, err := States(context.Background(), m, [][]int32{{1, 2}}, StatesOptions{Layers: []int{2}}); record.CodeOf(err) != record.NonFinite {
		t.Error("behind the damage:", err)
	}
}

// The hidden states are those of transformers, of folders of both families.
func TestStates_OracleTransformers(t *testing.T) {
	oracle(t)
	for family, shape := range statesShapes() {
		dir := filepath.Join(t.TempDir(), "hf")
		if err := model.SaveHF(record.OS(), dir, randomModel(t, shape), model.ExportOptions{DType: "F32"}); err != nil {
			t.Fatal(err)
		}
		m, _, err := model.Open(dir, torch.Float32)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		all := texts(12, 40, 250, 2)
		var want struct {
			Last, Mean   [][][]float32
			Transformers string
		}
		ask(t, "states_parity.py", map[string]any{"dir": dir, "texts": all}, &want)
		layers, worst := []int{0, 1, 2, 3}, 0.0
		for mean, theirs := range map[bool][][][]float32{false: want.Last, true: want.Mean} {
			ours := statesOf(t, m, all, layers, mean)
			for i := range all {
				for _, k := range layers {
					worst = max(worst, relative(ours[k][i*48:(i+1)*48], theirs[i][k]))
				}
			}
		}
		t.Logf("%s, transformers %s: off by %.1e at most", family, want.Transformers, worst)
		if worst > 2e-5 {
			t.Errorf("%s: off by %v", family, worst)
		}
	}
}
