package eval

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
)

// rewardSpec is what oracle/reward_parity.py reads.
type rewardSpec struct {
	Dir   string         `json:"dir"`
	Texts [][]int32      `json:"texts"`
	Make  map[string]any `json:"make,omitempty"`
}

// texts are token ids of lengths from 1 to longest; none is the token that fills up, but one text ends with it and one has nothing else.
func texts(n, longest, vocab int, pad int32) [][]int32 {
	random := rand.New(rand.NewPCG(8, 9))
	var out [][]int32
	for i := range n {
		ids := make([]int32, 1+i*(longest-1)/(n-1))
		for k := range ids {
			for ids[k] = pad; ids[k] == pad; {
				ids[k] = int32(random.IntN(vocab))
			}
		}
		out = append(out, ids)
	}
	return append(out, append(out[n/2:][0:1:1][0], pad, pad), []int32{pad, pad, pad})
}

// The rewards are transformers', of a folder that transformers wrote and of one that we wrote, whether key heads are grouped or not,
// with texts longer than the context.
func TestRewarder_OracleRewards(t *testing.T) {
	oracle(t)
	const context, longest, pad = 40, 70, 2
	for name, kvHeads := range map[string]int{"grouped": 2, "not grouped": 6} {
		spec := rewardSpec{Dir: filepath.Join(t.TempDir(), "hf"), Texts: texts(17, longest, 250, pad), Make: map[string]any{
			"vocab_size": 250, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6,
			"num_key_value_heads": kvHeads, "max_position_embeddings": context, "rms_norm_eps": 1e-5, "pad_token_id": pad,
		}}
		compareRewards(t, name+", theirs", spec)

		_, _, tokenizer := small(t, config.Llama2)
		m := randomModel(t, config.Model{
			Family: config.Llama2, Layers: 2, Width: 288, Heads: 6, KVHeads: kvHeads, FFN: 100, Vocab: tokenizer.Vocab(), Context: context, RopeTheta: 10000, NormEps: 1e-5,
		})
		end, _ := tokenizer.EOS()
		spec = rewardSpec{Dir: filepath.Join(t.TempDir(), "ours"), Texts: texts(17, longest, tokenizer.Vocab(), end)}
		if err := model.SaveReward(record.OS(), spec.Dir, m, randomScore(288), tokenizer, nil); err != nil {
			t.Fatal(err)
		}
		compareRewards(t, name+", ours", spec)
	}
}

func compareRewards(t *testing.T, name string, spec rewardSpec) {
	t.Helper()
	var answer struct{ Logits []float64 }
	ask(t, "reward_parity.py", spec, &answer)
	want := answer.Logits
	source, err := model.LocateReward(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	longest := 0
	for _, ids := range spec.Texts {
		longest = max(longest, len(ids))
	}
	for how, r := range rewarders(t, source, longest) {
		got, err := r.Score(context.Background(), spec.Texts)
		if err != nil {
			t.Fatal(err)
		}
		worst, largest := 0.0, 0.0
		for i := range want {
			worst, largest = max(worst, math.Abs(got[i]-want[i])), max(largest, math.Abs(want[i]))
		}
		if !(worst <= 1e-4) || largest < 0.5 {
			t.Errorf("%s, %s: rewards differ by %v from transformers', the largest is %v", name, how, worst, largest)
		}
		t.Logf("%s, %s: %d texts of 1 to %d tokens, rewards up to %.3f, largest difference %.1e", name, how, len(want), longest, largest, worst)
	}
}
