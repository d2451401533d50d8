package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/record"
	"plasticity/sweeps"
)

// sweepFlags name a grid and where its runs are.
type sweepFlags struct {
	grid, scale, root, tasks string
	sets                     []string
	asJSON                   bool
}

func (f *sweepFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.grid, "grid", "g", "", "grid file (YAML)")
	cmd.Flags().StringVar(&f.scale, "scale", "", "scale of the grid, such as smoke, laptop or paper (default the grid itself)")
	cmd.Flags().StringVarP(&f.root, "out", "o", "runs", "folder of the runs; the grid gets OUT/NAME")
	cmd.Flags().StringVar(&f.tasks, "tasks", tasksDir, "folder of the tasks that the grid fine-tunes on, TASKS/NAME each, made by data task")
	cmd.Flags().StringArrayVarP(&f.sets, "set", "s", nil, "key=value for every base model, such as data.train=DIR; may be repeated")
}

func (f *sweepFlags) addJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "one line of JSON")
}

// load reads the grid at its scale and refuses one that has no data to train on.
func (f *sweepFlags) load(a *app, cmd *cobra.Command) (config.Grid, error) {
	if err := required(cmd, "grid"); err != nil {
		return config.Grid{}, err
	}
	g, err := config.LoadGrid(f.grid, f.scale, f.sets, a.env)
	if err != nil {
		return config.Grid{}, err
	}
	if err := checkAnalyses(g); err != nil {
		return config.Grid{}, err
	}
	cells, err := g.Cells()
	if err != nil {
		return config.Grid{}, err
	}
	return g, cells[0].Run.CheckTrainable()
}

// plan loads the grid and lays out its cells.
func (f *sweepFlags) plan(a *app, cmd *cobra.Command) (*sweeps.Plan, error) {
	g, err := f.load(a, cmd)
	if err != nil {
		return nil, err
	}
	return sweeps.New(g, f.root, f.tasks, sweeps.ReadFacts())
}

// status looks at how far the cells are.
func (f *sweepFlags) status(a *app, cmd *cobra.Command) (sweeps.Status, error) {
	plan, err := f.plan(a, cmd)
	if err != nil {
		return sweeps.Status{}, err
	}
	return plan.Status()
}

func newSweep(a *app) *cobra.Command {
	return group("sweep", "Plan and run a grid: pretraining, fine-tuning and evaluation", `  plasticity sweep plan --grid sweeps/grids/weight-decay-quickstart.yaml
  plasticity sweep run --grid sweeps/grids/weight-decay-quickstart.yaml --scale laptop
  plasticity sweep status --grid sweeps/grids/weight-decay-quickstart.yaml`,
		newSweepPlan(a), newSweepNeeds(a), newSweepRun(a), newSweepStatus(a), newSweepBest(a), newSweepAnswers(a), newSweepRetry(a), newSweepWatch(a))
}

func newSweepStatus(a *app) *cobra.Command {
	var flags sweepFlags
	cmd := &cobra.Command{
		Use: "status", Short: "Show how far every run of a grid is",
		Example: `  plasticity sweep status --grid grid.yaml
  plasticity sweep status --grid grid.yaml --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return showSweep(a, cmd, &flags, sweeps.Status.Write) },
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	return cmd
}

func newSweepBest(a *app) *cobra.Command {
	var flags sweepFlags
	cmd := &cobra.Command{
		Use: "best", Short: "Print the folder of the finished run with the lowest validation loss",
		Example: `  plasticity generate --model "$(plasticity sweep best --grid grid.yaml)" --prompt "My fellow citizens, "`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := flags.status(a, cmd)
			if err != nil {
				return err
			}
			best, ok := status.Best()
			switch {
			case !ok:
				return record.Fail(record.Usage, "%s: no run has finished with a validation loss: start `plasticity sweep run` first", status.Dir)
			case flags.asJSON:
				return a.printJSON(best)
			}
			return a.print(best.Cell.Dir)
		},
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	return cmd
}

func newSweepAnswers(a *app) *cobra.Command {
	var flags sweepFlags
	var task string
	cmd := &cobra.Command{
		Use: "answers", Short: "Show the answers of two fine-tuned models to one problem, side by side",
		Long: `Show the answers of two fine-tuned models to one problem: the one whose base model has the best loss, and the one that is best
after fine-tuning, both by the mean over seeds; where they are the same, it and the never-pretrained model. The problem is the first
of the test set that one of them gets right and the other wrong.`,
		Example: `  plasticity sweep answers --grid sweeps/grids/plasticity.yaml --task judge`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := flags.status(a, cmd)
			if err != nil {
				return err
			}
			answers, err := status.Answers(task)
			if err != nil {
				return err
			}
			if flags.asJSON {
				return a.printJSON(answers)
			}
			return answers.Write(a.out)
		},
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	cmd.Flags().StringVar(&task, "task", "", "name of the task (default: the first that has answers)")
	return cmd
}

func newSweepWatch(a *app) *cobra.Command {
	var flags sweepFlags
	cmd := &cobra.Command{
		Use: "watch", Short: "Show the state of a grid until every run has ended; only reads",
		Example: `  plasticity sweep watch --grid grid.yaml`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := flags.plan(a, cmd)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return sweeps.Watch(ctx, plan, sweeps.WatchOptions{Out: a.out, TTY: isTerminal(a.out) && a.getenv("TERM") != "dumb"})
		},
	}
	flags.add(cmd)
	return cmd
}

func newSweepRetry(a *app) *cobra.Command {
	var flags sweepFlags
	cmd := &cobra.Command{
		Use: "retry [ID…]", Short: "Let the next run try failed cells again; without an id all of them",
		Example: `  plasticity sweep retry --grid grid.yaml
  plasticity sweep retry --grid grid.yaml 3f2a91c0d4e5b6a7`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			plan, err := flags.plan(a, cmd)
			if err != nil {
				return err
			}
			cleared, err := plan.Retry(ids)
			if err != nil {
				return err
			}
			if flags.asJSON {
				return a.printJSON(cleared)
			}
			for _, id := range cleared {
				if err := a.print(id); err != nil {
					return err
				}
			}
			a.say("%d runs will be tried again by `plasticity sweep run`", len(cleared))
			return nil
		},
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	return cmd
}

// runFlags are those of `sweep run` only.
type runFlags struct {
	sweepFlags
	executor    string
	dryRun      bool
	slurm       []string
	pod         string
	jobs        int
	retries     int
	retryFailed bool
	measure     bool
	listen      string
}

func newSweepRun(a *app) *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use: "run", Short: "Train every run of a grid that has not ended, and evaluate",
		Long: `Train every run of a grid that has not ended. Finished runs are never repeated; interrupted ones continue from their
last checkpoint. A grid with fine-tunings goes on with them: each base model, trained once, and a never-pretrained one is
fine-tuned on every task, and what came of it answers the test set; interrupted evaluations go on at their last answer. What the grid's
analyze names (rank, gap, probes, noise; forgetting) is measured of every base model (fine-tuned one) and kept in its folder analyze.
The first SIGINT, SIGTERM or SIGUSR1 lets the members save and stop (exit code 75), another one a second later or more kills them.
Several processes may run the same grid: they share the runs between them.
With --executor slurm or kubernetes it submits that many such processes, --jobs, as one job array or one Job over a shared folder, says its name,
and is done; docs/clusters.md has more.
Before it starts, members train for a moment in every way to share the cores out; the way that ends the grid first is
taken and kept in OUT/NAME/.sweep/cores.json. Fine-tunings and evaluations that take seconds go side by side with a thread each in
any case. The first lines say what it reaches and when the grid ends, and the end is corrected as runs end.`,
		Example: `  plasticity sweep run --grid sweeps/grids/weight-decay-quickstart.yaml --set data.train=data/sotu-512/train --set data.val=data/sotu-512/val
  plasticity sweep run --grid grid.yaml --scale laptop --jobs 4 --listen 127.0.0.1:9463
  plasticity sweep run --grid grid.yaml --executor slurm --jobs 8 --slurm-arg=--partition=gpu --slurm-arg=--gpus=1 --slurm-arg=--time=8:00:00
  plasticity sweep run --grid grid.yaml --executor kubernetes --jobs 8 --pod-template pod.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSweep(a, cmd, &flags) },
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	cmd.Flags().StringVar(&flags.executor, "executor", executorLocal, "where members run: local, slurm, kubernetes")
	cmd.Flags().IntVarP(&flags.jobs, "jobs", "j", 0, "members at once, 0: as many as use the cores best; with slurm or kubernetes tasks, 0: 4 at most")
	cmd.Flags().IntVar(&flags.retries, "retries", 3, "how often a run may fail in a row without coming further")
	cmd.Flags().BoolVar(&flags.retryFailed, "retry-failed", false, "try runs again that are marked failed")
	cmd.Flags().BoolVar(&flags.measure, "measure", true, "time some steps first, to share out the cores and to estimate the end; false: one thread each")
	cmd.Flags().StringVar(&flags.listen, "listen", "", "serve the sweep's own metrics at host:port")
	cmd.Flags().StringArrayVar(&flags.slurm, "slurm-arg", nil, "option for sbatch, such as --slurm-arg=--partition=gpu; may be repeated")
	cmd.Flags().StringVar(&flags.pod, "pod-template", "", "file with the PodTemplateSpec (YAML) of a Job's pods: image, volumes, resources")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "print the command or the manifest that would be submitted, and submit nothing")
	return cmd
}

func runSweep(a *app, cmd *cobra.Command, flags *runFlags) error {
	if err := flags.checkExecutor(cmd); err != nil {
		return err
	}
	if flags.jobs < 0 || flags.jobs > 4096 || flags.retries < 0 {
		return misuse(cmd, fmt.Errorf("--jobs %d --retries %d: want 0 or more", flags.jobs, flags.retries))
	}
	if flags.executor == executorKubernetes {
		return submitKubernetes(a, cmd, flags)
	}
	if _, err := a.workerPath(); err != nil {
		return err
	}
	plan, err := flags.plan(a, cmd)
	if err != nil {
		return err
	}
	if commit, _ := build(); commit == "" {
		a.say("warning: %s", record.NoCommit)
	}
	if flags.executor == executorSlurm {
		return submitSlurm(a, cmd, flags, plan)
	}
	return runHere(a, cmd, flags, plan)
}

// runHere runs the members on this machine.
func runHere(a *app, cmd *cobra.Command, flags *runFlags, plan *sweeps.Plan) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(signals)
	options := sweeps.Options{
		Command: a.member(plan.Name), Jobs: flags.jobs, Retries: flags.retries, RetryFailed: flags.retryFailed, Listen: flags.listen,
		Signals: signals, Console: a.console(), TTY: a.live(),
	}
	if flags.retries == 0 {
		options.Retries = -1
	}
	if flags.measure {
		options.Probe = a.probe
	}
	summary, err := sweeps.Run(cmd.Context(), plan, options)
	if flags.asJSON {
		if printErr := a.printJSON(summary); printErr != nil && err == nil {
			return printErr
		}
	}
	return err
}

// member builds the command that trains, evaluates or analyzes a cell; sweeps starts it.
func (a *app) member(grid string) sweeps.CommandFunc {
	return func(_ context.Context, c sweeps.Cell, _ *os.File) (*exec.Cmd, error) {
		if look := c.Analysis; look != nil {
			return a.analysis(look, c.Threads)
		}
		if e := c.Evaluation; e != nil {
			return a.workerCommand(request.CommandEvalTask, request.EvalTask{
				ID: c.ID, Model: e.Model, Task: e.Task, Out: c.Dir, Samples: e.Samples, Limit: e.Problems, MaxTokens: e.MaxTokens,
				Temperature: e.Temperature, RepetitionPenalty: e.RepetitionPenalty, Precision: e.Precision, Seed: e.Seed,
				Threads: c.Threads, Quiet: true,
			})
		}
		return a.workerCommand(request.CommandTrain, request.Train{
			Config: c.ConfigFile, Out: c.Dir, Resume: "auto", Listen: c.Listen, Quiet: true, ID: c.ID, Grid: grid, Axes: c.Axes,
		})
	}
}
