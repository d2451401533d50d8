package metric

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// z95 is the 97.5 % quantile of the normal distribution.
	z95 = 1.959963984540054
	// resamples is how often a bootstrap draws.
	resamples = 10000
	// stream keeps these draws apart from all others that are made of the same seed.
	stream = 0x6d6574726963 // "metric"
)

// Wilson returns the 95 % interval of a probability of which k of n trials came true; n is 1 or more.
func Wilson(k, n int) (low, high float64) {
	trials := float64(n)
	p := float64(k) / trials
	scale := 1 + z95*z95/trials
	center := (p + z95*z95/(2*trials)) / scale
	half := z95 / scale * math.Sqrt(p*(1-p)/trials+z95*z95/(4*trials*trials))
	low, high = max(0, center-half), min(1, center+half)
	// In exact arithmetic the ends are 0 and 1 here.
	if k == 0 {
		low = 0
	}
	if k == n {
		high = 1
	}
	return low, high
}

// ratio is a statistic of problems: the sum of above over the sum of below, each with a number for every problem. With
// equal numbers below it is a mean.
type ratio struct{ above, below []float64 }

func (r ratio) value() float64 {
	var above, below float64
	for i := range r.above {
		above += r.above[i]
		below += r.below[i]
	}
	return above / below
}

// bootstrap returns the 95 % intervals of statistics of the same problems: percentiles over resamples of the problems. All
// see the same resamples, so the interval of one does not depend on which others there are.
func bootstrap(seed int64, statistics []ratio) [][2]float64 {
	n := len(statistics[0].above)
	random := rand.New(rand.NewPCG(uint64(seed), stream))
	picks := make([]int, n)
	values := make([][]float64, len(statistics))
	for range resamples {
		for i := range picks {
			picks[i] = random.IntN(n)
		}
		for k, s := range statistics {
			var above, below float64
			for _, p := range picks {
				above += s.above[p]
				below += s.below[p]
			}
			values[k] = append(values[k], above/below)
		}
	}
	intervals := make([][2]float64, len(statistics))
	for k, v := range values {
		slices.Sort(v)
		intervals[k] = [2]float64{v[resamples/40], v[resamples-1-resamples/40]}
	}
	return intervals
}
