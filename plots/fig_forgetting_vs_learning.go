package plots

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
)

// ForgettingVsLearning draws what fine-tuning gave and took, for each setting: the response loss against the rise of the loss on text of the kind
// that the base was pretrained for, a point a base run, and that rise against weight decay.
func ForgettingVsLearning(s *Set) Figure {
	all := s.forgottenTrades()
	drawn := all[:min(len(all), maxGroups)]
	f := Figure{
		Name: "forgetting-vs-learning", Title: "Forgetting against learning in fine-tuning",
		Caption: forgettingCaption(drawn), Notes: forgettingNotes(s, drawn), Points: forgettingPoints(drawn),
	}
	if hidden := len(all) - len(drawn); hidden > 0 {
		f.Notes = append(f.Notes, plural(hidden, "further setting")+" not drawn here; the table has them.")
	}
	parts := []string{"Response loss after fine-tuning against the rise of the loss on pretraining text, coloured by weight decay, and that rise against weight decay."}
	var blocks []block
	var summary []string
	for _, t := range drawn {
		blocks = append(blocks, block{
			title: t.d.base.fullTitle(), above: aboveDecays, lines: [][]drawing{{t.draw, t.panel().draw}},
			legend: func(p *pen, left, top vg.Length) { p.legend(t.decays(), left, top) },
		})
		parts = append(parts, t.d.base.fullTitle()+": "+t.inWords())
		if len(drawn) == 1 {
			summary = append(summary, t.inWords())
		}
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{
		blocks: blocks, labels: scatterSide, none: "There is no forgetting to draw: " + forgettingCommand + " measures it.",
		foot: footer{summary: summary, caption: f.Caption, notes: f.Notes},
	}.sheet()
	return f
}

// draw draws the scatter.
func (t *forgottenTrade) draw(p *pen, box vg.Rectangle) {
	r := t.pointRange()
	f := frame{Rectangle: box, low: r.lowY, high: r.highY}
	r.axes(p, f, scatterAxes{"response loss after fine-tuning (nats)", "forgetting (nats per token)"})
	t.drawSeeds(p, f, r)
	decays := t.decays()
	for i := range t.x {
		t.intervals(p, f, r, i, p.over(p.decayColour(decays, t.x[i].decay), 0.7))
	}
	t.drawFront(p, f, r, t.front, -1)
}

// intervals draws those of a mean, as far as they are within the axes.
func (t *forgottenTrade) intervals(p *pen, f frame, r pointRange, i int, c color.Color) {
	x, y := &t.x[i], &t.y[i]
	if !x.hasInterval() || r.beyond(x.Mean, y.Mean) {
		return
	}
	at := r.place(f, x.Mean, y.Mean)
	style := line(c, widthAxis)
	left, right := r.place(f, x.low(), y.Mean).X, r.place(f, x.high(), y.Mean).X
	p.StrokeLine2(style, left, at.Y, right, at.Y)
	p.StrokeLine2(style, at.X, r.place(f, x.Mean, y.low()).Y, at.X, r.place(f, x.Mean, y.high()).Y)
}

// panel is forgetting against weight decay.
func (t *forgottenTrade) panel() decayPanel {
	levels := withoutCrosses(t.d.resultsOver(t.tasks, forgettingMeasure(), t.d.fixed).levels) // of all decays, so that those without are seen
	others, _, _ := spreadOf(t.matched, 1)
	p := quantityPanel("forgetting (nats per token)", levels, t.d.base, others, nil)
	if t.matched != nil { // below the means
		p.curves = slices.Insert(p.curves, 0, decayCurve{levels: bare(t.matched), colour: func(p *pen) color.NRGBA { return p.of(2) }, thin: true})
	}
	p.guides = []guide{{at: 0}}
	return p
}

// forgettingCaption says what was measured, what the marks mean, and what was trained.
func forgettingCaption(drawn []*forgottenTrade) string {
	if len(drawn) == 0 {
		return ""
	}
	var downs []*downstream
	var recipes []string
	var panels []decayPanel
	cut, matched := false, false
	for _, t := range drawn {
		downs, panels = append(downs, t.d), append(panels, t.panel())
		recipes = append(recipes, t.d.recipes[t.d.fixed].label)
		cut, matched = cut || t.pointRange().cut, matched || t.matched != nil
	}
	s := drawn[0].settings()
	parts := []string{
		fmt.Sprintf("Forgetting: loss on held-out pretraining text after fine-tuning less the base model's, on the same windows of %d tokens, %s tokens at most.", s.Context, count(s.Tokens)),
		"Both are means over tasks by the fixed recipe (" + listed(recipes) + "); lower is better in both.",
		"Left: small dots: base runs; large: means over seeds with 95 % t intervals, filled and joined on the Pareto front. Dotted: the loss-optimal λ.",
	}
	if counts := seedCounts(forgettingLevels(drawn)); counts != "" {
		parts = append(parts, "Intervals: "+counts+".")
	}
	if matched {
		parts = append(parts, "Thin and coloured: at rates in proportion to each base model's weight norm, interpolated between those that were tried.")
	}
	if cut {
		parts = append(parts, "Triangles at an edge: points beyond the axis.")
	}
	parts = append(parts, cutWords(panels)...)
	return strings.Join(append(parts, tunedProvenance(downs)...), " ")
}

// forgettingLevels wraps the levels of each as a setting, for what counts seeds.
func forgettingLevels(all []*forgottenTrade) []*setting {
	var out []*setting
	for _, t := range all {
		out = append(out, &setting{levels: t.y})
	}
	return out
}

// forgettingNotes says what is missing or doubtful.
func forgettingNotes(s *Set, drawn []*forgottenTrade) []string {
	var notes []string
	if faults := s.tunedFaults(); len(faults) > 0 {
		notes = append(notes, faultNote(faults, plural(len(s.tuned), "fine-tuned run"), ""))
	}
	without, all := 0, 0
	for _, r := range s.tuned {
		if r.base != nil && r.counts() {
			all++
			if r.Forgetting == nil {
				without++
			}
		}
	}
	if without > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s of base models without forgetting (%s): not drawn.", without, plural(all, "finished fine-tuned run"), forgettingCommand))
	}
	if n := s.unusedForgetting; n > 0 {
		notes = append(notes, plural(n, "result")+" of another step, other text or other windows not used: those of most runs are.")
	}
	lacking := 0
	for _, t := range drawn {
		lacking += t.d.resultsOver(t.tasks, forgettingMeasure(), t.d.fixed).partial
	}
	if lacking > 0 {
		notes = append(notes, plural(lacking, "base run")+" without a result on some task by the fixed recipe: not in the averages.")
	}
	notes = append(notes, seedNotes(forgettingLevels(drawn))...)
	if n := len(s.problems); n > 0 {
		notes = append(notes, plural(n, "problem")+" while reading records; the report lists them.")
	}
	return notes
}
