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
	table.Columns, table.Title = table.Columns[:6], ""
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
