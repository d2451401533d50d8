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
	if slices.ContainsFunc(all, func(t *tradeoff) bool { return t.pointRange().cut }) {
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
	tradeLegend = 46 * vg.Length(1)
	tradeCell   = tunedHead + tunedName + tradePlot + under
)

// tradeAxes name the axes of its scatters.
func tradeAxes() scatterAxes {
	return scatterAxes{"base validation loss (nats per token)", "response loss after fine-tuning"}
}

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
		box := vg.Rectangle{Min: vg.Point{X: at + scatterSide, Y: top - tradePlot}, Max: vg.Point{X: at + w - 6, Y: top}}
		head := p.style(sizeLabel, true, p.ink, text.XLeft, text.YBottom)
		p.write(head, box.Min.X, top+3, p.fit(head, w, heads[i]))
		switch {
		case i == 0 && len(t.points) == 0:
			p.missing(box, "a result on every task")
		case i == 0:
			t.drawRuns(p, box, tradeAxes())
		case i == 1:
			t.drawOptima(p, box)
		default:
			t.drawMeans(p, box)
		}
		at += w
	}
	if decays := t.decays(); len(decays) > 0 {
		p.legend(decays, left+width-tradeLegend+8, top)
	}
}

// missing says what is missing for there to be something to draw.
func (p *pen) missing(box vg.Rectangle, what string) {
	s := p.style(sizeSmall, false, p.muted, text.XCenter, text.YCenter)
	x, y := (box.Min.X+box.Max.X)/2, (box.Min.Y+box.Max.Y)/2
	p.write(s, x, y+sizeSmall*0.65, "missing:")
	p.write(s, x, y-sizeSmall*0.65, p.fit(s, box.Max.X-box.Min.X+8, what))
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
	p.write(name, box.Min.X-scatterSide+8, (box.Min.Y+box.Max.Y)/2, "best in % of samples")
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

// drawMeans draws panel (c).
func (t *tradeoff) drawMeans(p *pen, box vg.Rectangle) {
	if len(t.x) < 2 {
		p.missing(box, "two weight decays")
		return
	}
	r := t.meanRange()
	f := frame{Rectangle: box, low: r.lowY, high: r.highY}
	lowest := slices.Min(levelMeans(t.x))
	left, right := r.place(f, lowest, r.lowY).X, r.place(f, lowest+lossTolerance*math.Abs(lowest), r.lowY).X
	p.FillPolygon(p.over(p.zero, 0.16), []vg.Point{{X: left, Y: f.Min.Y}, {X: right, Y: f.Min.Y}, {X: right, Y: f.Max.Y}, {X: left, Y: f.Max.Y}})
	r.axes(p, f, tradeAxes())
	t.drawFront(p, f, r, t.front, t.recommended)
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
				title, "base run", plain(p.base.decay()), p.base.seed, plain(p.x), plain(p.y), "1", "", "", "", "", "", l.ids(), p.base.Info.ID,
			})
		}
		for i := range o.x {
			t.Rows = append(t.Rows, []string{
				title, "mean", plain(o.x[i].decay), "", plain(o.x[i].Mean), plain(o.y[i].Mean), strconv.Itoa(o.x[i].N),
				plain(share(o.lossWins, i)), plain(share(o.afterWins, i)), plain(share(o.recommendWins, i)),
				strconv.FormatBool(slices.Contains(o.front, i)), strconv.FormatBool(i == o.recommended), o.y[i].ids(), o.x[i].ids(),
			})
		}
	}
	return t
}
