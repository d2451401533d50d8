package plots

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"plasticity/record"
)

// pearson is the product-moment correlation; NaN for fewer than three points or without spread.
func pearson(x, y []float64) float64 {
	if len(x) < 3 {
		return math.NaN()
	}
	return stat.Correlation(x, y, nil)
}

// spearman is the correlation of ranks; equal values share the mean of their ranks.
func spearman(x, y []float64) float64 { return pearson(ranks(x), ranks(y)) }

// ranks counts from 1.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	out := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float64(from+to+1) / 2
		}
		from = to
	}
	return out
}

// correlation is a coefficient with its range when one group of points is left out.
type correlation struct{ r, low, high float64 }

// numbers are the coefficient and the ends of its range.
func (c correlation) numbers() [3]record.Float {
	return [3]record.Float{record.Float(c.r), record.Float(c.low), record.Float(c.high)}
}

// correlate computes a coefficient of the points and its range over leaving out each group in turn; NaN where there is none.
func correlate(of func(x, y []float64) float64, x, y, group []float64) correlation {
	c := correlation{r: of(x, y), low: math.NaN(), high: math.NaN()}
	groups := slices.Clone(group)
	slices.Sort(groups)
	for _, leave := range slices.Compact(groups) {
		var xs, ys []float64
		for i := range x {
			if group[i] != leave {
				xs, ys = append(xs, x[i]), append(ys, y[i])
			}
		}
		if r := of(xs, ys); finite(r) {
			if !finite(c.low) || r < c.low {
				c.low = r
			}
			if !finite(c.high) || r > c.high {
				c.high = r
			}
		}
	}
	return c
}

const (
	bootstrapRounds = 10_000
	lossTolerance   = 0.01 // of the best loss, within which a decay may be recommended
)

// wholeSeeds lists the seeds that every level with a value has, and the values, a row a level. Levels without any value have no row.
func wholeSeeds(levels []level) (seeds []int64, values [][]float64) {
	var with []*level
	for i := range levels {
		if levels[i].N > 0 {
			with = append(with, &levels[i])
		}
	}
	if len(with) == 0 {
		return nil, nil
	}
	for _, v := range with[0].seeds {
		whole := true
		for _, l := range with {
			_, ok := l.loss(v.seed)
			whole = whole && ok
		}
		if whole {
			seeds = append(seeds, v.seed)
		}
	}
	for _, l := range with {
		row := make([]float64, len(seeds))
		for i, seed := range seeds {
			row[i], _ = l.loss(seed)
		}
		values = append(values, row)
	}
	return seeds, values
}

// resample draws seeds with replacement, so many times, and hands the drawn ones to each: the same draws for the same numbers of
// seeds and rounds.
func resample(rounds, seeds int, each func(drawn []int)) {
	random := rand.New(rand.NewPCG(1, 0))
	drawn := make([]int, seeds)
	for range rounds {
		for i := range drawn {
			drawn[i] = random.IntN(seeds)
		}
		each(drawn)
	}
}

// drawnMeans sets means to those of the rows over the drawn columns.
func drawnMeans(means []float64, rows [][]float64, drawn []int) {
	for i, row := range rows {
		var sum float64
		for _, j := range drawn {
			sum += row[j]
		}
		means[i] = sum / float64(len(drawn))
	}
}

// bestOf returns the index of the best value, the first of equal ones; 0 without values.
func bestOf(values []float64, m measure) int {
	at := 0
	for i, v := range values {
		if m.better(v, values[at]) {
			at = i
		}
	}
	return at
}

// bootstrapBest counts how often each row has the best mean when seeds are drawn anew; nil with fewer than two seeds.
func bootstrapBest(rows [][]float64, m measure, rounds int) []int {
	if len(rows) == 0 || len(rows[0]) < 2 {
		return nil
	}
	wins, means := make([]int, len(rows)), make([]float64, len(rows))
	resample(rounds, len(rows[0]), func(drawn []int) {
		drawnMeans(means, rows, drawn)
		wins[bestOf(means, m)]++
	})
	return wins
}

// recommend returns the row to recommend: the best downstream of those whose loss is within lossTolerance of the best loss, of equal ones
// that of lower loss. No other row is better in both, so it is on the Pareto front.
func recommend(loss, down []float64, m measure) int {
	lowest := slices.Min(loss)
	at := -1
	for i := range loss {
		near := loss[i] <= lowest+lossTolerance*math.Abs(lowest)
		if near && (at < 0 || m.better(down[i], down[at]) || down[i] == down[at] && loss[i] < loss[at]) {
			at = i
		}
	}
	return at
}

// bootstrapRecommended counts how often each row is recommended when seeds are drawn anew; nil with fewer than two seeds.
func bootstrapRecommended(loss, down [][]float64, m measure, rounds int) []int {
	if len(loss) == 0 || len(loss[0]) < 2 {
		return nil
	}
	wins, x, y := make([]int, len(loss)), make([]float64, len(loss)), make([]float64, len(loss))
	resample(rounds, len(loss[0]), func(drawn []int) {
		drawnMeans(x, loss, drawn)
		drawnMeans(y, down, drawn)
		wins[recommend(x, y, m)]++
	})
	return wins
}

// paretoFront returns the indices of the points that no other point equals or betters in both, by rising loss. Of equal points the first
// is on it.
func paretoFront(loss, down []float64, m measure) []int {
	var out []int
	for i := range loss {
		beaten := false
		for j := range loss {
			least := loss[j] <= loss[i] && !m.better(down[i], down[j])
			same := loss[j] == loss[i] && down[j] == down[i]
			beaten = beaten || least && (!same || j < i)
		}
		if !beaten {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(loss[a], loss[b]) })
	return out
}

// span returns the first and last index of the middle 95 % of counts: the percentile interval of an ordered choice. ok is false without
// counts.
func span(counts []int) (first, last int, ok bool) {
	total := 0
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0, 0, false
	}
	tail := (1 - confidence) / 2 * float64(total)
	first, last = -1, 0
	sum := 0
	for i, n := range counts {
		sum += n
		if first < 0 && float64(sum) > tail {
			first = i
		}
		if n > 0 && float64(sum-n) < float64(total)-tail {
			last = i
		}
	}
	return first, last, true
}
