package main

import (
	"context"
	"fmt"
	"time"

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
	began, done, progress := time.Now(), m.Problems-len(examples), s.progress(quiet)
	return g.Answer(ctx, examples, eval.AnswerOptions{
		Samples: m.Samples, MaxTokens: m.MaxTokens, Seed: seed, Stops: stops(),
		Sampling: eval.Sampling{Temperature: m.Temperature, RepetitionPenalty: m.RepetitionPenalty},
	}, func(p metric.Problem) error {
		done++
		if progress != nil && (done%64 == 0 || done == m.Problems) {
			fmt.Fprintf(progress, "answered %d of %d problems, %d samples each, %.1fs\n", done, m.Problems, m.Samples, time.Since(began).Seconds())
		}
		return each(p)
	})
}

// stops are what the authors' harness ends an answer by.
func stops() []string { return []string{"Human:", "Assistant:"} }
