package trainer

import (
	"context"

	"plasticity/data"
)

// pipelined is a Stepper whose steps can be started before the last one's result has been read, so that the
// device does not wait for the host between them. A step that is not finite is not made and nor is the one
// behind it: Wait then reports NonFinite and both are gone. State may be read only when none is on its way.
type pipelined interface {
	Stepper
	// Launch starts the next step; at most two may be on their way.
	Launch(b data.Batch, u Update) error
	// Wait is the result of the oldest one.
	Wait() (StepResult, error)
}

// flight is a step on its way.
type flight struct {
	batch  data.Batch
	update Update
}

// compute makes the step that is due. Where nothing reads the state after it, the one behind it is started
// before its result is read.
func (t *training) compute(ctx context.Context) (data.Batch, Update, StepResult, error) {
	p, ok := t.stepper.(pipelined)
	if !ok {
		f, err := t.prepare(ctx, t.step)
		if err != nil {
			return f.batch, f.update, StepResult{}, err
		}
		r, err := t.stepper.Step(ctx, f.batch, f.update)
		return f.batch, f.update, r, err
	}
	now := t.ahead
	t.ahead = nil
	if now == nil {
		var err error
		if now, err = t.launch(ctx, p, t.step); err != nil {
			return now.batch, now.update, StepResult{}, err
		}
	}
	if !t.isRead(t.step+1) && ctx.Err() == nil {
		next, err := t.launch(ctx, p, t.step+1)
		if err == nil {
			t.ahead = next
		} else if ctx.Err() == nil {
			return now.batch, now.update, StepResult{}, err
		}
	}
	r, err := p.Wait()
	if err != nil {
		t.ahead = nil
	}
	return now.batch, now.update, r, err
}

// prepare reads the batch of a step and what its schedules say.
func (t *training) prepare(ctx context.Context, step int64) (*flight, error) {
	batch, err := t.loader.Next(ctx)
	return &flight{batch, Update{LR: t.config.LRAt(step), DecayFactor: t.config.DecayFactorAt(step)}}, err
}

func (t *training) launch(ctx context.Context, p pipelined, step int64) (*flight, error) {
	f, err := t.prepare(ctx, step)
	if err == nil {
		err = p.Launch(f.batch, f.update)
	}
	return f, err
}

// isRead reports whether weights or moments are read after n steps: for a line of the record, an evaluation, a
// checkpoint.
func (t *training) isRead(n int64) bool {
	every := func(k int64) bool { return k > 0 && n%k == 0 }
	return n == 1 || n >= t.config.Steps || every(t.config.Metrics.LogEverySteps) || every(t.config.Eval.EverySteps) ||
		every(t.config.Checkpoint.EverySteps)
}
