package noise

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// fake is a model at the minimum of a bowl: its loss is 1 and, for each matrix, curvature times the squared distance from the
// original, relative to that one's squared norm.
type fake struct {
	original, now map[string][]float32
	curvature     float64
	restored      int
}

func newFake(curvature float64) *fake {
	f := &fake{original: map[string][]float32{}, now: map[string][]float32{}, curvature: curvature}
	random := rand.New(rand.NewPCG(1, 1))
	for name, scale := range map[string]float64{"a": 1, "b": 1e-3} {
		values := make([]float32, 40_000)
		for i := range values {
			values[i] = float32(scale * random.NormFloat64())
		}
		f.original[name], f.now[name] = values, slices.Clone(values)
	}
	return f
}

func (f *fake) Matrices() []string                      { return []string{"a", "b"} }
func (f *fake) Original(name string) ([]float32, error) { return slices.Clone(f.original[name]), nil }
func (f *fake) Set(name string, values []float32) error { f.now[name] = values; return nil }
func (f *fake) same() bool {
	return slices.Equal(f.now["a"], f.original["a"]) && slices.Equal(f.now["b"], f.original["b"])
}

func (f *fake) loss(context.Context) (float64, error) {
	sum := 1.0
	for name, values := range f.original {
		var square, distance float64
		for i, x := range values {
			d := float64(f.now[name][i]) - float64(x)
			square, distance = square+float64(x)*float64(x), distance+d*d
		}
		sum += f.curvature / 2 * distance / square
	}
	return sum, nil
}

func (f *fake) Restore() error {
	f.restored++
	for name, values := range f.original {
		f.now[name] = slices.Clone(values)
	}
	return nil
}

func settings(sigmas ...float64) Settings {
	return Settings{Model: "a@1", Seed: 3, Sigmas: sigmas, Draws: 4}
}

// Noise of size σ moves every matrix by σ of its norm, whatever its scale, each draw elsewhere; at a minimum the loss rises by σ² times the curvature.
func TestMeasure_RisesByTheSquareOfTheNoise(t *testing.T) {
	f, told := newFake(5), 0
	r, err := Measure(context.Background(), settings(0.01, 0.1, 0.3), f, f.loss, func() { told++ })
	if err != nil {
		t.Fatal(err)
	}
	if r.Loss != 1 || r.Matrices != 2 || len(r.Levels) != 3 || told != 1+3*4 || f.restored != 1 || !f.same() {
		t.Errorf("%+v, told %d, restored %d times", r, told, f.restored)
	}
	for _, l := range r.Levels {
		want := 5 * float64(l.Sigma*l.Sigma)
		if math.Abs(float64(l.Rise)/want-1) > 0.02 || math.Abs(float64(l.Loss-l.Rise)-1) > 1e-12 || l.Interval[0] > l.Loss || l.Loss > l.Interval[1] {
			t.Errorf("σ %v: %+v, want a rise of about %v", l.Sigma, l, want)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(l.Losses)))) != 4 {
			t.Errorf("σ %v: draws %v are not four", l.Sigma, l.Losses)
		}
	}
	if want := math.Sqrt(Rise / 5); r.SigmaAtRise == nil || math.Abs(float64(*r.SigmaAtRise)/want-1) > 0.02 {
		t.Errorf("σ at the rise %v, want %v", r.SigmaAtRise, want)
	}
	// The same ε at all sizes: the rises of one draw have exactly the ratio of the squares.
	for draw := range 4 {
		a, b := float64(r.Levels[1].Losses[draw])-1, float64(r.Levels[2].Losses[draw])-1
		if math.Abs(b/a-9) > 1e-3 {
			t.Errorf("draw %d: ratio %v", draw, b/a)
		}
	}
}

// The weights are brought back after a failure, too, and what failed is said.
func TestMeasure_RestoresAfterAFailure(t *testing.T) {
	f, n := newFake(1), 0
	_, err := Measure(context.Background(), settings(0.1, 0.2), f, func(ctx context.Context) (float64, error) {
		if n++; n == 3 {
			return 0, record.Fail(record.NonFinite, "the loss is NaN")
		}
		return f.loss(ctx)
	}, func() {})
	if record.CodeOf(err) != record.NonFinite || !strings.Contains(err.Error(), "relative size 0.2") || !f.same() {
		t.Errorf("%v, restored %v", err, f.same())
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = Measure(stopped, settings(0.1), f, f.loss, func() {}); record.CodeOf(err) != record.Stopped || !f.same() {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err = Measure(context.Background(), settings(0.1), f, func(context.Context) (float64, error) { return 0, broken }, func() {}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestAdd_IsRelativeToTheRootMeanSquare(t *testing.T) {
	values := make([]float32, 100_000)
	for i := range values {
		values[i] = float32(i % 2 * 4) // half of them zero: root mean square √8
	}
	noisy := func(sigma float64, seed int64, draw int, name string) []float32 {
		out := slices.Clone(values)
		Add(out, sigma, seed, draw, name)
		return out
	}
	first := noisy(0.5, 1, 0, "w")
	var sum, square float64
	for i, x := range first {
		d := float64(x) - float64(values[i])
		sum, square = sum+d, square+d*d
	}
	n := float64(len(values))
	if got, want := math.Sqrt(square/n), 0.5*math.Sqrt(8); math.Abs(got/want-1) > 0.01 || math.Abs(sum/n) > 0.02 {
		t.Errorf("noise of %v around %v, want %v", got, sum/n, want)
	}
	if !slices.Equal(first, noisy(0.5, 1, 0, "w")) {
		t.Error("the same draw gives other noise")
	}
	for what, other := range map[string][]float32{"seed": noisy(0.5, 2, 0, "w"), "draw": noisy(0.5, 1, 1, "w"), "matrix": noisy(0.5, 1, 0, "v")} {
		if slices.Equal(first, other) {
			t.Errorf("another %s gives the same noise", what)
		}
	}
}

func TestLevelOf_HasStudentsInterval(t *testing.T) {
	l := levelOf(0.1, 2, []float64{1, 2, 3, 4})
	half := 3.182446 * math.Sqrt(5.0/3) / 2
	if l.Loss != 2.5 || l.Rise != 0.5 || math.Abs(float64(l.Interval[0])-(2.5-half)) > 1e-5 || math.Abs(float64(l.Interval[1])-(2.5+half)) > 1e-5 {
		t.Errorf("%+v, want ± %v", l, half)
	}
}

func TestSigmaAt(t *testing.T) {
	level := func(sigma, rise float64) Level { return Level{Sigma: record.Float(sigma), Rise: record.Float(rise)} }
	for _, c := range []struct {
		levels []Level
		want   float64 // 0: not reached
	}{
		{[]Level{level(0.1, 0.05), level(0.2, 0.09)}, 0},
		{[]Level{level(0.2, 0.4)}, 0.1},
		{[]Level{level(0.1, 0.1), level(0.2, 3)}, 0.1},
		{[]Level{level(0.1, -0.1), level(0.2, 0.2)}, math.Sqrt(0.01 + 2.0/3*0.03)},
	} {
		got := sigmaAt(0.1, c.levels)
		if (got == nil) != (c.want == 0) || got != nil && math.Abs(float64(*got)-c.want) > 1e-12 {
			t.Errorf("%+v: %v, want %v", c.levels, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check(DefaultSigmas(), 4); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		sigmas []float64
		draws  int
	}{
		{nil, 4},
		{make([]float64, 65), 4},
		{[]float64{0}, 4},
		{[]float64{-1}, 4},
		{[]float64{math.NaN()}, 4},
		{[]float64{11}, 4},
		{[]float64{0.2, 0.1}, 4},
		{[]float64{0.1, 0.1}, 4},
		{[]float64{0.1}, 1},
		{[]float64{0.1}, 1025},
	} {
		if err := Check(c.sigmas, c.draws); record.CodeOf(err) != record.Usage {
			t.Errorf("%v, %d draws: %v", c.sigmas, c.draws, err)
		}
	}
}

func TestResult_IsKeptAndNotReplaced(t *testing.T) {
	dir, f := t.TempDir(), newFake(1)
	r, err := Measure(context.Background(), settings(0.1, 0.2), f, f.loss, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(record.OS(), dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil || !strings.Contains(string(text), `"sigma_at_rise": null`) || !strings.Contains(string(text), `"rise": 0.1`) {
		t.Errorf("%v\n%s", err, text)
	}
	got, ok, err := Find(record.OS(), dir, settings(0.1, 0.2))
	if !ok || err != nil || got.Describe() != r.Describe() || !strings.Contains(got.Describe(), "has not risen by 0.1") {
		t.Error(got, ok, err)
	}
	for _, other := range []Settings{settings(0.1, 0.3), settings(0.1)} {
		if _, _, err := Find(record.OS(), dir, other); record.CodeOf(err) != record.Mismatch {
			t.Error(err)
		}
	}
	table, err := os.ReadFile(filepath.Join(dir, "noise.csv"))
	if err != nil || strings.Count(string(table), "\n") != 4 || !strings.Contains(string(table), "\na@1,0,1,1,1,1,0\n") {
		t.Errorf("%v\n%s", err, table)
	}
}
