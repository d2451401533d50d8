package metric

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"plasticity/record"
)

// The metrics of a multiple-choice test.
const (
	accuracy     = "acc"
	accuracyNorm = "acc_norm"
)

// Choice is a multiple-choice problem with what a model says of its choices.
type Choice struct {
	Doc       any         // the problem as its file has it
	Target    any         // the gold answer as the harness records it
	Arguments [][2]string // context and continuation of each choice
	Lengths   []int       // of each choice, in characters
	Gold      int         // index of the right choice; −1: none is
	LogProbs  []float64   // of each choice
	Greedy    []bool      // each token of the continuation is the likeliest
}

// check refuses a problem that is not sound.
func (c *Choice) check() error {
	n := len(c.LogProbs)
	switch {
	case n == 0:
		return bad("no choices")
	case len(c.Arguments) != n || len(c.Lengths) != n || len(c.Greedy) != n:
		return bad("%d log-likelihoods for %d arguments, %d lengths and %d greedy flags", n, len(c.Arguments), len(c.Lengths), len(c.Greedy))
	case c.Gold < -1 || c.Gold >= n:
		return bad("the gold choice is %d of %d", c.Gold, n)
	}
	for _, x := range c.LogProbs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return bad("a log-likelihood is %v", x)
		}
	}
	return nil
}

// Correct reports whether the likeliest choice is right; the first of equal ones counts.
func (c *Choice) Correct() bool { return first(c.LogProbs) == c.Gold }

// CorrectNorm is Correct by log-likelihood over the length of the choice. The harness' guide speaks of bytes; its code divides by
// the number of characters of the choice, without the space before it, and so does this.
func (c *Choice) CorrectNorm() bool {
	normalised := make([]float64, len(c.LogProbs))
	for i, x := range c.LogProbs {
		normalised[i] = x / float64(c.Lengths[i])
	}
	return first(normalised) == c.Gold
}

// first is the place of the first of the largest.
func first(x []float64) int {
	best := 0
	for i := range x {
		if x[i] > x[best] {
			best = i
		}
	}
	return best
}

// ChoiceTask is the score of a model on a multiple-choice test.
type ChoiceTask struct {
	Name string
	// Config says how the likelihoods were made: a struct or map, for the record.
	Config     any
	Total      int  // problems of the test, of which Choices may be the first ones
	Normalised bool // acc_norm is a metric of the test
	Choices    []Choice
}

// ChoiceEstimate is an accuracy over all problems.
type ChoiceEstimate struct {
	Name  string // acc or acc_norm
	Value float64
	// StdErr is that of the harness: the deviation of a sample over √n; NaN for one problem.
	StdErr float64
	CI95   [2]float64 // Wilson's
}

// Estimates returns the accuracies.
func (t *ChoiceTask) Estimates() []ChoiceEstimate {
	out := []ChoiceEstimate{estimateChoices(accuracy, t.Choices, (*Choice).Correct)}
	if t.Normalised {
		out = append(out, estimateChoices(accuracyNorm, t.Choices, (*Choice).CorrectNorm))
	}
	return out
}

func estimateChoices(name string, choices []Choice, correct func(*Choice) bool) ChoiceEstimate {
	k, n := 0, len(choices)
	for i := range choices {
		if correct(&choices[i]) {
			k++
		}
	}
	low, high := Wilson(k, n)
	p := float64(k) / float64(n)
	return ChoiceEstimate{name, p, math.Sqrt(p * (1 - p) / float64(n-1)), [2]float64{low, high}}
}

// Describe lays the accuracies out as a table for people.
func (t *ChoiceTask) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: n = %d problems\n%-8s %9s %9s   95 %% interval\n", t.Name, len(t.Choices), "metric", "value", "stderr")
	for _, e := range t.Estimates() {
		stderr := "N/A"
		if !math.IsNaN(e.StdErr) {
			stderr = fmt.Sprintf("%.4f", e.StdErr)
		}
		fmt.Fprintf(&b, "%-8s %9.4f %9s   %.4f to %.4f\n", e.Name, e.Value, stderr, e.CI95[0], e.CI95[1])
	}
	return b.String()
}

// MarshalJSON returns the entry of the test in results.json.
func (t *ChoiceTask) MarshalJSON() ([]byte, error) {
	entry := object{{"alias", t.Name}}
	for _, e := range t.Estimates() {
		var stderr any = "N/A" // as the harness has it
		if !math.IsNaN(e.StdErr) {
			stderr = e.StdErr
		}
		entry = append(entry, member{e.Name + ",none", e.Value}, member{e.Name + "_stderr,none", stderr}, member{e.Name + "_ci95", e.CI95})
	}
	return json.Marshal(append(entry, member{"n", len(t.Choices)}))
}

// WriteChoices writes results.json and the samples of a multiple-choice test into dir, as Write does for answers: in the
// harness' shape, each file whole or not at all, and never over another result. A test without a problem is refused.
func WriteChoices(fsys record.FS, dir, model string, t *ChoiceTask) (unchanged bool, err error) {
	if err := record.CheckName("task", t.Name); err != nil {
		return false, err
	}
	if len(t.Choices) == 0 {
		return false, bad("test %s: no problems: give at least one", t.Name)
	}
	samples, err := t.samples()
	if err != nil {
		return false, err
	}
	higher := object{}
	for _, e := range t.Estimates() {
		higher = append(higher, member{e.Name, true})
	}
	of := func(value any) object { return object{{t.Name, value}} }
	var b bytes.Buffer
	err = encoder(&b, "  ").Encode(object{
		{"results", of(t)},
		{"group_subtasks", of([]string{})},
		{"configs", of(t.Config)},
		{"versions", of(taskVersion)},
		{"n-shot", of(0)},
		{"higher_is_better", of(higher)},
		{"n-samples", of(object{{"original", t.Total}, {"effective", len(t.Choices)}})},
		{"config", object{{"model", model}}},
		{"task_hashes", of(digest(samples))},
	})
	if err != nil {
		return false, record.Fail(record.Internal, "write %s: %w", ResultsFile, err)
	}
	return record.WriteResult(fsys, dir, record.ResultFile{Name: SamplesFile(t.Name), Data: samples}, record.ResultFile{Name: ResultsFile, Data: b.Bytes()})
}

// samples returns a line of JSON for each problem, with the names of the harness' samples. Where those have numbers and flags as
// text, these have them as numbers and flags.
func (t *ChoiceTask) samples() ([]byte, error) {
	var b bytes.Buffer
	enc := encoder(&b, "")
	for i := range t.Choices {
		c := &t.Choices[i]
		if err := c.check(); err != nil {
			return nil, record.Fail(record.CodeOf(err), "test %s, problem %d: %w", t.Name, i, err)
		}
		var arguments object
		resps, filtered := make([]any, len(c.LogProbs)), make([]any, len(c.LogProbs))
		for k, x := range c.LogProbs {
			arguments = append(arguments, member{fmt.Sprintf("gen_args_%d", k), object{{"arg_0", c.Arguments[k][0]}, {"arg_1", c.Arguments[k][1]}}})
			filtered[k] = []any{x, c.Greedy[k]}
			resps[k] = []any{filtered[k]}
		}
		metrics := []string{accuracy}
		values := object{{accuracy, score(c.Correct())}}
		if t.Normalised {
			metrics, values = append(metrics, accuracyNorm), append(values, member{accuracyNorm, score(c.CorrectNorm())})
		}
		line := append(object{
			{"doc_id", i},
			{"doc", c.Doc},
			{"target", c.Target},
			{"arguments", arguments},
			{"resps", resps},
			{"filtered_resps", filtered},
			{"filter", "none"},
			{"metrics", metrics},
			{"prompt_hash", digest([]byte(c.Arguments[0][0]))},
			{"target_hash", digest(fmt.Append(nil, c.Target))},
		}, values...)
		if err := enc.Encode(line); err != nil {
			return nil, record.Fail(record.Internal, "write samples: %w", err)
		}
	}
	return b.Bytes(), nil
}

// score is a judgement as the harness writes it.
func score(correct bool) float64 {
	if correct {
		return 1
	}
	return 0
}
