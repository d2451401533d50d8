package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/config"
	"plasticity/record"
	"plasticity/sweeps"
)

func newSweepPlan(a *app) *cobra.Command {
	var flags sweepFlags
	var gpu, configs string
	var utilisation float64
	var names []string
	for _, g := range sweeps.GPUs() {
		names = append(names, g.Name)
	}
	cmd := &cobra.Command{
		Use: "plan", Short: "Show every run of a grid with its cost, and start nothing",
		Long: `Show every run of a grid and what all of it costs: models, tokens, operations, hours of a GPU, disk for checkpoints. Starts nothing.
Data need not be there: then ids are unknown, and the plan goes by the configuration and by the sizes that tasks are known to have.`,
		Example: `  plasticity sweep plan --grid grid.yaml --scale paper
  plasticity sweep plan --grid grid.yaml --scale paper --gpu a100 --utilisation 0.35 --configs plan`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(cmd, "gpu", names...); err != nil {
				return err
			}
			if !(utilisation > 0 && utilisation <= 1) {
				return misuse(cmd, fmt.Errorf("--utilisation %v: want above 0 and at most 1", utilisation))
			}
			on := sweeps.GPUs()[slices.Index(names, gpu)]
			on.Utilisation = utilisation
			g, err := flags.load(a, cmd)
			if err != nil {
				return err
			}
			forecast, err := sweeps.NewForecast(g, flags.root, flags.tasks, on)
			if err != nil {
				return err
			}
			if configs != "" {
				if err := writeConfigs(configs, forecast); err != nil {
					return err
				}
			}
			if flags.asJSON {
				return a.printJSON(forecast)
			}
			return forecast.Write(a.out)
		},
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	cmd.Flags().StringVar(&gpu, "gpu", "h100", "GPU that hours are told for: "+strings.Join(names, ", "))
	cmd.Flags().Float64Var(&utilisation, "utilisation", 0.4, "part of the GPU's peak that training reaches")
	cmd.Flags().StringVar(&configs, "configs", "", "folder to write the configuration of every base model into, for train --config")
	return cmd
}

// writeConfigs writes the configurations of the base models by their number in the plan: 001.yaml and so on.
func writeConfigs(dir string, f sweeps.Forecast) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return record.FailIO(err, "make %s", dir)
	}
	for i, row := range f.Rows {
		if row.Cell.Kind != sweeps.Pretrain || row.Stale {
			continue
		}
		text, err := row.Cell.Run.YAML()
		if err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("%03d.yaml", i+1))
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return record.FailIO(err, "write %s", path)
		}
	}
	return nil
}

// needs is what has to be there before a grid can run.
type needs struct {
	Scales []string `json:"scales"` // the scale and its companions
	Text   []string `json:"text"`   // folders of prepared text
	Tasks  []string `json:"tasks"`  // folders of tasks
	Source []string `json:"source"` // folders of texts with labels, for probes
}

func newSweepNeeds(a *app) *cobra.Command {
	var flags sweepFlags
	cmd := &cobra.Command{
		Use: "needs", Short: "Print what a grid needs before it can run: scales, text and tasks",
		Long: `Print what a grid needs before it can run, a line each: "scale NAME" for the scale and its companions (SCALE-…, which one experiment runs
together), "text FOLDER" for prepared text, "task FOLDER" for tasks and "source FOLDER" for texts that probes read, of all of them.
Nothing of it has to be there.`,
		Example: `  plasticity sweep needs --grid sweeps/grids/tokens.yaml --scale laptop`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := flags.needs(a, cmd)
			if err != nil {
				return err
			}
			if flags.asJSON {
				return a.printJSON(n)
			}
			var lines []string
			for _, of := range []struct {
				word   string
				values []string
			}{{"scale", n.Scales}, {"text", n.Text}, {"task", n.Tasks}, {"source", n.Source}} {
				for _, v := range of.values {
					lines = append(lines, of.word+" "+v)
				}
			}
			return a.print(strings.Join(lines, "\n"))
		},
	}
	flags.add(cmd)
	flags.addJSON(cmd)
	return cmd
}

// needs gathers what the scale and its companions read.
func (f sweepFlags) needs(a *app, cmd *cobra.Command) (needs, error) {
	g, err := f.load(a, cmd)
	if err != nil {
		return needs{}, err
	}
	n := needs{Scales: append([]string{}, g.Companions()...), Text: []string{}, Tasks: []string{}, Source: []string{}}
	parts := n.Scales
	if f.scale == "" {
		parts = []string{""}
	}
	add := func(to *[]string, folder string) {
		if folder != "" && !slices.Contains(*to, folder) {
			*to = append(*to, folder)
		}
	}
	for _, scale := range parts {
		part, err := config.LoadGrid(f.grid, scale, f.sets, a.env)
		if err != nil {
			return needs{}, err
		}
		cells, err := part.Cells()
		if err != nil {
			return needs{}, err
		}
		for _, c := range cells {
			add(&n.Text, c.Run.Data.Train)
			add(&n.Text, c.Run.Data.Val)
		}
		for _, look := range part.Analyze {
			add(&n.Source, look.Data)
		}
		for _, e := range part.Finetune {
			for _, task := range e.Tasks {
				add(&n.Tasks, filepath.Join(f.tasks, task))
			}
		}
	}
	return n, nil
}
