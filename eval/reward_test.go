package eval

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

func randomModel(t testing.TB, cfg config.Model) *model.Transformer {
	t.Helper()
	m, err := model.New(cfg, torch.Float32, nn.Inference)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.Initialize(11); err != nil {
		t.Fatal(err)
	}
	return m
}

func randomScore(width int) []float32 {
	random := rand.New(rand.NewPCG(4, 5))
	score := make([]float32, width)
	for i := range score {
		score[i] = float32(random.NormFloat64())
	}
	return score
}

// rewarders are the engine with one thread and with two, and the reference.
func rewarders(t testing.TB, source model.RewardSource, longest int) map[string]*Rewarder {
	t.Helper()
	out := map[string]*Rewarder{}
	for name, c := range map[string]Compute{
		"engine": {Step: config.StepEngine, Threads: 1}, "engine 2 threads": {Step: config.StepEngine, Threads: 2, Precision: torch.BFloat16},
		"reference": {Step: config.StepReference, Threads: 1},
	} {
		reward, err := source.Open(longest)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRewarder(reward, source.Pad, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		out[name] = r
	}
	return out
}

// A text has the same reward, to the bit, alone, in any batch, with what fills it up, and with any number of texts at once; engine and
// reference agree.
func TestRewarder_TextsDoNotSeeEachOther(t *testing.T) {
	torchtest.NoLeaks(t)
	const pad, longest = 3, 90
	m := randomModel(t, config.Model{
		Family: config.Llama2, Layers: 2, Width: 48, Heads: 6, KVHeads: 2, FFN: 100, Vocab: 300, Context: 32, RopeTheta: 10000, NormEps: 1e-5,
	})
	dir := filepath.Join(t.TempDir(), "reward")
	if err := model.SaveReward(record.OS(), dir, m, randomScore(48), nil, nil); err != nil {
		t.Fatal(err)
	}
	source, err := model.LocateReward(dir)
	if err != nil {
		t.Fatal(err)
	}
	source.Pad = new(int32)
	*source.Pad = pad
	all := texts(41, longest, 300, pad)
	var first []float64
	for how, r := range rewarders(t, source, longest+2) {
		ctx := context.Background()
		want, err := r.Score(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = want
		}
		for i := range want {
			if math.Abs(want[i]-first[i]) > 1e-4 {
				t.Errorf("%s: text %d has the reward %v, elsewhere %v", how, i, want[i], first[i])
			}
		}
		backwards := slices.Clone(all)
		slices.Reverse(backwards)
		got, err := r.Score(ctx, backwards)
		if slices.Reverse(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: in another order the rewards are others (%v)", how, err)
		}
		for _, batch := range []int{1, 7} {
			r.batch = batch
			if got, err := r.Score(ctx, all); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %d at once the rewards are others (%v)", how, batch, err)
			}
		}
		for i, ids := range all {
			filled := append(slices.Clone(ids), pad)
			if got, err := r.Score(ctx, [][]int32{filled}); err != nil || got[0] != want[i] {
				t.Errorf("%s: text %d filled up has the reward %v, in the batch %v (%v)", how, i, got, want[i], err)
			}
		}
		if got, err := r.Score(ctx, nil); err != nil || len(got) != 0 {
			t.Errorf("%s: no texts: %v %v", how, got, err)
		}
		for name, ids := range map[string][]int32{"empty": {}, "too long": make([]int32, longest+3)} {
			if _, err := r.Score(ctx, [][]int32{ids}); record.CodeOf(err) != record.Internal {
				t.Errorf("%s, a text that is %s: %v", how, name, err)
			}
		}
		stopped, stop := context.WithCancel(ctx)
		stop()
		if _, err := r.Score(stopped, all); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", how, err)
		}
	}
}

// BenchmarkRewarder scores 64 texts of 128 tokens with a model of a million parameters.
func BenchmarkRewarder(b *testing.B) {
	m := randomModel(b, config.Model{
		Family: config.Llama2, Layers: 4, Width: 128, Heads: 4, KVHeads: 4, FFN: 352, Vocab: 512, Context: 128, RopeTheta: 10000, NormEps: 1e-5,
	})
	dir := filepath.Join(b.TempDir(), "reward")
	if err := model.SaveReward(record.OS(), dir, m, randomScore(128), nil, nil); err != nil {
		b.Fatal(err)
	}
	source, err := model.LocateReward(dir)
	if err != nil {
		b.Fatal(err)
	}
	var all [][]int32
	for range 64 {
		all = append(all, slices.Repeat([]int32{7, 8, 9, 10}, 32))
	}
	for how, r := range rewarders(b, source, 128) {
		b.Run(how, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Score(context.Background(), all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
