package plots

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// RankOverTraining draws figure 5 of the paper: the pseudo-rank of attention's products over training, one curve a weight decay, in the first,
// the middle and the last layer.
func RankOverTraining(s *Set) Figure {
	all := s.rankGroups()
	groups := slices.DeleteFunc(slices.Clone(all), func(g *rankGroup) bool { return !g.trained() })
	drawn := groups[:min(len(groups), maxCurveRows)]
	f := Figure{
		Name: "rank-over-training", Title: "Pseudo-rank of attention over training",
		Caption: rankCaption(drawn, true), Notes: rankNotes(s, groups, len(groups)-len(drawn), true),
	}
	f.Notes = append(f.Notes, trainingNotes(all)...)
	parts := []string{"Pseudo-rank of W_QK and W_VP against tokens, one curve a weight decay."}
	var blocks []block
	for _, g := range drawn {
		b, left := g.trainingBlock(&f.Points)
		blocks = append(blocks, b)
		parts = append(parts, fmt.Sprintf("%s: layers %s.", g.title(), joined(g.chosen())))
		if left > 0 {
			f.Notes = append(f.Notes, fmt.Sprintf("%s that some seed of the weight decay lacks not drawn.", plural(left, "checkpoint")))
		}
	}
	f.Points.Name, f.Points.Columns = f.Name, []string{
		"setting", "formula", "weight_decay", "product", "layer", "step", "tokens", "pseudo_rank", "ci95_low", "ci95_high", "n", "run_ids",
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{blocks: blocks, labels: blockLabels, none: noRanks, foot: footer{caption: f.Caption, notes: f.Notes}}.sheet()
	return f
}

// trained tells whether some run of the group has ranks over training.
func (g *rankGroup) trained() bool {
	return slices.ContainsFunc(g.runs, func(m *member) bool { return len(g.of[m].Training) > 0 })
}

// trainingNotes says which runs have no ranks over training, and which checkpoints are not among them.
func trainingNotes(groups []*rankGroup) []string {
	all, without, damaged := 0, 0, 0
	for _, g := range groups {
		for _, m := range g.runs {
			all++
			damaged += g.of[m].LeftOut
			if len(g.of[m].Training) == 0 {
				without++
			}
		}
	}
	var notes []string
	if without > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s with ranks have none over training (plasticity analyze rank --all): not drawn.", without, plural(all, "run")))
	}
	if damaged > 0 {
		notes = append(notes, plural(damaged, "damaged checkpoint")+" could not be measured.")
	}
	return notes
}

// trainingBlock makes the panels of a group, a line a product and a column a layer, and adds their points to the table. left counts
// checkpoints that not every seed has.
func (g *rankGroup) trainingBlock(points *Table) (b block, left int) {
	b = block{title: g.title(), above: sizeLabel * 1.9}
	var decays []float64
	for product, name := range products() {
		var panels []rankCurves
		var means []float64
		most := int64(1)
		for _, layer := range g.chosen() {
			panel := rankCurves{head: fmt.Sprintf("%s, layer %d", name, layer)}
			panel.curves, left = g.curves(product, layer)
			for _, c := range panel.curves {
				decays = append(decays, c.decay)
				for _, at := range c.points {
					means, most = append(means, at.Mean), max(most, at.tokens)
				}
			}
			panels = append(panels, panel)
			g.addCurvePoints(points, product, layer, panel.curves)
		}
		low, high := g.fit(means, nil, nil)
		var lines []drawing
		for _, panel := range panels {
			lines = append(lines, func(p *pen, box vg.Rectangle) {
				panel.draw(p, frame{Rectangle: box, low: low, high: high}, most, decays)
			})
		}
		b.lines = append(b.lines, lines)
		slices.Sort(decays)
		decays = slices.Compact(decays)
	}
	b.legend = func(p *pen, left, top vg.Length) { p.legend(decays, left, top) }
	return b, left
}

// rankCurves is one panel: a product in a layer over training.
type rankCurves struct {
	head   string
	curves []rankCurve
}

// draw draws the panel, the smallest decay on top.
func (r rankCurves) draw(p *pen, f frame, most int64, decays []float64) {
	p.write(p.style(sizeLabel, false, p.ink, text.XLeft, text.YBottom), f.Min.X, f.Max.Y+5, r.head)
	p.tokenAxis(f, most)
	p.grid(f)
	for _, c := range slices.Backward(r.curves) {
		colour := p.decayColour(decays, c.decay)
		var path []vg.Point
		for _, at := range c.points {
			path = append(path, vg.Point{X: f.x(float64(at.tokens) / float64(most)), Y: f.y(at.Mean)})
		}
		p.beads(f, colour, path)
	}
}

// beads draws a curve with a dot at each of its points, as long as they stay apart.
func (p *pen) beads(f frame, c color.NRGBA, path []vg.Point) {
	p.polyline(line(c, widthCurve), f.Rectangle, path)
	if len(path) > maxDots {
		return
	}
	for _, point := range path {
		p.dot(point.X, point.Y, radiusEval, c)
	}
}

// addCurvePoints lists what a panel draws.
func (g *rankGroup) addCurvePoints(t *Table, product, layer int, curves []rankCurve) {
	for _, c := range curves {
		for i := range c.points {
			at := &c.points[i]
			t.Rows = append(t.Rows, []string{
				g.base.fullTitle(), g.like.Formula.label(), plain(c.decay), products()[product], fmt.Sprint(layer), fmt.Sprint(at.step), fmt.Sprint(at.tokens),
				plain(at.Mean), plain(at.low()), plain(at.high()), fmt.Sprint(at.N), at.ids(),
			})
		}
	}
}
