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
		formulas = append(formulas, g.like.Formula.inWords())
		heads = append(heads, fmt.Sprintf("%s of size %d", plural(g.like.Heads, "query head"), g.like.HeadSize))
		for _, m := range g.runs {
			if !training || len(g.of[m].Training) > 0 {
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
	if slices.ContainsFunc(drawn, func(g *rankGroup) bool { return len(g.layers()) > maxLayerBars }) {
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
	return append(notes, rankAnalysis().notes(s, settings, apart(groups), hidden)...)
}
