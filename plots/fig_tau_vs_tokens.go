package plots

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// TauVsTokens draws how AdamW's time-scale at the best weight decay moves with the tokens per parameter, by the loss of the base models
// and by what they become: each optimum with its bootstrapped 95 % interval over seeds, and the power law through them.
func TauVsTokens(s *Set) Figure {
	all := s.laws()
	drawn := all[:min(len(all), maxPanels)]
	f := Figure{
		Name: "tau-vs-tokens", Title: "Time-scale of the best weight decay against tokens per parameter",
		Caption: lawCaption(drawn), Notes: lawNotes(s, drawn), Points: lawPoints(drawn),
	}
	if hidden := len(all) - len(drawn); hidden > 0 {
		f.Notes = append(f.Notes, plural(hidden, "further model")+" not drawn here; report.json has them.")
	}
	parts := []string{"AdamW's time-scale at the best weight decay against tokens per parameter, both on logarithmic axes."}
	var summary []string
	for _, l := range drawn {
		for way := range wayCount {
			if text := l.inWords(way); text != "" {
				parts = append(parts, l.title+": "+text)
				if len(drawn) == 1 {
					summary = append(summary, text)
				}
			}
		}
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = lawSheet(drawn, footer{summary: summary, caption: f.Caption, notes: f.Notes})
	return f
}

// lawSheet lays the panels out above the footer, one a row.
func lawSheet(all []*law, foot footer) sheet {
	const (
		width = singleWidth
		head  = sizeTitle*1.6 + sizeTick*1.45*wayCount + 6
		row   = head + plotHeight + under
	)
	rows := max(1, len(all))
	footHeight := foot.height(&pen{palette: newPalette(), fonts: newFonts()}, width-2*margin)
	height := 2*margin + vg.Length(rows)*row + vg.Length(rows-1)*panelGap + footHeight
	return sheet{width: width, height: height, draw: func(p *pen) {
		top := height - margin
		for _, l := range all {
			l.draw(p, vg.Rectangle{Min: vg.Point{X: margin, Y: top - head - plotHeight}, Max: vg.Point{X: width - margin, Y: top - head}})
			top -= row + panelGap
		}
		if len(all) == 0 {
			s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(s, width/2, top-row/2, "There are no settings that differ in tokens per parameter alone.")
		}
		foot.draw(p, margin+footHeight, width-2*margin)
	}}
}

// logSpan is the range of an axis in logarithms, with air.
func logSpan(values []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = math.Min(low, math.Log10(v)), math.Max(high, math.Log10(v))
	}
	pad := math.Max(0.12*(high-low), 0.08)
	return low - pad, high + pad
}

// logTicks marks 1, 2 and 5 times the powers of ten within a range of logarithms; fewer in a long range, more in a short one.
func logTicks(low, high float64) []tick {
	steps := []float64{1, 2, 5}
	switch decades := high - low; {
	case decades > 3:
		steps = steps[:1]
	case decades < 0.8:
		steps = []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8}
	}
	var out []tick
	for e := math.Floor(low); e <= high; e++ {
		for _, m := range steps {
			if at := e + math.Log10(m); at >= low && at <= high {
				v, err := strconv.ParseFloat(fmt.Sprintf("%ge%g", m, e), 64)
				if err == nil {
					out = append(out, tick{at, number(v)})
				}
			}
		}
	}
	return out
}

// draw draws the panel into the box, which has the space of its title above.
func (l *law) draw(p *pen, box vg.Rectangle) {
	var x, y []float64
	for _, optima := range l.optima {
		for _, o := range optima {
			x, y = append(x, o.tpp), append(y, o.tau)
			if finite(o.low) {
				y = append(y, o.low, o.high)
			}
		}
	}
	title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
	left := box.Min.X + 46
	p.write(title, left, box.Max.Y+sizeTick*1.45*wayCount+8, p.fit(title, box.Max.X-left, l.title))
	if len(x) == 0 {
		s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
		p.write(s, (box.Min.X+box.Max.X)/2, (box.Min.Y+box.Max.Y)/2, "no weight decay above zero has a result")
		return
	}
	from, to := logSpan(x)
	low, high := logSpan(y)
	f := frame{Rectangle: box, low: low, high: high}
	f.Min.X = left
	f.Max.X -= 4
	place := func(tpp float64) vg.Length { return f.x((math.Log10(tpp) - from) / (to - from)) }
	label := p.style(sizeTick, false, p.muted, text.XRight, text.YCenter)
	for _, t := range logTicks(low, high) {
		p.StrokeLine2(line(p.palette.grid, widthGrid), f.Min.X, f.y(t.at), f.Max.X, f.y(t.at))
		p.write(label, f.Min.X-4, f.y(t.at), t.label)
	}
	p.StrokeLine2(line(p.axis, widthAxis), f.Min.X, f.Min.Y, f.Max.X, f.Min.Y)
	below := p.style(sizeTick, false, p.muted, text.XCenter, text.YTop)
	for _, t := range logTicks(from, to) {
		at := f.x((t.at - from) / (to - from))
		p.StrokeLine2(line(p.axis, widthAxis), at, f.Min.Y, at, f.Min.Y-tickLength)
		p.write(below, at, f.Min.Y-tickLength-2, t.label)
	}
	p.write(p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop), (f.Min.X+f.Max.X)/2, f.Min.Y-tickLength-14, "tokens per parameter")
	side := p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop)
	side.Rotation = math.Pi / 2
	p.write(side, box.Min.X, (f.Min.Y+f.Max.Y)/2, "τ of the best weight decay")
	for way := range wayCount {
		l.drawWay(p, f, way, place)
	}
}

// drawWay draws the optima of one way, its law and its entry of the legend.
func (l *law) drawWay(p *pen, f frame, way int, place func(tpp float64) vg.Length) {
	c, fit, optima := p.of(way), l.fits[way], l.optima[way]
	if len(optima) == 0 {
		return
	}
	name := ways()[way]
	if finite(fit.exponent) {
		first, last := optima[0].tpp, optima[len(optima)-1].tpp
		p.polyline(line(c, widthCurve), f.Rectangle, []vg.Point{
			{X: place(first), Y: f.y(math.Log10(fit.at(first)))}, {X: place(last), Y: f.y(math.Log10(fit.at(last)))},
		})
		name += fmt.Sprintf(": τ = %s · TPP^%s", short(rounded(fit.factor, 2)), two(fit.exponent))
		if finite(fit.low) {
			name += fmt.Sprintf(" (%s to %s)", two(fit.low), two(fit.high))
		}
	}
	shift := vg.Length(2*way-1) * 2 // intervals at the same place would hide each other
	style := p.style(sizeSmall, false, c, text.XLeft, text.YCenter)
	if way == byLoss {
		style.XAlign = text.XRight
	}
	for _, o := range optima {
		x, y := place(o.tpp)+shift, f.y(math.Log10(o.tau))
		if finite(o.low) {
			p.interval(f, math.Log10(o.low), math.Log10(o.high), x, smallCap, line(c, widthAxis))
		}
		p.disc(x, y, radiusMean, c)
		if o.edge {
			p.dot(x, y, radiusMean-widthBar, p.paper)
		}
		p.write(style, x+vg.Length(2*way-1)*5, y+vg.Length(2*way-1)*6, "λ "+lambda(rounded(o.decay, 2))) // beside bar and line
	}
	y := f.Max.Y + 4 + sizeTick*1.45*(wayCount-1-vg.Length(way)) + sizeTick/2
	p.StrokeLine2(line(c, widthMean), f.Min.X, y, f.Min.X+14, y)
	p.write(p.style(sizeTick, false, p.ink, text.XLeft, text.YCenter), f.Min.X+18, y, name)
}

// lawCaption says what was drawn from what.
func lawCaption(drawn []*law) string {
	text := "τ = B/(lr·λ·D) is AdamW's time-scale in units of the run. The best λ is the vertex of a parabola in log λ through the best mean over seeds " +
		"and its two neighbours. Bars: 95 % intervals of a bootstrap over seeds. Hollow: the best is the smallest or largest decay tried, " +
		"so the optimum may lie beyond, and the law, a line through the others, leaves it out."
	recipes := map[string]bool{}
	var names []string
	for _, l := range drawn {
		for _, o := range l.optima[byTuning] {
			if !recipes[o.recipe] {
				recipes[o.recipe] = true
				names = append(names, o.recipe)
			}
		}
	}
	if len(names) > 0 {
		text += " Response loss: mean over tasks"
		if recipe := listed(names); recipe != "" {
			text += ", recipe " + recipe
		}
		text += "."
	}
	settings := lawSettings(drawn)
	if counts := seedCounts(settings); counts != "" {
		text += " Base models: " + counts + "."
	}
	if len(settings) > 0 {
		text += " " + strings.Join(provenance(settings), " ")
	}
	return text
}

// lawSettings are those whose optima by the loss are drawn.
func lawSettings(drawn []*law) []*setting {
	var settings []*setting
	for _, l := range drawn {
		for _, o := range l.optima[byLoss] {
			settings = append(settings, o.setting)
		}
	}
	return settings
}

// lawNotes says what is missing or doubtful.
func lawNotes(s *Set, drawn []*law) []string {
	settings := lawSettings(drawn)
	return append(runNotes(s, settings, ""), seedNotes(settings)...)
}

// lawPoints lists what is drawn.
func lawPoints(drawn []*law) Table {
	t := Table{Columns: []string{"setting", "by", "recipe", "tokens per parameter", "tau", "tau low", "tau high", "weight decay", "at the edge", "seeds", "exponent", "runs"}}
	for _, l := range drawn {
		for way := range wayCount {
			for _, o := range l.optima[way] {
				t.Rows = append(t.Rows, []string{
					l.title, ways()[way], o.recipe, plain(o.tpp), plain(o.tau), plain(o.low), plain(o.high), plain(o.decay),
					strconv.FormatBool(o.edge), strconv.Itoa(o.seeds), plain(l.fits[way].exponent), o.ids,
				})
			}
		}
	}
	return t
}
