package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"plasticity/analyze/rank"
	"plasticity/model/source"
	"plasticity/record"
)

// rankFlags is what `analyze rank` is asked for.
type rankFlags struct {
	rank.Options
	out       string
	normalise bool
	asJSON    bool
}

func newAnalyzeRank(a *app) *cobra.Command {
	f := rankFlags{Options: rank.Options{Formula: rank.DefaultFormula()}}
	cmd := &cobra.Command{
		Use: "rank --model DIR", Short: "Measure the pseudo-rank of the attention products W_QK and W_VP",
		Long: `Measure how many dimensions attention uses: for each layer and query head the singular values of W_QK = W_Qᵀ W_K and
W_VP = W_Vᵀ W_Pᵀ. The pseudo-rank is the smallest number of them whose sum reaches --threshold of the total, to the power --power;
beside it are the number above --tolerance of the largest, stable rank, entropy rank, participation ratio, and the balance of
the factors of the heads that share keys and values (0: W_K W_Kᵀ = Σ W_Q W_Qᵀ, and W_V W_Vᵀ = Σ W_Pᵀ W_P).

DIR is a run (its newest checkpoint, or with --all every one it has kept), a checkpoint, or a Hugging Face folder of a Llama or OLMo-2
model, in one safetensors file or several. OUT/rank.json has the numbers with the formula beside them, OUT/rank.csv a line for each
head. Another result in the folder, such as that of the same run before it trained on, is not replaced: remove it, or name another
folder. With --json the result is one line, rank.json with "out" and "unchanged".`,
		Example: `  plasticity analyze rank --model runs/mine --all
  plasticity analyze rank --model hf-folder --power 2 --threshold 0.9 --normalise --out analysis`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model"); err != nil {
				return err
			}
			return a.analyzeRank(cmd, &f)
		},
	}
	cmd.Flags().StringVarP(&f.Model, "model", "m", "", "run, checkpoint or Hugging Face folder")
	cmd.Flags().BoolVar(&f.All, "all", false, "every checkpoint that a run has kept")
	cmd.Flags().IntVar(&f.Formula.Power, "power", f.Formula.Power, "of the singular values: 1, or 2 for energy")
	cmd.Flags().Float64Var(&f.Formula.Threshold, "threshold", f.Formula.Threshold, "part of the sum to reach, above 0 and at most 1")
	cmd.Flags().Float64Var(&f.Formula.Tolerance, "tolerance", f.Formula.Tolerance, "of the tolerance rank, relative to the largest singular value")
	cmd.Flags().BoolVar(&f.normalise, "normalise", false, "divide the pseudo-rank by the head size")
	cmd.Flags().BoolVar(&f.Formula.FoldedNorms, "fold-norms", false, "multiply the gains of OLMo-2's norms on queries and keys into W_Q and W_K")
	cmd.Flags().IntSliceVar(&f.Layers, "layers", nil, "layers, from 0 on, such as 5,15 (default all)")
	cmd.Flags().BoolVar(&f.Spectra, "spectra", false, "write the singular values, too")
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "folder for rank.json and rank.csv (default of a run: its folder "+record.AnalyzeDir+")")
	cmd.Flags().IntVar(&f.Threads, "threads", 0, "heads at once; 0: as many as there are cores")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "one line of JSON")
	return cmd
}

// ranked is what `analyze rank --json` says.
type ranked struct {
	Out       string `json:"out"`
	Unchanged bool   `json:"unchanged"`
	rank.Report
}

func (a *app) analyzeRank(cmd *cobra.Command, f *rankFlags) error {
	if f.normalise {
		f.Formula.Normalisation = rank.ByHeadSize
	}
	if err := f.Formula.Check(); err != nil {
		return misuse(cmd, fmt.Errorf("--%w", err))
	}
	if err := checkThreads(f.Threads); err != nil {
		return misuse(cmd, err)
	}
	switch kind := source.KindOf(f.Model); {
	case f.out != "" || kind == source.Unknown: // Analyze says what is wrong with it
	case kind == source.Run:
		f.out = filepath.Join(f.Model, record.AnalyzeDir)
	default:
		return required(cmd, "out")
	}
	report, finish := a.bytesProgress("rank")
	f.Progress = report
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	result, problems, err := rank.Analyze(ctx, f.Options)
	finish()
	if err != nil {
		return interrupted(err)
	}
	for _, p := range problems {
		a.say("warning: %s", p)
	}
	unchanged, err := result.Write(record.OS(), f.out)
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(ranked{f.out, unchanged, result})
	}
	if unchanged {
		a.say("%s holds this already", f.out)
	}
	return a.print(result.Describe() + filepath.Join(f.out, rank.File))
}
