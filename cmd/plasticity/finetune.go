package main

import (
	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
)

func newFinetune(a *app) *cobra.Command {
	var flags configFlags
	var r request.Train
	var task string
	cmd := &cobra.Command{
		Use: "finetune", Short: "Fine-tune a model on a task",
		Long: `Fine-tune a model on a task made by "plasticity data task": the loss is over the responses alone, each example a row of
its own. The model keeps its shape and its tokenizer; the configuration says how to train. What is validated is the loss of the test
set's responses. The run resumes, stops and records as a pretraining run does. Its tokens, in the record, in live metrics and as a budget, are those
that the loss is over: prompts and padding do not count, though they take time.

For the causal rank test, --set init_truncate.query_key=X (0 < X ≤ 1) replaces each W_Q and W_K of the base model, before the first step,
by its best approximation of the lowest rank whose squared singular values sum to at least X of all; init_truncate.value_output does the
same to W_V and W_O. The ranks stand in the run's first event. They are those of the beginning: training raises them again.`,
		Example: `  plasticity finetune --config sweeps/configs/finetune-laptop.yaml --from runs/mine --task tasks/arithmetic
  plasticity finetune --config sweeps/configs/finetune-paper.yaml --from hf-folder --task tasks/metamathqa --set optimizer.lr=7.5e-6
  plasticity finetune --config sweeps/configs/finetune-laptop.yaml --from runs/mine --task tasks/arithmetic --set init_truncate.query_key=0.9`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "config", "from", "task"); err != nil {
				return err
			}
			flags.sets = append(flags.sets, "data.task="+taskFolder(task))
			return a.train(cmd, flags, r)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&r.Init, "from", "", "run, checkpoint or Hugging Face folder to fine-tune")
	cmd.Flags().StringVar(&task, "task", "", "folder of the task, or its name below "+tasksDir)
	addRunFlags(cmd, &r)
	return cmd
}
