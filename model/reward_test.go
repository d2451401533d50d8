package model_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/safetensors"
	"plasticity/torch/torchtest"
)

// scoreOf are weights of a score.
func scoreOf(width int) []float32 {
	random := rand.New(rand.NewPCG(4, 5))
	score := make([]float32, width)
	for i := range score {
		score[i] = float32(random.NormFloat64())
	}
	return score
}

// rewardFolder is a folder with a reward model of a Llama shape.
func rewardFolder(t testing.TB, cfg config.Model) (*model.Transformer, string) {
	t.Helper()
	m, dir := build(t, cfg, torch.Float32), filepath.Join(t.TempDir(), "reward")
	if err := model.SaveReward(record.OS(), dir, m, scoreOf(cfg.Width), tokenizer(t), map[string]string{"kind": "random"}); err != nil {
		t.Fatal(err)
	}
	return m, dir
}

// hidden runs a model's layers over [1, time] ids.
func hidden(t testing.TB, m *model.Transformer, tokens []int32) []float32 {
	t.Helper()
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	out := s.Float32s(m.Hidden(s, s.FromInt32(tokens, 1, len(tokens))))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// What was written is read: the score, and a trunk whose logits are the hidden states of the model that it was, of a width beyond the
// vocabulary, too.
func TestReward_WrittenAndRead(t *testing.T) {
	torchtest.NoLeaks(t)
	wide := shapes()["llama2-grouped"]
	wide.Width, wide.Heads, wide.KVHeads = 384, 6, 6
	for name, cfg := range map[string]config.Model{
		"grouped": shapes()["llama2-grouped"], "tied": shapes()["llama2-single-key-tied"], "odd": shapes()["llama2-odd"], "wider than its vocabulary": wide,
	} {
		m, dir := rewardFolder(t, cfg)
		source, err := model.LocateReward(dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tok, err := source.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		if end, _ := tok.EOS(); source.Pad == nil || *source.Pad != end {
			t.Errorf("%s: batches are filled up with %v, a text ends with %d", name, source.Pad, end)
		}
		untied := cfg
		untied.TieEmbeddings = false
		if source.Config != untied {
			t.Errorf("%s: read %+v, written %+v", name, source.Config, cfg)
		}
		reward, err := source.Open(cfg.Context + 30)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(reward.Close)
		if !slices.Equal(reward.Score, scoreOf(cfg.Width)) {
			t.Errorf("%s: another score", name)
		}
		if reward.Trunk.Context() != cfg.Context+30 {
			t.Errorf("%s: room for %d tokens", name, reward.Trunk.Context())
		}
		text := ids(9, cfg.Context, cfg.Vocab)
		want, got := hidden(t, m, text), logits(t, reward.Trunk, text, 1, len(text))
		vocab := len(got) / len(text)
		for i := range text {
			for k, x := range want[i*cfg.Width : (i+1)*cfg.Width] {
				if got[i*vocab+k] != x {
					t.Fatalf("%s: position %d, hidden state %d is %v, of the model %v", name, i, k, got[i*vocab+k], x)
				}
			}
		}
		again := filepath.Join(t.TempDir(), "again")
		if err := model.SaveReward(record.OS(), again, m, reward.Score, tok, map[string]string{"kind": "random"}); err != nil {
			t.Fatal(err)
		}
		for file, text := range folder(t, dir) {
			if !bytes.Equal(folder(t, again)[file], text) {
				t.Errorf("%s: %s differs the second time", name, file)
			}
		}
	}
}

// What is no reward model is refused with the file, the field and what to do.
func TestReward_Refuses(t *testing.T) {
	torchtest.NoLeaks(t)
	cfg := shapes()["llama2-grouped"]
	_, good := rewardFolder(t, cfg)
	original := folder(t, good)
	weights := func(change func(safetensors.Source) []safetensors.Source) func(string) {
		return func(dir string) {
			rewrite(t, dir, func(list []safetensors.Source) []safetensors.Source {
				var out []safetensors.Source
				for _, s := range list {
					out = append(out, change(s)...)
				}
				return out
			})
		}
	}
	settings := func(changes map[string]any) func(string) { return func(dir string) { edit(t, dir, changes) } }
	nan := slices.Repeat([]float32{0}, cfg.Width)
	nan[7] = float32(math.NaN())
	instead := func(name string, others ...safetensors.Source) func(string) {
		return weights(func(s safetensors.Source) []safetensors.Source {
			if s.Name == name {
				return others
			}
			return []safetensors.Source{s}
		})
	}
	for name, c := range map[string]struct {
		change func(dir string)
		words  []string
	}{
		"a language model":  {settings(map[string]any{"architectures": []string{"LlamaForCausalLM"}}), []string{"config.json", "architectures", "plasticity verifier"}},
		"another family":    {settings(map[string]any{"model_type": "olmo2", "architectures": nil}), []string{"config.json", "olmo2"}},
		"two labels":        {settings(map[string]any{"id2label": map[string]string{"0": "a", "1": "b"}}), []string{"config.json", "id2label: 2 labels"}},
		"labels not said":   {settings(map[string]any{"id2label": nil}), []string{"config.json", "num_labels: 2 labels"}},
		"three by number":   {settings(map[string]any{"id2label": nil, "num_labels": 3}), []string{"config.json", "num_labels: 3 labels"}},
		"no score":          {instead("score.weight"), []string{"model.safetensors", "score.weight [1 48] is missing", "copy the folder again"}},
		"a score of two":    {instead("score.weight", tensor("score.weight", make([]float32, 96), 2, 48)), []string{"score.weight has shape [2 48] and should have [1 48]"}},
		"a flat score":      {instead("score.weight", tensor("score.weight", make([]float32, 48), 48)), []string{"score.weight has shape [48]"}},
		"a bias":            {instead("score.weight", tensor("score.weight", make([]float32, 48), 1, 48), tensor("score.bias", make([]float32, 1), 1)), []string{"score.bias [1] is not part"}},
		"an output layer":   {instead("score.weight", tensor("score.weight", make([]float32, 48), 1, 48), tensor("lm_head.weight", make([]float32, 304*48), 304, 48)), []string{"lm_head.weight"}},
		"a score not there": {instead("score.weight", tensor("score.weight", nan, 1, 48)), []string{"score.weight", "element 7 is NaN"}},
		"a gain of NaN":     {instead("model.norm.weight", tensor("model.norm.weight", nan, 48)), []string{"model.norm.weight", "element 7 is NaN"}},
		"no weights":        {func(dir string) { os.Remove(filepath.Join(dir, "model.safetensors")) }, []string{"safetensors"}},
		"nothing":           {func(dir string) { os.RemoveAll(dir) }, []string{"config.json"}},
	} {
		dir := filepath.Join(t.TempDir(), "reward")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range original {
			if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c.change(dir)
		source, err := model.LocateReward(dir)
		if err == nil {
			var r *model.Reward
			if r, err = source.Open(10); err == nil {
				r.Close()
			}
		}
		if record.CodeOf(err) != record.BadData {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, words := range c.words {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v does not say %q", name, err, words)
			}
		}
	}
	// One label said by number alone is one, as in transformers.
	edit(t, good, map[string]any{"id2label": nil, "num_labels": 1})
	if _, err := model.LocateReward(good); err != nil {
		t.Errorf("num_labels 1: %v", err)
	}
	m := build(t, shapes()["olmo2"], torch.Float32)
	out := filepath.Join(t.TempDir(), "out")
	if err := model.SaveReward(record.OS(), out, m, scoreOf(48), nil, nil); record.CodeOf(err) != record.Usage {
		t.Errorf("an OLMo-2 was written: %v", err)
	}
	bad := slices.Clone(nan)
	if err := model.SaveReward(record.OS(), out, build(t, cfg, torch.Float32), bad, nil, nil); record.CodeOf(err) != record.BadData {
		t.Errorf("a score of NaN was written: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}
