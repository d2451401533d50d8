package sweeps

import (
	"fmt"
	"math"
	"slices"

	"plasticity/record"
)

// chain names what a base model (or, with none, a never-pretrained model of a seed) goes through on a task.
type chain struct {
	base int
	seed int64 // of a never-pretrained model
	task string
}

// descent has the rows of fine-tunings and evaluations by chain.
type descent map[chain][]Row

func chainOf(c Cell) chain {
	if c.Base == none {
		return chain{none, c.Seed, c.Task}
	}
	return chain{base: c.Base, task: c.Task}
}

func (s Status) descent() descent {
	d := make(descent)
	for _, row := range s.Rows {
		if kind := row.Cell.Kind; !row.Stale && (kind == Finetune || kind == Evaluate) {
			d[chainOf(row.Cell)] = append(d[chainOf(row.Cell)], row)
		}
	}
	return d
}

// tasks are those of the fine-tunings, in the order of the plan.
func (s Status) tasks() []string {
	var out []string
	for _, row := range s.Rows {
		if c := row.Cell; !row.Stale && c.Kind == Finetune && !slices.Contains(out, c.Task) {
			out = append(out, c.Task)
		}
	}
	return out
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// text says how far a chain is: where its one fine-tuning stands, or how many of several are through.
func (d descent) text(c chain) string {
	rows := d[c]
	var tuned []Row
	last := make(map[int]Row) // evaluations by the index of what they evaluate
	for _, row := range rows {
		if row.Cell.Kind == Finetune {
			tuned = append(tuned, row)
		} else {
			last[row.Cell.Needs] = row
		}
	}
	if len(tuned) == 0 {
		return "-"
	}
	through, failures := 0, 0
	for _, row := range tuned {
		end := row
		if evaluation, ok := last[row.Cell.Index]; ok && row.State == record.StateDone {
			end = evaluation
		}
		switch end.State {
		case record.StateDone:
			through++
		case record.StateFailed:
			failures++
		}
		if len(tuned) == 1 {
			return stageText(row, end)
		}
	}
	text := fmt.Sprintf("%d of %d done", through, len(tuned))
	if failures > 0 {
		text += fmt.Sprintf(", %d failed", failures)
	}
	return text
}

// stageText is the state of a fine-tuning, and of its evaluation when end is that.
func stageText(tuned, end Row) string {
	switch {
	case end.State == record.StateDone && !math.IsNaN(float64(tuned.ValLoss)):
		return floatText(tuned.ValLoss, 4)
	case end.State == record.StateRunning:
		doing := "tuning"
		if end.Cell.Kind == Evaluate {
			doing = "answering"
		}
		return fmt.Sprintf("%s %d/%d", doing, end.Step, end.Cell.Steps)
	case end.Cell.Kind == Evaluate && end.State == record.StatePlanned:
		return "tuned"
	}
	return string(end.State)
}

// descendantsText says what comes after the base models, in a few lines; none when nothing does.
func (s Status) descendantsText() []string {
	type group struct {
		task  string
		fresh bool
	}
	type sums struct {
		runs, evaluations     int
		steps, problems, each int64
		flops                 float64
	}
	var order []group
	of := make(map[group]*sums)
	for _, row := range s.Rows {
		c := row.Cell
		if row.Stale || c.Kind != Finetune && c.Kind != Evaluate {
			continue
		}
		key := group{c.Task, c.Base == none}
		if of[key] == nil {
			of[key] = &sums{}
			order = append(order, key)
		}
		sum := of[key]
		sum.flops += float64(c.FLOPs)
		if c.Kind == Finetune {
			sum.runs++
			sum.steps += c.Steps
			continue
		}
		sum.evaluations++
		sum.problems, sum.each = c.Steps, int64(c.Evaluation.Samples)
	}
	var lines []string
	for _, key := range order {
		sum, from := of[key], "the base models"
		if key.fresh {
			from = "never-pretrained models"
		}
		line := fmt.Sprintf("then %d × %s from %s, %d steps in all", sum.runs, key.task, from, sum.steps)
		if sum.evaluations > 0 {
			line += fmt.Sprintf(", %d evaluations of %d problems with %d samples", sum.evaluations, sum.problems, sum.each)
		}
		lines = append(lines, line+fmt.Sprintf(", %s FLOPs", floatText(record.Float(sum.flops), 3)))
	}
	return lines
}

// writeFresh prints how far the never-pretrained models are.
func (s Status) writeFresh(w *stickyWriter) {
	d, tasks := s.descent(), s.tasks()
	var seeds []int64
	for _, row := range s.Rows {
		if c := row.Cell; !row.Stale && c.Kind == Finetune && c.Base == none && !slices.Contains(seeds, c.Seed) {
			seeds = append(seeds, c.Seed)
		}
	}
	if len(seeds) == 0 {
		return
	}
	w.printf("\n")
	t := newTable(w)
	t.AppendHeader(append([]any{"never pretrained, seed"}, anys(tasks)...))
	for _, seed := range seeds {
		line := []any{seed}
		for _, task := range tasks {
			line = append(line, d.text(chain{none, seed, task}))
		}
		t.AppendRow(line)
	}
	t.SetColumnConfigs(rightAligned("never pretrained, seed"))
	t.Render()
}
