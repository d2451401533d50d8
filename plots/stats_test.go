package plots

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(want) != math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestTQuantile_Tables(t *testing.T) {
	t.Parallel()
	for df, want := range map[int]float64{1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 30: 2.0423, 1000: 1.9623} {
		near(t, "t quantile", tQuantile(0.95, df), want, 5e-5)
	}
	near(t, "at 99 %", tQuantile(0.99, 5), 4.0321, 5e-5)
}

func TestEstimateMean_KnownValues(t *testing.T) {
	t.Parallel()
	// Student's sleep data, extra hours under drug 2 less drug 1: mean 1.58, 95 % interval 0.7001 to 2.4599.
	sleep := []float64{1.2, 2.4, 1.3, 1.3, 0, 1, 1.8, 0.8, 4.6, 1.4}
	e := estimateMean(sleep)
	near(t, "mean", e.Mean, 1.58, 1e-12)
	near(t, "low", e.low(), 0.7001142, 1e-6)
	near(t, "high", e.high(), 2.4598858, 1e-6)
	if !e.excludesZero() {
		t.Error("the interval contains zero")
	}
	one := estimateMean([]float64{2})
	if one.hasInterval() || one.excludesZero() || one.Mean != 2 {
		t.Errorf("one value: %+v", one)
	}
	if none := estimateMean(nil); !math.IsNaN(none.Mean) || none.hasInterval() {
		t.Errorf("no values: %+v", none)
	}
	pair := estimateMean([]float64{1, 3})
	near(t, "half of a pair", pair.Half, 12.7062047, 1e-6)
}

func TestBootstrapMean_AgreesWithTheTInterval(t *testing.T) {
	t.Parallel()
	values := make([]float64, 400)
	for i := range values {
		values[i] = math.Sin(float64(i) * 12.9898)
	}
	low, high := bootstrapMean(values, 4000)
	e := estimateMean(values)
	near(t, "low", low, e.low(), 0.01)
	near(t, "high", high, e.high(), 0.01)
	again, _ := bootstrapMean(values, 4000)
	if again != low {
		t.Error("the same seed gave another interval")
	}
	if low, high := bootstrapMean([]float64{1}, 10); !math.IsNaN(low) || !math.IsNaN(high) {
		t.Error("one value has no interval")
	}
}

func TestSmooth_KeepsConstantsAndSkipsHoles(t *testing.T) {
	t.Parallel()
	got := smooth([]float64{3, math.NaN(), 3, math.Inf(1), 3}, 2)
	for i, v := range got {
		if i%2 == 0 {
			near(t, "constant", v, 3, 1e-12)
		} else if !math.IsNaN(v) {
			t.Errorf("hole %d became %v", i, v)
		}
	}
	// After one half-life, half of a step is taken, but for the correction of the start.
	step := append(make([]float64, 1000), 1, 1, 1, 1)
	near(t, "half-life", smooth(step, 4)[1003], 0.5, 1e-9)
}

func TestDecayAxis_OrderAndBreak(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		decays := rapid.SliceOfNDistinct(rapid.Float64Range(1e-6, 1e3), 1, 12, rapid.ID[float64]).Draw(t, "decays")
		if rapid.Bool().Draw(t, "zero") {
			decays = append(decays, 0)
		}
		a := newDecayAxis(decays)
		for _, x := range decays {
			if at := a.fraction(x); at <= 0 || at >= 1 || math.IsNaN(at) {
				t.Fatalf("%v lies at %v", x, at)
			}
			for _, y := range decays {
				if x < y && a.fraction(x) >= a.fraction(y) {
					t.Fatalf("%v is not left of %v", x, y)
				}
			}
		}
		if a.hasZero && len(decays) > 1 && (a.breakAt() <= a.fraction(0) || a.breakAt() >= a.fraction(math.Pow(10, a.low))) {
			t.Fatalf("the break is at %v", a.breakAt())
		}
	})
}

func TestNiceTicks_CoverAndCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Float64Range(-1e3, 1e3).Draw(t, "low")
		span := rapid.Float64Range(1e-3, 1e6).Draw(t, "span")
		ticks := niceTicks(low, low+span, 5)
		if len(ticks) < 2 || len(ticks) > 7 {
			t.Fatalf("%d ticks", len(ticks))
		}
		for i := 1; i < len(ticks); i++ {
			if ticks[i].label == ticks[i-1].label {
				t.Fatalf("two ticks say %s", ticks[i].label)
			}
		}
	})
	if niceTicks(1, 1, 5) != nil || niceTicks(math.NaN(), 1, 5) != nil {
		t.Error("an empty range has ticks")
	}
}

func TestNumbers_AsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		number(0.1): "0.1", number(3e-5): "3e-05", number(math.Inf(1)): "∞", number(10): "10", short(0.06851): "0.0685",
		short(123.4): "123", nats(-0.0032): "−0.0032", nats(2.5): "2.5000",
		count(166_208): "0.17M", count(935_552): "0.94M", count(20_000_000_000): "20B", count(512): "512", count(3_324_160): "3.3M",
		clean("a\u202eb\x00c\nd", 10): "abc d", clean("abcdef", 3): "abc…",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPasses_SaysHowOftenTheTextIsRead(t *testing.T) {
	t.Parallel()
	once, often := small(), small()
	once.losses, often.losses, often.tpp = once.losses[:1], often.losses[:1], 100
	records := append(once.records(1), often.records(1)...)
	if got := passes(NewSet(records, nil).settings); got != "" {
		t.Errorf("without the size of the text: %q", got)
	}
	for i := range records {
		records[i].Info.TrainTokens = 4_511_545
	}
	if got, want := passes(NewSet(records[:1], nil).settings), ", 0.74 passes over it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := passes(NewSet(records, nil).settings), ", 0.74 to 3.7 passes over it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
