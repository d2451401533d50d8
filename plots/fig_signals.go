package plots

import (
	"fmt"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// maxSignals is how many signals a panel has room for; the table has the rest.
const maxSignals = 14

// Lengths of this figure.
const (
	signalNames  = 128 * vg.Length(1) // left of the data area
	signalCounts = 34 * vg.Length(1)  // right of it
)

// SignalsVsResults draws which numbers of base models rank them by their results after fine-tuning: Spearman's correlation of each with the
// response loss, at a third of training and at its end, with its range when one weight decay is left out.
func SignalsVsResults(s *Set) Figure {
	all := s.signalsOf()
	drawn := all[:min(len(all), maxGroups)]
	f := Figure{
		Name: "signals-vs-results", Title: "Signals that rank base models by their results after fine-tuning",
		Caption: signalCaption(drawn), Notes: signalNotes(s, drawn), Points: SignalTable(s),
	}
	f.Points.Name = f.Name
	if hidden := len(all) - len(drawn); hidden > 0 {
		f.Notes = append(f.Notes, plural(hidden, "further setting")+" not drawn here; the table has them.")
	}
	parts := []string{"Correlation of signals of base models with the response loss after fine-tuning, one row a signal, from −1 to 1."}
	var blocks []block
	var summary []string
	for _, r := range drawn {
		blocks = append(blocks, block{title: r.d.base.fullTitle(), above: sizeLabel * 1.6, lines: [][]drawing{{r.draw}}})
		parts = append(parts, r.d.base.fullTitle()+": "+r.inWords())
		if len(drawn) == 1 {
			summary = append(summary, r.inWords())
		}
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{
		blocks: blocks, legend: signalLegend(drawn), labels: signalNames, none: "There are no three base models that were fine-tuned and looked into.",
		foot: footer{summary: summary, caption: f.Caption, notes: f.Notes},
	}.sheet()
	return f
}

// signalLegend explains the marks.
func signalLegend(drawn []*signalRanks) []legendItem {
	if len(drawn) == 0 {
		return nil
	}
	var items []legendItem
	for when, name := range whens() {
		items = append(items, legendItem{name + ", range with one λ left out", func(p *pen, left, y vg.Length) {
			p.StrokeLine2(line(p.of(when), widthCurve), left, y, left+legendMark, y)
			p.signalMark(left+legendMark/2, y, when)
		}})
	}
	return items
}

// signalMark is filled for a third of training and hollow for the end.
func (p *pen) signalMark(x, y vg.Length, when int) {
	p.disc(x, y, radiusMean, p.of(when))
	if when == late {
		p.dot(x, y, radiusMean-widthBar, p.paper)
	}
}

// draw draws the rows of a setting.
func (r *signalRanks) draw(p *pen, box vg.Rectangle) {
	f := frame{Rectangle: box}
	f.Max.X -= signalCounts
	place := func(v float64) vg.Length { return f.x((v + 1) / 2) }
	for _, t := range niceTicks(-1, 1, 4) {
		p.StrokeLine2(line(p.palette.grid, widthGrid), place(t.at), f.Min.Y, place(t.at), f.Max.Y)
		p.write(p.style(sizeTick, false, p.muted, text.XCenter, text.YTop), place(t.at), f.Min.Y-tickLength-2, t.label)
	}
	p.StrokeLine2(line(p.axis, widthAxis), place(0), f.Min.Y, place(0), f.Max.Y)
	p.StrokeLine2(line(p.axis, widthAxis), f.Min.X, f.Min.Y, f.Max.X, f.Min.Y)
	p.write(p.style(sizeLabel, false, p.ink, text.XCenter, text.YTop), (f.Min.X+f.Max.X)/2, f.Min.Y-tickLength-14, "Spearman's ρ with the response loss")
	p.write(p.style(sizeSmall, false, p.muted, text.XRight, text.YBottom), box.Max.X, f.Max.Y+3, "base runs")

	shown := r.ranks[:min(len(r.ranks), maxSignals)]
	row := (f.Max.Y - f.Min.Y) / vg.Length(len(shown))
	name := p.style(min(sizeTick, row*0.95), false, p.ink, text.XRight, text.YCenter)
	counts := p.style(name.Font.Size, false, p.muted, text.XRight, text.YCenter)
	for i, one := range shown {
		y := f.Max.Y - row*(vg.Length(i)+0.5)
		p.write(name, f.Min.X-6, y, p.fit(name, signalNames-8, one.name))
		n := 0
		for when, at := range one.ranks {
			if at == nil {
				continue
			}
			n = max(n, len(at.points))
			if !finite(at.r) {
				continue
			}
			shift := row * 0.16 * vg.Length(1-2*when)
			if one.ranks[early] == nil || one.ranks[late] == nil {
				shift = 0
			}
			c := p.of(when)
			if finite(at.low) {
				p.StrokeLine2(line(color.Color(c), widthCurve), place(at.low), y+shift, place(at.high), y+shift)
			}
			p.signalMark(place(at.r), y+shift, when)
		}
		p.write(counts, box.Max.X, y, strconv.Itoa(n))
	}
}

// signalCaption says what was ranked by what.
func signalCaption(drawn []*signalRanks) string {
	if len(drawn) == 0 {
		return ""
	}
	var downs []*downstream
	var recipes []string
	more := 0
	for _, r := range drawn {
		downs = append(downs, r.d)
		recipes = append(recipes, r.d.recipes[r.d.fixed].label)
		more = max(more, len(r.ranks)-maxSignals)
	}
	parts := []string{
		"Rank correlation over base runs of each signal with the response loss averaged over tasks by the fixed recipe (" + listed(recipes) + "); a " +
			"response loss is better when lower, so a signal of which more is better has ρ < 0. Bars: range when all runs of one λ are left out in turn.",
		"A third of training: the evaluation, logged step or checkpoint nearest to it, a tenth of training away at most. Ranks and probes are means over layers.",
		"Runs of one λ lie together, so the models are fewer than they look, and a relation that rises and falls with λ shows as none.",
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("The %d strongest; the table has the rest.", maxSignals))
	}
	return strings.Join(append(parts, tunedProvenance(downs)...), " ")
}

// signalNotes says what is missing or doubtful.
func signalNotes(s *Set, drawn []*signalRanks) []string {
	var notes []string
	if faults := s.tunedFaults(); len(faults) > 0 {
		notes = append(notes, faultNote(faults, plural(len(s.tuned), "fine-tuned run"), ""))
	}
	for _, r := range drawn {
		fewer, bare := r.uneven()
		if fewer > 0 {
			notes = append(notes, fmt.Sprintf("%s: %s measured on fewer base runs than others: they do not compare.", r.d.base.fullTitle(), plural(fewer, "signal")))
		}
		if bare > 0 {
			notes = append(notes, fmt.Sprintf("%s: %s equal in all base runs: no correlation.", r.d.base.fullTitle(), plural(bare, "signal")))
		}
	}
	if n := len(s.problems); n > 0 {
		notes = append(notes, plural(n, "problem")+" while reading records; the report lists them.")
	}
	return notes
}

// uneven counts the signals that fewer base runs have than others, and those that are equal in all.
func (r *signalRanks) uneven() (fewer, bare int) {
	var all []*rankedBy
	most := 0
	for _, one := range r.ranks {
		for _, at := range one.ranks {
			if at != nil {
				all, most = append(all, at), max(most, len(at.points))
			}
		}
	}
	for _, at := range all {
		switch {
		case !finite(at.r):
			bare++
		case len(at.points) < most:
			fewer++
		}
	}
	return fewer, bare
}

// SignalTable lists every signal with its correlation, and the base runs behind it.
func SignalTable(s *Set) Table {
	t := Table{
		Name: "signals", Title: "Spearman's correlation of signals of base models with the response loss after fine-tuning",
		Note: "Over base runs; the response loss is the mean over tasks by the fixed recipe. Low and high: range when one λ is left out. " +
			"Within λ: Pearson's correlation of the deviations from each λ's mean over seeds.",
		Columns: []string{"setting", "recipe", "signal", "when", "ρ", "low", "high", "r within λ", "base runs", "λ", "runs"},
	}
	text := func(v float64) string {
		if !finite(v) {
			return ""
		}
		return strconv.FormatFloat(math.Round(v*1e4)/1e4, 'f', -1, 64)
	}
	for _, r := range s.signalsOf() {
		for _, one := range r.ranks {
			for when, at := range one.ranks {
				if at != nil {
					t.Rows = append(t.Rows, []string{
						r.d.base.fullTitle(), r.d.recipes[r.d.fixed].label, one.name, whens()[when], text(at.r), text(at.low), text(at.high), text(at.within()),
						strconv.Itoa(len(at.points)), strconv.Itoa(len(at.x)), at.ids(),
					})
				}
			}
		}
	}
	return t
}
