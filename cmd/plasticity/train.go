package main

import (
	"slices"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/config"
)

func newTrain(a *app) *cobra.Command {
	var flags configFlags
	var r request.Train
	cmd := &cobra.Command{
		Use: "train", Short: "Pretrain one model",
		Long: `Pretrain one model. SIGTERM, SIGINT, SIGUSR1 and SIGHUP save at the next step and exit with 75.
Started again, a run continues where its last checkpoint left it, to the bit.`,
		Example: `  plasticity train --config sweeps/configs/llama2-s.yaml --set data.train=data/sotu-512/train --set data.val=data/sotu-512/val
  plasticity train --config run.yaml --dry-run
  plasticity train --config run.yaml --out runs/mine --resume must --listen 127.0.0.1:9464`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "config"); err != nil {
				return err
			}
			return a.train(cmd, flags, r)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&r.Init, "init", "", "run or Hugging Face folder to start from (default init)")
	addRunFlags(cmd, &r)
	return cmd
}

// train starts a run when its configuration is right.
func (a *app) train(cmd *cobra.Command, flags configFlags, r request.Train) error {
	if err := oneOf(cmd, "resume", "auto", "never", "must"); err != nil {
		return err
	}
	if err := checkTrain(a, flags, r); err != nil {
		return err
	}
	r.Config, r.Sets, r.Env, r.Quiet = flags.file, flags.sets, a.configEnv(), a.quiet
	return a.work(cmd.Context(), request.CommandTrain, r)
}

// addRunFlags adds what every training run has.
func addRunFlags(cmd *cobra.Command, r *request.Train) {
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder of the run (default runs/NAME/ID)")
	cmd.Flags().StringVar(&r.Resume, "resume", "auto", "auto: continue if there is a checkpoint; never: refuse a folder with one; must: refuse one without")
	cmd.Flags().StringVar(&r.Listen, "listen", "", "serve live metrics at host:port (default metrics.listen)")
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "print parameters, tokens, FLOPs, memory, disk and time, and train nothing")
	cmd.Flags().BoolVar(&r.JSON, "json", false, "results as JSON lines")
}

// checkTrain refuses a wrong configuration before a worker is started, its overriding flags included.
func checkTrain(a *app, flags configFlags, r request.Train) error {
	sets := slices.Clone(flags.sets)
	if r.Listen != "" {
		sets = append(sets, "metrics.listen="+r.Listen)
	}
	if r.Init != "" {
		sets = append(sets, "init="+r.Init)
	}
	run, err := config.Load(config.LoadOptions{File: flags.file, Sets: sets, Env: a.env})
	if err != nil {
		return err
	}
	return run.CheckTrainable()
}
