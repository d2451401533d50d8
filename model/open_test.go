package model_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/safetensors"
	"plasticity/torch/torchtest"
)

// edit changes config.json of an exported folder; a value of nil removes the key.
func edit(t testing.TB, dir string, changes map[string]any) {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for key, value := range changes {
		if value == nil {
			delete(fields, key)
		} else {
			fields[key] = value
		}
	}
	if text, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_ConfigOfEitherVersion(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"transformers 4":     {"rope_parameters": nil, "dtype": nil},
		"transformers 5":     {"rope_theta": nil, "torch_dtype": nil, "rope_scaling": nil},
		"old default rotary": {"rope_parameters": nil, "rope_scaling": map[string]any{"type": "default"}},
		"little said":        {"head_dim": nil, "mlp_bias": nil, "attention_bias": nil, "hidden_act": nil, "architectures": nil, "tie_word_embeddings": nil},
		"more said":          {"transformers_version": "9", "_name_or_path": "x", "pretraining_tp": 1, "layer_types": []string{"full_attention", "full_attention"}},
	} {
		cfg := shapes()["llama2-grouped"]
		dir := export(t, cfg, model.ExportOptions{})
		edit(t, dir, changes)
		if source, err := model.Locate(dir); err != nil || source.Config != cfg {
			t.Errorf("%s: %+v, %v", name, source.Config, err)
		}
	}
}

func TestOpen_UnsupportedConfig(t *testing.T) {
	dir := export(t, shapes()["llama2-grouped"], model.ExportOptions{})
	original := folder(t, dir)["config.json"]
	for name, c := range map[string]struct {
		changes map[string]any
		want    []string
	}{
		"biases":         {map[string]any{"attention_bias": true, "mlp_bias": true}, []string{"attention_bias: true", "mlp_bias: true"}},
		"rope scaling":   {map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8}}, []string{`rope_scaling: rope_type "llama3"`}},
		"old scaling":    {map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2}}, []string{`rope_scaling: rope_type "linear"`}},
		"new scaling":    {map[string]any{"rope_parameters": map[string]any{"rope_type": "yarn", "rope_theta": 1e4}}, []string{`rope_parameters: rope_type "yarn"`}},
		"two bases":      {map[string]any{"rope_theta": 5e5}, []string{"rope_theta 10000 is not the rope_theta 500000"}},
		"partial rotary": {map[string]any{"partial_rotary_factor": 0.5}, []string{"partial_rotary_factor: 0.5"}},
		"architecture":   {map[string]any{"model_type": "mistral", "architectures": []string{"MistralForCausalLM"}}, []string{`model_type: "mistral"`}},
		"other class":    {map[string]any{"architectures": []string{"LlamaForSequenceClassification"}}, []string{"architectures:"}},
		"window":         {map[string]any{"sliding_window": 128, "layer_types": []string{"sliding_attention", "full_attention"}}, []string{"sliding_window: 128", "layer_types:"}},
		"activation":     {map[string]any{"hidden_act": "gelu"}, []string{`hidden_act: "gelu"`}},
		"head size":      {map[string]any{"head_dim": 64}, []string{"head_dim: 64"}},
		"quantised":      {map[string]any{"quantization_config": map[string]any{"bits": 4}}, []string{"quantization_config:"}},
		"custom code":    {map[string]any{"auto_map": map[string]any{"AutoModel": "x.y"}}, []string{"auto_map:"}},
		"dropout":        {map[string]any{"attention_dropout": 0.1}, []string{"attention_dropout: 0.1"}},
		"wrong types":    {map[string]any{"hidden_size": "48", "num_hidden_layers": 1.5, "rms_norm_eps": true}, []string{"hidden_size:", "num_hidden_layers:", "rms_norm_eps:"}},
		"missing":        {map[string]any{"vocab_size": nil, "intermediate_size": nil}, []string{"vocab_size: is missing", "intermediate_size: is missing"}},
		"huge":           {map[string]any{"intermediate_size": 1 << 40}, []string{"ffn is 1099511627776"}},
		"negative":       {map[string]any{"num_hidden_layers": -1}, []string{"layers is -1"}},
		"impossible":     {map[string]any{"num_attention_heads": 7, "head_dim": nil}, []string{"over 7 heads"}},
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), original, 0o600); err != nil {
			t.Fatal(err)
		}
		edit(t, dir, c.changes)
		_, err := model.Locate(dir)
		if record.CodeOf(err) != record.BadData {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, want := range append(c.want, "config.json") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not name %s", name, err, want)
			}
		}
	}
	for name, text := range map[string]string{
		"empty": "", "list": "[]", "cut": string(original[:100]), "twice": `{"model_type":"llama","model_type":"olmo2"}`,
		"tail": string(original) + "{}", "nested": strings.Repeat(`{"a":`, 1<<17), "long": `{"a":"` + strings.Repeat("x", 2<<20) + `"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := model.Locate(dir); record.CodeOf(err) != record.BadData {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := model.Locate(t.TempDir()); record.CodeOf(err) != record.BadData {
		t.Errorf("an empty folder: %v", err)
	}
}

// rewrite writes the weights of an exported folder anew, changed.
func rewrite(t testing.TB, dir string, change func([]safetensors.Source) []safetensors.Source) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []safetensors.Source
	for _, e := range f.Tensors() {
		all, err := f.Float32(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, tensor(e.Name, all, e.Shape...))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, safetensors.PyTorch(), change(list)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func tensor(name string, all []float32, shape ...int) safetensors.Source {
	return safetensors.Source{Name: name, DType: safetensors.F32, Shape: shape, Float32: func() ([]float32, error) { return all, nil }}
}

func TestOpen_WeightsThatDoNotFit(t *testing.T) {
	torchtest.NoLeaks(t)
	dir := export(t, shapes()["llama2-grouped"], model.ExportOptions{})
	rewrite(t, dir, func(list []safetensors.Source) []safetensors.Source {
		list = slices.DeleteFunc(list, func(s safetensors.Source) bool {
			return s.Name == "model.norm.weight" || s.Name == "model.layers.1.self_attn.k_proj.weight"
		})
		list = append(list, tensor("model.layers.1.self_attn.k_proj.weight", make([]float32, 48*48), 48, 48))
		return append(list, tensor("model.layers.2.mlp.bias", []float32{1}, 1), tensor("model.layers.0.self_attn.rotary_emb.inv_freq", []float32{1}, 1))
	})
	_, _, err := model.Open(dir, torch.Float32)
	if record.CodeOf(err) != record.Mismatch {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"3 differences", "model.norm.weight [48] is missing", "model.layers.1.self_attn.k_proj.weight has shape [48 48] and should have [16 48]",
		"model.layers.2.mlp.bias [1] is not part of the model",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "inv_freq") {
		t.Error("old rotary frequencies are harmless")
	}
}

func TestOpen_WeightsThatAreNotFinite(t *testing.T) {
	torchtest.NoLeaks(t)
	for _, x := range []float64{math.NaN(), math.Inf(-1)} {
		dir := export(t, shapes()["olmo2"], model.ExportOptions{})
		rewrite(t, dir, func(list []safetensors.Source) []safetensors.Source {
			all, _ := list[2].Float32()
			all[5] = float32(x)
			return list
		})
		if _, _, err := model.Open(dir, torch.Float32); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "element 5 is") {
			t.Errorf("got %v", err)
		}
	}
}

func TestOpen_TiedHeadStoredAsWell(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["llama2-single-key-tied"]
	for _, equal := range []bool{true, false} {
		dir := export(t, cfg, model.ExportOptions{})
		rewrite(t, dir, func(list []safetensors.Source) []safetensors.Source {
			i := slices.IndexFunc(list, func(s safetensors.Source) bool { return s.Name == "model.embed_tokens.weight" })
			all, _ := list[i].Float32()
			all = slices.Clone(all)
			if !equal {
				all[1]++
			}
			return append(list, tensor("lm_head.weight", all, cfg.Vocab, cfg.Width))
		})
		m, _, err := model.Open(dir, torch.Float32)
		if equal && err != nil || !equal && (record.CodeOf(err) != record.Mismatch || !strings.Contains(err.Error(), "lm_head.weight is stored")) {
			t.Errorf("equal %v: %v", equal, err)
		}
		if m != nil {
			m.Close()
		}
	}
}

func TestOpen_Shards(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["olmo2-grouped-tied"]
	dir := export(t, cfg, model.ExportOptions{})
	want, _, err := model.Open(dir, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	places := map[string]string{}
	for part, name := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		var b bytes.Buffer
		rewrite(t, dir, func(list []safetensors.Source) []safetensors.Source {
			var half []safetensors.Source
			for i, s := range list {
				if i%2 == part {
					half = append(half, s)
					places[s.Name] = name
				}
			}
			if err := safetensors.Write(&b, safetensors.PyTorch(), half); err != nil {
				t.Fatal(err)
			}
			return list
		})
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": places})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, safetensors.IndexFile), index, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	got, _, err := model.Open(dir, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !slices.Equal(values(t, got), values(t, want)) {
		t.Error("shards give other values")
	}
}

func TestOpen_Pickle(t *testing.T) {
	dir := export(t, shapes()["olmo2"], model.ExportOptions{})
	if err := os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "pytorch_model.bin")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := model.Open(dir, torch.Float32); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "save_pretrained") {
		t.Errorf("got %v", err)
	}
}

// run makes a run folder with a checkpoint for each model.
func run(t testing.TB, tokenizerDigest string, models ...*model.Transformer) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	c := config.Defaults()
	c.Name, c.Model = "x", models[0].Config()
	resolved, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	info := record.Info{ID: "0123456789abcdef", Name: "x", Kind: "pretrain", TokenizerDigest: tokenizerDigest}
	if _, err := record.Create(record.OS(), dir, info, nil, resolved); err != nil {
		t.Fatal(err)
	}
	for i, m := range models {
		err := record.SaveCheckpoint(record.OS(), dir, int64(i+1)*10, record.CheckpointMeta{RunID: info.ID}, func(d *record.CheckpointDir) error {
			return d.WriteFile(model.WeightsFile, func(w io.Writer) error { return m.Save(w) })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpen_Run(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["olmo2-grouped-tied"]
	first, second := build(t, cfg, torch.Float32), build(t, cfg, torch.Float32)
	if err := second.Initialize(8); err != nil {
		t.Fatal(err)
	}
	tok := tokenizer(t)
	dir := run(t, tok.Digest(), first, second)
	checkpoint := filepath.Join(dir, "checkpoints", "step-00000010")
	for path, want := range map[string]*model.Transformer{dir: second, checkpoint: first} {
		m, source, err := model.Open(path, torch.BFloat16)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if !slices.Equal(values(t, m), values(t, want)) || source.RunID != "0123456789abcdef" || source.Config != cfg {
			t.Errorf("%s: %+v", path, source)
		}
		if _, err := source.Tokenizer(); record.CodeOf(err) != record.BadData {
			t.Errorf("without a tokenizer: %v", err)
		}
	}
	source, err := model.Locate(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, data.TokenizerFile)
	if err := os.WriteFile(path, tok.JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := source.Tokenizer(); err != nil || got.Digest() != tok.Digest() || source.Step != 20 {
		t.Errorf("%v, step %d", err, source.Step)
	}
	if err := os.WriteFile(path, append(tok.JSON(), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Tokenizer(); record.CodeOf(err) != record.Mismatch {
		t.Errorf("another tokenizer: %v", err)
	}
	if size, err := first.SavedBytes(); err != nil || size != fileSize(t, filepath.Join(checkpoint, model.WeightsFile)) {
		t.Errorf("SavedBytes says %d (%v)", size, err)
	}
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestOpen_DamagedRun(t *testing.T) {
	m := build(t, shapes()["llama2-least"], torch.Float32)
	dir := run(t, "", m)
	weights := filepath.Join(dir, "checkpoints", "step-00000010", model.WeightsFile)
	text, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(weights, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := model.Open(dir, torch.Float32); record.CodeOf(err) != record.BadData {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "checkpoints")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := model.Open(dir, torch.Float32); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "no checkpoint yet") {
		t.Errorf("got %v", err)
	}
	if _, _, err := model.Open(filepath.Join(dir, "absent"), torch.Float32); record.CodeOf(err) != record.BadData {
		t.Errorf("got %v", err)
	}
}

func TestLoadWeights_PadsTheVocabulary(t *testing.T) {
	torchtest.NoLeaks(t)
	for _, name := range []string{"llama2-grouped", "olmo2-grouped-tied"} {
		cfg := shapes()[name]
		dir := export(t, cfg, model.ExportOptions{})
		small, _, err := model.Open(dir, torch.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer small.Close()
		larger := cfg
		larger.Vocab, larger.Context = cfg.Vocab+16, 32
		m := build(t, larger, torch.Float32)
		if err := m.LoadWeights(dir); err != nil {
			t.Fatal(err)
		}
		padded, err := small.PadVocab(larger.Vocab)
		if err != nil {
			t.Fatal(err)
		}
		defer padded.Close()
		if !slices.Equal(values(t, m), values(t, padded)) {
			t.Errorf("%s: LoadWeights and PadVocab differ", name)
		}
		tokens := ids(1, 10, cfg.Vocab)
		want, got := logits(t, small, tokens, 1, 10), logits(t, m, tokens, 1, 10)
		for i := range 10 {
			torchtest.Close(t, "known tokens", got[i*larger.Vocab:i*larger.Vocab+cfg.Vocab], want[i*cfg.Vocab:(i+1)*cfg.Vocab], 1e-5)
			torchtest.Close(t, "new tokens", got[i*larger.Vocab+cfg.Vocab:(i+1)*larger.Vocab], make([]float32, 16), 0)
		}
		if _, err := small.PadVocab(cfg.Vocab - 1); record.CodeOf(err) != record.Mismatch {
			t.Errorf("smaller: %v", err)
		}
	}
}

func TestLoadWeights_AnotherModel(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["llama2-grouped"]
	dir := export(t, cfg, model.ExportOptions{})
	// Same shapes of all tensors, another function: only the configuration tells.
	cfg.Heads, cfg.KVHeads, cfg.RopeTheta, cfg.Vocab = 3, 1, 5e5, 300
	m := build(t, cfg, torch.Float32)
	before := values(t, m)
	err := m.LoadWeights(dir)
	if record.CodeOf(err) != record.Mismatch {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"model.heads is 6 there and 3 here", "kv_heads", "rope_theta", "model.vocab is 304 there and 300 here"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if !slices.Equal(values(t, m), before) {
		t.Error("something was loaded nevertheless")
	}
}
