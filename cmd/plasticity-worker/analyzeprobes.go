package main

import (
	"bytes"
	"context"
	"slices"
	"strconv"

	"plasticity/analyze/label"
	"plasticity/analyze/probe"
	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
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
	source, err := s.locate(r.Model)
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
	return keep(s, r.JSON, out, probe.File, analysis[*probe.Result]{
		find: func() (*probe.Result, bool, error) {
			result, there, err := probe.Find(record.OS(), out, p.settings)
			if there && r.Features != "" {
				_, err = p.features(ctx)
			}
			return result, there, err
		},
		measure: func() (*probe.Result, error) { return p.measure(ctx) },
	})
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

// featureSet is the hidden states of all texts, layer by layer.
type featureSet struct {
	layers []probe.Features
	width  int // of a hidden state
	cut    int // texts
}

// features computes the features, and writes them where that is asked for.
func (p *probing) features(ctx context.Context) (featureSet, error) {
	m, source, err := open(p.request.Model, p.request.Threads)
	if err != nil {
		return featureSet{}, err
	}
	defer m.Close()
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return featureSet{}, err
	}
	texts, cut, err := tokensOf(tokenizer, slices.Concat(p.set.Train, p.set.Val, p.set.Test), m.Context())
	if err != nil {
		return featureSet{}, err
	}
	progress := p.streams.counter(p.request.Quiet, "hidden states of %d of %d texts", 0, len(texts))
	defer progress.end()
	o := eval.StatesOptions{Mean: p.request.Pool == probe.Mean, Report: progress.show}
	for _, n := range p.settings.Layers {
		o.Layers = append(o.Layers, n-probe.Embedding)
	}
	states, err := eval.States(ctx, m, texts, o)
	if err != nil {
		return featureSet{}, err
	}
	out := featureSet{width: m.Config().Width, cut: cut}
	for _, layer := range states {
		a, b := len(p.set.Train)*out.width, (len(p.set.Train)+len(p.set.Val))*out.width
		out.layers = append(out.layers, probe.Features{Train: layer[:a], Val: layer[a:b], Test: layer[b:]})
	}
	if p.request.Features != "" {
		err = p.write(out)
	}
	return out, err
}

// measure computes the features and fits the probes.
func (p *probing) measure(ctx context.Context) (*probe.Result, error) {
	features, err := p.features(ctx)
	if err != nil {
		return nil, err
	}
	set := p.set
	problem := probe.Problem{
		Classes: len(set.Labels), Width: features.width, Grid: p.settings.Grid, Seed: p.settings.Seed, Threads: trainer.ThreadsOr(p.request.Threads),
		Labels: p.labels(), TestDocuments: documentsOf(set.Test),
	}
	done, progress := 0, p.streams.counter(p.request.Quiet, "probes of %d of %d layers", 0, len(features.layers))
	defer progress.end()
	layers, err := problem.Run(ctx, p.settings.Layers, features.layers, func() { done++; progress.show(done) })
	if err != nil {
		return nil, err
	}
	return &probe.Result{
		Settings: p.settings, Data: set.Data, Synthetic: set.Synthetic, Labels: set.Labels, Train: len(set.Train), Val: len(set.Val), Test: len(set.Test),
		Cut: features.cut, Layers: layers, Summary: problem.Summarise(layers),
	}, nil
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

// labels are those of the texts.
func (p *probing) labels() probe.Labels {
	of := func(texts []label.Text) []int {
		out := make([]int, len(texts))
		for i, t := range texts {
			out[i] = t.Label
		}
		return out
	}
	return probe.Labels{Train: of(p.set.Train), Val: of(p.set.Val), Test: of(p.set.Test)}
}

// documentsOf are the documents that texts were cut out of; nil where texts are documents of their own.
func documentsOf(texts []label.Text) []int {
	if texts[0].Document == 0 {
		return nil
	}
	out := make([]int, len(texts))
	for i, t := range texts {
		out[i] = t.Document
	}
	return out
}

// write writes features and labels for other programs.
func (p *probing) write(features featureSet) error {
	var sources []safetensors.Source
	add := func(name string, values []float32, width int) {
		sources = append(sources, safetensors.Source{
			Name: name, DType: safetensors.F32, Shape: []int{len(values) / width, width}, Float32: func() ([]float32, error) { return values, nil },
		})
	}
	for i, f := range features.layers {
		name := "layer." + probe.LayerName(p.settings.Layers[i]) + "."
		add(name+"train", f.Train, features.width)
		add(name+"val", f.Val, features.width)
		add(name+"test", f.Test, features.width)
	}
	labels := p.labels()
	for name, of := range map[string][]int{"train": labels.Train, "val": labels.Val, "test": labels.Test} {
		values := make([]float32, len(of))
		for i, l := range of {
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
