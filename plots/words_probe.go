package plots

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// probeCaption says what the marks mean, how it was measured, and what was trained.
func probeCaption(drawn [][]*probeGroup, byLayer bool) string {
	groups := slices.Concat(drawn...)
	if len(groups) == 0 {
		return ""
	}
	parts := []string{
		"Share of test texts whose label a logistic regression on a model's hidden states gets right; its penalty is chosen on other texts.",
		probeTexts(groups),
		"Control task: the same with shuffled labels; majority class: the share of the most frequent label.",
	}
	if byLayer {
		parts = append(parts, "Means over seeds; intervals are in the CSV.", "emb.: embedding, below layer 0.")
	} else {
		parts = append(parts, probeMarks(groups)...)
	}
	return strings.Join(append(parts, provenance(settingsOf(groups))...), " ")
}

// probeTexts says what was probed for and with how many texts, task by task.
func probeTexts(groups []*probeGroup) string {
	tasks := map[string][]string{} // by the numbers of texts
	for _, g := range groups {
		p, made := g.like, ""
		if p.Synthetic {
			made = ", made-up texts"
		}
		texts := fmt.Sprintf("%d texts to learn from, %d to choose by, %d to test on", p.Train, p.Val, p.Test)
		if from := p.cutFrom(); from != "" {
			texts += " out of " + from
		}
		tasks[texts] = append(tasks[texts], fmt.Sprintf("%s (%s%s, %s)", g.family, plural(p.Labels, "label"), made, poolWord(p.Settings.Pool)))
	}
	var out []string
	for _, texts := range slices.Sorted(maps.Keys(tasks)) {
		out = append(out, listed(tasks[texts])+": "+texts)
	}
	return strings.Join(out[:min(len(out), maxPanels)], "; ") + "."
}

// probeMarks says what the marks against weight decay mean.
func probeMarks(groups []*probeGroup) []string {
	parts := []string{"Large dots: means over seeds; circles: every seed. Best layer: of each model, on the texts to choose by. τ = 1/(lr·λ·steps)."}
	if counts := seedCounts(probeAverages(groups)); counts != "" {
		parts = append(parts, "Bars: 95 % t interval of the mean, "+counts+".")
	}
	var panels []decayPanel
	for _, g := range groups {
		panels = append(panels, g.decayPanel())
	}
	if slices.ContainsFunc(panels, func(d decayPanel) bool {
		return slices.ContainsFunc(d.curves, func(c decayCurve) bool { return c.shift != 0 })
	}) {
		parts = append(parts, "The best layer stands a little to the left, so that both bars are seen.")
	}
	return append(append(parts, cutWords(panels)...), axisWords(groups)...)
}

// axisWords says where λ = 0 is, if it is on an axis.
func axisWords[G grouped](groups []G) []string {
	if slices.ContainsFunc(groups, func(g G) bool { return len(g.setting().levels) > 0 && g.setting().levels[0].decay == 0 }) {
		return []string{"λ on a logarithmic axis; λ = 0 left of the break."}
	}
	return nil
}

// probeNotes says what is missing or doubtful.
func probeNotes(s *Set, groups []*probeGroup, hidden int, byLayer bool) []string {
	settings, marked := settingsOf(groups), crossed
	if byLayer { // curves have no place for a cross
		marked = ""
	}
	notes := append(runNotes(s, settings, marked), seedNotes(probeAverages(groups))...)
	return append(notes, probeAnalysis().notes(s, settings, apart(groups), hidden)...)
}
