package plots

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

const (
	maxCurveRows = 6  // settings of a figure; the CSV of metrics has the rest
	maxRaw       = 40 // runs of a panel whose unsmoothed loss is drawn as well
	maxDots      = 20 // evaluations of a run that have dots
	maxLegend    = 14 // entries
)

// curveRow is one setting of the training curves: training loss on the left, validation loss on the right.
type curveRow struct {
	title  string
	curves []curve
	raw    bool
}

// TrainingCurves draws training and validation loss against tokens, one line a run and one colour a weight decay: of base models, and in a
// set without any of fine-tuned ones.
func TrainingCurves(s *Set) Figure {
	settings, others := ofPretraining(s)
	tuned := len(s.members) == 0 && len(s.tuned) > 0
	if tuned {
		settings = ofFinetuning(s)
	}
	drawn := settings[:min(len(settings), maxCurveRows)]
	runs := 0
	for _, g := range drawn {
		runs += len(g.runs)
	}
	most := min(max(curvePoints/max(runs, 1), 60), 600)
	var rows []curveRow
	var decays []float64
	for _, g := range drawn {
		row := curveRow{title: g.fullTitle(), raw: len(g.runs) <= maxRaw}
		for _, l := range g.levels {
			decays = append(decays, l.decay)
		}
		for _, m := range g.runs {
			row.curves = append(row.curves, newCurve(m, most))
		}
		slices.SortStableFunc(row.curves, func(a, b curve) int { return compareDecay(a.decay, b.decay) })
		rows = append(rows, row)
	}
	slices.Sort(decays)
	decays = slices.Compact(decays)
	f := Figure{
		Name: "training-curves", Title: "Training and validation loss against tokens",
		Notes: curveNotes(s, settings, rows, others), Points: curvePointTable(rows), Alt: curveAlt(rows),
	}
	if len(rows) > 0 {
		caption := []string{fmt.Sprintf("Left: training loss, smoothed (exponential mean, half-life %g %% of training)", halfLife*100)}
		if slices.ContainsFunc(rows, func(r curveRow) bool { return r.raw }) {
			caption[0] += ", with the logged values behind in light"
		}
		caption[0] += ". Right: validation loss. One line a run; vertical axes leave out the first steps."
		if tuned {
			caption = append(caption, "Losses and tokens are those of the responses.")
		}
		f.Caption = strings.Join(append(caption, provenance(drawn)...), " ")
	}
	f.sheet = curveSheet(rows, decays, footer{caption: f.Caption, notes: f.Notes})
	return f
}

// ofFinetuning sorts fine-tuned runs into settings, each with its own faults alone: its base model need not be here.
func ofFinetuning(s *Set) []*setting {
	members := make([]*member, 0, len(s.tuned))
	for _, r := range s.tuned {
		members = append(members, newMember(r.Record))
	}
	settings := sortIntoSettings(members)
	for _, g := range settings {
		g.title += ", fine-tuned on " + clean(taskName(g.runs[0].Info), 40)
	}
	return settings
}

// compareDecay orders decays, the smallest on top of the drawing, that is last.
func compareDecay(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	default:
		return 0
	}
}

// decayColour is the colour of a weight decay: grey for 0, else along the ordered ramp.
func (p *pen) decayColour(decays []float64, decay float64) color.NRGBA {
	positive := decays
	if len(decays) > 0 && decays[0] == 0 {
		positive = decays[1:]
	}
	if decay == 0 || len(positive) == 0 {
		return p.zero
	}
	i, _ := slices.BinarySearch(positive, decay)
	if len(positive) == 1 {
		return p.along(0.4)
	}
	return p.along(float64(i) / float64(len(positive)-1))
}

// curveSheet lays out a row of two panels a setting, with one legend beside them.
func curveSheet(rows []curveRow, decays []float64, foot footer) sheet {
	const (
		width  = doubleWidth
		legend = 58 * vg.Length(1)
		above  = sizeTitle*1.6 + sizeLabel*1.5
		area   = plotHeight * 0.82
		cell   = above + area + under
	)
	measure := &pen{palette: newPalette(), fonts: newFonts()}
	footHeight := foot.height(measure, width-2*margin)
	n := max(len(rows), 1)
	height := 2*margin + vg.Length(n)*cell + vg.Length(n-1)*panelGap + footHeight
	return sheet{width: width, height: height, draw: func(p *pen) {
		top := height - margin
		cellWidth := (width - 2*margin - legend - panelGap) / 2
		for i, row := range rows {
			top := top - vg.Length(i)*(cell+panelGap)
			title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
			p.write(title, margin+40, top-sizeTitle, p.fit(title, width-2*margin-40, row.title))
			for side := range 2 {
				left := margin + vg.Length(side)*(cellWidth+panelGap)
				row.draw(p, side == 1, decays, vg.Rectangle{
					Min: vg.Point{X: left + 40, Y: top - cell + under}, Max: vg.Point{X: left + cellWidth, Y: top - above},
				})
			}
		}
		if len(rows) == 0 {
			s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(s, width/2, top-cell/2, "There are no pretraining runs to draw.")
		} else {
			p.legend(decays, width-margin-legend+14, top-above)
		}
		foot.draw(p, margin+footHeight, width-2*margin)
	}}
}

// legend lists the weight decays, at most maxLegend of them, evenly chosen.
func (p *pen) legend(decays []float64, left, top vg.Length) {
	head := p.style(sizeSmall, true, p.ink, text.XLeft, text.YCenter)
	p.write(head, left, top-4, "decay λ")
	shown := decays
	if len(decays) > maxLegend {
		shown = nil
		for i := range maxLegend {
			shown = append(shown, decays[i*(len(decays)-1)/(maxLegend-1)])
		}
	}
	style := p.style(sizeTick, false, p.ink, text.XLeft, text.YCenter)
	y := top - 4
	for _, d := range shown {
		y -= sizeTick * 1.45
		p.StrokeLine2(line(p.decayColour(decays, d), 2*widthCurve), left, y, left+14, y)
		p.write(style, left+18, y, lambda(d))
	}
	if len(shown) < len(decays) {
		s := p.style(sizeSmall, false, p.muted, text.XLeft, text.YCenter)
		p.write(s, left, y-sizeTick*1.5, fmt.Sprintf("%d of %d", len(shown), len(decays)))
	}
}

// draw draws one panel of a row.
func (r curveRow) draw(p *pen, validation bool, decays []float64, box vg.Rectangle) {
	f := frame{Rectangle: box}
	head, most := "training loss (nats per token)", int64(1)
	var ok bool
	losses := func(c curve) []sample { return c.loss }
	if validation {
		head = "validation loss (nats per token)"
		f.low, f.high, ok = curveRange(r.curves, func(c curve) []sample { return c.validation }, func(s sample) float64 { return s.value }, 0.2)
	} else {
		f.low, f.high, ok = curveRange(r.curves, losses, func(s sample) float64 { return s.smooth }, 0.1)
	}
	for _, c := range r.curves {
		most = max(most, c.Info.Tokens)
		for _, s := range append(slices.Clone(c.loss), c.validation...) {
			most = max(most, s.tokens)
		}
	}
	p.write(p.style(sizeLabel, false, p.ink, text.XLeft, text.YBottom), f.Min.X, f.Max.Y+5, head)
	p.tokenAxis(f, most)
	if !ok {
		s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
		p.write(s, (f.Min.X+f.Max.X)/2, (f.Min.Y+f.Max.Y)/2, "nothing logged yet")
		return
	}
	p.grid(f)
	at := func(tokens int64, v float64) vg.Point {
		return vg.Point{X: f.x(float64(tokens) / float64(most)), Y: f.y(v)}
	}
	if validation {
		r.drawValidation(p, f, decays, at)
		return
	}
	r.drawLoss(p, f, decays, at)
}

// tokenAxis draws the horizontal axis.
func (p *pen) tokenAxis(f frame, most int64) {
	p.StrokeLine2(line(p.axis, widthAxis), f.Min.X, f.Min.Y, f.Max.X, f.Min.Y)
	s := p.style(sizeTick, false, p.muted, text.XCenter, text.YTop)
	for _, t := range niceTicks(0, float64(most), 4) {
		x := f.x(t.at / float64(most))
		p.StrokeLine2(line(p.axis, widthAxis), x, f.Min.Y, x, f.Min.Y-tickLength)
		p.write(s, x, f.Min.Y-tickLength-2, count(int64(t.at)))
	}
	p.write(p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop), (f.Min.X+f.Max.X)/2, f.Min.Y-tickLength-14, "tokens")
}

// drawLoss draws the training loss: logged values behind, smoothed ones in front, and above all lines how runs ended.
func (r curveRow) drawLoss(p *pen, f frame, decays []float64, at func(int64, float64) vg.Point) {
	path := func(c curve, value func(sample) float64) []vg.Point {
		points := make([]vg.Point, len(c.loss))
		for i, s := range c.loss {
			points[i] = at(s.tokens, value(s))
		}
		return points
	}
	if r.raw {
		for _, c := range r.curves {
			colour := p.over(p.decayColour(decays, c.decay), alphaRaw)
			p.polyline(line(colour, widthRaw), f.Rectangle, path(c, func(s sample) float64 { return s.value }))
		}
	}
	smoothed := func(s sample) float64 { return s.smooth }
	for _, c := range r.curves {
		p.polyline(line(p.decayColour(decays, c.decay), widthCurve), f.Rectangle, path(c, smoothed))
	}
	for _, c := range r.curves {
		if n := len(c.loss); n > 0 {
			r.drawEnd(p, f, c, at(c.loss[n-1].tokens, c.loss[n-1].smooth), p.decayColour(decays, c.decay))
		}
	}
}

// drawEnd marks a run of one point, and one that ended without finishing.
func (r curveRow) drawEnd(p *pen, f frame, c curve, last vg.Point, colour color.NRGBA) {
	last.Y = min(max(last.Y, f.Min.Y), f.Max.Y-radiusFail)
	if len(c.loss) == 1 {
		p.disc(last.X, last.Y, radiusSeed, colour)
	}
	if c.diverged || !c.counts() {
		p.cross(last.X, last.Y, radiusFail, p.alarm)
	}
}

// drawValidation draws the validation losses as dots on a line.
func (r curveRow) drawValidation(p *pen, f frame, decays []float64, at func(int64, float64) vg.Point) {
	for _, c := range r.curves {
		colour := p.decayColour(decays, c.decay)
		var points []vg.Point
		for _, s := range c.validation {
			points = append(points, at(s.tokens, s.value))
		}
		p.polyline(line(colour, widthCurve*0.8), f.Rectangle, points)
		if len(points) > maxDots {
			continue
		}
		for _, point := range points {
			if point.Y <= f.Max.Y && point.Y >= f.Min.Y {
				p.dot(point.X, point.Y, radiusEval, colour)
			}
		}
	}
}

// curveAlt describes the picture.
func curveAlt(rows []curveRow) string {
	parts := []string{"Training and validation loss against tokens, one line a run, coloured by weight decay."}
	for _, r := range rows {
		parts = append(parts, fmt.Sprintf("%s: %s.", r.title, plural(len(r.curves), "run")))
	}
	return strings.Join(parts, " ")
}

// curveNotes says what is missing or doubtful.
func curveNotes(s *Set, settings []*setting, rows []curveRow, others int) []string {
	notes := runNotes(s, settings, crossed)
	if hidden := len(settings) - len(rows); hidden > 0 {
		notes = append(notes, plural(hidden, "further setting")+" not drawn here; the table has them.")
	}
	var empty, broken, tangled []string
	for _, r := range rows {
		if !r.raw {
			notes = append(notes, fmt.Sprintf("%s: logged values left out behind the smoothed ones (%d runs).", r.title, len(r.curves)))
		}
		for _, c := range r.curves {
			switch {
			case len(c.Metrics) == 0:
				empty = append(empty, c.name())
			case c.nonFinite > 0:
				broken = append(broken, fmt.Sprintf("%s (%d of %d)", c.name(), c.nonFinite, len(c.Metrics)))
			case c.noTokenAxis:
				tangled = append(tangled, c.name())
			}
		}
	}
	for _, n := range []struct {
		runs []string
		text string
	}{
		{empty, "nothing logged by "},
		{broken, "logged losses that are not finite are left out: "},
		{tangled, "token counts that fall from step to step in "},
	} {
		if len(n.runs) > 0 {
			notes = append(notes, n.text+listed(n.runs)+".")
		}
	}
	if others > 0 {
		notes = append(notes, plural(others, "run")+" of another kind than pretraining not drawn here.")
	}
	return notes
}

// curvePointTable lists what TrainingCurves draws.
func curvePointTable(rows []curveRow) Table {
	t := Table{Name: "training-curves", Columns: []string{
		"run_id", "setting", "weight_decay", "seed", "curve", "step", "tokens", "loss", "smoothed",
	}}
	for _, r := range rows {
		for _, c := range r.curves {
			add := func(kind string, s sample, smoothed string) {
				t.Rows = append(t.Rows, []string{
					c.Info.ID, r.title, number(c.decay), c.seed, kind, fmt.Sprint(s.step), fmt.Sprint(s.tokens), fmt.Sprintf("%.6g", s.value), smoothed,
				})
			}
			for _, s := range c.loss {
				add("training", s, fmt.Sprintf("%.6g", s.smooth))
			}
			for _, s := range c.validation {
				add("validation", s, "")
			}
		}
	}
	return t
}
