package plots

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// tunedPanel is one panel: a measure on a task, or on the average.
type tunedPanel struct {
	results           // by the fixed recipe
	tuned   *results  // by the best recipe for each base model and task; nil with a single recipe
	matched *results  // at rates matched to weight norms; nil where there are none
	decays  []float64 // of the base models
	axis    decayAxis // shared by the panels of a setting
	lowest  float64   // the loss-optimal decay; NaN without
	named   []float64 // decays whose labels come first, the same in every column
	low     float64   // of the vertical axis, in shown units
	high    float64
	cut     bool // some values are above high
}

// newTunedPanel computes and scales a panel.
func newTunedPanel(d *downstream, task int, m measure, axis decayAxis, decays []float64) tunedPanel {
	p := tunedPanel{results: d.results(task, m, d.fixed), axis: axis, decays: decays, lowest: math.NaN()}
	if len(d.recipes) > 1 {
		tuned := d.results(task, m, bestOfRecipes)
		p.tuned = &tuned
	}
	if d.match != nil {
		matched := d.results(task, m, matchedRate)
		p.matched = &matched
	}
	if l := d.lossOptimal(); l != nil {
		p.lowest = l.decay
	}
	p.scale()
	return p
}

// scale fits the vertical axis to the means and seeds, and to the never-pretrained model where that does not flatten them.
func (t *tunedPanel) scale() {
	unit := t.measure.scale()
	means, seeds, ends := spreadOf(t.levels, unit)
	for _, other := range []*results{t.tuned, t.matched} {
		if other != nil {
			others, _, _ := spreadOf(other.levels, unit)
			means, seeds = append(means, others...), append(seeds, others...)
		}
	}
	times := 3.0
	if t.higher {
		times = math.Inf(1)
	}
	t.low, t.high, t.cut = fitLosses(means, seeds, ends, times)
	switch {
	case t.share():
		t.low, t.high = math.Max(t.low, -2), math.Min(math.Max(t.high, t.low+1), 102)
	case t.name == responseLoss && len(means) > 0:
		t.low = math.Max(t.low, -0.04*t.high) // the ends of wide intervals may be below zero; losses are not
	}
	if t.fresh.N == 0 || len(means) == 0 {
		return
	}
	t.low, t.high = reach(t.low, t.high, unit*t.fresh.Mean)
}

// head names the column.
func (t tunedPanel) head() string {
	if t.task == "" {
		return "average"
	}
	return t.task
}

// strip is the remark above the data area.
func (t tunedPanel) strip() string {
	if t.measured() == 0 {
		return ""
	}
	remark := ""
	if t.task == "" {
		remark = "of " + plural(t.tasks, "task")
	}
	if t.fresh.N == 0 {
		return remark
	}
	var arrow string
	at := t.measure.scale() * t.fresh.Mean
	switch {
	case at > t.high:
		arrow = "↑"
	case at < t.low:
		arrow = "↓"
	default:
		return remark
	}
	if remark != "" {
		remark += ", "
	}
	return remark + "not pretrained " + arrow + " " + t.axisValue(at)
}

// axisValue writes a value in shown units as shortly as the axis does.
func (t tunedPanel) axisValue(v float64) string {
	if t.share() {
		return minus(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return minus(strconv.FormatFloat(v, 'f', 2, 64))
}

// draw draws the panel; the lowest of a column has the labels of the axis.
func (t tunedPanel) draw(p *pen, box vg.Rectangle, labelled bool) {
	f := frame{Rectangle: box, low: t.low, high: t.high}
	small := p.style(sizeSmall, false, p.muted, text.XRight, text.YBottom)
	p.write(small, f.Max.X, f.Max.Y+2, p.fit(small, f.Max.X-f.Min.X+tunedTicks, t.strip()))
	if t.measured() == 0 {
		s := p.style(sizeSmall, false, p.muted, text.XCenter, text.YCenter)
		p.write(s, (f.Min.X+f.Max.X)/2, (f.Min.Y+f.Max.Y)/2, "not measured")
	} else {
		t.drawFresh(p, f, true)
		p.grid(f)
		t.drawFresh(p, f, false)
		p.markDecay(f, t.axis, t.lowest)
	}
	t.axis.draw(p, f, t.decays)
	if t.matched != nil {
		c := p.of(2)
		t.drawMeans(p, f, t.matched, c, line(c, widthAxis))
	}
	if t.tuned != nil {
		c := p.of(1)
		t.drawMeans(p, f, t.tuned, c, dashed(c, widthCurve))
	}
	t.drawFixed(p, f)
	if !labelled {
		return
	}
	labels := make([]string, len(t.decays))
	for i, d := range t.decays {
		labels[i] = lambda(d)
	}
	y := f.Min.Y - tickLength
	t.axis.writeAlong(p, f, t.decays, labels, p.style(sizeSmall, false, p.muted, text.XCenter, text.YTop), y-2, t.named)
	p.write(p.style(sizeSmall, false, p.ink, text.XCenter, text.YTop), (f.Min.X+f.Max.X)/2, y-12, "weight decay λ")
}

// drawFresh draws the never-pretrained model: the band of its interval, or its mean.
func (t tunedPanel) drawFresh(p *pen, f frame, band bool) {
	if t.fresh.N == 0 {
		return
	}
	unit := t.measure.scale()
	inside := func(v float64) vg.Length { return f.y(math.Min(math.Max(unit*v, f.low), f.high)) }
	if band {
		if low, high := inside(t.fresh.low()), inside(t.fresh.high()); t.fresh.hasInterval() && high > low {
			p.FillPolygon(p.over(p.zero, 0.22), []vg.Point{{X: f.Min.X, Y: low}, {X: f.Max.X, Y: low}, {X: f.Max.X, Y: high}, {X: f.Min.X, Y: high}})
		}
		return
	}
	if at := unit * t.fresh.Mean; at >= f.low && at <= f.high {
		p.StrokeLine2(line(p.muted, widthCurve), f.Min.X, f.y(at), f.Max.X, f.y(at))
	}
}

// Marks of this figure are smaller than those of figure 1: its panels are, too.
const (
	smallMean = 2.2 * vg.Length(1)
	smallSeed = 1.1 * vg.Length(1)
	smallBest = 4.2 * vg.Length(1)
	smallFail = 2 * vg.Length(1)
	smallCap  = 1.6 * vg.Length(1)
	smallStep = 3.4 * vg.Length(1) // seeds stand so far to the right of the mean
	alphaSeed = 0.45
)

// drawFixed draws the results by the fixed recipe.
func (t tunedPanel) drawFixed(p *pen, f frame) {
	c, unit := p.of(0), t.measure.scale()
	t.axis.join(p, f, t.levels, unit, line(c, widthMean), dotted(c, widthMean))
	for i := range t.levels {
		l := &t.levels[i]
		x := f.x(t.axis.fraction(l.decay))
		if l.hasInterval() {
			p.interval(f, unit*l.low(), unit*l.high(), x, smallCap, line(c, widthAxis))
		}
		for _, v := range l.seeds {
			if y := unit * v.loss; len(l.seeds) > 1 && y <= f.high && y >= f.low {
				p.dot(x+smallStep, f.y(y), smallSeed, p.over(c, alphaSeed))
			}
		}
	}
	best := t.best()
	for i := range t.levels {
		l := &t.levels[i]
		x := f.x(t.axis.fraction(l.decay))
		switch at := unit * l.Mean; {
		case l.N == 0:
		case at > f.high:
			p.upward(x, f.Max.Y-smallMean-1, smallMean, c)
		default:
			p.disc(x, f.y(at), smallMean, c)
			if i == best && t.measured() > 1 {
				p.ring(x, f.y(at), smallBest, widthBar, c)
			}
		}
		if len(l.faulty) > 0 {
			p.cross(x, f.Max.Y-smallFail-1, smallFail, p.alarm)
		}
	}
}

// drawMeans draws the means of another way to choose a recipe.
func (t tunedPanel) drawMeans(p *pen, f frame, r *results, c color.NRGBA, style draw.LineStyle) {
	unit := t.measure.scale()
	t.axis.join(p, f, r.levels, unit, style, dotted(c, style.Width))
	for _, l := range r.levels {
		if at := unit * l.Mean; l.N > 0 && at <= f.high && at >= f.low {
			x, y := f.x(t.axis.fraction(l.decay)), f.y(at)
			p.dot(x, y, smallSeed+0.9, c)
			p.dot(x, y, smallSeed, p.paper)
		}
	}
}
