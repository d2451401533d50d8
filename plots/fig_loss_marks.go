package plots

import (
	"cmp"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// drawSeries draws one setting: intervals, the line through the means, every seed, the means, and a cross at the top for runs
// without a loss that counts.
func (l lossPanel) drawSeries(p *pen, f frame, s *setting, c color.NRGBA) {
	l.axis.join(p, f, s.levels, 1, line(c, widthMean), dashed(c, widthCurve))
	for i := range s.levels {
		l.drawLevel(p, f, &s.levels[i], c)
	}
}

// drawLevel draws the marks of one weight decay.
func (l lossPanel) drawLevel(p *pen, f frame, level *level, c color.NRGBA) {
	x := f.x(l.axis.fraction(level.decay))
	if level.hasInterval() {
		p.interval(f, level.low(), level.high(), x, capWidth, line(c, widthBar))
	}
	for _, v := range level.seeds {
		if len(level.seeds) == 1 {
			break // it is the mean
		}
		if v.loss <= f.high {
			p.ring(x+seedShift, f.y(v.loss), radiusSeed, widthAxis, c)
		}
	}
	switch {
	case level.N == 0:
	case level.Mean > f.high:
		p.upward(x, f.Max.Y-radiusMean-1, radiusMean, c)
		s := p.style(sizeSmall, false, c, text.XCenter, text.YTop)
		p.write(s, x, f.Max.Y-2*radiusMean-3, aboveLabel(level.Mean))
	default:
		p.disc(x, f.y(level.Mean), radiusMean, c)
	}
	if len(level.faulty) > 0 {
		p.cross(x, f.Max.Y-radiusFail-1, radiusFail, p.alarm)
	}
}

// aboveLabel writes a loss that is above the axis.
func aboveLabel(loss float64) string {
	if loss >= 1e4 {
		return strconv.FormatFloat(loss, 'e', 1, 64)
	}
	return strconv.FormatFloat(loss, 'f', 1, 64)
}

// markBest rings the lowest mean and names its decay below everything drawn there; among several curves, a dotted line leads
// to the axis instead.
func (l lossPanel) markBest(p *pen, f frame, s *setting, c color.NRGBA) {
	at := s.best()
	if at < 0 || s.measured() < 2 {
		return
	}
	best := &s.levels[at]
	x, y := f.x(l.axis.fraction(best.decay)), f.y(best.Mean)
	p.ring(x, y, radiusBest, widthCurve, c)
	if len(l.series) > 1 {
		p.StrokeLine2(dashed(c, widthAxis), x, y-radiusBest, x, f.Min.Y)
		return
	}
	bottom := y - radiusBest
	for _, v := range best.seeds {
		bottom = min(bottom, f.y(v.loss)-radiusSeed)
	}
	if best.hasInterval() {
		bottom = min(bottom, f.y(math.Max(best.low(), f.low)))
	}
	style := p.style(sizeTick, true, c, text.XCenter, text.YTop)
	label := "best λ = " + lambda(best.decay)
	half := style.Width(label)/2 + 1
	bottom = max(bottom-3, f.Min.Y+sizeTick+3)
	x = min(max(x, f.Min.X+half), f.Max.X-half)
	p.FillPolygon(p.paper, []vg.Point{
		{X: x - half, Y: bottom - sizeTick - 1}, {X: x + half, Y: bottom - sizeTick - 1}, {X: x + half, Y: bottom + 0.5}, {X: x - half, Y: bottom + 0.5},
	})
	p.write(style, x, bottom, label)
}

// labelSeries names the curves at their right ends, moved apart where they would touch.
func (l lossPanel) labelSeries(p *pen, f frame) {
	if len(l.series) < 2 {
		return
	}
	type end struct {
		series int
		y      vg.Length
	}
	var ends []end
	for i, s := range l.series {
		for _, level := range slices.Backward(s.levels) {
			if level.N > 0 {
				ends = append(ends, end{i, f.y(math.Min(level.Mean, f.high))})
				break
			}
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return cmp.Compare(b.y, a.y) })
	const air = 3
	floor := f.Max.Y + sizeSmall
	for _, e := range ends {
		label := p.seriesLabel(l.series[e.series], p.of(e.series))
		label.YAlign = text.YBottom
		top := min(e.y+label.height()/2, floor)
		floor = p.setDown(label, f.Max.X+5, top) - air
	}
}
