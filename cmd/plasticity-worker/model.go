package main

import (
	"context"
	"fmt"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/safetensors"
	"plasticity/trainer"
)

// open loads a model and its tokenizer for use, in float32: what is measured does not depend on how
// it was trained.
func open(path string, threads int) (*model.Transformer, model.Source, error) {
	if err := torch.Check(); err != nil {
		return nil, model.Source{}, err
	}
	if err := torch.SetThreads(trainer.ThreadsOr(threads)); err != nil {
		return nil, model.Source{}, err
	}
	return model.Open(path, torch.Float32)
}

// open is open that warns of damaged checkpoints.
func (s streams) open(path string, threads int) (*model.Transformer, model.Source, error) {
	m, source, err := open(path, threads)
	s.warnOf(source)
	return m, source, err
}

// locate finds a model without reading its weights, and warns in the same way.
func (s streams) locate(path string) (model.Source, error) {
	source, err := model.Locate(path)
	s.warnOf(source)
	return source, err
}

// warnOf says that a model is an older one than its run's newest.
func (s streams) warnOf(source model.Source) {
	for _, p := range source.LeftOut {
		fmt.Fprintf(s.errs, "warning: %s: step %d is used instead\n", p, source.Step)
	}
}

// compute is what generates and evaluates on this machine.
func compute(threads int) eval.Compute {
	return eval.Compute{Step: config.StepAuto, Precision: torch.Float32, Threads: trainer.ThreadsOr(threads)}
}

// computeIn is compute with products in a precision, f32 or bf16.
func computeIn(precision string, threads int) eval.Compute {
	c := compute(threads)
	if precision == "bf16" {
		c.Precision = torch.BFloat16
	}
	return c
}

// newGenerator makes what continues prompts and says why it is slow, if it is.
func newGenerator(s streams, quiet bool, m *model.Transformer, t *data.Tokenizer, o eval.GeneratorOptions) (*eval.Generator, error) {
	g, err := eval.NewGenerator(m, t, o)
	if err != nil {
		return nil, err
	}
	fellBack(s, quiet, g.Fallback())
	return g, nil
}

// fellBack says why the engine does not compute, if it does not.
func fellBack(s streams, quiet bool, reason string) {
	if reason != "" && !quiet {
		fmt.Fprintf(s.errs, "the slow reference computes: %s\n", reason)
	}
}

// generate continues a prompt: text as it comes, or one line of JSON.
func generate(ctx context.Context, r request.Generate, s streams) error {
	sampling := eval.Sampling{Temperature: r.Temperature, TopK: r.TopK, TopP: r.TopP, RepetitionPenalty: r.RepetitionPenalty}
	if err := sampling.Check(); err != nil {
		return err
	}
	if r.MaxTokens < 1 {
		return record.Fail(record.Usage, "--max-tokens %d: at least 1", r.MaxTokens)
	}
	m, source, err := s.open(r.Model, r.Threads)
	if err != nil {
		return err
	}
	defer m.Close()
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return err
	}
	generator, err := newGenerator(s, r.Quiet, m, tokenizer, eval.GeneratorOptions{Compute: compute(r.Threads), Ends: source.EOS})
	if err != nil {
		return err
	}
	defer generator.Close()
	o := eval.GenerateOptions{MaxTokens: r.MaxTokens, Sampling: sampling, Seed: r.Seed, Stops: r.Stops}
	prompt := r.Prompt // shown once it has been accepted
	show := func(_, _ int, text string) error {
		if _, err := fmt.Fprint(s.out, prompt+text); err != nil {
			return record.Fail(record.IO, "write the text: %w", err)
		}
		prompt = ""
		return nil
	}
	if !r.JSON {
		o.OnText = show
	}
	g, err := generator.One(ctx, eval.Prompt{Text: r.Prompt}, o)
	if err != nil {
		return err
	}
	if r.JSON {
		return reply(s, request.Generated{Prompt: r.Prompt, Text: g.Text, Tokens: g.Tokens, Finish: string(g.Finish)})
	}
	return show(0, 0, "\n")
}

// evalBatch is how many windows go through the model at once.
const evalBatch = 16

// evalLoss is the mean loss on prepared shards.
func evalLoss(ctx context.Context, r request.EvalLoss, s streams) error {
	set, err := data.Open(r.Data)
	if err != nil {
		return err
	}
	m, source, err := s.open(r.Model, r.Threads)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := belongs(source, set); err != nil {
		return err
	}
	scorer, err := eval.NewScorer(m, evalBatch, compute(r.Threads))
	if err != nil {
		return err
	}
	defer scorer.Close()
	fellBack(s, r.Quiet, scorer.Fallback())
	progress := s.counter(r.Quiet, "loss on %d of %d tokens", 0, int(set.Inputs(scorer.Context(), r.Tokens)))
	defer progress.end()
	loss, err := eval.Loss(ctx, &watchedScorer{Scorer: scorer, show: progress.show}, set, r.Tokens, evalBatch)
	if err == nil {
		err = eval.FiniteLoss(loss.NatsPerToken, r.Data)
	}
	if err != nil {
		return err
	}
	if r.JSON {
		return reply(s, request.Loss{LossNatsPerToken: record.Float(loss.NatsPerToken), BitsPerByte: record.Float(loss.BitsPerByte), Tokens: loss.Tokens})
	}
	fmt.Fprintf(s.out, "%.6f nats per token  %.6f bits per byte  %d tokens\n", loss.NatsPerToken, loss.BitsPerByte, loss.Tokens)
	return nil
}

// watchedScorer tells how many tokens have been scored.
type watchedScorer struct {
	eval.Scorer
	done int
	show func(done int)
}

// SummedLoss is eval.Scorer.
func (w *watchedScorer) SummedLoss(b data.Batch) (float64, error) {
	loss, err := w.Scorer.SummedLoss(b)
	w.done += b.Counted()
	w.show(w.done)
	return loss, err
}

// belongs refuses shards that were made with another tokenizer than the model's.
func belongs(source model.Source, set *data.Set) error {
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return err
	}
	if tokenizer.Digest() != set.TokenizerDigest() {
		return record.Fail(record.Mismatch, "%s was prepared with another tokenizer than the model's: prepare the text again with the tokenizer.json of the model", set.Dir())
	}
	return nil
}

// export writes a Hugging Face folder.
func export(r request.Export, s streams) error {
	m, source, err := s.open(r.Run, 0)
	if err != nil {
		return err
	}
	defer m.Close()
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return err
	}
	o := model.ExportOptions{DType: safetensors.F32, Tokenizer: tokenizer, EOS: source.EOS}
	if err := model.SaveHF(record.OS(), r.Out, m, o); err != nil {
		return err
	}
	if !r.Quiet {
		fmt.Fprintf(s.errs, "%s loads with transformers' from_pretrained\n", r.Out)
	}
	return nil
}

// importHF makes a run of a Hugging Face folder.
func importHF(r request.Import, s streams) error {
	if err := torch.Check(); err != nil {
		return err
	}
	if err := trainer.Import(record.OS(), r.HF, r.Out, program()); err != nil {
		return err
	}
	if !r.Quiet {
		fmt.Fprintf(s.errs, "%s is a run now: eval, generate, export and train --init take it\n", r.Out)
	}
	return nil
}
