package trainer

import (
	"context"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"plasticity/data"
	"plasticity/eval"
	"plasticity/record"
)

// loop trains from the current step to the end.
func (t *training) loop(ctx context.Context) error {
	if t.run.State() == record.StateDone {
		t.console.message("run %s is done already", t.id)
		return t.reread()
	}
	if err := t.load(); err != nil {
		return err
	}
	for t.step < t.config.Steps {
		if stop := t.stopping(ctx); stop != "" {
			return t.stop(stop)
		}
		if err := t.advance(ctx); err != nil {
			return err
		}
	}
	return t.finish()
}

// load starts the loader at the current step: the cursor of the data is the step itself.
func (t *training) load() error {
	var err error
	t.loader, err = data.NewLoader(t.train, data.LoaderOptions{
		Context: t.config.Model.Context, Sequences: t.config.Batch.Sequences, Vocab: t.config.Model.Vocab,
		Seed: t.config.Seed, Order: t.config.Data.Order, Start: t.step,
	})
	return err
}

// advance makes one optimizer step and what is due after it.
func (t *training) advance(ctx context.Context) error {
	start := time.Now()
	batch, err := t.loader.Next(ctx)
	if err != nil {
		return err
	}
	update := Update{LR: t.config.LRAt(t.step), DecayFactor: t.config.DecayFactorAt(t.step)}
	result, err := t.stepper.Step(batch, update)
	if err != nil {
		return t.failedStep(batch, result, err)
	}
	t.step++
	e := StepEvent{
		Step: t.step, Tokens: t.step * t.config.TokensPerStep, Loss: result.Loss, GradNorm: result.GradNorm,
		LearningRate: update.LR, WeightDecay: update.DecayFactor * t.config.WeightDecay,
		ParamNorm: math.NaN(), Seconds: time.Since(start).Seconds(), Logged: t.due(t.config.Metrics.LogEverySteps) || t.step == t.began+1,
	}
	if t.due(t.config.Eval.EverySteps) {
		if e.Evaluation, err = t.evaluate(ctx); err != nil {
			return err
		}
	}
	if err := t.publish(e); err != nil {
		return err
	}
	if t.due(t.config.Checkpoint.EverySteps) {
		return t.save()
	}
	return nil
}

// due reports whether something that happens every n steps, and at the last one, happens now.
func (t *training) due(n int64) bool {
	return t.step == t.config.Steps || (n > 0 && t.step%n == 0)
}

// publish shows a step to the observers in order.
func (t *training) publish(e StepEvent) error {
	e.Logged = e.Logged || e.Evaluation != nil
	if e.Logged {
		norm, err := t.stepper.Registry().ParamNorm()
		if err != nil {
			return err
		}
		e.ParamNorm = norm
	}
	t.last = e
	for _, o := range t.observer {
		if err := o.step(e); err != nil {
			return err
		}
	}
	return nil
}

// evaluate measures the validation loss on the same windows every time; nothing of the training
// stream moves.
func (t *training) evaluate(ctx context.Context) (*Evaluation, error) {
	if t.val == nil || t.stepper.Model() == nil {
		return nil, nil //nolint:nilnil // no validation is not an error
	}
	loss, err := eval.Loss(ctx, t.stepper.Model(), t.val, t.config.Eval.Tokens, t.config.Batch.MicroSequences)
	if err != nil {
		return nil, err
	}
	return &Evaluation{Loss: loss.NatsPerToken, BitsPerByte: loss.BitsPerByte, Tokens: loss.Tokens}, nil
}

// finish marks a run that has reached its last step. Its last checkpoint is stored by now.
func (t *training) finish() error {
	if t.saved != t.step {
		return record.Fail(record.IO, "the last checkpoint of %s could not be stored: free space and start the run again", t.dir)
	}
	for _, o := range t.observer {
		if j, ok := o.(*journal); ok {
			if err := j.sync(); err != nil {
				return err
			}
		}
	}
	t.event("done", "")
	if err := t.run.Finish(); err != nil {
		return err
	}
	t.console.done(t.last, time.Since(t.startedAt), t.dir)
	return nil
}

// reread fills in the last event of a run that was finished by an earlier process.
func (t *training) reread() error {
	metrics, _, err := t.run.Metrics()
	if err != nil || len(metrics) == 0 {
		return err
	}
	m := metrics[len(metrics)-1]
	t.step, t.began = m.Step, m.Step
	t.last = StepEvent{Step: m.Step, Tokens: m.Tokens, Loss: float64(m.Loss)}
	if m.ValLoss != nil && m.ValBitsPerByte != nil {
		t.last.Evaluation = &Evaluation{Loss: float64(*m.ValLoss), BitsPerByte: float64(*m.ValBitsPerByte)}
	}
	return nil
}

// stopping names the signal or cancellation that has come, if any.
func (t *training) stopping(ctx context.Context) string {
	select {
	case s := <-t.options.Signals:
		return signalName(s)
	case <-ctx.Done():
		return "cancelled"
	default:
		return ""
	}
}

// stop saves at the step boundary and gives the exit code that asks for another start. A second
// signal while it saves is left to cmd, which then ends the process at once: the unfinished
// checkpoint has no name yet and the older one stays.
func (t *training) stop(why string) error {
	t.event("signal", why)
	if t.saved != t.step && t.step > 0 {
		if err := t.save(); err != nil {
			return err
		}
	}
	t.event("stop", why)
	if t.saved != t.step && t.step > 0 {
		return record.Fail(record.IO, "stopped by %s at step %d of %d, but the checkpoint could not be stored: the last one is step %d", why, t.step, t.config.Steps, t.saved)
	}
	return record.Fail(record.Stopped, "stopped by %s at step %d of %d with a valid checkpoint: start the same command again to go on", why, t.step, t.config.Steps)
}

func signalName(s os.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGUSR1:
		return "SIGUSR1"
	case syscall.SIGHUP:
		return "SIGHUP"
	default:
		return fmt.Sprint(s)
	}
}

// event appends to the run's events. An event that cannot be written is kept by the journal and
// tried again; training does not stop for it.
func (t *training) event(kind, detail string) {
	e := record.Event{Time: time.Now().UTC().Format(time.RFC3339), Kind: kind, Step: t.step, Detail: detail}
	if err := t.events.Append(e); err != nil {
		t.console.message("the event %s could not be recorded: %v", kind, err)
	}
}
