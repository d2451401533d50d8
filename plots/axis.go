package plots

import (
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// tick is a mark of an axis.
type tick struct {
	at    float64
	label string
}

// niceTicks marks a range at 1, 2 or 5 times a power of ten, about so many times.
func niceTicks(low, high float64, about int) []tick {
	span := high - low
	if !finite(span) || span <= 0 {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(span/float64(about))))
	for _, m := range []float64{1, 2, 5, 10} {
		if span/(step*m) <= float64(about)+0.5 {
			step *= m
			break
		}
	}
	digits := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var out []tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		out = append(out, tick{i * step, minus(strconv.FormatFloat(i*step+0, 'f', digits, 64))}) // −0 + 0 is 0
	}
	return out
}

// decayAxis places weight decays on a logarithmic axis that has room for zero: left of the smallest decay, after a break.
type decayAxis struct {
	low, high float64 // log10 of the smallest and largest positive decay
	gap       float64 // from low to the place of zero, in decades
	hasZero   bool
}

// newDecayAxis makes the axis for the decays, which are finite and not negative.
func newDecayAxis(decays []float64) decayAxis {
	a := decayAxis{low: math.Inf(1), high: math.Inf(-1)}
	for _, d := range decays {
		if d == 0 {
			a.hasZero = true
			continue
		}
		a.low, a.high = math.Min(a.low, math.Log10(d)), math.Max(a.high, math.Log10(d))
	}
	if a.low > a.high { // nothing but zero
		a.low, a.high = -1, -1
	}
	a.gap = math.Min(math.Max(0.22*(a.high-a.low), 0.3), 1.5)
	return a
}

// fraction returns where a decay lies on the axis: 0 at its left end, 1 at its right end.
func (a decayAxis) fraction(decay float64) float64 {
	left := a.low
	if a.hasZero {
		left -= a.gap
	}
	pad := math.Max(0.07*(a.high-left), 0.15)
	at := a.low - a.gap
	if decay > 0 {
		at = math.Log10(decay)
	}
	return (at - left + pad) / (a.high - left + 2*pad)
}

// breakAt is the middle of the axis break, between zero and the smallest positive decay.
func (a decayAxis) breakAt() float64 {
	return (a.fraction(0) + a.fraction(math.Pow(10, a.low))) / 2
}

// minor lists 1 to 9 times the powers of ten within the axis, for small marks. Too many are none.
func (a decayAxis) minor() []float64 {
	const most = 60
	var out []float64
	for e := math.Floor(a.low); e <= a.high; e++ {
		for m := 1.0; m < 10; m++ {
			if at := e + math.Log10(m); at >= a.low-1e-9 && at <= a.high+1e-9 {
				out = append(out, math.Pow(10, at))
			}
		}
	}
	if len(out) > most {
		return nil
	}
	return out
}

// draw draws the axis at the lower edge of the frame, with its break and a mark at each of the decays.
func (a decayAxis) draw(p *pen, f frame, decays []float64) {
	style := line(p.axis, widthAxis)
	y := f.Min.Y
	if a.hasZero && len(decays) > 1 {
		x := f.x(a.breakAt())
		p.StrokeLine2(style, f.Min.X, y, x-2, y)
		p.StrokeLine2(style, x+2, y, f.Max.X, y)
		for _, at := range []vg.Length{x - 2, x + 2} {
			p.StrokeLine2(style, at-1.6, y-3.6, at+1.6, y+3.6)
		}
	} else {
		p.StrokeLine2(style, f.Min.X, y, f.Max.X, y)
	}
	for _, d := range a.minor() {
		x := f.x(a.fraction(d))
		p.StrokeLine2(line(p.axis, widthGrid), x, y, x, y-tickLength*0.5)
	}
	for _, d := range decays {
		x := f.x(a.fraction(d))
		p.StrokeLine2(style, x, y, x, y-tickLength)
	}
}

// writeAlong writes a label at each decay, as many as fit; the wanted decays, zero, the largest and powers of ten come first.
func (a decayAxis) writeAlong(p *pen, f frame, decays []float64, labels []string, s text.Style, y vg.Length, wanted []float64) {
	centres, widths := make([]vg.Length, len(decays)), make([]vg.Length, len(decays))
	var first []int
	for i, d := range decays {
		centres[i], widths[i] = f.x(a.fraction(d)), s.Width(labels[i])
	}
	for _, d := range wanted {
		if i, found := slices.BinarySearch(decays, d); found {
			first = append(first, i)
		}
	}
	first = append(first, 0, len(decays)-1)
	for i, d := range decays {
		if d > 0 && math.Abs(math.Log10(d)-math.Round(math.Log10(d))) < 1e-9 {
			first = append(first, i)
		}
	}
	for i, show := range spread(centres, widths, first) {
		if show {
			p.write(s, centres[i], y, labels[i])
		}
	}
}

// join strokes the line through the means, in shown units; the part that leads to λ = 0, where the axis is broken, has a style of its own.
func (a decayAxis) join(p *pen, f frame, levels []level, unit float64, style, broken draw.LineStyle) {
	var path, toZero []vg.Point
	for _, l := range levels {
		if l.N == 0 {
			continue
		}
		point := vg.Point{X: f.x(a.fraction(l.decay)), Y: f.y(unit * l.Mean)}
		if l.decay == 0 {
			toZero = append(toZero, point)
			continue
		}
		path = append(path, point)
	}
	if len(toZero) > 0 && len(path) > 0 {
		p.polyline(broken, f.Rectangle, append(toZero, path[0]))
	}
	p.polyline(style, f.Rectangle, path)
}

// interval draws the bar of an interval; an end outside of the area has no cap.
func (p *pen) interval(f frame, low, high float64, x, half vg.Length, s draw.LineStyle) {
	if low > f.high || high < f.low {
		return
	}
	p.StrokeLine2(s, x, f.y(math.Max(low, f.low)), x, f.y(math.Min(high, f.high)))
	for _, end := range []float64{low, high} {
		if end >= f.low && end <= f.high {
			p.StrokeLine2(s, x-half, f.y(end), x+half, f.y(end))
		}
	}
}

// frame is a data area with its vertical scale.
type frame struct {
	vg.Rectangle
	low, high float64 // of the vertical axis
}

// y places a value. What is very far outside is moved nearer: clipping lines at the edge loses digits with it.
func (f frame) y(v float64) vg.Length {
	const far = 50
	at := math.Min(math.Max((v-f.low)/(f.high-f.low), -far), far)
	return f.Min.Y + vg.Length(at)*(f.Max.Y-f.Min.Y)
}

// x places a fraction of the width.
func (f frame) x(fraction float64) vg.Length { return f.Min.X + vg.Length(fraction)*(f.Max.X-f.Min.X) }

// grid draws the horizontal lines and their labels, in the left margin.
func (p *pen) grid(f frame) {
	label := p.style(sizeTick, false, p.muted, text.XRight, text.YCenter)
	for _, t := range niceTicks(f.low, f.high, 5) {
		p.StrokeLine2(line(p.palette.grid, widthGrid), f.Min.X, f.y(t.at), f.Max.X, f.y(t.at))
		p.write(label, f.Min.X-4, f.y(t.at), t.label)
	}
}

// spread shows as many labels as fit: the wanted first, then the others in order. It returns which are shown.
func spread(centres, widths []vg.Length, first []int) []bool {
	const air = 3
	shown := make([]bool, len(centres))
	order := slices.Clone(first)
	for i := range centres {
		order = append(order, i)
	}
	for _, i := range order {
		free := true
		for j := range centres {
			apart := (widths[i]+widths[j])/2 + air
			if shown[j] && j != i && centres[i]-centres[j] < apart && centres[j]-centres[i] < apart {
				free = false
				break
			}
		}
		shown[i] = shown[i] || free
	}
	return shown
}
