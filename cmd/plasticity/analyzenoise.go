package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"plasticity/analyze/noise"
	"plasticity/cmd/internal/request"
)

func newAnalyzeNoise(a *app) *cobra.Command {
	r := defaultNoise()
	cmd := &cobra.Command{
		Use: "noise", Short: "Measure how a model's loss answers to Gaussian noise on its weights",
		Long: fmt.Sprintf(`Measure how sensitive a model is to noise on its weights. For each relative size σ, every matrix gets independent normal noise of σ times
its own root mean square; the gains of norms stay as they are. The loss on held-out text is the mean over --draws draws, which are the
same at every size, with Student's interval of 95 %% over them. The result says, too, at which σ the loss has risen by %v nats per token,
interpolated in σ², or that it has not. Models are compared at equal --tokens, --seed and --data.

The text is the run's validation text, or --data; a fine-tuned run and a Hugging Face folder need that. The weights in the folder are only
read, and one model is in memory.

OUT/noise.json and OUT/noise.csv have the result; that of another model, text or noise is not replaced. With --json the result is one
line {"out","unchanged","results"}.`, noise.Rise),
		Example: `  plasticity analyze noise --model runs/mine
  plasticity analyze noise --model hf-folder --data data/mine/val --sigmas 0.005,0.01,0.02 --draws 8 --out analyses/noise --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model"); err != nil {
				return err
			}
			if err := noise.Check(r.Sigmas, r.Draws); err != nil {
				return misuse(cmd, fmt.Errorf("--%w", err))
			}
			if err := checkExtent(r.Tokens, r.Threads); err != nil {
				return misuse(cmd, err)
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandAnalyzeNoise, r)
		},
	}
	cmd.Flags().StringVarP(&r.Model, "model", "m", "", "run, checkpoint or Hugging Face folder")
	cmd.Flags().StringVar(&r.Data, "data", "", "prepared folder of held-out text (default: the run's validation text)")
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder for the result (default: analyze/noise in the run's folder)")
	cmd.Flags().Float64SliceVar(&r.Sigmas, "sigmas", r.Sigmas, "sizes of the noise, relative to each matrix's root mean square, the smallest first")
	cmd.Flags().IntVar(&r.Draws, "draws", r.Draws, "draws of noise at each size")
	cmd.Flags().Int64Var(&r.Tokens, "tokens", r.Tokens, "tokens, at most")
	cmd.Flags().Int64Var(&r.Seed, "seed", r.Seed, "seed of the windows and of the noise")
	cmd.Flags().IntVar(&r.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&r.JSON, "json", false, "one line of JSON")
	return cmd
}
