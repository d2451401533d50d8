package plots

import (
	"math"
	"slices"
)

// paired are two numbers of the base runs of a setting that have both.
type paired struct {
	points []pairPoint // by weight decay, then seed
	x, y   []level     // of the decays that have points
}

// pairPoint is one base run.
type pairPoint struct {
	base *member
	x, y float64
	runs []*member // behind y
}

// ofBase is a number of a base run, with the runs behind it.
type ofBase func(base *member) (v float64, runs []*member, ok bool)

// paired gathers them. Base runs that share weight decay and seed are averaged in the levels.
func (d *downstream) paired(x, y ofBase) paired {
	var out paired
	for i := range d.base.levels {
		base := &d.base.levels[i]
		atX, atY := level{decay: base.decay, tau: base.tau}, level{decay: base.decay, tau: base.tau}
		for _, s := range base.seeds {
			var xs, ys []float64
			var runsX, runsY []*member
			for _, b := range s.runs {
				vx, fromX, okX := x(b)
				vy, fromY, okY := y(b)
				if !okX || !okY {
					continue
				}
				out.points = append(out.points, pairPoint{base: b, x: vx, y: vy, runs: fromY})
				xs, ys = append(xs, vx), append(ys, vy)
				runsX, runsY = append(runsX, fromX...), append(runsY, fromY...)
			}
			if len(xs) > 0 {
				atX.seeds = append(atX.seeds, seedLoss{seed: s.seed, loss: mean(xs), runs: runsX})
				atY.seeds = append(atY.seeds, seedLoss{seed: s.seed, loss: mean(ys), runs: runsY})
			}
		}
		if len(atX.seeds) > 0 {
			atX.estimate, atY.estimate = estimateSeeds(atX.seeds), estimateSeeds(atY.seeds)
			out.x, out.y = append(out.x, atX), append(out.y, atY)
		}
	}
	return out
}

// spearman is the correlation of ranks over base runs, with its range when one weight decay is left out.
func (q paired) spearman() correlation { return q.correlate(spearman) }

// within is Pearson's correlation of the deviations from the means over seeds of a weight decay: what is left when the decay is known. NaN without
// three runs of decays with several seeds.
func (q paired) within() float64 {
	var x, y []float64
	for i := range q.x {
		if q.x[i].N < 2 {
			continue
		}
		for j := range q.x[i].seeds {
			x, y = append(x, q.x[i].seeds[j].loss-q.x[i].Mean), append(y, q.y[i].seeds[j].loss-q.y[i].Mean)
		}
	}
	if !varies(x) || !varies(y) {
		return math.NaN()
	}
	return pearson(x, y)
}

// varies tells whether values differ by more than rounding.
func varies(values []float64) bool {
	const rounding = 1e-12
	return slices.ContainsFunc(values, func(v float64) bool { return math.Abs(v-values[0]) > rounding })
}

// correlate computes another coefficient so.
func (q paired) correlate(of func(x, y []float64) float64) correlation {
	var x, y, group []float64
	for _, point := range q.points {
		x, y, group = append(x, point.x), append(y, point.y), append(group, point.base.decay())
	}
	return correlate(of, x, y, group)
}

// decays lists the weight decays that have points, ascending.
func (q paired) decays() []float64 {
	var out []float64
	for _, l := range q.x {
		out = append(out, l.decay)
	}
	return out
}

// ids are those of the base runs.
func (q paired) ids() string {
	var all level
	for _, point := range q.points {
		all.seeds = append(all.seeds, seedLoss{runs: []*member{point.base}})
	}
	return all.ids()
}

// baseLoss is the final validation loss of a base run that counts.
func baseLoss(base *member) (v float64, runs []*member, ok bool) {
	return base.final, []*member{base}, true
}

// averageOf is the mean of a measure over tasks by a recipe, of base runs that have all of them.
func (d *downstream) averageOf(tasks []taskKind, m measure, recipe int) ofBase {
	return func(base *member) (v float64, runs []*member, ok bool) {
		v, runs, have := d.value(base.Info.ID, tasks, m, recipe)
		return v, runs, have > 0 && have == len(tasks)
	}
}
