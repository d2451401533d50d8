package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/config"
	"plasticity/record"
	"plasticity/sweeps"
)

// executors are where the members of a sweep can run.
const (
	executorLocal      = "local"
	executorSlurm      = "slurm"
	executorKubernetes = "kubernetes"
)

// checkExecutor refuses an executor that there is not, and flags of another one.
func (f *runFlags) checkExecutor(cmd *cobra.Command) error {
	if err := oneOf(cmd, "executor", executorLocal, executorSlurm, executorKubernetes); err != nil {
		return err
	}
	for _, own := range []struct {
		flag string
		of   []string
	}{
		{"listen", []string{executorLocal}},
		{"retry-failed", []string{executorLocal}}, // of several tasks each would; `sweep retry` does it once
		{"dry-run", []string{executorSlurm, executorKubernetes}},
		{"slurm-arg", []string{executorSlurm}},
		{"pod-template", []string{executorKubernetes}},
	} {
		if cmd.Flags().Changed(own.flag) && !slices.Contains(own.of, f.executor) {
			return misuse(cmd, fmt.Errorf("--%s and --executor %s do not go together: it is for %s", own.flag, f.executor, strings.Join(own.of, " and ")))
		}
	}
	if f.executor == executorKubernetes {
		return required(cmd, "pod-template")
	}
	return nil
}

// taskWords are the arguments that a task runs this sweep with, on its own machine.
func (f *runFlags) taskWords() []string {
	words := []string{
		"sweep", "run", "--executor=" + executorLocal, "--grid=" + f.grid, "--scale=" + f.scale, "--out=" + f.root, "--tasks=" + f.tasks,
		"--retries=" + strconv.Itoa(f.retries), "--measure=" + strconv.FormatBool(f.measure),
	}
	for _, set := range f.sets {
		words = append(words, "--set="+set)
	}
	return words
}

// submitSlurm submits the cells that are still to do, and waits for none of them.
func submitSlurm(a *app, cmd *cobra.Command, flags *runFlags, plan *sweeps.Plan) error {
	status, err := plan.Status()
	if err != nil {
		return err
	}
	open := status.Open()
	if open == 0 { // then a run starts nothing, and says how the grid has ended
		flags.measure = false
		return runHere(a, cmd, flags, plan)
	}
	self, err := os.Executable()
	if err != nil {
		return record.Fail(record.Internal, "find this program: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return record.FailIO(err, "find the current folder")
	}
	options := sweeps.SlurmOptions{Tasks: flags.jobs, Command: append([]string{self}, flags.taskWords()...), Dir: dir, Arguments: flags.slurm}
	if flags.dryRun {
		words, err := sweeps.SlurmWords(plan, open, options)
		if err != nil {
			return err
		}
		return a.printJSON(append([]string{"sbatch"}, words...))
	}
	job, err := sweeps.SubmitSlurm(cmd.Context(), plan, open, options)
	if err != nil {
		return err
	}
	a.say("grid %s: %d cells to do, %d tasks of Slurm job %s share them", plan.Name, open, job.Tasks, job.ID)
	a.say("how far it is: `plasticity sweep watch`, `%s`; what tasks say: %s", job.Command("squeue"), filepath.Join(job.Logs, job.ID+"_*.log"))
	a.say("to stop it: `%s`, which lets members save; `plasticity sweep run` again goes on", job.Command("scancel"))
	if flags.asJSON {
		return a.printJSON(job)
	}
	return a.print(job.ID)
}

// submitKubernetes creates a Job for a grid. The data need not be on this machine, so only the grid itself is checked; pods check the rest.
func submitKubernetes(a *app, cmd *cobra.Command, flags *runFlags) error {
	g, err := flags.load(a, cmd)
	if err != nil {
		return err
	}
	template, err := os.ReadFile(flags.pod)
	if err != nil {
		return record.Fail(record.Usage, "--pod-template: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return record.FailIO(err, "find the current folder")
	}
	var env []string
	for _, entry := range a.configEnv() {
		if name, value, _ := strings.Cut(entry, "="); value != "" && !slices.Contains(config.OtherVariables(), name) {
			env = append(env, entry)
		}
	}
	manifest, err := sweeps.KubernetesManifest(sweeps.KubernetesOptions{
		Grid: g.Name, Root: flags.root, Cells: g.CellCount(), Pods: flags.jobs, Arguments: flags.taskWords(), Dir: dir, Command: "plasticity", Env: env,
		Template: template, File: flags.pod,
	})
	if err != nil {
		return err
	}
	if flags.dryRun {
		return a.print(strings.TrimSuffix(string(manifest), "\n"))
	}
	job, err := sweeps.CreateKubernetesJob(cmd.Context(), manifest)
	if err != nil {
		return err
	}
	a.say("grid %s: its pods share the cells. How far they are: `kubectl get %s`; what one of them says: `kubectl logs %s`", g.Name, job, job)
	a.say("to stop it: `kubectl delete %s`, which lets members save; `plasticity sweep run` again goes on", job)
	if flags.asJSON {
		return a.printJSON(struct {
			Grid string `json:"grid"`
			Job  string `json:"job"`
		}{g.Name, job})
	}
	return a.print(job)
}
