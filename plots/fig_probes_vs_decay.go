package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
)

// noProbes is said where there is nothing to draw.
const noProbes = "There are no probes to draw: " + probesCommand + " measures them."

// ProbesVsDecay draws figure 4 of the paper: the accuracy of linear probes of hidden states against weight decay, a panel a task, averaged
// over layers and in the best layer, with the control task and the most frequent label.
func ProbesVsDecay(s *Set) Figure {
	all := s.probeGroups()
	drawn, hidden := probesDrawn(all)
	f := Figure{
		Name: "probes-vs-decay", Title: "Accuracy of linear probes against weight decay",
		Caption: probeCaption(drawn, false), Notes: probeNotes(s, all, hidden, false), Points: probePoints(drawn),
	}
	parts := []string{"Accuracy of linear probes of hidden states against weight decay on a logarithmic axis."}
	var blocks []block
	var summary []string
	for _, own := range drawn {
		b := block{title: own[0].base.fullTitle(), above: aboveDecays}
		var panels []drawing
		for _, g := range own {
			panels = append(panels, g.decayPanel().draw)
			for _, row := range g.summaryRows() {
				short := g.inShort(row)
				parts = append(parts, g.base.fullTitle()+", "+short)
				summary = append(summary, short)
			}
		}
		b.lines = inLines(panels, taskNames(own))
		blocks = append(blocks, b)
	}
	const most = 6
	if len(drawn) > 1 || len(summary) > most {
		summary = nil // the page has them, too
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{
		blocks: blocks, legend: probeLegend(drawn), labels: blockLabels + blockSide, none: noProbes, foot: footer{summary: summary, caption: f.Caption, notes: f.Notes},
	}.sheet()
	return f
}

// accuracySide is beside the vertical axes of accuracies.
const accuracySide = "accuracy (%)"

// bestShift is how far left of its place the best layer stands, so that its bars are seen.
const bestShift = 3.5 * vg.Length(1)

// bestColour is that of the best layer.
func bestColour(p *pen) color.NRGBA { return p.of(0) }

// inPercent scales shares to what is shown.
const inPercent = 100

// decayPanel gathers and scales the panel of a task: control task, best layer, and on top the mean over layers.
func (g *probeGroup) decayPanel() decayPanel {
	rows := g.summaryRows()
	main := percentages(g.levels(rows[0].accuracy))
	control := bare(percentages(g.levels(rows[0].control)))
	p := newDecayPanel(g.task(), main)
	p.side = accuracySide
	p.markLowest(g.base)
	means, seeds, ends := spreadOf(main, 1)
	p.curves = []decayCurve{{levels: control, colour: quiet, thin: true}, {levels: main, colour: inked}}
	if len(rows) > 1 {
		best := percentages(g.levels(rows[1].accuracy))
		m, s, e := spreadOf(best, 1)
		means, seeds, ends = append(means, m...), append(seeds, s...), append(ends, e...)
		for i := range best {
			best[i].faulty = nil // the mean has the crosses
		}
		curve := decayCurve{levels: best, colour: bestColour}
		if slices.ContainsFunc(best, func(l level) bool { return l.hasInterval() }) {
			curve.shift = -bestShift
		}
		p.curves = slices.Insert(p.curves, 1, curve)
	}
	p.low, p.high, p.guides, p.remark = fitAccuracies(means, seeds, ends, inPercent*g.like.Majority, meansOf(control))
	return p
}

// meansOf lists the means of levels.
func meansOf(levels []level) []float64 {
	means, _, _ := spreadOf(levels, 1)
	return means
}

// fitAccuracies scales an axis to accuracies in percent, and to those of the control task and of the majority class where that does not flatten
// them; else the remark says where these are.
func fitAccuracies(means, seeds, ends []float64, majority float64, control []float64) (low, high float64, guides []guide, remark string) {
	low, high, _ = fitLosses(means, append(slices.Clone(means), seeds...), ends, math.Inf(1))
	if high-low < 1 { // a point apart at least
		middle := (low + high) / 2
		low, high = middle-0.5, middle+0.5
	}
	for _, at := range []float64{math.Min(majority, slices.Min(control)), math.Max(majority, slices.Max(control)), majority} {
		low, high = reach(low, high, at)
	}
	low, high = math.Max(low, -2), math.Min(high, 102)
	guides = []guide{{at: majority, dashed: true}}
	var below, over []string
	for _, c := range []struct {
		name   string
		values []float64
	}{{"majority class", []float64{majority}}, {"control", control}} {
		switch text := fmt.Sprintf("%s %.0f", c.name, mean(c.values)); {
		case slices.Max(c.values) < low:
			below = append(below, text)
		case slices.Min(c.values) > high:
			over = append(over, text)
		}
	}
	if len(below) > 0 {
		remark = "↓ " + strings.Join(below, ", ")
	}
	if len(over) > 0 {
		remark = strings.TrimSpace(remark + " ↑ " + strings.Join(over, ", "))
	}
	return low, high, guides, remark
}

// curveItem explains a curve with intervals.
func curveItem(text string, colour func(p *pen) color.NRGBA) legendItem {
	return legendItem{text, func(p *pen, left, y vg.Length) {
		c := colour(p)
		p.StrokeLine2(line(c, widthMean), left, y, left+legendMark, y)
		p.StrokeLine2(line(c, widthAxis), left+legendMark/2, y-4.5, left+legendMark/2, y+4.5)
		p.disc(left+legendMark/2, y, smallMean, c)
	}}
}

// chanceItems explain the control task and the majority class.
func chanceItems(control legendItem) []legendItem {
	return []legendItem{control, {"majority class", func(p *pen, left, y vg.Length) {
		p.StrokeLine2(dashed(p.muted, widthAxis), left, y, left+legendMark, y)
	}}}
}

// probeLegend explains the marks.
func probeLegend(drawn [][]*probeGroup) []legendItem {
	if len(drawn) == 0 {
		return nil
	}
	var items []legendItem
	lowest := false
	for _, g := range slices.Concat(drawn...) {
		lowest = lowest || g.base.lossOptimal() != nil
	}
	if slices.ContainsFunc(slices.Concat(drawn...), func(g *probeGroup) bool { return len(g.like.Layers) > 1 }) {
		items = append(items, curveItem("mean over layers", inked), curveItem("best layer", bestColour))
	} else {
		items = append(items, curveItem("layer", inked))
	}
	items = append(items, chanceItems(legendItem{"control task", func(p *pen, left, y vg.Length) {
		p.StrokeLine2(line(p.muted, widthAxis), left, y, left+legendMark, y)
		p.dot(left+legendMark/2, y, radiusEval, p.muted)
	}})...)
	if lowest {
		items = append(items, lossOptimalItem())
	}
	return items
}
