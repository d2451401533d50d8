package config

import (
	"fmt"
	"strings"
)

// checker looks at what only the whole configuration can tell.
type checker struct {
	run      *Run
	layers   []layer
	problems *problemList
}

// check reports contradictions between keys. It stays silent on keys whose own value was refused: those have the value
// of a lower layer, which cannot contradict more than it did.
func (t table) check(run *Run, layers []layer, problems *problemList) {
	c := &checker{run, layers, problems}
	c.step()
	c.model()
	c.batch()
	c.task()
	c.truncate()
	c.decay()
	c.schedule()
	c.unused(t)
}

// report blames the highest of the keys.
func (c *checker) report(value any, what, allowed string, keys ...string) {
	at := origin{}
	best := -1
	for _, key := range keys {
		for i, l := range c.layers {
			if s, ok := l[key]; ok && (i > best || i == best && s.at.line > at.line) {
				best, at = i, s.at
			}
		}
	}
	c.problems.add(at.problem(keys[0], fmt.Sprint(value), what, allowed))
}

// step refuses a choice among the engine's kernels where there is no engine.
func (c *checker) step() {
	if c.run.ISA != ISAAuto && c.run.Step == StepReference {
		c.report(c.run.ISA, "has no use with step "+StepReference, ISAAuto+", or step "+StepEngine, "isa", "step")
	}
}

func (c *checker) model() {
	m := c.run.Model
	switch {
	case m.Width%m.Heads != 0:
		c.report(m.Heads, fmt.Sprintf("does not divide model.width %d", m.Width), "a divisor of the width", "model.heads", "model.width")
	case m.HeadSize()%2 != 0:
		c.report(m.Heads, fmt.Sprintf("makes heads of size %d (model.width %d)", m.HeadSize(), m.Width), "heads of an even size, for the rotary embedding", "model.heads", "model.width")
	}
	switch {
	case m.KVHeads > m.Heads:
		c.report(m.KVHeads, fmt.Sprintf("is more than model.heads %d", m.Heads), "a divisor of heads", "model.kv_heads", "model.heads")
	case m.Heads%m.KVHeads != 0:
		c.report(m.KVHeads, fmt.Sprintf("does not divide model.heads %d", m.Heads), "a divisor of heads", "model.kv_heads", "model.heads")
	}
	if m.Vocab == 1 {
		c.report(m.Vocab, "is too small", "0 (the tokenizer's) or from 2 on", "model.vocab")
	}
}

func (c *checker) batch() {
	b := c.run.Batch
	if b.MicroSequences > 0 && b.Sequences%b.MicroSequences != 0 {
		c.report(b.MicroSequences, fmt.Sprintf("does not divide batch.sequences %d", b.Sequences), "a divisor of it, or 0", "batch.micro_sequences", "batch.sequences")
	}
	perStep := float64(b.Sequences) * float64(c.run.Model.Context)
	if total := perStep * float64(c.run.Budget.Steps); total > maxTokens {
		c.report(c.run.Budget.Steps, fmt.Sprintf("makes %.3g tokens", total), fmt.Sprintf("at most %.3g tokens in all", maxTokens), "budget.steps", "batch.sequences", "model.context")
	}
	if tokens := c.run.Budget.Tokens; tokens > 0 && float64(tokens) < perStep/2 {
		c.report(tokens, fmt.Sprintf("is less than one step of %.0f tokens", perStep), "more tokens or smaller steps", "budget.tokens", "batch.sequences", "model.context")
	}
}

// task refuses fine-tuning beside pretraining, or without a model to fine-tune.
func (c *checker) task() {
	d := c.run.Data
	switch {
	case d.Task == "" && c.run.Fresh:
		c.report(true, "has no use without data.task", "false: without init the weights are fresh in any case", "fresh", "data.task")
	case d.Task == "":
	case d.Train != "" || d.Val != "":
		c.report(d.Task, "stands beside data.train or data.val", "either a task or prepared text", "data.task", "data.train", "data.val")
	case c.run.Init == "":
		c.report(d.Task, "has no model to fine-tune", "init with a run or a Hugging Face folder", "data.task", "init")
	}
}

// truncate refuses to lower the ranks of weights that nothing was learned in.
func (c *checker) truncate() {
	t := c.run.InitTruncate
	for _, part := range []struct {
		key   string
		share float64
	}{{"init_truncate.query_key", t.QueryKey}, {"init_truncate.value_output", t.ValueOutput}} {
		switch {
		case part.share == 0:
		case c.run.Init == "":
			c.report(short(part.share), "has no weights to lower the ranks of", "init with a run or a Hugging Face folder, or 0", part.key, "init")
		case c.run.Fresh:
			c.report(short(part.share), "would lower the ranks of fresh weights", "0, or fresh: false", part.key, "fresh")
		}
	}
}

// decay refuses a decay that would turn the sign of a weight.
func (c *checker) decay() {
	o := c.run.Optimizer
	const allowed = "lr · weight_decay below 1: one step may not shrink a weight to nothing"
	if o.WeightDecay != nil && o.LR**o.WeightDecay >= 1 {
		c.report(short(*o.WeightDecay), fmt.Sprintf("times optimizer.lr %s is %s", short(o.LR), short(o.LR**o.WeightDecay)), allowed, "optimizer.weight_decay", "optimizer.lr")
	}
	for i, g := range o.Groups {
		if o.LR*g.WeightDecay >= 1 {
			at, _ := top(c.layers, "optimizer.groups")
			c.problems.add(at.at.problem(fmt.Sprintf("optimizer.groups[%d].weight_decay", i), short(g.WeightDecay), fmt.Sprintf("times optimizer.lr %s is %s", short(o.LR), short(o.LR*g.WeightDecay)), allowed))
		}
		for _, glob := range o.NoDecay {
			if glob == g.Match {
				c.report(quoted(glob), "is also the match of a group", "a parameter either without decay or with its own", "optimizer.no_decay", "optimizer.groups")
			}
		}
	}
}

func (c *checker) schedule() {
	s, d := c.run.Schedule, c.run.DecaySchedule
	if s.Kind == "wsd" && s.WarmupFraction+s.DecayFraction > 1 {
		c.report(short(s.DecayFraction), fmt.Sprintf("and schedule.warmup_fraction %s are more than the whole", short(s.WarmupFraction)), "together at most 1", "schedule.decay_fraction", "schedule.warmup_fraction")
	}
	if d.Kind == "window" && d.StartFraction >= d.EndFraction {
		c.report(short(d.StartFraction), fmt.Sprintf("is not before decay_schedule.end_fraction %s", short(d.EndFraction)), "a window that opens before it closes", "decay_schedule.start_fraction", "decay_schedule.end_fraction")
	}
}

// usedBy tells which kinds of schedule have a use for a key; nil: the key does not depend on a kind.
func usedBy(path string) (kindKey string, kinds []string) {
	switch path {
	case "schedule.final_fraction":
		return "schedule.kind", []string{"cosine", "wsd", "linear"}
	case "schedule.decay_fraction":
		return "schedule.kind", []string{"wsd"}
	case "decay_schedule.final_fraction":
		return "decay_schedule.kind", []string{"linear", "cosine"}
	case "decay_schedule.start_fraction", "decay_schedule.end_fraction":
		return "decay_schedule.kind", []string{"window"}
	}
	return "", nil
}

// unused refuses a key that the kind of its schedule has no use for. A kind that a higher layer chose makes the keys of
// lower layers void without a word: that is what overriding means.
func (c *checker) unused(t table) {
	for _, f := range t {
		kindKey, kinds := usedBy(f.path)
		if kinds == nil {
			continue
		}
		chosen, _ := top(c.layers, kindKey)
		name, _ := chosen.value.(string)
		if contains(kinds, name) {
			continue
		}
		for i, l := range c.layers[2:] { // above default and preset
			set, ok := l[f.path]
			if ok && !c.kindAbove(kindKey, i+2) {
				c.problems.add(set.at.problem(f.path, fmt.Sprint(set.value), fmt.Sprintf("has no use with %s %s", kindKey, name), "it goes with "+strings.Join(kinds, ", ")))
			}
		}
	}
}

// kindAbove tells whether a layer above i sets the key.
func (c *checker) kindAbove(key string, i int) bool {
	_, ok := top(c.layers[i+1:], key)
	return ok
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

// settle gives keys without a use their default, so that equal runs are equal values.
func (t table) settle(run *Run) {
	for _, f := range t {
		if !f.idle(run) {
			continue
		}
		def, _ := f.def.(float64)
		switch f.path {
		case "schedule.final_fraction":
			run.Schedule.FinalFraction = def
		case "schedule.decay_fraction":
			run.Schedule.DecayFraction = def
		case "decay_schedule.final_fraction":
			run.DecaySchedule.FinalFraction = def
		case "decay_schedule.start_fraction":
			run.DecaySchedule.StartFraction = def
		case "decay_schedule.end_fraction":
			run.DecaySchedule.EndFraction = def
		}
	}
}

// idle tells whether the key has no use in this run.
func (f field) idle(run *Run) bool {
	switch f.path {
	case "fresh":
		return !run.Fresh
	case "init_truncate.query_key":
		return run.InitTruncate.QueryKey == 0
	case "init_truncate.value_output":
		return run.InitTruncate.ValueOutput == 0
	}
	kindKey, kinds := usedBy(f.path)
	if kinds == nil {
		return false
	}
	name := run.Schedule.Kind
	if kindKey == "decay_schedule.kind" {
		name = run.DecaySchedule.Kind
	}
	return !contains(kinds, name)
}
