package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/eval/answer"
	"plasticity/eval/metric"
	"plasticity/record"
)

// scoreFlags say which responses to score, and how.
type scoreFlags struct {
	task, responses, out string
	answers              string // kind of answers; empty: that of the task
	seed                 int64
	asJSON               bool
}

func (f *scoreFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.task, "task", "", "name of the task that the responses are to, such as gsm8k-platinum")
	cmd.Flags().StringVar(&f.responses, "responses", "", `file with a line {"id","problem","answer","responses":[…]} for each problem, and optionally "greedy" and "rewards"`)
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "folder for results.json and samples; another result in it is not replaced")
	cmd.Flags().StringVar(&f.answers, "answers", "", "kind of the answers: math, letter or word (default that of the task)")
	cmd.Flags().Int64Var(&f.seed, "seed", 1, "seed of the bootstrapped intervals")
}

// The flags of eval belong to one of two jobs.
func lossNames() []string  { return []string{"model", "loss", "tokens", "threads"} }
func scoreNames() []string { return []string{"task", "responses", "out", "answers", "seed"} }

// scoring tells whether the flags ask to score responses, and refuses those of both jobs together.
func scoring(cmd *cobra.Command) (bool, error) {
	given := func(names []string) string {
		at := slices.IndexFunc(names, cmd.Flags().Changed)
		if at < 0 {
			return ""
		}
		return names[at]
	}
	score, loss := given(scoreNames()), given(lossNames())
	if score != "" && loss != "" {
		return false, misuse(cmd, fmt.Errorf("--%s and --%s do not go together: give --model and --loss to measure a loss, or --task, --responses and --out to score responses", loss, score))
	}
	return score != "", nil
}

// taskKind says which answers a task has.
type taskKind struct {
	kind  string
	tasks []string
}

func taskKinds() []taskKind {
	return []taskKind{
		{"math", []string{
			"metamathqa", "simplescaling", "gsm8k-platinum", "math-level1", "math-level2", "math-level3", "math-level4", "math-hard",
			"arithmetic", "word-problems",
		}},
		{"letter", []string{"medmcqa", "mmluprocot", "race", "choice4", "choice10", "reading"}},
		{"word", []string{"pubmedqa", "judge"}},
	}
}

// kind returns the kind of answers that was asked for, or that of the task.
func (f *scoreFlags) kind(cmd *cobra.Command) (answer.Kind, error) {
	if cmd.Flags().Changed("answers") {
		kind, err := answer.ParseKind(f.answers)
		if err != nil {
			return kind, misuse(cmd, fmt.Errorf("--answers %q: want math, letter or word", f.answers))
		}
		return kind, nil
	}
	var known []string
	for _, k := range taskKinds() {
		if slices.Contains(k.tasks, f.task) {
			return answer.ParseKind(k.kind)
		}
		known = append(known, k.tasks...)
	}
	return 0, misuse(cmd, fmt.Errorf("--task %q is not known: say what its answers are with --answers math, letter or word, or give one of %s", f.task, strings.Join(known, ", ")))
}

// scoreConfig is what results.json has of how responses were judged.
type scoreConfig struct {
	Task      string `json:"task"`
	Responses string `json:"responses"` // the file, without its folder
	Answers   string `json:"answers"`
}

// scored is what `eval --task --json` says.
type scored struct {
	Task      string      `json:"task"`
	Out       string      `json:"out"`
	Unchanged bool        `json:"unchanged"`
	Results   metric.Task `json:"results"`
}

// scoreResponses scores a file of responses and writes results and samples.
func (a *app) scoreResponses(cmd *cobra.Command, f *scoreFlags) error {
	if err := required(cmd, "task", "responses", "out"); err != nil {
		return err
	}
	if err := record.CheckName("--task", f.task); err != nil {
		return misuse(cmd, err)
	}
	kind, err := f.kind(cmd)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	result, err := a.score(ctx, f, judge{kind})
	if err != nil {
		return interrupted(err)
	}
	task := metric.Task{Name: f.task, Config: scoreConfig{f.task, filepath.Base(f.responses), kind.String()}, Result: result}
	unchanged, err := metric.Write(record.OS(), f.out, metric.Report{Model: "responses made elsewhere", Tasks: []metric.Task{task}})
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(scored{f.task, f.out, unchanged, task})
	}
	if unchanged {
		a.say("%s holds this already", f.out)
	}
	return a.print(describeScore(task, kind) + filepath.Join(f.out, metric.ResultsFile))
}

// score reads and judges the responses.
func (a *app) score(ctx context.Context, f *scoreFlags, j metric.Judge) (metric.Result, error) {
	file, size, err := openResponses(f.responses)
	if err != nil {
		return metric.Result{}, err
	}
	defer file.Close() //nolint:errcheck // only read
	report, finish := a.bytesProgress("eval")
	defer finish()
	watched := &watchedReader{from: file, total: size, report: report}
	scorer := metric.NewScorer(j, f.seed)
	for problem, err := range metric.Read(watched, f.responses, nil) {
		if err == nil {
			err = scorer.Add(problem)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return metric.Result{}, err
		}
	}
	return scorer.Result()
}

func openResponses(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, record.Fail(record.Usage, "--responses %s: no such file", path)
	case err == nil && !info.Mode().IsRegular():
		return nil, 0, record.Fail(record.BadData, "--responses %s: not a regular file (%s): put the responses into one", path, info.Mode().Type())
	}
	file, err := os.Open(path)
	if err != nil {
		code := record.CodeOf(err)
		if code == record.Failed {
			code = record.IO
		}
		return nil, 0, record.Fail(code, "--responses: %w", err)
	}
	return file, info.Size(), nil
}

// watchedReader reports how much has been read.
type watchedReader struct {
	from        io.Reader
	done, total int64
	report      func(done, total int64)
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	w.done += int64(n)
	w.report(w.done, w.total)
	return n, err
}

// describeScore lays the metrics out as a table.
func describeScore(t metric.Task, kind answer.Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: n = %d problems, N = %d responses to each, answers: %s\n", t.Name, t.Result.Problems, t.Result.Responses, kind)
	width := len("metric")
	for _, e := range t.Result.Estimates {
		width = max(width, len(e.Name))
	}
	fmt.Fprintf(&b, "%-*s %9s   95 %% interval\n", width, "metric", "value")
	for _, e := range t.Result.Estimates {
		fmt.Fprintf(&b, "%-*s %9.4f   %.4f to %.4f\n", width, e.Name, e.Value, e.CI95[0], e.CI95[1])
	}
	return b.String()
}
