package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a golden file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); accept with: go test ./config -run %s -update\n%s", path, t.Name(), diff)
	}
}

func glob(t *testing.T, pattern string, atLeast int) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < atLeast {
		t.Fatalf("%s: %d files, want at least %d", pattern, len(files), atLeast)
	}
	return files
}

// usage checks that err is a Usage failure with a list of problems, each with a place.
func usage(t *testing.T, err error) []Problem {
	t.Helper()
	wantUsage(t, err)
	return ProblemsOf(err)
}

func wantUsage(t *testing.T, err error) {
	t.Helper()
	var list *Error
	if record.CodeOf(err) != record.Usage || !errors.As(err, &list) {
		t.Fatalf("code %d of %v, want %d and a list of problems", record.CodeOf(err), err, record.Usage)
	}
}

func TestLoad_BadFiles(t *testing.T) {
	var out strings.Builder
	for _, file := range glob(t, "testdata/*.bad.yaml", 45) {
		_, err := Load(LoadOptions{File: file})
		if err == nil {
			t.Errorf("%s is accepted", file)
			continue
		}
		for _, p := range usage(t, err) {
			if p.Source != file || p.Line == 0 && p.Path != "" {
				t.Errorf("%s: a problem without its place: %+v", file, p)
			}
		}
		out.WriteString(err.Error() + "\n")
	}
	golden(t, "bad.golden", out.String())
}

func TestLoad_GoodFiles(t *testing.T) {
	for _, file := range glob(t, "testdata/*.good.yaml", 10) {
		run, err := Load(LoadOptions{File: file})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		roundTrip(t, run)
	}
}

// roundTrip writes a run and loads what was written.
func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, run Run,
) {
	t.Helper()
	text, err := run.YAML()
	if err != nil {
		t.Fatalf("YAML: %v", err)
	}
	again, err := Load(LoadOptions{Base: text})
	if err != nil {
		t.Fatalf("what YAML wrote is refused: %v\n%s", err, text)
	}
	if diff := cmp.Diff(run, again); diff != "" {
		t.Fatalf("lost on the way through YAML (-before +after):\n%s", diff)
	}
}

func TestLoad_ProductExample(t *testing.T) {
	run, err := Load(LoadOptions{File: "testdata/product.good.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Name, want.Data.Train, want.Data.Val = "llama2-tiny", "DIR", "DIR"
	if diff := cmp.Diff(want, run); diff != "" {
		t.Errorf("the example of the documentation is not the default (-default +example):\n%s", diff)
	}
}

func TestLoad_ShippedConfigs(t *testing.T) {
	steps := map[string]int64{
		"finetune-laptop": 200, "finetune-paper": 18522, // of 395,100 examples, thrice, in batches of 64
		"llama2-s": 1623, "llama2-1m": 9131, "llama2-0.5b": 9537, "llama2-1b": 19073, "llama2-4b": 38147, "olmo2-1b": 14305,
	}
	for _, file := range glob(t, "../sweeps/configs/*.yaml", 8) {
		run, err := Load(LoadOptions{File: file})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); run.Name != name {
			t.Errorf("%s: name %q", file, run.Name)
		}
		facts := DataFacts{Vocab: 2}
		if strings.HasPrefix(run.Name, "finetune") {
			facts.Examples = 395_100
		}
		resolved, err := run.Resolve(facts)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if want, ok := steps[run.Name]; ok && resolved.Steps != want {
			t.Errorf("%s: %d steps, want %d", file, resolved.Steps, want)
		}
	}
}

func TestLoad_Precedence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "run.yaml")
	if err := os.WriteFile(file, []byte("seed: 2\nmodel: {preset: llama2-1m, layers: 3}\noptimizer: {lr: 2e-3, eps: 1e-7}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := Load(LoadOptions{
		Base: []byte("seed: 9\nname: base\n"),
		File: file,
		Env:  []string{"PLASTICITY_OPTIMIZER_LR=3e-3", "PLASTICITY_OPTIMIZER_EPS=1e-6", "PLASTICITY_SEED=", "PATH=/bin", "PLASTICITY_WORKER=x", "PLASTICITY_OPTIMIZER_NO_DECAY=['*norm*']"},
		Sets: []string{"optimizer.lr=4e-3", "optimizer.lr=5e-3", "optimizer.betas=[0.8, 0.9]", "name=12"},
	})
	if err != nil {
		t.Fatal(err)
	}
	type facts struct {
		Seed            int64
		Name            string
		Layers, Width   int
		LR, Eps         float64
		Betas           [2]float64
		NoDecay, Schema string
	}
	got := facts{run.Seed, run.Name, run.Model.Layers, run.Model.Width, run.Optimizer.LR, run.Optimizer.Eps, run.Optimizer.Betas, strings.Join(run.Optimizer.NoDecay, " "), run.Schedule.Kind}
	want := facts{2, "12", 3, 128, 5e-3, 1e-6, [2]float64{0.8, 0.9}, "*norm*", "cosine"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_ExclusiveKeysReplaceLowerLayers(t *testing.T) {
	zero := 0.0
	tests := []struct {
		name, base string
		env, sets  []string
		budget     Budget
		decay      *float64
		tau        float64
	}{
		{"file replaces the default", "budget: {tokens: 1e6}\noptimizer: {tau: 2}", nil, nil, Budget{Tokens: 1e6}, nil, 2},
		{"flag replaces the file", "budget: {tpp: 20}\noptimizer: {tau: 2}", nil, []string{"budget.steps=10", "optimizer.weight_decay=0"}, Budget{Steps: 10}, &zero, 0},
		{"environment replaces the file", "budget: {steps: 20}", []string{"PLASTICITY_BUDGET_TPP=3", "PLASTICITY_OPTIMIZER_TAU=1"}, nil, Budget{TPP: 3}, nil, 1},
		{"flag replaces the environment", "", []string{"PLASTICITY_BUDGET_TPP=3", "PLASTICITY_OPTIMIZER_TAU=1"}, []string{"budget.tokens=1e5", "optimizer.weight_decay=0"}, Budget{Tokens: 1e5}, &zero, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run, err := Load(LoadOptions{Base: []byte(test.base), Env: test.env, Sets: test.sets})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.budget, run.Budget); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.decay, run.Optimizer.WeightDecay); diff != "" {
				t.Error(diff)
			}
			if run.Optimizer.Tau != test.tau {
				t.Errorf("tau %v, want %v", run.Optimizer.Tau, test.tau)
			}
			roundTrip(t, run)
		})
	}
}

func TestLoad_KindOfAHigherLayerVoidsKeysBelow(t *testing.T) {
	run, err := Load(LoadOptions{
		Base: []byte("schedule: {kind: wsd, decay_fraction: 0.5, final_fraction: 0.3}\n"), Sets: []string{"schedule.kind=constant"},
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Load(LoadOptions{Sets: []string{"schedule.kind=constant"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, run); diff != "" {
		t.Errorf("keys without a use make a difference:\n%s", diff)
	}
}

func TestLoad_BadFlagsAndEnvironment(t *testing.T) {
	tests := []struct {
		name string
		o    LoadOptions
		want []string
	}{
		{"no value", LoadOptions{Sets: []string{"seed"}}, []string{`--set: "seed" has no value; allowed: --set key=value, such as --set optimizer.lr=1e-3`}},
		{"unknown", LoadOptions{Sets: []string{"optimizer.lrr=1"}}, []string{"--set: optimizer.lrr: unknown key; did you mean optimizer.lr?"}},
		{"section", LoadOptions{Sets: []string{"batch=1"}}, []string{"--set: batch: is a section; allowed: one of its keys: sequences, micro_sequences"}},
		{"hex", LoadOptions{Sets: []string{"seed=0x1"}}, []string{"--set: seed: 0x1 is not a decimal number: no leading zeros, 0x, 0o or underscores; allowed: a whole number from 0 to 9223372036854775807"}},
		{"empty number", LoadOptions{Sets: []string{"seed="}}, []string{`--set: seed: "" is nothing: remove the key or give it a value; allowed: a whole number from 0 to 9223372036854775807`}},
		{"list", LoadOptions{Sets: []string{"optimizer.betas=[1"}}, []string{`--set: optimizer.betas: "[1" cannot be read; allowed: a list of two numbers, each from 0 and below 1`}},
		{"exclusive", LoadOptions{Sets: []string{"budget.tpp=1", "budget.steps=1"}}, []string{"--set: budget.tpp and budget.steps: exclude each other; allowed: one of budget.tokens, budget.tpp, budget.steps, budget.epochs"}},
		{"variable", LoadOptions{Env: []string{"PLASTICITY_OPTIMISER_LR=1"}}, []string{"environment: PLASTICITY_OPTIMISER_LR: unknown variable; did you mean PLASTICITY_OPTIMIZER_LR?"}},
		{"variable of a section", LoadOptions{Env: []string{"PLASTICITY_DATA_SOMETHING=1"}}, []string{"environment: PLASTICITY_DATA_SOMETHING: unknown variable"}},
		{"value of a variable", LoadOptions{Env: []string{"PLASTICITY_SEED=x"}}, []string{"PLASTICITY_SEED: seed: x is not a number; allowed: a whole number from 0 to 9223372036854775807"}},
		{"not UTF-8", LoadOptions{Sets: []string{"name=\xff"}}, []string{`--set: name: "\xff" is not UTF-8; allowed: 1 to 64 letters, digits and . _ = -, the first a letter or digit`}},
		{"alias", LoadOptions{Sets: []string{"optimizer.no_decay=&a [*a]"}}, []string{`--set: "&a" is an anchor; allowed: the value itself`, `--set: "*a" is an alias; allowed: the value itself`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(test.o)
			var got []string
			for _, p := range usage(t, err) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoad_UnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# filler\n", maxBytes/8)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(dir, "nowhere.yaml"), dir, large} {
		_, err := Load(LoadOptions{File: file})
		if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: code %d: %v", file, record.CodeOf(err), err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.bad.yaml", "testdata/*.good.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text, "optimizer.lr=1e-3")
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		run, err := Load(LoadOptions{Base: text, Sets: []string{set}})
		if err != nil {
			wantUsage(t, err)
			return
		}
		roundTrip(t, run)
		if resolved, err := run.Resolve(DataFacts{Vocab: 2}); err == nil && len(resolved.ID(DataFacts{}, "")) != 16 {
			t.Errorf("id %q", resolved.ID(DataFacts{}, ""))
		}
	})
}

func TestLoad_HostileFilesEndQuickly(t *testing.T) {
	var keys strings.Builder
	for i := range 100_000 {
		keys.WriteString("key" + strconv.Itoa(i) + ": 1\n")
	}
	for name, text := range map[string]string{
		"keys":     keys.String(),
		"some":     keys.String()[:60_000],
		"brackets": strings.Repeat("[", maxBytes),
		"braces":   strings.Repeat("{a: ", maxBytes/8),
		"dashes":   strings.Repeat("- ", maxBytes/4),
		"indent":   strings.Repeat("a:\n ", 1000),
		"comments": strings.Repeat("# x\n", maxBytes/8) + "seed: x",
		"quotes":   `name: "` + strings.Repeat(`\n`, maxBytes/4),
		"anchors":  strings.Repeat("&a ", maxBytes/8),
		"list":     "optimizer: {no_decay: [" + strings.Repeat("a,", 4000) + "]}",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Load(LoadOptions{Base: []byte(text)})
			wantUsage(t, err)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%v", took)
			} else {
				t.Log(took)
			}
		})
	}
}
