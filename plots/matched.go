package plots

import (
	"cmp"
	"math"
	"slices"
)

// matchedRate stands for "a rate in proportion to the norm of the base model's weights". Weight decay makes weights smaller, so that a fixed rate
// moves them further relative to their size; at a matched rate every model takes steps of the same relative size. Its results are
// interpolated between those of the rates that were tried, linearly in the logarithm of the rate.
const matchedRate = -2

// matchedLabel names it in tables.
const matchedLabel = "rate matched to weight norm, interpolated"

// matching is what rates are matched by.
type matching struct {
	rates    []int              // recipes that differ from the fixed one in their rate alone, and it; ascending
	norms    map[string]float64 // of the weights of base runs at the end of pretraining
	relative float64            // rate over norm
}

// newMatching finds the rates that were tried; nil where there are no two of them, or no norms. Rate over norm is, of those that let every base
// model's rate lie between rates that were tried, the one with the lowest mean response loss, as the fixed recipe is of the recipes; where there is
// no such, the geometric mean of the matched rates is the fixed one.
func (d *downstream) newMatching() *matching {
	fixed := d.recipes[d.fixed]
	m := &matching{norms: map[string]float64{}}
	for i, r := range d.recipes {
		if slices.Equal(otherFields(r), otherFields(fixed)) && r.lr > 0 {
			m.rates = append(m.rates, i)
		}
	}
	slices.SortFunc(m.rates, func(a, b int) int { return cmp.Compare(d.recipes[a].lr, d.recipes[b].lr) })
	norm := logged(late, weightNorm)
	low, high, logs := math.Inf(1), 0.0, 0.0
	for _, l := range d.base.levels {
		for _, s := range l.seeds {
			for _, b := range s.runs {
				if v, _, ok := norm(b); ok {
					m.norms[b.Info.ID] = v
					low, high, logs = math.Min(low, v), math.Max(high, v), logs+math.Log(v)
				}
			}
		}
	}
	if len(m.rates) < 2 || len(m.norms) == 0 {
		return nil
	}
	m.relative = fixed.lr / math.Exp(logs/float64(len(m.norms)))
	first, last := d.recipes[m.rates[0]].lr, d.recipes[m.rates[len(m.rates)-1]].lr
	if from, to := first/low, last/high; from <= to {
		m.relative = d.bestRelative(*m, from, to)
	}
	return m
}

// bestRelative is the rate over norm with the lowest mean response loss, of some between two: of those at which the most models and tasks have a
// result, since means over others do not compare; of equal ones the lowest.
func (d *downstream) bestRelative(m matching, from, to float64) float64 {
	const steps = 48
	best, lowest, most := from, math.Inf(1), 0.0
	for i := range steps + 1 {
		m.relative = from * math.Pow(to/from, float64(i)/steps)
		sum, n := 0.0, 0.0
		for _, unit := range d.units() {
			for _, t := range d.tasks {
				if v, _, ok := d.matchedValue(&m, unit, t.key, measure{name: responseLoss}); ok {
					sum, n = sum+v, n+1
				}
			}
		}
		if n > most || n == most && n > 0 && sum/n < lowest {
			best, lowest, most = m.relative, sum/n, n
		}
	}
	return best
}

// otherFields are those of a recipe besides its rate.
func otherFields(r recipe) []field {
	return slices.DeleteFunc(slices.Clone(r.fields), func(f field) bool { return f.name == "optimizer.lr" })
}

// matchedValue is the value of a unit on a task at its matched rate; ok is false where no two rates around it have a result.
func (d *downstream) matchedValue(match *matching, unit, task string, m measure) (v float64, runs []*member, ok bool) {
	norm, has := match.norms[unit]
	if !has {
		return math.NaN(), nil, false
	}
	const rounding = 1e-12 // the outermost model's rate is an outermost rate
	rate := math.Log(match.relative * norm)
	for i := 1; i < len(match.rates); i++ {
		below, above := d.recipes[match.rates[i-1]], d.recipes[match.rates[i]]
		low, high := math.Log(below.lr), math.Log(above.lr)
		if rate < low-rounding || rate > high+rounding {
			continue
		}
		atLow, fromLow, okLow := d.cellValue(cell{unit, task, below.key}, m)
		atHigh, fromHigh, okHigh := d.cellValue(cell{unit, task, above.key}, m)
		if okLow && okHigh {
			return atLow + (rate-low)/(high-low)*(atHigh-atLow), slices.Concat(fromLow, fromHigh), true
		}
	}
	return math.NaN(), nil, false
}
