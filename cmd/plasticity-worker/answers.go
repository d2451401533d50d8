package main

import (
	"context"
	"fmt"

	"plasticity/data/task"
	"plasticity/eval"
	"plasticity/eval/metric"
)

// answersMade is how a model answers problems, in what an evaluation and a verifier say of themselves.
type answersMade struct {
	Answers           string  `json:"answers"`
	Problems          int     `json:"problems"`
	Samples           int     `json:"samples"`
	MaxTokens         int     `json:"max_tokens"`
	Temperature       float64 `json:"temperature"`
	RepetitionPenalty float64 `json:"repetition_penalty"`
	Precision         string  `json:"precision"`
}

// answer lets the generator answer examples, the last ones of all problems, and hands over each problem.
func (m answersMade) answer(ctx context.Context, g *eval.Generator, s streams, quiet bool, examples []task.Example, seed int64, each func(metric.Problem) error) error {
	done := m.Problems - len(examples)
	progress := s.counter(quiet, fmt.Sprintf("answered %%d of %%d problems, %d samples each", m.Samples), done, m.Problems)
	defer progress.end()
	return g.Answer(ctx, examples, eval.AnswerOptions{
		Samples: m.Samples, MaxTokens: m.MaxTokens, Seed: seed, Stops: stops(),
		Sampling: eval.Sampling{Temperature: m.Temperature, RepetitionPenalty: m.RepetitionPenalty},
	}, func(p metric.Problem) error {
		done++
		progress.show(done)
		return each(p)
	})
}

// stops are what the authors' harness ends an answer by.
func stops() []string { return []string{"Human:", "Assistant:"} }
