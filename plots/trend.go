package plots

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"plasticity/record"
)

// Trend compares a quantity at the highest weight decay with that at the lowest, paired by seed.
type Trend struct {
	Decays     int          `json:"decays"`     // measured
	Spearman   record.Float `json:"spearman"`   // of λ with the means; NaN with fewer than three decays
	Lowest     record.Float `json:"lowest"`     // λ; NaN when fewer than two decays were measured
	Highest    record.Float `json:"highest"`    // λ
	Difference record.Float `json:"difference"` // mean at the highest decay less that at the lowest, paired by seed
	Low        record.Float `json:"low"`        // 95 % interval of it; NaN with fewer than two seeds in common
	High       record.Float `json:"high"`
	Seeds      int          `json:"seeds"` // in common
	Runs       []string     `json:"runs"`  // ids behind the two of them
}

// trend is a Trend with what it was made of.
type trend struct {
	Trend
	first, last *level // nil when fewer than two decays were measured
	difference  estimate
}

// newTrend compares the levels, which ascend in λ.
func newTrend(levels []level) trend {
	nan := record.Float(math.NaN())
	t := trend{Trend: Trend{Spearman: nan, Lowest: nan, Highest: nan, Difference: nan, Low: nan, High: nan}}
	var measured []*level
	var decays, means []float64
	for i := range levels {
		if l := &levels[i]; l.N > 0 {
			measured, decays, means = append(measured, l), append(decays, l.decay), append(means, l.Mean)
		}
	}
	t.Decays = len(measured)
	if t.Decays < 2 {
		return t
	}
	if t.Decays > 2 {
		t.Spearman = record.Float(spearman(decays, means))
	}
	t.first, t.last = measured[0], measured[t.Decays-1]
	d := difference(t.last, t.first)
	t.difference = d
	t.Lowest, t.Highest, t.Seeds = record.Float(t.first.decay), record.Float(t.last.decay), d.N
	t.Difference, t.Low, t.High = record.Float(d.Mean), record.Float(d.low()), record.Float(d.high())
	t.Runs = append(strings.Fields(t.first.ids()), strings.Fields(t.last.ids())...)
	return t
}

// verdict answers whether the quantity goes in a direction: +1 up, −1 down.
func (t trend) verdict(direction float64) Verdict {
	switch {
	case t.first == nil:
		return NotAsked
	case !t.difference.excludesZero():
		return Undecidable
	case t.difference.Mean*direction > 0:
		return Yes
	default:
		return No
	}
}

// trendWords is how a trend is put into words.
type trendWords struct {
	name      string               // in short: W_QK
	what      string               // the mean pseudo-rank of W_QK over layers 0 to 3
	noun      string               // rank
	direction float64              // that is asked for: +1 up, −1 down
	show      func(float64) string // a value
	change    func(float64) string // a difference
}

// goes is the verb of a direction.
func goes(direction float64) string {
	if direction > 0 {
		return "rises"
	}
	return "falls"
}

// text is the trend in a paragraph.
func (t trend) text(w trendWords) string {
	if t.first == nil {
		return sentenceCase(w.what) + " was measured at one weight decay only, so nothing can be said about how it depends on weight decay."
	}
	paired := differenceInWords(t.difference, w.change)
	if t.difference.hasInterval() {
		paired += ", paired by " + plural(t.difference.N, "seed")
	}
	text := fmt.Sprintf("%s is %s at λ = %s, the lowest decay, and %s at λ = %s, the highest (%s). ", sentenceCase(w.what),
		w.show(t.first.Mean), lambda(t.first.decay), w.show(t.last.Mean), lambda(t.last.decay), paired)
	asked := goes(w.direction)
	switch verdict := t.verdict(w.direction); {
	case verdict == Yes:
		text += fmt.Sprintf("The two are told apart: the %s %s.", w.noun, asked)
	case verdict == No:
		text += fmt.Sprintf("The two are told apart: the %s does not %s, it %s.", w.noun, strings.TrimSuffix(asked, "s"), goes(-w.direction))
	case t.Seeds < 2:
		text += fmt.Sprintf("Whether it %s is not decidable: that takes at least two seeds of both decays.", asked)
	default:
		text += fmt.Sprintf("Whether it %s is not decidable: the interval of the paired difference contains zero.", asked)
	}
	if r := float64(t.Spearman); finite(r) {
		text += fmt.Sprintf(" Spearman's correlation of λ with the means of %d decays is %s.", t.Decays, minus(strconv.FormatFloat(r, 'f', 2, 64)))
	} else if t.Decays > 2 {
		text += fmt.Sprintf(" All %d means are equal.", t.Decays)
	}
	return text
}

// inShort is the trend in a line.
func (t trend) inShort(w trendWords) string {
	if t.first == nil {
		return w.name + ": one weight decay only."
	}
	d := t.difference
	text := fmt.Sprintf("%s: λ = %s against λ = %s ", w.name, lambda(t.last.decay), lambda(t.first.decay))
	switch {
	case d.N == 0:
		text += "no seed in common"
	case d.hasInterval():
		bare := func(v float64) string { return strings.TrimSuffix(w.change(v), pointsUnit) }
		text += fmt.Sprintf("%s%s [%s, %s]", plus(d.Mean), w.change(d.Mean), bare(d.low()), bare(d.high()))
	default:
		text += plus(d.Mean) + w.change(d.Mean)
	}
	switch t.verdict(w.direction) {
	case Yes:
		text += fmt.Sprintf(", the %s %s", w.noun, goes(w.direction))
	case No:
		text += fmt.Sprintf(", the %s %s", w.noun, goes(-w.direction))
	default:
		text += ", not decidable"
	}
	if r := float64(t.Spearman); finite(r) {
		text += ", Spearman " + minus(strconv.FormatFloat(r, 'f', 2, 64))
	}
	return text + "."
}
