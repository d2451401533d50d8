package plots

import (
	"fmt"
	"slices"
	"strings"

	"plasticity/record"
)

// lossCaption says what the marks mean and what was trained.
func lossCaption(settings []*setting, drawn []lossPanel) string {
	if len(settings) == 0 {
		return ""
	}
	parts := []string{"Large dots: mean over seeds of the final validation loss; circles: every seed."}
	if counts := seedCounts(settings); counts != "" {
		parts = append(parts, "Bars: 95 % t interval of the mean, "+counts+".")
	}
	if slices.ContainsFunc(drawn, func(p lossPanel) bool { return p.axis.hasZero }) {
		parts = append(parts, "λ on a logarithmic axis; λ = 0 left of the break.")
	}
	if slices.ContainsFunc(drawn, func(p lossPanel) bool { return p.tauRows > 0 }) {
		parts = append(parts, "τ = 1/(lr·λ·steps), the timescale of AdamW as a fraction of training.")
	}
	if slices.ContainsFunc(drawn, func(p lossPanel) bool { return p.cut }) {
		parts = append(parts, "Triangles at the upper edge: losses above it, with their value.")
	}
	parts = append(parts, provenance(settings)...)
	return strings.Join(parts, " ")
}

// provenance says what was trained, on what, by which program.
func provenance(settings []*setting) []string {
	each := func(of func(record.Info) string) string { return distinct(settings, of) }
	decayed := distinctSettings(settings, (*setting).decayed)
	return []string{
		"Data: " + each(func(i record.Info) string { return clean(i.DataSource, 80) }) + passes(settings) + ".",
		"AdamW, peak lr " + each(func(i record.Info) string { return number(float64(i.LearningRate)) }) + "; " + decayed + ".",
		"TPP: tokens per parameter.",
		"Commit " + each(commit) + ".",
	}
}

// passes says how often training reads its text: ", 0.74 to 4.2 passes over it"; empty when no record tells.
func passes(settings []*setting) string {
	var all []float64
	for _, s := range settings {
		for _, m := range s.runs {
			if i := m.Info; i.TrainTokens > 0 {
				all = append(all, float64(i.Tokens)/float64(i.TrainTokens))
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	low, high := short(rounded(slices.Min(all), 2)), short(rounded(slices.Max(all), 2))
	if low == high {
		return ", " + low + " passes over it"
	}
	return ", " + low + " to " + high + " passes over it"
}

// commit shortens the commit of the program that trained a run.
func commit(i record.Info) string {
	c := clean(i.Commit, 64)
	if len(c) > 10 {
		c = c[:10]
	}
	if c == "" {
		c = "unknown"
	}
	if i.Dirty {
		c += " with changes"
	}
	return c
}

// distinct lists the different values of the runs, the first few of them.
func distinct(settings []*setting, of func(record.Info) string) string {
	var values []string
	for _, s := range settings {
		for _, m := range s.runs {
			values = append(values, of(m.Info))
		}
	}
	return listed(values)
}

func distinctSettings(settings []*setting, of func(*setting) string) string {
	var values []string
	for _, s := range settings {
		values = append(values, of(s))
	}
	return listed(values)
}

// listed joins the different values in order.
func listed(values []string) string {
	const most = 4
	slices.Sort(values)
	values = slices.Compact(values)
	if i := slices.Index(values, ""); i >= 0 {
		values[i] = "not recorded"
	}
	if extra := len(values) - most; extra > 0 {
		return strings.Join(values[:most], ", ") + fmt.Sprintf(" and %d more", extra)
	}
	return strings.Join(values, ", ")
}

// seedCounts says how many seeds stand behind the means: "n = 3 seeds", "n = 2 to 3 seeds"; empty when no level has two.
func seedCounts(settings []*setting) string {
	low, high := 0, 0
	for _, s := range settings {
		for _, l := range s.levels {
			if l.N > 0 {
				if low == 0 || l.N < low {
					low = l.N
				}
				high = max(high, l.N)
			}
		}
	}
	switch {
	case high < 2:
		return ""
	case low == high:
		return fmt.Sprintf("n = %d seeds", low)
	default:
		return fmt.Sprintf("n = %d to %d seeds", low, high)
	}
}

// inShort says in one line what a setting shows.
func (s *setting) inShort(named bool) string {
	name := ""
	if named {
		name = s.fullTitle() + ". "
	}
	at := s.best()
	if at < 0 {
		return name + "No finished run yet."
	}
	best := &s.levels[at]
	if s.measured() < 2 {
		return fmt.Sprintf("%sOnly λ = %s measured.", name, lambda(best.decay))
	}
	text := fmt.Sprintf("%sBest λ = %s, loss %s", name, lambda(best.decay), nats(best.Mean))
	if best.hasInterval() {
		text += fmt.Sprintf(" [%s, %s]", nats(best.low()), nats(best.high()))
	}
	if wins, seeds := s.wins(); seeds > 1 {
		text += fmt.Sprintf(", lowest in %d of %d seeds", wins[at], seeds)
	}
	var others []string
	for _, direction := range []int{-1, 1} {
		if l := s.neighbour(at, direction); l != nil {
			if d := difference(l, best); d.hasInterval() {
				others = append(others, fmt.Sprintf("λ = %s is %s%s [%s, %s]", lambda(l.decay), plus(d.Mean), nats(d.Mean), nats(d.low()), nats(d.high())))
			}
		}
	}
	if len(others) > 0 {
		text += ". Against it, paired by seed: " + strings.Join(others, ", ")
	}
	return text + "."
}

// lossAlt describes the picture for those who do not see it.
func lossAlt(settings []*setting) string {
	parts := []string{"Validation loss against weight decay on a logarithmic axis."}
	const most = 6
	for _, s := range settings[:min(len(settings), most)] {
		parts = append(parts, s.inShort(true))
	}
	if extra := len(settings) - most; extra > 0 {
		parts = append(parts, plural(extra, "further setting")+" in the table.")
	}
	return strings.Join(parts, " ")
}

// lossNotes says what is missing or doubtful.
func lossNotes(s *Set, settings []*setting, others int) []string {
	notes := append(runNotes(s, settings, crossed), seedNotes(settings)...)
	if others > 0 {
		notes = append(notes, plural(others, "run")+" of another kind than pretraining not drawn here.")
	}
	return notes
}

// crossed says that runs which do not count are marked.
const crossed = " (× on the figure)"

// runNotes is what every figure says about its runs; marked is crossed, or empty.
func runNotes(s *Set, settings []*setting, marked string) []string {
	var faults, schemas, data, val []string
	all, doubled := 0, 0
	for _, g := range settings {
		for _, l := range g.levels {
			for _, v := range l.seeds {
				doubled += len(v.runs) - 1
			}
		}
		for _, m := range g.runs {
			all++
			if !m.counts() {
				faults = append(faults, m.name()+" "+m.fault)
			}
			schemas = append(schemas, fmt.Sprint(m.Info.Schema))
			data = append(data, m.Info.DataDigest)
			val = append(val, m.Info.ValDigest)
		}
	}
	var notes []string
	if len(faults) > 0 {
		notes = append(notes, faultNote(faults, plural(all, "run"), marked))
	}
	if doubled > 0 {
		notes = append(notes, fmt.Sprintf("%s share setting, decay and seed with another one: averaged, counted once.", plural(doubled, "run")))
	}
	if n := different(schemas); n > 1 {
		notes = append(notes, fmt.Sprintf("records of %d schema versions are mixed.", n))
	}
	if d, v := different(data), different(val); d > 1 || v > 1 {
		notes = append(notes, fmt.Sprintf("runs on different data are mixed (%d training, %d validation digests): losses of different panels do not compare.", d, v))
	}
	if n := len(s.problems); n > 0 {
		notes = append(notes, plural(n, "problem")+" while reading records; the report lists them.")
	}
	return notes
}

// faultNote says which of the runs do not count, the first few of them.
func faultNote(faults []string, of, marked string) string {
	const most = 3
	text := fmt.Sprintf("%d of %s not in the means%s: %s", len(faults), of, marked, strings.Join(faults[:min(len(faults), most)], "; "))
	if extra := len(faults) - most; extra > 0 {
		text += fmt.Sprintf("; and %d more", extra)
	}
	return text + "."
}

// seedNotes warns where seeds are too few for an interval, or for a narrow one.
func seedNotes(settings []*setting) []string {
	return seedNotesWith(settings, seedWords{none: "no interval can be given", some: "no interval there"})
}

// seedWords say what stands in for an interval over seeds where there is one seed only: everywhere, or in some places.
type seedWords struct{ none, some string }

func seedNotesWith(settings []*setting, words seedWords) []string {
	var single, several, pairs int
	var where []string
	for _, s := range settings {
		for _, l := range s.levels {
			switch {
			case l.N == 1:
				single++
				where = append(where, lambda(l.decay))
			case l.N >= 2:
				several++
				if l.N == 2 {
					pairs++
				}
			}
		}
	}
	var notes []string
	switch {
	case single > 0 && several == 0:
		notes = append(notes, "one seed per weight decay: "+words.none+", and small differences mean nothing.")
	case single > 0 && len(settings) > 1:
		notes = append(notes, fmt.Sprintf("%d of %d means have one seed only: %s.", single, single+several, words.some))
	case single > 0:
		notes = append(notes, "one seed only at λ = "+listed(where)+": "+words.some+".")
	}
	if pairs > 0 {
		notes = append(notes, "with two seeds the t interval is wide (12.7 standard errors).")
	}
	return notes
}

// different counts distinct values.
func different(values []string) int {
	values = slices.Clone(values)
	slices.Sort(values)
	return len(slices.Compact(values))
}
