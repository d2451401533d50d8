package plots

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
)

// gapAxisLabels is wider than those of other figures: gaps are small numbers, some of them negative.
const gapAxisLabels = 40 * vg.Length(1)

// GapVsDecay draws figure 6 of the paper: the loss on held-out text less that on text read in training against weight decay, for the
// validation split and, paired by document, for training text that was not read.
func GapVsDecay(s *Set) Figure {
	groups := s.gapGroups()
	drawn := groups[:min(len(groups), maxCurveRows)]
	f := Figure{
		Name: "gap-vs-decay", Title: "Train-validation gap against weight decay",
		Caption: gapCaption(drawn), Notes: gapRunNotes(s, groups, len(groups)-len(drawn)), Points: gapPoints(drawn),
	}
	parts := []string{"Loss on held-out text less loss on text read in training against weight decay on a logarithmic axis."}
	var blocks []block
	var summary []string
	for _, g := range drawn {
		b := block{title: g.title(), above: aboveDecays}
		var panels []drawing
		for _, heldOut := range g.texts() {
			panels = append(panels, g.panel(heldOut).draw)
			short := newTrend(g.gaps(heldOut)).inShort(gapWords(heldOut))
			parts = append(parts, g.title()+": "+short)
			if len(drawn) == 1 {
				summary = append(summary, short)
			}
		}
		b.lines = inLines(panels, nil)
		blocks = append(blocks, b)
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{
		blocks: blocks, legend: gapLegend(drawn), labels: gapAxisLabels, none: "There are no gaps to draw: " + gapCommand + " measures them.",
		foot: footer{summary: summary, caption: f.Caption, notes: f.Notes},
	}.sheet()
	return f
}

// panel gathers and scales a panel; zero is always on its axis.
func (g *gapGroup) panel(heldOut string) decayPanel {
	levels := g.gaps(heldOut)
	head := "validation − train loss (nats per token)"
	if heldOut == GapUnread {
		head = "unread − read, paired by document (nats)"
	}
	var bars []bar
	var ends []float64
	for i := range levels {
		if c := g.overDocuments(&levels[i], heldOut); c != nil {
			bars, ends = append(bars, bar{levels[i].decay, c.Low, c.High}), append(ends, c.Low, c.High)
		}
	}
	p := quantityPanel(head, levels, g.base, []float64{0}, ends)
	p.bars, p.guides = bars, []guide{{at: 0}}
	return p
}

// gapLegend explains the marks.
func gapLegend(drawn []*gapGroup) []legendItem {
	several, single, lowest := false, false, false
	for _, g := range drawn {
		lowest = lowest || g.base.lossOptimal() != nil
		for _, heldOut := range g.texts() {
			levels := g.gaps(heldOut)
			for i := range levels {
				several = several || levels[i].hasInterval()
				single = single || g.overDocuments(&levels[i], heldOut) != nil
			}
		}
	}
	var items []legendItem
	if several {
		items = append(items, curveItem("mean over seeds, 95 % interval over seeds", inked))
	}
	if single {
		items = append(items, legendItem{"one seed, 95 % interval over documents", func(p *pen, left, y vg.Length) {
			p.StrokeLine2(line(p.ink, widthMean), left, y, left+legendMark, y)
			p.StrokeLine2(line(p.axis, widthBar), left+legendMark/2, y-4.5, left+legendMark/2, y+4.5)
			p.disc(left+legendMark/2, y, smallMean, p.ink)
		}})
	}
	if lowest {
		items = append(items, lossOptimalItem())
	}
	return items
}

// gapCaption says what was compared, what the marks mean, and what was trained.
func gapCaption(drawn []*gapGroup) string {
	if len(drawn) == 0 {
		return ""
	}
	parts := []string{
		"Losses of whole windows in nats per token: of text that was not read in training, less of as much text that was; above zero the model does worse on new text.",
		"Validation: other documents, so the two sides are not paired.",
	}
	if slices.ContainsFunc(drawn, func(g *gapGroup) bool { return slices.Contains(g.texts(), GapUnread) }) {
		parts = append(parts, "Unread: windows of the training split that the run had not come to, each paired with a read one of the same document.")
	}
	parts = append(parts, gapWindows(drawn)+gapPasses(drawn), "Large dots: means over seeds; circles: every seed. τ = 1/(lr·λ·steps).")
	if counts := seedCounts(gapLevels(drawn)); counts != "" {
		parts = append(parts, "Bars: 95 % t interval of the mean, "+counts+"; decays are compared within each seed, and so may be told apart where bars overlap.")
	}
	var panels []decayPanel
	for _, g := range drawn {
		for _, heldOut := range g.texts() {
			panels = append(panels, g.panel(heldOut))
		}
	}
	parts = append(append(parts, cutWords(panels)...), axisWords(drawn)...)
	return strings.Join(append(parts, provenance(settingsOf(drawn))...), " ")
}

// gapWindows says how much text was compared.
func gapWindows(drawn []*gapGroup) string {
	var all []string
	for _, g := range drawn {
		for _, heldOut := range g.texts() {
			var windows []int
			for _, m := range g.runs {
				if c := g.of[m].with(heldOut); c != nil {
					windows = append(windows, c.Windows)
				}
			}
			n := fmt.Sprint(slices.Min(windows))
			if most := slices.Max(windows); most > slices.Min(windows) {
				n += fmt.Sprintf(" to %d", most)
			}
			all = append(all, fmt.Sprintf("%s windows of %d tokens (%s)", n, g.like.Settings.Context, heldOut))
		}
	}
	return "Each side: " + listed(all) + "."
}

// gapPasses says how often training had read its text: the fewer times, the smaller a gap can be.
func gapPasses(drawn []*gapGroup) string {
	var all []float64
	unknown := false
	for _, g := range drawn {
		for _, m := range g.runs {
			if v := g.of[m].Passes; finite(v) {
				all = append(all, v)
			} else {
				unknown = true
			}
		}
	}
	text := ""
	if len(all) > 0 && passes(settingsOf(drawn)) == "" { // else it is said of the data
		low, high := short(rounded(slices.Min(all), 2)), short(rounded(slices.Max(all), 2))
		if low != high {
			low += " to " + high
		}
		text = " Training passed " + low + " times over its text."
	}
	if unknown {
		text += " How often some models read it is not known: all of it counts as read."
	}
	return text
}

// gapRunNotes says what is missing or doubtful.
func gapRunNotes(s *Set, groups []*gapGroup, hidden int) []string {
	settings := settingsOf(groups)
	notes := append(runNotes(s, settings, crossed), seedNotesWith(gapLevels(groups), seedWords{
		none: "intervals are over documents of one model, which say nothing of other seeds", some: "an interval over documents there",
	})...)
	return append(notes, gapAnalysis().notes(s, settings, apart(groups), hidden)...)
}
