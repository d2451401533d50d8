package rank

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch/safetensors"
)

func analyzed(t *testing.T, o Options) Report {
	t.Helper()
	if o.Formula == (Formula{}) {
		o.Formula = DefaultFormula()
	}
	report, problems, err := Analyze(context.Background(), o)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return report
}

// What the file says is read from the right rows and columns: each head has a rank of its own.
func TestAnalyze_EachHeadIsReadFromItsPlace(t *testing.T) {
	s := shape{config.Llama2, 2, 24, 4, 2, 8, 11}
	const size = 6
	tensors := s.tensors(1, safetensors.F32)
	// Layer 1: W_Q of head h keeps h+1 of its rows, W_P of head h keeps h+2 of its columns, the others are zero.
	for i := range tensors {
		make32 := tensors[i].Float32
		switch tensors[i].Name {
		case "model.layers.1.self_attn.q_proj.weight":
			tensors[i].Float32 = func() ([]float32, error) {
				values, err := make32()
				for row := range 4 * size {
					if row%size > row/size {
						clear(values[row*24 : (row+1)*24])
					}
				}
				return values, err
			}
		case "model.layers.1.self_attn.o_proj.weight":
			tensors[i].Float32 = func() ([]float32, error) {
				values, err := make32()
				for at := range values {
					if column := at % 24; column%size > column/size+1 {
						values[at] = 0
					}
				}
				return values, err
			}
		}
	}
	dir := writeFolder(t, s.hf(nil), tensors, 1)
	report := analyzed(t, Options{Model: dir, Formula: Formula{1, 1, NotNormalised, 1e-9, false}, Spectra: true})
	if len(report.Layers) != 2 || report.Step != 0 || report.Model.Folder != "model" || report.Model.Run != "" {
		t.Fatalf("%+v", report)
	}
	if got := report.Layers[1].QK.Tolerance; !slices.Equal(got.Heads, []float64{1, 2, 3, 4}) || got.Mean != 2.5 {
		t.Errorf("W_QK: %v", got)
	}
	if got := report.Layers[1].VP.Tolerance; !slices.Equal(got.Heads, []float64{2, 3, 4, 5}) || got.Mean != 3.5 {
		t.Errorf("W_VP: %v", got)
	}
	if got := report.Layers[0].QK.Tolerance; !slices.Equal(got.Heads, repeated(size, 4)) {
		t.Errorf("layer 0: %v", got)
	}
	if len(report.Layers[0].VP.SingularValues) != 4 || len(report.Layers[0].VP.SingularValues[3]) != size {
		t.Error("singular values are missing")
	}

	chosen := analyzed(t, Options{Model: dir, Layers: []int{1, 1}})
	if all := analyzed(t, Options{Model: dir}); len(chosen.Layers) != 1 || !reflect.DeepEqual(chosen.Layers[0], all.Layers[1]) {
		t.Errorf("layer 1 alone is %+v", chosen.Layers)
	}
	normalised := analyzed(t, Options{Model: dir, Formula: Formula{1, 0.95, ByHeadSize, 0.01, false}})
	if got, want := normalised.Layers[0].QK.Mean*size, chosenMean(t, dir); !near(got, want) {
		t.Errorf("normalised %v, want %v", got, want)
	}
}

func chosenMean(t *testing.T, dir string) float64 {
	t.Helper()
	return analyzed(t, Options{Model: dir}).Layers[0].QK.Mean
}

// One file or several, and the types that float32 values survive: the same numbers.
func TestAnalyze_ShardsAndTypes(t *testing.T) {
	s := shape{config.OLMo2, 2, 20, 4, 1, 8, 11}
	want := analyzed(t, Options{Model: writeFolder(t, s.hf(nil), s.tensors(2, safetensors.F32), 1)})
	if got := analyzed(t, Options{Model: writeFolder(t, s.hf(nil), s.tensors(2, safetensors.F32), 5)}); !reflect.DeepEqual(got, want) {
		t.Error("shards change the result")
	}
	for _, dtype := range []safetensors.DType{safetensors.BF16, safetensors.F16} {
		got := analyzed(t, Options{Model: writeFolder(t, s.hf(nil), s.tensors(2, dtype), 2)})
		if a, b := got.Layers[1].VP.Stable.Mean, want.Layers[1].VP.Stable.Mean; math.Abs(a/b-1) > 0.01 || a == b {
			t.Errorf("%s: stable rank %v, of float32 %v", dtype, a, b)
		}
	}
}

// Folding a gain in is multiplying a row.
func TestAnalyze_FoldsNorms(t *testing.T) {
	s := shape{config.OLMo2, 1, 20, 4, 2, 8, 11}
	tensors := s.tensors(3, safetensors.F32)
	values := map[string][]float32{}
	for _, source := range tensors {
		v, err := source.Float32()
		if err != nil {
			t.Fatal(err)
		}
		values[source.Name] = v
	}
	folded := slices.Clone(tensors)
	for i := range folded {
		for _, letter := range []string{"q", "k"} {
			if folded[i].Name == "model.layers.0.self_attn."+letter+"_proj.weight" {
				out := slices.Clone(values[folded[i].Name])
				for at := range out {
					out[at] *= values["model.layers.0.self_attn."+letter+"_norm.weight"][at/20]
				}
				folded[i].Float32 = func() ([]float32, error) { return out, nil }
			}
		}
	}
	formula := DefaultFormula()
	formula.FoldedNorms = true
	got := analyzed(t, Options{Model: writeFolder(t, s.hf(nil), tensors, 1), Formula: formula})
	want := analyzed(t, Options{Model: writeFolder(t, s.hf(nil), folded, 1)})
	raw := analyzed(t, Options{Model: writeFolder(t, s.hf(nil), tensors, 1)})
	for h := range 4 {
		a, b, c := got.Layers[0].QK.Stable.Heads[h], want.Layers[0].QK.Stable.Heads[h], raw.Layers[0].QK.Stable.Heads[h]
		if math.Abs(a-b) > 1e-5 || math.Abs(a-c) < 1e-3 {
			t.Errorf("head %d: stable rank %v, want %v; raw %v", h, a, b, c)
		}
	}
	if !reflect.DeepEqual(got.Layers[0].VP, raw.Layers[0].VP) {
		t.Error("folding changes W_VP")
	}
	llama := shape{config.Llama2, 1, 20, 4, 2, 8, 11}
	_, _, err := Analyze(context.Background(), Options{Model: writeFolder(t, llama.hf(nil), llama.tensors(3, safetensors.F32), 1), Formula: formula})
	if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "no norms on queries and keys") {
		t.Errorf("Llama: %v", err)
	}
}

// What the weights compute with does not matter here, so models are taken that cannot be trained further.
func TestAnalyze_TakesWhatOnlyComputingNeeds(t *testing.T) {
	s := shape{config.Llama2, 1, 15, 3, 1, 8, 11} // head size 5: no rotary embedding could turn it
	analyzed(t, Options{Model: writeFolder(t, s.hf(map[string]any{
		"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8}, "attention_bias": true, "hidden_act": "gelu", "sliding_window": 7,
	}), s.tensors(1, safetensors.F32), 1)})
}

func TestAnalyze_OverTraining(t *testing.T) {
	s := shape{config.Llama2, 2, 24, 4, 2, 8, 11}
	run := writeRun(t, s, 1, 2, 3)
	newest, all := analyzed(t, Options{Model: run}), analyzed(t, Options{Model: run, All: true})
	if newest.Step != 30 || newest.Tokens != 30*64 || newest.Model.Run != "0123456789abcdef" || newest.Training != nil {
		t.Errorf("%+v", newest)
	}
	if len(all.Training) != 3 || all.Training[1].Step != 20 || !reflect.DeepEqual(all.Point, newest.Point) || !reflect.DeepEqual(all.Training[2], newest.Point) {
		t.Errorf("over training: %+v", all)
	}
	second := analyzed(t, Options{Model: filepath.Join(run, "checkpoints", "step-00000020")})
	if !reflect.DeepEqual(second.Point, all.Training[1]) {
		t.Error("a checkpoint alone is not what it is over training")
	}
	if text := all.Describe(); strings.Count(text, "\n") != 5 || !strings.Contains(text, "\n      20 ") {
		t.Error(text)
	}

	damage(t, filepath.Join(run, "checkpoints", "step-00000020", safetensors.ModelFile))
	report, problems, err := Analyze(context.Background(), Options{Model: run, All: true, Formula: DefaultFormula()})
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].What, "left out") || !slices.Equal(report.LeftOut, []int64{20}) || len(report.Training) != 2 {
		t.Errorf("%v, %v, left out %v", err, problems, report.LeftOut)
	}
	damage(t, filepath.Join(run, "checkpoints", "step-00000010", safetensors.ModelFile))
	damage(t, filepath.Join(run, "checkpoints", "step-00000030", safetensors.ModelFile))
	for _, every := range []bool{false, true} {
		if _, _, err := Analyze(context.Background(), Options{Model: run, All: every, Formula: DefaultFormula()}); record.CodeOf(err) != record.BadData {
			t.Errorf("no checkpoint is whole: %v", err)
		}
	}
}

// damage changes the last byte of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	put(t, path, text)
}

func TestAnalyze_Refuses(t *testing.T) {
	s := shape{config.OLMo2, 2, 20, 4, 2, 8, 11}
	const name = "model.layers.1.self_attn.k_proj.weight"
	changed := func(change func(*safetensors.Source)) []safetensors.Source {
		tensors := s.tensors(4, safetensors.F32)
		for i := range tensors {
			if tensors[i].Name == name {
				change(&tensors[i])
			}
		}
		return tensors
	}
	fill := func(x float32) func(*safetensors.Source) {
		return func(source *safetensors.Source) {
			source.Float32 = func() ([]float32, error) { values := make([]float32, 10*20); values[7] = x; return values, nil }
		}
	}
	whole := s.tensors(4, safetensors.F32)
	for label, c := range map[string]struct {
		config  []byte
		tensors []safetensors.Source
		want    []string
	}{
		"missing":     {s.hf(nil), changed(func(source *safetensors.Source) { source.Name = "k" }), []string{"tensor " + name + " [10 20] is missing"}},
		"shape":       {s.hf(nil), changed(func(source *safetensors.Source) { source.Shape = []int{20, 10} }), []string{"tensor " + name + " has shape [20 10] and should have [10 20]"}},
		"NaN":         {s.hf(nil), changed(fill(float32(math.NaN()))), []string{name, "element 7 is NaN"}},
		"infinity":    {s.hf(nil), changed(fill(float32(math.Inf(-1)))), []string{name, "element 7 is -Inf"}},
		"heads":       {s.hf(map[string]any{"num_key_value_heads": 4}), whole, []string{"k_proj.weight has shape [10 20] and should have [20 20]"}},
		"layers":      {s.hf(map[string]any{"num_hidden_layers": 3}), whole, []string{"model.layers.2.self_attn.q_proj.weight [20 20] is missing"}},
		"family":      {s.hf(map[string]any{"model_type": "mamba"}), whole, []string{`"mamba" is not known`, "config.json"}},
		"indivisible": {s.hf(map[string]any{"num_attention_heads": 3, "num_key_value_heads": 3}), whole, []string{"no whole head size"}},
		"quantised":   {s.hf(map[string]any{"quantization_config": map[string]any{"bits": 4}}), whole, []string{"quantization_config"}},
		"head size":   {s.hf(map[string]any{"head_dim": 8}), whole, []string{"head_dim: 8"}},
		"huge":        {s.hf(map[string]any{"hidden_size": 1 << 40}), whole, []string{"width is"}},
	} {
		dir := writeFolder(t, c.config, c.tensors, 1)
		_, _, err := Analyze(context.Background(), Options{Model: dir, Formula: DefaultFormula()})
		if record.CodeOf(err) != record.BadData {
			t.Errorf("%s: code %d: %v", label, record.CodeOf(err), err)
			continue
		}
		for _, want := range append(c.want, dir) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", label, err, want)
			}
		}
	}

	dir := writeFolder(t, s.hf(nil), whole, 1)
	if got := analyzed(t, Options{Model: dir, Layers: []int{0}}); len(got.Layers) != 1 {
		t.Error(got)
	}
	path := filepath.Join(dir, safetensors.ModelFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 7, 100, len(text) / 2, len(text) - 1} {
		put(t, path, text[:cut])
		if _, _, err := Analyze(context.Background(), Options{Model: dir, Formula: DefaultFormula()}); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
	put(t, path, text)
	for _, o := range []Options{
		{Model: t.TempDir(), Formula: DefaultFormula()},
		{Model: filepath.Join(dir, "absent"), Formula: DefaultFormula()},
		{Model: dir, All: true, Formula: DefaultFormula()},
		{Model: dir, Layers: []int{2}, Formula: DefaultFormula()},
		{Model: dir, Layers: []int{-1}, Formula: DefaultFormula()},
		{Model: dir},
	} {
		if _, _, err := Analyze(context.Background(), o); record.CodeOf(err) != record.Usage {
			t.Errorf("%+v: %v", o, err)
		}
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Analyze(stopped, Options{Model: dir, Formula: DefaultFormula()}); record.CodeOf(err) != record.Stopped {
		t.Errorf("stopped: %v", err)
	}
}

func TestWrite_OnceAndNotOverAnother(t *testing.T) {
	s := shape{config.Llama2, 2, 24, 4, 2, 8, 11}
	run, out := writeRun(t, s, 1, 2), filepath.Join(t.TempDir(), "deep", "out")
	report := analyzed(t, Options{Model: run, All: true, Threads: 1})
	if unchanged, err := report.Write(record.OS(), out); err != nil || unchanged {
		t.Fatal(unchanged, err)
	}
	again := analyzed(t, Options{Model: run, All: true, Threads: 3})
	if unchanged, err := again.Write(record.OS(), out); err != nil || !unchanged {
		t.Errorf("the same again: unchanged %v, %v", unchanged, err)
	}
	other := analyzed(t, Options{Model: run, Formula: Formula{2, 0.9, NotNormalised, 0.01, false}})
	if _, err := other.Write(record.OS(), out); record.CodeOf(err) != record.NotPermitted {
		t.Errorf("another result: %v", err)
	}

	text, err := os.ReadFile(filepath.Join(out, File))
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, report) {
		t.Errorf("read back: %v", err)
	}
	// The names that scripts rely on.
	var bare struct {
		Formula struct {
			Power, Threshold float64
			Normalisation    string
		}
		Layers []struct {
			Layer  int
			QK, VP struct {
				Mean  float64
				Heads []float64
			}
		}
	}
	if err := json.Unmarshal(text, &bare); err != nil {
		t.Fatal(err)
	}
	if bare.Formula.Power != 1 || bare.Formula.Threshold != 0.95 || bare.Formula.Normalisation != "none" || len(bare.Layers) != 2 ||
		bare.Layers[1].Layer != 1 || len(bare.Layers[1].VP.Heads) != 4 || bare.Layers[1].QK.Mean != report.Layers[1].QK.Mean {
		t.Errorf("%s", text)
	}
	table, err := os.ReadFile(filepath.Join(out, TableFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	if len(lines) != 1+2*2*2*4 || !strings.HasPrefix(lines[1], "10,640,0,qk,0,") || strings.Count(lines[1], ",") != strings.Count(lines[0], ",") {
		t.Errorf("%s", table)
	}
}
