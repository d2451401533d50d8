package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"time"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
)

// training is one run in progress.
type training struct {
	options  Options
	fsys     record.FS
	config   config.Resolved
	facts    config.DataFacts
	id       string
	dir      string
	source   source
	stepper  Stepper
	run      *record.Run
	lock     *record.Lock
	events   *record.Journal
	observer []observer
	console  *console
	server   *server
	loader   batches
	ahead    *flight // the step that was started early; nil: none

	parent     parent
	native     nativeInfo
	journal    *journal
	digest     string             // of the config in the folder
	checkpoint *record.Checkpoint // where the run goes on; nil: at its start
	notes      []string           // warnings from before there was a journal for them
	at         placement          // where it computes
	finished   bool               // the folder holds the finished run

	step      int64 // optimizer steps done
	tokens    int64 // that the loss was over in them
	began     int64 // steps that were done when this process started
	saved     int64 // step of the last checkpoint, −1: none
	chain     chain // over all steps so far
	startedAt time.Time
	last      StepEvent
}

// Train runs a config to its end, or to the first signal. The goroutine keeps its thread: libtorch's
// state belongs to it.
func Train(ctx context.Context, o Options) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := stoppable(ctx, o.Signals)
	defer cancel()
	t := &training{options: o, fsys: o.FS, saved: -1, startedAt: time.Now()}
	if t.fsys == nil {
		t.fsys = record.OS()
	}
	err := t.open(ctx)
	if err == nil {
		err = t.loop(ctx)
	}
	return t.close(err)
}

// open does everything before the first step. What is only read comes first, so that a start that is
// refused leaves the folder as it was; a run that is done already needs no more than that.
func (t *training) open(ctx context.Context) error {
	verify := func() error { return t.source.verify(ctx) }
	restore := func() error { return t.restore(ctx) }
	for _, f := range []func() error{t.resolve, t.own, t.look, t.guard, verify, t.build, t.create, restore, t.observe} {
		if err := f(); err != nil || t.finished {
			return err
		}
	}
	return nil
}

// resolve opens the data and fills in what the config left to it.
func (t *training) resolve() error {
	c := t.options.Config
	if err := c.CheckTrainable(); err != nil {
		return err
	}
	var err error
	if t.at, err = place(c); err != nil {
		return err
	}
	if t.at.note != "" {
		t.notes = append(t.notes, t.at.note)
	}
	if t.options.Program.Commit == "" {
		t.notes = append(t.notes, record.NoCommit)
	}
	base, notes, err := locateInit(&c)
	if err != nil {
		return err
	}
	t.notes = append(t.notes, notes...)
	if t.source, err = openSource(&c, base); err != nil {
		return err
	}
	t.facts = t.source.facts()
	if t.config, err = c.Resolve(t.facts); err != nil {
		return err
	}
	if c.Fresh {
		base = nil // gives shape and tokenizer alone
	}
	if t.parent, err = parentOf(base); err != nil {
		return err
	}
	t.console = newConsole(t.options.Console, t.options.TTY, t.config)
	t.id = t.config.ID(t.facts, t.parent.identity)
	if want := t.options.ID; want != "" && want != t.id {
		return record.Fail(record.Mismatch, "the config makes run %s, and run %s was planned: data, base model or program have changed since; plan it again", t.id, want)
	}
	t.dir = t.options.Out
	if t.dir == "" {
		t.dir = filepath.Join("runs", c.Name, t.id)
	}
	return nil
}

// own makes the folder and takes its lock for the life of this process.
func (t *training) own() error {
	if err := record.MkdirAll(t.fsys, t.dir); err != nil {
		return err
	}
	var err error
	if t.lock, err = record.Acquire(t.dir); err != nil {
		return err
	}
	removed, err := t.lock.CleanTemp(t.fsys)
	if err != nil {
		return err
	}
	if len(removed) > 0 {
		t.console.message("removed %d unfinished files that a stopped process left", len(removed))
	}
	return nil
}

// build makes the model and the step.
func (t *training) build() error {
	if t.options.NewStepper != nil {
		var err error
		t.stepper, err = t.options.NewStepper(t.config)
		return err
	}
	probe := t.options.probe
	if probe == nil {
		probe = torch.EngineISA
	}
	chosen, err := chooseStep(t.config.Run, t.at, probe)
	if err != nil {
		return err
	}
	if chosen.why != "" {
		t.notes = append(t.notes, chosen.why)
	}
	t.stepper, err = chosen.make(t.config)
	return err
}

// create writes the run's record, or finds that of an earlier start.
func (t *training) create() error {
	resolved, err := t.config.YAML()
	if err != nil {
		return err
	}
	if t.native, err = describe(t.stepper); err != nil {
		return err
	}
	if t.run, err = record.Create(t.fsys, t.dir, t.info(), t.options.Given, resolved); err != nil {
		return err
	}
	if err := t.run.ClearFailed(); err != nil {
		return err
	}
	if err := t.source.keepTokenizer(t.fsys, t.run, t.config.Model.Context); err != nil {
		return err
	}
	if t.events, err = record.OpenJournal(t.fsys, t.run.Path(record.EventsFile)); err != nil {
		return err
	}
	t.digest, err = t.configDigest()
	return err
}

// configDigest is the SHA-256 of the config that the folder was made with.
func (t *training) configDigest() (string, error) {
	text, err := record.ReadFile(t.fsys, t.run.Path(record.ResolvedFile), maxConfig)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// info is what run.json says of this run.
func (t *training) info() record.Info {
	c := t.config
	info := record.Info{
		ID: t.id, Name: c.Name, Grid: t.options.Grid, Kind: t.source.kind(), Task: t.facts.Task, Seed: c.Seed, Axes: t.options.Axes,
		Commit: t.options.Program.Commit, Dirty: t.options.Program.Dirty, Program: t.options.Program.Version,
		Shim: t.native.Shim, Libtorch: t.native.Libtorch, CPU: t.native.CPU, Device: t.native.Device, Precision: c.Precision, Step: t.stepper.Name(), ISA: t.stepper.ISA(), Threads: Threads(c.Run),
		Started: time.Now().UTC().Format(time.RFC3339), Model: modelName(c.Model),
		Parameters: c.Model.Parameters(), Tokens: c.TokensTotal, Steps: c.Steps, TokensPerStep: c.TokensPerStep,
		LearningRate: record.Float(c.Optimizer.LR), WeightDecay: record.Float(c.WeightDecay), Tau: record.Float(c.Tau),
		DataSource: t.facts.Source, DataDigest: t.facts.TrainDigest, ValDigest: t.facts.ValDigest,
		TokenizerDigest: t.facts.TokenizerDigest, TrainTokens: t.facts.TrainTokens, ValTokens: t.facts.ValTokens,
	}
	if t.parent.run != "" {
		info.Parents = []string{t.parent.run}
	}
	for _, g := range t.stepper.Groups() {
		group := record.DecayGroup{WeightDecay: record.Float(g.WeightDecay)}
		for _, p := range g.Params {
			group.Parameters = append(group.Parameters, p.Name)
		}
		info.DecayGroups = append(info.DecayGroups, group)
	}
	return info
}

// close ends the run: marks it, lets go of everything, and says how it went.
func (t *training) close(err error) (Result, error) {
	seconds := time.Since(t.startedAt).Seconds()
	var closers []error
	if t.loader != nil {
		closers = append(closers, t.loader.Close())
	}
	for _, o := range t.observer {
		closers = append(closers, o.close())
	}
	if t.run != nil {
		closers = append(closers, t.mark(err))
	}
	if t.events != nil {
		closers = append(closers, t.events.Close())
	}
	if t.stepper != nil {
		t.stepper.Close()
	}
	if t.lock != nil {
		closers = append(closers, t.lock.Release())
	}
	if err = errors.Join(append([]error{err}, closers...)...); err != nil {
		return Result{}, err
	}
	result := Result{
		Dir: t.dir, ID: t.id, Steps: t.step, Tokens: t.tokens,
		Loss: t.last.Loss, ValLoss: math.NaN(), BitsPerByte: math.NaN(), Seconds: seconds, StepsTrained: t.step - t.began,
	}
	if v := t.last.Evaluation; v != nil {
		result.ValLoss, result.BitsPerByte = v.Loss, v.BitsPerByte
	}
	return result, nil
}

// mark writes how the run ended: nothing for a stop that can go on, FAILED for what does not heal.
func (t *training) mark(err error) error {
	switch code := record.CodeOf(err); code {
	case record.OK:
		return nil // the loop has written DONE
	case record.Stopped, record.NotPermitted:
		return nil
	default:
		t.event(record.EventFail, fmt.Sprintf("exit code %d: %v", int(code), err))
		return t.run.MarkFailed(code, err.Error())
	}
}
