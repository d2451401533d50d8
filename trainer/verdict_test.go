package trainer

import (
	"context"
	"errors"
	"slices"
	"testing"

	"plasticity/eval"
	"plasticity/model"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// countingTexts are texts of many lengths, right where one token stands anywhere in them; batches are filled up behind them.
func countingTexts(n int) (texts [][]int32, right []bool) {
	for i := range n {
		ids := slices.Repeat([]int32{5}, 2+i%37)
		for k := range ids {
			ids[k] += int32((i*7 + k*k) % 5)
		}
		if i%3 == 0 {
			ids[i%len(ids)] = 42
		}
		texts, right = append(texts, ids), append(right, i%3 == 0)
	}
	return texts, right
}

// What was learned is the score of a reward model: on texts that were not learned from it tells right from wrong. The model that it
// started from stays as it was, and the same again gives the same bits.
func TestTrainVerdict_LearnsWhatIsThere(t *testing.T) {
	torchtest.NoLeaks(t)
	base, _, err := model.Open(pretrained(t, "model.family=llama2"), torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	values := func(m *model.Transformer) []float32 {
		all := make([]float32, m.Registry().NumParams())
		if err := m.Registry().Flat(nn.Params).Read(0, all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := values(base)
	texts, right := countingTexts(400)
	losses := []float64{}
	o := VerdictOptions{Steps: 240, Batch: 16, LR: 1e-2, Seed: 3, Threads: 1, Progress: func(_ int, loss float64) { losses = append(losses, loss) }}
	v, err := TrainVerdict(context.Background(), base, texts[:300], right[:300], o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if len(losses) != 240 || !(losses[239] < losses[0]/10) {
		t.Errorf("losses %v", losses)
	}
	trunk, err := v.Model().Trunk(64)
	if err != nil {
		t.Fatal(err)
	}
	r, err := eval.NewRewarder(&model.Reward{Trunk: trunk, Score: v.Score}, nil, eval.Compute{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	scores, err := r.Score(context.Background(), texts[300:])
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for i, score := range scores {
		if score > 0 == right[300+i] {
			hits++
		}
	}
	if hits < 90 {
		t.Errorf("%d of 100 verdicts are right", hits)
	}
	if !slices.Equal(values(base), before) {
		t.Error("the model that it started from has changed")
	}
	again, err := TrainVerdict(context.Background(), base, texts[:300], right[:300], o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !slices.Equal(again.Score, v.Score) || !slices.Equal(values(again.Model()), values(v.Model())) {
		t.Error("the same again is another model")
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := TrainVerdict(stopped, base, texts, right, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
