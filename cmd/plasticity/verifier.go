package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
)

func newVerifier(a *app) *cobra.Command {
	var r request.Verifier
	cmd := &cobra.Command{
		Use: "verifier", Short: "Make a reward model that tells a model's right answers from its wrong ones",
		Long: `Make a reward model: a fine-tuned model answers training problems of a task by samples, each answer is judged right or wrong, and
the model's layers with one score above them learn to tell which, by cross-entropy. One of four problems is held out: on their
answers the area under the ROC curve is reported with an interval of 95 %, over all answers and within a problem, which is what
choosing the best of N answers needs. Problems are told apart by their instruction: where a task has rewrites of one question, or
several on one passage (metamathqa, race), some may be on both sides, which flatters the area. The reward is the log-odds that an
answer is right.

OUT is a folder that eval --reward reads and that AutoModelForSequenceClassification.from_pretrained loads; its verifier.json says
how it was made. Llama models only. Stopped, it starts anew.`,
		Example: `  plasticity verifier --model runs/tuned --task tasks/arithmetic --out runs/verifier
  plasticity eval --model runs/tuned --task tasks/arithmetic --reward runs/verifier --out scores`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model", "task", "out"); err != nil {
				return err
			}
			if err := checkVerifier(r); err != nil {
				return misuse(cmd, err)
			}
			r.Quiet, r.Task = a.quiet, taskFolder(r.Task)
			return a.work(cmd.Context(), request.CommandVerifier, r)
		},
	}
	cmd.Flags().StringVarP(&r.Model, "model", "m", "", "run, checkpoint or Hugging Face folder whose answers and layers it learns from")
	cmd.Flags().StringVar(&r.Task, "task", "", "folder made by data task, or its name below "+tasksDir)
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder to make; an earlier verifier in it is replaced")
	cmd.Flags().IntVar(&r.Problems, "problems", 1024, "of the training set, from the first on; 0: all")
	cmd.Flags().IntVar(&r.Samples, "samples", 16, "answers to each problem")
	cmd.Flags().IntVar(&r.MaxTokens, "max-tokens", 0, "of an answer; 0: what the context has room for")
	cmd.Flags().Float64Var(&r.Temperature, "temperature", 1, "of the samples")
	cmd.Flags().Float64Var(&r.RepetitionPenalty, "repetition-penalty", 1, "of the answers")
	cmd.Flags().StringVar(&r.Precision, "precision", "f32", "of the answers' products: f32 or bf16")
	cmd.Flags().IntVar(&r.Steps, "steps", 600, "of training")
	cmd.Flags().IntVar(&r.Batch, "batch", 32, "answers a step")
	cmd.Flags().Float64Var(&r.LR, "lr", 1e-3, "peak learning rate; a tenth of the steps warms up, a cosine falls to 0")
	cmd.Flags().Int64Var(&r.Seed, "seed", 1, "seed of samples and of bootstrapped intervals")
	cmd.Flags().IntVar(&r.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&r.JSON, "json", false, `one line of JSON: {"out","verifier"}`)
	return cmd
}

// checkVerifier refuses numbers without a meaning; NaN fails every comparison.
func checkVerifier(r request.Verifier) error {
	switch {
	case r.Problems < 0:
		return fmt.Errorf("--problems %d: want 0 (all) or more", r.Problems)
	case r.Steps < 1 || r.Steps > 1<<30:
		return fmt.Errorf("--steps %d: want 1 to %d", r.Steps, 1<<30)
	case r.Batch < 1 || r.Batch > 1<<16:
		return fmt.Errorf("--batch %d: want 1 to %d", r.Batch, 1<<16)
	case !(r.LR > 0 && r.LR <= 10):
		return fmt.Errorf("--lr %v: want above 0 and at most 10", r.LR)
	}
	return checkEvalTask(request.EvalTask{
		Samples: r.Samples, MaxTokens: r.MaxTokens, Temperature: r.Temperature, RepetitionPenalty: r.RepetitionPenalty, Precision: r.Precision, Threads: r.Threads,
	})
}
