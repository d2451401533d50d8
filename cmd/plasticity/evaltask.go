package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/eval/metric"
	"plasticity/record"
)

// tasksDir is where tasks are looked for that are given by their name.
const tasksDir = "data/tasks"

// taskFolder is the folder that --task names: itself, or where there is none, the one of this name among the tasks.
func taskFolder(name string) string {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return name
	}
	if among := filepath.Join(tasksDir, name); task.Inspectable(among) {
		return among
	}
	return name
}

// answerTasks lets the model answer a task, with results in the folder --out, or each of several, with results in a folder of its
// own below that. The first that fails ends it; started again, what is done is not done again.
func (a *app) answerTasks(cmd *cobra.Command, r request.EvalTask, names []string) error {
	if err := required(cmd, "model", "task", "out"); err != nil {
		return err
	}
	if err := checkEvalTask(r); err != nil {
		return misuse(cmd, err)
	}
	for _, name := range names {
		if taskFolder(name) == name && !task.Inspectable(name) && slices.Contains(task.MultipleChoiceTests(), name) {
			return misuse(cmd, fmt.Errorf("--task %s is no folder of a task: to rank the choices of this test give --choices %s, to answer it make it with `plasticity data task`", name, name))
		}
	}
	if len(names) == 1 {
		r.Task = taskFolder(names[0])
		return a.work(cmd.Context(), request.CommandEvalTask, r)
	}
	jobs, err := jobsOf(cmd, r, names)
	if err != nil {
		return err
	}
	return a.answerEach(cmd, r, jobs)
}

// taskJob is one of several tasks to be answered.
type taskJob struct{ name, folder, out string }

// jobsOf opens all tasks, so that the last one is not found to be missing when the others have been answered, and refuses two of one name and a
// folder that has results of others.
func jobsOf(cmd *cobra.Command, r request.EvalTask, names []string) ([]taskJob, error) {
	jobs := make([]taskJob, 0, len(names))
	known := make([]string, 0, len(names))
	for _, name := range names {
		folder := taskFolder(name)
		set, err := task.Open(folder)
		if err != nil {
			return nil, err
		}
		if at := slices.Index(known, set.Name()); at >= 0 {
			return nil, misuse(cmd, fmt.Errorf("--task: %s and %s are both task %s: evaluate them apart, with another --out each", jobs[at].folder, folder, set.Name()))
		}
		known = append(known, set.Name())
		jobs = append(jobs, taskJob{set.Name(), folder, filepath.Join(r.Out, set.Name())})
	}
	return jobs, metric.CheckMerge(record.OS(), r.Out, known)
}

// answerEach starts a worker for each task, one after the other, and puts their results together.
func (a *app) answerEach(cmd *cobra.Command, r request.EvalTask, jobs []taskJob) error {
	ctx, stop := interruptible(cmd.Context()) // the worker has the signals itself
	defer stop()
	known, out := make([]string, 0, len(jobs)), r.Out
	for i, job := range jobs {
		if ctx.Err() != nil {
			return record.Fail(record.Stopped, "stopped before task %s: start it again to go on", job.name)
		}
		a.say("task %s, %d of %d, into %s", job.name, i+1, len(jobs), job.out)
		r.Task, r.Out = job.folder, job.out
		if err := a.work(cmd.Context(), request.CommandEvalTask, r); err != nil {
			return err
		}
		known = append(known, job.name)
	}
	if _, err := metric.Merge(record.OS(), out, known); err != nil {
		return err
	}
	if r.JSON {
		return nil
	}
	return a.print(filepath.Join(out, metric.ResultsFile))
}
