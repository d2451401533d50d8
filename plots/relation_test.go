package plots

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPearsonAndSpearman_ByHand(t *testing.T) {
	t.Parallel()
	// Anscombe's first quartet: r = 0.81642.
	x := []float64{10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5}
	y := []float64{8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68}
	near(t, "Anscombe", pearson(x, y), 0.81642, 1e-5)
	// Ranks of x: 1, 2.5, 2.5, 4; of y: 1, 3, 2, 4. Deviations multiply to 2.25 + 0 + 0 + 2.25 = 4.5; squares sum to 4.5 and 5.
	near(t, "with a tie", spearman([]float64{1, 2, 2, 9}, []float64{0, 20, 10, 300}), 4.5/math.Sqrt(4.5*5), 1e-12)
	near(t, "reversed", spearman([]float64{1, 2, 3, 4}, []float64{9, 5, 1, 0}), -1, 1e-12)
	near(t, "two points", pearson([]float64{1, 2}, []float64{1, 2}), math.NaN(), 0)
	near(t, "no spread", spearman([]float64{1, 1, 1}, []float64{1, 2, 3}), math.NaN(), 0)
}

func TestCorrelate_LeavesOutEachGroup(t *testing.T) {
	t.Parallel()
	// Without the last group the rest lies on a falling line, without the first group too; without the second r is what it is.
	x, y := []float64{1, 2, 3, 4, 10}, []float64{4, 3, 2, 1, 10}
	c := correlate(pearson, x, y, []float64{1, 1, 2, 2, 3})
	near(t, "all", c.r, pearson(x, y), 0)
	near(t, "lowest", c.low, -1, 1e-12)
	near(t, "highest", c.high, math.Max(pearson(x[2:], y[2:]), pearson([]float64{1, 2, 10}, []float64{4, 3, 10})), 1e-12)
	if c := correlate(pearson, x[:3], y[:3], []float64{1, 2, 3}); finite(c.low) || !finite(c.r) {
		t.Errorf("leaving out one of three points: %+v", c)
	}
}

func TestBootstrapBest_ByHand(t *testing.T) {
	t.Parallel()
	// Means of the drawn seeds: {0, 0} gives 0 against 1, {0, 1} 1.5 against 1, {1, 1} 3 against 1: the first row wins a quarter of draws.
	rows := [][]float64{{0, 3}, {1, 1}}
	wins := bootstrapBest(rows, measure{}, bootstrapRounds)
	near(t, "lower is better", share(wins, 0), 0.25, 0.015)
	near(t, "higher is better", share(bootstrapBest(rows, measure{higher: true}, bootstrapRounds), 0), 0.75, 0.015)
	if again := bootstrapBest(rows, measure{}, bootstrapRounds); !slices.Equal(again, wins) {
		t.Errorf("another time %v, not %v", again, wins)
	}
	if got := bootstrapBest([][]float64{{1}, {2}}, measure{}, 10); got != nil {
		t.Errorf("one seed: %v", got)
	}
	// The second row is recommended when its loss is within one per cent of the best, that is unless seed 1 is drawn twice.
	loss, down := [][]float64{{2, 2}, {2, 2.08}}, [][]float64{{1, 1}, {0.5, 0.5}}
	got := bootstrapRecommended(loss, down, measure{}, bootstrapRounds)
	near(t, "recommended", share(got, 1), 0.25, 0.015)
}

func TestParetoFront_ByHand(t *testing.T) {
	t.Parallel()
	loss, down := []float64{2.60, 2.59, 2.61, 2.70, 2.80, 2.59}, []float64{1.1, 1.2, 0.9, 0.8, 0.85, 1.2}
	if got := paretoFront(loss, down, measure{}); !slices.Equal(got, []int{1, 0, 2, 3}) {
		t.Errorf("front %v", got)
	}
	if got := recommend(loss, down, measure{}); got != 2 {
		t.Errorf("recommended %d: 2.61 is within one per cent of 2.59, 2.70 is not", got)
	}
	if got := recommend(loss, down, measure{higher: true}); got != 1 {
		t.Errorf("where higher is better: %d", got)
	}
}

func TestRecommend_IsOnTheFront(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		loss := rapid.SliceOfN(rapid.Float64Range(2, 2.1), n, n).Draw(t, "loss")
		down := rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, "down")
		m := measure{higher: rapid.Bool().Draw(t, "higher")}
		at := recommend(loss, down, m)
		for _, i := range paretoFront(loss, down, m) {
			if i == at || loss[i] == loss[at] && down[i] == down[at] {
				return
			}
		}
		t.Fatalf("%d is not on the front %v", at, paretoFront(loss, down, m))
	})
}

func TestSpan_PercentileInterval(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		counts      []int
		first, last int
	}{{[]int{0, 100, 0}, 1, 1}, {[]int{2, 96, 2}, 1, 1}, {[]int{3, 94, 3}, 0, 2}, {[]int{50, 0, 50}, 0, 2}} {
		if first, last, ok := span(c.counts); first != c.first || last != c.last || !ok {
			t.Errorf("%v: %d to %d", c.counts, first, last)
		}
	}
	if _, _, ok := span([]int{0, 0}); ok {
		t.Error("nothing was counted")
	}
}

// levelOf makes a level from the values of seeds 1, 2, …; NaN leaves a seed out.
func levelOf(decay float64, values ...float64) level {
	l := level{decay: decay}
	for i, v := range values {
		if !math.IsNaN(v) {
			l.seeds = append(l.seeds, seedLoss{seed: int64(i + 1), loss: v})
		}
	}
	l.estimate = estimateSeeds(l.seeds)
	return l
}

func TestEqualLossPairs_ByHand(t *testing.T) {
	t.Parallel()
	loss := []level{levelOf(0.1, 2.50, 2.60, 2.70), levelOf(0.3, 2.51, 2.60, 2.69), levelOf(1, 2.60, 2.71, 2.80)}
	after := []level{levelOf(0.1, 1.0, 1.2, 1.4), levelOf(0.3, 0.9, 1.1, 1.31), levelOf(1, 0.5, 0.7, 0.9)}
	// Losses of 0.1 and 0.3 differ by +0.01, 0, −0.01: the interval has zero. Downstream they differ by −0.1, −0.1, −0.09: it has not. Decay 1 differs in loss
	// from both by 0.09 to 0.11.
	pairs := equalLossPairs(loss, after)
	if len(pairs) != 1 || pairs[0].a != 0.1 || pairs[0].b != 0.3 {
		t.Fatalf("%+v", pairs)
	}
	near(t, "downstream", pairs[0].after.Mean, -0.29/3, 1e-12)
	near(t, "half", pairs[0].after.Half, 4.302653*0.005773503/math.Sqrt(3), 1e-6)
	swapped := equalLossPairs(loss[:2], []level{after[1], after[0]})
	if len(swapped) != 1 || swapped[0].b != 0.1 || swapped[0].after.Mean > 0 {
		t.Errorf("the better decay is not the second one: %+v", swapped)
	}
	if got := equalLossPairs([]level{levelOf(0.1, 2), levelOf(0.3, 2)}, []level{levelOf(0.1, 1), levelOf(0.3, 2)}); len(got) != 0 {
		t.Errorf("one seed has no interval: %+v", got)
	}
}

func TestWholeSeeds_ThoseOfEveryLevel(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	seeds, rows := wholeSeeds([]level{levelOf(0, 1, 2, 3), levelOf(0.1), levelOf(0.3, nan, 5, 6)})
	if !slices.Equal(seeds, []int64{2, 3}) || len(rows) != 2 || !slices.Equal(rows[0], []float64{2, 3}) || !slices.Equal(rows[1], []float64{5, 6}) {
		t.Errorf("%v %v", seeds, rows)
	}
}
