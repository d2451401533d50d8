package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/record"
)

// programVersion is the version of this program; the changelog says what is in it.
const programVersion = "0.1.0"

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "plasticity",
		Short: "Choose weight decay for the model that comes after fine-tuning",
		Long: `plasticity pretrains Llama-2 and OLMo-2 models over a grid of weight decays and shows what the decay does.

Configurations are YAML with --set key=value and PLASTICITY_SECTION_KEY variables above it.
Results go to standard output, progress and messages to standard error.

Exit codes:
` + record.CodeTable(),
		Example: `  plasticity doctor
  plasticity train --config sweeps/configs/llama2-s.yaml --set data.train=data/sotu-512/train --dry-run
  plasticity sweep run --grid sweeps/grids/weight-decay-quickstart.yaml
  plasticity report --runs runs --out report`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, err) })
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress, errors only")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"})
	root.AddCommand(
		newDoctor(a), newData(a), newConfig(a), newTrain(a), newFinetune(a), newGenerate(a), newEval(a), newVerifier(a), newAnalyze(a), newExport(a),
		newImport(a), newSweep(a), newReport(a), newServe(a), newBench(a), newCompletion(a),
	)
	return root
}

// misuse makes a wrong command line of err and says where help is.
func misuse(cmd *cobra.Command, err error) error {
	return record.Fail(record.Usage, "%w\nrun `%s --help` for what it takes and an example", err, cmd.CommandPath())
}

// noArguments refuses arguments and, where there are subcommands, names the nearest.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return misuse(cmd, fmt.Errorf("%s takes flags only, not %q", cmd.CommandPath(), args[0]))
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return misuse(cmd, fmt.Errorf("%s has no command %q%s", cmd.CommandPath(), args[0], hint))
}

// exactly asks for one argument with a name.
func exactly(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return misuse(cmd, fmt.Errorf("%s takes one argument, %s; there are %d", cmd.CommandPath(), name, len(args)))
		}
		return nil
	}
}

// group is a command that only has subcommands.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Example: example, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := make([]string, 0, len(commands))
			for _, c := range commands {
				names = append(names, c.Name())
			}
			return misuse(cmd, fmt.Errorf("%s needs a command: %s", cmd.CommandPath(), strings.Join(names, ", ")))
		},
	}
	g.SuggestionsMinimumDistance = 2
	g.AddCommand(commands...)
	return g
}

// required refuses to go on without the flags that have no default.
func required(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		flag := cmd.Flags().Lookup(name)
		if flag.Changed && flag.Value.String() != "" && flag.Value.String() != "[]" {
			continue
		}
		return misuse(cmd, fmt.Errorf("--%s is missing: %s", name, flag.Usage))
	}
	return nil
}

// oneOf refuses a value that is none of the words.
func oneOf(cmd *cobra.Command, flag string, words ...string) error {
	value := cmd.Flags().Lookup(flag).Value.String()
	for _, w := range words {
		if value == w {
			return nil
		}
	}
	return misuse(cmd, fmt.Errorf("--%s %q: want %s", flag, value, strings.Join(words, ", ")))
}

// oneOfOr is oneOf for a flag that may be left out.
func oneOfOr(cmd *cobra.Command, flag string, words ...string) error {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return oneOf(cmd, flag, words...)
}

// version says which program this is: version, commit, whether it had changes, compiler and platform.
func version() string {
	commit, changed := build()
	commit = cmp.Or(commit, "unknown")
	if changed {
		commit += ", with changes"
	}
	return fmt.Sprintf("%s (commit %s) %s %s/%s", programVersion, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// build reads the commit that Go noted in the binary, "" where it did not.
func build() (commit string, changed bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	return commit, changed
}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Example: `  plasticity completion bash > ~/.local/share/bash-completion/completions/plasticity
  source <(plasticity completion zsh)`,
		Args:      exactly("bash, zsh, fish or powershell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return misuse(cmd, fmt.Errorf("no completion for %q: want bash, zsh, fish or powershell", args[0]))
		},
	}
}
