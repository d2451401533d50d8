package config

import (
	"fmt"
	"math"
	"strconv"

	"plasticity/record"
)

// DataFacts is what a configuration needs to know of its data.
type DataFacts struct {
	Vocab           int    // of the tokenizer
	TrainTokens     int64  // that the loss is over, of one pass; 0: not known
	Examples        int64  // of a task to fine-tune on; 0: prepared text
	Longest         int    // tokens that the longest example of the task reads; 0: prepared text
	ValTokens       int64  // 0: not known or no validation
	TrainDigest     string // identity of the shards
	ValDigest       string
	TokenizerDigest string
	Source          string // the body of text, for people
	Task            string // the name of a task to fine-tune on; "": prepared text
}

// Resolved is a configuration with nothing left open: in its Run the vocabulary and the micro-batch are filled in, the
// budget is in steps and the decay is a number.
type Resolved struct {
	Run
	Steps         int64
	Window        int     // tokens of the longest sequence that a step can have: the context, or a task's longest example
	TokensPerStep int64   // that the loss is over: all of prepared text, of a task those of its responses, on average
	TokensTotal   int64   // of all steps
	WeightDecay   float64 // λ
	Tau           float64 // 1/(lr·λ·Steps), as a fraction of training; +Inf without decay
}

// Resolve fills in what depends on the data. The number of steps is the nearest to the budget, at least one. The error
// is a record.Failure with Usage and every problem inside.
func (r Run) Resolve(d DataFacts) (Resolved, error) {
	problems := &problemList{}
	r.resolveVocab(d, problems)
	if r.Model.Context < 1 || r.Batch.Sequences < 1 || !(r.Optimizer.LR > 0) {
		problems.add(Problem{What: "is not a configuration that was loaded: it has no context, no batch or no learning rate"})
	}
	if d.Examples == 0 && d.TrainTokens > 0 && d.TrainTokens <= int64(r.Model.Context) {
		problems.add(Problem{
			Path: "model.context", Value: strconv.Itoa(r.Model.Context), Allowed: "a shorter context or more data",
			What: fmt.Sprintf("needs %d tokens for one sequence, the training data has %d", r.Model.Context+1, d.TrainTokens),
		})
	}
	if err := problems.err(); err != nil {
		return Resolved{}, err
	}
	if r.Batch.MicroSequences == 0 {
		r.Batch.MicroSequences = r.Batch.Sequences
	}
	out := Resolved{Run: r, Window: r.Model.Context}
	if d.Longest > 0 {
		out.Window = min(out.Window, d.Longest)
	}
	out.resolveSteps(d, problems)
	if out.Steps > 0 {
		out.resolveDecay(problems)
	}
	if err := problems.err(); err != nil {
		return Resolved{}, err
	}
	return out, nil
}

func (r *Run) resolveVocab(d DataFacts, problems *problemList) {
	switch {
	case r.Model.Vocab == 0 && d.Vocab > 0:
		r.Model.Vocab = d.Vocab
	case r.Model.Vocab == 0:
		problems.add(Problem{Path: "model.vocab", Value: "0", What: "is the tokenizer's, but no data is known", Allowed: "data.train with prepared shards, or the size itself"})
	case r.Model.Vocab < d.Vocab:
		problems.add(Problem{
			Path: "model.vocab", Value: strconv.Itoa(r.Model.Vocab), Allowed: fmt.Sprintf("0 (the tokenizer's) or from %d on", d.Vocab),
			What: fmt.Sprintf("is smaller than the tokenizer's vocabulary of %d", d.Vocab),
		})
	}
}

func (r *Resolved) resolveSteps(d DataFacts, problems *problemList) {
	b, perStep := r.Budget, r.tokensPerStep(d)
	set := 0
	for _, there := range []bool{b.Tokens > 0, b.TPP > 0, b.Steps > 0, b.Epochs > 0} {
		if there {
			set++
		}
	}
	if set != 1 {
		problems.add(Problem{Path: "budget", What: fmt.Sprintf("has %d of tokens, tpp, steps and epochs", set), Allowed: "exactly one"})
		return
	}
	steps := float64(b.Steps)
	switch {
	case b.Tokens > 0:
		steps = float64(b.Tokens) / perStep
	case b.TPP > 0:
		steps = b.TPP * float64(r.Model.Parameters()) / perStep
	case b.Epochs > 0:
		perEpoch := r.stepsPerEpoch(d)
		if perEpoch == 0 {
			problems.add(Problem{Path: "budget.epochs", Value: short(b.Epochs), What: "is a number of passes over data that is not known", Allowed: "steps, tokens or tpp"})
			return
		}
		steps = b.Epochs * perEpoch
	}
	steps = max(1, math.Round(steps))
	if steps*perStep > maxTokens {
		problems.add(Problem{Path: "budget", What: fmt.Sprintf("makes %.3g tokens", steps*perStep), Allowed: fmt.Sprintf("at most %.3g", maxTokens)})
		return
	}
	r.Steps = int64(steps)
	r.TokensPerStep, r.TokensTotal = int64(math.Round(perStep)), int64(math.Round(steps*perStep))
	r.Budget = Budget{Steps: r.Steps}
}

// tokensPerStep is over how many tokens the loss of a step is, on average. Where the examples of a task are not known it is
// over all that they have room for.
func (r *Resolved) tokensPerStep(d DataFacts) float64 {
	if d.Examples > 0 && d.TrainTokens > 0 {
		return float64(d.TrainTokens) / r.stepsPerEpoch(d)
	}
	return float64(r.Batch.Sequences) * float64(r.Window)
}

// FLOPs counts the operations of all steps, as if every sequence were as long as the longest.
func (r Resolved) FLOPs() (full, causal float64) {
	full, causal = r.Model.FLOPsPerToken(r.Window)
	read := float64(r.Steps) * float64(r.Batch.Sequences) * float64(r.Window)
	return full * read, causal * read
}

// stepsPerEpoch is how many steps read the training data once: whole ones for the examples of a task, of which the last may
// have fewer; 0 when it is not known.
func (r *Resolved) stepsPerEpoch(d DataFacts) float64 {
	if d.Examples > 0 {
		return math.Ceil(float64(d.Examples) / float64(r.Batch.Sequences))
	}
	return float64(max(0, d.TrainTokens-1)/int64(r.Model.Context)) / float64(r.Batch.Sequences)
}

func (r *Resolved) resolveDecay(problems *problemList) {
	o := &r.Optimizer
	perDecay := o.LR * float64(r.Steps)
	switch {
	case o.WeightDecay != nil && o.Tau != 0:
		problems.add(Problem{Path: "optimizer.weight_decay and optimizer.tau", What: "exclude each other", Allowed: "one of them"})
		return
	case o.WeightDecay != nil:
		r.WeightDecay = *o.WeightDecay
	case o.Tau > 0:
		r.WeightDecay = 1 / (perDecay * o.Tau)
	default:
		problems.add(Problem{Path: "optimizer", What: "has neither weight_decay nor tau", Allowed: "one of them; weight_decay: 0 for none"})
		return
	}
	if !(o.LR*r.WeightDecay < 1) {
		problems.add(Problem{
			Path: "optimizer.tau", Value: short(o.Tau), Allowed: "a larger tau: one step may not shrink a weight to nothing",
			What: fmt.Sprintf("is a weight_decay of %.4g over %d steps, times optimizer.lr %s is %.4g", r.WeightDecay, r.Steps, short(o.LR), o.LR*r.WeightDecay),
		})
		return
	}
	r.Tau = math.Inf(1)
	if r.WeightDecay > 0 {
		r.Tau = 1 / (perDecay * r.WeightDecay)
	}
	decay := r.WeightDecay
	o.WeightDecay, o.Tau = &decay, 0
}

// CheckTrainable refuses a configuration that cannot train although nothing in it is wrong: without training data. The
// error is a record.Failure with Usage.
func (r Run) CheckTrainable() error {
	if r.Data.Train != "" || r.Data.Task != "" {
		return nil
	}
	return record.Fail(record.Usage, "data.train is empty: name a folder made by `plasticity data prepare`, for example --set data.train=DIR/train --set data.val=DIR/val")
}
