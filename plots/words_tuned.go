package plots

import (
	"fmt"
	"slices"
	"strings"

	"plasticity/record"
)

// tunedCaption says what the marks mean and what was fine-tuned.
func tunedCaption(s *Set, drawn []*downstream, groups []tunedGroup, measures []measure) string {
	if len(drawn) == 0 {
		return ""
	}
	parts := []string{"Fine-tuned models against the weight decay their base models were pretrained with."}
	parts = append(parts, "Means over seeds"+tunedSeeds(drawn)+"; bars: 95 % t interval; average: unweighted mean over tasks, of seeds that have them all.")
	if slices.ContainsFunc(drawn, func(d *downstream) bool { return len(d.recipes) > 1 }) {
		parts = append(parts, "Fixed recipe: of those tried, the one with the lowest mean response loss over base models and tasks, for all rows. "+
			"Best of the recipes: chosen by the value shown, on the same test set, so it flatters.")
	}
	if slices.ContainsFunc(drawn, func(d *downstream) bool { return d.match != nil }) {
		parts = append(parts, "Matched rate: rate over the norm of the base's weights equal for all base models, the ratio with the lowest mean response loss; "+
			"interpolated in log rate between the rates that were tried.")
	}
	parts = append(parts, measureWords(s, measures)...)
	if slices.ContainsFunc(groups, func(g tunedGroup) bool { return g.axis.hasZero }) {
		parts = append(parts, "λ on a logarithmic axis; λ = 0 left of the break.")
	}
	if slices.ContainsFunc(groups, tunedGroup.cut) {
		parts = append(parts, "Triangles at the upper edge: means above it.")
	}
	return strings.Join(append(parts, tunedProvenance(drawn)...), " ")
}

// cut tells whether some panel leaves values out above.
func (g tunedGroup) cut() bool {
	return slices.ContainsFunc(slices.Concat(slices.Concat(g.lines...)...), func(t tunedPanel) bool { return t.cut })
}

// measureWords defines the measures of a caption.
func measureWords(s *Set, measures []measure) []string {
	parts := []string{"Response loss: cross-entropy of the reference responses of the whole test set; lower is better."}
	if len(measures) < 2 {
		return parts
	}
	var names []string
	for _, m := range measures[1:] {
		names = append(names, m.inWords())
	}
	var made []string
	for _, r := range s.tuned {
		if r.counts() && r.used != nil {
			made = append(made, fmt.Sprintf("%d problems × %d samples", r.used.Problems, r.used.Samples))
		}
	}
	return append(parts, fmt.Sprintf("%s: share of problems answered correctly (%s).", sentenceCase(strings.Join(names, ", ")), listed(made)))
}

// sentenceCase begins with a capital.
func sentenceCase(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// tunedSeeds counts the seeds behind the averages: " (n = 3)".
func tunedSeeds(drawn []*downstream) string {
	counts := seedCounts(averages(drawn))
	if counts == "" {
		return ""
	}
	return " (" + counts + ")"
}

// averages are the levels of the average response loss, in the form that words about levels take.
func averages(drawn []*downstream) []*setting {
	var out []*setting
	for _, d := range drawn {
		out = append(out, &setting{levels: d.results(-1, measure{name: responseLoss}, d.fixed).levels})
	}
	return out
}

// tunedProvenance says what was pretrained and fine-tuned, by which program.
func tunedProvenance(drawn []*downstream) []string {
	var bases, tuned []*setting
	for _, d := range drawn {
		bases = append(bases, d.base)
		g := &setting{}
		for _, r := range d.runs {
			g.runs = append(g.runs, r.member)
		}
		tuned = append(tuned, g)
	}
	steps := distinct(tuned, func(i record.Info) string { return fmt.Sprint(i.Steps) })
	rates := distinct(tuned, func(i record.Info) string { return decimal(float64(i.LearningRate)) })
	decay := distinct(tuned, func(i record.Info) string { return number(float64(i.WeightDecay)) })
	return []string{
		fmt.Sprintf("Fine-tuning: AdamW, peak lr %s, weight decay %s, %s steps; commit %s.", rates, decay, steps, distinct(tuned, commit)),
		"Base models: " + distinct(bases, func(i record.Info) string { return clean(i.DataSource, 80) }) + "; " +
			distinctSettings(bases, (*setting).decayed) + "; commit " + distinct(bases, commit) + ". TPP: tokens per parameter.",
	}
}

// tunedNotes says what is missing or doubtful in a figure of fine-tuned runs; marked says which of those that do not count it marks.
func (s *Set) tunedNotes(drawn []*downstream, marked string) []string {
	var notes []string
	if faults := s.tunedFaults(); len(faults) > 0 {
		notes = append(notes, faultNote(faults, plural(len(s.tuned), "fine-tuned run"), marked))
	}
	loose := 0
	for _, r := range s.tuned {
		if r.fresh && !slices.ContainsFunc(s.down, func(d *downstream) bool { return slices.Contains(d.fresh, r) }) {
			loose++
		}
	}
	if loose > 0 {
		notes = append(notes, plural(loose, "never-pretrained run")+" without fine-tuned base models of their size and tokenizer: not drawn.")
	}
	if len(drawn) == 0 {
		return notes
	}
	notes = append(notes, gapNotes(drawn)...)
	notes = append(notes, seedNotes(averages(drawn))...)
	if len(s.measures()) == 1 {
		notes = append(notes, "no answers were evaluated: response loss only.")
	}
	if n := s.unusedEvaluations; n > 0 {
		notes = append(notes, plural(n, "further evaluation")+" with other settings not used: for each task those with the most answers are.")
	}
	if n := len(s.problems); n > 0 {
		notes = append(notes, plural(n, "problem")+" while reading records; the report lists them.")
	}
	return notes
}

// tunedFaults lists fine-tuned runs that do not count.
func (s *Set) tunedFaults() []string {
	var faults []string
	for _, r := range s.tuned {
		if !r.counts() {
			faults = append(faults, r.name()+" "+r.fault)
		}
	}
	return faults
}

// gapNotes says which base models and never-pretrained ones are missing.
func gapNotes(drawn []*downstream) []string {
	var notes []string
	bases, partial, bare, unequal := 0, 0, 0, 0
	for _, d := range drawn {
		r := d.results(-1, measure{name: responseLoss}, d.fixed)
		bases += len(d.units())
		partial += r.partial
		if r.fresh.N == 0 {
			bare++
		}
		unequal += d.lacking()
	}
	if partial > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s lack a result on some task by the fixed recipe and are not in the averages.", partial, plural(bases, "base run")))
	}
	if unequal > 0 {
		notes = append(notes, fmt.Sprintf("for %d of the base models' tasks some recipe is missing: best of fewer there.", unequal))
	}
	switch {
	case bare == len(drawn):
		notes = append(notes, "no never-pretrained model: whether pretraining helps at all cannot be seen.")
	case bare > 0:
		notes = append(notes, fmt.Sprintf("no never-pretrained model for %d of %d settings.", bare, len(drawn)))
	}
	return notes
}

// lacking counts the base models' tasks that some but not all recipes have.
func (d *downstream) lacking() int {
	n := 0
	for _, unit := range d.units() {
		for _, t := range d.tasks {
			if values, have := d.perRecipe(unit, t.key); have > 0 && have < len(values) {
				n++
			}
		}
	}
	return n
}
