package main

import (
	"context"
	"fmt"
	"time"

	"plasticity/cmd/internal/request"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/eval"
	"plasticity/eval/answer"
	"plasticity/eval/metric"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// verifierOrigin is what a verifier's folder says of how it was made.
type verifierOrigin struct {
	Model      string `json:"model"` // whose layers it has and whose answers it learned from
	Task       string `json:"task"`
	TaskDigest string `json:"task_digest"`
	answersMade
	Steps int     `json:"steps"`
	Batch int     `json:"batch"`
	LR    float64 `json:"lr"`
	Seed  int64   `json:"seed"`

	Train eval.Side `json:"train"`
	Held  eval.Side `json:"held_out"`
	// ToldApart is what makes two problems: another instruction, so those held out may be rewrites of some that were learned from.
	ToldApart string `json:"problems_told_apart_by"`
	eval.Measured
}

// verifier samples answers to training problems, judges them, and trains the model's layers with a score to tell which are right.
func verifier(ctx context.Context, r request.Verifier, s streams) error {
	set, err := task.Open(r.Task)
	if err != nil {
		return err
	}
	kind, err := answer.ParseKind(set.Kind())
	if err != nil {
		return record.Fail(record.Usage, "task %s has no answers to judge: choose another task", set.Name())
	}
	if err := model.Replaceable(record.OS(), r.Out); err != nil {
		return err
	}
	examples, err := answered(set, r.Problems)
	if err != nil {
		return err
	}
	m, source, err := s.open(r.Model, r.Threads)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := model.CanReward(m.Config()); err != nil {
		return err
	}
	origin := verifierOrigin{
		Task: set.Name(), TaskDigest: set.Digest(), Steps: r.Steps, Batch: r.Batch, LR: r.LR, Seed: r.Seed, ToldApart: "instruction",
		answersMade: answersMade{
			Answers: kind.String(), Problems: len(examples), Samples: r.Samples, MaxTokens: r.MaxTokens,
			Temperature: r.Temperature, RepetitionPenalty: r.RepetitionPenalty, Precision: r.Precision,
		},
	}
	if origin.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	v := verifying{request: r, streams: s, model: m, source: source, kind: kind, examples: examples}
	verdict, err := v.train(ctx, &origin)
	if err != nil {
		return err
	}
	defer verdict.Close()
	if err := model.SaveReward(record.OS(), r.Out, verdict.Model(), verdict.Score, v.tokenizer, origin); err != nil {
		return err
	}
	if r.JSON {
		return reply(s, request.Verified{Out: r.Out, Verifier: origin})
	}
	_, err = fmt.Fprint(s.out, origin.describe(r.Out))
	return err
}

// answered are the first problems of the training set whose answer is known; n 0: all. Public sets have several examples of one instruction,
// with other worked steps: it is one problem, which must not be learned from and held out.
func answered(set *task.Set, n int) ([]task.Example, error) {
	var examples []task.Example
	taken := make(map[string]bool)
	for _, e := range set.Train() {
		if e.Answer != "" && !taken[e.Instruction] && (n == 0 || len(examples) < n) {
			taken[e.Instruction] = true
			examples = append(examples, e)
		}
	}
	const least = 8 // two are held out
	if len(examples) < least {
		return nil, record.Fail(record.BadData, "%s has %d training problems with a known answer, a verifier needs %d: make the task with more, or give more --problems", set.Dir(), len(examples), least)
	}
	return examples, nil
}

// verifying is the training of a verifier.
type verifying struct {
	request   request.Verifier
	streams   streams
	model     *model.Transformer
	source    model.Source
	kind      answer.Kind
	examples  []task.Example
	tokenizer *data.Tokenizer
}

// train learns from three of four problems and measures on the others.
func (v *verifying) train(ctx context.Context, origin *verifierOrigin) (*trainer.Verdict, error) {
	var err error
	if v.tokenizer, err = v.source.Tokenizer(); err != nil {
		return nil, err
	}
	problems, err := v.answers(ctx, origin.answersMade)
	if err != nil {
		return nil, err
	}
	r, began := v.request, time.Now()
	train, held, err := eval.Split(v.judge(problems), r.Seed)
	if err != nil {
		return nil, err
	}
	var right []bool
	for _, a := range train {
		right = append(right, a.Right)
	}
	o := trainer.VerdictOptions{Steps: r.Steps, Batch: r.Batch, LR: r.LR, Seed: r.Seed, Threads: r.Threads}
	if progress := v.streams.progress(r.Quiet); progress != nil {
		o.Progress = func(step int, loss float64) {
			if step%100 == 0 || step == r.Steps {
				fmt.Fprintf(progress, "step %d of %d, loss %.4f, %.1fs\n", step, r.Steps, loss, time.Since(began).Seconds())
			}
		}
	}
	verdict, err := trainer.TrainVerdict(ctx, v.model, textsOf(train), right, o)
	if err != nil {
		return nil, err
	}
	scores, err := v.scores(ctx, verdict, textsOf(held))
	if err != nil {
		verdict.Close()
		return nil, err
	}
	origin.Train, origin.Held, origin.Measured = eval.SideOf(train), eval.SideOf(held), eval.Measure(held, scores, r.Seed)
	return verdict, nil
}

// judge says of every response whether it is right.
func (v *verifying) judge(problems []metric.Problem) []eval.Judged {
	var judged []eval.Judged
	for i, p := range problems {
		for _, response := range p.Responses {
			given, ok := v.kind.Extract(response)
			judged = append(judged, eval.Judged{
				Problem: i, IDs: eval.AnswerTokens(v.tokenizer, v.examples[i], response), Right: ok && v.kind.Equal(given, p.Answer),
			})
		}
	}
	return judged
}

func textsOf(answers []eval.Judged) [][]int32 {
	var texts [][]int32
	for _, a := range answers {
		texts = append(texts, a.IDs)
	}
	return texts
}

// scores are what the trained model gives texts.
func (v *verifying) scores(ctx context.Context, verdict *trainer.Verdict, texts [][]int32) ([]float64, error) {
	longest := 0
	for _, ids := range texts {
		longest = max(longest, len(ids))
	}
	trunk, err := verdict.Model().Trunk(longest)
	if err != nil {
		return nil, err
	}
	rewarder, err := eval.NewRewarder(&model.Reward{Trunk: trunk, Score: verdict.Score}, nil, compute(v.request.Threads))
	if err != nil {
		return nil, err
	}
	defer rewarder.Close()
	return rewarder.Score(ctx, texts)
}

// answers lets the model answer the problems.
func (v *verifying) answers(ctx context.Context, how answersMade) ([]metric.Problem, error) {
	r := v.request
	generator, err := newGenerator(v.streams, r.Quiet, v.model, v.tokenizer, eval.GeneratorOptions{Compute: computeIn(r.Precision, r.Threads), Ends: v.source.EOS})
	if err != nil {
		return nil, err
	}
	defer generator.Close()
	var problems []metric.Problem
	err = how.answer(ctx, generator, v.streams, r.Quiet, v.examples, r.Seed, func(p metric.Problem) error {
		problems = append(problems, p)
		return nil
	})
	return problems, err
}

// describe says how good a verifier is.
func (o *verifierOrigin) describe(out string) string {
	text := fmt.Sprintf("learned from %d answers to %d problems, %d right; held out %d answers to %d problems, %d right\n",
		o.Train.Answers, o.Train.Problems, o.Train.Right, o.Held.Answers, o.Held.Problems, o.Held.Right)
	text += fmt.Sprintf("problems are told apart by their %s: where a task has rewrites of one question, or several on one passage, some may be on both sides\n", o.ToldApart)
	text += fmt.Sprintf("AUC %.4f, 95 %% interval %.4f to %.4f\n", o.AUC.Value, o.AUC.CI95[0], o.AUC.CI95[1])
	if w := o.AUCWithin; w != nil {
		text += fmt.Sprintf("AUC within a problem %.4f, 95 %% interval %.4f to %.4f, over the %d problems with right and wrong answers\n", w.Value, w.CI95[0], w.CI95[1], o.WithBoth)
	}
	return text + out + "\n"
}
