package plots

import (
	"fmt"
	"strconv"
)

// RankFinding is what the ranks of one product show in one setting: whether the pseudo-rank, averaged over layers, falls with weight decay.
type RankFinding struct {
	Setting string      `json:"setting"`
	Formula RankFormula `json:"formula"`
	Layers  []int       `json:"layers"`  // averaged over
	Product string      `json:"product"` // W_QK or W_VP
	Text    string      `json:"text"`    // in plain words
	Trend
	Falls Verdict `json:"falls"` // is the rank at the highest decay below that at the lowest?
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
	t, words := newTrend(g.levels(product, meanOfLayers)), g.words(product)
	return RankFinding{
		Setting: g.title(), Formula: g.like.Formula, Layers: g.layers(), Product: products()[product], Text: t.text(words), Trend: t.Trend,
		Falls: t.verdict(words.direction),
	}
}

// inShort is the finding in a line.
func (g *rankGroup) inShort(product int) string {
	return newTrend(g.levels(product, meanOfLayers)).inShort(g.words(product))
}

// words names the ranks of a product.
func (g *rankGroup) words(product int) trendWords {
	name := products()[product]
	return trendWords{name: name, what: "the mean pseudo-rank of " + name + g.over(), noun: "rank", direction: -1, show: g.show, change: g.show}
}

// over says what is averaged besides heads.
func (g *rankGroup) over() string {
	layers := g.layers()
	if len(layers) == 1 {
		return fmt.Sprintf(" in layer %d", layers[0])
	}
	return fmt.Sprintf(" over layers %s", joined(layers))
}

// show writes a rank or a difference of ranks: two decimals, four of a share.
func (g *rankGroup) show(v float64) string {
	digits := 2
	if g.like.Formula.normalised() {
		digits = 4
	}
	if !finite(v) {
		return "–"
	}
	return minus(strconv.FormatFloat(v, 'f', digits, 64))
}
