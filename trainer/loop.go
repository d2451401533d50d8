package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"plasticity/data"
	"plasticity/eval"
	"plasticity/record"
)

// loop trains from the current step to the end.
func (t *training) loop(ctx context.Context) error {
	if t.finished {
		t.console.message("run %s is done already, in %s", t.id, t.dir)
		return t.reread()
	}
	err := t.catchUp(ctx)
	if err == nil {
		err = t.load()
	}
	for err == nil && t.step < t.config.Steps {
		err = t.advance(ctx)
	}
	switch {
	case err == nil:
		return t.finish()
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return t.stop(ctx)
	default:
		return err
	}
}

// load starts the loader at the current step: the cursor of the data is the step itself.
func (t *training) load() error {
	var err error
	t.loader, err = t.source.load(t.config, t.step)
	return err
}

// advance makes one optimizer step and what is due after it. Its error is the context's when a
// signal has come; every step that was counted is then complete.
func (t *training) advance(ctx context.Context) error {
	if err := ctx.Err(); err != nil && t.ahead == nil {
		return err
	}
	start := time.Now()
	batch, update, result, err := t.compute(ctx)
	if err != nil {
		return t.failedStep(batch, result, err)
	}
	t.step++
	counted := int64(batch.Counted())
	t.tokens += counted
	t.chain = t.chain.after(batch, result)
	seconds := time.Since(start).Seconds()
	e := StepEvent{
		Step: t.step, Tokens: t.tokens, Loss: result.Loss, GradNorm: result.GradNorm,
		LearningRate: update.LR, WeightDecay: update.DecayFactor * t.config.WeightDecay, ParamNorm: math.NaN(),
		Seconds: seconds, TokensPerSecond: float64(counted) / seconds, FLOPs: t.flops(batch),
		Logged: t.step == 1 || t.due(t.config.Metrics.LogEverySteps) || t.due(t.config.Eval.EverySteps),
	}
	var stopped error
	if t.due(t.config.Eval.EverySteps) {
		e.Evaluation, stopped = t.evaluate(ctx)
		if stopped != nil && ctx.Err() == nil {
			return stopped
		}
	}
	if err := t.publish(e); err != nil || stopped != nil {
		return errors.Join(err, stopped)
	}
	if t.due(t.config.Checkpoint.EverySteps) {
		return t.save()
	}
	return nil
}

// flops counts the operations of a step as it is computed, padding included.
func (t *training) flops(b data.Batch) float64 {
	shape := graphShape{b.Sequences(), b.Time}
	if g, ok := t.stepper.(*graph); ok {
		shape = g.shape
	}
	_, causal := t.config.Model.FLOPsPerToken(shape.time)
	return causal * float64(shape.sequences) * float64(shape.time)
}

// due reports whether something that happens every n steps, and at the last one, happens now.
func (t *training) due(n int64) bool {
	return t.step == t.config.Steps || (n > 0 && t.step%n == 0)
}

// publish shows a step to the observers in order.
func (t *training) publish(e StepEvent) error {
	if e.Logged = e.Logged || e.Evaluation != nil; e.Logged {
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

// evaluate measures the validation loss on the same sequences every time; nothing of the training
// stream moves.
func (t *training) evaluate(ctx context.Context) (*Evaluation, error) {
	scorer, text := t.stepper.Scorer(), t.source.validation()
	if text == nil || scorer == nil {
		return nil, nil //nolint:nilnil // no validation is not an error
	}
	loss, err := eval.Loss(ctx, scorer, text, t.config.Eval.Tokens, t.config.Batch.MicroSequences)
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
	if err := t.journal.flush(); err != nil {
		return err
	}
	if t.began == t.step { // an earlier process may have been killed between its last save and the removal of older ones
		t.prune()
	}
	t.event(record.EventDone, "")
	if err := t.run.Finish(); err != nil {
		return err
	}
	t.console.done(t.last, time.Since(t.startedAt), t.dir)
	return nil
}

// event appends to the run's events. An event that cannot be written is kept by the journal and
// tried again; training does not stop for it.
func (t *training) event(kind, detail string) {
	if t.events == nil {
		return
	}
	e := record.Event{Time: time.Now().UTC().Format(time.RFC3339), Kind: kind, Step: t.step, Detail: detail}
	if err := t.events.Append(e); err != nil {
		t.console.message("the event %s could not be recorded: %v", kind, err)
	}
}

// warn tells people and the record of something that does not stop the run.
func (t *training) warn(format string, args ...any) {
	t.event(record.EventWarning, fmt.Sprintf(format, args...))
	t.console.message("warning: "+format, args...)
}
