package sweeps

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plasticity/record"
)

// stubs puts programs that stand in for those of a scheduler, bash scripts by name, before everything else on PATH, and gives their folder.
// Each may write to it as $STUBS.
func stubs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("STUBS", dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir
}

// keepWords is a stub that keeps the words it is called with.
func keepWords(name string) string { return `printf '%s\0' "$@" >"$STUBS/` + name + `.words"` + "\n" }

// words are what a stub was called with last; nil: it never was.
func words(t interface{ Fatal(args ...any) }, dir, name string) []string {
	text, err := os.ReadFile(filepath.Join(dir, name+".words"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// hostile draws text with everything that means something to a shell.
func hostile(t *rapid.T, label string, without string) string {
	runes := []rune{}
	for _, r := range " \t'\"`$(){}[]<>|&;*?!~#%^=,.-\\aZ09é漢🙂" {
		if !strings.ContainsRune(without, r) {
			runes = append(runes, r)
		}
	}
	return rapid.StringOfN(rapid.SampledFrom(runes), 1, 12, -1).Draw(t, label)
}

func TestSubmitSlurm_WordsArriveAsTheyAre(t *testing.T) {
	dir := stubs(t, map[string]string{"sbatch": keepWords("sbatch") + "echo 123"})
	roots, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		root := filepath.Join(roots, strconv.Itoa(n)+hostile(t, "folder", `\`))
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(root, "program "+hostile(t, "program", ""))
		if err := os.WriteFile(program, []byte("#!/bin/bash\n"+keepWords("program")), 0o755); err != nil {
			t.Fatal(err)
		}
		arguments := []string{"sweep", "run", "--set=" + hostile(t, "value", ""), hostile(t, "more", ""), ""}
		own := "--comment=" + hostile(t, "comment", "")
		plan := &Plan{Name: "g", Root: root, Dir: filepath.Join(root, "g")}
		job, err := SubmitSlurm(context.Background(), plan, 9, SlurmOptions{Dir: root, Command: append([]string{program}, arguments...), Arguments: []string{own}})
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(plan.Dir, ".sweep", "slurm")
		if want := (SlurmJob{Grid: "g", ID: "123", Tasks: 4, Logs: folder}); job != want {
			t.Fatalf("%+v, want %+v", job, want)
		}
		script := filepath.Join(folder, "task.sh")
		got := words(t, dir, "sbatch")
		want := append([]string{
			"--parsable", "--job-name=g", "--array=1-4", "--signal=B:USR1@300", "--requeue", "--open-mode=append", "--chdir=" + root,
			"--output=" + strings.ReplaceAll(folder, "%", "%%") + "/%A_%a.log", own, script, program,
		}, arguments...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("sbatch (-want +got):\n%s", diff)
		}
		// What Slurm does with them: the script with the words after it.
		if out, err := exec.Command("bash", got[slices.Index(got, script):]...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(arguments, words(t, dir, "program")); diff != "" {
			t.Fatalf("program (-want +got):\n%s", diff)
		}
	})
}

func TestSlurmWords_Refuses(t *testing.T) {
	for _, c := range []struct {
		root, argument, command, want string
	}{
		{argument: "gpu", want: "want a long option"},
		{argument: "-pgpu", want: "want a long option"},
		{argument: "--", want: "want a long option"},
		{argument: "--array=1-1000", want: "--array is set by the sweep"},
		{argument: "--arr=1", want: "--array is set by the sweep"},
		{argument: "--signal=KILL@1", want: "--signal is set by the sweep"},
		{argument: "--out=x", want: "--output is set by the sweep"},
		{argument: "--comment=a\nb", want: "has a line break"},
		{command: "--set=name=a\nb", want: "has a line break"},
		{command: "\xff", want: "not UTF-8"},
		{root: `a\b`, want: "with a backslash"},
	} {
		o := SlurmOptions{Command: []string{"plasticity", c.command}}
		if c.argument != "" {
			o.Arguments = []string{c.argument}
		}
		_, err := SlurmWords(&Plan{Name: "g", Root: c.root, Dir: filepath.Join(c.root, "g")}, 1, o)
		if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want a word on %q", c, err, c.want)
		}
	}
	words, err := SlurmWords(&Plan{Name: "g", Dir: "runs/g"}, 1, SlurmOptions{Dir: "/50%"})
	if err != nil || !slices.Contains(words, "--output=/50%%/runs/g/.sweep/slurm/%A_%a.log") {
		t.Errorf("%q %v: want logs from the root", words, err)
	}
	for _, fine := range []string{"--partition=gpu", "--exclusive", "--account=a b", "--array-like=x", "--mem=3G"} {
		if _, err := SlurmWords(&Plan{Name: "g"}, 1, SlurmOptions{Arguments: []string{fine}}); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

func TestTasksFor(t *testing.T) {
	for _, c := range [][3]int{{0, 100, 4}, {0, 3, 3}, {8, 100, 8}, {8, 3, 3}, {0, 0, 1}} {
		if got := tasksFor(c[0], c[1]); got != c[2] {
			t.Errorf("tasksFor(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

// An array that is queued or running keeps another away; one that Slurm has forgotten or that has ended does not.
func TestSubmitSlurm_OneArrayAtATime(t *testing.T) {
	dir := stubs(t, map[string]string{
		"sbatch": `echo "$((40 + $(cat "$STUBS/n" 2>/dev/null || echo 1)));east"`,
		"squeue": keepWords("squeue") + `cat "$STUBS/says"; [ ! -e "$STUBS/fails" ] || { cat "$STUBS/fails" >&2; exit 1; }`,
	})
	plan := &Plan{Name: "g", Root: t.TempDir()}
	plan.Dir = filepath.Join(plan.Root, "g")
	submit := func() (SlurmJob, error) {
		return SubmitSlurm(context.Background(), plan, 2, SlurmOptions{Command: []string{"p"}})
	}
	say := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	job, err := submit()
	if err != nil || job.ID != "41" || job.Cluster != "east" || job.Tasks != 2 || words(t, dir, "squeue") != nil {
		t.Fatalf("%+v %v, squeue %q", job, err, words(t, dir, "squeue"))
	}
	say("says", "CLUSTER: east\nRUNNING\nRUNNING\nPENDING\n")
	_, err = submit()
	if record.CodeOf(err) != record.NotPermitted || !strings.Contains(err.Error(), "Slurm job 41 are there (RUNNING, PENDING)") ||
		!strings.Contains(err.Error(), "`scancel 41 --clusters=east`") {
		t.Errorf("while it runs: %v", err)
	}
	if diff := cmp.Diff([]string{"--noheader", "--format=%T", "--jobs=41", "--clusters=east"}, words(t, dir, "squeue")); diff != "" {
		t.Errorf("squeue (-want +got):\n%s", diff)
	}
	say("says", "")
	say("fails", "slurm_load_jobs error: Unable to contact slurm controller\n")
	if _, err = submit(); record.CodeOf(err) != record.Failed || !strings.Contains(err.Error(), "Unable to contact") {
		t.Errorf("without an answer: %v", err)
	}
	say("fails", "slurm_load_jobs error: Invalid job id specified\n")
	say("n", "2")
	if job, err = submit(); err != nil || job.ID != "42" {
		t.Errorf("forgotten: %+v %v", job, err)
	}
}

func TestSubmitSlurm_Failures(t *testing.T) {
	for _, c := range []struct{ name, sbatch, want string }{
		{"refused", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1", "invalid partition"},
		{"no number", "echo Submitted batch job 7", "no job number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stubs(t, map[string]string{"sbatch": c.sbatch})
			plan := &Plan{Name: "g", Dir: filepath.Join(t.TempDir(), "g")}
			_, err := SubmitSlurm(context.Background(), plan, 1, SlurmOptions{Command: []string{"p"}})
			if record.CodeOf(err) != record.Failed || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a word on %q", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(plan.Dir, hiddenDir, slurmDir, slurmJob)); err == nil {
				t.Error("a job is on record")
			}
		})
	}
	t.Run("no Slurm", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := SubmitSlurm(context.Background(), &Plan{Name: "g", Dir: filepath.Join(t.TempDir(), "g")}, 1, SlurmOptions{Command: []string{"p"}})
		if record.CodeOf(err) != record.Failed || !strings.Contains(err.Error(), "sbatch is not on PATH") || !strings.Contains(err.Error(), "--executor local") {
			t.Error(err)
		}
	})
}

// slurmProgram stands in for plasticity: asked to stop it ends with the code in its second argument.
const slurmProgram = `
trap 'exit "$2"' TERM
touch "$STUBS/ready"
[ "$1" = wait ] || exit "$1"
for ((i = 0; i < 1000; i++)); do sleep 0.02; done
exit 99`

func TestSlurmTask(t *testing.T) {
	if out, err := exec.Command("bash", "-n", "slurmtask.sh").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		name    string
		program []string
		ran     string // seconds, in bash's own variable
		signals []syscall.Signal
		code    int
		requeue bool
		says    string
	}{
		{name: "done", program: []string{"0"}},
		{name: "cells failed", program: []string{"1"}, code: 1},
		{name: "stopped by itself", program: []string{"75"}, ran: "100", code: 75},
		{name: "warned", program: []string{"wait", "75"}, ran: "100", signals: []syscall.Signal{syscall.SIGUSR1}, code: 75, requeue: true},
		{name: "warned twice", program: []string{"wait", "75"}, ran: "100", signals: []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR1}, code: 75, requeue: true},
		{name: "warned at once", program: []string{"wait", "75"}, signals: []syscall.Signal{syscall.SIGUSR1}, code: 75, says: "ask for more (--time)"},
		{name: "warned at its end", program: []string{"wait", "0"}, ran: "100", signals: []syscall.Signal{syscall.SIGUSR1}},
		{name: "cancelled", program: []string{"wait", "75"}, ran: "100", signals: []syscall.Signal{syscall.SIGTERM}, code: 75},
		{name: "warned, then cancelled", program: []string{"wait", "75"}, ran: "100", signals: []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM}, code: 75},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := stubs(t, map[string]string{"plasticity": slurmProgram, "scontrol": keepWords("scontrol")})
			t.Setenv("SECONDS", c.ran)
			t.Setenv("SLURM_JOB_ID", "7")
			t.Setenv("SLURM_ARRAY_JOB_ID", "7")
			t.Setenv("SLURM_ARRAY_TASK_ID", "3")
			task := exec.Command("bash", append([]string{"slurmtask.sh", "plasticity"}, c.program...)...)
			var said bytes.Buffer
			task.Stdout, task.Stderr = &said, &said
			if err := task.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("not started: %s", &said)
				}
			}
			for _, s := range c.signals {
				if err := task.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			_ = task.Wait() // the state says more
			if got := task.ProcessState.ExitCode(); got != c.code || !strings.Contains(said.String(), c.says) {
				t.Errorf("exit code %d, want %d; it said %q", got, c.code, &said)
			}
			var want []string
			if c.requeue {
				want = []string{"requeue", "7_3"}
			}
			if diff := cmp.Diff(want, words(t, dir, "scontrol")); diff != "" {
				t.Errorf("scontrol (-want +got):\n%s", diff)
			}
		})
	}
}
