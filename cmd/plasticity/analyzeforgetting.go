package main

import (
	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
)

func newAnalyzeForgetting(a *app) *cobra.Command {
	r := defaultForgetting()
	cmd := &cobra.Command{
		Use: "forgetting", Short: "Measure what a fine-tuned model has forgotten of its base model's text",
		Long: `Measure what a fine-tuned model has forgotten: its loss on the text that its base model was validated on, less the base model's loss on
the same windows, drawn by --seed. The difference in nats per token has two bootstrapped intervals of 95 %: over windows, and over
whole documents, since windows of one document resemble each other: none with one document, and too narrow with a handful. A run whose
weights were truncated at its start (init_truncate) is compared with the base as it was before.

A fine-tuned run says which run it was made from and where its validation text lies. --base and --data name them where folders were
moved, and for a Hugging Face folder, where both are needed. A model that was never pretrained (fresh: true) has nothing to forget
and is refused.

OUT/forgetting.json and OUT/forgetting.csv have the result; that of another model, text or draw is not replaced. With --json the result
is one line {"out","unchanged","results"}.`,
		Example: `  plasticity analyze forgetting --model runs/tuned
  plasticity analyze forgetting --model tuned-hf --base base-hf --data data/mine/val --out analyses/forgetting --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model"); err != nil {
				return err
			}
			if err := checkExtent(r.Tokens, r.Threads); err != nil {
				return misuse(cmd, err)
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandAnalyzeForgetting, r)
		},
	}
	cmd.Flags().StringVarP(&r.Model, "model", "m", "", "fine-tuned run, checkpoint or Hugging Face folder")
	cmd.Flags().StringVar(&r.Base, "base", "", "run, checkpoint or Hugging Face folder that it was made from (default: as the run says)")
	cmd.Flags().StringVar(&r.Data, "data", "", "prepared folder of text (default: the base run's validation text)")
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder for the result (default: analyze/forgetting in the run's folder)")
	cmd.Flags().Int64Var(&r.Tokens, "tokens", r.Tokens, "tokens, at most")
	cmd.Flags().Int64Var(&r.Seed, "seed", r.Seed, "seed of the draw and of the bootstrap")
	cmd.Flags().IntVar(&r.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&r.JSON, "json", false, "one line of JSON")
	return cmd
}
