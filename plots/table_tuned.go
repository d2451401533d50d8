package plots

import (
	"math"
	"slices"
	"strconv"
)

// TunedTable lists, for each setting, task, measure and recipe, the mean result after fine-tuning per weight decay of pretraining with its
// interval, the difference to the loss-optimal decay paired by seed, and the never-pretrained model. Shares are from 0 to 1.
func TunedTable(s *Set) Table {
	t := Table{
		Name: "fine-tuned-per-decay", Title: "Results after fine-tuning per weight decay of pretraining, with 95 % intervals over seeds",
		Note: "Means over seeds of base models; shares are from 0 to 1; ± is the half-width of a 95 % t interval, of a difference paired by seed.",
		Columns: []string{
			"setting", "task", "measure", "recipe", "λ", "mean", "± 95 %", "n", "difference to loss-optimal λ", "± 95 % (paired)",
			"never pretrained", "± 95 % (never)", "n (never)", "left out", "runs",
		},
	}
	for _, d := range s.down {
		for _, m := range s.measures() {
			if len(d.tasksWith(m)) == 0 {
				continue
			}
			for task := -1; task < len(d.tasks); task++ {
				for _, w := range d.ways() {
					t.Rows = append(t.Rows, d.tableRows(task, m, w.recipe, w.label)...)
				}
			}
		}
	}
	return t
}

// way is a way to choose the recipe of results.
type way struct {
	recipe int
	label  string
}

// ways are each recipe, the best of several, and the matched rate where there is one.
func (d *downstream) ways() []way {
	var out []way
	for i, r := range d.recipes {
		out = append(out, way{i, r.label})
	}
	if len(d.recipes) > 1 {
		out = append(out, way{bestOfRecipes, "best of recipes"})
	}
	if d.match != nil {
		out = append(out, way{matchedRate, matchedLabel})
	}
	return out
}

// tableRows are the rows of one task, measure and recipe: none when nothing was measured or failed.
func (d *downstream) tableRows(task int, m measure, recipe int, label string) [][]string {
	r := d.results(task, m, recipe)
	name := r.task
	if name == "" {
		name = r.title()
	}
	if recipe == d.fixed && len(d.recipes) > 1 {
		label += " (fixed)"
	}
	var out [][]string
	for i := range r.levels {
		l := &r.levels[i]
		if l.N == 0 && len(l.faulty) == 0 {
			continue
		}
		row := []string{d.base.fullTitle(), name, m.name, label, number(l.decay), orBlank(l.Mean), orBlank(l.Half), strconv.Itoa(l.N), "", "", "", "", "", leftOut(l), l.ids()}
		if lowest := d.lossOptimal(); lowest != nil && lowest.decay != l.decay && l.N > 0 {
			if other := r.at(lowest.decay); other != nil {
				diff := difference(l, other)
				row[8], row[9] = orBlank(diff.Mean), orBlank(diff.Half)
			}
		}
		if r.fresh.N > 0 {
			row[10], row[11], row[12] = orBlank(r.fresh.Mean), orBlank(r.fresh.Half), strconv.Itoa(r.fresh.N)
		}
		out = append(out, row)
	}
	return out
}

// TunedRunTable lists every fine-tuned run of the set: what it was made from and how, how it ended, and whether it counts.
func TunedRunTable(s *Set) Table {
	t := Table{Name: "fine-tuned-runs", Title: "Fine-tuned runs", Columns: []string{
		"run", "base run", "λ of pretraining", "base seed", "task", "recipe", "seed", "state", "response loss", "scores", "evaluation", "counts",
		"commit", "started", "task digest", "folder",
	}}
	recipes := s.recipes()
	for _, r := range s.tuned {
		verdict := "yes"
		if !r.counts() {
			verdict = "no: " + r.fault
		}
		base, decay, seed := "never pretrained", "", ""
		if len(r.Info.Parents) > 0 {
			base = clean(r.Info.Parents[0], 64)
		}
		if r.base != nil {
			decay, seed = number(r.base.decay()), r.base.seed
		}
		loss := ""
		if finite(r.final) {
			loss = nats(r.final)
		}
		scores, evaluation := r.scoreWords()
		at := slices.IndexFunc(recipes, func(k recipe) bool { return k.key == r.recipe })
		t.Rows = append(t.Rows, []string{
			r.Info.ID, base, decay, seed, clean(taskName(r.Info), 64), recipes[at].label, r.seed, string(r.State), loss, scores, evaluation, verdict,
			commit(r.Info), clean(r.Info.Started, 40), clean(r.Info.DataDigest, 100), clean(r.Folder, 200),
		})
	}
	return t
}

// scoreWords lists the scores of the evaluation that is used, and how it was made.
func (r *tunedRun) scoreWords() (scores, evaluation string) {
	if r.used == nil {
		return "", ""
	}
	names := make([]string, 0, len(r.used.Scores))
	for name := range r.used.Scores {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			scores += ", "
		}
		scores += name + " " + nats(r.used.Scores[name])
	}
	return scores, clean(r.used.Folder, 64) + ": " + clean(r.used.Settings, 400)
}

// tunedPoints lists what PlasticityVsDecay draws, with the ids of the fine-tuned and of the base runs.
func tunedPoints(groups []tunedGroup) Table {
	t := Table{Name: "plasticity-vs-decay", Columns: []string{
		"setting", "task", "measure", "recipe", "mark", "weight_decay", "seed", "value", "ci95_low", "ci95_high", "n", "run_ids", "base_ids", "note",
	}}
	for _, g := range groups {
		for _, panel := range slices.Concat(slices.Concat(g.lines...)...) {
			t.Rows = append(t.Rows, pointRows(g, &panel.results, g.d.recipes[g.d.fixed].label, panel.high)...)
			if panel.tuned != nil {
				t.Rows = append(t.Rows, pointRows(g, panel.tuned, "best of recipes", panel.high)...)
			}
		}
	}
	return t
}

// pointRows are the rows of one curve.
func pointRows(g tunedGroup, r *results, recipe string, high float64) [][]string {
	var out [][]string
	task := r.task
	if task == "" {
		task = "average"
	}
	add := func(mark, decay, seed string, e estimate, seeds []seedLoss, note string) {
		l := level{seeds: seeds}
		out = append(out, []string{
			g.title, task, r.name, recipe, mark, decay, seed, plain(e.Mean), plain(e.low()), plain(e.high()), strconv.Itoa(e.N), l.ids(), baseIDs(seeds), note,
		})
	}
	one := func(v float64) estimate { return estimateMean([]float64{v}) }
	for i := range r.levels {
		l := &r.levels[i]
		for _, v := range l.seeds {
			add("seed", plain(l.decay), strconv.FormatInt(v.seed, 10), one(v.loss), []seedLoss{v}, above(r.measure.scale()*v.loss, high))
		}
		if l.N > 0 {
			add("mean", plain(l.decay), "", l.estimate, l.seeds, above(r.measure.scale()*l.Mean, high))
		}
		for _, m := range l.faulty {
			add("cross", plain(l.decay), m.seed, estimate{Mean: math.NaN(), Half: math.NaN()}, []seedLoss{{runs: []*member{m}}}, m.fault)
		}
	}
	for _, v := range r.fresh.seeds {
		add("never pretrained, seed", "", strconv.FormatInt(v.seed, 10), one(v.loss), []seedLoss{v}, "")
	}
	if r.fresh.N > 0 {
		add("never pretrained", "", "", r.fresh.estimate, r.fresh.seeds, "")
	}
	return out
}
