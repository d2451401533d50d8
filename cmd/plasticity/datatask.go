package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/data/task"
)

func newDataTask(a *app) *cobra.Command {
	var o task.Options
	var show int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "task NAME --out DIR", Short: "Make a fine-tuning task: examples to learn from and to be tested with",
		Long: `Make a fine-tuning task: OUT/train.jsonl, OUT/test.jsonl and OUT/task.json. No instruction is on both sides.
Done again with the same flags, nothing is written.

Synthetic families need nothing but a seed:
` + describeFamilies() + `
Tasks of public data are made of what you downloaded from the hub into folders of --from:
` + describePublic(),
		Example: `  plasticity data task arithmetic --out data/arithmetic --show 2
  plasticity data task choice4 --level 1 --level 3 --train 8000 --test 500 --seed 7 --out data/choice4
  plasticity data task metamathqa --from downloads --out data/metamathqa`,
		Args: exactly("the name of a task"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required(cmd, "out"); err != nil {
				return err
			}
			if err := checkTask(cmd, &o, show); err != nil {
				return err
			}
			o.Name, o.Cache = args[0], filepath.Join(a.cacheDir(), "data")
			report, finish := a.bytesProgress("task")
			o.Progress = report
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			summary, err := task.Make(ctx, o)
			finish()
			if err != nil {
				return interrupted(err)
			}
			made := taskMade{Summary: summary}
			if made.Samples, err = taskSamples(o.Out, show); err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(made)
			}
			return a.print(made.describe())
		},
	}
	cmd.Flags().StringVarP(&o.Out, "out", "o", "", "folder to make")
	cmd.Flags().StringVar(&o.From, "from", "", "folder with the downloaded data sets; of gosource, a folder of texts")
	cmd.Flags().Int64Var(&o.Seed, "seed", 1, "decides which examples there are")
	cmd.Flags().IntVar(&o.Train, "train", 0, fmt.Sprintf("examples to learn from (default: %d of a family, all of public data)", task.DefaultTrain))
	cmd.Flags().IntVar(&o.Test, "test", 0, fmt.Sprintf("examples to be tested with (default: %d of a family, all of public data)", task.DefaultTest))
	cmd.Flags().IntSliceVar(&o.Levels, "level", nil, "levels of difficulty of a family, from 1 to 3; may be repeated (default: those that fit 128 tokens)")
	cmd.Flags().IntVar(&show, "show", 0, "examples of each side to print")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return cmd
}

// checkTask refuses numbers that mean nothing.
func checkTask(cmd *cobra.Command, o *task.Options, show int) error {
	const most = 10_000_000
	switch {
	case cmd.Flags().Changed("train") && (o.Train < 1 || o.Train > most):
		return misuse(cmd, fmt.Errorf("--train %d: want 1 to %d", o.Train, most))
	case cmd.Flags().Changed("test") && (o.Test < 1 || o.Test > most):
		return misuse(cmd, fmt.Errorf("--test %d: want 1 to %d", o.Test, most))
	case show < 0 || show > 1000:
		return misuse(cmd, errors.New("--show: want 0 to 1000"))
	}
	return nil
}

// describeFamilies lists the synthetic tasks for help.
func describeFamilies() string {
	var b strings.Builder
	for _, f := range task.Families() {
		fmt.Fprintf(&b, "  %-12s %s; levels 1 to %d\n", f.Name, f.Description, f.Levels)
	}
	return b.String()
}

// describePublic lists the tasks of public data for help.
func describePublic() string {
	var b strings.Builder
	for _, name := range task.PublicTasks() {
		fmt.Fprintf(&b, "  %-14s %s\n", name, strings.Join(task.Datasets(name), ", "))
	}
	return b.String()
}

// taskSample is an example as a model sees it.
type taskSample struct {
	Side string `json:"side"`
	task.Example
	Prompt string `json:"prompt"`
}

// taskSamples returns the first examples of both sides of a prepared task.
func taskSamples(dir string, show int) ([]taskSample, error) {
	if show == 0 {
		return nil, nil
	}
	set, err := task.Open(dir)
	if err != nil {
		return nil, err
	}
	return samplesOf(set, show), nil
}

func samplesOf(set *task.Set, show int) []taskSample {
	var samples []taskSample
	for _, e := range set.Train()[:min(show, len(set.Train()))] {
		samples = append(samples, taskSample{"train", e, task.Prompt(e)})
	}
	for _, e := range set.Test()[:min(show, len(set.Test()))] {
		samples = append(samples, taskSample{"test", e, task.Prompt(e)})
	}
	return samples
}

// taskMade is what `data task` says.
type taskMade struct {
	task.Summary
	Samples []taskSample `json:"samples,omitempty"`
}

func (m *taskMade) describe() string {
	var b strings.Builder
	if m.Unchanged {
		fmt.Fprintf(&b, "%s holds this already\n", m.Out)
	}
	b.WriteString(describeTask(m.Out, &m.Manifest))
	fmt.Fprintf(&b, "\n  longest example: %s, %d characters", m.Longest.ID, m.Longest.Characters)
	b.WriteString(describeSamples(m.Samples))
	return b.String()
}

// taskInspection is what `data inspect` says of a prepared task.
type taskInspection struct {
	Dir      string        `json:"dir"`
	Manifest task.Manifest `json:"manifest"`
	Samples  []taskSample  `json:"samples,omitempty"`
}

// inspectTask opens a prepared task and shows it.
func (a *app) inspectTask(dir string, show int, asJSON bool) error {
	set, err := task.Open(dir)
	if err != nil {
		return err
	}
	in := taskInspection{Dir: dir, Manifest: set.Manifest(), Samples: samplesOf(set, show)}
	if asJSON {
		return a.printJSON(in)
	}
	return a.print(describeTask(dir, &in.Manifest) + describeSamples(in.Samples))
}

// describeTask says what is in a prepared task.
func describeTask(dir string, m *task.Manifest) string {
	var b strings.Builder
	kind := m.Kind
	if kind == task.Text {
		kind = "none, a text"
	}
	fmt.Fprintf(&b, "%s: task %s, seed %d: %d examples to learn from, %d to be tested with; answers: %s\n  digest %s",
		dir, m.Name, m.Seed, m.Train, m.Test, kind, m.Digest)
	for _, l := range m.Levels {
		level := "without a level"
		if l.Level != "" {
			level = "level " + l.Level
		}
		fmt.Fprintf(&b, "\n  %s: %d and %d", level, l.Train, l.Test)
	}
	for _, s := range m.Sources {
		fmt.Fprintf(&b, "\n  source: %s, %d files, %d bytes, digest %.12s", s.Dataset, s.Files, s.Bytes, s.SHA256)
	}
	for _, f := range m.Filters {
		fmt.Fprintf(&b, "\n  left out: %d, %s", f.Dropped, f.Reason)
	}
	return b.String()
}

// describeSamples shows examples as a model sees them, a bar between prompt and response.
func describeSamples(samples []taskSample) string {
	var b strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&b, "\n\n%s %s", s.Side, s.ID)
		if s.Level != "" {
			fmt.Fprintf(&b, ", level %s", s.Level)
		}
		fmt.Fprintf(&b, "\n%s|%s", s.Prompt, s.Response)
	}
	return b.String()
}
