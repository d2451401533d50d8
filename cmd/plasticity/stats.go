package main

import (
	"math/rand/v2"
	"slices"
)

// median is the middle one of values, of which there is at least one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// resamples is how often bootstrap draws.
const resamples = 2000

// bootstrap is the 95 % interval of the median of values.
func bootstrap(values []float64) (low, high float64) {
	return bootstrapOf(len(values), func(picks []int) float64 {
		drawn := make([]float64, len(picks))
		for i, p := range picks {
			drawn[i] = values[p]
		}
		return median(drawn)
	})
}

// bootstrapRatio is the 95 % interval of the ratio of two medians over paired rounds.
func bootstrapRatio(above, below []float64) (low, high float64) {
	return bootstrapOf(min(len(above), len(below)), func(picks []int) float64 {
		a, b := make([]float64, len(picks)), make([]float64, len(picks))
		for i, p := range picks {
			a[i], b[i] = above[p], below[p]
		}
		return median(a) / median(b)
	})
}

// bootstrapOf is the 95 % interval of a statistic of n drawn positions. The draws are the same every time.
func bootstrapOf(n int, statistic func(picks []int) float64) (low, high float64) {
	random := rand.New(rand.NewPCG(1, 2))
	picks, out := make([]int, n), make([]float64, resamples)
	for i := range out {
		for j := range picks {
			picks[j] = random.IntN(n)
		}
		out[i] = statistic(picks)
	}
	slices.Sort(out)
	return out[resamples/40], out[resamples-1-resamples/40]
}
