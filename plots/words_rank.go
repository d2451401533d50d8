package plots

import (
	"fmt"
	"slices"
	"strings"
)

// label is the formula in short: "power 1, 95 %, not normalised".
func (f RankFormula) label() string {
	normalised := "not normalised"
	if f.normalised() {
		normalised = "divided by the head size"
	}
	text := fmt.Sprintf("power %d, %s %%, %s", f.Power, short(100*f.Threshold), normalised)
	if f.FoldedNorms {
		text += ", gains of norms folded in"
	}
	return text
}

// inWords defines the pseudo-rank.
func (f RankFormula) inWords() string {
	of := "the sum"
	if f.Power == 2 {
		of = "the sum of squares"
	}
	return fmt.Sprintf("Pseudo-rank: how many of the largest singular values of a head's product reach %s %% of %s of all (%s)", short(100*f.Threshold), of, f.label())
}

// rankCaption says what the marks mean, by which formula, and what was trained.
func rankCaption(drawn []*rankGroup, training bool) string {
	if len(drawn) == 0 {
		return ""
	}
	var formulas, heads []string
	runs := 0
	for _, g := range drawn {
		formulas = append(formulas, g.formula.inWords())
		heads = append(heads, fmt.Sprintf("%s of size %d", plural(g.heads, "query head"), g.headSize))
		for _, m := range g.runs {
			if !training || len(m.Ranks.Training) > 0 {
				runs++
			}
		}
	}
	slices.Sort(formulas)
	parts := []string{
		strings.Join(slices.Compact(formulas), "; ") + ".",
		fmt.Sprintf("Means over %s and over seeds; %s. Layers are counted from 0.", listed(heads), plural(runs, "run")),
	}
	if training {
		parts = append(parts, trainingMarks(drawn))
	} else {
		parts = append(parts, decayMarks(drawn)...)
	}
	return strings.Join(append(parts, provenance(settingsOf(drawn))...), " ")
}

// trainingMarks says what the marks over training mean.
func trainingMarks(drawn []*rankGroup) string {
	text := "Drawn at the checkpoints that were kept. Intervals are in the CSV"
	if counts := seedCounts(rankEnds(drawn)); counts != "" {
		text += " (" + counts + ")"
	}
	return text + "."
}

// decayMarks says what the marks against weight decay mean.
func decayMarks(drawn []*rankGroup) []string {
	parts := []string{"Black: average over layers, with every seed as a circle beside it. τ = 1/(lr·λ·steps)."}
	if counts := seedCounts(rankAverages(drawn)); counts != "" {
		parts = append(parts, "Bars: 95 % t interval of the mean, "+counts+".")
	}
	if slices.ContainsFunc(drawn, func(g *rankGroup) bool { return len(g.layers) > maxLayerBars }) {
		parts = append(parts, "Intervals of single layers are in the table.")
	}
	if slices.ContainsFunc(drawn, func(g *rankGroup) bool { return len(g.base.levels) > 0 && g.base.levels[0].decay == 0 }) {
		parts = append(parts, "λ on a logarithmic axis; λ = 0 left of the break.")
	}
	return parts
}

// rankNotes says what is missing or doubtful.
func rankNotes(s *Set, groups []*rankGroup, hidden int, training bool) []string {
	settings := settingsOf(groups)
	var notes []string
	if training { // curves have no place for a cross
		notes = append(runNotes(s, settings, ""), seedNotes(rankEnds(groups))...)
	} else {
		notes = append(runNotes(s, settings, crossed), seedNotes(rankAverages(groups))...)
	}
	all, without := 0, 0
	var older []string
	every, others := ofPretraining(s)
	for _, g := range every {
		for _, m := range g.runs {
			switch {
			case !m.counts():
				if m.Ranks != nil && !slices.Contains(settings, g) {
					older = append(older, m.name()+" "+m.fault)
				}
			case m.Ranks == nil:
				all, without = all+1, without+1
			case !m.ranked():
				all++
				older = append(older, fmt.Sprintf("%s was measured at step %d of %d", m.name(), m.Ranks.Last.Step, m.Info.Steps))
			default:
				all++
			}
		}
	}
	if without > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s without ranks (plasticity analyze rank): not drawn.", without, plural(all, "finished run")))
	}
	if len(older) > 0 {
		notes = append(notes, "ranks left out: "+listed(older)+".")
	}
	if slices.ContainsFunc(groups, func(g *rankGroup) bool { return g.many }) {
		notes = append(notes, "runs of one setting were measured by different formulas or in different layers: they are drawn apart.")
	}
	if hidden > 0 {
		notes = append(notes, plural(hidden, "further group")+" of runs not drawn here; the table has them.")
	}
	if others > 0 {
		notes = append(notes, plural(others, "run")+" of another kind than pretraining not drawn here.")
	}
	return notes
}
