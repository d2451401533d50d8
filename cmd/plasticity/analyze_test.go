package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/record"
	"plasticity/torch/safetensors"
)

// llamaFolder makes a Hugging Face folder of a Llama model with two heads, whose W_Q has rank 1, and returns it.
func llamaFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "llama")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	config := `{"model_type":"llama","hidden_size":8,"num_attention_heads":2,"num_hidden_layers":1,"intermediate_size":4,"vocab_size":9}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Source
	for _, letter := range []string{"q", "k", "v", "o"} {
		tensors = append(tensors, safetensors.Source{
			Name: "model.layers.0.self_attn." + letter + "_proj.weight", DType: safetensors.F32, Shape: []int{8, 8},
			Float32: func() ([]float32, error) {
				values := make([]float32, 64)
				for i := range 8 {
					if letter != "q" || i%4 == 0 {
						values[9*i] = 1
					}
				}
				return values, nil
			},
		})
	}
	file, err := os.Create(filepath.Join(dir, safetensors.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(file, nil, tensors); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAnalyzeRank_WritesAndSays(t *testing.T) {
	model, out := llamaFolder(t), filepath.Join(t.TempDir(), "out")
	code, said, complaint := try(nil, "analyze", "rank", "--model", model, "--out", out)
	if code != 0 || complaint != "" || !strings.Contains(said, "\n       0       1.00     1.00     1.00") || !strings.HasSuffix(said, filepath.Join(out, "rank.json")+"\n") {
		t.Errorf("code %d\n%s\n%s", code, said, complaint)
	}
	code, said, complaint = try(nil, "analyze", "rank", "--model", model, "--out", out, "--json")
	var result struct {
		Out       string
		Unchanged bool
		Layers    []struct {
			QK, VP struct{ Heads []float64 }
		}
	}
	if err := json.Unmarshal([]byte(said), &result); err != nil || code != 0 || !result.Unchanged || result.Out != out {
		t.Fatalf("%v, code %d\n%s\n%s", err, code, said, complaint)
	}
	if qk, vp := result.Layers[0].QK.Heads, result.Layers[0].VP.Heads; len(qk) != 2 || qk[1] != 1 || vp[0] != 4 {
		t.Errorf("ranks %v, %v", qk, vp)
	}
	if code, _, complaint = try(nil, "analyze", "rank", "--model", model, "--out", out, "--normalise"); code != int(record.NotPermitted) || !strings.Contains(complaint, "holds another result") {
		t.Errorf("code %d\n%s", code, complaint)
	}
}

func TestAnalyzeRank_WrongUsage(t *testing.T) {
	model, empty := llamaFolder(t), t.TempDir()
	for want, args := range map[string][]string{
		"--model is missing":                {},
		"--out is missing":                  {"--model", model},
		"--power 3: want 1 or 2":            {"--model", model, "--out", "x", "--power", "3"},
		"--threshold 0: want above 0":       {"--model", model, "--out", "x", "--threshold", "0"},
		"--tolerance 1: want 0 or more":     {"--model", model, "--out", "x", "--tolerance", "1"},
		"--threads -1: want 0":              {"--model", model, "--out", "x", "--threads", "-1"},
		"layer 1: the model has layers 0":   {"--model", model, "--out", "x", "--layers", "1"},
		"not the folder of a run, and only": {"--model", model, "--out", "x", "--all"},
		"llama2 has no norms":               {"--model", model, "--out", "x", "--fold-norms"},
		"not the folder of a model":         {"--model", empty},
		"absent: not the folder of a model": {"--model", filepath.Join(empty, "absent"), "--out", "x"},
	} {
		code, out, complaint := try(nil, append([]string{"analyze", "rank"}, args...)...)
		if code != int(record.Usage) || out != "" || !strings.Contains(complaint, want) {
			t.Errorf("%v: code %d, want %q\n%s", args, code, want, complaint)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a refused command left a folder")
	}
}
