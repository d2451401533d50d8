package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// LossVsPlasticity draws figure 3 of the paper and what follows from it, for each setting: (a) base validation loss against the response
// loss after fine-tuning, a point for each base run; (b) how often the bootstrap over seeds finds each decay optimal for the one and for
// the other; (c) the means over seeds with their Pareto front and the decay to recommend.
func LossVsPlasticity(s *Set) Figure {
	drawn := s.down[:min(len(s.down), maxGroups)]
	var all []*tradeoff
	for _, d := range drawn {
		all = append(all, newTradeoff(d))
	}
	f := Figure{
		Name: "loss-vs-plasticity", Title: "Validation loss of base models against results after fine-tuning",
		Caption: tradeoffCaption(all), Notes: s.tunedNotes(drawn, ""), Points: tradeoffPoints(all), Alt: tradeoffAlt(all),
	}
	if hidden := len(s.down) - len(drawn); hidden > 0 {
		f.Notes = append(f.Notes, plural(hidden, "further setting")+" not drawn here; report.json has them.")
	}
	var summary []string
	for _, t := range all {
		text := t.inWords(3)
		if len(all) > 1 {
			text = t.d.base.fullTitle() + ". " + text
		}
		summary = append(summary, text)
	}
	f.sheet = tradeoffSheet(all, footer{summary: summary, caption: f.Caption, notes: f.Notes})
	return f
}

// tradeoffCaption says what the panels show.
func tradeoffCaption(all []*tradeoff) string {
	if len(all) == 0 {
		return ""
	}
	var drawn []*downstream
	var recipes []string
	for _, t := range all {
		drawn = append(drawn, t.d)
		recipes = append(recipes, t.d.recipes[t.d.fixed].label)
	}
	parts := []string{
		"Downstream: response loss after fine-tuning by the fixed recipe (" + listed(recipes) + "), averaged over tasks; lower is better.",
		"(a) Small dots: base runs; large: means over seeds" + tunedSeeds(drawn) + ". Correlations are Pearson's r and Spearman's ρ over base runs.",
		fmt.Sprintf("(b) Share of %d bootstrap samples of seeds (fixed seed, the same seeds for every λ) in which each λ is best; few seeds make it coarse.", bootstrapRounds),
		fmt.Sprintf("(c) Means; joined: the Pareto front; shaded: within %g %% of the lowest loss; ringed: recommended.", 100*lossTolerance),
		"Equal base loss: the 95 % interval of the difference paired by seed contains zero; intervals are not corrected for the number of pairs.",
	}
	if slices.ContainsFunc(all, func(t *tradeoff) bool { return newRange(t).cut }) {
		parts = append(parts, "Triangles at an edge: points beyond the axis.")
	}
	return strings.Join(append(parts, tunedProvenance(drawn)...), " ")
}

// tradeoffAlt describes the picture.
func tradeoffAlt(all []*tradeoff) string {
	parts := []string{"Validation loss of base models against response loss after fine-tuning, coloured by weight decay; bootstrap shares of the optimal decays; Pareto front."}
	for _, t := range all {
		parts = append(parts, t.d.base.fullTitle()+". "+t.inWords(1))
	}
	return strings.Join(parts, " ")
}

// Lengths of this figure.
const (
	tradePlot   = 2.05 * vg.Inch
	tradeSide   = 40 * vg.Length(1) // left of a data area: ticks and label
	tradeLegend = 46 * vg.Length(1)
	tradeCell   = tunedHead + tunedName + tradePlot + under
)

// tradeoffSheet lays a row of three panels a setting above the footer.
func tradeoffSheet(all []*tradeoff, foot footer) sheet {
	const width = doubleWidth
	inner := vg.Length(width - 2*margin)
	footHeight := foot.height(&pen{palette: newPalette(), fonts: newFonts()}, inner)
	rows := max(len(all), 1)
	height := 2*margin + vg.Length(rows)*tradeCell + footHeight
	return sheet{width: width, height: height, draw: func(p *pen) {
		top := height - margin
		if len(all) == 0 {
			s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(s, width/2, top-tradeCell/2, "There are no fine-tuned runs of base models in this set to draw.")
		}
		for _, t := range all {
			t.draw(p, margin, top, inner)
			top -= tradeCell
		}
		foot.draw(p, margin+footHeight, inner)
	}}
}

// draw draws the row of a setting.
func (t *tradeoff) draw(p *pen, left, top, width vg.Length) {
	title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
	p.write(title, left, top-sizeTitle*1.1, p.fit(title, width, t.d.base.fullTitle()))
	top -= tunedHead + tunedName
	area := width - tradeLegend
	cells := []vg.Length{area * 0.36, area * 0.28, area * 0.36}
	heads := []string{"(a) base runs", "(b) optimal λ", "(c) means and front"}
	at := left
	for i, w := range cells {
		box := vg.Rectangle{Min: vg.Point{X: at + tradeSide, Y: top - tradePlot}, Max: vg.Point{X: at + w - 6, Y: top}}
		head := p.style(sizeLabel, true, p.ink, text.XLeft, text.YBottom)
		p.write(head, box.Min.X, top+3, p.fit(head, w, heads[i]))
		switch i {
		case 0:
			t.drawRuns(p, box)
		case 1:
			t.drawOptima(p, box)
		default:
			t.drawFront(p, box)
		}
		at += w
	}
	if decays := t.decays(); len(decays) > 0 {
		p.legend(decays, left+width-tradeLegend+8, top)
	}
}

// decays lists the weight decays that are drawn, ascending.
func (t *tradeoff) decays() []float64 {
	var out []float64
	for _, l := range t.loss {
		out = append(out, l.decay)
	}
	return out
}

// tradeRange is what the two axes of a panel show.
type tradeRange struct {
	lowX, highX, lowY, highY float64
	cut                      bool
}

// newRange fits the axes to the base runs, without those that a decay has ruined.
func newRange(t *tradeoff) tradeRange {
	var x, y []float64
	for _, p := range t.points {
		x, y = append(x, p.loss), append(y, p.after)
	}
	return fitPoints(x, y, levelMeans(t.loss), levelMeans(t.after))
}

// meanRange fits the axes to the means, with room for their labels.
func meanRange(t *tradeoff) tradeRange {
	x, y := levelMeans(t.loss), levelMeans(t.after)
	r := fitPoints(x, y, x, y)
	padX, padY := 0.06*(r.highX-r.lowX), 0.07*(r.highY-r.lowY)
	r.highX, r.highY = r.highX+padX, r.highY+padY
	return r
}

func fitPoints(x, y, meansX, meansY []float64) tradeRange {
	var r tradeRange
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
func (r tradeRange) place(f frame, x, y float64) vg.Point {
	at := math.Min(math.Max((x-r.lowX)/(r.highX-r.lowX), 0), 1)
	return vg.Point{X: f.x(at), Y: f.y(math.Min(math.Max(y, r.lowY), r.highY))}
}

// beyond tells whether a point lies outside.
func (r tradeRange) beyond(x, y float64) bool { return x > r.highX || y > r.highY }

// mark draws a point: a disc, or at the edge a triangle that points to where it lies.
func (r tradeRange) mark(p *pen, f frame, x, y float64, radius vg.Length, c color.NRGBA) {
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
func (r tradeRange) axes(p *pen, f frame) {
	p.grid(f)
	p.StrokeLine2(line(p.axis, widthAxis), f.Min.X, f.Min.Y, f.Max.X, f.Min.Y)
	s := p.style(sizeTick, false, p.muted, text.XCenter, text.YTop)
	for _, t := range niceTicks(r.lowX, r.highX, 5) {
		x := f.x((t.at - r.lowX) / (r.highX - r.lowX))
		p.StrokeLine2(line(p.axis, widthAxis), x, f.Min.Y, x, f.Min.Y-tickLength)
		p.write(s, x, f.Min.Y-tickLength-2, t.label)
	}
	name := p.style(sizeSmall, false, p.ink, text.XCenter, text.YTop)
	p.write(name, (f.Min.X+f.Max.X)/2, f.Min.Y-tickLength-14, "base validation loss (nats per token)")
	name.Rotation = math.Pi / 2
	p.write(name, f.Min.X-tradeSide+1, (f.Min.Y+f.Max.Y)/2, "response loss after fine-tuning")
}

// missing says what is missing for there to be something to draw.
func (p *pen) missing(box vg.Rectangle, what string) {
	s := p.style(sizeSmall, false, p.muted, text.XCenter, text.YCenter)
	x, y := (box.Min.X+box.Max.X)/2, (box.Min.Y+box.Max.Y)/2
	p.write(s, x, y+sizeSmall*0.65, "missing:")
	p.write(s, x, y-sizeSmall*0.65, p.fit(s, box.Max.X-box.Min.X+8, what))
}

// drawRuns draws panel (a).
func (t *tradeoff) drawRuns(p *pen, box vg.Rectangle) {
	if len(t.points) == 0 {
		p.missing(box, "a result on every task")
		return
	}
	r := newRange(t)
	f := frame{Rectangle: box, low: r.lowY, high: r.highY}
	r.axes(p, f)
	decays := t.decays()
	for _, point := range t.points {
		r.mark(p, f, point.loss, point.after, radiusSeed, p.over(p.decayColour(decays, point.base.decay()), 0.6))
	}
	for i := range slices.Backward(t.loss) {
		if t.loss[i].N > 1 {
			r.mark(p, f, t.loss[i].Mean, t.after[i].Mean, radiusMean, p.decayColour(decays, t.loss[i].decay))
		}
	}
}

// drawOptima draws panel (b): two rows of bars.
func (t *tradeoff) drawOptima(p *pen, box vg.Rectangle) {
	if t.lossWins == nil {
		p.missing(box, "two seeds at every λ")
		return
	}
	decays := t.decays()
	const gap = 17 * vg.Length(1)
	height := (box.Max.Y - box.Min.Y - gap) / 2
	slot := (box.Max.X - box.Min.X) / vg.Length(len(decays))
	for row, wins := range [][]int{t.lossWins, t.afterWins} {
		bottom := box.Max.Y - height - vg.Length(row)*(height+gap)
		f := frame{Rectangle: vg.Rectangle{Min: vg.Point{X: box.Min.X, Y: bottom}, Max: vg.Point{X: box.Max.X, Y: bottom + height}}, low: 0, high: 128}
		label := p.style(sizeTick, false, p.muted, text.XRight, text.YCenter)
		for _, v := range []float64{0, 50, 100} {
			p.StrokeLine2(line(p.palette.grid, widthGrid), f.Min.X, f.y(v), f.Max.X, f.y(v))
			p.write(label, f.Min.X-4, f.y(v), strconv.Itoa(int(v)))
		}
		for i := range decays {
			p.bar(f, f.Min.X+slot*(vg.Length(i)+0.5), slot*0.36, 100*share(wins, i), p.decayColour(decays, decays[i]))
		}
		p.StrokeLine2(line(p.axis, widthAxis), f.Min.X, f.y(0), f.Max.X, f.y(0))
		name := p.style(sizeSmall, false, p.ink, text.XLeft, text.YTop)
		p.write(name, f.Min.X, f.Max.Y+sizeSmall*0.4, []string{"for the base loss", "after fine-tuning"}[row])
	}
	most := measure{higher: true}
	labels, centres, widths := make([]string, len(decays)), make([]vg.Length, len(decays)), make([]vg.Length, len(decays))
	s := p.style(sizeSmall, false, p.muted, text.XCenter, text.YTop)
	for i, d := range decays {
		labels[i], centres[i] = lambda(d), box.Min.X+slot*(vg.Length(i)+0.5)
		widths[i] = s.Width(labels[i])
	}
	for i, show := range spread(centres, widths, []int{bestOf(shares(t.lossWins), most), bestOf(shares(t.afterWins), most), 0, len(decays) - 1}) {
		if show {
			p.write(s, centres[i], box.Min.Y-tickLength-2, labels[i])
		}
	}
	name := p.style(sizeSmall, false, p.ink, text.XCenter, text.YTop)
	p.write(name, (box.Min.X+box.Max.X)/2, box.Min.Y-tickLength-14, "weight decay λ")
	name.Rotation = math.Pi / 2
	p.write(name, box.Min.X-tradeSide+8, (box.Min.Y+box.Max.Y)/2, "best in % of samples")
}

// bar fills a bar and writes its value above it.
func (p *pen) bar(f frame, x, half vg.Length, v float64, c color.NRGBA) {
	if v <= 0 {
		return
	}
	p.FillPolygon(c, []vg.Point{{X: x - half, Y: f.y(0)}, {X: x + half, Y: f.y(0)}, {X: x + half, Y: f.y(v)}, {X: x - half, Y: f.y(v)}})
	if v >= 1 {
		p.write(p.style(sizeSmall*0.92, false, p.ink, text.XCenter, text.YBottom), x, f.y(v)+1.2, fmt.Sprintf("%.0f", v))
	}
}

// drawFront draws panel (c).
func (t *tradeoff) drawFront(p *pen, box vg.Rectangle) {
	if len(t.loss) < 2 {
		p.missing(box, "two weight decays")
		return
	}
	r := meanRange(t)
	f := frame{Rectangle: box, low: r.lowY, high: r.highY}
	lowest := slices.Min(levelMeans(t.loss))
	left, right := r.place(f, lowest, r.lowY).X, r.place(f, lowest+lossTolerance*math.Abs(lowest), r.lowY).X
	p.FillPolygon(p.over(p.zero, 0.16), []vg.Point{{X: left, Y: f.Min.Y}, {X: right, Y: f.Min.Y}, {X: right, Y: f.Max.Y}, {X: left, Y: f.Max.Y}})
	r.axes(p, f)
	var path []vg.Point
	onFront := map[int]bool{}
	for _, i := range t.front {
		onFront[i] = true
		path = append(path, r.place(f, t.loss[i].Mean, t.after[i].Mean))
	}
	p.polyline(line(p.muted, widthCurve), f.Rectangle, path)
	decays := t.decays()
	var taken []vg.Rectangle
	for i := range t.loss {
		at := r.place(f, t.loss[i].Mean, t.after[i].Mean)
		c := p.decayColour(decays, t.loss[i].decay)
		r.mark(p, f, t.loss[i].Mean, t.after[i].Mean, radiusMean, c)
		if !onFront[i] && !r.beyond(t.loss[i].Mean, t.after[i].Mean) {
			p.dot(at.X, at.Y, radiusMean-1, p.paper)
		}
		around := radiusMean + 0.5
		if i == t.recommended {
			p.ring(at.X, at.Y, radiusBest, widthCurve, p.ink)
			around = radiusBest
		}
		taken = append(taken, vg.Rectangle{Min: vg.Point{X: at.X - around, Y: at.Y - around}, Max: vg.Point{X: at.X + around, Y: at.Y + around}})
	}
	order := append([]int{t.recommended}, t.front...)
	for n, i := range order {
		if n > 0 && i == t.recommended {
			continue
		}
		taken = t.labelFront(p, f, r, i, taken)
	}
}

// labelFront writes the decay beside a point where nothing else stands; without such a place it is left to the legend.
func (t *tradeoff) labelFront(p *pen, f frame, r tradeRange, i int, taken []vg.Rectangle) []vg.Rectangle {
	at := r.place(f, t.loss[i].Mean, t.after[i].Mean)
	s := p.style(sizeTick, i == t.recommended, p.ink, text.XLeft, text.YBottom)
	label := lambda(t.loss[i].decay)
	if i == t.recommended {
		label = "λ = " + label
	}
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

// tradeoffPoints lists what LossVsPlasticity draws, with the ids of the base and of the fine-tuned runs.
func tradeoffPoints(all []*tradeoff) Table {
	t := Table{Name: "loss-vs-plasticity", Columns: []string{
		"setting", "mark", "weight_decay", "seed", "base_validation_loss", "downstream_response_loss", "n", "share_loss_optimal",
		"share_downstream_optimal", "share_recommended", "pareto", "recommended", "run_ids", "base_ids",
	}}
	for _, o := range all {
		title := o.d.base.fullTitle()
		for _, p := range o.points {
			l := level{seeds: []seedLoss{{runs: p.runs}}}
			t.Rows = append(t.Rows, []string{
				title, "base run", plain(p.base.decay()), p.base.seed, plain(p.loss), plain(p.after), "1", "", "", "", "", "", l.ids(), p.base.Info.ID,
			})
		}
		for i := range o.loss {
			t.Rows = append(t.Rows, []string{
				title, "mean", plain(o.loss[i].decay), "", plain(o.loss[i].Mean), plain(o.after[i].Mean), strconv.Itoa(o.loss[i].N),
				plain(share(o.lossWins, i)), plain(share(o.afterWins, i)), plain(share(o.recommendWins, i)),
				strconv.FormatBool(slices.Contains(o.front, i)), strconv.FormatBool(i == o.recommended), o.after[i].ids(), o.loss[i].ids(),
			})
		}
	}
	return t
}
