package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"plasticity/record"
)

func writeGrid(t interface {
	Fatal(...any)
}, dir, text string,
) string {
	for name, text := range map[string]string{
		"base.yaml": "model: {preset: llama2-s}\nbudget: {tpp: 20}\noptimizer: {tau: 2}\n",
		"ft.yaml":   "budget: {steps: 9}\noptimizer: {weight_decay: 0, lr: 2e-3}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "grid.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

const fullGrid = `name: g
claim: something
base: base.yaml
axes:
  optimizer.weight_decay: [0, 0.10, 1e-3]
  optimizer.no_decay: [[], ["*norm*"]]
  model.family: [llama2]
seeds: [2, 1]
set: {eval: {tokens: 4096}, schedule.kind: linear}
finetune:
  - {task: arithmetic, config: ft.yaml}
  - {task: [judge, reading], config: ft.yaml, axes: {optimizer.lr: [1e-3, 1e-2], batch.sequences: [4, 8]}, seeds: [5, 6], set: {budget.steps: 3}}
evaluate: {samples: 4, problems: 64, max_tokens: 40}
analyze: [probes, {name: rank, all: true}, {name: probes, task: [party, decade], data: texts, pool: mean}, {name: gap, tokens: 4096}, noise, {name: forgetting, tokens: 512}]
figures: [loss-vs-decay]
scales:
  smoke:
    axes: {optimizer.weight_decay: [1]}
    seeds: [7]
    set: {budget.steps: 5}
    finetune: [{task: arithmetic, config: ft.yaml, set: {budget: {steps: 2}}}]
    evaluate: {samples: 1}
  paper: {base: other.yaml}
`

func TestLoadGrid_Full(t *testing.T) {
	dir := t.TempDir()
	file := writeGrid(t, dir, fullGrid)
	g, err := LoadGrid(file, "", []string{"optimizer.lr=0.5"}, []string{"PLASTICITY_EVAL_TOKENS=8192"})
	if err != nil {
		t.Fatal(err)
	}
	want := Grid{
		Name: "g", Scales: []string{"smoke", "paper"}, Claim: "something", File: file, Base: filepath.Join(dir, "base.yaml"),
		Axes: []Axis{
			{Key: "optimizer.weight_decay", Values: []string{"0", "0.1", "0.001"}},
			{Key: "optimizer.no_decay", Values: []string{"[]", `["*norm*"]`}},
			{Key: "model.family", Values: []string{"llama2"}},
		},
		Seeds: []int64{2, 1}, Finetune: []FinetuneEntry{
			{Tasks: []string{"arithmetic"}, Config: filepath.Join(dir, "ft.yaml")},
			{
				Tasks: []string{"judge", "reading"}, Config: filepath.Join(dir, "ft.yaml"), Seeds: []int64{5, 6},
				Axes: []Axis{{Key: "optimizer.lr", Values: []string{"0.001", "0.01"}}, {Key: "batch.sequences", Values: []string{"4", "8"}}},
			},
		},
		Evaluate: Evaluate{Samples: 4, Problems: 64, MaxTokens: 40, Temperature: 1, RepetitionPenalty: 1, Precision: "f32", Seed: 1},
		Analyze: []Analysis{
			{Name: Probes, Task: "synthetic-sentiment"},
			{Name: Rank, All: true},
			{Name: Probes, Task: "party", Data: "texts", Pool: "mean"},
			{Name: Probes, Task: "decade", Data: "texts", Pool: "mean"},
			{Name: Gap, Tokens: 4096},
			{Name: Noise},
			{Name: Forgetting, Tokens: 512},
		},
		Figures: []string{"loss-vs-decay"},
	}
	if diff := cmp.Diff(want, g, cmpopts.IgnoreUnexported(Grid{}, Axis{}, FinetuneEntry{})); diff != "" {
		t.Error(diff)
	}
	cells, err := g.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if len(cells) != 12 || g.CellCount() != 12 {
		t.Fatalf("%d cells, CellCount %d", len(cells), g.CellCount())
	}
	var labels []string
	for _, c := range cells[:5] {
		labels = append(labels, fmt.Sprint(c.Axes[0].Value, c.Axes[1].Value, c.Seed))
		if *c.Run.Optimizer.WeightDecay != 0 && c.Axes[0].Value == "0" || c.Run.Optimizer.Tau != 0 {
			t.Errorf("decay %v, tau %v", *c.Run.Optimizer.WeightDecay, c.Run.Optimizer.Tau)
		}
	}
	if diff := cmp.Diff([]string{"0[]2", "0[]1", `0["*norm*"]2`, `0["*norm*"]1`, "0.1[]2"}, labels); diff != "" {
		t.Error(diff)
	}
	run := cells[3].Run
	if run.Seed != 1 || run.Optimizer.LR != 0.5 || run.Eval.Tokens != 8192 || run.Schedule.Kind != "linear" || len(run.Optimizer.NoDecay) != 1 || run.Budget.TPP != 20 {
		t.Errorf("layers: %+v", run)
	}
}

func TestLoadGrid_NamedValues(t *testing.T) {
	file := writeGrid(t, t.TempDir(), `name: g
base: base.yaml
axes:
  decay_schedule:
    all: {kind: constant}
    early: {kind: window, start_fraction: 0, end_fraction: 0.25}
  optimizer.no_decay:
    nothing: []
    gains: ["*norm*"]
  model:
    small: {preset: "", layers: 2, width: 32, heads: 1, ffn: 88}
    named: {preset: llama2-1m}
  optimizer.weight_decay: [1]
seeds: [1]
finetune: [{task: a, config: ft.yaml, axes: {budget: {short: {steps: 5}, long: {epochs: 2}}}}]
scales: {other: {axes: {model: {wide: {width: 256}}}}}
`)
	g, err := LoadGrid(file, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := g.Cells()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cells {
		r := c.Run
		got = append(got, fmt.Sprintf("%s %s %s: %s %v %v %d %d %d", c.Axes[0].Value, c.Axes[1].Value, c.Axes[2].Value, r.DecaySchedule.Kind, r.DecaySchedule.EndFraction, r.Optimizer.NoDecay, r.Model.Width, r.Model.Layers, r.Model.KVHeads))
	}
	want := []string{
		"all nothing small: constant 1 [] 32 2 1", "all nothing named: constant 1 [] 128 4 4", "all gains small: constant 1 [*norm*] 32 2 1", "all gains named: constant 1 [*norm*] 128 4 4",
		"early nothing small: window 0.25 [] 32 2 1", "early nothing named: window 0.25 [] 128 4 4", "early gains small: window 0.25 [*norm*] 32 2 1", "early gains named: window 0.25 [*norm*] 128 4 4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	recipes, err := g.Recipes()
	if err != nil || len(recipes) != 2 || recipes[0].Axes[0] != (AxisValue{"budget", "short"}) || recipes[0].Run.Budget.Steps != 5 || recipes[1].Run.Budget != (Budget{Epochs: 2}) {
		t.Errorf("%v: %+v", err, recipes)
	}
	if g, err = LoadGrid(file, "other", nil, nil); err != nil || len(g.Axes) != 4 || g.Axes[2].Values[0] != "wide" {
		t.Errorf("a scale has other values: %v, %v", err, g.Axes)
	}
	for _, set := range []string{"decay_schedule.kind=window", "model.preset=llama2-s", "optimizer.tau=1"} {
		if _, err := LoadGrid(file, "", []string{set}, nil); err == nil || !strings.Contains(err.Error(), "is decided by the axis") {
			t.Errorf("%s: %v", set, err)
		}
	}
}

func TestRecipes(t *testing.T) {
	file := writeGrid(t, t.TempDir(), fullGrid)
	g, err := LoadGrid(file, "", []string{"optimizer.lr=0.5"}, []string{"PLASTICITY_BATCH_SEQUENCES=2"})
	if err != nil {
		t.Fatal(err)
	}
	recipes, err := g.Recipes()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range recipes {
		got = append(got, fmt.Sprint(r.Tasks, r.Seeds, r.Axes, r.Run.Optimizer.LR, r.Run.Batch.Sequences, r.Run.Budget.Steps, *r.Run.Optimizer.WeightDecay))
	}
	want := []string{ // what overrides the base runs does not reach the recipe
		"[arithmetic] [] [] 0.002 16 9 0",
		"[judge reading] [5 6] [{optimizer.lr 0.001} {batch.sequences 4}] 0.001 4 3 0",
		"[judge reading] [5 6] [{optimizer.lr 0.001} {batch.sequences 8}] 0.001 8 3 0",
		"[judge reading] [5 6] [{optimizer.lr 0.01} {batch.sequences 4}] 0.01 4 3 0",
		"[judge reading] [5 6] [{optimizer.lr 0.01} {batch.sequences 8}] 0.01 8 3 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if g, err = LoadGrid(file, "smoke", nil, nil); err != nil {
		t.Fatal(err)
	}
	if recipes, err = g.Recipes(); err != nil || len(recipes) != 1 || recipes[0].Run.Budget.Steps != 2 || g.Evaluate.Samples != 1 || g.Evaluate.Problems != 0 {
		t.Errorf("%v: %+v, %+v", err, recipes, g.Evaluate)
	}
}

// A recipe has no base model yet: what it does to one is its own, as an axis or set, and a wrong share is refused.
func TestRecipes_TruncateTheBaseModel(t *testing.T) {
	dir := t.TempDir()
	write := func(axes string) string {
		return writeGrid(t, dir, "name: g\nbase: base.yaml\naxes: {optimizer.weight_decay: [0, 1]}\nseeds: [1]\nfinetune: [{task: a, config: ft.yaml, "+axes+"}]\n")
	}
	g, err := LoadGrid(write("axes: {init_truncate.query_key: [0, 0.9, 0.5]}, set: {init_truncate.value_output: 0.8}"), "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	recipes, err := g.Recipes()
	if err != nil || len(recipes) != 3 {
		t.Fatalf("%d recipes, %v", len(recipes), err)
	}
	for i, want := range []InitTruncate{{0, 0.8}, {0.9, 0.8}, {0.5, 0.8}} {
		if r := recipes[i].Run; r.InitTruncate != want || r.Init != "" {
			t.Errorf("recipe %d: %+v of %q, want %+v", i, r.InitTruncate, r.Init, want)
		}
	}
	if _, err := LoadGrid(write("axes: {init_truncate.query_key: [2]}"), "", nil, nil); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "from 0 to 1") {
		t.Error(err)
	}
}

func TestRecipes_AreBounded(t *testing.T) {
	axis := Axis{Key: "optimizer.lr", Values: make([]string, 256)}
	g := Grid{File: "grid.yaml", Axes: []Axis{axis}, Seeds: []int64{1}, Finetune: []FinetuneEntry{{Tasks: []string{"a", "b"}, Axes: []Axis{axis}}}}
	if _, err := g.Recipes(); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "131072 fine-tunings") {
		t.Errorf("%v", err)
	}
	for range 20 { // more than any whole number holds
		g.Finetune[0].Axes = append(g.Finetune[0].Axes, axis)
	}
	if _, err := g.Recipes(); record.CodeOf(err) != record.Usage {
		t.Errorf("%v", err)
	}
}

func TestFresh(t *testing.T) {
	fresh := Run{Init: "base", Fresh: true}
	if fresh.Weights() != "" || (Run{Init: "base"}).Weights() != "base" {
		t.Error("weights")
	}
	run, err := Load(LoadOptions{Sets: []string{"data.task=t", "init=base", "budget.steps=1"}})
	if err != nil {
		t.Fatal(err)
	}
	sure := func(r Run) string {
		resolved, err := r.Resolve(DataFacts{Vocab: 9})
		if err != nil {
			t.Fatal(err)
		}
		return resolved.ID(DataFacts{}, "")
	}
	other := run
	other.Fresh = true
	if sure(run) == sure(other) {
		t.Error("a never-pretrained model has the id of a fine-tuned one")
	}
	if _, err := Load(LoadOptions{Sets: []string{"fresh=true"}}); record.CodeOf(err) != record.Usage {
		t.Errorf("fresh without a task: %v", err)
	}
}

func TestLoadGrid_Scale(t *testing.T) {
	dir := t.TempDir()
	file := writeGrid(t, dir, fullGrid)
	g, err := LoadGrid(file, "smoke", []string{"budget.tokens=4096"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := g.Cells()
	if err != nil {
		t.Fatal(err)
	}
	if g.Name != "g-smoke" || len(cells) != 2 || cells[0].Seed != 7 || cells[0].Run.Budget != (Budget{Tokens: 4096}) || cells[0].Run.Eval.Tokens != 4096 {
		t.Errorf("%v: %+v", g, cells[0])
	}
	if diff := cmp.Diff([]string{"optimizer.weight_decay", "optimizer.no_decay", "model.family"}, []string{g.Axes[0].Key, g.Axes[1].Key, g.Axes[2].Key}); diff != "" {
		t.Error(diff)
	}
	_, err = LoadGrid(file, "smok", nil, nil)
	if got := usage(t, err); got[0].Near != "smoke" {
		t.Errorf("%v", err)
	}
	if _, err = LoadGrid(file, "paper", nil, nil); !strings.Contains(err.Error(), "other.yaml") {
		t.Errorf("the base of a scale: %v", err)
	}
}

func TestLoadGrid_AxesAreNotOverridden(t *testing.T) {
	file := writeGrid(t, t.TempDir(), fullGrid)
	for _, test := range []struct{ sets, env []string }{
		{[]string{"optimizer.weight_decay=1"}, nil},
		{[]string{"optimizer.tau=1"}, nil},
		{[]string{"seed=1"}, nil},
		{nil, []string{"PLASTICITY_OPTIMIZER_WEIGHT_DECAY=1"}},
	} {
		_, err := LoadGrid(file, "", test.sets, test.env)
		wantUsage(t, err)
		if !strings.Contains(err.Error(), "is decided by") {
			t.Error(err)
		}
	}
}

func TestLoadGrid_BadFiles(t *testing.T) {
	var out strings.Builder
	for _, file := range glob(t, "testdata/*.bad.grid.yaml", 25) {
		g, err := LoadGrid(file, "", nil, nil)
		if err == nil {
			_, err = g.Cells()
		}
		if record.CodeOf(err) != record.Usage {
			t.Errorf("%s: code %d of %v", file, record.CodeOf(err), err)
			continue
		}
		out.WriteString(err.Error() + "\n")
	}
	golden(t, "bad.grid.golden", out.String())
}

func TestLoadGrid_Shipped(t *testing.T) {
	for _, file := range glob(t, "../sweeps/grids/*.yaml", 2) {
		g, err := LoadGrid(file, "", nil, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, scale := range append([]string{""}, g.Scales...) {
			t.Run(g.Name+"/"+scale, func(t *testing.T) { checkShipped(t, file, scale) })
		}
	}
}

func checkShipped(t *testing.T, file, scale string) {
	t.Helper()
	g, err := LoadGrid(file, scale, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := g.Cells()
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, c := range cells {
		r, err := c.Run.Resolve(DataFacts{Vocab: 2})
		if err != nil {
			t.Fatal(err)
		}
		ids[r.ID(DataFacts{}, "")] = true
	}
	if len(ids) != len(cells) {
		t.Errorf("%d runs in %d cells", len(ids), len(cells))
	}
	t.Logf("%s: %d cells", g, len(cells))
}

func TestCells_AreDistinctRuns(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		decays := rapid.SliceOfNDistinct(rapid.Float64Range(0, 100), 1, 5, rapid.ID[float64]).Draw(t, "decays")
		seeds := rapid.SliceOfNDistinct(rapid.Int64Range(0, 1<<62), 1, 4, rapid.ID[int64]).Draw(t, "seeds")
		var text strings.Builder
		text.WriteString("name: p\nbase: base.yaml\naxes:\n  model.layers: [1, 2]\n  optimizer.weight_decay: [")
		for _, d := range decays {
			fmt.Fprintf(&text, "%v, ", d)
		}
		text.WriteString("]\nseeds: [")
		for _, s := range seeds {
			fmt.Fprintf(&text, "%d, ", s)
		}
		text.WriteString("]\n")
		g, err := LoadGrid(writeGrid(t, dir, text.String()), "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		cells, err := g.Cells()
		if err != nil || len(cells) != 2*len(decays)*len(seeds) {
			t.Fatalf("%d cells: %v", len(cells), err)
		}
		seen := make(map[string]bool)
		for _, c := range cells {
			r, err := c.Run.Resolve(DataFacts{Vocab: 512})
			if err != nil {
				t.Fatal(err)
			}
			id := r.ID(DataFacts{}, "")
			if seen[id] {
				t.Fatalf("two cells are run %s", id)
			}
			seen[id] = true
		}
	})
}

func FuzzLoadGrid(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bad.grid.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "")
	}
	f.Add([]byte(fullGrid), "smoke")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, scale string) {
		file := filepath.Join(dir, "fuzz.yaml")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		g, err := LoadGrid(file, scale, nil, nil)
		if err == nil {
			_, err = g.Cells()
		}
		if err != nil && record.CodeOf(err) == record.Internal {
			t.Error(err)
		}
	})
}
