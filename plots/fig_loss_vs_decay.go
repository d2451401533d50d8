package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

const (
	maxPanels = 12 // of a figure; the table has the rest
	maxSeries = 5  // of a panel; more go into another panel
)

// lossPanel is one panel of loss against decay: settings whose losses are comparable.
type lossPanel struct {
	title    string
	series   []*setting
	axis     decayAxis
	low      float64 // of the vertical axis
	high     float64
	cut      bool // some losses are above high
	tauRows  int
	measured bool
	named    []float64 // decays whose labels come first; nil: the best of each series
}

// LossVsDecay draws figure 1 of the paper: the final validation loss against weight decay. For each setting it shows every
// seed, the mean over seeds with its 95 % t interval, and the decay with the lowest mean.
func LossVsDecay(s *Set) Figure {
	settings, others := ofPretraining(s)
	var all []lossPanel
	for _, group := range panels(settings) {
		for part := range slices.Chunk(group, maxSeries) {
			all = append(all, newLossPanel(part))
		}
	}
	drawn := all[:min(len(all), maxPanels)]
	f := Figure{
		Name: "loss-vs-decay", Title: "Validation loss against weight decay",
		Caption: lossCaption(settings, drawn), Notes: lossNotes(s, settings, others), Points: lossPoints(drawn),
	}
	if hidden := len(all) - len(drawn); hidden > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("%s more than fit are not drawn; the table has them.", plural(hidden, "panel")))
	}
	f.Alt = lossAlt(settings)
	var summary []string
	if len(settings) <= maxSeries {
		for _, g := range settings {
			summary = append(summary, g.inShort(len(settings) > 1))
		}
	}
	f.sheet = lossSheet(drawn, footer{summary: summary, caption: f.Caption, notes: f.Notes})
	return f
}

// ofPretraining picks the settings of base models and counts the runs of other kinds.
func ofPretraining(s *Set) (settings []*setting, others int) {
	for _, g := range s.settings {
		if kind := g.runs[0].Info.Kind; kind != "" && kind != kindPretrain {
			others += len(g.runs)
			continue
		}
		settings = append(settings, g)
	}
	return settings, others
}

// newLossPanel scales a panel.
func newLossPanel(series []*setting) lossPanel {
	p := lossPanel{series: series, title: series[0].title}
	if len(series) == 1 {
		p.title = series[0].fullTitle()
	}
	var levels []level
	for _, s := range series {
		levels = append(levels, s.levels...)
	}
	p.axis = newDecayAxis(p.decays())
	p.measured = measuredLevels(levels) > 0
	times := 3.0
	if len(series) > 1 {
		times = 2
	}
	means, seeds, ends := spreadOf(levels, 1)
	p.low, p.high, p.cut = fitLosses(means, seeds, ends, times)
	if len(series) <= 3 {
		p.tauRows = len(series)
	}
	return p
}

// spreadOf lists the means, every seed and the ends of intervals, in shown units.
func spreadOf(levels []level, unit float64) (means, seeds, ends []float64) {
	for _, l := range levels {
		if l.N > 0 {
			means = append(means, unit*l.Mean)
		}
		for _, v := range l.seeds {
			seeds = append(seeds, unit*v.loss)
		}
		if l.hasInterval() {
			ends = append(ends, unit*l.low(), unit*l.high())
		}
	}
	return means, seeds, ends
}

// fitLosses fits a vertical axis to losses: all means and seeds, unless a few decays that damage training would flatten the rest, which are
// those above so many times the span of the lower three quarters; and of wide intervals only so much that the means can still be told apart.
func fitLosses(means, seeds, ends []float64, times float64) (axisLow, axisHigh float64, cut bool) {
	if len(means) == 0 {
		return 0, 1, false
	}
	means = slices.Sorted(slices.Values(means))
	low := math.Min(means[0], slices.Min(seeds))
	high := math.Max(means[len(means)-1], slices.Max(seeds))
	if len(means) >= 4 {
		upper := means[(3*len(means)-1)/4]
		if limit := means[0] + times*(upper-means[0]); upper > means[0] && high > limit {
			high, cut = limit, true
		}
	}
	span := math.Max(high-low, math.Max(1e-3*math.Abs(low), 1e-4))
	if len(ends) > 0 {
		low = math.Min(low, math.Max(slices.Min(ends), low-0.3*span))
		high = math.Max(high, math.Min(slices.Max(ends), high+0.3*span))
	}
	span = math.Max(high-low, span)
	return low - 0.15*span, high + 0.07*span, cut
}

// lossSheet lays the panels out above the footer: two beside each other, or one a row when curves have labels at their ends.
func lossSheet(all []lossPanel, foot footer) sheet {
	columns, width := 1, singleWidth
	switch {
	case slices.ContainsFunc(all, func(p lossPanel) bool { return len(p.series) > 1 }):
		width = mediumWidth
	case len(all) > 1:
		columns, width = 2, doubleWidth
	}
	rows := slices.Collect(slices.Chunk(all, columns))
	heights := make([]vg.Length, max(1, len(rows)))
	heights[0] = lossHeight(nil)
	var sum vg.Length
	for i, row := range rows {
		heights[i] = lossHeight(row)
	}
	for _, h := range heights {
		sum += h
	}
	footHeight := foot.height(&pen{palette: newPalette(), fonts: newFonts()}, width-2*margin)
	height := 2*margin + sum + vg.Length(len(heights)-1)*panelGap + footHeight
	return sheet{width: width, height: height, draw: func(p *pen) {
		cell := (width - 2*margin - vg.Length(columns-1)*panelGap) / vg.Length(columns)
		top := height - margin
		for i, row := range rows {
			for j, panel := range row {
				left := margin + vg.Length(j)*(cell+panelGap)
				bottom := top - heights[i] + under
				panel.draw(p, vg.Rectangle{Min: vg.Point{X: left, Y: bottom}, Max: vg.Point{X: left + cell, Y: bottom + plotHeight}})
			}
			top -= heights[i] + panelGap
		}
		if len(all) == 0 {
			s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(s, width/2, top-heights[0]/2, "There are no pretraining runs to draw.")
		}
		foot.draw(p, margin+footHeight, width-2*margin)
	}}
}

// lossHeight is the height of a row of panels with the text above and below their data areas.
func lossHeight(row []lossPanel) vg.Length {
	tauRows := 0
	for _, p := range row {
		tauRows = max(tauRows, p.tauRows)
	}
	return sizeTitle*1.6 + vg.Length(tauRows)*tauHeight + 6 + plotHeight + under
}

// draw draws the panel; box is the cell without the space above and below it.
func (l lossPanel) draw(p *pen, box vg.Rectangle) {
	f := frame{Rectangle: box, low: l.low, high: l.high}
	f.Min.X += 46
	f.Max.X -= 4 + l.labelWidth(p)
	title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
	p.write(title, f.Min.X, f.Max.Y+vg.Length(l.tauRows)*tauHeight+10, p.fit(title, box.Max.X-f.Min.X, l.title))
	side := p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop)
	side.Rotation = math.Pi / 2
	p.write(side, box.Min.X, (f.Min.Y+f.Max.Y)/2, "validation loss (nats per token)")
	if l.measured {
		p.grid(f)
	} else {
		s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
		p.write(s, (f.Min.X+f.Max.X)/2, (f.Min.Y+f.Max.Y)/2, "no finished run with a finite validation loss")
	}
	l.drawDecayAxis(p, f)
	l.drawTau(p, f)
	for i, s := range l.series {
		l.drawSeries(p, f, s, p.of(i))
	}
	for i, s := range l.series {
		l.markBest(p, f, s, p.of(i))
	}
	l.labelSeries(p, f)
}

// labelWidth is the space that labels at the ends of the curves take.
func (l lossPanel) labelWidth(p *pen) vg.Length {
	if len(l.series) < 2 {
		return 0
	}
	var widest vg.Length
	for _, s := range l.series {
		label := p.seriesLabel(s, p.ink)
		for _, l := range label.lines {
			widest = max(widest, label.Width(l))
		}
	}
	return widest + 6
}

// seriesLabel wraps the name of a curve into the space beside the panel.
func (p *pen) seriesLabel(s *setting, c color.Color) paragraph {
	return p.wrap(p.style(sizeSmall, true, c, text.XLeft, text.YCenter), 84, s.label)
}

// decays lists the distinct weight decays of the panel.
func (l lossPanel) decays() []float64 {
	var out []float64
	for _, s := range l.series {
		for _, level := range s.levels {
			out = append(out, level.decay)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// drawDecayAxis draws the horizontal axis with its break; every decay that was tried has a mark.
func (l lossPanel) drawDecayAxis(p *pen, f frame) {
	decays := l.decays()
	l.axis.draw(p, f, decays)
	labels := make([]string, len(decays))
	for i, d := range decays {
		labels[i] = lambda(d)
	}
	y := f.Min.Y - tickLength
	l.axis.writeAlong(p, f, decays, labels, p.style(sizeTick, false, p.muted, text.XCenter, text.YTop), y-2, l.firstDecays())
	s := p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop)
	p.write(s, (f.Min.X+f.Max.X)/2, y-14, "weight decay λ")
}

// firstDecays lists the decays whose labels come first.
func (l lossPanel) firstDecays() []float64 {
	if l.named != nil {
		return l.named
	}
	var out []float64
	for _, g := range l.series {
		if at := g.best(); at >= 0 {
			out = append(out, g.levels[at].decay)
		}
	}
	return out
}

// drawTau writes AdamW's timescale above each decay, a row a setting, as a second axis.
func (l lossPanel) drawTau(p *pen, f frame) {
	if l.tauRows == 1 { // then it is an axis of its own
		for _, level := range l.series[0].levels {
			x := f.x(l.axis.fraction(level.decay))
			p.StrokeLine2(line(p.axis, widthGrid), x, f.Max.Y+1, x, f.Max.Y+tickLength+1)
		}
	}
	for row := range l.tauRows {
		s, colour := l.series[row], p.muted
		if len(l.series) > 1 {
			colour = p.of(row)
		}
		y := f.Max.Y + tickLength + 3 + vg.Length(l.tauRows-1-row)*tauHeight
		style := p.style(sizeSmall, false, colour, text.XCenter, text.YBottom)
		head := p.style(sizeSmall, false, colour, text.XRight, text.YBottom)
		p.write(head, f.Min.X-4, y, "τ")
		decays, labels := make([]float64, len(s.levels)), make([]string, len(s.levels))
		for i, level := range s.levels {
			decays[i], labels[i] = level.decay, short(rounded(level.tau, 2))
		}
		if len(decays) > 0 {
			l.axis.writeAlong(p, f, decays, labels, style, y, l.firstDecays())
		}
	}
}
