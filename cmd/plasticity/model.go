package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/eval/metric"
	"plasticity/record"
)

func newGenerate(a *app) *cobra.Command {
	var r request.Generate
	cmd := &cobra.Command{
		Use: "generate", Short: "Continue a prompt with a trained model",
		Long: `Continue a prompt with a trained model, streamed. Temperature 0 takes the likeliest token each time.
With --json the result is one line {"prompt","text","tokens","finish"}, tokens being the ids made.`,
		Example: `  plasticity generate --model runs/mine --prompt "Fellow citizens" --max-tokens 64
  plasticity generate --model hf-folder --prompt "Once" --temperature 0.8 --top-p 0.95 --seed 3 --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model"); err != nil {
				return err
			}
			if err := checkGenerate(r); err != nil {
				return misuse(cmd, err)
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandGenerate, r)
		},
	}
	cmd.Flags().StringVarP(&r.Model, "model", "m", "", "run, checkpoint or Hugging Face folder")
	cmd.Flags().StringVarP(&r.Prompt, "prompt", "p", "", "text to continue")
	cmd.Flags().IntVarP(&r.MaxTokens, "max-tokens", "n", 128, "tokens to make at most")
	cmd.Flags().Float64VarP(&r.Temperature, "temperature", "t", 0, "of sampling; 0: greedy")
	cmd.Flags().IntVar(&r.TopK, "top-k", 0, "sample from the K likeliest tokens; 0: all")
	cmd.Flags().Float64Var(&r.TopP, "top-p", 1, "sample from the likeliest tokens with this much probability")
	cmd.Flags().Float64Var(&r.RepetitionPenalty, "repetition-penalty", 1, "above 1: makes tokens that are there already less likely")
	cmd.Flags().StringArrayVar(&r.Stops, "stop", nil, "text that ends the continuation; may be repeated")
	cmd.Flags().Int64Var(&r.Seed, "seed", 1, "seed of sampling")
	cmd.Flags().IntVar(&r.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&r.JSON, "json", false, "one line of JSON at the end instead of streaming")
	return cmd
}

// checkGenerate refuses numbers without a meaning; NaN fails every comparison.
func checkGenerate(r request.Generate) error {
	switch {
	case r.MaxTokens < 1 || r.MaxTokens > 1<<20:
		return fmt.Errorf("--max-tokens %d: want 1 to %d", r.MaxTokens, 1<<20)
	case !(r.Temperature >= 0 && r.Temperature <= 100):
		return fmt.Errorf("--temperature %v: want 0 to 100", r.Temperature)
	case r.TopK < 0:
		return fmt.Errorf("--top-k %d: want 0 or more", r.TopK)
	case !(r.TopP > 0 && r.TopP <= 1):
		return fmt.Errorf("--top-p %v: want above 0 and at most 1", r.TopP)
	case !(r.RepetitionPenalty > 0 && r.RepetitionPenalty <= 100):
		return fmt.Errorf("--repetition-penalty %v: want above 0 and at most 100", r.RepetitionPenalty)
	case slices.Contains(r.Stops, ""):
		return errors.New("--stop: want a text")
	}
	return checkThreads(r.Threads)
}

func checkThreads(n int) error {
	if n < 0 || n > 1024 {
		return fmt.Errorf("--threads %d: want 0 (all cores) to 1024", n)
	}
	return nil
}

// evalFlags are the flags of all jobs of eval; those that jobs share are in answers.
type evalFlags struct {
	tasks   []string
	loss    request.EvalLoss
	answers request.EvalTask
	choices request.EvalChoices
	score   scoreFlags
}

func newEval(a *app) *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use: "eval", Short: "Measure a loss, answer a task, rank the choices of a test, or score responses made elsewhere",
		Long: `Measure the mean loss of a model on prepared shards: --model and --loss.
With --json the result is one line {"loss_nats_per_token","bits_per_byte","tokens"}.

Or let a model answer the test set of a task, greedily and by samples, and score the answers: --model, --task with the task's
folder or its name below ` + tasksDir + `, and --out. Stopped, it goes on where it was. OUT/responses.jsonl has the answers. With --reward a
reward model reads the prompt with each sampled answer: a folder that plasticity verifier made, or another
LlamaForSequenceClassification with one label. OUT/rewards.jsonl has the rewards, and rm@N and orm are among the metrics.

Several tasks (--task A B, or --task A --task B) are answered one after the other, each as if alone into OUT/TASK; OUT/results.json has
the results of all. The first that fails or is stopped ends it with its exit code; started again, it goes on there. With --out RUN/` + record.EvalDir + `
reports on the run show them.

Or rank the choices of a multiple-choice test by their log-likelihoods, as the lm-evaluation-harness does: --model, --choices with
the name of a test, --data with the folder of its public data, and --out. The metrics are acc and acc_norm. Stopped, it goes on
where it was. The tests are ` + strings.Join(task.MultipleChoiceTests(), ", ") + `;
the last three are made by a seed where --data is not given.

Or score responses made elsewhere, without a model: --task with the task's name, --responses and --out. Each line of the file is a
problem {"id","problem","answer","responses":[…]}, optionally with "greedy" (the text at temperature 0) and "rewards":[…], one to
each response.

The metrics of answers are greedy, maj@N, rm@N, pass@N, correct_ratio and orm, those that the responses allow, and the cross-entropy
of the reference responses, with intervals of 95 %. OUT/results.json has them in the shape of the lm-evaluation-harness,
OUT/samples_TASK.jsonl says for each problem what was extracted and what is correct. With --json the result is one line
{"task","out","unchanged","results"}, of several tasks one each.`,
		Example: `  plasticity eval --model runs/mine --loss data/sotu-512/val
  plasticity eval --model runs/tuned --task tasks/arithmetic --out scores
  plasticity eval --model runs/tuned --task arithmetic choice4 --samples 16 --out scores
  plasticity eval --model runs/tuned --task tasks/arithmetic --reward runs/verifier --out rewarded
  plasticity eval --model runs/tuned --choices hellaswag --data hellaswag --out scores
  plasticity eval --task gsm8k-platinum --responses responses.jsonl --out scores
  plasticity eval --task my-quiz --answers letter --responses responses.jsonl --out scores --json`,
		RunE: func(cmd *cobra.Command, more []string) error { return a.evaluate(cmd, &f, more) },
	}
	f.add(cmd)
	return cmd
}

func (f *evalFlags) add(cmd *cobra.Command) {
	loss, answers, choices := &f.loss, &f.answers, &f.choices
	cmd.Flags().StringVarP(&answers.Model, "model", "m", "", "run, checkpoint or Hugging Face folder")
	cmd.Flags().StringVar(&loss.Data, "loss", "", "prepared folder with a manifest.json, such as DIR/val")
	cmd.Flags().Int64Var(&loss.Tokens, "tokens", 0, "tokens to use, from the beginning; 0: all")
	cmd.Flags().StringArrayVar(&f.tasks, "task", nil, "with --model folders made by data task, or names below "+tasksDir+"; with --responses a name such as gsm8k-platinum")
	cmd.Flags().StringVar(&choices.Choices, "choices", "", "name of a multiple-choice test, such as hellaswag or reading")
	cmd.Flags().StringVar(&choices.Data, "data", "", "folder or file of the test's public data; of a synthetic one, folder made by data task")
	cmd.Flags().StringVarP(&answers.Out, "out", "o", "", "folder for results.json and samples; another result in it is not replaced")
	cmd.Flags().IntVar(&answers.Samples, "samples", 16, "answers to each problem besides the greedy one")
	cmd.Flags().IntVar(&answers.Limit, "limit", 0, "problems, from the first on; 0: all")
	cmd.Flags().IntVar(&answers.MaxTokens, "max-tokens", 0, "of an answer; 0: what the context has room for")
	cmd.Flags().Float64Var(&answers.Temperature, "temperature", 1, "of the samples")
	cmd.Flags().Float64Var(&answers.RepetitionPenalty, "repetition-penalty", 1, "of all answers; the paper's is 1.1")
	cmd.Flags().StringVar(&answers.Precision, "precision", "f32", "of products: f32 or bf16")
	cmd.Flags().StringVar(&answers.Reward, "reward", "", "folder of a reward model (default: no rewards)")
	cmd.Flags().Int64Var(&answers.Seed, "seed", 1, "seed of samples and of bootstrapped intervals")
	cmd.Flags().IntVar(&answers.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&answers.JSON, "json", false, "one line of JSON")
	f.score.add(cmd)
}

// evaluate does the job that the flags ask for. Words behind them are further tasks.
func (a *app) evaluate(cmd *cobra.Command, f *evalFlags, more []string) error {
	job, err := chooseJob(cmd)
	if err != nil {
		return err
	}
	if job != jobAnswer {
		if err := noArguments(cmd, more); err != nil {
			return err
		}
	}
	shared := &f.answers
	shared.Quiet = a.quiet
	switch job {
	case jobScore:
		if len(f.tasks) > 1 {
			return misuse(cmd, fmt.Errorf("--task: %d of them with --responses: want one, that of the responses", len(f.tasks)))
		}
		f.score.task = strings.Join(f.tasks, "")
		f.score.out, f.score.seed, f.score.asJSON = shared.Out, shared.Seed, shared.JSON
		return a.scoreResponses(cmd, &f.score)
	case jobAnswer:
		return a.answerTasks(cmd, *shared, append(f.tasks, more...))
	case jobChoices:
		r := f.choices
		r.Model, r.Out, r.Limit, r.Precision = shared.Model, shared.Out, shared.Limit, shared.Precision
		r.Threads, r.JSON, r.Quiet = shared.Threads, shared.JSON, shared.Quiet
		return a.rankChoices(cmd, r)
	default:
		r := f.loss
		r.Model, r.Threads, r.JSON, r.Quiet = shared.Model, shared.Threads, shared.JSON, shared.Quiet
		return a.measureLoss(cmd, r)
	}
}

func (a *app) measureLoss(cmd *cobra.Command, r request.EvalLoss) error {
	if err := required(cmd, "model", "loss"); err != nil {
		return err
	}
	if r.Tokens < 0 {
		return misuse(cmd, errors.New("--tokens: want 0 (all) or more"))
	}
	if err := checkThreads(r.Threads); err != nil {
		return misuse(cmd, err)
	}
	return a.work(cmd.Context(), request.CommandEvalLoss, r)
}

func (a *app) rankChoices(cmd *cobra.Command, r request.EvalChoices) error {
	if err := required(cmd, "model", "choices", "out"); err != nil {
		return err
	}
	switch {
	case !slices.Contains(task.MultipleChoiceTests(), r.Choices):
		return misuse(cmd, fmt.Errorf("--choices %q is not known: want one of %s", r.Choices, strings.Join(task.MultipleChoiceTests(), ", ")))
	case r.Data == "" && task.NeedsData(r.Choices):
		return misuse(cmd, fmt.Errorf("--data is missing: --choices %s needs the folder that its data were downloaded into", r.Choices))
	case r.Limit < 0:
		return misuse(cmd, errors.New("--limit: want 0 (all) or more"))
	}
	if err := checkPrecision(r.Precision); err != nil {
		return misuse(cmd, err)
	}
	if err := checkThreads(r.Threads); err != nil {
		return misuse(cmd, err)
	}
	return a.work(cmd.Context(), request.CommandEvalChoices, r)
}

func checkPrecision(precision string) error {
	if precision != "f32" && precision != "bf16" {
		return fmt.Errorf("--precision %q: want f32 or bf16", precision)
	}
	return nil
}

// checkEvalTask refuses numbers without a meaning; NaN fails every comparison.
func checkEvalTask(r request.EvalTask) error {
	switch {
	case r.Samples < 1 || r.Samples > metric.MaxResponses:
		return fmt.Errorf("--samples %d: want 1 to %d", r.Samples, metric.MaxResponses)
	case r.Limit < 0 || r.MaxTokens < 0:
		return errors.New("--limit and --max-tokens: want 0 or more")
	case !(r.Temperature > 0 && r.Temperature <= 100):
		return fmt.Errorf("--temperature %v: want above 0 and at most 100; the greedy answer is made in any case", r.Temperature)
	case !(r.RepetitionPenalty > 0 && r.RepetitionPenalty <= 100):
		return fmt.Errorf("--repetition-penalty %v: want above 0 and at most 100", r.RepetitionPenalty)
	}
	if err := checkPrecision(r.Precision); err != nil {
		return err
	}
	return checkThreads(r.Threads)
}

func newExport(a *app) *cobra.Command {
	var r request.Export
	cmd := &cobra.Command{
		Use: "export", Short: "Write a run as a Hugging Face folder",
		Long:    `Write a run as a Hugging Face folder that AutoModelForCausalLM.from_pretrained loads, tokenizer included.`,
		Example: `  plasticity export --run runs/mine --out hf-folder`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "run", "out"); err != nil {
				return err
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandExport, r)
		},
	}
	cmd.Flags().StringVar(&r.Run, "run", "", "folder of the run, or of one of its checkpoints")
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder to make; it must not be there yet")
	return cmd
}

func newImport(a *app) *cobra.Command {
	var r request.Import
	cmd := &cobra.Command{
		Use: "import", Short: "Make a run of a Hugging Face folder",
		Example: `  plasticity import --hf hf-folder --out runs/imported`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "hf", "out"); err != nil {
				return err
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandImport, r)
		},
	}
	cmd.Flags().StringVar(&r.HF, "hf", "", "folder with config.json and safetensors (Llama or OLMo-2)")
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder of the run to make; it must not be there yet")
	return cmd
}
