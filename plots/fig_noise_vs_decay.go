package plots

import (
	"fmt"
	"slices"
	"strings"
)

// NoiseVsDecay draws how sharp the place is that training has found, against weight decay: the rise of the loss under noise on the weights,
// at the sizes of noise around a rise of NoiseRise, and the size at which the loss has risen by so much.
func NoiseVsDecay(s *Set) Figure {
	groups := s.noiseGroups()
	drawn := groups[:min(len(groups), maxCurveRows)]
	f := Figure{
		Name: "noise-vs-decay", Title: "Rise of the loss under noise on the weights against weight decay",
		Caption: noiseCaption(drawn), Notes: noiseNotes(s, groups, len(groups)-len(drawn)), Points: noisePoints(drawn),
	}
	parts := []string{"Rise of the loss under noise on the weights against weight decay on a logarithmic axis."}
	var blocks []block
	var summary []string
	for _, g := range drawn {
		b := block{title: g.title(), above: aboveDecays}
		var panels []drawing
		var heads []string
		for _, p := range g.panels() {
			panels, heads = append(panels, p.draw), append(heads, p.head)
		}
		b.lines = inLines(panels, heads)
		blocks = append(blocks, b)
		short := newTrend(g.rises(g.main())).inShort(g.words(g.main()))
		parts = append(parts, g.title()+": "+short)
		if len(drawn) == 1 {
			summary = append(summary, short)
		}
	}
	f.Alt = strings.Join(parts, " ")
	f.sheet = blockSheet{
		blocks: blocks, legend: noiseLegend(drawn), labels: gapAxisLabels, none: "There is no noise to draw: " + noiseCommand + " measures it.",
		foot: footer{summary: summary, caption: f.Caption, notes: f.Notes},
	}.sheet()
	return f
}

// panels, with zero on their axes, are the rises at the chosen sizes, and the size that is enough where some model has one.
func (g *noiseGroup) panels() []decayPanel {
	var out []decayPanel
	for _, at := range g.chosen() {
		head := "rise of the loss at σ = " + number(g.sigmas()[at]) + " (nats per token)"
		out = append(out, quantityPanel(head, g.rises(at), g.base, []float64{0}, nil))
	}
	if enough := g.enough(); measuredLevels(enough) > 0 {
		out = append(out, quantityPanel(fmt.Sprintf("σ at which the loss has risen by %v nats", NoiseRise), enough, g.base, []float64{0}, nil))
	}
	return out
}

// noiseLegend explains the marks.
func noiseLegend(drawn []*noiseGroup) []legendItem {
	var items []legendItem
	if slices.ContainsFunc(drawn, func(g *noiseGroup) bool {
		return slices.ContainsFunc(g.rises(g.main()), func(l level) bool { return l.hasInterval() })
	}) {
		items = append(items, curveItem("mean over seeds, 95 % interval over seeds", inked))
	}
	if slices.ContainsFunc(drawn, func(g *noiseGroup) bool { return g.base.lossOptimal() != nil }) {
		items = append(items, lossOptimalItem())
	}
	return items
}

// noiseCaption says what was done to the weights, what the marks mean, and what was trained.
func noiseCaption(drawn []*noiseGroup) string {
	if len(drawn) == 0 {
		return ""
	}
	s := drawn[0].like.Settings
	parts := []string{
		"Every matrix W became W + σ·rms(W)·ε with ε standard normal; gains of norms stayed. Rise: the mean loss over " + plural(s.Draws, "draw") +
			" less that without noise, in nats per token, on the same held-out windows. σ is relative to each matrix, so that smaller weights alone change nothing.",
		fmt.Sprintf("σ at a rise of %v nats is interpolated between sizes; a model that no size moved so far has none.", NoiseRise),
		"Large dots: means over seeds; circles: every seed. τ = 1/(lr·λ·steps).",
	}
	if counts := seedCounts(noiseLevels(drawn)); counts != "" {
		parts = append(parts, "Bars: 95 % t interval of the mean, "+counts+"; decays are compared within each seed, and so may be told apart where bars overlap.")
	}
	var panels []decayPanel
	for _, g := range drawn {
		panels = append(panels, g.panels()...)
	}
	parts = append(append(parts, cutWords(panels)...), axisWords(drawn)...)
	return strings.Join(append(parts, provenance(settingsOf(drawn))...), " ")
}

// noiseNotes says what is missing or doubtful.
func noiseNotes(s *Set, groups []*noiseGroup, hidden int) []string {
	settings := settingsOf(groups)
	notes := append(runNotes(s, settings, crossed), seedNotes(noiseLevels(groups))...)
	return append(notes, noiseAnalysis().notes(s, settings, apart(groups), hidden)...)
}
