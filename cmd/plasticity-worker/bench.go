package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/record"
	"plasticity/trainer"
)

// What a bench can be asked for: steps timed at once, or a few whenever a line on standard input asks,
// so that two programs can be measured in turns on one machine.
const (
	benchTrain = "train"
	benchServe = "serve"
)

// bench times training steps.
func bench(r request.Bench, s streams) error {
	if r.What != benchTrain && r.What != benchServe {
		return record.Fail(record.Usage, "bench %q: train or serve", r.What)
	}
	if r.What == benchTrain {
		if err := trainer.CheckSteps(r.Steps, r.Warmup); err != nil {
			return err
		}
	}
	c, err := config.Load(config.LoadOptions{File: r.Config, Sets: r.Sets, Env: r.Env})
	if err != nil {
		return err
	}
	b, err := trainer.NewBench(c)
	if err != nil {
		return err
	}
	defer b.Close()
	facts := request.BenchResult{
		Name: c.Name, Step: b.StepName(), Precision: c.Precision, Device: "cpu", Threads: trainer.Threads(c),
		Parameters: b.Config.Model.Parameters(), TokensPerStep: b.Config.TokensPerStep,
	}
	if r.What == benchServe {
		if err := prepareServing(b, r); err != nil {
			return err
		}
		return serve(b, facts, s)
	}
	if _, err := b.Run(r.Warmup); err != nil {
		return err
	}
	steps, err := b.Run(r.Steps)
	if err != nil {
		return err
	}
	out := summed(b, facts, steps)
	if r.JSON {
		return reply(s, out)
	}
	fmt.Fprintf(s.out, "%s, %s %s, %d threads: %.2f ms a step (median of %d, best %.2f), %.0f tokens/s, %.1f GFLOP/s\n",
		out.Name, out.Step, out.Precision, out.Threads, float64(out.StepMSMedian), out.Steps, float64(out.StepMSBest), float64(out.TokensPerSecond), float64(out.GFLOPS))
	return nil
}

// summed completes a result with its steps.
func summed(b *trainer.Bench, facts request.BenchResult, steps []trainer.BenchStep) request.BenchResult {
	got := b.Result(steps)
	facts.Steps = len(steps)
	facts.StepMSBest, facts.StepMSMedian = record.Float(got.Best*1e3), record.Float(got.Median*1e3)
	facts.TokensPerSecond, facts.GFLOPS = record.Float(got.TokensPerSecond), record.Float(got.GFLOPS)
	return facts
}

// turn is the answer to "go N": the result of these steps, and each one's milliseconds, loss and norm of the gradient.
type turn struct {
	request.BenchResult
	StepMS    []record.Float `json:"step_ms"`
	Losses    []record.Float `json:"losses"`
	GradNorms []record.Float `json:"grad_norms"`
}

// prepareServing gives the contenders of a comparison the same tokens and the same start.
func prepareServing(b *trainer.Bench, r request.Bench) error {
	if r.Tokens != "" {
		if err := b.UseTokens(r.Tokens); err != nil {
			return err
		}
	}
	if r.Weights == "" {
		return nil
	}
	var file bytes.Buffer
	if err := b.Model().Save(&file); err != nil {
		return err
	}
	return record.WriteFileAtomic(record.OS(), r.Weights, file.Bytes())
}

// maxTurn bounds the steps of one turn.
const maxTurn = 1 << 20

// serve says that it is ready with a line of facts, then answers each line "go N" with a turn, until
// "quit" or the end of the input.
func serve(b *trainer.Bench, facts request.BenchResult, s streams) error {
	if err := reply(s, facts); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(s.in, 1<<20))
	for {
		line, err := in.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && strings.TrimSpace(line) == "":
			return nil
		case err != nil && !errors.Is(err, io.EOF):
			return record.Fail(record.IO, "read what to do: %w", err)
		}
		word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "quit" {
			return nil
		}
		n, err := strconv.Atoi(number)
		if word != "go" || err != nil || n < 1 || n > maxTurn {
			return record.Fail(record.Usage, "%.80q: \"go N\" with 1 to %d steps, or \"quit\"", line, maxTurn)
		}
		steps, err := b.Run(n)
		if err != nil {
			return err
		}
		out := turn{BenchResult: summed(b, facts, steps)}
		for _, s := range steps {
			out.StepMS, out.Losses = append(out.StepMS, record.Float(s.Seconds*1e3)), append(out.Losses, record.Float(s.Loss))
			out.GradNorms = append(out.GradNorms, record.Float(s.GradNorm))
		}
		if err := reply(s, out); err != nil {
			return err
		}
	}
}
