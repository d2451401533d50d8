package config

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

func load(t *testing.T, sets ...string) Run {
	t.Helper()
	run, err := Load(LoadOptions{Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func resolve(t *testing.T, sets ...string) Resolved {
	t.Helper()
	resolved, err := load(t, sets...).Resolve(facts())
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func facts() DataFacts {
	return DataFacts{Vocab: 512, TrainTokens: 1 << 22, ValTokens: 1 << 18, TrainDigest: "t", ValDigest: "v", TokenizerDigest: "k", Source: "s"}
}

func TestResolve_Steps(t *testing.T) {
	const perStep = 16 * 128
	tests := []struct {
		set   string
		steps int64
	}{
		{"budget.steps=7", 7},
		{"budget.tokens=2048", 1},
		{"budget.tokens=5000", 2},       // 2.44
		{"budget.tokens=5200", 3},       // 2.54
		{"budget.tpp=0.001", 1},         // at least one
		{"budget.tpp=20", 1623},         // of 166,208 parameters
		{"budget.tokens=10e9", 4882813}, // 4,882,812.5: half rounds up
	}
	for _, test := range tests {
		got := resolve(t, "model.preset=llama2-s", test.set)
		if got.Steps != test.steps || got.TokensPerStep != perStep || got.TokensTotal != test.steps*perStep {
			t.Errorf("%s: %d steps of %d, %d tokens; want %d steps", test.set, got.Steps, got.TokensPerStep, got.TokensTotal, test.steps)
		}
		if got.Budget != (Budget{Steps: test.steps}) || got.Batch.MicroSequences != 16 {
			t.Errorf("%s: %+v %+v is still open", test.set, got.Budget, got.Batch)
		}
	}
}

// The longest sequence is the context, or a task's longest example where that is shorter.
func TestResolve_Window(t *testing.T) {
	for longest, want := range map[int]int{0: 128, 1: 1, 90: 90, 128: 128, 500: 128} {
		got, err := load(t, "model.preset=llama2-s", "budget.steps=1").Resolve(DataFacts{Vocab: 512, Examples: 3, Longest: longest})
		if err != nil || got.Window != want || got.TokensPerStep != int64(16*want) {
			t.Errorf("longest %d: a window of %d, %d tokens a step, %v", longest, got.Window, got.TokensPerStep, err)
		}
	}
}

// The tokens of a task are those that the loss is over, a pass having them all whatever the padding; operations are counted for
// every place of a sequence.
func TestResolve_TokensOfATask(t *testing.T) {
	// Three steps of sixteen examples, the last of one.
	task := DataFacts{Vocab: 512, TrainTokens: 1000, Examples: 33, Longest: 90}
	for set, want := range map[string][2]int64{ // steps, tokens
		"budget.epochs=1": {3, 1000}, "budget.epochs=4": {12, 4000}, "budget.steps=1": {1, 333}, "budget.steps=200": {200, 66667},
		"budget.tokens=4000": {12, 4000}, "budget.tpp=0.01": {5, 1667}, // of 166,208 parameters
	} {
		got, err := load(t, "model.preset=llama2-s", set).Resolve(task)
		if err != nil || got.Steps != want[0] || got.TokensTotal != want[1] || got.TokensPerStep != 333 {
			t.Errorf("%s: %d steps of %d, %d tokens, %v; want %v", set, got.Steps, got.TokensPerStep, got.TokensTotal, err, want)
		}
		full, causal := got.FLOPs()
		perToken, perTokenCausal := got.Model.FLOPsPerToken(90)
		if places := float64(want[0] * 16 * 90); full != perToken*places || causal != perTokenCausal*places {
			t.Errorf("%s: %v operations, %v causal, want %v and %v", set, full, causal, perToken*places, perTokenCausal*places)
		}
	}
}

func TestResolve_TauAndDecayAreOne(t *testing.T) {
	a := resolve(t, "optimizer.lr=3e-3", "optimizer.weight_decay=0.3", "budget.steps=1623")
	if want := 1 / (3e-3 * 0.3 * 1623); math.Abs(a.Tau-want) > 1e-15*want {
		t.Errorf("tau %v, want %v", a.Tau, want)
	}
	b := resolve(t, "optimizer.lr=3e-3", "optimizer.tau=0.5", "budget.steps=1000")
	if want := 1 / (3e-3 * 0.5 * 1000); math.Abs(b.WeightDecay-want) > 1e-12 {
		t.Errorf("weight decay %v, want %v", b.WeightDecay, want)
	}
	if *b.Optimizer.WeightDecay != b.WeightDecay || b.Optimizer.Tau != 0 {
		t.Errorf("still open: %+v", b.Optimizer)
	}
	c := resolve(t, "optimizer.weight_decay=0")
	if !math.IsInf(c.Tau, 1) || c.WeightDecay != 0 {
		t.Errorf("no decay: tau %v, decay %v", c.Tau, c.WeightDecay)
	}
}

func TestResolve_IsStableWhenWrittenDown(t *testing.T) {
	a := resolve(t, "model.preset=llama2-s", "model.vocab=0", "optimizer.tau=0.7")
	text, err := a.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(LoadOptions{Base: text})
	if err != nil {
		t.Fatal(err)
	}
	b, err := again.Resolve(facts())
	if err != nil {
		t.Fatal(err)
	}
	if diff := a.Diff(b); diff != nil || a.ID(facts(), "") != b.ID(facts(), "") {
		t.Errorf("the resolved configuration is another run: %v", diff)
	}
}

func TestResolve_Refuses(t *testing.T) {
	tests := []struct {
		name  string
		sets  []string
		facts DataFacts
		want  string
	}{
		{"small vocabulary", []string{"model.vocab=500"}, facts(), "model.vocab: 500 is smaller than the tokenizer's vocabulary of 512; allowed: 0 (the tokenizer's) or from 512 on"},
		{"unknown vocabulary", nil, DataFacts{}, "model.vocab: 0 is the tokenizer's, but no data is known; allowed: data.train with prepared shards, or the size itself"},
		{"little data", nil, DataFacts{Vocab: 4, TrainTokens: 128}, "model.context: 128 needs 129 tokens for one sequence, the training data has 128; allowed: a shorter context or more data"},
		{"strong tau", []string{"optimizer.tau=0.001", "budget.steps=10"}, facts(), "optimizer.tau: 0.001 is a weight_decay of 1e+05 over 10 steps, times optimizer.lr 0.001 is 100; allowed: a larger tau: one step may not shrink a weight to nothing"},
		{"too long", []string{"model.preset=llama2-4b", "budget.tpp=1e6", "batch.sequences=1048576"}, facts(), ""},
		{"far too long", []string{"model.width=65536", "model.layers=1024", "budget.tpp=1e6"}, facts(), "budget: makes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.sets...).Resolve(test.facts)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), test.want) {
				t.Errorf("code %d: %v\nwant %s", record.CodeOf(err), err, test.want)
			}
		})
	}
	if _, err := (Run{}).Resolve(facts()); record.CodeOf(err) != record.Usage {
		t.Errorf("an empty run: %v", err)
	}
}

func TestRun_CheckTrainable(t *testing.T) {
	if err := load(t).CheckTrainable(); record.CodeOf(err) != record.Usage {
		t.Error(err)
	}
	if err := load(t, "data.train=x").CheckTrainable(); err != nil {
		t.Error(err)
	}
}

func TestID_DependsOnWhatARunIs(t *testing.T) {
	base := resolve(t)
	id := base.ID(facts(), "")
	if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Fatalf("id %q", id)
	}
	same := []string{
		"name=other", "device=cpu", "threads=3", "step=reference", "data.train=/x", "data.val=y", "init=z", "batch.micro_sequences=4",
		"metrics.listen=:0", "metrics.log_every_steps=3", "checkpoint.keep=9", "checkpoint.every_steps=1", "model.vocab=512",
		"init_truncate.query_key=0", "init_truncate.value_output=0",
	}
	for _, set := range same {
		other := resolve(t, set)
		if other.ID(facts(), "") != id || base.Diff(other) != nil {
			t.Errorf("%s makes another run: %v", set, base.Diff(other))
		}
	}
	differ := []string{
		"seed=2", "precision=f32", "model.family=olmo2", "model.layers=3", "model.width=64", "model.heads=2", "model.kv_heads=2", "model.ffn=353",
		"model.vocab=600", "model.context=64", "model.rope_theta=5000", "model.norm_eps=1e-6", "model.tie_embeddings=true",
		"data.order=sequential", "budget.tpp=21", "batch.sequences=8", "optimizer.lr=2e-3", "optimizer.betas=[0.9, 0.99]",
		"optimizer.eps=1e-7", "optimizer.weight_decay=0.2", "optimizer.tau=1", "optimizer.clip_norm=0", "optimizer.z_loss=1e-4",
		`optimizer.no_decay=["*norm*"]`, `optimizer.groups=[{match: "*norm*", weight_decay: 0}]`, "schedule.kind=linear",
		"schedule.warmup_fraction=0.2", "schedule.final_fraction=0", "decay_schedule.kind=linear", "eval.every_steps=7", "eval.tokens=4096",
	}
	seen := map[string]string{id: "the base"}
	for _, set := range differ {
		other := resolve(t, set)
		got := other.ID(facts(), "")
		if twin, ok := seen[got]; ok {
			t.Errorf("%s is the same run as %s", set, twin)
		}
		seen[got] = set
		if base.Diff(other) == nil {
			t.Errorf("%s: no difference told", set)
		}
	}
	for _, change := range []func(*DataFacts){
		func(d *DataFacts) { d.TrainDigest = "x" }, func(d *DataFacts) { d.ValDigest = "x" }, func(d *DataFacts) { d.TokenizerDigest = "x" },
	} {
		d := facts()
		change(&d)
		if got := base.ID(d, ""); seen[got] != "" {
			t.Error("a digest does not matter")
		}
	}
	if base.ID(facts(), "parent") == id {
		t.Error("the parent does not matter")
	}
	other := facts()
	other.Source, other.TrainTokens = "elsewhere", 1<<23
	if base.ID(other, "") != id {
		t.Error("words about the data matter")
	}
}

// The id is a promise across versions and machines: a change here orphans every run that exists.
func TestID_Golden(t *testing.T) {
	if got := resolve(t, "model.preset=llama2-s").ID(facts(), ""); got != "41b81fc95e27a9c3" {
		t.Errorf("id %s", got)
	}
}

// Truncated weights make another run, each part and each share its own; the words for it are there only where it is asked for.
func TestID_DependsOnTruncation(t *testing.T) {
	plain := resolve(t, "init=x")
	seen := map[string]string{plain.ID(facts(), "p"): "none"}
	for _, sets := range [][]string{
		{"init_truncate.query_key=0.9"},
		{"init_truncate.query_key=1"},
		{"init_truncate.value_output=0.9"},
		{"init_truncate.query_key=0.9", "init_truncate.value_output=0.9"},
	} {
		other := resolve(t, append([]string{"init=x"}, sets...)...)
		id := other.ID(facts(), "p")
		if twin, ok := seen[id]; ok {
			t.Errorf("%v is the same run as %s", sets, twin)
		}
		seen[id] = strings.Join(sets, " ")
		text, err := other.YAML()
		if err != nil || !strings.Contains(string(text), "init_truncate:") || len(plain.Diff(other)) != len(sets) {
			t.Errorf("%v: %v, %v\n%s", sets, err, plain.Diff(other), text)
		}
	}
	if text, err := plain.YAML(); err != nil || strings.Contains(string(text), "init_truncate") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestDiff_NamesFieldAndBothValues(t *testing.T) {
	a := resolve(t, "optimizer.lr=1e-3", "budget.steps=10")
	b := resolve(t, "optimizer.lr=2e-3", "budget.steps=12", `optimizer.no_decay=["*norm*"]`, "schedule.kind=constant")
	want := []string{
		"optimizer.lr: 0.001 → 0.002", `optimizer.no_decay: [] → ["*norm*"]`, "schedule.kind: cosine → constant",
		"schedule.final_fraction: 0.1 → none", "steps: 10 → 12",
	}
	if diff := cmp.Diff(want, a.Diff(b)); diff != "" {
		t.Error(diff)
	}
}
