package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"plasticity/record"
)

// responseLoss is the measure that every fine-tuned run has: cross-entropy of the reference responses of the test set.
const responseLoss = "response loss"

// measure is a number that fine-tuned models are compared by.
type measure struct {
	name   string // response loss, or as in results.json
	higher bool   // is better
}

// of returns the measure of a run that counts.
func (m measure) of(r *tunedRun) (float64, bool) {
	if !r.counts() {
		return math.NaN(), false
	}
	switch {
	case m.name == responseLoss:
		return r.final, true
	case m.name == forgettingName && r.forgot != nil:
		return r.forgot.Value(), true
	case r.used == nil:
		return math.NaN(), false
	}
	v, ok := r.used.Scores[m.name]
	return v, ok
}

// share tells whether values are shares, which are shown in percent.
func (m measure) share() bool { return m.higher && m.name != orm }

// scale is the factor from values to what is shown.
func (m measure) scale() float64 {
	if m.share() {
		return 100
	}
	return 1
}

// title names the measure with its unit.
func (m measure) title() string {
	switch {
	case m.name == responseLoss || m.name == forgettingName:
		return m.name + " (nats)"
	case m.name == orm:
		return "mean reward"
	case m.name == "greedy":
		return "greedy accuracy (%)"
	default:
		return m.inWords() + " (%)"
	}
}

// inWords names the measure in a sentence.
func (m measure) inWords() string {
	switch m.name {
	case "greedy":
		return "greedy accuracy"
	case orm:
		return "mean reward"
	default:
		return strings.ReplaceAll(m.name, "_", " ")
	}
}

// show writes a value: a loss with four decimals, a share in percent.
func (m measure) show(v float64) string {
	if m.share() && finite(v) {
		return minus(strconv.FormatFloat(100*v, 'f', 1, 64)) + " %"
	}
	return nats(v)
}

// better tells whether a is better than b.
func (m measure) better(a, b float64) bool {
	if m.higher {
		return a > b
	}
	return a < b
}

// difference puts a paired difference into words: "−0.0930, interval −0.1210 to −0.0650".
func (m measure) difference(d estimate) string { return differenceInWords(d, m.points) }

// pointsUnit is that of differences of shares.
const pointsUnit = " points"

// points writes a difference: one of shares in percentage points.
func (m measure) points(v float64) string { return strings.Replace(m.show(v), " %", pointsUnit, 1) }

// measures lists what the runs of the set were measured by: response loss first, then scores in the order they are shown.
func (s *Set) measures() []measure {
	names := map[string]bool{}
	for _, r := range s.tuned {
		if r.counts() && r.used != nil {
			for name := range r.used.Scores {
				names[name] = true
			}
		}
	}
	out := []measure{{name: responseLoss}}
	for name := range names {
		out = append(out, measure{name: name, higher: true})
	}
	slices.SortFunc(out[1:], func(a, b measure) int {
		return cmp.Or(cmp.Compare(scoreRank(a.name), scoreRank(b.name)), cmp.Compare(sampled(a.name), sampled(b.name)), strings.Compare(a.name, b.name))
	})
	return out
}

// sampled is the N of pass@N.
func sampled(name string) int {
	_, n, _ := strings.Cut(name, "@")
	v, err := strconv.Atoi(n)
	if err != nil {
		return 0
	}
	return v
}

// chooseEvaluations picks, for each task, the settings with the most answers in all, and the evaluation of each run that has them: the
// first by name, should there be several.
func (s *Set) chooseEvaluations() {
	chosen := s.mostAnswers()
	for _, r := range s.tuned {
		for i := range r.Evaluations {
			if r.used != nil || r.Evaluations[i].Settings != chosen[r.task] {
				s.unusedEvaluations++
				continue
			}
			r.used = &r.Evaluations[i]
		}
	}
}

// mostAnswers names, for each task, the settings with the most answers over all runs.
func (s *Set) mostAnswers() map[string]string {
	type key struct{ task, settings string }
	answers, chosen := map[key]int{}, map[string]string{}
	for _, r := range s.tuned {
		for _, e := range r.Evaluations {
			answers[key{r.task, e.Settings}] += e.answers()
		}
	}
	for k, n := range answers {
		old, known := chosen[k.task]
		most := answers[key{k.task, old}]
		if !known || n > most || n == most && k.settings < old {
			chosen[k.task] = k.settings
		}
	}
	return chosen
}

// results are the values of a measure over the weight decays of a setting: on one task, or averaged over tasks.
type results struct {
	measure
	task    string // its name; "" for the average
	tasks   int    // in the average
	only    string // the name of the one task in the average
	levels  []level
	fresh   level // never pretrained; N is 0 without any
	partial int   // base runs that lack some task of the average
}

// bestOfRecipes stands for "the best recipe for each base model and task".
const bestOfRecipes = -1

// results gathers a measure. task is an index, or −1 for the average; recipe an index, bestOfRecipes or, where there is a match, matchedRate.
func (d *downstream) results(task int, m measure, recipe int) results {
	if task < 0 {
		return d.resultsOver(d.tasksWith(m), m, recipe)
	}
	out := d.resultsOver(d.tasks[task:task+1], m, recipe)
	out.task = d.tasks[task].name
	return out
}

// resultsOver averages a measure over tasks.
func (d *downstream) resultsOver(tasks []taskKind, m measure, recipe int) results {
	out := results{measure: m, tasks: len(tasks)}
	if len(tasks) == 1 {
		out.only = tasks[0].name
	}
	for i := range d.base.levels {
		out.levels = append(out.levels, d.level(&d.base.levels[i], tasks, m, recipe, &out.partial))
	}
	out.fresh = d.freshLevel(tasks, m, recipe)
	return out
}

// level gathers the values of one weight decay.
func (d *downstream) level(base *level, tasks []taskKind, m measure, recipe int, partial *int) level {
	l := level{decay: base.decay, tau: base.tau}
	for _, s := range base.seeds {
		var values []float64
		var runs []*member
		for _, b := range s.runs {
			v, from, have := d.value(b.Info.ID, tasks, m, recipe)
			if have < len(tasks) {
				*partial++
				continue
			}
			if len(tasks) > 0 {
				values, runs = append(values, v), append(runs, from...)
			}
		}
		if len(values) > 0 {
			l.seeds = append(l.seeds, seedLoss{seed: s.seed, loss: mean(values), runs: runs})
		}
		for _, b := range s.runs {
			l.faulty = append(l.faulty, d.faults(b.Info.ID, tasks, recipe)...)
		}
	}
	l.estimate = estimateSeeds(l.seeds)
	return l
}

// freshLevel gathers the values of the never-pretrained models.
func (d *downstream) freshLevel(tasks []taskKind, m measure, recipe int) level {
	var l level
	known := map[int64]bool{}
	for _, r := range d.fresh {
		seed := r.Info.Seed
		if known[seed] {
			continue
		}
		known[seed] = true
		if v, runs, have := d.value(freshUnit(seed), tasks, m, recipe); have == len(tasks) && have > 0 {
			l.seeds = append(l.seeds, seedLoss{seed: seed, loss: v, runs: runs})
		}
	}
	slices.SortFunc(l.seeds, func(a, b seedLoss) int { return cmp.Compare(a.seed, b.seed) })
	l.estimate = estimateSeeds(l.seeds)
	return l
}

// value is the mean over tasks of a unit's results; have counts the tasks that have one.
func (d *downstream) value(unit string, tasks []taskKind, m measure, recipe int) (v float64, runs []*member, have int) {
	var sum float64
	for _, t := range tasks {
		best, from, found := d.taskValue(unit, t.key, m, recipe)
		if found {
			sum, have = sum+best, have+1
			runs = append(runs, from...)
		}
	}
	return sum / float64(have), runs, have
}

// taskValue is a unit's result on a task.
func (d *downstream) taskValue(unit, task string, m measure, recipe int) (best float64, from []*member, found bool) {
	if recipe == matchedRate {
		return d.matchedValue(d.match, unit, task, m)
	}
	for i, r := range d.recipes {
		if recipe != bestOfRecipes && i != recipe {
			continue
		}
		v, used, ok := d.cellValue(cell{unit, task, r.key}, m)
		if ok && (!found || m.better(v, best)) {
			best, from, found = v, used, true
		}
	}
	return best, from, found
}

// faults lists the runs of a unit that do not count.
func (d *downstream) faults(unit string, tasks []taskKind, recipe int) []*member {
	var out []*member
	for _, t := range tasks {
		for i, r := range d.recipes {
			for _, run := range d.cells[cell{unit, t.key, r.key}] {
				if !run.counts() && (recipe == bestOfRecipes || recipe == i) {
					out = append(out, run.member)
				}
			}
		}
	}
	return out
}

// tasksWith lists the tasks that were measured so at all.
func (d *downstream) tasksWith(m measure) []taskKind {
	has := map[string]bool{}
	for _, r := range d.runs {
		if _, ok := m.of(r); ok {
			has[r.task] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(d.tasks), func(t taskKind) bool { return !has[t.key] })
}

// best returns the index of the best level, or −1.
func (r *results) best() int { return bestLevel(r.levels, r.measure) }

// measured counts the levels that have a value.
func (r *results) measured() int { return measuredLevels(r.levels) }

// at returns the level of a weight decay that has a value, or nil.
func (r *results) at(decay float64) *level {
	for i := range r.levels {
		if r.levels[i].decay == decay && r.levels[i].N > 0 {
			return &r.levels[i]
		}
	}
	return nil
}

// title names the task for people.
func (r *results) title() string {
	switch {
	case r.task != "":
		return r.task
	case r.tasks == 1:
		return r.only
	default:
		return fmt.Sprintf("average of %d tasks", r.tasks)
	}
}

// theTitle is the title in a sentence.
func (r *results) theTitle() string {
	if r.task == "" && r.tasks != 1 {
		return "the " + r.title()
	}
	return r.title()
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// baseIDs lists the base runs behind fine-tuned ones.
func baseIDs(seeds []seedLoss) string {
	var out []string
	for _, v := range seeds {
		for _, m := range v.runs {
			out = append(out, m.Info.Parents...)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// lossOptimal returns the level of the base models with the lowest mean validation loss, or nil.
func (d *downstream) lossOptimal() *level {
	return d.base.lossOptimal()
}

// Tuned returns how many fine-tuned runs the set has, and how many of them count.
func (s *Set) Tuned() (all, counted int) {
	for _, r := range s.tuned {
		if r.counts() {
			counted++
		}
	}
	return len(s.tuned), counted
}

// isTuned tells whether a run is a fine-tuned one.
func isTuned(i record.Info) bool { return i.Kind == kindFinetune }
