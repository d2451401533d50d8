package plots

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

const (
	maxGroups   = 4  // settings of a scatter of fine-tuned runs; the tables have the rest
	maxRows     = 12 // of all settings of a figure of fine-tuned runs together
	maxMeasures = 3  // rows of a setting
	maxColumns  = 12 // the average and tasks
	maxAbreast  = 5  // columns side by side
)

// tunedGroup is the part of the figure that one setting has: its panels, in lines of columns, in each line a row a measure.
type tunedGroup struct {
	title string
	d     *downstream
	axis  decayAxis
	lines [][][]tunedPanel // line, row, column
}

// PlasticityVsDecay draws figure 2 of the paper: results after fine-tuning against the weight decay of pretraining. For each setting there
// is a column for the average over tasks and one for each task, and a row for the response loss and up to two scores of answers. The fixed
// recipe is solid, the best recipe for each base model and task dashed, the never-pretrained model a horizontal line.
func PlasticityVsDecay(s *Set) Figure {
	measures := s.drawnMeasures()
	drawn := s.down[:min(len(s.down), maxRows/len(measures))]
	var groups []tunedGroup
	for _, d := range drawn {
		groups = append(groups, newTunedGroup(d, measures))
	}
	f := Figure{
		Name: "plasticity-vs-decay", Title: "Results after fine-tuning against the weight decay of pretraining",
		Caption: tunedCaption(s, drawn, groups, measures), Notes: s.tunedNotes(drawn, " (× on the figure, where base run and recipe are drawn)"), Points: tunedPoints(groups), Alt: tunedAlt(drawn),
	}
	if hidden := len(s.down) - len(drawn); hidden > 0 {
		f.Notes = append(f.Notes, plural(hidden, "further setting")+" not drawn here; the table has them.")
	}
	if len(drawn) > 0 && slices.ContainsFunc(drawn, func(d *downstream) bool { return len(d.tasks) >= maxColumns }) {
		f.Notes = append(f.Notes, fmt.Sprintf("only the first %d tasks have a panel; the table has the others, and the average has all.", maxColumns-1))
	}
	var summary []string
	for _, d := range drawn {
		summary = append(summary, d.inShort(len(drawn) > 1))
	}
	f.sheet = tunedSheet(groups, tunedLegend(groups), footer{summary: summary, caption: f.Caption, notes: f.Notes})
	return f
}

// drawnMeasures picks the rows: response loss, then greedy answers and the pass@N that the most runs have, or what there is instead.
func (s *Set) drawnMeasures() []measure {
	all := s.measures()
	out := all[:1:1]
	runs := func(m measure) int {
		n := 0
		for _, r := range s.tuned {
			if _, ok := m.of(r); ok {
				n++
			}
		}
		return n
	}
	taken := map[int]bool{}
	for len(out) < maxMeasures {
		best := -1
		for i, m := range all[1:] {
			rank := scoreRank(m.name)
			if m.name == orm || taken[rank] {
				continue
			}
			if best < 0 || rank < scoreRank(all[1+best].name) || rank == scoreRank(all[1+best].name) && runs(m) > runs(all[1+best]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		taken[scoreRank(all[1+best].name)] = true
		out = append(out, all[1+best])
	}
	return out
}

// newTunedGroup computes the panels of a setting.
func newTunedGroup(d *downstream, measures []measure) tunedGroup {
	g := tunedGroup{title: d.base.fullTitle(), d: d}
	var decays []float64
	for _, l := range d.base.levels {
		decays = append(decays, l.decay)
	}
	g.axis = newDecayAxis(decays)
	named := d.notable()
	var columns []int
	if len(d.tasks) > 1 {
		columns = append(columns, -1)
	}
	for i := range d.tasks[:min(len(d.tasks), maxColumns-1)] {
		columns = append(columns, i)
	}
	abreast := len(columns)
	if abreast > maxAbreast {
		lines := (abreast + maxAbreast - 2) / (maxAbreast - 1)
		abreast = (abreast + lines - 1) / lines
	}
	for line := range slices.Chunk(columns, max(abreast, 1)) {
		var rows [][]tunedPanel
		for _, m := range measures {
			if len(d.tasksWith(m)) == 0 {
				continue
			}
			var row []tunedPanel
			for _, task := range line {
				panel := newTunedPanel(d, task, m, g.axis, decays)
				panel.named = named
				row = append(row, panel)
			}
			rows = append(rows, row)
		}
		if len(rows) > 0 {
			g.lines = append(g.lines, rows)
		}
	}
	return g
}

// notable lists the decays that a reader looks for on an axis: the best on the average, and the loss-optimal one.
func (d *downstream) notable() []float64 {
	var out []float64
	average := d.results(-1, measure{name: responseLoss}, d.fixed)
	if at := average.best(); at >= 0 {
		out = append(out, average.levels[at].decay)
	}
	if l := d.lossOptimal(); l != nil {
		out = append(out, l.decay)
	}
	return out
}

// Lengths of this figure.
const (
	tunedPlot   = 1.22 * vg.Inch      // height of a data area
	tunedStrip  = 11 * vg.Length(1)   // above each: a remark
	tunedGap    = 6 * vg.Length(1)    // between rows
	tunedSide   = 13 * vg.Length(1)   // left of the first column: names of measures
	tunedTicks  = 28 * vg.Length(1)   // left of each data area
	tunedHead   = sizeTitle * 1.7     // title of a setting
	tunedName   = sizeLabel * 1.25    // names of columns
	tunedBelow  = 26 * vg.Length(1)   // ticks and label of the lowest row
	tunedWidest = 8.4 * vg.Inch       // with five columns
	legendLine  = sizeSmall * 1.7     // a line of the legend
	legendMark  = 20 * vg.Length(1.0) // width of its marks
)

// height is the space that a group takes.
func (g tunedGroup) height() vg.Length {
	sum := tunedHead
	for _, rows := range g.lines {
		sum += tunedName + vg.Length(len(rows))*(tunedStrip+tunedPlot+tunedGap) + tunedBelow
	}
	if len(g.lines) == 0 {
		sum += tunedPlot
	}
	return sum
}

// tunedSheet lays the groups out below a legend and above the footer.
func tunedSheet(groups []tunedGroup, legend []legendItem, foot footer) sheet {
	abreast := 0
	for _, g := range groups {
		for _, rows := range g.lines {
			abreast = max(abreast, len(rows[0]))
		}
	}
	width := singleWidth
	switch {
	case abreast > 4:
		width = tunedWidest
	case abreast > 2:
		width = doubleWidth
	}
	measure := &pen{palette: newPalette(), fonts: newFonts()}
	inner := width - 2*margin
	footHeight := foot.height(measure, inner)
	legendHeight := measure.legendRows(legend, inner) + tunedGap
	height := 2*margin + legendHeight + footHeight
	for _, g := range groups {
		height += g.height()
	}
	if len(groups) == 0 {
		height += tunedPlot
	}
	return sheet{width: width, height: height, draw: func(p *pen) {
		top := height - margin
		if len(groups) == 0 {
			s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(s, width/2, top-tunedPlot/2, "There are no fine-tuned runs of base models in this set to draw.")
		}
		p.drawLegend(legend, margin, top, inner)
		top -= legendHeight
		for _, g := range groups {
			g.draw(p, margin, top, inner, abreast)
			top -= g.height()
		}
		foot.draw(p, margin+footHeight, inner)
	}}
}

// draw draws the group below top, in cells of which abreast fill the width.
func (g tunedGroup) draw(p *pen, left, top, width vg.Length, abreast int) {
	title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
	p.write(title, left, top-sizeTitle*1.1, p.fit(title, width, g.title))
	top -= tunedHead
	cell := (width - tunedSide) / vg.Length(max(abreast, 1))
	if len(g.lines) == 0 {
		s := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
		p.write(s, left+width/2, top-tunedPlot/2, "no fine-tuned run that counts")
	}
	for _, rows := range g.lines {
		head := p.style(sizeLabel, true, p.ink, text.XLeft, text.YBottom)
		for i, panel := range rows[0] {
			p.write(head, left+tunedSide+vg.Length(i)*cell+tunedTicks, top-tunedName+2, p.fit(head, cell-tunedTicks, panel.head()))
		}
		top -= tunedName
		for j, row := range rows {
			bottom := top - tunedStrip - tunedPlot
			side := p.style(sizeSmall, false, p.ink, text.XCenter, text.YTop)
			side.Rotation = math.Pi / 2
			p.write(side, left, bottom+tunedPlot/2, row[0].measure.title())
			for i, panel := range row {
				at := left + tunedSide + vg.Length(i)*cell
				panel.draw(p, vg.Rectangle{
					Min: vg.Point{X: at + tunedTicks, Y: bottom}, Max: vg.Point{X: at + cell - 5, Y: bottom + tunedPlot},
				}, j == len(rows)-1)
			}
			top = bottom - tunedGap
		}
		top -= tunedBelow
	}
}

// tunedAlt describes the picture for those who do not see it.
func tunedAlt(drawn []*downstream) string {
	parts := []string{"Results after fine-tuning against the weight decay of pretraining, on a logarithmic axis."}
	for _, d := range drawn {
		parts = append(parts, d.inShort(true))
	}
	return strings.Join(parts, " ")
}

// inShort says in a line what a setting shows on the average.
func (d *downstream) inShort(named bool) string {
	name := ""
	if named {
		name = d.base.fullTitle() + ". "
	}
	r := d.results(-1, measure{name: responseLoss}, d.fixed)
	at := r.best()
	switch {
	case at < 0:
		return name + "No weight decay has a result on every task yet."
	case r.measured() < 2:
		return name + fmt.Sprintf("Only λ = %s measured.", lambda(r.levels[at].decay))
	}
	best := &r.levels[at]
	text := fmt.Sprintf("%sBest λ = %s on %s, response loss %s", name, lambda(best.decay), r.theTitle(), nats(best.Mean))
	if best.hasInterval() {
		text += fmt.Sprintf(" [%s, %s]", nats(best.low()), nats(best.high()))
	}
	if lowest := d.lossOptimal(); lowest != nil && lowest.decay != best.decay {
		if other := r.at(lowest.decay); other != nil {
			diff := difference(best, other)
			text += fmt.Sprintf("; against the loss-optimal λ = %s, paired by seed: %s", lambda(lowest.decay), bracketed(diff))
		}
	} else if lowest != nil {
		text += ", which is the loss-optimal λ, too"
	}
	return text + "."
}
