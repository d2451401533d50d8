package main

import (
	"context"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/eval"
	"plasticity/eval/metric"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// likelihoodsFile has a line for each problem whose choices have been ranked.
const likelihoodsFile = "likelihoods.jsonl"

// choiceEvaluation is what decides the likelihoods: it is in results.json, and likelihoods are gone on with only where it is the same.
type choiceEvaluation struct {
	Task       string `json:"task"`
	Data       string `json:"data"`        // data set on the hub, or family
	TaskDigest string `json:"task_digest"` // over contexts, continuations and gold answers
	Model      string `json:"model"`       // id of the run with the checkpoint's step, or a digest of the weights
	Problems   int    `json:"problems"`
	Precision  string `json:"precision"`
}

// choiceConfig is what results.json has of how likelihoods were made.
type choiceConfig struct {
	choiceEvaluation
	OutputType string `json:"output_type"`
	Cut        int    `json:"contexts_cut"` // choices whose context did not fit the model's and lost its beginning
}

// likelihoods is a line of likelihoodsFile.
type likelihoods struct {
	DocID    int       `json:"doc_id"`
	LogProbs []float64 `json:"log_probs"`
	Greedy   []bool    `json:"greedy"`
	Cut      []int     `json:"cut"` // tokens
}

// evalChoices ranks the choices of a multiple-choice test by their likelihoods. A signal stops it; what is ranked stays.
func evalChoices(ctx context.Context, r request.EvalChoices, s streams) error {
	return untilSignal(ctx, filepath.Join(r.Out, likelihoodsFile), func(ctx context.Context) error { return rankAndScore(ctx, r, s) })
}

func rankAndScore(ctx context.Context, r request.EvalChoices, s streams) error {
	test, err := task.LoadMultipleChoice(ctx, task.MultipleChoiceOptions{Name: r.Choices, From: r.Data, Limit: r.Limit})
	if err != nil {
		return err
	}
	e := choiceEvaluation{Task: test.Name, Data: test.Data, Problems: len(test.Problems), Precision: r.Precision}
	if e.TaskDigest, err = test.Digest(); err != nil {
		return err
	}
	m, source, err := s.open(r.Model, r.Threads)
	if err != nil {
		return err
	}
	defer m.Close()
	if e.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	lock, err := lockDir(r.Out)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the process ends soon and the kernel lets go
	if err := claim(r.Out, e); err != nil {
		return err
	}
	lines, err := rank(ctx, r, s, m, source, test)
	if err != nil {
		return err
	}
	scores, cut, pairs := choiceTask(test, e, lines)
	if cut > 0 && !r.Quiet {
		fmt.Fprintf(s.errs, "%d of %d contexts were longer than the model's and lost their beginning, as in the lm-evaluation-harness\n", cut, pairs)
	}
	unchanged, err := metric.WriteChoices(record.OS(), r.Out, e.Model, scores)
	if err != nil {
		return err
	}
	if r.JSON {
		return reply(s, request.Scored{Task: test.Name, Out: r.Out, Unchanged: unchanged, Results: scores})
	}
	_, err = fmt.Fprintf(s.out, "%s%s\n", scores.Describe(), filepath.Join(r.Out, metric.ResultsFile))
	return err
}

// rank reads the likelihoods that are there and finds the others, in the order of the test.
func rank(ctx context.Context, r request.EvalChoices, s streams, m *model.Transformer, source model.Source, test *task.MultipleChoiceTest) ([]likelihoods, error) {
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return nil, err
	}
	generator, err := newGenerator(s, r.Quiet, m, tokenizer, eval.GeneratorOptions{Compute: computeIn(r.Precision, r.Threads)})
	if err != nil {
		return nil, err
	}
	defer generator.Close()
	path := filepath.Join(r.Out, likelihoodsFile)
	journal, err := record.OpenJournal(record.OS(), path) // a torn last line is cut off
	if err != nil {
		return nil, err
	}
	defer journal.Close() //nolint:errcheck // what was appended is on the disk
	lines, err := readLikelihoods(path, test)
	if err != nil {
		return nil, err
	}
	had := len(lines)
	groups := make([][]task.Pair, 0, len(test.Problems)-had)
	for _, p := range test.Problems[had:] {
		groups = append(groups, p.Pairs)
	}
	progress := s.counter(r.Quiet, "ranked the choices of %d of %d problems", had, len(test.Problems))
	defer progress.end()
	err = generator.LogLikelihoods(ctx, groups, func(i int, l []eval.Likelihood) error {
		line := likelihoods{DocID: had + i}
		for _, x := range l {
			line.LogProbs, line.Greedy, line.Cut = append(line.LogProbs, x.LogProb), append(line.Greedy, x.Greedy), append(line.Cut, x.Cut)
		}
		lines = append(lines, line)
		progress.show(len(lines))
		return journal.Append(line)
	})
	return lines, err
}

// readLikelihoods reads the lines that are there; each must be about the problem in its place.
func readLikelihoods(path string, test *task.MultipleChoiceTest) ([]likelihoods, error) {
	var lines []likelihoods
	err := readJournal(path, func(i int, l likelihoods) error {
		if i >= len(test.Problems) {
			return fmt.Errorf("the test has %d problems", len(test.Problems))
		}
		if n := len(test.Problems[i].Pairs); l.DocID != i || len(l.LogProbs) != n || len(l.Greedy) != n || len(l.Cut) != n {
			return fmt.Errorf("is not the log-likelihoods of the %d choices of problem %d", n, i)
		}
		lines = append(lines, l)
		return nil
	})
	return lines, err
}

// choiceTask puts a test and the likelihoods of its choices together, and counts pairs and those whose context was cut.
func choiceTask(test *task.MultipleChoiceTest, e choiceEvaluation, lines []likelihoods) (out *metric.ChoiceTask, cut, pairs int) {
	out = &metric.ChoiceTask{Name: test.Name, Total: test.Total, Normalised: test.Normalised}
	for i, p := range test.Problems {
		c := metric.Choice{Doc: p.Doc, Target: p.Target, Gold: p.Gold, LogProbs: lines[i].LogProbs, Greedy: lines[i].Greedy}
		for k, pair := range p.Pairs {
			c.Arguments = append(c.Arguments, [2]string{pair.Context, pair.Continuation})
			c.Lengths = append(c.Lengths, utf8.RuneCountInString(p.Choices[k]))
			pairs++
			if lines[i].Cut[k] > 0 {
				cut++
			}
		}
		out.Choices = append(out.Choices, c)
	}
	out.Config = choiceConfig{choiceEvaluation: e, OutputType: "multiple_choice", Cut: cut}
	return out, cut, pairs
}
