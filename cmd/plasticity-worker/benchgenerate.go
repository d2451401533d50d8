package main

import (
	"context"
	"time"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/safetensors"
	"plasticity/trainer"
)

// benchGeneration serves continuations of random prompts.
func benchGeneration(r request.Bench, s streams) error {
	if r.PromptTokens < 1 || r.NewTokens < 2 {
		return record.Fail(record.Usage, "a prompt of %d tokens and %d new ones: at least 1 and 2", r.PromptTokens, r.NewTokens)
	}
	m, name, err := modelToBench(r, s)
	if err != nil {
		return err
	}
	defer m.Close()
	if context := m.Config().Context; r.PromptTokens+r.NewTokens > context {
		return record.Fail(record.Usage, "a prompt of %d tokens and %d new ones do not fit into the model's context of %d: ask for fewer", r.PromptTokens, r.NewTokens, context)
	}
	r.Precision = "f32"
	return serveGenerator(s, r, m, name, func(g *eval.Generator) map[string]answerer {
		return map[string]answerer{"go": func(n int) (any, error) { return generateTurn(g, r, n) }}
	})
}

// serveGenerator exports the model where that is asked for and serves what a generator with it answers.
func serveGenerator(s streams, r request.Bench, m *model.Transformer, name string, answers func(*eval.Generator) map[string]answerer) error {
	if r.HF != "" {
		if err := model.SaveHF(record.OS(), r.HF, m, model.ExportOptions{DType: safetensors.F32}); err != nil {
			return err
		}
	}
	info, err := torch.Describe()
	if err != nil {
		return err
	}
	generator, err := eval.NewGenerator(m, nil, eval.GeneratorOptions{Compute: computeIn(r.Precision, r.Threads), Batch: r.Batch})
	if err != nil {
		return err
	}
	defer generator.Close()
	step := config.StepEngine
	if generator.Fallback() != "" {
		step = config.StepReference
	}
	ready := request.BenchReady{
		Name: name, Step: step, Precision: r.Precision, Device: "cpu", CPU: trainer.InstructionSet(info),
		Threads: trainer.ThreadsOr(r.Threads), Parameters: m.Config().Parameters(),
	}
	return serve(s, ready, answers(generator))
}

// benchSampling serves samples of prompts.
func benchSampling(r request.Bench, s streams) error {
	switch {
	case len(r.Prompts) == 0 || r.Samples < 1 || r.NewTokens < 1:
		return record.Fail(record.Usage, "%d samples of %d prompts with %d tokens each: at least 1", r.Samples, len(r.Prompts), r.NewTokens)
	case r.Precision != "f32" && r.Precision != "bf16":
		return record.Fail(record.Usage, "precision %q: f32 or bf16", r.Precision)
	}
	m, name, err := modelToBench(r, s)
	if err != nil {
		return err
	}
	defer m.Close()
	prompts := make([]eval.Prompt, len(r.Prompts))
	for i, ids := range r.Prompts {
		if context := m.Config().Context; len(ids)+r.NewTokens > context {
			return record.Fail(record.Usage, "prompt %d has %d tokens: with %d new ones it does not fit into the model's context of %d", i+1, len(ids), r.NewTokens, context)
		}
		prompts[i] = eval.Prompt{Tokens: ids, Stream: uint64(i * r.Samples)}
	}
	return serveGenerator(s, r, m, name, func(g *eval.Generator) map[string]answerer {
		return map[string]answerer{
			"go":     func(n int) (any, error) { return sampleTurn(g, prompts, r, n) },
			"greedy": func(n int) (any, error) { return greedyTurn(g, prompts, n) },
		}
	})
}

// sampleTurn makes all samples of all prompts n times, each time others.
func sampleTurn(g *eval.Generator, prompts []eval.Prompt, r request.Bench, n int) (request.SampleTurn, error) {
	var out request.SampleTurn
	for i := range n {
		o := eval.GenerateOptions{MaxTokens: r.NewTokens, Samples: r.Samples, Sampling: eval.Sampling{Temperature: 1}, Seed: int64(i)}
		began := time.Now()
		made, err := g.Generate(context.Background(), prompts, o)
		if err != nil {
			return out, err
		}
		out.MS = append(out.MS, record.Float(time.Since(began).Seconds()*1e3))
		out.Tokens = 0
		for _, samples := range made {
			for _, s := range samples {
				out.Tokens += len(s.Tokens)
			}
		}
	}
	out.PeakMiB = peakMiB()
	return out, nil
}

func greedyTurn(g *eval.Generator, prompts []eval.Prompt, tokens int) (request.GreedyTurn, error) {
	var out request.GreedyTurn
	made, err := g.Generate(context.Background(), prompts, eval.GenerateOptions{MaxTokens: tokens})
	for _, samples := range made {
		out.Tokens = append(out.Tokens, samples[0].Tokens)
	}
	return out, err
}

// modelToBench is a trained model or, without one, random weights of a configuration; in float32, as generate uses them.
func modelToBench(r request.Bench, s streams) (*model.Transformer, string, error) {
	if r.Model != "" {
		m, _, err := s.open(r.Model, r.Threads)
		return m, r.Model, err
	}
	c, err := config.Load(config.LoadOptions{File: r.Config, Sets: r.Sets, Env: r.Env})
	if err != nil {
		return nil, "", err
	}
	m, err := trainer.FreshModel(c, r.Threads)
	return m, c.Name, err
}

func generateTurn(g *eval.Generator, r request.Bench, n int) (request.GenerateTurn, error) {
	var out request.GenerateTurn
	for range n {
		speed, err := g.Time(context.Background(), r.PromptTokens, r.NewTokens)
		if err != nil {
			return out, err
		}
		out.PrefillMS = append(out.PrefillMS, record.Float(speed.Prefill.Seconds()*1e3))
		out.DecodeMS = append(out.DecodeMS, record.Float(speed.Decode.Seconds()*1e3))
	}
	out.PeakMiB = peakMiB()
	return out, nil
}
