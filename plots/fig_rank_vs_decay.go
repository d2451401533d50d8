package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// maxLayerBars is how many layers of a panel have intervals of their own; more would hide each other.
const maxLayerBars = 3

// noRanks is said where there is nothing to draw.
const noRanks = "There are no ranks to draw: plasticity analyze rank measures them."

// RankVsDecay draws what figure 5 of the paper says of the end of training: the pseudo-rank of attention's products against weight decay,
// averaged over layers and layer by layer, means over query heads and seeds.
func RankVsDecay(s *Set) Figure {
	groups := s.rankGroups()
	drawn := groups[:min(len(groups), maxCurveRows)]
	f := Figure{
		Name: "rank-vs-decay", Title: "Pseudo-rank of attention against weight decay",
		Caption: rankCaption(drawn, false), Notes: rankNotes(s, groups, len(groups)-len(drawn), false), Points: rankPoints(drawn),
	}
	var summary []string
	parts := []string{"Pseudo-rank of W_QK and W_VP against weight decay on a logarithmic axis."}
	for _, g := range drawn {
		for product := range productCount {
			short := g.inShort(product)
			parts = append(parts, g.title()+": "+short)
			if len(drawn) == 1 {
				summary = append(summary, short)
			}
		}
	}
	f.Alt = strings.Join(parts, " ")
	var blocks []block
	for _, g := range drawn {
		blocks = append(blocks, g.decayBlock())
	}
	f.sheet = blockSheet{blocks: blocks, labels: blockLabels, none: noRanks, foot: footer{summary: summary, caption: f.Caption, notes: f.Notes}}.sheet()
	return f
}

// decayBlock makes the two panels of a group.
func (g *rankGroup) decayBlock() block {
	b := block{title: g.title(), above: aboveDecays}
	var panels []drawing
	for product := range productCount {
		panels = append(panels, g.decayPanel(product).draw)
	}
	b.lines = [][]drawing{panels}
	b.legend = func(p *pen, left, top vg.Length) {
		style := p.style(sizeTick, false, p.ink, text.XLeft, text.YCenter)
		y := top - 4
		entry := func(c color.Color, width vg.Length, name string) {
			p.StrokeLine2(line(c, width), left, y, left+14, y)
			p.write(style, left+18, y, name)
			y -= sizeTick * 1.45
		}
		layers := g.layers()
		if len(layers) == 1 {
			entry(p.ink, 2*widthCurve, fmt.Sprintf("layer %d", layers[0]))
			return
		}
		entry(p.ink, 2*widthCurve, "average")
		shown := min(len(layers), maxLegend)
		for i := range shown {
			at := i * (len(layers) - 1) / max(shown-1, 1)
			entry(p.layerColour(at, len(layers)), 2*widthCurve, fmt.Sprintf("layer %d", layers[at]))
		}
	}
	return b
}

// layerColour is the colour of the i-th of n layers.
func (p *pen) layerColour(i, n int) color.NRGBA {
	if n <= maxLayerBars {
		return p.of(i)
	}
	return p.along(float64(i) / float64(max(n-1, 1)))
}

// decayPanel gathers and scales the panel of a product: the layers, as far as there are several, and on top their average.
func (g *rankGroup) decayPanel(product int) decayPanel {
	average := g.levels(product, meanOfLayers)
	head := "pseudo-rank of " + products()[product]
	if g.like.Formula.normalised() {
		head += " / head size"
	}
	p := newDecayPanel(head, average)
	means, seeds, ends := spreadOf(average, 1)
	if layers := g.layers(); len(layers) > 1 {
		thin := len(layers) > maxLayerBars
		for i, layer := range layers {
			levels := bare(g.levels(product, layer)) // the average has the seeds
			for i := range levels {
				if thin {
					levels[i].Half = math.NaN()
				}
			}
			m, _, e := spreadOf(levels, 1)
			means, ends = append(means, m...), append(ends, e...)
			p.curves = append(p.curves, decayCurve{levels: levels, colour: func(p *pen) color.NRGBA { return p.layerColour(i, len(layers)) }, thin: thin})
		}
	}
	p.curves = append(p.curves, decayCurve{levels: average, colour: inked})
	p.low, p.high = g.fit(means, seeds, ends)
	return p
}

// fit scales a vertical axis to ranks: from one rank apart at least, to no more than full rank.
func (g *rankGroup) fit(means, seeds, ends []float64) (low, high float64) {
	one, full := 1.0, float64(g.like.HeadSize)
	if g.like.Formula.normalised() {
		one, full = 1/full, 1
	}
	low, high, _ = fitLosses(means, append(slices.Clone(means), seeds...), ends, math.Inf(1))
	if high-low < one {
		middle := (low + high) / 2
		low, high = middle-one/2, middle+one/2
	}
	return math.Max(low, -0.04*full), math.Min(high, 1.04*full)
}
