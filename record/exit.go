package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
)

// Code is an exit code of the program. The values are part of the public interface: scripts and schedulers act on them.
// 2 is never used: Go itself exits with it after a panic.
type Code int

// The exit codes.
const (
	OK           Code = 0  // done
	Failed       Code = 1  // a failure without a better name
	Usage        Code = 64 // wrong command line or configuration
	BadData      Code = 65 // bad data or checkpoint
	DeviceLost   Code = 69 // the device is gone or its context is poisoned
	Internal     Code = 70 // a bug of this program
	OutOfMemory  Code = 71 // host or device memory
	IO           Code = 74 // input/output: disk full, read or write error
	Stopped      Code = 75 // stopped early with a valid checkpoint: start me again
	NonFinite    Code = 76 // non-finite loss or gradient
	NotPermitted Code = 77 // not permitted, or owned by another process
	Mismatch     Code = 78 // the checkpoint does not match this configuration, data or program
)

// SameStop is how long after a signal to stop another one is the same wish: a scheduler may signal every process of a job, and the
// programs between pass their own on.
const SameStop = time.Second

// Codes lists every exit code in ascending order.
func Codes() []Code {
	return []Code{
		OK, Failed, Usage, BadData, DeviceLost, Internal, OutOfMemory, IO, Stopped, NonFinite, NotPermitted, Mismatch,
	}
}

// String returns what the code means, in a few words ("out of memory").
func (c Code) String() string {
	switch c {
	case OK:
		return "done"
	case Failed:
		return "failure"
	case Usage:
		return "wrong usage or config"
	case BadData:
		return "bad data or checkpoint"
	case DeviceLost:
		return "device lost"
	case Internal:
		return "internal error"
	case OutOfMemory:
		return "out of memory"
	case IO:
		return "input/output error"
	case Stopped:
		return "stopped early with a valid checkpoint, start me again"
	case NonFinite:
		return "non-finite loss or gradient"
	case NotPermitted:
		return "not permitted or owned by another process"
	case Mismatch:
		return "the checkpoint does not match this config or data"
	default:
		return fmt.Sprintf("exit code %d", int(c))
	}
}

// CodeTable returns the exit codes as text for --help, one indented line a code.
func CodeTable() string {
	var b strings.Builder
	for _, c := range Codes() {
		fmt.Fprintf(&b, "  %2d  %s\n", int(c), c)
	}
	return b.String()
}

// Failure is an error that knows the exit code it ends in. Every error that reaches the user is one.
type Failure struct {
	Code Code
	Err  error
}

// Error returns the text of the cause.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Fail returns a Failure with the given code; format and args are those of fmt.Errorf, so %w wraps.
func Fail(code Code, format string, args ...any) error {
	return &Failure{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf returns the exit code for err: that of the outermost Failure in its chain; OK for nil; otherwise by kind: a
// cancelled context is Stopped, errors of a full or broken disk are IO, denied access is NotPermitted, all else Failed.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Code
	}
	if errors.Is(err, context.Canceled) {
		return Stopped
	}
	if code := codeOfErrno(err); code != OK {
		return code
	}
	if errors.Is(err, fs.ErrPermission) {
		return NotPermitted
	}
	return Failed
}

// codeOfErrno returns the code for an operating system error in the chain of err, or OK when there is none of note.
func codeOfErrno(err error) Code {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return OK
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ESTALE:
		return IO
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		return NotPermitted
	case syscall.ENOMEM:
		return OutOfMemory
	default:
		return OK
	}
}

// FailIO wraps err, which happened while doing what, as a Failure: with the code that its kind asks for (a denied access, a
// full disk, a cancelled context), else IO. format and args say what was being done.
func FailIO(err error, format string, args ...any) error {
	code := CodeOf(err)
	if code == Failed {
		code = IO
	}
	return &Failure{Code: code, Err: fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)}
}
