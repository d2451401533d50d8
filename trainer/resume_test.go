package trainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch/torchtest"
)

// stopAfter is a step that sends a signal while it makes the n-th update of a process.
type stopAfter struct {
	Stepper
	left    int
	signals chan<- os.Signal
}

func (s *stopAfter) Step(ctx context.Context, b data.Batch, u Update) (StepResult, error) {
	if s.left--; s.left == 0 {
		s.signals <- syscall.SIGTERM
		<-ctx.Done() // the signal has arrived before the step is made
	}
	return s.Stepper.Step(ctx, b, u)
}

// stopping makes a process get SIGTERM while it makes its n-th update.
func stopping(n int) func(*Options) {
	return func(o *Options) {
		signals := make(chan os.Signal, 1)
		o.Signals = signals
		o.NewStepper = func(c config.Resolved) (Stepper, error) {
			s, err := newStepper(c)
			return &stopAfter{s, n, signals}, err
		}
	}
}

// A run that is stopped after any of its steps and started again ends with the same bits as one
// that was not, and with the same record.
func TestTrain_ResumedAtEveryStep(t *testing.T) {
	torchtest.NoLeaks(t)
	prepared := corpus(t, 1)
	for _, c := range []struct {
		how   []string
		every int
	}{
		{[]string{"precision=f32"}, 1},
		{[]string{"precision=bf16", "threads=2"}, 5},
		{[]string{"precision=bf16", "model.family=olmo2", "batch.micro_sequences=2"}, 7},
		{[]string{"precision=f32", "step=reference"}, 5},
		{[]string{"precision=bf16", "step=reference"}, 9},
	} {
		how := strings.Join(c.how, " ")
		sets := settings(prepared, c.how...)
		calm := filepath.Join(folder(t), "calm")
		if _, err := train(t, calm, sets); err != nil {
			t.Fatal(err)
		}
		want := outcomeOf(t, calm)
		equal, tried := 0, 0
		for n := 1; n < 30; n += c.every {
			tried++
			dir := filepath.Join(folder(t), "stopped")
			_, err := train(t, dir, sets, stopping(n))
			if record.CodeOf(err) != record.Stopped {
				t.Fatalf("stopped at step %d: %v", n, err)
			}
			if got := outcomeOf(t, dir).Step; got != int64(n) {
				t.Fatalf("stopped at step %d, saved at %d", n, got)
			}
			if _, err := train(t, dir, sets); err != nil {
				t.Fatalf("resumed at step %d: %v", n, err)
			}
			if diff := cmp.Diff(want, outcomeOf(t, dir)); diff != "" {
				t.Errorf("%s, resumed at step %d (-undisturbed +resumed):\n%s", how, n, diff)
				continue
			}
			equal++
		}
		t.Logf("%s: %d of %d resumed runs equal bit for bit: weights %.12s, moments %.12s, steps %.12s", how, equal, tried, want.Model, want.Optimizer, want.Chain)
	}
}

// The same after every step in turn: 30 processes, one step each.
func TestTrain_OneStepAProcess(t *testing.T) {
	prepared := corpus(t, 1)
	sets := settings(prepared)
	calm, broken := filepath.Join(folder(t), "calm"), filepath.Join(folder(t), "broken")
	if _, err := train(t, calm, sets); err != nil {
		t.Fatal(err)
	}
	for n := range 29 {
		if _, err := train(t, broken, sets, stopping(1)); record.CodeOf(err) != record.Stopped {
			t.Fatalf("process %d: %v", n, err)
		}
	}
	if _, err := train(t, broken, sets); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomeOf(t, calm), outcomeOf(t, broken)); diff != "" {
		t.Errorf("(-undisturbed +30 processes):\n%s", diff)
	}
}

func TestTrain_TwiceOnOneThread(t *testing.T) {
	prepared := corpus(t, 1)
	var got [2]outcome
	for i := range got {
		dir := filepath.Join(folder(t), "run")
		if _, err := train(t, dir, settings(prepared)); err != nil {
			t.Fatal(err)
		}
		got[i] = outcomeOf(t, dir)
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("two runs of one config differ:\n%s", diff)
	}
}

// Ten kills of real processes at moments spread over a run: the next process goes on, and the end is
// that of a run that nobody disturbed.
func TestTrain_TenKills(t *testing.T) {
	prepared := corpus(t, 1)
	sets := settings(prepared, "budget.steps=1000", "checkpoint.every_steps=7")
	calm := filepath.Join(folder(t), "calm")
	begun := time.Now()
	if _, err := train(t, calm, sets); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(begun)
	dir := filepath.Join(folder(t), "killed")
	kills, starts := 0, 0
	for ; kills < 10; starts++ {
		if starts > 40 {
			t.Fatalf("%d kills in %d processes", kills, starts)
		}
		before := lastStep(t, dir)
		c := start(t, childRequest{Sets: sets, Out: dir, Resume: ResumeAuto})
		// The clock of the kill starts when the process has stored something: at a random moment of its work.
		c.saves(t, dir, before)
		select {
		case <-time.After(whole * time.Duration(starts%7) / 150):
			_ = c.cmd.Process.Kill()
			<-c.ended
			kills++
		case err := <-c.ended:
			if err != nil {
				t.Fatal(err)
			}
			t.Fatalf("the run was over after %d kills", kills)
		}
	}
	at := lastStep(t, dir)
	if _, err := train(t, dir, sets); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomeOf(t, calm), outcomeOf(t, dir)); diff != "" {
		t.Errorf("(-undisturbed +killed):\n%s", diff)
	}
	t.Logf("%d kills, the last at step %d of 1000; leftovers: %v", kills, at, leftovers(t, dir))
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// lastStep is the step of the newest checkpoint by name; −1 without one.
func lastStep(t *testing.T, dir string) int64 {
	t.Helper()
	steps, err := record.Checkpoints(record.OS(), dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(steps) == 0 {
		return -1
	}
	return steps[len(steps)-1]
}

// leftovers lists temporary files in a run.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), ".tmp-") || strings.HasSuffix(path, ".broken") {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// SIGTERM ends a real process with 75 in little time, and nothing is lost.
func TestTrain_Terminated(t *testing.T) {
	prepared := corpus(t, 1)
	sets := settings(prepared, "budget.steps=100000", "checkpoint.every_steps=20")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1} {
		dir := filepath.Join(folder(t), "run")
		c := start(t, childRequest{Sets: sets, Out: dir, Resume: ResumeAuto})
		c.saves(t, dir, -1)
		sent := time.Now()
		if err := c.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err := <-c.ended
		took := time.Since(sent)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != int(record.Stopped) {
			t.Fatalf("%v: %v, want exit code 75", sig, err)
		}
		if took > 10*time.Second {
			t.Errorf("%v: the stop took %v", sig, took)
		}
		run, err := record.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		events, _, err := run.Events()
		if err != nil {
			t.Fatal(err)
		}
		stop := events[len(events)-1]
		if stop.Kind != record.EventStop || stop.Step != lastStep(t, dir) || run.State() != record.StateStopped {
			t.Errorf("%v: last event %+v, newest checkpoint %d, state %s", sig, stop, lastStep(t, dir), run.State())
		}
		t.Logf("%v: exit 75 after %v, saved at step %d", sig, took.Round(time.Millisecond), stop.Step)
	}
}

// A folder of another run is refused, with every field that differs; nothing in it changes.
func TestTrain_Mismatch(t *testing.T) {
	prepared, other := corpus(t, 1), corpus(t, 2)
	sets := settings(prepared)
	dir := filepath.Join(folder(t), "run")
	if _, err := train(t, dir, sets, stopping(7)); record.CodeOf(err) != record.Stopped {
		t.Fatal(err)
	}
	before := listing(t, dir)
	for _, c := range []struct{ name, set, want string }{
		{"layers", "model.layers=3", "model.layers: 2 → 3"},
		{"width", "model.width=32", "model.width: 16 → 32"},
		{"rate", "optimizer.lr=1e-3", "optimizer.lr: 0.003 → 0.001"},
		{"decay", "optimizer.weight_decay=0.5", "optimizer.weight_decay"},
		{"betas", "optimizer.betas=[0.9, 0.99]", "optimizer.betas"},
		{"clip", "optimizer.clip_norm=2", "optimizer.clip_norm"},
		{"steps", "budget.steps=31", "steps: 30 → 31"},
		{"batch", "batch.sequences=8", "batch.sequences: 4 → 8"},
		{"seed", "seed=2", "seed: 1 → 2"},
		{"precision", "precision=bf16", "precision: f32 → bf16"},
		{"order", "data.order=sequential", "data.order"},
		{"schedule", "schedule.kind=linear", "schedule.kind: cosine → linear"},
		{"data", "data.train=" + other + "/train", "training data"},
		{"no decay", "optimizer.no_decay=[]", "optimizer.no_decay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := []string{c.set}
			if c.name == "data" {
				more = append(more, "data.val="+other+"/val")
			}
			_, err := train(t, dir, settings(prepared, more...))
			if record.CodeOf(err) != record.Mismatch || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v (code %d), want 78 with %q", err, record.CodeOf(err), c.want)
			}
			if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
				t.Errorf("the folder changed:\n%s", diff)
			}
		})
	}
	// What does not decide the numbers may change.
	if _, err := train(t, dir, settings(prepared, "name=renamed", "checkpoint.every_steps=11", "checkpoint.keep=1", "metrics.log_every_steps=3")); err != nil {
		t.Error(err)
	}
}

// A sweep's member that would train another run than the planned one trains nothing and leaves no folder.
func TestTrain_AnotherRunThanPlanned(t *testing.T) {
	sets := settings(corpus(t, 1))
	dir := filepath.Join(folder(t), "run")
	planned := func(id string) func(*Options) { return func(o *Options) { o.ID = id } }
	if _, err := train(t, dir, sets, planned("0123456789abcdef")); record.CodeOf(err) != record.Mismatch || !strings.Contains(fmt.Sprint(err), "run 0123456789abcdef was planned") {
		t.Errorf("error %v (code %d)", err, record.CodeOf(err))
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", dir, err)
	}
	result, err := train(t, dir, sets)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := train(t, dir, sets, planned(result.ID)); err != nil {
		t.Error(err)
	}
}

// A finished run is never begun anew in its folder, with or without its checkpoints: it would be done and half trained at once.
func TestTrain_NeverInAFinishedFolder(t *testing.T) {
	sets := settings(corpus(t, 1))
	dir := filepath.Join(folder(t), "run")
	if _, err := train(t, dir, sets); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, record.CheckpointsDir)); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	if _, err := train(t, dir, sets, func(o *Options) { o.Resume = ResumeNever }); record.CodeOf(err) != record.NotPermitted || !strings.Contains(fmt.Sprint(err), "finished run") {
		t.Errorf("%v (code %d)", err, record.CodeOf(err))
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("the folder changed:\n%s", diff)
	}
}

// A shard of the same size with other content is refused before anything is trained or written.
func TestTrain_ChangedShard(t *testing.T) {
	prepared := corpus(t, 1)
	sets := settings(prepared)
	dir := filepath.Join(folder(t), "run")
	if _, err := train(t, dir, sets, stopping(7)); record.CodeOf(err) != record.Stopped {
		t.Fatal(err)
	}
	before := listing(t, dir)
	shards, err := filepath.Glob(filepath.Join(prepared, "train", "*.bin"))
	if err != nil || len(shards) == 0 {
		t.Fatal(shards, err)
	}
	text, err := os.ReadFile(shards[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-2]++
	if err := os.WriteFile(shards[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = train(t, dir, sets)
	if record.CodeOf(err) != record.BadData || !strings.Contains(fmt.Sprint(err), filepath.Base(shards[0])) {
		t.Errorf("error %v (code %d), want 65 naming %s", err, record.CodeOf(err), shards[0])
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("the folder changed:\n%s", diff)
	}
}

// listing is every file below dir with its content's size and time.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err == nil && !d.IsDir() && d.Name() != record.LockFile {
			out = append(out, fmt.Sprint(path, i.Size(), i.ModTime()))
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func TestTrain_Resume(t *testing.T) {
	prepared := corpus(t, 1)
	sets := settings(prepared)
	dir := filepath.Join(folder(t), "run")
	resume := func(r Resume) func(*Options) { return func(o *Options) { o.Resume = r } }
	if _, err := train(t, dir, sets, resume(ResumeMust)); record.CodeOf(err) != record.BadData {
		t.Errorf("--resume must without a run: %v", err)
	}
	if _, err := train(t, dir, sets, stopping(3), resume(ResumeNever)); record.CodeOf(err) != record.Stopped {
		t.Fatalf("--resume never in a new folder: %v", err)
	}
	if _, err := train(t, dir, sets, resume(ResumeNever)); record.CodeOf(err) != record.NotPermitted {
		t.Errorf("--resume never over a checkpoint: %v", err)
	}
	first, err := train(t, dir, sets, resume(ResumeMust))
	if err != nil {
		t.Fatal(err)
	}
	again, err := train(t, dir, sets)
	if err != nil {
		t.Fatal(err)
	}
	first.Seconds, again.Seconds, first.StepsTrained = 0, 0, 0
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("a finished run started again (-first +again):\n%s", diff)
	}
}

// While a run is trained, nobody else can train it; afterwards it can.
func TestTrain_SecondProcess(t *testing.T) {
	prepared := corpus(t, 1)
	sets := settings(prepared)
	dir := filepath.Join(folder(t), "run")
	lock, err := takeover(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = train(t, dir, sets)
	if record.CodeOf(err) != record.NotPermitted || !strings.Contains(fmt.Sprint(err), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("error %v, want 77 with the owner's pid", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := train(t, dir, sets); err != nil {
		t.Error(err)
	}
}

func takeover(dir string) (*record.Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return record.Acquire(dir)
}

// A run that was killed between its last save and the removal of older checkpoints removes them when it is started again.
func TestResume_PrunesAfterTheLastSave(t *testing.T) {
	dir, prepared := filepath.Join(folder(t), "run"), corpus(t, 1)
	if _, err := train(t, dir, settings(prepared, "checkpoint.keep=2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, record.DoneFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := train(t, dir, settings(prepared, "checkpoint.keep=1")); err != nil {
		t.Fatal(err)
	}
	left, err := record.Checkpoints(record.OS(), dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%d checkpoints are left, want the last alone: %v", len(left), err)
	}
}
