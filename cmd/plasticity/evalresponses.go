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
	"github.com/spf13/pflag"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
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
	cmd.Flags().StringVar(&f.responses, "responses", "", `file with a line {"id","problem","answer","responses":[…]} for each problem, and optionally "greedy" and "rewards"`)
	cmd.Flags().StringVar(&f.answers, "answers", "", "kind of the answers: math, letter or word (default that of the task)")
}

// The jobs of eval.
const (
	jobLoss    = "measure a loss"
	jobScore   = "score responses"
	jobAnswer  = "answer a task"
	jobChoices = "rank choices"
)

// evalUsage says which flags ask for which job.
const evalUsage = "give --model and --loss to measure a loss, --model and --task to answer a task, --model and --choices to rank the choices of a test, or --task and --responses to score responses"

// evalJob is one of the things that eval does, and the flags it has.
type evalJob struct {
	name  string
	flags []string
}

// evalJobs lists them; the flag that decides comes first.
func evalJobs() []evalJob {
	return []evalJob{
		{jobLoss, []string{"loss", "model", "tokens", "threads"}},
		{jobChoices, []string{"choices", "model", "data", "out", "limit", "precision", "threads"}},
		{jobScore, []string{"responses", "task", "out", "answers", "seed"}},
		{jobAnswer, []string{
			"task", "model", "out", "samples", "limit", "max-tokens", "temperature", "repetition-penalty", "precision", "reward", "seed", "threads",
		}},
	}
}

// chooseJob finds what the flags ask for, the first job whose deciding flag is there, and refuses flags of another one.
func chooseJob(cmd *cobra.Command) (string, error) {
	for _, job := range evalJobs() {
		if !cmd.Flags().Changed(job.flags[0]) {
			continue
		}
		var wrong string
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if !slices.Contains(append(job.flags, "json", "quiet"), f.Name) {
				wrong = f.Name
			}
		})
		if wrong != "" {
			return "", misuse(cmd, fmt.Errorf("--%s and --%s do not go together: %s", job.flags[0], wrong, evalUsage))
		}
		return job.name, nil
	}
	return "", misuse(cmd, errors.New("nothing to do: "+evalUsage))
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
	for _, k := range task.Kinds() {
		if k.Task == f.task {
			return answer.ParseKind(k.Kind)
		}
		known = append(known, k.Task)
	}
	return 0, misuse(cmd, fmt.Errorf("--task %q is not known: say what its answers are with --answers math, letter or word, or give one of %s", f.task, strings.Join(known, ", ")))
}

// scoreConfig is what results.json has of how responses were judged.
type scoreConfig struct {
	Task      string `json:"task"`
	Responses string `json:"responses"` // the file, without its folder
	Answers   string `json:"answers"`
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
	result, err := a.score(ctx, f, kind)
	if err != nil {
		return interrupted(err)
	}
	scores := metric.Task{Name: f.task, Config: scoreConfig{f.task, filepath.Base(f.responses), kind.String()}, Result: result}
	unchanged, err := metric.Write(record.OS(), f.out, metric.Report{Model: "responses made elsewhere", Tasks: []metric.Task{scores}})
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(request.Scored{Task: f.task, Out: f.out, Unchanged: unchanged, Results: scores})
	}
	if unchanged {
		a.say("%s holds this already", f.out)
	}
	return a.print(scores.Describe() + filepath.Join(f.out, metric.ResultsFile))
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
		return nil, 0, record.FailIO(err, "--responses")
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
