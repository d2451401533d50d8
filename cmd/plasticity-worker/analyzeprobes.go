package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"plasticity/analyze/label"
	"plasticity/analyze/probe"
	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch/safetensors"
	"plasticity/trainer"
)

// analyzeProbes measures how well labels of texts can be read from a model's hidden states.
func analyzeProbes(ctx context.Context, r request.AnalyzeProbes, s streams) error {
	set, err := label.Load(ctx, label.Options{Task: r.Task, From: r.Data, Train: r.Train, Val: r.Val, Test: r.Test, Seed: r.Seed})
	if err != nil {
		return err
	}
	source, err := model.Locate(r.Model)
	if err != nil {
		return err
	}
	out, err := analysisDir(source, r.Out, "probes-"+r.Task)
	if err != nil {
		return err
	}
	p := probing{streams: s, request: r, set: set, settings: probe.Settings{
		Task: set.Task, TextDigest: set.Digest(), Pool: r.Pool, Context: source.Config.Context, Grid: probe.DefaultGrid(), Seed: r.Seed,
	}}
	if p.settings.Layers, err = layerNumbers(r.Layers, source.Config); err != nil {
		return err
	}
	if p.settings.Model, err = trainer.Identity(r.Model); err != nil {
		return err
	}
	lock, err := lockDir(out)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the process ends soon and the kernel lets go
	result, unchanged, err := probe.Find(record.OS(), out, p.settings)
	if err != nil {
		return err
	}
	if !unchanged || r.Features != "" {
		if result, err = p.measure(ctx); err != nil {
			return err
		}
		if err := result.Write(record.OS(), out); err != nil {
			return err
		}
	}
	if r.JSON {
		return reply(s, request.Analyzed{Out: out, Unchanged: unchanged, Results: result})
	}
	_, err = fmt.Fprintf(s.out, "%s%s\n", result.Describe(), filepath.Join(out, probe.File))
	return err
}

// embeddingWord is how a request calls the hidden states below the first layer.
const embeddingWord = "embedding"

// layerNumbers reads the layers asked for, none for all, and puts them into order.
func layerNumbers(words []string, c config.Model) ([]int, error) {
	var out []int
	for _, word := range words {
		n, err := strconv.Atoi(word)
		if word == embeddingWord {
			n, err = probe.Embedding, nil
		}
		if err != nil || n < probe.Embedding || n >= c.Layers {
			return nil, record.Fail(record.Usage, "--layers %q: the model has %s and the layers 0 to %d", word, embeddingWord, c.Layers-1)
		}
		out = append(out, n)
	}
	for n := probe.Embedding; len(words) == 0 && n < c.Layers; n++ {
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// probing is the measurement of a model's probes.
type probing struct {
	streams  streams
	request  request.AnalyzeProbes
	set      *label.Set
	settings probe.Settings
}

// measure computes the features and fits the probes.
func (p *probing) measure(ctx context.Context) (probe.Result, error) {
	set := p.set
	result := probe.Result{
		Settings: p.settings, Data: set.Data, Synthetic: set.Synthetic, Labels: set.Labels, Train: len(set.Train), Val: len(set.Val), Test: len(set.Test),
	}
	m, source, err := open(p.request.Model, p.request.Threads)
	if err != nil {
		return result, err
	}
	defer m.Close()
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return result, err
	}
	all := slices.Concat(set.Train, set.Val, set.Test)
	texts, cut, err := tokensOf(tokenizer, all, m.Context())
	if err != nil {
		return result, err
	}
	result.Cut = cut
	o := eval.StatesOptions{Mean: p.request.Pool == probe.Mean, Report: p.counter("hidden states of %d of %d texts, %.1fs\n", len(texts))}
	for _, n := range p.settings.Layers {
		o.Layers = append(o.Layers, n-probe.Embedding)
	}
	states, err := eval.States(ctx, m, texts, o)
	if err != nil {
		return result, err
	}
	problem := probe.Problem{
		Classes: len(set.Labels), Width: m.Config().Width, Grid: p.settings.Grid, Seed: p.settings.Seed, Threads: trainer.ThreadsOr(p.request.Threads),
		Labels: probe.Labels{Train: labelsOf(set.Train), Val: labelsOf(set.Val), Test: labelsOf(set.Test)},
	}
	var features []probe.Features
	for _, layer := range states {
		a, b := len(set.Train)*problem.Width, (len(set.Train)+len(set.Val))*problem.Width
		features = append(features, probe.Features{Train: layer[:a], Val: layer[a:b], Test: layer[b:]})
	}
	if p.request.Features != "" {
		if err := p.keep(features, problem); err != nil {
			return result, err
		}
	}
	done, report := 0, p.counter("probes of %d of %d layers, %.1fs\n", len(features))
	if result.Layers, err = problem.Run(ctx, p.settings.Layers, features, func() { done++; report(done) }); err != nil {
		return result, err
	}
	result.Summary = problem.Summarise(result.Layers)
	return result, nil
}

// tokensOf tokenises texts, each at most context tokens, and counts those that were cut.
func tokensOf(tokenizer *data.Tokenizer, texts []label.Text, context int) (ids [][]int32, cut int, err error) {
	for _, t := range texts {
		tokens := tokenizer.Encode(t.Text)
		if len(tokens) == 0 {
			return nil, 0, record.Fail(record.BadData, "the text %.60q has no tokens: remove it", t.Text)
		}
		if len(tokens) > context {
			tokens = tokens[:context]
			cut++
		}
		ids = append(ids, tokens)
	}
	return ids, cut, nil
}

func labelsOf(texts []label.Text) []int {
	out := make([]int, len(texts))
	for i, t := range texts {
		out[i] = t.Label
	}
	return out
}

// keep writes features and labels for other programs.
func (p *probing) keep(features []probe.Features, problem probe.Problem) error {
	var sources []safetensors.Source
	add := func(name string, values []float32, width int) {
		sources = append(sources, safetensors.Source{
			Name: name, DType: safetensors.F32, Shape: []int{len(values) / width, width}, Float32: func() ([]float32, error) { return values, nil },
		})
	}
	for i, f := range features {
		name := "layer." + probe.LayerName(p.settings.Layers[i]) + "."
		add(name+"train", f.Train, problem.Width)
		add(name+"val", f.Val, problem.Width)
		add(name+"test", f.Test, problem.Width)
	}
	for name, labels := range map[string][]int{"train": problem.Labels.Train, "val": problem.Labels.Val, "test": problem.Labels.Test} {
		values := make([]float32, len(labels))
		for i, l := range labels {
			values[i] = float32(l)
		}
		add("labels."+name, values, 1)
	}
	var out bytes.Buffer
	if err := safetensors.Write(&out, nil, sources); err != nil {
		return err
	}
	return record.WriteFileAtomic(record.OS(), p.request.Features, out.Bytes())
}

// counter shows from time to time how much is done, of how much, and for how long.
func (p *probing) counter(format string, of int) func(done int) {
	progress := p.streams.progress(p.request.Quiet)
	began, said := time.Now(), time.Now()
	return func(done int) {
		if progress != nil && (time.Since(said) > 2*time.Second || done == of) {
			said = time.Now()
			fmt.Fprintf(progress, format, done, of, time.Since(began).Seconds())
		}
	}
}
