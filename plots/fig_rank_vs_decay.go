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
	var blocks []rankBlock
	for _, g := range drawn {
		blocks = append(blocks, g.decayBlock())
	}
	f.sheet = rankSheet(blocks, footer{summary: summary, caption: f.Caption, notes: f.Notes})
	return f
}

// rankBlock is what a figure draws of one group: lines of panels with a legend beside them.
type rankBlock struct {
	title  string
	above  vg.Length // the space that a panel needs over its data area
	lines  [][]func(p *pen, box vg.Rectangle)
	legend func(p *pen, left, top vg.Length)
}

// rankSheet lays the blocks out above the footer.
func rankSheet(blocks []rankBlock, foot footer) sheet {
	const (
		width  = doubleWidth
		legend = 62 * vg.Length(1)
		left   = 30 * vg.Length(1) // labels of a vertical axis
		head   = sizeTitle * 1.8
		area   = plotHeight * 0.78
		none   = plotHeight * 0.7 // without any block
	)
	measure := &pen{palette: newPalette(), fonts: newFonts()}
	footHeight := foot.height(measure, width-2*margin)
	height := 2*margin + footHeight
	for _, b := range blocks {
		height += head + vg.Length(len(b.lines))*(b.above+area+under) + panelGap
	}
	if len(blocks) == 0 {
		height += none
	}
	return sheet{width: width, height: height, draw: func(p *pen) {
		top := height - margin
		for _, b := range blocks {
			title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
			p.write(title, margin+left, top-sizeTitle, p.fit(title, width-2*margin-left, b.title))
			top -= head
			b.legend(p, width-margin-legend+12, top-b.above)
			for _, panels := range b.lines {
				cell := (width - 2*margin - legend) / vg.Length(len(panels))
				for i, draw := range panels {
					x := margin + vg.Length(i)*cell
					draw(p, vg.Rectangle{
						Min: vg.Point{X: x + left, Y: top - b.above - area}, Max: vg.Point{X: x + cell - panelGap/2, Y: top - b.above},
					})
				}
				top -= b.above + area + under
			}
			top -= panelGap
		}
		if len(blocks) == 0 {
			s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(s, width/2, top-none/2, "There are no ranks to draw: plasticity analyze rank measures them.")
		}
		foot.draw(p, margin+footHeight, width-2*margin)
	}}
}

// decayBlock makes the two panels of a group.
func (g *rankGroup) decayBlock() rankBlock {
	b := rankBlock{title: g.title(), above: sizeLabel*1.6 + tauHeight + tickLength + 4}
	var panels []func(p *pen, box vg.Rectangle)
	for product := range productCount {
		panels = append(panels, g.newRankPanel(product).draw)
	}
	b.lines = append(b.lines, panels)
	b.legend = func(p *pen, left, top vg.Length) {
		style := p.style(sizeTick, false, p.ink, text.XLeft, text.YCenter)
		y := top - 4
		entry := func(c color.Color, width vg.Length, name string) {
			p.StrokeLine2(line(c, width), left, y, left+14, y)
			p.write(style, left+18, y, name)
			y -= sizeTick * 1.45
		}
		if len(g.layers) == 1 {
			entry(p.ink, 2*widthCurve, fmt.Sprintf("layer %d", g.layers[0]))
			return
		}
		entry(p.ink, 2*widthCurve, "average")
		shown := min(len(g.layers), maxLegend)
		for i := range shown {
			at := i * (len(g.layers) - 1) / max(shown-1, 1)
			entry(p.layerColour(at, len(g.layers)), 2*widthCurve, fmt.Sprintf("layer %d", g.layers[at]))
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

// rankPanel is one product of a group against weight decay.
type rankPanel struct {
	lossPanel            // of the average over layers
	layers    []*setting // the layers, as series; empty when there is one only
	head      string
}

// newRankPanel gathers and scales a panel.
func (g *rankGroup) newRankPanel(product int) rankPanel {
	average := &setting{levels: g.levels(product, meanOfLayers)}
	p := rankPanel{lossPanel: lossPanel{series: []*setting{average}, tauRows: 1}, head: "pseudo-rank of " + products()[product]}
	if g.formula.normalised() {
		p.head += " / head size"
	}
	means, seeds, ends := spreadOf(average.levels, 1)
	if len(g.layers) > 1 {
		for _, layer := range g.layers {
			levels := g.levels(product, layer)
			for i := range levels {
				levels[i].seeds, levels[i].faulty = nil, nil // the average has them
				if len(g.layers) > maxLayerBars {
					levels[i].Half = math.NaN()
				}
			}
			m, _, e := spreadOf(levels, 1)
			means, ends = append(means, m...), append(ends, e...)
			p.layers = append(p.layers, &setting{levels: levels})
		}
	}
	p.axis = newDecayAxis(p.decays())
	p.low, p.high = g.fit(means, seeds, ends)
	return p
}

// fit scales a vertical axis to ranks: from one rank apart at least, to no more than full rank.
func (g *rankGroup) fit(means, seeds, ends []float64) (low, high float64) {
	one, full := 1.0, float64(g.headSize)
	if g.formula.normalised() {
		one, full = 1/full, 1
	}
	low, high, _ = fitLosses(means, append(slices.Clone(means), seeds...), ends, math.Inf(1))
	if high-low < one {
		middle := (low + high) / 2
		low, high = middle-one/2, middle+one/2
	}
	return math.Max(low, -0.04*full), math.Min(high, 1.04*full)
}

// draw draws the panel into the box of its data area.
func (r rankPanel) draw(p *pen, box vg.Rectangle) {
	f := frame{Rectangle: box, low: r.low, high: r.high}
	p.write(p.style(sizeLabel, false, p.ink, text.XLeft, text.YBottom), f.Min.X, f.Max.Y+tickLength+tauHeight+6, r.head)
	p.grid(f)
	r.drawDecayAxis(p, f)
	r.drawTau(p, f)
	for i, layer := range r.layers {
		if len(r.layers) > maxLayerBars {
			r.drawThin(p, f, layer, p.layerColour(i, len(r.layers)))
			continue
		}
		r.drawSeries(p, f, layer, p.layerColour(i, len(r.layers)))
	}
	r.drawSeries(p, f, r.series[0], p.ink)
}

// drawThin draws one of many layers: a line with dots, dashed to λ = 0.
func (r rankPanel) drawThin(p *pen, f frame, layer *setting, c color.NRGBA) {
	r.axis.join(p, f, layer.levels, 1, line(c, widthAxis), dashed(c, widthAxis))
	for _, l := range layer.levels {
		if l.N > 0 {
			p.dot(f.x(r.axis.fraction(l.decay)), f.y(l.Mean), radiusEval, c)
		}
	}
}
