package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
)

// checkExtent refuses a measurement on no token and numbers of threads without a meaning.
func checkExtent(tokens int64, threads int) error {
	if tokens < 1 {
		return fmt.Errorf("--tokens %d: want 1 or more", tokens)
	}
	return checkThreads(threads)
}

func newAnalyzeGap(a *app) *cobra.Command {
	r := defaultGap()
	cmd := &cobra.Command{
		Use: "gap", Short: "Compare the loss on text seen in training with that on held-out text",
		Long: `Compare a model's loss on text that it was trained on with its loss on as much text that it was not: the train-validation gap.

Which windows of its training text a run has read follows from its seed and step. They are compared with windows of the validation
split, which are of other documents, and, where the run has not read all of its text, with windows of the training split that it
has not read, each paired with one that it has read of the same document. All are drawn by --seed. Each gap, held out less seen in
nats per token, has two bootstrapped intervals of 95 %: over windows, and over whole documents, since windows of one
document resemble each other: none with one document, and too narrow with a handful.

A Hugging Face folder, or a run of imported or fine-tuned weights, does not say what it was trained on: --data names prepared text
that counts as read in full, and --heldout text that was not read.

OUT/gap.json and OUT/gap.csv have the result; that of another model, text or draw is not replaced. With --json the result is one
line {"out","unchanged","results"}.`,
		Example: `  plasticity analyze gap --model runs/mine
  plasticity analyze gap --model hf-folder --data data/mine/train --heldout data/mine/val --out analyses/hf --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model"); err != nil {
				return err
			}
			if err := checkExtent(r.Tokens, r.Threads); err != nil {
				return misuse(cmd, err)
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandAnalyzeGap, r)
		},
	}
	cmd.Flags().StringVarP(&r.Model, "model", "m", "", "run, checkpoint or Hugging Face folder")
	cmd.Flags().StringVar(&r.Data, "data", "", "prepared folder of the training text (default: the run's)")
	cmd.Flags().StringVar(&r.HeldOut, "heldout", "", "prepared folder of held-out text (default: the run's validation text)")
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder for the result (default: analyze/gap in the run's folder)")
	cmd.Flags().Int64Var(&r.Tokens, "tokens", r.Tokens, "tokens of each side, at most")
	cmd.Flags().Int64Var(&r.Seed, "seed", r.Seed, "seed of the draws and of the bootstrap")
	cmd.Flags().IntVar(&r.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&r.JSON, "json", false, "one line of JSON")
	return cmd
}
