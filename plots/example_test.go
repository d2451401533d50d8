package plots_test

import (
	"fmt"
	"os"

	"plasticity/plots"
	"plasticity/record"
)

// runsOf makes finished runs with the given final validation losses, one a seed, for each weight decay.
func runsOf(losses map[float64][]float64) []plots.Record {
	var records []plots.Record
	for decay, seeds := range losses {
		for seed, loss := range seeds {
			final := record.Float(loss)
			records = append(records, plots.Record{
				State: record.StateDone,
				Info: record.Info{
					ID: fmt.Sprintf("run-%g-%d", decay, seed), Kind: "pretrain", Model: "llama2-s", Parameters: 166_208, Tokens: 3_323_904,
					Steps: 1623, Seed: int64(seed), LearningRate: 3e-3, WeightDecay: record.Float(decay), Schema: record.Schema,
				},
				Metrics: []record.Metric{{Step: 1623, Tokens: 3_323_904, Loss: final, ValLoss: &final}},
			})
		}
	}
	return records
}

func ExampleLossVsDecay() {
	set := plots.NewSet(runsOf(map[float64][]float64{
		0: {2.556, 2.561, 2.550}, 0.1: {2.549, 2.555, 2.545}, 0.3: {2.545, 2.550, 2.540}, 1: {2.574, 2.580, 2.571},
	}), nil)
	figure := plots.LossVsDecay(set)
	file, err := os.CreateTemp("", "*.svg")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	if err := figure.SVG(file); err != nil {
		fmt.Println(err)
	}
	fmt.Println(file.Close(), figure.Notes)
	fmt.Println(set.Findings()[0].Best, set.Findings()[0].Larger)
	// Output:
	// <nil> []
	// 0.3 yes
}

func ExampleTrainingCurves() {
	figure := plots.TrainingCurves(plots.NewSet(runsOf(map[float64][]float64{0: {2.556}, 0.1: {2.549}}), nil))
	fmt.Println(figure.Alt)
	// Output: Training and validation loss against tokens, one line a run, coloured by weight decay. llama2-s (0.17M parameters), 20 TPP: 2 runs.
}

func ExampleLossTable() {
	set := plots.NewSet(runsOf(map[float64][]float64{0.1: {2.5, 2.6}, 1: {2.7, 2.9}}), nil)
	table := plots.LossTable(set)
	table.Columns, table.Title, table.Note = table.Columns[:6], "", ""
	for i := range table.Rows {
		table.Rows[i] = table.Rows[i][:6]
	}
	if err := table.Markdown(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// | setting | λ | τ | loss | ± 95 % | n |
	// |---|---|---|---|---|---|
	// | llama2-s (0.17M parameters), 20 TPP | 0.1 | 2.1 | 2.5500 | 0.6353 | 2 |
	// | llama2-s (0.17M parameters), 20 TPP | 1 | 0.21 | 2.8000 | 1.2706 | 2 |
}

// tunedOf makes fine-tuned runs on one task of the runs of runsOf, with the given response losses.
func tunedOf(task string, losses map[float64][]float64) []plots.Record {
	records := runsOf(losses)
	for i := range records {
		info := &records[i].Info
		info.Parents, info.ID = []string{info.ID}, task+"-"+info.ID
		info.Kind, info.Task, info.WeightDecay, info.LearningRate = "finetune", task, 0, 1e-3
	}
	return records
}

func ExamplePlasticityVsDecay() {
	records := runsOf(map[float64][]float64{0.1: {2.549, 2.555, 2.545}, 0.3: {2.545, 2.550, 2.540}, 1: {2.574, 2.580, 2.571}})
	records = append(records, tunedOf("arithmetic", map[float64][]float64{0.1: {0.65, 0.66, 0.64}, 0.3: {0.63, 0.64, 0.63}, 1: {0.60, 0.62, 0.60}})...)
	set := plots.NewSet(records, nil)
	fmt.Println(plots.PlasticityVsDecay(set).Notes[0])
	finding := set.Downstream()[0]
	fmt.Println(finding.Best, finding.LossOptimal.Than, finding.LossOptimal.Verdict, finding.NeverPretrained.Verdict)
	// Output:
	// no never-pretrained model: whether pretraining helps at all cannot be seen.
	// 1 0.3 yes not measured
}

func ExampleLossVsPlasticity() {
	records := runsOf(map[float64][]float64{0.1: {2.549, 2.555, 2.546}, 0.3: {2.545, 2.556, 2.540}, 1: {2.674, 2.680, 2.671}})
	records = append(records, tunedOf("arithmetic", map[float64][]float64{0.1: {0.65, 0.66, 0.64}, 0.3: {0.63, 0.64, 0.62}, 1: {0.60, 0.62, 0.60}})...)
	set := plots.NewSet(records, nil)
	fmt.Println(plots.LossVsPlasticity(set).Title)
	shown := set.Tradeoffs()[0]
	fmt.Println(shown.EqualLoss[0].A, shown.EqualLoss[0].B, shown.Front, shown.Recommended, shown.Sure)
	// Output:
	// Validation loss of base models against results after fine-tuning
	// 0.1 0.3 [0.3 1] 0.3 1
}

// probedOf makes runs with probes of one task: the accuracies of the embedding and of layer 0 for each weight decay, a pair a seed.
func probedOf(accuracies map[float64][][2]float64) []plots.Record {
	losses := map[float64][]float64{}
	for decay, seeds := range accuracies {
		for i := range seeds {
			losses[decay] = append(losses[decay], 2.5+0.1*decay+0.01*float64(i))
		}
	}
	records := runsOf(losses)
	for i := range records {
		info := records[i].Info
		pair := accuracies[float64(info.WeightDecay)][info.Seed]
		probes := plots.Probes{
			Settings: plots.ProbeSettings{Task: "sst2", Pool: "last", Layers: []int{plots.EmbeddingLayer, 0}, Context: 256}, Step: info.Steps,
			Labels: 2, Train: 2000, Val: 500, Test: 872, Majority: 0.509, Best: 1,
		}
		for layer, v := range pair {
			probes.Layers = append(probes.Layers, plots.LayerProbe{Layer: layer - 1, Accuracy: v, Low: v - 0.03, High: v + 0.03, Control: 0.5})
		}
		records[i].Probes = []plots.Probes{probes}
	}
	return records
}

func ExampleProbesVsDecay() {
	set := plots.NewSet(probedOf(map[float64][][2]float64{
		0.1: {{0.55, 0.61}, {0.56, 0.60}, {0.55, 0.62}}, 1: {{0.56, 0.66}, {0.57, 0.65}, {0.55, 0.66}},
	}), nil)
	fmt.Println(plots.ProbesVsDecay(set).Notes)
	for _, finding := range set.Probes() {
		fmt.Printf("%s: %.3f [%.3f, %.3f], rises: %s\n", finding.Accuracy, finding.Difference, finding.Low, finding.High, finding.Rises)
	}
	// Output:
	// []
	// mean: 0.027 [0.012, 0.041], rises: yes
	// best layer: 0.047 [0.032, 0.061], rises: yes
}

func ExampleProbesByLayer() {
	figure := plots.ProbesByLayer(plots.NewSet(probedOf(map[float64][][2]float64{0.1: {{0.55, 0.61}}, 1: {{0.56, 0.66}}}), nil))
	fmt.Println(figure.Alt)
	// Output:
	// Accuracy of linear probes by layer of the hidden states, one curve a weight decay. llama2-s (0.17M parameters), 20 TPP, sst2: embedding and layer 0, 2 weight decays.
}

func ExampleGapVsDecay() {
	records := runsOf(map[float64][]float64{0.1: {2.5, 2.51}, 1: {2.6, 2.61}})
	for i := range records {
		info := records[i].Info
		gap := 0.05 - 0.02*float64(info.WeightDecay) + 0.0001*float64(info.Seed)
		records[i].Gap = &plots.Gap{
			Settings: plots.GapSettings{Context: 256, Tokens: 1 << 20, Seed: 1}, Step: info.Steps, Passes: 4.2,
			Comparisons: []plots.GapComparison{{HeldOut: plots.GapValidation, Windows: 4096, Seen: 2.5, Unseen: 2.5 + gap, Low: gap - 0.01, High: gap + 0.01}},
		}
	}
	set := plots.NewSet(records, nil)
	fmt.Println(plots.GapVsDecay(set).Notes)
	fmt.Println(set.Gaps()[0].Text)
	// Output:
	// [with two seeds the t interval is wide (12.7 standard errors).]
	// The loss on the validation split less that on text read in training is 0.0480 at λ = 0.1, the lowest decay, and 0.0300 at λ = 1, the highest (−0.0180, interval −0.0180 to −0.0180, paired by 2 seeds). The two are told apart: the gap falls.
}

func ExampleNoiseVsDecay() {
	records := runsOf(map[float64][]float64{0.1: {2.5, 2.51, 2.52}, 1: {2.6, 2.61, 2.6}})
	for i := range records {
		info := records[i].Info
		rise := 0.12 - 0.05*float64(info.WeightDecay) + 0.001*float64(info.Seed)
		records[i].Noise = &plots.Noise{
			Settings: plots.NoiseSettings{Context: 256, Tokens: 1 << 17, Seed: 1, Sigmas: []float64{0.1}, Draws: 4}, Step: info.Steps, Loss: 2.5,
			Rises: []float64{rise}, Enough: 0.1,
		}
	}
	set := plots.NewSet(records, nil)
	fmt.Println(plots.NoiseVsDecay(set).Notes)
	finding := set.Noises()[0]
	fmt.Printf("at σ = %v: %.3f [%.3f, %.3f], falls: %s\n", finding.Sigma, finding.Difference, finding.Low, finding.High, finding.Falls)
	// Output:
	// []
	// at σ = 0.1: -0.045 [-0.045, -0.045], falls: yes
}

// forgotOf makes base runs of two decays, fine-tuned on one task, whose loss on pretraining text rose by as much as given.
func forgotOf(forgot map[float64][]float64) []plots.Record {
	records := runsOf(map[float64][]float64{0.1: {2.549, 2.555, 2.546}, 1: {2.674, 2.680, 2.671}})
	records = append(records, tunedOf("arithmetic", map[float64][]float64{0.1: {0.65, 0.66, 0.64}, 1: {0.60, 0.62, 0.61}})...)
	decays := map[string]float64{}
	for i := range records {
		info := records[i].Info
		decays[info.ID] = float64(info.WeightDecay)
		if len(info.Parents) > 0 {
			records[i].Forgetting = &plots.Forgetting{
				Settings: plots.ForgettingSettings{Context: 128, Tokens: 1 << 17, Seed: 1}, Step: info.Steps, Base: 2.5,
				Tuned: 2.5 + forgot[decays[info.Parents[0]]][info.Seed],
			}
		}
	}
	return records
}

func ExampleForgettingVsLearning() {
	set := plots.NewSet(forgotOf(map[float64][]float64{0.1: {0.20, 0.21, 0.20}, 1: {0.30, 0.32, 0.31}}), nil)
	fmt.Println(plots.ForgettingVsLearning(set).Title)
	finding := set.Forgettings()[0]
	fmt.Printf("%.3f [%.3f, %.3f], rises: %s, front %v\n", finding.Difference, finding.Low, finding.High, finding.Rises, finding.Front)
	// Output:
	// Forgetting against learning in fine-tuning
	// 0.107 [0.092, 0.121], rises: yes, front [1 0.1]
}

func ExampleSignalsVsResults() {
	records := forgotOf(map[float64][]float64{0.1: {0, 0, 0}, 1: {0, 0, 0}})
	for i := range records[:6] { // noise hurts those most that fine-tuning improves least
		rise := []float64{0.15, 0.16, 0.14, 0.10, 0.12, 0.11}[int(records[i].Info.Seed)+3*int(records[i].Info.WeightDecay)]
		records[i].Noise = &plots.Noise{
			Settings: plots.NoiseSettings{Context: 256, Tokens: 1 << 17, Seed: 1, Sigmas: []float64{0.1}, Draws: 4}, Step: records[i].Info.Steps, Loss: 2.5,
			Rises: []float64{rise},
		}
	}
	set := plots.NewSet(records, nil)
	fmt.Println(plots.SignalsVsResults(set).Title)
	for _, signal := range set.Signals()[0].Signals {
		fmt.Printf("%s, %s: %.2f of %d runs\n", signal.Signal, signal.When, signal.Spearman[0], len(signal.Runs))
	}
	// Output:
	// Signals that rank base models by their results after fine-tuning
	// rise under noise of σ = 0.1, at the end: 1.00 of 6 runs
	// weight decay λ, at a third of training: -0.88 of 6 runs
	// validation loss, at the end: -0.60 of 6 runs
}
