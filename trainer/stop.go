package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"plasticity/record"
)

// stoppable is a context that the first signal cancels, with the signal's name as the cause. The
// function that it returns lets go of the channel.
func stoppable(ctx context.Context, signals <-chan os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case s := <-signals:
			cancel(errors.New(signalName(s)))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-finished
	}
}

// stop saves what is done and gives the exit code that asks for another start. A second signal while
// it saves is left to cmd, which then ends the process at once: the unfinished checkpoint has no
// name yet and the older one stays.
func (t *training) stop(ctx context.Context) error {
	why := context.Cause(ctx).Error()
	t.event(record.EventSignal, why)
	if t.saved != t.step && t.step > 0 {
		if err := t.save(); err != nil {
			return err
		}
	}
	t.event(record.EventStop, why)
	if t.saved != t.step && t.step > 0 {
		return record.Fail(record.IO, "stopped by %s at step %d of %d, and the checkpoint could not be stored (the last one is of step %d): free space in %s and start the same command again", why, t.step, t.config.Steps, max(t.saved, 0), t.dir)
	}
	return record.Fail(record.Stopped, "stopped by %s at step %d of %d with everything saved: start the same command again to go on", why, t.step, t.config.Steps)
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
