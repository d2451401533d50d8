package sweeps

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"plasticity/record"
)

// Action is what the runner does with a member that has ended.
type Action int

const (
	// Finish believes it: the cell is done if its folder says so, too.
	Finish Action = iota
	// Restart starts it again at once: it has saved its work.
	Restart
	// Retry starts it again after a pause, a bounded number of times.
	Retry
	// Abandon marks it failed: starting it again would end the same way.
	Abandon
)

// String gives the action as a word for messages and tests.
func (a Action) String() string {
	switch a {
	case Finish:
		return "finish"
	case Restart:
		return "restart"
	case Retry:
		return "retry"
	case Abandon:
		return "abandon"
	}
	return fmt.Sprintf("Action(%d)", int(a))
}

// A Rule says what follows from one exit code.
type Rule struct {
	Code   record.Code
	Action Action
	Why    string
}

// Rules is the retry policy of the local executor, one row an exit code.
func Rules() []Rule {
	return []Rule{
		{record.OK, Finish, "done"},
		{record.Stopped, Restart, "stopped early with a valid checkpoint"},
		{record.Failed, Retry, "unnamed failure"},
		{record.DeviceLost, Retry, "device lost"},
		{record.Internal, Retry, "internal failure"},
		{record.OutOfMemory, Retry, "out of memory"},
		{record.IO, Retry, "input/output failure"},
		{record.Usage, Abandon, "config refused"},
		{record.BadData, Abandon, "bad data or checkpoint"},
		{record.NonFinite, Abandon, "non-finite loss or gradient"},
		{record.NotPermitted, Abandon, "not permitted"},
		{record.Mismatch, Abandon, "checkpoint does not match this config or data"},
	}
}

// RuleFor is the row of code. A code without a row is a crash that nobody has
// named, and retried.
func RuleFor(code record.Code) Rule {
	for _, rule := range Rules() {
		if rule.Code == code {
			return rule
		}
	}
	return Rule{Code: code, Action: Retry, Why: "crash"}
}

// DefaultBackoff is the pause before retry n (1, 2, …): one second, doubled
// each time, one minute at most.
func DefaultBackoff(n int) time.Duration {
	const most = time.Minute
	pause := time.Second
	for ; n > 1 && pause < most; n-- {
		pause *= 2
	}
	return min(pause, most)
}

// ending is how a process ended: a code for the table and words for people.
type ending struct {
	code     record.Code
	what     string
	signaled bool
}

// endingOf reads the state of an ended process. A signal is not an exit code;
// SIGKILL is mostly the kernel's answer to memory that is not there, so it
// counts as that, and every other signal as an internal failure.
func endingOf(state *os.ProcessState) ending {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		if status.Signal() == syscall.SIGKILL {
			return ending{record.OutOfMemory, "killed by signal 9 (SIGKILL), often the kernel's answer to too little memory", true}
		}
		return ending{record.Internal, fmt.Sprintf("ended by signal %d (%s)", int(status.Signal()), status.Signal()), true}
	}
	exit := state.ExitCode()
	code := record.Code(exit)
	switch {
	case slices.Contains(record.Codes(), code):
		return ending{code: code, what: fmt.Sprintf("exit code %d (%s)", exit, code)}
	case exit == 2:
		return ending{code: record.Internal, what: "exit code 2 (a panic: the log has the stack)"}
	case exit == 128+int(syscall.SIGKILL):
		return ending{code: record.OutOfMemory, what: "exit code 137 (killed, often for too little memory)", signaled: true}
	}
	return ending{code: record.Failed, what: fmt.Sprintf("exit code %d (none of this program's)", exit)}
}
