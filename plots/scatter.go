package plots

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// scatterSide is the space left of the data area of a scatter: ticks and label.
const scatterSide = 40 * vg.Length(1)

// scatterAxes name what a scatter shows.
type scatterAxes struct{ x, y string }

// pointRange is what the two axes of a scatter show.
type pointRange struct {
	lowX, highX, lowY, highY float64
	cut                      bool
}

// pointRange fits the axes to the base runs, without those that a decay has ruined.
func (q paired) pointRange() pointRange {
	var x, y []float64
	for _, p := range q.points {
		x, y = append(x, p.x), append(y, p.y)
	}
	return fitPoints(x, y, levelMeans(q.x), levelMeans(q.y))
}

// meanRange fits the axes to the means, with room for their labels.
func (q paired) meanRange() pointRange {
	x, y := levelMeans(q.x), levelMeans(q.y)
	r := fitPoints(x, y, x, y)
	padX, padY := 0.06*(r.highX-r.lowX), 0.07*(r.highY-r.lowY)
	r.highX, r.highY = r.highX+padX, r.highY+padY
	return r
}

func fitPoints(x, y, meansX, meansY []float64) pointRange {
	var r pointRange
	var cutX, cutY bool
	r.lowX, r.highX, cutX = fitInside(x, meansX)
	r.lowY, r.highY, cutY = fitInside(y, meansY)
	r.cut = cutX || cutY
	return r
}

// fitInside fits an axis to the values that do not lie beyond the means by many times the span of their lower three quarters.
func fitInside(values, means []float64) (low, high float64, cut bool) {
	const times = 8
	means = slices.Sorted(slices.Values(means))
	limit := math.Inf(1)
	if n := len(means); n >= 4 {
		if upper := means[(3*n-1)/4]; upper > means[0] {
			limit = means[0] + times*(upper-means[0])
		}
	}
	inside := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v > limit })
	low, high, _ = fitLosses(inside, inside, nil, math.Inf(1))
	return low, high, len(inside) < len(values)
}

// place puts a point into the frame, at its edge if it lies beyond.
func (r pointRange) place(f frame, x, y float64) vg.Point {
	at := math.Min(math.Max((x-r.lowX)/(r.highX-r.lowX), 0), 1)
	return vg.Point{X: f.x(at), Y: f.y(math.Min(math.Max(y, r.lowY), r.highY))}
}

// beyond tells whether a point lies outside.
func (r pointRange) beyond(x, y float64) bool { return x > r.highX || y > r.highY }

// mark draws a point: a disc, or at the edge a triangle that points to where it lies.
func (r pointRange) mark(p *pen, f frame, x, y float64, radius vg.Length, c color.NRGBA) {
	at := r.place(f, x, y)
	switch {
	case x > r.highX:
		p.FillPolygon(c, []vg.Point{{X: at.X - radius, Y: at.Y - radius}, {X: at.X + radius, Y: at.Y}, {X: at.X - radius, Y: at.Y + radius}})
	case y > r.highY:
		p.upward(at.X, at.Y, radius, c)
	default:
		p.disc(at.X, at.Y, radius, c)
	}
}

// axes draws grid, horizontal axis and the names of both.
func (r pointRange) axes(p *pen, f frame, names scatterAxes) {
	p.grid(f)
	p.StrokeLine2(line(p.axis, widthAxis), f.Min.X, f.Min.Y, f.Max.X, f.Min.Y)
	s := p.style(sizeTick, false, p.muted, text.XCenter, text.YTop)
	for _, t := range niceTicks(r.lowX, r.highX, 5) {
		x := f.x((t.at - r.lowX) / (r.highX - r.lowX))
		p.StrokeLine2(line(p.axis, widthAxis), x, f.Min.Y, x, f.Min.Y-tickLength)
		p.write(s, x, f.Min.Y-tickLength-2, t.label)
	}
	name := p.style(sizeSmall, false, p.ink, text.XCenter, text.YTop)
	p.write(name, (f.Min.X+f.Max.X)/2, f.Min.Y-tickLength-14, names.x)
	name.Rotation = math.Pi / 2
	p.write(name, f.Min.X-scatterSide+1, (f.Min.Y+f.Max.Y)/2, names.y)
}

// drawRuns draws every base run and, where decays have several seeds, their means, coloured by weight decay.
func (q paired) drawRuns(p *pen, box vg.Rectangle, names scatterAxes) {
	r := q.pointRange()
	f := frame{Rectangle: box, low: r.lowY, high: r.highY}
	r.axes(p, f, names)
	q.drawSeeds(p, f, r)
	decays := q.decays()
	for i := range slices.Backward(q.x) {
		if q.x[i].N > 1 {
			r.mark(p, f, q.x[i].Mean, q.y[i].Mean, radiusMean, p.decayColour(decays, q.x[i].decay))
		}
	}
}

// drawSeeds draws every base run.
func (q paired) drawSeeds(p *pen, f frame, r pointRange) {
	decays := q.decays()
	for _, point := range q.points {
		r.mark(p, f, point.x, point.y, radiusSeed, p.over(p.decayColour(decays, point.base.decay()), 0.6))
	}
}

// drawFront draws the means, those on the Pareto front joined and filled, one of them ringed unless it is −1, with the decays of the front.
func (q paired) drawFront(p *pen, f frame, r pointRange, front []int, ringed int) {
	var path []vg.Point
	onFront := map[int]bool{}
	for _, i := range front {
		onFront[i] = true
		path = append(path, r.place(f, q.x[i].Mean, q.y[i].Mean))
	}
	p.polyline(line(p.muted, widthCurve), f.Rectangle, path)
	decays := q.decays()
	var taken []vg.Rectangle
	for i := range q.x {
		at := r.place(f, q.x[i].Mean, q.y[i].Mean)
		r.mark(p, f, q.x[i].Mean, q.y[i].Mean, radiusMean, p.decayColour(decays, q.x[i].decay))
		if !onFront[i] && !r.beyond(q.x[i].Mean, q.y[i].Mean) {
			p.dot(at.X, at.Y, radiusMean-1, p.paper)
		}
		around := radiusMean + 0.5
		if i == ringed {
			p.ring(at.X, at.Y, radiusBest, widthCurve, p.ink)
			around = radiusBest
		}
		taken = append(taken, vg.Rectangle{Min: vg.Point{X: at.X - around, Y: at.Y - around}, Max: vg.Point{X: at.X + around, Y: at.Y + around}})
	}
	if ringed >= 0 {
		taken = p.labelPoint(f, r.place(f, q.x[ringed].Mean, q.y[ringed].Mean), "λ = "+lambda(q.x[ringed].decay), true, taken)
	}
	for _, i := range front {
		if i != ringed {
			taken = p.labelPoint(f, r.place(f, q.x[i].Mean, q.y[i].Mean), lambda(q.x[i].decay), false, taken)
		}
	}
}

// labelPoint writes beside a point where nothing else stands; without such a place it is left to the legend.
func (p *pen) labelPoint(f frame, at vg.Point, label string, bold bool, taken []vg.Rectangle) []vg.Rectangle {
	s := p.style(sizeTick, bold, p.ink, text.XLeft, text.YBottom)
	w, h := s.Width(label), sizeTick*0.8
	const away = radiusBest + 1
	for _, corner := range []vg.Point{
		{X: at.X + away, Y: at.Y + 1},
		{X: at.X - away - w, Y: at.Y - h - 1},
		{X: at.X + away, Y: at.Y - h - 1},
		{X: at.X - away - w, Y: at.Y + 1},
		{X: at.X - w/2, Y: at.Y + away},
		{X: at.X - w/2, Y: at.Y - away - h},
	} {
		box := vg.Rectangle{Min: corner, Max: vg.Point{X: corner.X + w, Y: corner.Y + h}}
		inside := box.Min.X >= f.Min.X && box.Max.X <= f.Max.X+2 && box.Min.Y >= f.Min.Y && box.Max.Y <= f.Max.Y
		if !inside || slices.ContainsFunc(taken, func(other vg.Rectangle) bool { return overlap(box, other) }) {
			continue
		}
		p.write(s, corner.X, corner.Y, label)
		return append(taken, box)
	}
	return taken
}

func overlap(a, b vg.Rectangle) bool {
	return a.Min.X < b.Max.X && b.Min.X < a.Max.X && a.Min.Y < b.Max.Y && b.Min.Y < a.Max.Y
}
