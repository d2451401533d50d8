package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"plasticity/record"
)

const (
	// resamples is how often the bootstrap draws; the ends of an interval are then good to about a twentieth of its width.
	resamples = 2000
	// resampling keeps these draws apart from all others that are made of the same seed.
	resampling = 0x676170
)

// group is the sum over the windows of a document.
type group struct {
	sum float64
	n   int
}

// groups adds up values by document, in the order in which the documents come first; without documents each is its own.
func groups(values []float64, documents []int) []group {
	out := make([]group, 0, len(values))
	at := make(map[int]int)
	for i, v := range values {
		if documents == nil {
			out = append(out, group{v, 1})
			continue
		}
		k, ok := at[documents[i]]
		if !ok {
			k = len(out)
			at[documents[i]] = k
			out = append(out, group{})
		}
		out[k].sum += v
		out[k].n++
	}
	return out
}

// Interval is the 95 % interval, by the percentile bootstrap, of the mean of the first sample less that of the second, if there is one.
// What is drawn are values, or, with documents, all values of a document at once; each sample by itself. Its ends are NaN where a sample
// has fewer than two of what is drawn: every resample of one is that one, which says nothing of how far it is off.
func Interval(seed int64, samples [][]float64, documents [][]int) [2]record.Float {
	random := rand.New(rand.NewPCG(uint64(seed), resampling))
	parts := make([][]group, len(samples))
	for k, s := range samples {
		var of []int
		if documents != nil {
			of = documents[k]
		}
		if parts[k] = groups(s, of); len(parts[k]) < 2 {
			return [2]record.Float{record.Float(math.NaN()), record.Float(math.NaN())}
		}
	}
	values := make([]float64, 0, resamples)
	for range resamples {
		value, sign := 0.0, 1.0
		for _, p := range parts {
			var drawn group
			for range p {
				g := p[random.IntN(len(p))]
				drawn.sum += g.sum
				drawn.n += g.n
			}
			value += sign * drawn.sum / float64(drawn.n)
			sign = -1
		}
		values = append(values, value)
	}
	slices.Sort(values)
	return [2]record.Float{record.Float(values[resamples/40]), record.Float(values[resamples-1-resamples/40])}
}

// Describe writes an interval for people.
func Describe(interval [2]record.Float) string {
	if math.IsNaN(float64(interval[0])) {
		return "none"
	}
	return fmt.Sprintf("[%+.5f, %+.5f]", interval[0], interval[1])
}

// Mean is the mean of values.
func Mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Differences are those of pairs of values: of the second less of the first.
func Differences(first, second []float64) []float64 {
	out := make([]float64, len(first))
	for i := range first {
		out[i] = second[i] - first[i]
	}
	return out
}
