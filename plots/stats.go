package plots

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// confidence is the level of every interval.
const confidence = 0.95

// estimate is a mean with the half-width of its interval.
type estimate struct {
	N    int
	Mean float64 // NaN when N is 0
	Half float64 // half-width of the t interval; NaN when N < 2
}

// low and high are the ends of the interval; NaN when there is none.
func (e estimate) low() float64  { return e.Mean - e.Half }
func (e estimate) high() float64 { return e.Mean + e.Half }

// hasInterval tells whether there are enough values for one.
func (e estimate) hasInterval() bool { return e.N >= 2 && !math.IsNaN(e.Half) }

// excludesZero tells whether the interval lies on one side of zero.
func (e estimate) excludesZero() bool { return e.hasInterval() && math.Abs(e.Mean) > e.Half }

// estimateMean gives mean and t interval of independent values.
func estimateMean(values []float64) estimate {
	e := estimate{N: len(values), Mean: math.NaN(), Half: math.NaN()}
	switch len(values) {
	case 0:
	case 1:
		e.Mean = values[0]
	default:
		mean, deviation := stat.MeanStdDev(values, nil)
		e.Mean = mean
		e.Half = tQuantile(confidence, len(values)-1) * deviation / math.Sqrt(float64(len(values)))
	}
	return e
}

// tQuantile is the two-sided quantile of Student's t with df degrees of freedom (12.706 for 0.95 and 1).
func tQuantile(level float64, df int) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(df)}.Quantile(1 - (1-level)/2)
}

// bootstrapMean is the percentile interval of the mean from rounds resamples drawn with a fixed seed: equal values give equal
// numbers. It is a
// check on the t interval where values are many; with a handful of seeds it is too narrow.
func bootstrapMean(values []float64, rounds int) (low, high float64) {
	if len(values) < 2 || rounds < 1 {
		return math.NaN(), math.NaN()
	}
	random := rand.New(rand.NewPCG(1, 0))
	means := make([]float64, rounds)
	for i := range means {
		var sum float64
		for range values {
			sum += values[random.IntN(len(values))]
		}
		means[i] = sum / float64(len(values))
	}
	slices.Sort(means)
	tail := (1 - confidence) / 2
	return stat.Quantile(tail, stat.Empirical, means, nil), stat.Quantile(1-tail, stat.Empirical, means, nil)
}

// smooth is the exponential moving average with the given half-life in samples, corrected for its start; values that
// are not finite are passed over and come out as NaN.
func smooth(values []float64, halfLife float64) []float64 {
	keep := math.Exp2(-1 / math.Max(halfLife, 1e-9))
	out := make([]float64, len(values))
	var sum, weight float64
	for i, v := range values {
		if !finite(v) {
			out[i] = math.NaN()
			continue
		}
		sum = keep*sum + (1-keep)*v
		weight = keep*weight + (1 - keep)
		out[i] = sum / weight
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
