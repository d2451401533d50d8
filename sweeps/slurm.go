package sweeps

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plasticity/record"
)

// slurmTask is the batch script, the same for every sweep.
//
//go:embed slurmtask.sh
var slurmTask []byte

const (
	slurmDir    = "slurm"    // below hiddenDir: script, job and logs of tasks
	slurmScript = "task.sh"  // what sbatch reads
	slurmJob    = "job.json" // the newest SlurmJob
	// slurmWarning goes to the batch shell alone, five minutes before the end of its time: members have one to save (Options.Grace).
	slurmWarning = "--signal=B:USR1@300"
)

// parsedJob is what `sbatch --parsable` prints: the number of the job and, where there are several, its cluster.
var parsedJob = regexp.MustCompile(`^([0-9]+)(?:;([A-Za-z0-9._-]+))?$`)

// SlurmOptions says what is submitted.
type SlurmOptions struct {
	// Tasks is how many machines share the cells; 0: 4, and never more than there are cells to do.
	Tasks int
	// Command is what every task runs: this program with `sweep run --executor=local`.
	Command []string
	// Dir is the folder that the tasks run in.
	Dir string
	// Arguments are options of sbatch beside ours, such as --partition=gpu.
	Arguments []string
}

// SlurmJob is a job array that was submitted.
type SlurmJob struct {
	Grid    string `json:"grid"`
	ID      string `json:"job"`
	Cluster string `json:"cluster,omitempty"` // "": the one of this machine
	Tasks   int    `json:"tasks"`
	Logs    string `json:"logs"` // folder of what the tasks print, JOB_TASK.log
}

// SlurmWords is the command line that submits the tasks of a plan with so many cells to do. It refuses (record.Usage) options that are set here,
// and words that would not arrive as they are.
func SlurmWords(plan *Plan, open int, o SlurmOptions) ([]string, error) {
	for _, a := range o.Arguments {
		name, _, _ := strings.Cut(a, "=")
		if len(name) < 3 || !strings.HasPrefix(name, "--") {
			return nil, record.Fail(record.Usage, "--slurm-arg %q: want a long option of sbatch with its value, such as --partition=gpu", a)
		}
		// sbatch takes the beginning of a name for the name.
		if ours := slices.IndexFunc(slurmOurs(), func(s string) bool { return strings.HasPrefix(s, name) }); ours >= 0 {
			return nil, record.Fail(record.Usage, "--slurm-arg %q: %s is set by the sweep: leave it out", a, slurmOurs()[ours])
		}
	}
	folder := filepath.Join(plan.Dir, hiddenDir, slurmDir)
	logs := folder // from the root: before a relative path Slurm puts the folder of the job, and takes every % in it for a pattern
	if !filepath.IsAbs(logs) {
		logs = filepath.Join(o.Dir, logs)
	}
	if strings.Contains(logs, `\`) {
		return nil, record.Fail(record.Usage, "%q: Slurm writes no logs below a folder with a backslash in its name: choose another --out", logs)
	}
	words := slices.Concat([]string{
		"--parsable", "--job-name=" + plan.Name, fmt.Sprintf("--array=1-%d", tasksFor(o.Tasks, open)), slurmWarning, "--requeue", "--open-mode=append",
		"--chdir=" + o.Dir, "--output=" + strings.ReplaceAll(logs, "%", "%%") + "/%A_%a.log",
	}, o.Arguments, []string{filepath.Join(folder, slurmScript)}, o.Command)
	return words, checkWords(words)
}

// slurmOurs are the options that a sweep rests on.
func slurmOurs() []string {
	return []string{"--array", "--chdir", "--no-requeue", "--open-mode", "--output", "--parsable", "--requeue", "--signal", "--wait", "--wrap"}
}

// SubmitSlurm hands the cells of a plan that are still to do, open in number, to one job array of Slurm, and does not wait for it: its
// tasks share the cells as any runners do. While an array of this grid is queued or running, another is refused (record.NotPermitted).
func SubmitSlurm(ctx context.Context, plan *Plan, open int, o SlurmOptions) (SlurmJob, error) {
	words, err := SlurmWords(plan, open, o)
	if err != nil {
		return SlurmJob{}, err
	}
	folder := filepath.Join(plan.Dir, hiddenDir, slurmDir)
	if err := record.MkdirAll(record.OS(), folder); err != nil {
		return SlurmJob{}, err
	}
	lock, err := record.Acquire(folder)
	if err != nil {
		return SlurmJob{}, err
	}
	defer lock.Release() //nolint:errcheck // given back by the kernel in any case
	if _, err := lock.CleanTemp(record.OS()); err != nil {
		return SlurmJob{}, err
	}
	if err := refuseSecondJob(ctx, folder); err != nil {
		return SlurmJob{}, err
	}
	if err := record.WriteFileAtomic(record.OS(), filepath.Join(folder, slurmScript), slurmTask); err != nil {
		return SlurmJob{}, err
	}
	out, err := tool(ctx, slurmMissing, nil, "sbatch", words...)
	if err != nil {
		return SlurmJob{}, err
	}
	parts := parsedJob.FindStringSubmatch(strings.TrimSpace(out))
	if parts == nil {
		return SlurmJob{}, record.Fail(record.Failed, "sbatch printed %.200q and no job number: see `squeue --me` for what it did", out)
	}
	job := SlurmJob{Grid: plan.Name, ID: parts[1], Cluster: parts[2], Tasks: tasksFor(o.Tasks, open), Logs: folder}
	text, err := json.Marshal(job)
	if err != nil {
		return SlurmJob{}, err
	}
	return job, record.WriteFileAtomic(record.OS(), filepath.Join(folder, slurmJob), append(text, '\n'))
}

const slurmMissing = "submit where Slurm's commands are, on a login node, or run here with --executor local"

// refuseSecondJob asks Slurm whether the array that was submitted last is still there.
func refuseSecondJob(ctx context.Context, folder string) error {
	var last SlurmJob
	text, err := readEnd(filepath.Join(folder, slurmJob), tailBytes)
	if err != nil || json.Unmarshal(text, &last) != nil || last.ID == "" {
		return nil // none was
	}
	states, err := last.states(ctx)
	if err != nil || len(states) == 0 {
		return err
	}
	return record.Fail(record.NotPermitted, "grid %s: tasks of Slurm job %s are there (%s) and share its cells: wait for them, or `%s` first",
		last.Grid, last.ID, strings.Join(states, ", "), last.Command("scancel"))
}

// states are those of its tasks that are queued or running, each once.
func (j SlurmJob) states(ctx context.Context) ([]string, error) {
	words := []string{"--noheader", "--format=%T", "--jobs=" + j.ID}
	if j.Cluster != "" {
		words = append(words, "--clusters="+j.Cluster)
	}
	out, err := tool(ctx, slurmMissing, nil, "squeue", words...)
	if err != nil {
		if strings.Contains(err.Error(), "Invalid job id") { // Slurm has forgotten it
			return nil, nil
		}
		return nil, err
	}
	var states []string
	for line := range strings.Lines(out) {
		if s := strings.TrimSpace(line); s != "" && !strings.HasPrefix(s, "CLUSTER:") && !slices.Contains(states, s) {
			states = append(states, s)
		}
	}
	return states, nil
}

// Command is the command line of squeue or scancel for this job, for people.
func (j SlurmJob) Command(name string) string {
	if name == "squeue" {
		name += " --jobs=" + j.ID
	} else {
		name += " " + j.ID
	}
	if j.Cluster != "" {
		name += " --clusters=" + j.Cluster
	}
	return name
}
