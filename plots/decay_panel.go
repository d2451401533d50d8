package plots

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// decayCurve is a quantity against weight decay.
type decayCurve struct {
	levels []level // in shown units
	colour func(p *pen) color.NRGBA
	thin   bool      // a line with dots, without seeds and intervals
	shift  vg.Length // to the right, where the bars of another curve would hide its own
}

// decayPanel is one panel of quantities against weight decay. Its embedded panel has the axes and, as series, the main quantity.
type decayPanel struct {
	lossPanel
	curves []decayCurve // the last one on top
	head   string
	side   string  // beside the vertical axis
	remark string  // within, at the lower left
	lowest float64 // the loss-optimal decay; NaN to leave it out
	guides []guide
	bars   []bar
}

// bar is an interval that is none over seeds.
type bar struct{ decay, low, high float64 }

// guide is a horizontal line.
type guide struct {
	at     float64
	dashed bool
}

// aboveDecays is the space over the data area of such a panel: τ and the head.
const aboveDecays = sizeLabel*1.6 + tauHeight + tickLength + 4

// newDecayPanel makes a panel around its main levels.
func newDecayPanel(head string, main []level) decayPanel {
	p := decayPanel{lossPanel: lossPanel{series: []*setting{{levels: main}}, tauRows: 1}, head: head, lowest: math.NaN()}
	p.axis = newDecayAxis(p.decays())
	return p
}

// quantityPanel is a panel of a quantity with the loss-optimal decay of its setting marked. Its axis has all means and seeds, the values that are shown
// besides them, and of intervals, whose further ends are given, only so much that the means can still be told apart.
func quantityPanel(head string, levels []level, base *setting, shown, ends []float64) decayPanel {
	p := newDecayPanel(head, levels)
	p.markLowest(base)
	p.curves = []decayCurve{{levels: levels, colour: inked}}
	means, seeds, own := spreadOf(levels, 1)
	if len(means) > 0 {
		means = append(means, shown...)
	}
	p.low, p.high, _ = fitLosses(means, append(slices.Clone(means), seeds...), append(own, ends...), math.Inf(1))
	return p
}

// markLowest draws the loss-optimal decay of a setting, if it is on the axis, and has its label come first.
func (d *decayPanel) markLowest(base *setting) {
	if l := base.lossOptimal(); l != nil && slices.Contains(d.decays(), l.decay) {
		d.lowest, d.named = l.decay, []float64{l.decay}
	}
}

// draw draws the panel into the box of its data area.
func (d decayPanel) draw(p *pen, box vg.Rectangle) {
	f := frame{Rectangle: box, low: d.low, high: d.high}
	y := f.Max.Y + tickLength + tauHeight + 6
	head := p.style(sizeLabel, false, p.ink, text.XLeft, text.YBottom)
	p.write(head, f.Min.X, y, p.fit(head, f.Max.X-f.Min.X, d.head))
	p.side(f, d.side)
	p.grid(f)
	for _, g := range d.guides {
		p.guide(f, g)
	}
	p.markDecay(f, d.axis, d.lowest)
	d.drawDecayAxis(p, f)
	d.drawTau(p, f)
	for _, b := range d.bars {
		p.interval(f, b.low, b.high, f.x(d.axis.fraction(b.decay)), capWidth, line(p.axis, widthBar))
	}
	for _, c := range d.curves {
		if c.thin {
			d.drawThin(p, f, c)
			continue
		}
		beside := f
		beside.Min.X, beside.Max.X = f.Min.X+c.shift, f.Max.X+c.shift
		d.drawSeries(p, beside, &setting{levels: c.levels}, c.colour(p))
	}
	p.remark(f, d.remark)
}

// blockSide is the space that a label beside a vertical axis takes.
const blockSide = 10 * vg.Length(1)

// side writes a label beside the vertical axis, left of its own labels.
func (p *pen) side(f frame, what string) {
	s := p.style(sizeSmall, false, p.ink, text.XCenter, text.YTop)
	s.Rotation = math.Pi / 2
	p.write(s, f.Min.X-blockLabels-blockSide+4, (f.Min.Y+f.Max.Y)/2, what)
}

// remark writes a line at the lower left of a data area.
func (p *pen) remark(f frame, what string) {
	s := p.style(sizeSmall, false, p.muted, text.XLeft, text.YBottom)
	p.write(s, f.Min.X+3, f.Min.Y+4.5, p.fit(s, f.Max.X-f.Min.X-3, what))
}

// guide draws a horizontal line, if it is on the axis.
func (p *pen) guide(f frame, g guide) {
	if g.at < f.low || g.at > f.high {
		return
	}
	style := line(p.muted, widthAxis)
	if g.dashed {
		style = dashed(p.muted, widthAxis)
	}
	p.StrokeLine2(style, f.Min.X, f.y(g.at), f.Max.X, f.y(g.at))
}

// markDecay draws a dotted line at a weight decay; none for NaN.
func (p *pen) markDecay(f frame, axis decayAxis, decay float64) {
	if finite(decay) {
		x := f.x(axis.fraction(decay))
		p.StrokeLine2(dotted(p.ink, widthAxis), x, f.Min.Y, x, f.Max.Y)
	}
}

// drawThin draws one of many curves, dashed to λ = 0.
func (d decayPanel) drawThin(p *pen, f frame, curve decayCurve) {
	c := curve.colour(p)
	d.axis.join(p, f, curve.levels, 1, line(c, widthAxis), dashed(c, widthAxis))
	for _, l := range curve.levels {
		if l.N > 0 && l.Mean >= f.low && l.Mean <= f.high {
			p.dot(f.x(d.axis.fraction(l.decay)), f.y(l.Mean), radiusEval, c)
		}
	}
}

// cut tells whether some interval is longer than the axis.
func (d decayPanel) cut() bool {
	var ends []float64
	for _, c := range d.curves {
		if !c.thin {
			_, _, e := spreadOf(c.levels, 1)
			ends = append(ends, e...)
		}
	}
	for _, b := range d.bars {
		ends = append(ends, b.low, b.high)
	}
	return slices.ContainsFunc(ends, func(v float64) bool { return v < d.low || v > d.high })
}

// cutWords says that bars may go on beyond an axis, where some do.
func cutWords(panels []decayPanel) []string {
	if slices.ContainsFunc(panels, decayPanel.cut) {
		return []string{"Bars without an end go on beyond the axis."}
	}
	return nil
}

// reach widens an axis to a value beside it, unless that would take most of its height.
func reach(low, high, at float64) (newLow, newHigh float64) {
	const most = 0.9
	height := high - low
	switch {
	case at < low && at > low-most*height:
		return at - 0.06*height, high
	case at > high && at < high+most*height:
		return low, at + 0.06*height
	default:
		return low, high
	}
}

// percentages are levels of shares in percent.
func percentages(levels []level) []level {
	out := make([]level, len(levels))
	for i, l := range levels {
		l.seeds = append([]seedLoss(nil), l.seeds...)
		for j := range l.seeds {
			l.seeds[j].loss *= inPercent
		}
		l.Mean, l.Half = inPercent*l.Mean, inPercent*l.Half
		out[i] = l
	}
	return out
}

// withoutCrosses are levels whose crosses are drawn or said elsewhere; it changes them.
func withoutCrosses(levels []level) []level {
	for i := range levels {
		levels[i].faulty = nil
	}
	return levels
}

// bare are levels without their seeds and crosses, for curves beside the one that has them.
func bare(levels []level) []level {
	out := make([]level, len(levels))
	for i, l := range levels {
		l.seeds, l.faulty = nil, nil
		out[i] = l
	}
	return out
}

func inked(p *pen) color.NRGBA { return p.ink }
func quiet(p *pen) color.NRGBA { return p.muted }
