package plots

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"plasticity/record"
)

// RankFinding is what the ranks of one product show in one setting: whether the pseudo-rank, averaged over layers, falls with weight decay.
type RankFinding struct {
	Setting    string       `json:"setting"`
	Formula    RankFormula  `json:"formula"`
	Layers     []int        `json:"layers"`  // averaged over
	Product    string       `json:"product"` // W_QK or W_VP
	Text       string       `json:"text"`    // in plain words
	Decays     int          `json:"decays"`  // measured
	Spearman   record.Float `json:"spearman"`
	Lowest     record.Float `json:"lowest"`     // λ; NaN when fewer than two decays were measured
	Highest    record.Float `json:"highest"`    // λ
	Difference record.Float `json:"difference"` // mean rank at the highest decay less that at the lowest, paired by seed
	Low        record.Float `json:"low"`        // 95 % interval of it; NaN with fewer than two seeds in common
	High       record.Float `json:"high"`
	Seeds      int          `json:"seeds"` // in common
	Falls      Verdict      `json:"falls"` // is the rank at the highest decay below that at the lowest?
	Runs       []string     `json:"runs"`  // ids behind the two of them
}

// Ranks says what the pseudo-ranks show, for each group of runs that compare, W_QK before W_VP.
func (s *Set) Ranks() []RankFinding {
	out := []RankFinding{}
	for _, g := range s.rankGroups() {
		for product := range productCount {
			out = append(out, g.finding(product))
		}
	}
	return out
}

// finding puts one product into numbers and words.
func (g *rankGroup) finding(product int) RankFinding {
	nan := record.Float(math.NaN())
	f := RankFinding{
		Setting: g.title(), Formula: g.formula, Layers: g.layers, Product: products()[product],
		Spearman: nan, Lowest: nan, Highest: nan, Difference: nan, Low: nan, High: nan, Falls: NotAsked,
	}
	var measured []*level
	var decays, means []float64
	levels := g.levels(product, meanOfLayers)
	for i := range levels {
		if l := &levels[i]; l.N > 0 {
			measured, decays, means = append(measured, l), append(decays, l.decay), append(means, l.Mean)
		}
	}
	f.Decays = len(measured)
	if f.Decays < 2 {
		f.Text = f.Product + " was measured at one weight decay only, so nothing can be said about how its rank depends on it."
		return f
	}
	if f.Decays > 2 {
		f.Spearman = record.Float(spearman(decays, means))
	}
	first, last := measured[0], measured[len(measured)-1]
	d := difference(last, first)
	f.Lowest, f.Highest, f.Seeds = record.Float(first.decay), record.Float(last.decay), d.N
	f.Difference, f.Low, f.High = record.Float(d.Mean), record.Float(d.low()), record.Float(d.high())
	f.Runs = append(strings.Fields(first.ids()), strings.Fields(last.ids())...)
	switch {
	case !d.excludesZero():
		f.Falls = Undecidable
	case d.Mean < 0:
		f.Falls = Yes
	default:
		f.Falls = No
	}
	f.Text = g.findingText(f, first, last, d)
	return f
}

// findingText is the finding in words.
func (g *rankGroup) findingText(f RankFinding, first, last *level, d estimate) string {
	text := fmt.Sprintf("The mean pseudo-rank of %s%s is %s at λ = %s, the lowest decay, and %s at λ = %s, the highest (%s). ", f.Product, g.over(),
		g.show(first.Mean), lambda(first.decay), g.show(last.Mean), lambda(last.decay), g.differenceInWords(d))
	switch {
	case f.Falls == Yes:
		text += "The two are told apart: the rank falls."
	case f.Falls == No:
		text += "The two are told apart: the rank does not fall, it rises."
	case d.N < 2:
		text += "Whether it falls is not decidable: that takes at least two seeds of both decays."
	default:
		text += "Whether it falls is not decidable: the interval of the paired difference contains zero."
	}
	if r := float64(f.Spearman); finite(r) {
		text += fmt.Sprintf(" Spearman's correlation of λ with the means of %d decays is %s.", f.Decays, minus(strconv.FormatFloat(r, 'f', 2, 64)))
	} else if f.Decays > 2 {
		text += fmt.Sprintf(" All %d means are equal.", f.Decays)
	}
	return text
}

// inShort is the finding in a line.
func (g *rankGroup) inShort(product int) string {
	f := g.finding(product)
	if f.Falls == NotAsked {
		return f.Product + ": one weight decay only."
	}
	text := fmt.Sprintf("%s: λ = %s against λ = %s %s", f.Product, lambda(float64(f.Highest)), lambda(float64(f.Lowest)), g.show(float64(f.Difference)))
	if f.Seeds > 1 {
		text += fmt.Sprintf(" [%s, %s]", g.show(float64(f.Low)), g.show(float64(f.High)))
	}
	text += map[Verdict]string{Yes: ", the rank falls", No: ", the rank rises", Undecidable: ", not decidable"}[f.Falls]
	if r := float64(f.Spearman); finite(r) {
		text += ", Spearman " + minus(strconv.FormatFloat(r, 'f', 2, 64))
	}
	return text + "."
}

// over says what is averaged besides heads.
func (g *rankGroup) over() string {
	if len(g.layers) == 1 {
		return fmt.Sprintf(" in layer %d", g.layers[0])
	}
	return fmt.Sprintf(" over layers %s", joined(g.layers))
}

// show writes a rank or a difference of ranks: two decimals, four of a share.
func (g *rankGroup) show(v float64) string {
	digits := 2
	if g.formula.normalised() {
		digits = 4
	}
	if !finite(v) {
		return "–"
	}
	return minus(strconv.FormatFloat(v, 'f', digits, 64))
}

// differenceInWords is "−3.83, interval −5.10 to −2.56, paired by 3 seeds".
func (g *rankGroup) differenceInWords(d estimate) string {
	text := differenceInWords(d, g.show)
	if d.hasInterval() {
		text += ", paired by " + plural(d.N, "seed")
	}
	return text
}
