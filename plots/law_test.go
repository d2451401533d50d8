package plots

import (
	"math"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// amounts are models at several tokens per parameter whose loss, without noise, is a parabola in log λ with its minimum where τ is
// 2·TPP^−0.5; response losses have theirs at a quarter of that τ.
func amounts(seeds int, tpps ...int64) (bases, all []Record) {
	for _, tpp := range tpps {
		m := small()
		m.tpp, m.losses = tpp, nil
		for _, decay := range []float64{0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10} {
			m.losses = append(m.losses, fakeLevel{decay, 0})
		}
		for _, r := range m.records(seeds) {
			setLoss(&r, 2.5+bowl(float64(r.Info.Tau), 2*math.Pow(float64(tpp), -0.5))+0.01*float64(r.Info.Seed))
			tuned := fakeTuning{}.record(&r, r.Info, r.Info.Seed, "judge", 1e-3, 1+bowl(float64(r.Info.Tau), 0.5*math.Pow(float64(tpp), -0.5)), true)
			bases, all = append(bases, r), append(all, r, tuned)
		}
	}
	return bases, all
}

// bowl is 0 at the best time-scale, and 1 without decay.
func bowl(tau, best float64) float64 {
	if math.IsInf(tau, 0) {
		return 1
	}
	return 0.01 * math.Pow(math.Log(tau/best), 2)
}

// setLoss makes the last validation loss of a record this one.
func setLoss(r *Record, loss float64) {
	v := record.Float(loss)
	r.Metrics = slices.Clone(r.Metrics)
	r.Metrics[len(r.Metrics)-1].ValLoss = &v
}

func TestLaws_FindAPowerLaw(t *testing.T) {
	t.Parallel()
	_, all := amounts(3, 10, 20, 50, 100)
	laws := NewSet(all, nil).Laws()
	if len(laws) != 2 {
		t.Fatalf("%d laws", len(laws))
	}
	for i, factor := range []float64{2, 0.5} {
		l := laws[i]
		t.Logf("%s: %s", l.By, l.Text)
		near(t, "exponent", float64(l.Exponent), -0.5, 1e-6)
		near(t, "factor", float64(l.Factor), factor, 1e-5)
		if len(l.Optima) != 4 || l.Optima[0].TPP != 10 || l.Optima[0].Edge || l.Optima[0].Seeds != 3 || len(l.Optima[0].Runs) != 3 {
			t.Errorf("%+v", l.Optima)
		}
	}
	// All seeds have the same parabola, so the bootstrap has nothing to vary.
	if l := laws[0]; math.Abs(float64(l.Low)+0.5) > 1e-6 || math.Abs(float64(l.High)+0.5) > 1e-6 {
		t.Errorf("interval %v to %v", l.Low, l.High)
	}
}

func TestLaws_EdgesAreLeftOut(t *testing.T) {
	t.Parallel()
	bases, _ := amounts(2, 10, 20, 50)
	var cut []Record
	for _, r := range bases { // at 50 tokens per parameter only decays below the best are there
		if r.Info.Tokens/r.Info.Parameters < 50 || r.Info.WeightDecay <= 0.01 {
			cut = append(cut, r)
		}
	}
	laws := NewSet(cut, nil).Laws()
	if len(laws) != 1 || !laws[0].Optima[2].Edge || !strings.Contains(laws[0].Text, "At 50 TPP") || !strings.Contains(laws[0].Text, "over 2 amounts") {
		t.Fatalf("%+v", laws)
	}
	near(t, "exponent", float64(laws[0].Exponent), -0.5, 1e-6)
	one, _ := amounts(2, 20)
	if laws := NewSet(one, nil).Laws(); len(laws) != 0 {
		t.Errorf("a law of one amount: %+v", laws)
	}
}

func TestVertex(t *testing.T) {
	t.Parallel()
	parabola := func(x float64) float64 { return 1 + math.Pow(math.Log(x/0.42), 2) }
	decays := []float64{0, 0.1, 0.3, 1, 2}
	values := []float64{9, parabola(0.1), parabola(0.3), parabola(1), parabola(2)}
	if got, edge := vertex(decays, values); math.Abs(got-0.42) > 1e-9 || edge {
		t.Errorf("%v, at an edge: %v", got, edge)
	}
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{0, 1, 2, 3, 4}, 0.1}, {[]float64{5, 1, 2, 3, 4}, 0.1}, {[]float64{5, 4, 3, 2, 1}, 2}} {
		if got, edge := vertex(decays, c.values); got != c.want || !edge {
			t.Errorf("%v: %v, at an edge: %v", c.values, got, edge)
		}
	}
	if got, edge := vertex(decays, []float64{5, 2, 1, 1, 1}); got < 0.3 || got > 1 || edge {
		t.Errorf("a plateau: %v, at an edge: %v", got, edge)
	}
}
