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

// The kinds of runs that figures know.
const (
	kindPretrain = "pretrain"
	kindFinetune = "finetune"
)

// tunedRun is one fine-tuned run with what it was made from.
type tunedRun struct {
	*member
	task   string // key of its task
	recipe string // key of its recipe
	base   *member
	fresh  bool // made from fresh weights: never pretrained
	used   *Evaluation
	forgot *Forgetting // that compares with the others of the set; nil without
}

// taskName is the name of the task a run was fine-tuned on.
func taskName(i record.Info) string {
	if i.Task != "" {
		return i.Task
	}
	return strings.TrimPrefix(i.DataSource, "task ") // records of older programs
}

// name says which run is meant, in a note.
func (r *tunedRun) name() string {
	from := "never pretrained, seed " + r.seed
	if r.base != nil {
		from = fmt.Sprintf("λ = %s seed %s", lambda(r.base.decay()), r.base.seed)
	} else if !r.fresh {
		from = "another base"
	}
	return fmt.Sprintf("%s from %s (run %.8s)", clean(taskName(r.Info), 32), from, r.Info.ID)
}

// downstream is what became of the base models of one setting by fine-tuning.
type downstream struct {
	base    *setting
	tasks   []taskKind
	recipes []recipe
	fixed   int         // index of the fixed recipe
	match   *matching   // nil where no rates can be matched
	runs    []*tunedRun // of base models of the setting
	fresh   []*tunedRun // never pretrained, of the same size with the same tokenizer

	cells map[cell][]*tunedRun
}

// cell names the runs that repeat each other: same unit, task and recipe. The unit is the id of a base run, or "fresh" with a seed.
type cell struct{ unit, task, recipe string }

// taskKind is a task: runs on other examples under the same name are another one.
type taskKind struct{ key, name string }

// recipe is a way to fine-tune.
type recipe struct {
	key    string
	label  string // what tells it from the others: "lr 0.001"
	lr     float64
	fields []field
}

// freshUnit names the never-pretrained model of a seed.
func freshUnit(seed int64) string { return fmt.Sprintf("fresh %d", seed) }

// sortTuned links fine-tuned runs to the base runs of the set.
func (s *Set) sortTuned(members []*member) {
	bases, place := map[string]*member{}, map[string]*setting{}
	settings, _ := ofPretraining(s)
	for _, g := range settings {
		for _, m := range g.runs {
			bases[m.Info.ID], place[m.Info.ID] = m, g
		}
	}
	for _, m := range members {
		r := &tunedRun{member: m, task: taskName(m.Info) + " " + m.Info.DataDigest, recipe: recipeKey(m), fresh: len(m.Info.Parents) == 0}
		if !r.fresh {
			r.base = bases[m.Info.Parents[0]]
		}
		switch {
		case !m.counts() || r.fresh:
		case r.base == nil:
			m.fault = fmt.Sprintf("was made from run %.8s, which is no base run of this set", clean(m.Info.Parents[0], 8))
		case !r.base.counts():
			m.fault = "was made from a base run that " + r.base.fault
		}
		s.tuned = append(s.tuned, r)
	}
	s.chooseEvaluations()
	s.chooseForgetting()
	recipes, tasks := s.recipes(), s.tasks()
	for _, g := range settings {
		if d := s.downstreamOf(g, place, recipes, tasks); d != nil {
			s.down = append(s.down, d)
		}
	}
}

// downstreamOf gathers the fine-tuned runs of a setting; nil without any.
func (s *Set) downstreamOf(g *setting, place map[string]*setting, recipes []recipe, tasks []taskKind) *downstream {
	d := &downstream{base: g, cells: map[cell][]*tunedRun{}}
	first := g.runs[0].Info
	usedRecipes, usedTasks := map[string]bool{}, map[string]bool{}
	for _, r := range s.tuned {
		var unit string
		switch {
		case r.base != nil && place[r.base.Info.ID] == g:
			d.runs = append(d.runs, r)
			unit = r.base.Info.ID
			usedRecipes[r.recipe], usedTasks[r.task] = true, true
		case r.fresh && r.Info.Parameters == first.Parameters && r.Info.TokenizerDigest == first.TokenizerDigest:
			d.fresh = append(d.fresh, r)
			unit = freshUnit(r.Info.Seed)
		default:
			continue
		}
		c := cell{unit, r.task, r.recipe}
		d.cells[c] = append(d.cells[c], r)
	}
	if len(d.runs) == 0 {
		return nil
	}
	d.recipes = slices.DeleteFunc(slices.Clone(recipes), func(r recipe) bool { return !usedRecipes[r.key] })
	d.tasks = slices.DeleteFunc(slices.Clone(tasks), func(t taskKind) bool { return !usedTasks[t.key] })
	d.fixed = d.chooseFixed()
	d.match = d.newMatching()
	return d
}

// tasks lists the tasks of the set by name; a name with different examples is told apart by digest.
func (s *Set) tasks() []taskKind {
	var out []taskKind
	names := map[string]int{}
	known := map[string]bool{}
	digests := map[string]string{}
	for _, r := range s.tuned {
		if known[r.task] {
			continue
		}
		known[r.task] = true
		name := clean(taskName(r.Info), 40)
		names[name]++
		digests[r.task] = r.Info.DataDigest
		out = append(out, taskKind{key: r.task, name: name})
	}
	slices.SortFunc(out, func(a, b taskKind) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.key, b.key)) })
	for i := range out {
		if names[out[i].name] > 1 {
			out[i].name += fmt.Sprintf(" (%.6s)", clean(digests[out[i].key], 6))
		}
	}
	return out
}

// recipeFields lists what decides how a model is fine-tuned. Steps are left to the axes: budgets in epochs give every task its own.
func recipeFields(m *member) []field {
	var fields []field
	for _, f := range configFields(m) {
		for _, prefix := range []string{"optimizer.", "schedule.", "decay_schedule.", "batch.sequences", "init_truncate."} {
			if strings.HasPrefix(f.name, prefix) {
				fields = append(fields, f)
				break
			}
		}
	}
	if len(fields) == 0 {
		fields = []field{{"optimizer.lr", number(float64(m.Info.LearningRate))}, {"optimizer.weight_decay", number(float64(m.Info.WeightDecay))}}
	}
	for _, name := range []string{"init_truncate.query_key", "init_truncate.value_output"} { // not in a configuration where they are 0
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			fields = append(fields, field{name, "0"})
		}
	}
	for _, a := range m.Info.Axes {
		known := slices.ContainsFunc(fields, func(f field) bool { return f.name == a.Name })
		if !known && a.Name != "seed" {
			fields = append(fields, field{clean(a.Name, 40), clean(a.Value, 40)})
		}
	}
	return fields
}

func recipeKey(m *member) string { return fmt.Sprintf("%q", recipeFields(m)) }

// recipes lists the recipes of the set by rate, labelled by what differs between them.
func (s *Set) recipes() []recipe {
	var out []recipe
	known := map[string]bool{}
	for _, r := range s.tuned {
		if !known[r.recipe] {
			known[r.recipe] = true
			out = append(out, recipe{key: r.recipe, lr: float64(r.Info.LearningRate), fields: recipeFields(r.member)})
		}
	}
	slices.SortFunc(out, func(a, b recipe) int { return cmp.Or(cmp.Compare(a.lr, b.lr), strings.Compare(a.key, b.key)) })
	all := make([][]field, len(out))
	for i := range out {
		all[i] = out[i].fields
	}
	differs := differing(all)
	seen := map[string]int{}
	for i := range out {
		var parts []string
		for _, f := range out[i].fields {
			if differs[f.name] {
				parts = append(parts, clean(f.name[strings.LastIndexByte(f.name, '.')+1:]+" "+plainNumber(f.value), 28))
			}
		}
		if len(parts) == 0 {
			parts = []string{"lr " + decimal(out[i].lr)}
		}
		out[i].label = strings.Join(parts, ", ")
		seen[out[i].label]++
		if n := seen[out[i].label]; n > 1 {
			out[i].label += fmt.Sprintf(" (%d)", n)
		}
	}
	return out
}

// plainNumber writes a number of a configuration without an exponent; other text stays.
func plainNumber(text string) string {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return decimal(v)
	}
	return text
}

// chooseFixed returns the recipe with the lowest mean response loss over the base models and tasks that every recipe has; where there is
// no such, the one with the most results.
func (d *downstream) chooseFixed() int {
	sums, counts := make([]float64, len(d.recipes)), make([]float64, len(d.recipes))
	common := false
	for _, unit := range d.units() {
		for _, t := range d.tasks {
			values, n := d.perRecipe(unit, t.key)
			common = common || n == len(values)
			for i, v := range values {
				if n == len(values) {
					sums[i] += v
				}
				if finite(v) {
					counts[i]--
				}
			}
		}
	}
	if !common {
		sums = counts // the most results: the lowest of their negatives
	}
	return bestOf(sums, measure{})
}

// units lists the base runs that count.
func (d *downstream) units() []string {
	var out []string
	for _, l := range d.base.levels {
		for _, v := range l.seeds {
			for _, m := range v.runs {
				out = append(out, m.Info.ID)
			}
		}
	}
	return out
}

// perRecipe gives the response loss of a unit on a task by each recipe, NaN where there is none, and how many there are.
func (d *downstream) perRecipe(unit, task string) (values []float64, n int) {
	for _, r := range d.recipes {
		v, _, ok := d.cellValue(cell{unit, task, r.key}, measure{name: responseLoss})
		if ok {
			n++
		}
		values = append(values, v)
	}
	return values, n
}

// cellValue is the mean of a measure over the runs of a cell that count.
func (d *downstream) cellValue(c cell, m measure) (value float64, runs []*member, ok bool) {
	for _, r := range d.cells[c] {
		v, has := m.of(r)
		if !has {
			continue
		}
		value += v
		runs = append(runs, r.member)
	}
	if len(runs) == 0 {
		return math.NaN(), nil, false
	}
	return value / float64(len(runs)), runs, true
}
