package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/eval"
	"plasticity/eval/answer"
	"plasticity/eval/metric"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// The files of an evaluation besides those of its results.
const (
	settingsFile  = "eval.json"
	responsesFile = "responses.jsonl"
	rewardsFile   = "rewards.jsonl"
)

// evaluation is what decides the answers: it is in results.json, and responses are gone on with only where it is the same.
type evaluation struct {
	Task       string `json:"task"`
	TaskDigest string `json:"task_digest"`
	Model      string `json:"model"` // id of the run with the checkpoint's step, or a digest of the weights
	answersMade
	Reward string `json:"reward,omitempty"` // digest of the reward model's weights
	Seed   int64  `json:"seed"`
}

// response is a line of responsesFile: what `eval --responses` reads.
type response struct {
	ID        string   `json:"id"`
	Problem   string   `json:"problem"`
	Answer    string   `json:"answer"`
	Greedy    string   `json:"greedy"`
	Responses []string `json:"responses"`
}

// evalTask answers the test set of a task and scores the answers. A signal stops it; what is answered stays.
func evalTask(ctx context.Context, r request.EvalTask, s streams) error {
	return untilSignal(ctx, filepath.Join(r.Out, responsesFile), func(ctx context.Context) error { return answerAndScore(ctx, r, s) })
}

// untilSignal makes an evaluation that a signal stops between two problems; what is done by then is kept in a file.
func untilSignal(ctx context.Context, kept string, do func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := do(ctx)
	if errors.Is(err, context.Canceled) {
		return record.Fail(record.Stopped, "stopped: what was done is in %s; start it again to go on", kept)
	}
	return err
}

func answerAndScore(ctx context.Context, r request.EvalTask, s streams) error {
	set, err := task.Open(r.Task)
	if err != nil {
		return err
	}
	kind, err := answer.ParseKind(set.Kind())
	if err != nil {
		return record.Fail(record.Usage, "task %s has no answers to score: measure its loss with finetune's validation, or choose another task", set.Name())
	}
	if set, err = set.First(r.Limit); err != nil {
		return err
	}
	m, source, err := s.open(r.Model, r.Threads)
	if err != nil {
		return err
	}
	defer m.Close()
	e := evaluation{
		Task: set.Name(), TaskDigest: set.Digest(), Seed: r.Seed,
		answersMade: answersMade{
			Answers: kind.String(), Problems: len(set.Test()), Samples: r.Samples, MaxTokens: r.MaxTokens,
			Temperature: r.Temperature, RepetitionPenalty: r.RepetitionPenalty, Precision: r.Precision,
		},
	}
	if e.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	judge, err := openRewarding(r)
	if err != nil {
		return err
	}
	e.Reward = judge.identity
	lock, err := lockDir(r.Out)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the process ends soon and the kernel lets go
	a := &answering{request: r, streams: s, set: set, model: m, source: source, evaluation: e, kind: kind, rewarding: judge}
	result, err := a.result(ctx)
	if err != nil {
		return err
	}
	scores := metric.Task{Name: set.Name(), Config: e, Result: result}
	unchanged, err := metric.Write(record.OS(), r.Out, metric.Report{Model: e.Model, Tasks: []metric.Task{scores}})
	if err != nil {
		return err
	}
	if r.ID != "" {
		if err := record.Mark(record.OS(), r.Out, r.ID, record.OK, ""); err != nil {
			return err
		}
	}
	if r.JSON {
		return reply(s, request.Scored{Task: set.Name(), Out: r.Out, Unchanged: unchanged, Results: scores})
	}
	_, err = fmt.Fprintf(s.out, "%s%s\n", scores.Describe(), filepath.Join(r.Out, metric.ResultsFile))
	return err
}

// answering is an evaluation in progress.
type answering struct {
	request    request.EvalTask
	streams    streams
	set        *task.Set
	model      *model.Transformer
	source     model.Source
	evaluation evaluation
	kind       answer.Kind
	rewarding  rewarding
}

// result makes the answers that are not there yet, measures the losses of the reference responses, and scores.
func (a *answering) result(ctx context.Context) (metric.Result, error) {
	tokenizer, err := a.source.Tokenizer()
	if err != nil {
		return metric.Result{}, err
	}
	corpus, err := a.set.Encode(tokenizer, a.model.Config().Context)
	if err != nil {
		return metric.Result{}, err
	}
	if err := claim(a.request.Out, a.evaluation); err != nil {
		return metric.Result{}, err
	}
	with := computeIn(a.request.Precision, a.request.Threads)
	generator, err := newGenerator(a.streams, a.request.Quiet, a.model, tokenizer, eval.GeneratorOptions{Compute: with, Ends: a.source.EOS})
	if err != nil {
		return metric.Result{}, err
	}
	defer generator.Close()
	problems, err := a.answer(ctx, generator)
	if err != nil {
		return metric.Result{}, err
	}
	scorer, err := eval.NewScorer(a.model, 1, with)
	if err != nil {
		return metric.Result{}, err
	}
	defer scorer.Close()
	losses, err := eval.ResponseLosses(ctx, scorer, corpus)
	if err != nil {
		return metric.Result{}, err
	}
	for i := range problems {
		problems[i].Loss = &losses[i]
	}
	if a.request.Reward != "" {
		if err := a.reward(ctx, problems); err != nil {
			return metric.Result{}, err
		}
	}
	return metric.Score(problems, a.kind, a.request.Seed)
}

// readJournal reads the lines of a journal, of which OpenJournal has cut off a torn one, and hands over each with its place from 0. A
// line that each refuses, as one that is no such object, is BadData.
func readJournal[T any](path string, each func(i int, line T) error) error {
	const most = 1 << 30 // bytes, far more than any evaluation has
	text, err := record.ReadFile(record.OS(), path, most)
	if err != nil {
		return record.FailIO(err, "read %s", path)
	}
	i := 0
	for line := range bytes.Lines(text) {
		var value T
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&value)
		switch {
		case err == nil && decoder.More():
			err = errors.New("has more than one object")
		case err == nil:
			err = each(i, value)
		}
		i++
		if err != nil {
			return record.Fail(record.BadData, "%s:%d: %w: remove the file", path, i, err)
		}
	}
	return nil
}

// claim writes what an evaluation is, or refuses a folder that holds another one, or results of something else.
func claim(out string, evaluation any) error {
	text, err := json.MarshalIndent(evaluation, "", "  ")
	if err != nil {
		return record.Fail(record.Internal, "%w", err)
	}
	text = append(text, '\n')
	path := filepath.Join(out, settingsFile)
	old, err := record.ReadFile(record.OS(), path, 1<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		results := filepath.Join(out, metric.ResultsFile)
		if _, err := os.Stat(results); err == nil {
			return record.Fail(record.NotPermitted, "%s is not of this evaluation and is not replaced: choose another folder with --out", results)
		}
		return record.WriteFileAtomic(record.OS(), path, text)
	case err != nil:
		return err
	case string(old) != string(text):
		return record.Fail(record.Mismatch, "%s is about another evaluation than this one: choose another folder with --out", path)
	}
	return nil
}

// answer reads the answers that are there and makes the others, in the order of the test set.
func (a *answering) answer(ctx context.Context, g *eval.Generator) ([]metric.Problem, error) {
	path := filepath.Join(a.request.Out, responsesFile)
	journal, err := record.OpenJournalOf(record.OS(), path, metric.MaxLine) // a torn last line is cut off
	if err != nil {
		return nil, err
	}
	defer journal.Close() //nolint:errcheck // what was appended is on the disk
	examples := a.set.Test()
	problems, err := readResponses(path)
	if err != nil {
		return nil, err
	}
	if len(problems) > len(examples) {
		return nil, record.Fail(record.BadData, "%s has %d problems, the task %d: remove it", path, len(problems), len(examples))
	}
	for i, p := range problems {
		if p.ID != examples[i].ID || len(p.Responses) != a.request.Samples || p.Greedy == nil {
			return nil, record.Fail(record.BadData, "%s:%d: is not the answer to problem %s with %d samples and a greedy one: remove the file", path, i+1, examples[i].ID, a.request.Samples)
		}
	}
	err = a.evaluation.answer(ctx, g, a.streams, a.request.Quiet, examples[len(problems):], a.request.Seed, func(p metric.Problem) error {
		problems = append(problems, p)
		return journal.Append(response{p.ID, p.Problem, p.Answer, *p.Greedy, p.Responses})
	})
	return problems, err
}

func readResponses(path string) ([]metric.Problem, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, record.Fail(record.IO, "%w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	if info, err := file.Stat(); err == nil && info.Size() == 0 {
		return nil, nil
	}
	var out []metric.Problem
	for p, err := range metric.Read(file, path, nil) {
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
