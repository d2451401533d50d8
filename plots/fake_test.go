package plots

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"plasticity/record"
)

// fakeModel is a setting of made-up runs whose losses look like those of a small model on real text.
type fakeModel struct {
	name       string
	parameters int64
	tpp        int64
	lr         float64
	noDecay    string
	losses     []fakeLevel
	data       string
}

type fakeLevel struct{ decay, loss float64 }

// small is 0.17M parameters at 20 tokens a parameter; the losses have their minimum at 0.3.
func small() fakeModel {
	return fakeModel{
		name: "llama2-s", parameters: 166_208, tpp: 20, lr: 3e-3, noDecay: `["*norm*"]`, data: "State of the Union addresses",
		losses: []fakeLevel{{0, 2.556}, {0.1, 2.549}, {0.3, 2.545}, {1, 2.574}, {2, 2.643}, {3, 2.709}},
	}
}

// records makes the runs of a model: finished, one for each decay and seed.
func (f fakeModel) records(seeds int) []Record {
	var out []Record
	for _, l := range f.losses {
		for seed := range seeds {
			out = append(out, f.record(l, int64(seed+1)))
		}
	}
	return out
}

// record makes one run.
func (f fakeModel) record(l fakeLevel, seed int64) Record {
	const perStep = 2048
	tokens := f.parameters * f.tpp
	steps := tokens / perStep
	which := fnv.New64a()
	fmt.Fprint(which, f.name, f.tpp, f.lr, f.noDecay, f.data, l.decay)
	random := rand.New(rand.NewPCG(uint64(seed), which.Sum64()))
	common := rand.New(rand.NewPCG(uint64(seed), 7)).NormFloat64() * 0.006
	final := l.loss + common + random.NormFloat64()*0.0012
	id := fmt.Sprintf("%016x", random.Uint64())
	exempt := record.DecayGroup{Parameters: []string{"model.layers.0.input_layernorm.weight", "model.norm.weight"}}
	decayed := record.DecayGroup{WeightDecay: record.Float(l.decay), Parameters: []string{"model.embed_tokens.weight", "lm_head.weight"}}
	if f.noDecay == "[]" {
		decayed.Parameters = append(decayed.Parameters, exempt.Parameters...)
		exempt.Parameters = nil
	}
	return Record{
		Folder: "grid/" + id, State: record.StateDone,
		Info: record.Info{
			Schema: 1, ID: id, Name: f.name, Grid: "grid", Kind: "pretrain", Seed: seed, Commit: "0572032aa11b", Device: "cpu", Precision: "bf16",
			Axes:    []record.Axis{{Name: "optimizer.weight_decay", Value: number(l.decay)}, {Name: "seed", Value: fmt.Sprint(seed)}},
			Started: "2026-11-24T03:00:00Z", Model: f.name, Parameters: f.parameters, Tokens: tokens, Steps: steps, TokensPerStep: perStep,
			LearningRate: record.Float(f.lr), WeightDecay: record.Float(l.decay), Tau: record.Float(1 / (f.lr * l.decay * float64(steps))),
			DecayGroups: []record.DecayGroup{decayed, exempt}, DataSource: f.data,
			DataDigest: "train-" + f.data, ValDigest: "val-" + f.data, TokenizerDigest: "tok",
		},
		Metrics: fakeMetrics(random, steps, final),
		Config: fmt.Appendf(nil, "name: %s\nseed: %d\nprecision: bf16\nmodel: {layers: 2, width: 64}\nbudget: {tpp: %d}\n"+
			"optimizer: {lr: %v, weight_decay: %v, no_decay: %s, betas: [0.9, 0.95]}\nschedule: {kind: cosine}\n",
			f.name, seed, f.tpp, f.lr, l.decay, f.noDecay),
	}
}

// fakeMetrics logs every tenth step and evaluates every hundredth and at the end.
func fakeMetrics(random *rand.Rand, steps int64, final float64) []record.Metric {
	var out []record.Metric
	for step := int64(10); ; step += 10 {
		step = min(step, steps)
		done := float64(step) / float64(steps)
		at := final + 3.6*math.Exp(-14*done) + 0.55*math.Exp(-3.2*done)*(1-done)
		m := record.Metric{Step: step, Tokens: step * 2048, Loss: record.Float(at + 0.05*random.NormFloat64())}
		if step%100 == 0 || step == steps {
			v := record.Float(at + 0.004*random.NormFloat64()*(1-done))
			m.ValLoss = &v
		}
		out = append(out, m)
		if step == steps {
			return out
		}
	}
}

// save writes a record as a run folder below root, without the syncs of a real run.
func save(t testing.TB, root string, r Record) {
	t.Helper()
	dir := filepath.Join(root, r.Folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	info, err := json.Marshal(r.Info)
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, m := range r.Metrics {
		if err := encoder.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	put(record.InfoFile, info)
	put(record.ResolvedFile, r.Config)
	put(record.MetricsFile, lines.Bytes())
	switch r.State {
	case record.StateDone:
		put(record.DoneFile, []byte("{}\n"))
	case record.StateFailed:
		put(record.FailedFile, fmt.Appendf(nil, `{"code":76,"cause":%q}`, r.Cause))
	}
}
