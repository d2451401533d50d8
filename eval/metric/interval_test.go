package metric

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The first four are the examples of Newcombe, Statistics in Medicine 17 (1998), method 3, with four digits.
func TestWilson_KnownValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		k, n      int
		low, high float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
		{10, 10, 0.7225, 1},
		{5, 10, 0.2366, 0.7634},
	} {
		low, high := Wilson(test.k, test.n)
		if math.Abs(low-test.low) > 5e-5 || math.Abs(high-test.high) > 5e-5 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", test.k, test.n, low, high, test.low, test.high)
		}
	}
	if low, _ := Wilson(0, 7); low != 0 {
		t.Errorf("0 of 7 begins at %v", low)
	}
	if _, high := Wilson(7, 7); high != 1 {
		t.Errorf("7 of 7 ends at %v", high)
	}
}

// By definition the ends are the probabilities p from which k/n is 1.96 standard deviations of p away.
func TestWilson_SolvesItsEquation(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 13, 400} {
		for k := range n + 1 {
			low, high := Wilson(k, n)
			for _, p := range []float64{low, high} {
				if p == 0 || p == 1 {
					continue
				}
				distance := math.Abs(float64(k)/float64(n)-p) / math.Sqrt(p*(1-p)/float64(n))
				if math.Abs(distance-z95) > 1e-6 {
					t.Fatalf("%d of %d: %v is %v deviations away", k, n, p, distance)
				}
			}
		}
	}
}

func means(values []float64) ratio {
	ones := make([]float64, len(values))
	for i := range ones {
		ones[i] = 1
	}
	return ratio{values, ones}
}

// Of 150 intervals, each of 40 numbers, about 140 should hold the truth: percentiles of so few are a little narrow. The seeds
// are fixed; the bounds are three standard deviations wide.
func TestBootstrap_CoversTheTruth(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	covered := 0
	for i := range 150 {
		values := make([]float64, 40)
		for j := range values {
			values[j] = random.Float64()
		}
		interval := bootstrap(int64(i), []ratio{means(values)})[0]
		if interval[0] <= 0.5 && 0.5 <= interval[1] {
			covered++
		}
	}
	t.Logf("%d of 150 intervals hold the truth", covered)
	if covered < 130 || covered == 150 {
		t.Errorf("%d of 150 intervals hold the truth", covered)
	}
}

// For many numbers the interval is that of the normal distribution.
func TestBootstrap_ManyNumbersAreNormal(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(8, 8))
	values := make([]float64, 1000)
	var sum, squares float64
	for i := range values {
		values[i] = random.NormFloat64()
		sum += values[i]
		squares += values[i] * values[i]
	}
	n := float64(len(values))
	mean := sum / n
	half := z95 * math.Sqrt((squares/n-mean*mean)/n)
	interval := bootstrap(1, []ratio{means(values)})[0]
	if math.Abs(interval[0]-(mean-half)) > 0.06*half || math.Abs(interval[1]-(mean+half)) > 0.06*half {
		t.Errorf("%v, want about %v", interval, [2]float64{mean - half, mean + half})
	}
	if again := bootstrap(1, []ratio{means(values)})[0]; again != interval {
		t.Errorf("another time %v, not %v", again, interval)
	}
	if other := bootstrap(2, []ratio{means(values)})[0]; other == interval {
		t.Error("the seed changes nothing")
	}
	beside := bootstrap(1, []ratio{{values, values}, means(values)})[1]
	if beside != interval {
		t.Errorf("beside another statistic %v, not %v", beside, interval)
	}
}

func TestBootstrap_OneProblemHasNoSpread(t *testing.T) {
	t.Parallel()
	if got := bootstrap(1, []ratio{means([]float64{3})})[0]; got != [2]float64{3, 3} {
		t.Error(got)
	}
}
