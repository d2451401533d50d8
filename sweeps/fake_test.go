package sweeps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"plasticity/config"
	"plasticity/record"
)

// The test binary is also the stand-in for the worker, and for a runner that
// can be killed: it starts itself with one of these set.
const (
	fakeEnv   = "PLASTICITY_SWEEPS_TEST_WORKER"
	runnerEnv = "PLASTICITY_SWEEPS_TEST_RUNNER"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(fakeEnv); spec != "" {
		os.Exit(fakeMain(spec))
	}
	if spec := os.Getenv(runnerEnv); spec != "" {
		os.Exit(fakeRunnerMain(spec))
	}
	goleak.VerifyTestMain(m)
}

// fakeSpec is what a stand-in worker has to do.
type fakeSpec struct {
	ID, Dir, Census string
	Steps, Every    int64
	Does            string
	Pace            time.Duration
	Listen          string
	Needs           string // the folder of the cell that must be done
	NeedsID         string
	Evaluates       bool
	Result          string // the file that an analysis writes
}

// Descriptors that every stand-in inherits.
const (
	fdLife  = 3 + iota // held open for life: its other end reads EOF when all are gone
	fdReady            // one byte is written when a gate is reached
	fdGate             // read until it closes
)

// fakeMain is a trainer without a model: its weights are a hash chained over
// the steps, so that a resumed run that lost or repeated a step ends elsewhere.
func fakeMain(text string) int {
	var spec fakeSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 70
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM)
	code, err := spec.train(signals)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	return int(code)
}

func (f fakeSpec) train(signals <-chan os.Signal) (record.Code, error) {
	f.count("start")
	if f.Needs != "" && !isDone(Cell{Dir: f.Needs, ID: f.NeedsID}) {
		f.count("early")
		return record.BadData, errors.New("started before what it needs was done")
	}
	if code, err := f.misbehaveEarly(); err != nil {
		return code, err
	}
	if f.Evaluates {
		return f.evaluate()
	}
	if f.Result != "" {
		return f.analyze()
	}
	lock, err := f.own()
	if err != nil {
		return record.CodeOf(err), err
	}
	defer lock.Release()
	run, err := record.Create(record.OS(), f.Dir, record.Info{ID: f.ID, Name: "fake", Kind: "pretrain", Threads: 1}, nil, nil)
	if err != nil {
		return record.CodeOf(err), err
	}
	if _, err := lock.CleanTemp(record.OS()); err != nil {
		return record.CodeOf(err), err
	}
	if m, there := readMark(Cell{Dir: f.Dir}, record.DoneFile); there && m.ID == f.ID {
		f.count("repeated")
		return record.OK, nil
	}
	if f.Listen != "" {
		if err := os.WriteFile(run.Path(addressName), []byte("127.0.0.1:4242\n"), 0o644); err != nil {
			return record.IO, err
		}
	}
	return f.loop(run, signals)
}

// evaluate is an evaluation without a model: it goes on at its last whole answer, which depends on the problem alone.
func (f fakeSpec) evaluate() (record.Code, error) {
	lock, err := f.own()
	if err != nil {
		return record.CodeOf(err), err
	}
	defer lock.Release()
	journal, err := record.OpenJournal(record.OS(), filepath.Join(f.Dir, answersName))
	if err != nil {
		return record.CodeOf(err), err
	}
	defer journal.Close()
	for i := answered(Cell{Dir: f.Dir}); i < f.Steps; i++ {
		time.Sleep(f.Pace)
		if err := journal.Append(map[string]any{"id": i, "of": f.ID}); err != nil {
			return record.CodeOf(err), err
		}
	}
	err = record.Mark(record.OS(), f.Dir, f.ID, record.OK, "")
	return record.CodeOf(err), err
}

// own locks the folder; nobody else may have it.
func (f fakeSpec) own() (*record.Lock, error) {
	if err := record.MkdirAll(record.OS(), f.Dir); err != nil {
		return nil, err
	}
	lock, err := record.Acquire(f.Dir)
	if err != nil {
		f.count("collision")
	}
	return lock, err
}

// analyze writes its result at once, and finds it again.
func (f fakeSpec) analyze() (record.Code, error) {
	lock, err := f.own()
	if err != nil {
		return record.CodeOf(err), err
	}
	defer lock.Release()
	if _, err := lock.CleanTemp(record.OS()); err != nil {
		return record.CodeOf(err), err
	}
	time.Sleep(f.Pace * time.Duration(f.Steps))
	if f.Does == "nothing" {
		return record.OK, nil
	}
	_, err = record.WriteResult(record.OS(), filepath.Dir(f.Result), record.ResultFile{Name: filepath.Base(f.Result), Data: []byte(f.ID)})
	return record.CodeOf(err), err
}

func (f fakeSpec) loop(run *record.Run, signals <-chan os.Signal) (record.Code, error) {
	from, state, err := f.resume()
	if err != nil {
		return record.CodeOf(err), err
	}
	journal, err := record.OpenJournal(record.OS(), run.Path(record.MetricsFile))
	if err != nil {
		return record.CodeOf(err), err
	}
	defer journal.Close()
	step := from
	for step < f.Steps {
		if code, err := f.misbehave(run, from, step, signals); err != nil {
			return code, err
		}
		state = sha256.Sum256(append(state[:], byte(step), byte(step>>8)))
		step++
		time.Sleep(f.Pace) // the work
		metric := record.Metric{Step: step, Tokens: 100 * step, Loss: record.Float(1 / float64(step)), TokensPerSecond: 1000}
		if err := journal.Append(metric); err != nil {
			return record.CodeOf(err), err
		}
		stop := len(signals) > 0 && f.Does != "deaf"
		if stop || step%f.Every == 0 || step == f.Steps {
			if err := f.save(step, state[:]); err != nil {
				return record.CodeOf(err), err
			}
		}
		if stop && step < f.Steps || f.Does == "pause" && step%f.Every == 0 && step < f.Steps {
			return record.Stopped, errors.New("stopped")
		}
	}
	switch f.Does {
	case "nodone":
		return record.OK, nil
	case "other":
		return record.OK, os.WriteFile(run.Path(record.DoneFile), []byte(`{"schema":1,"id":"another","code":0}`), 0o644)
	}
	return record.OK, run.Finish()
}

// resume is where the newest checkpoint left off.
func (f fakeSpec) resume() (step int64, state [sha256.Size]byte, err error) {
	last, _, err := record.LatestCheckpoint(record.OS(), f.Dir)
	if err != nil || last == nil {
		return 0, sha256.Sum256([]byte(f.ID)), err
	}
	text, err := os.ReadFile(last.Path("state.bin"))
	if err != nil || copy(state[:], text) != len(state) {
		return 0, state, record.Fail(record.BadData, "bad state: %w", err)
	}
	return last.Step, state, nil
}

func (f fakeSpec) save(step int64, state []byte) error {
	return record.SaveCheckpoint(record.OS(), f.Dir, step, record.CheckpointMeta{RunID: f.ID}, func(d *record.CheckpointDir) error {
		return d.WriteFile("state.bin", func(w io.Writer) error {
			_, err := w.Write(state)
			return err
		})
	})
}

// misbehaveEarly fails before there is a run folder.
func (f fakeSpec) misbehaveEarly() (record.Code, error) {
	switch f.Does {
	case "usage":
		return record.Usage, errors.New("optimizer.lr: 0 is not above 0")
	case "exit1":
		return record.Failed, errors.New("libtorch is not there")
	case "stuck75":
		return record.Stopped, errors.New("stopped before the first step")
	case "flood":
		line := strings.Repeat("x", 99) + "\n"
		for range 5000 {
			_, _ = os.Stdout.WriteString(line)
		}
	}
	return record.OK, nil
}

// misbehave is what goes wrong in the middle of training.
func (f fakeSpec) misbehave(run *record.Run, from, step int64, signals <-chan os.Signal) (record.Code, error) {
	switch f.Does {
	case "panic":
		if step == 3 {
			panic("planted")
		}
	case "kill":
		if step == 3 {
			f.killSelf()
		}
	case "killsaved":
		if step == from+f.Every+1 {
			f.killSelf()
		}
	case "nan":
		if step == 5 {
			err := errors.New("the loss is NaN at step 5")
			return record.NonFinite, errors.Join(err, run.MarkFailed(record.NonFinite, err.Error()))
		}
	case "gate", "deaf":
		if step == 2 {
			return f.gate(signals)
		}
	}
	return record.OK, nil
}

func (f fakeSpec) killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// gate says that it is reached and waits until the test opens it or, for a
// trainer that listens, until it is told to stop.
func (f fakeSpec) gate(signals <-chan os.Signal) (record.Code, error) {
	if _, err := os.NewFile(fdReady, "ready").Write([]byte{1}); err != nil {
		return record.IO, err
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		_, _ = io.Copy(io.Discard, os.NewFile(fdGate, "gate"))
	}()
	if f.Does == "deaf" {
		<-opened
		return record.OK, nil
	}
	select {
	case <-opened:
		return record.OK, nil
	case <-signals:
		return record.Stopped, errors.Join(errors.New("stopped"), nil)
	}
}

// count adds a line to the census: one write in append mode, so that many
// processes can do it.
func (f fakeSpec) count(what string) {
	file, err := os.OpenFile(f.Census, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(file, "%s %s %d\n", what, f.ID, os.Getpid())
	_ = file.Close()
}

// scene is a plan of stand-ins in a temporary folder.
type scene struct {
	Root   string
	Does   []string
	Steps  int64
	Every  int64
	Pace   time.Duration
	Listen string
	Cores  int
	Needs  []int // what each cell needs; nil: all are base models
	Fresh  int   // the fine-tuning of a never-pretrained model; 0: none
	Looks  int   // the last so many are analyses

	extra [3]*os.File
}

func newScene(t *testing.T, does ...string) *scene {
	t.Helper()
	s := &scene{Root: t.TempDir(), Does: does, Steps: 20, Every: 5, Cores: 2}
	return s
}

// plan lays out the scene; the ids depend on the position alone.
func (s *scene) plan() *Plan {
	p := &Plan{Name: "scene", Claim: "it works", Root: s.Root, Dir: filepath.Join(s.Root, "scene")}
	for i, does := range s.Does {
		id := fmt.Sprintf("%016x", 0xabc000+i)
		p.Cells = append(p.Cells, Cell{
			Index: i, Kind: Pretrain, Needs: none, Base: none, ID: id, Dir: filepath.Join(p.Dir, id), ConfigFile: filepath.Join(p.claimDir(id), record.ConfigFile),
			Axes: []record.Axis{{Name: "test.does", Value: does}}, Seed: int64(i), Run: config.Run{},
			Parameters: 1000, Steps: s.Steps, Tokens: 100 * s.Steps, FLOPs: 6e6, WeightDecay: 0.1, Tau: 0.5,
		})
		if s.Needs != nil && s.Needs[i] != none {
			parent := p.Cells[s.Needs[i]]
			if i >= len(s.Does)-s.Looks {
				p.Cells[i].lookInto(parent)
				continue
			}
			p.Cells[i].comeFrom(parent, s.Fresh > 0 && i == s.Fresh)
		}
	}
	return p
}

// comeFrom makes a cell a descendant: of a base model a fine-tuning, of that an evaluation.
func (c *Cell) comeFrom(parent Cell, fresh bool) {
	c.Kind, c.Needs, c.Base, c.Task, c.Seed = Finetune, parent.Index, parent.Index, "sums", parent.Seed
	c.Lineage, c.Axes = parent.Axes, nil
	if fresh {
		c.Base, c.Lineage = none, nil
	}
	if parent.Kind == Finetune {
		c.Kind, c.Base, c.Lineage = Evaluate, parent.Base, parent.Lineage
		c.Dir = filepath.Join(parent.Dir, record.EvalDir, "sums-"+c.ID[:8])
		c.Evaluation = &Evaluation{Evaluate: config.Evaluate{Samples: 2}}
	}
}

// lookInto makes a cell an analysis of a base model.
func (c *Cell) lookInto(base Cell) {
	a := config.Analysis{Name: config.Gap}
	c.Kind, c.Needs, c.Base, c.Seed, c.Lineage, c.Axes = Analyze, base.Index, base.Index, base.Seed, base.Axes, nil
	c.Dir = filepath.Join(base.Dir, record.AnalyzeDir, a.Folder())
	c.Analysis = &Analysis{Analysis: a, Model: base.Dir, Out: c.Dir}
	c.Steps, c.Tokens, c.FLOPs = 1, 0, 0
}

func (s *scene) census() string { return filepath.Join(s.Root, "census") }

// command is the CommandFunc of the scene.
func (s *scene) command(ctx context.Context, c Cell, _ *os.File) (*exec.Cmd, error) {
	f := fakeSpec{
		ID: c.ID, Dir: c.Dir, Census: s.census(), Steps: s.Steps, Every: s.Every,
		Does: s.Does[c.Index], Pace: s.Pace, Listen: c.Listen, Evaluates: c.Kind == Evaluate,
	}
	if c.Analysis != nil {
		f.Result = filepath.Join(c.Analysis.Out, "gap.json")
	}
	if c.Needs != none {
		parent := s.plan().Cells[c.Needs]
		f.Needs, f.NeedsID = parent.Dir, parent.ID
	}
	spec, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	// Under the race detector a program sleeps a second before it exits.
	cmd.Env = append(os.Environ(), fakeEnv+"="+string(spec), runnerEnv+"=", "GORACE=atexit_sleep_ms=0")
	for _, file := range s.extra {
		if file != nil {
			cmd.ExtraFiles = append(cmd.ExtraFiles, file)
		}
	}
	return cmd, nil
}

func (s *scene) options() Options {
	listen := s.Listen
	if listen == "" {
		listen = "off"
	}
	return Options{
		Command: s.command, Cores: s.Cores, MemberListen: listen, Tick: 10 * time.Millisecond,
		Backoff: func(int) time.Duration { return time.Millisecond }, Grace: 20 * time.Second,
	}
}

// fakeRunnerMain is Run in a process of its own.
func fakeRunnerMain(text string) int {
	var s scene
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	s.extra = [3]*os.File{os.NewFile(fdLife, "life"), os.NewFile(fdReady, "ready"), os.NewFile(fdGate, "gate")}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM)
	o := s.options()
	o.Signals, o.Console = signals, os.Stderr
	summary, err := Run(context.Background(), s.plan(), o)
	if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
		return 74
	}
	return int(record.CodeOf(err))
}

// runner makes a runner process over the scene. It and its members inherit
// life and, when the scene has them, the ends of the other two pipes.
func (s *scene) runner(t *testing.T, life *os.File) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runnerEnv+"="+string(text), "GORACE=atexit_sleep_ms=0")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	cmd.ExtraFiles = []*os.File{life, cmp.Or(s.extra[1], null), cmp.Or(s.extra[2], null)}
	cmd.Stderr = testLog{t}
	return cmd
}

// testLog passes what a process prints to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// pipe makes a pipe that the test closes at its end.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// counts reads the census: how often each thing happened, by run.
func (s *scene) counts(t *testing.T, what string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(s.census())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == what {
			counts[fields[1]]++
		}
	}
	return counts
}

// digests are the final weights of every cell that is done, by id.
func digests(t *testing.T, p *Plan) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, cell := range p.Cells {
		if !isDone(cell) {
			continue
		}
		if !cell.trains() {
			name := answersName
			if cell.Kind == Analyze {
				name = "gap.json"
			}
			text, err := os.ReadFile(filepath.Join(cell.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			out[cell.ID] = string(text)
			continue
		}
		last, _, err := record.LatestCheckpoint(record.OS(), cell.Dir)
		if err != nil || last == nil || last.Step != cell.Steps {
			t.Errorf("%s is done without its last checkpoint: %v %v", cell.ID, last, err)
			continue
		}
		text, err := os.ReadFile(last.Path("state.bin"))
		if err != nil {
			t.Fatal(err)
		}
		out[cell.ID] = fmt.Sprintf("%x", text)
	}
	return out
}

// expected are the final weights of an undisturbed run, computed here.
func (s *scene) expected(p *Plan, is func(does string) bool) map[string]string {
	out := make(map[string]string)
	for i, cell := range p.Cells {
		if !is(s.Does[i]) {
			continue
		}
		state := sha256.Sum256([]byte(cell.ID))
		for step := range s.Steps {
			state = sha256.Sum256(append(state[:], byte(step), byte(step>>8)))
		}
		out[cell.ID] = fmt.Sprintf("%x", state)
	}
	return out
}

// repeat gives n times the same behaviour.
func repeat(does string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = does
	}
	return out
}

func all(string) bool { return true }
