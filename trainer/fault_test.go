package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/optim"
)

// arithmetic is a step without a model: every batch changes the values and the moments in a way that
// depends on all batches before.
type arithmetic struct {
	registry *nn.Registry
	updates  int64
}

func newArithmetic(config.Resolved) (Stepper, error) {
	r := nn.NewRegistry()
	r.Declare("weight", nn.Init{Constant: 1}, 8)
	if err := r.Build(torch.Float32, nn.Training); err != nil {
		return nil, err
	}
	return &arithmetic{registry: r}, r.Initialize(1)
}

func (a *arithmetic) Name() string              { return "arithmetic" }
func (a *arithmetic) Registry() *nn.Registry    { return a.registry }
func (a *arithmetic) Updates() int64            { return a.updates }
func (a *arithmetic) SetUpdates(n int64)        { a.updates = n }
func (a *arithmetic) Groups() []optim.Group     { return nil }
func (a *arithmetic) ISA() string               { return "" }
func (a *arithmetic) Scorer() eval.Scorer       { return nil }
func (a *arithmetic) Model() *model.Transformer { return nil }
func (a *arithmetic) Close()                    { a.registry.Close() }

func (a *arithmetic) Step(_ context.Context, b data.Batch, u Update) (StepResult, error) {
	a.updates++
	loss := 0.0
	for _, buffer := range []nn.Buffer{nn.Params, nn.ExpAvg, nn.ExpAvgSq} {
		values, err := a.registry.Read(buffer, "weight")
		if err != nil {
			return StepResult{}, err
		}
		for i := range values {
			x := math.Sin(float64(values[i])*3+float64(b.Inputs[i])) + u.LR*float64(a.updates)
			values[i] = float32(x)
			loss += x
		}
		if err := a.registry.Write(buffer, "weight", values); err != nil {
			return StepResult{}, err
		}
	}
	return StepResult{Loss: loss, GradNorm: math.Abs(loss)}, nil
}

func withArithmetic(o *Options) { o.NewStepper = newArithmetic }

// faulty is the operating system's file system, whose n-th operation fails; with forever, all later
// ones too, as for a process that has died there.
type faulty struct {
	record.FS
	mu      sync.Mutex
	at      int // 0: never
	forever bool
	err     error
	ops     int
	names   []string
}

func (f *faulty) next(op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	f.names = append(f.names, op+" "+filepath.Base(name))
	if f.at > 0 && (f.ops == f.at || f.forever && f.ops > f.at) {
		return &fs.PathError{Op: op, Path: name, Err: f.err}
	}
	return nil
}

func (f *faulty) OpenFile(name string, flag int, perm fs.FileMode) (record.File, error) {
	if err := f.next("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f, name}, nil
}

func (f *faulty) Rename(from, to string) error {
	return errors.Join(f.next("rename", to), f.unless(func() error { return f.FS.Rename(from, to) }))
}

func (f *faulty) Mkdir(name string, perm fs.FileMode) error {
	return errors.Join(f.next("mkdir", name), f.unless(func() error { return f.FS.Mkdir(name, perm) }))
}

func (f *faulty) Remove(name string) error {
	return errors.Join(f.next("remove", name), f.unless(func() error { return f.FS.Remove(name) }))
}

func (f *faulty) RemoveAll(name string) error {
	return errors.Join(f.next("remove all", name), f.unless(func() error { return f.FS.RemoveAll(name) }))
}

func (f *faulty) SyncDir(name string) error {
	return errors.Join(f.next("sync folder", name), f.unless(func() error { return f.FS.SyncDir(name) }))
}

// unless does the operation that was just counted, when it is not the one that fails.
func (f *faulty) unless(do func() error) error {
	f.mu.Lock()
	hit := f.at > 0 && (f.ops == f.at || f.forever && f.ops > f.at)
	f.mu.Unlock()
	if hit {
		return nil // next has reported it
	}
	return do()
}

type faultyFile struct {
	record.File
	fs   *faulty
	name string
}

// Write writes half of what it is given when it fails, as a disk that runs full does.
func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.fs.next("write", f.name); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.next("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func shortSettings(t testing.TB) []string {
	t.Helper()
	return settings(corpus(t, 1), "budget.steps=6", "checkpoint.every_steps=2", "checkpoint.keep=1", "metrics.log_every_steps=1")
}

// The process dies at every file operation of a run in turn. The next process ends with the bits of a
// run that nobody disturbed.
func TestTrain_DiesAtEveryOperation(t *testing.T) {
	everyOperation(t, true, errors.New("the process has died"))
}

// Every file operation in turn fails once. Either the run gets over it, or it says 74 and the next
// process ends with the same bits.
func TestTrain_FailsAtEveryOperation(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(err.Error(), func(t *testing.T) { everyOperation(t, false, err) })
	}
}

func everyOperation(t *testing.T, forever bool, fault error) {
	t.Helper()
	sets := shortSettings(t)
	calm := filepath.Join(folder(t), "calm")
	counted := &faulty{FS: record.OS()}
	through := func(f *faulty) func(*Options) { return func(o *Options) { o.FS = f } }
	if _, err := train(t, calm, sets, withArithmetic, through(counted)); err != nil {
		t.Fatal(err)
	}
	want := outcomeOf(t, calm)
	survived := 0
	parent := folder(t)
	for n := 1; n <= counted.ops; n++ {
		dir := filepath.Join(parent, fmt.Sprint(n))
		f := &faulty{FS: record.OS(), at: n, forever: forever, err: fault}
		_, err := train(t, dir, sets, withArithmetic, through(f))
		what := fmt.Sprintf("operation %d (%s)", n, f.names[min(n, len(f.names))-1])
		if err == nil {
			survived++
		} else {
			if code := record.CodeOf(err); !forever && code != record.IO {
				t.Errorf("%s: exit code %d, want 74: %v", what, code, err)
			}
			if run, openErr := record.Open(dir); openErr == nil && run.State() == record.StateDone && forever {
				continue // it died after DONE
			}
			if _, err := train(t, dir, sets, withArithmetic); err != nil {
				t.Errorf("%s: the next process: %v", what, err)
				continue
			}
		}
		if diff := cmp.Diff(want, outcomeOf(t, dir)); diff != "" {
			t.Errorf("%s (-undisturbed +resumed):\n%s", what, diff)
		}
		if left := leftovers(t, dir); forever && len(left) > 0 {
			t.Errorf("%s: left behind: %v", what, left)
		}
	}
	t.Logf("%v at each of %d operations: %d runs got over it, the others ended the same after one more start", fault, counted.ops, survived)
}

// The disk is full from some moment on: the older checkpoint stays and loads, the run says 74, and
// with space again it ends as if nothing had been.
func TestTrain_DiskFull(t *testing.T) {
	sets := shortSettings(t)
	calm, dir := filepath.Join(folder(t), "calm"), filepath.Join(folder(t), "full")
	counted := &faulty{FS: record.OS()}
	if _, err := train(t, calm, sets, withArithmetic, func(o *Options) { o.FS = counted }); err != nil {
		t.Fatal(err)
	}
	f := &faulty{FS: record.OS(), forever: true, err: syscall.ENOSPC}
	for i, name := range counted.names {
		if strings.HasPrefix(name, "write "+modelFile) {
			f.at = i + 1 // that of the last save
		}
	}
	var said strings.Builder
	_, err := train(t, dir, sets, withArithmetic, func(o *Options) { o.FS, o.Console = f, &said })
	if record.CodeOf(err) != record.IO {
		t.Fatalf("error %v, want 74", err)
	}
	if !strings.Contains(said.String(), "could not be stored") {
		t.Errorf("nothing was said of the failed save:\n%s", said.String())
	}
	c, problems, err := record.FindCheckpoint(record.OS(), dir)
	if err != nil || len(problems) > 0 || c == nil || c.Step != 4 {
		t.Fatalf("checkpoint %+v, problems %v, error %v, want that of step 4", c, problems, err)
	}
	if _, err := train(t, dir, sets, withArithmetic); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomeOf(t, calm), outcomeOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// small is a file system with few bytes left.
type small struct{ record.FS }

func (small) FreeBytes(string) (int64, error) { return 1000, nil }

func TestTrain_NotEnoughSpaceToStart(t *testing.T) {
	dir := filepath.Join(folder(t), "run")
	_, err := train(t, dir, shortSettings(t), func(o *Options) { o.FS = small{record.OS()} })
	if record.CodeOf(err) != record.IO || !strings.Contains(fmt.Sprint(err), "checkpoint.keep") {
		t.Errorf("error %v, want 74 that names checkpoint.keep", err)
	}
	if _, err := os.Stat(filepath.Join(dir, record.InfoFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("run.json is there: %v", err)
	}
}

// poisoned writes infinity into a weight before its n-th update, and looks at what the step does then.
type poisoned struct {
	Stepper
	t    *testing.T
	left int
}

func (p *poisoned) Step(ctx context.Context, b data.Batch, u Update) (StepResult, error) {
	if p.left--; p.left > 0 {
		return p.Stepper.Step(ctx, b, u)
	}
	r := p.Registry()
	name := r.Params()[0].Name
	values, err := r.Read(nn.Params, name)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range values {
		values[i] = float32(math.Inf(1))
	}
	if err := r.Write(nn.Params, name, values); err != nil {
		p.t.Fatal(err)
	}
	before := p.buffers()
	result, err := p.Stepper.Step(ctx, b, u)
	if diff := cmp.Diff(before, p.buffers()); diff != "" {
		p.t.Errorf("the step changed something before it failed:\n%s", diff)
	}
	return result, err
}

func (p *poisoned) buffers() []string {
	var out []string
	for _, b := range []nn.Buffer{nn.Params, nn.ExpAvg, nn.ExpAvgSq} {
		for _, param := range p.Registry().Params() {
			values, err := p.Registry().Read(b, param.Name)
			if err != nil {
				p.t.Fatal(err)
			}
			out = append(out, fmt.Sprint(param.Name, values))
		}
	}
	return append(out, fmt.Sprint(p.Updates()))
}

// A loss that is not finite ends the run with 76 before the update, with the batch written down and
// the last checkpoint clean.
func TestTrain_NonFinite(t *testing.T) {
	sets := settings(corpus(t, 1))
	calm, dir := filepath.Join(folder(t), "calm"), filepath.Join(folder(t), "poisoned")
	if _, err := train(t, calm, sets, stopping(5)); record.CodeOf(err) != record.Stopped {
		t.Fatal(err)
	}
	_, err := train(t, dir, sets, func(o *Options) {
		o.NewStepper = func(c config.Resolved) (Stepper, error) {
			s, err := newStepper(c)
			return &poisoned{s, t, 8}, err
		}
	})
	if record.CodeOf(err) != record.NonFinite {
		t.Fatalf("error %v, want 76", err)
	}
	t.Logf("error: %v", err)
	want, got := outcomeOf(t, calm), outcomeOf(t, dir)
	if got.Step != 5 || got.Model != want.Model || got.Optimizer != want.Optimizer {
		t.Errorf("the last checkpoint is %+v, want that of step 5: %+v", got, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, dumpFile))
	if err != nil {
		t.Fatal(err)
	}
	var d dump
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Step != 7 || len(d.Inputs) != 4*16 || !math.IsNaN(float64(d.Loss)) {
		t.Errorf("the dump says step %d, loss %v, %d tokens; want 7, NaN and 64", d.Step, d.Loss, len(d.Inputs))
	}
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, cause, ok := run.Failure(); !ok || code != record.NonFinite {
		t.Errorf("FAILED says %d %q", code, cause)
	}
	if _, err := train(t, dir, sets); err != nil {
		t.Errorf("the next process: %v", err)
	}
}

func TestFinite(t *testing.T) {
	for _, c := range []struct {
		result StepResult
		ok     bool
	}{
		{StepResult{1, 1}, true},
		{StepResult{math.NaN(), 1}, false},
		{StepResult{math.Inf(1), 1}, false},
		{StepResult{1, math.NaN()}, false},
		{StepResult{1, math.Inf(1)}, false},
	} {
		if err := finite(c.result); (err == nil) != c.ok || (err != nil && record.CodeOf(err) != record.NonFinite) {
			t.Errorf("finite(%+v) = %v", c.result, err)
		}
	}
}
