package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"plasticity/cmd/internal/request"
	"plasticity/record"
)

const workerName = "plasticity-worker"

// workerPath finds the worker: $PLASTICITY_WORKER, else beside this program.
func (a *app) workerPath() (string, error) {
	path := a.getenv("PLASTICITY_WORKER")
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", record.Fail(record.Internal, "find this program: %w", err)
		}
		if target, err := filepath.EvalSymlinks(self); err == nil {
			self = target
		}
		path = filepath.Join(filepath.Dir(self), workerName)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", record.Fail(record.Failed, "%s is not there: run make build", path)
	case err != nil:
		return "", record.Fail(record.CodeOf(err), "%s: %w", path, err)
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		return "", record.Fail(record.NotPermitted, "%s is not a program: run make build", path)
	}
	return path, nil
}

// workerCommand prepares a worker with one request; nothing is started.
func (a *app) workerCommand(command string, r any) (*exec.Cmd, error) {
	path, err := a.workerPath()
	if err != nil {
		return nil, err
	}
	text, err := request.Encode(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, command, text)
	cmd.Env = a.env
	return cmd, nil
}

// work runs the worker with the streams of this program until it ends, forwards signals to it, and turns its end into an
// error. What the worker said on standard error is not said again.
func (a *app) work(ctx context.Context, command string, r any) error {
	cmd, err := a.workerCommand(command, r)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.err
	return supervise(ctx, cmd)
}

// supervise starts cmd in its own process group, so that a terminal's ^C reaches it once, through this program; sends it
// SIGTERM when this program dies, and waits for it.
func supervise(ctx context.Context, cmd *exec.Cmd) error {
	// The kernel sends the death signal when the thread that started the child ends, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = childAttributes()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return record.Fail(record.CodeOf(err), "start %s: %w", cmd.Path, err)
	}
	done := make(chan struct{})
	stopped := make(chan bool, 1)
	go func() { stopped <- forward(ctx, cmd.Process, signals, done) }()
	err := cmd.Wait()
	close(done)
	return outcome(cmd.ProcessState, err, <-stopped)
}

// forward passes signals on until done, and tells whether one of them asked the child to stop. The end of ctx is SIGTERM.
func forward(ctx context.Context, child *os.Process, signals <-chan os.Signal, done <-chan struct{}) (stopped bool) {
	over := ctx.Done()
	for {
		select {
		case <-done:
			return stopped
		case <-over:
			over, stopped = nil, true
			_ = child.Signal(syscall.SIGTERM) // fails only when the child has ended
		case s := <-signals:
			stopped = true
			_ = child.Signal(s)
		}
	}
}

// outcome turns the end of a worker into an error with its exit code. stopped says that it was asked to stop.
func outcome(state *os.ProcessState, err error, stopped bool) error {
	if state == nil {
		return record.Fail(record.Internal, "wait for the worker: %w", err)
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return killed(status.Signal(), stopped)
	}
	code := record.Code(state.ExitCode())
	switch code {
	case record.OK:
		return nil
	case 2: // Go's own, after a panic
		return record.Fail(record.Internal, "the worker broke down, which is a bug: please report the lines above")
	}
	return &record.Failure{Code: code, Err: &toldError{fmt.Sprintf("the worker ended with %d: %s", code, code)}}
}

// killed is the error of a worker that a signal ended.
func killed(s syscall.Signal, stopped bool) error {
	switch {
	case s == syscall.SIGKILL:
		return record.Fail(record.OutOfMemory, "the worker was killed (signal 9), most likely because memory ran out: use a smaller batch.micro_sequences or model, then start it again")
	case stopped && (s == syscall.SIGTERM || s == syscall.SIGINT || s == syscall.SIGHUP):
		return record.Fail(record.Stopped, "stopped; what was not finished is not kept: start it again")
	case s == syscall.SIGTERM || s == syscall.SIGINT || s == syscall.SIGHUP:
		return record.Fail(record.Internal, "the worker was ended by somebody's signal %d (%s): start it again", int(s), s)
	}
	return record.Fail(record.Internal, "the worker died of signal %d (%s), which is a bug or a broken library: run plasticity doctor", int(s), s)
}
