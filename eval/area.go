package eval

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/integrate"
	"gonum.org/v1/gonum/stat"

	"plasticity/record"
)

// Estimate is a value with its 95 % interval, over problems.
type Estimate struct {
	Value record.Float    `json:"value"`
	CI95  [2]record.Float `json:"ci95"`
}

// ranking is judged answers by rising score.
type ranking struct {
	problems int
	problem  []int // of each answer, numbered from 0
	score    []float64
	right    []bool
	within   []float64 // of each problem: the area under its own answers' curve, NaN where all are right or all wrong
}

func newRanking(answers []Judged, scores []float64) *ranking {
	type scored struct {
		Judged
		score float64
	}
	all := make([]scored, len(answers))
	for i, a := range answers {
		all[i] = scored{a, scores[i]}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	numbers := map[int]int{}
	r := &ranking{}
	for _, a := range all {
		if _, known := numbers[a.Problem]; !known {
			numbers[a.Problem] = len(numbers)
		}
		r.problem, r.score, r.right = append(r.problem, numbers[a.Problem]), append(r.score, a.score), append(r.right, a.Right)
	}
	r.problems = len(numbers)
	for i := range r.problems {
		only := make([]float64, r.problems)
		only[i] = 1
		r.within = append(r.within, r.area(only))
	}
	return r
}

// area is that under the curve of true over false positives, each answer counting as its problem weighs; NaN where all are right or
// all wrong.
func (r *ranking) area(weight []float64) float64 {
	var scores, weights []float64
	var right []bool
	sums := map[bool]float64{}
	for i, problem := range r.problem {
		if w := weight[problem]; w > 0 {
			scores, right, weights = append(scores, r.score[i]), append(right, r.right[i]), append(weights, w)
			sums[r.right[i]] += w
		}
	}
	if sums[true] == 0 || sums[false] == 0 {
		return math.NaN()
	}
	truly, falsely, _ := stat.ROC(nil, scores, right, weights)
	return integrate.Trapezoidal(falsely, truly)
}

// meanWithin is the weighted mean of the problems' own areas.
func (r *ranking) meanWithin(weight []float64) float64 {
	sum, n := 0.0, 0.0
	for i, area := range r.within {
		if !math.IsNaN(area) {
			sum, n = sum+weight[i]*area, n+weight[i]
		}
	}
	return sum / n
}

// draws is how often the problems are drawn anew for an interval.
const draws = 2000

// Measure compares scores of judged answers with the verdicts on them, of which there must be both. Intervals are percentiles over
// resamples of the problems, since answers to one problem are not independent; seed is theirs.
func Measure(answers []Judged, scores []float64, seed int64) Measured {
	r := newRanking(answers, scores)
	once := slices.Repeat([]float64{1}, r.problems)
	random := rand.New(rand.NewPCG(uint64(seed), 0x7665726966696572)) // "verifier"
	var all, within []float64
	for range draws {
		weight := make([]float64, r.problems)
		for range r.problems {
			weight[random.IntN(r.problems)]++
		}
		all, within = append(all, r.area(weight)), append(within, r.meanWithin(weight))
	}
	m := Measured{AUC: estimateOf(r.area(once), all)}
	for _, area := range r.within {
		if !math.IsNaN(area) {
			m.WithBoth++
		}
	}
	if m.WithBoth > 0 {
		e := estimateOf(r.meanWithin(once), within)
		m.AUCWithin = &e
	}
	return m
}

// estimateOf takes the interval from resamples, but for those in which there was nothing to compare.
func estimateOf(value float64, resamples []float64) Estimate {
	resamples = append(slices.DeleteFunc(resamples, math.IsNaN), value) // never empty
	slices.Sort(resamples)
	n := len(resamples)
	return Estimate{record.Float(value), [2]record.Float{record.Float(resamples[n/40]), record.Float(resamples[n-1-n/40])}}
}
