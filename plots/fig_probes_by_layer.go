package plots

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// ProbesByLayer draws figure 16 of the paper: the accuracy of linear probes by layer, the embedding first, one curve a weight decay and a
// panel a task.
func ProbesByLayer(s *Set) Figure {
	all := s.probeGroups()
	drawn, hidden := probesDrawn(all)
	f := Figure{
		Name: "probes-by-layer", Title: "Accuracy of linear probes by layer",
		Caption: probeCaption(drawn, true), Notes: probeNotes(s, all, hidden, true), Points: layerPoints(drawn),
	}
	parts := []string{"Accuracy of linear probes by layer of the hidden states, one curve a weight decay."}
	var blocks []block
	for _, own := range drawn {
		b := block{title: own[0].base.fullTitle(), above: sizeLabel * 1.9}
		var panels []drawing
		var decays []float64
		for _, g := range own {
			decays = append(decays, decaysOf(g.levels((*Probes).Mean))...)
		}
		slices.Sort(decays)
		decays = slices.Compact(decays)
		for _, g := range own {
			panel := g.layerPanel(decays)
			panels = append(panels, panel.draw)
			parts = append(parts, fmt.Sprintf("%s, %s: %s, %s.", g.base.fullTitle(), g.task(), layersWord(g.like.Settings.Layers), plural(len(panel.curves), "weight decay")))
		}
		b.lines = inLines(panels, taskNames(own))
		b.legend = func(p *pen, left, top vg.Length) { p.legend(decays, left, top) }
		blocks = append(blocks, b)
	}
	var legend []legendItem
	if len(drawn) > 0 {
		legend = chanceItems(legendItem{"control task, mean over λ", func(p *pen, left, y vg.Length) {
			p.StrokeLine2(dotted(p.muted, widthCurve), left, y, left+legendMark, y)
		}})
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{blocks: blocks, legend: legend, labels: blockLabels + blockSide, none: noProbes, foot: footer{caption: f.Caption, notes: f.Notes}}.sheet()
	return f
}

// layerPanel is the accuracy of a task by layer, in percent.
type layerPanel struct {
	head    string
	remark  string
	layers  []string
	decays  []float64 // of the figure's colours
	curves  []layerCurve
	control []float64 // by layer
	guides  []guide
	low     float64
	high    float64
}

// layerCurve is a weight decay.
type layerCurve struct {
	decay  float64
	values []float64 // by layer
}

// layerPanel gathers and scales a panel.
func (g *probeGroup) layerPanel(decays []float64) layerPanel {
	p := layerPanel{head: g.task(), decays: decays}
	var all []float64
	for _, row := range g.layerRows() {
		p.layers = append(p.layers, row.name)
		p.control = append(p.control, inPercent*g.control(row.control))
		at := 0
		for _, l := range percentages(g.levels(row.accuracy)) {
			if l.N == 0 {
				continue
			}
			if at == len(p.curves) {
				p.curves = append(p.curves, layerCurve{decay: l.decay})
			}
			p.curves[at].values = append(p.curves[at].values, l.Mean)
			all = append(all, l.Mean)
			at++
		}
	}
	p.low, p.high, p.guides, p.remark = fitAccuracies(all, nil, nil, inPercent*g.like.Majority, p.control)
	return p
}

// x places a layer.
func (l layerPanel) x(f frame, layer int) vg.Length {
	const pad = 0.06
	if len(l.layers) == 1 {
		return f.x(0.5)
	}
	return f.x(pad + (1-2*pad)*float64(layer)/float64(len(l.layers)-1))
}

// draw draws the panel, the smallest decay on top.
func (l layerPanel) draw(p *pen, box vg.Rectangle) {
	f := frame{Rectangle: box, low: l.low, high: l.high}
	head := p.style(sizeLabel, false, p.ink, text.XLeft, text.YBottom)
	p.write(head, f.Min.X, f.Max.Y+5, p.fit(head, f.Max.X-f.Min.X, l.head))
	p.side(f, accuracySide)
	p.grid(f)
	l.drawAxis(p, f)
	for _, g := range l.guides {
		p.guide(f, g)
	}
	p.polyline(dotted(p.muted, widthCurve), f.Rectangle, l.path(f, l.control))
	for _, c := range slices.Backward(l.curves) {
		p.beads(f, p.decayColour(l.decays, c.decay), l.path(f, c.values))
	}
	p.remark(f, l.remark)
}

// path places values.
func (l layerPanel) path(f frame, values []float64) []vg.Point {
	points := make([]vg.Point, len(values))
	for i, v := range values {
		points[i] = vg.Point{X: l.x(f, i), Y: f.y(v)}
	}
	return points
}

// drawAxis draws the horizontal axis: a mark a layer, and as many labels as fit.
func (l layerPanel) drawAxis(p *pen, f frame) {
	style := line(p.axis, widthAxis)
	p.StrokeLine2(style, f.Min.X, f.Min.Y, f.Max.X, f.Min.Y)
	label := p.style(sizeTick, false, p.muted, text.XCenter, text.YTop)
	labels := make([]string, len(l.layers))
	centres, widths := make([]vg.Length, len(l.layers)), make([]vg.Length, len(l.layers))
	for i, name := range l.layers {
		labels[i] = name
		if name == layerWord(EmbeddingLayer) {
			labels[i] = "emb."
		}
		centres[i], widths[i] = l.x(f, i), label.Width(labels[i])
		p.StrokeLine2(style, centres[i], f.Min.Y, centres[i], f.Min.Y-tickLength)
	}
	for i, show := range spread(centres, widths, []int{0, len(labels) - 1}) {
		if show {
			p.write(label, centres[i], f.Min.Y-tickLength-2, labels[i])
		}
	}
	p.write(p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop), (f.Min.X+f.Max.X)/2, f.Min.Y-tickLength-14, "layer")
}
