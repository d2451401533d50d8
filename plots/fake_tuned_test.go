package plots

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"plasticity/record"
)

// fakeTuning is a way to make fine-tuned runs of made-up base runs: losses fall with the decay up to a best one and rise after it.
type fakeTuning struct {
	tasks   []string
	rates   []float64
	best    float64 // decay at which response losses are lowest
	answers bool    // whether tasks but the last have evaluations
	fresh   int     // seeds of never-pretrained runs
}

func tuning() fakeTuning {
	return fakeTuning{tasks: []string{"arithmetic", "choice4", "gosource", "judge"}, rates: []float64{1e-3, 3e-4}, best: 1, answers: true, fresh: 3}
}

// of makes the runs of base runs, and those of fresh weights.
func (f fakeTuning) of(bases []Record) []Record {
	var out []Record
	for _, b := range bases {
		out = append(out, f.from(&b, b.Info.Seed, b.Info)...)
	}
	for seed := range f.fresh {
		out = append(out, f.from(nil, int64(seed+1), bases[0].Info)...)
	}
	return out
}

// from makes the runs of one base, nil for fresh weights, whose size and tokenizer are those of like.
func (f fakeTuning) from(base *Record, seed int64, like record.Info) []Record {
	var out []Record
	for i, task := range f.tasks {
		for j, lr := range f.rates {
			from := "fresh"
			gain := 0.0
			if base != nil {
				from = base.Info.ID
				away := math.Abs(math.Log10(float64(base.Info.WeightDecay)+0.02) - math.Log10(f.best+0.02))
				gain = 0.75 - 0.3*away
			}
			random := rand.New(rand.NewPCG(uint64(seed), uint64(i*100+j*10+len(from))+uint64(gain*1e6)))
			loss := (0.4 + 0.7*float64(i)) * (1.5 - gain + 0.08*float64(j)*(gain-0.4)) * math.Exp(0.02*random.NormFloat64())
			out = append(out, f.record(base, like, seed, task, lr, loss, i == len(f.tasks)-1))
		}
	}
	return out
}

func (f fakeTuning) record(base *Record, like record.Info, seed int64, task string, lr, loss float64, mute bool) Record {
	final := record.Float(loss)
	which := fnv.New64a()
	fmt.Fprint(which, base != nil, task, lr, seed, loss)
	if base != nil {
		fmt.Fprint(which, base.Info.ID)
	}
	id := fmt.Sprintf("%016x", which.Sum64())
	info := record.Info{
		Schema: 1, ID: id, Name: "finetune", Grid: "tune", Kind: "finetune", Task: task, Seed: seed, Commit: "0572032aa11b", Device: "cpu", Precision: "bf16",
		Axes: []record.Axis{{Name: "optimizer.lr", Value: number(lr)}}, Started: "2026-11-26T03:00:00Z", Model: like.Model, Parameters: like.Parameters,
		Tokens: 409_600, Steps: 200, TokensPerStep: 2048, LearningRate: record.Float(lr), Tau: record.Float(math.Inf(1)),
		DataSource: "task " + task, DataDigest: "digest-" + task, ValDigest: "digest-" + task, TokenizerDigest: like.TokenizerDigest,
	}
	if base != nil {
		info.Parents = []string{base.Info.ID}
	}
	r := Record{
		Folder: "tune/" + id, State: record.StateDone, Info: info,
		Metrics: []record.Metric{{Step: 100, Tokens: 204_800, Loss: final + 0.5}, {Step: 200, Tokens: 409_600, Loss: final, ValLoss: &final}},
		Config:  fmt.Appendf(nil, "name: finetune\nseed: %d\ndata: {task: tasks/%s}\nbudget: {steps: 200}\noptimizer: {lr: %v, weight_decay: 0}\n", seed, task, lr),
	}
	if f.answers && !mute {
		right := math.Exp(-2 * loss)
		r.Evaluations = []Evaluation{{
			Folder: "default", Problems: 200, Samples: 16, Settings: "200 problems, 16 samples",
			Scores: map[string]float64{"greedy": right, "pass@16": math.Pow(right, 0.3), "maj@16": right * 1.05, "correct_ratio": right * 0.9},
		}}
	}
	return r
}
