package rank

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch/safetensors"
)

// shape is a model of a test.
type shape struct {
	family                       string
	layers, width, heads, kv, ff int
	vocab                        int
}

// config is the shape as a run's configuration has it.
func (s shape) config() config.Model {
	return config.Model{
		Family: s.family, Layers: s.layers, Width: s.width, Heads: s.heads, KVHeads: s.kv, FFN: s.ff, Vocab: s.vocab, Context: 32,
		RopeTheta: 10_000, NormEps: 1e-5,
	}
}

// hf is the shape's config.json; changes are put over it.
func (s shape) hf(changes map[string]any) []byte {
	fields := map[string]any{
		"model_type": map[string]string{config.Llama2: "llama", config.OLMo2: "olmo2"}[s.family], "num_hidden_layers": s.layers, "hidden_size": s.width,
		"num_attention_heads": s.heads, "num_key_value_heads": s.kv, "intermediate_size": s.ff, "vocab_size": s.vocab, "max_position_embeddings": 32,
	}
	for key, value := range changes {
		fields[key] = value
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return text
}

// tensors lists all tensors of a model with random values that a seed decides: matrices normal, gains around one. Values are
// made when they are asked for.
func (s shape) tensors(seed uint64, dtype safetensors.DType) []safetensors.Source {
	var list []safetensors.Source
	add := func(name string, center, spread float64, dims ...int) {
		stream := uint64(len(list))
		list = append(list, safetensors.Source{Name: name, DType: dtype, Shape: dims, Float32: func() ([]float32, error) {
			count := 1
			for _, d := range dims {
				count *= d
			}
			r := rand.New(rand.NewPCG(seed, stream))
			values := make([]float32, count)
			for i := range values {
				values[i] = float32(center + spread*r.NormFloat64())
			}
			return values, nil
		}})
	}
	size := s.width / s.heads
	add("model.embed_tokens.weight", 0, 0.02, s.vocab, s.width)
	for l := range s.layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		add(p+"self_attn.q_proj.weight", 0, 0.05, s.heads*size, s.width)
		add(p+"self_attn.k_proj.weight", 0, 0.03, s.kv*size, s.width)
		add(p+"self_attn.v_proj.weight", 0, 0.02, s.kv*size, s.width)
		add(p+"self_attn.o_proj.weight", 0, 0.04, s.width, s.heads*size)
		add(p+"mlp.gate_proj.weight", 0, 0.02, s.ff, s.width)
		add(p+"mlp.up_proj.weight", 0, 0.02, s.ff, s.width)
		add(p+"mlp.down_proj.weight", 0, 0.02, s.width, s.ff)
		add(p+"post_attention_layernorm.weight", 1, 0.1, s.width)
		if s.family == config.OLMo2 {
			add(p+"self_attn.q_norm.weight", 1, 0.3, s.heads*size)
			add(p+"self_attn.k_norm.weight", 1, 0.3, s.kv*size)
			add(p+"post_feedforward_layernorm.weight", 1, 0.1, s.width)
		} else {
			add(p+"input_layernorm.weight", 1, 0.1, s.width)
		}
	}
	add("model.norm.weight", 1, 0.1, s.width)
	add("lm_head.weight", 0, 0.02, s.vocab, s.width)
	return list
}

// writeFolder makes a Hugging Face folder with its tensors in so many files.
func writeFolder(t testing.TB, config []byte, tensors []safetensors.Source, shards int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "config.json"), config)
	if shards == 1 {
		writeTensors(t, filepath.Join(dir, safetensors.ModelFile), tensors)
		return dir
	}
	places := map[string]string{}
	for i := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)
		part := tensors[len(tensors)*i/shards : len(tensors)*(i+1)/shards]
		for _, s := range part {
			places[s.Name] = name
		}
		writeTensors(t, filepath.Join(dir, name), part)
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": places})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, safetensors.IndexFile), index)
	return dir
}

func put(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeTensors(t testing.TB, path string, tensors []safetensors.Source) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(file, safetensors.PyTorch(), tensors); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeRun makes a run with a checkpoint for each seed, ten steps apart.
func writeRun(t testing.TB, s shape, seeds ...uint64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	c := config.Defaults()
	c.Name, c.Model = "x", s.config()
	resolved, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	info := record.Info{ID: "0123456789abcdef", Name: "x", Kind: "pretrain"}
	if _, err := record.Create(record.OS(), dir, info, nil, resolved); err != nil {
		t.Fatal(err)
	}
	for i, seed := range seeds {
		step := int64(i+1) * 10
		var text bytes.Buffer
		if err := safetensors.Write(&text, safetensors.PyTorch(), s.tensors(seed, safetensors.F32)); err != nil {
			t.Fatal(err)
		}
		err := record.SaveCheckpoint(record.OS(), dir, step, record.CheckpointMeta{RunID: info.ID, Tokens: step * 64}, func(d *record.CheckpointDir) error {
			return d.WriteFile(safetensors.ModelFile, func(w io.Writer) error {
				_, err := w.Write(text.Bytes())
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
