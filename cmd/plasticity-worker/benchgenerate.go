package main

import (
	"context"

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
	m, name, err := modelToBench(r)
	if err != nil {
		return err
	}
	defer m.Close()
	if context := m.Config().Context; r.PromptTokens+r.NewTokens > context {
		return record.Fail(record.Usage, "a prompt of %d tokens and %d new ones do not fit into the model's context of %d: ask for fewer", r.PromptTokens, r.NewTokens, context)
	}
	if r.HF != "" {
		if err := model.SaveHF(record.OS(), r.HF, m, model.ExportOptions{DType: safetensors.F32}); err != nil {
			return err
		}
	}
	info, err := torch.Describe()
	if err != nil {
		return err
	}
	generator, err := eval.NewGenerator(m, nil, eval.GeneratorOptions{Compute: compute(r.Threads)})
	if err != nil {
		return err
	}
	defer generator.Close()
	step := config.StepEngine
	if generator.Fallback() != "" {
		step = config.StepReference
	}
	ready := request.BenchReady{
		Name: name, Step: step, Precision: "f32", Device: "cpu", CPU: trainer.InstructionSet(info),
		Threads: trainer.ThreadsOr(r.Threads), Parameters: m.Config().Parameters(),
	}
	return serve(s, ready, map[string]answerer{
		"go": func(n int) (any, error) { return generateTurn(generator, r, n) },
	})
}

// modelToBench is a trained model or, without one, random weights of a configuration; in float32, as generate uses them.
func modelToBench(r request.Bench) (*model.Transformer, string, error) {
	if r.Model != "" {
		m, _, err := open(r.Model, r.Threads)
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
