package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/config"
	"plasticity/record"
)

// configFlags are the flags that name a configuration.
type configFlags struct {
	file string
	sets []string
}

func (f *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (YAML)")
	f.addSets(cmd)
}

func (f *configFlags) addSets(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.sets, "set", "s", nil, "key=value above the file, such as optimizer.lr=1e-3; may be repeated")
}

func (f *configFlags) load(a *app) (config.Run, error) {
	return config.Load(config.LoadOptions{File: f.file, Sets: f.sets, Env: a.env})
}

// configEnv is the part of the environment that sets configuration keys.
func (a *app) configEnv() []string {
	var out []string
	for _, entry := range a.env {
		if strings.HasPrefix(entry, config.EnvPrefix) {
			out = append(out, entry)
		}
	}
	return out
}

func newConfig(a *app) *cobra.Command {
	return group("config", "Show, check and describe configurations", `  plasticity config show --config run.yaml
  plasticity config check --config run.yaml --set optimizer.lr=1e-3
  plasticity config schema > run.schema.json`, newConfigShow(a), newConfigCheck(a), newConfigSchema(a))
}

func newConfigShow(a *app) *cobra.Command {
	var flags configFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show", Short: "Print the whole configuration: file, environment, flags, preset and defaults merged",
		Example: `  plasticity config show --config run.yaml --set model.preset=llama2-1m
  PLASTICITY_OPTIMIZER_LR=1e-3 plasticity config show --json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			r, err := flags.load(a)
			if err != nil {
				return err
			}
			write := r.YAML
			if asJSON {
				write = r.JSON
			}
			text, err := write()
			if err != nil {
				return err
			}
			return a.print(strings.TrimSuffix(string(text), "\n"))
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON instead of YAML")
	return cmd
}

// print writes a result, with a line end, to standard output.
func (a *app) print(text string) error {
	if _, err := fmt.Fprintln(a.out, text); err != nil {
		return record.Fail(record.IO, "write to standard output: %w", err)
	}
	return nil
}

// printJSON writes a result as one line of JSON.
func (a *app) printJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return record.Fail(record.Internal, "write the result: %w", err)
	}
	return a.print(string(text))
}

// checked is what `config check --json` says.
type checked struct {
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
}

func newConfigCheck(a *app) *cobra.Command {
	var flags configFlags
	var grid, scale string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check", Short: "Check a configuration or a grid and report every problem at once",
		Long: `Check a configuration, or a grid with all of its cells, and report every problem at once, each with its place, its value and what is allowed. Without
a file it is the defaults that are checked, with --set and PLASTICITY_SECTION_KEY variables above them.`,
		Example: `  plasticity config check --config run.yaml
  plasticity config check --set optimizer.lr=1e-3 --json
  plasticity config check --grid sweeps/grids/loss-vs-decay.yaml --scale paper`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case flags.file != "" && grid != "":
				return misuse(cmd, errors.New("--config and --grid: want one of them"))
			case scale != "" && grid == "":
				return misuse(cmd, errors.New("--scale is one of a grid: give --grid, too"))
			}
			line, err := checkOne(a, flags, grid, scale)
			if asJSON {
				return a.printChecked(err)
			}
			if err != nil {
				return err
			}
			return a.print(line)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&grid, "grid", "g", "", "grid file instead of a configuration")
	cmd.Flags().StringVar(&scale, "scale", "", "scale of the grid, such as smoke, laptop or paper")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return cmd
}

// checkOne loads a configuration or a grid with all its cells and describes it in a line.
func checkOne(a *app, flags configFlags, grid, scale string) (string, error) {
	if grid != "" {
		g, err := config.LoadGrid(grid, scale, flags.sets, a.env)
		if err != nil {
			return "", err
		}
		cells, err := g.Cells()
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s is right: %s, %d runs", grid, g, len(cells)), nil
	}
	r, err := flags.load(a)
	if err != nil {
		return "", err
	}
	m := r.Model
	line := fmt.Sprintf("%s is right: %s, %s, %d layers of width %d", cmp.Or(flags.file, "the configuration"), r.Name, m.Family, m.Layers, m.Width)
	if m.Vocab == 0 {
		return line + ", vocabulary from the tokenizer", nil
	}
	resolved, err := r.Resolve(config.DataFacts{Vocab: m.Vocab})
	if err != nil {
		return "", err
	}
	line += fmt.Sprintf(", %.4gM parameters, %d steps of %d tokens, weight decay %.4g", float64(m.Parameters())/1e6, resolved.Steps, resolved.TokensPerStep, resolved.WeightDecay)
	if !math.IsInf(resolved.Tau, 1) {
		line += fmt.Sprintf(" (tau %.3g)", resolved.Tau)
	}
	return line, nil
}

// printChecked writes the outcome of a check as JSON; the exit code stays that of err.
func (a *app) printChecked(err error) error {
	out := checked{OK: err == nil, Problems: []config.Problem{}}
	if err != nil {
		out.Problems = config.ProblemsOf(err)
	}
	if printErr := a.printJSON(out); printErr != nil {
		return printErr
	}
	if err != nil {
		return &record.Failure{Code: record.CodeOf(err), Err: &toldError{err.Error()}}
	}
	return nil
}

func newConfigSchema(a *app) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of a configuration, for editors",
		Long: `Print the JSON schema of a configuration, for editors: every key with its type, limits, words and default. With --config or --set the defaults
are the values of that configuration, which must be right.`,
		Example: `  plasticity config schema > run.schema.json
  plasticity config schema --config run.yaml --set model.preset=llama2-1m`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			text, err := flags.schema(a)
			if err != nil {
				return err
			}
			return a.print(strings.TrimSuffix(string(text), "\n"))
		},
	}
	flags.add(cmd)
	return cmd
}

// schema is that of any configuration, or with the values of the one that is named.
func (f *configFlags) schema(a *app) ([]byte, error) {
	if f.file == "" && len(f.sets) == 0 {
		return config.Schema()
	}
	r, err := f.load(a)
	if err != nil {
		return nil, err
	}
	return r.Schema()
}
