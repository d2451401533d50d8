package sweeps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"plasticity/record"
)

// CommandFunc builds, and does not start, the process that trains a cell: see
// Cell for what it must do. Its standard output and error are log unless it
// sets others.
type CommandFunc func(ctx context.Context, c Cell, log *os.File) (*exec.Cmd, error)

// Options says how Run works. Command is required; every zero value means the
// default that is named.
type Options struct {
	Command CommandFunc
	// Probe, when given, lets Run measure how to share out the cores.
	Probe ProbeFunc
	// Jobs is how many members run at once; 0: as many as use the cores best.
	Jobs int
	// Cores to share out; 0: those this process may use.
	Cores int
	// Retries is how often a cell may fail in a row without coming further
	// before it is marked failed; 0: 3; negative: none.
	Retries int
	// Backoff is the pause before retry n (from 1); nil: DefaultBackoff.
	Backoff func(n int) time.Duration
	// Grace is how long members may take to save when the sweep is stopped,
	// before they are killed; 0: one minute.
	Grace time.Duration
	// RetryFailed starts cells again that an earlier run marked failed.
	RetryFailed bool
	// Signals stops the sweep: the first one gently, the second at once.
	Signals <-chan os.Signal
	// Listen is where the runner's own metrics are served; "": nowhere.
	Listen string
	// MemberListen is where members serve theirs; "": 127.0.0.1:0; "off": nowhere.
	MemberListen string
	// LogLimit is the size of worker.log at which it is rotated; 0: 16 MiB.
	LogLimit int64
	// Console gets progress, nil: none; TTY allows it to be redrawn.
	Console io.Writer
	TTY     bool
	// Log gets what is of interest to programs, nil: nothing.
	Log *slog.Logger
	// FS is the file system of durable writes; nil: the operating system's.
	FS record.FS
	// Tick is how often logs, addresses and progress are looked at; 0: 500 ms.
	Tick time.Duration
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.Cores <= 0 {
		o.Cores = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Retries == 0:
		o.Retries = 3
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.Backoff == nil {
		o.Backoff = DefaultBackoff
	}
	if o.Grace <= 0 {
		o.Grace = time.Minute
	}
	switch o.MemberListen {
	case "":
		o.MemberListen = "127.0.0.1:0"
	case "off":
		o.MemberListen = ""
	}
	if o.LogLimit <= 0 {
		o.LogLimit = 16 << 20
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = record.OS()
	}
	if o.Tick <= 0 {
		o.Tick = 500 * time.Millisecond
	}
	return o
}

// Summary is the outcome of a Run.
type Summary struct {
	Grid    string  `json:"grid"`
	Sharing Sharing `json:"sharing"`
	Cells   int     `json:"cells"`
	Done    int     `json:"done"`
	Failed  int     `json:"failed"`
	// Unfinished cells are neither: the sweep was stopped before their end, or what they need has failed.
	Unfinished int `json:"unfinished"`
	// Starts counts the processes that this Run started, Retries those of them
	// that followed a failure.
	Starts  int `json:"starts"`
	Retries int `json:"retries"`
	// Tokens is what this Run added to the runs, in Seconds of wall clock after
	// the speed was measured.
	Tokens          int64        `json:"tokens"`
	Seconds         record.Float `json:"seconds"`
	TokensPerSecond record.Float `json:"tokens_per_second"`
	Failures        []Failure    `json:"failures,omitempty"`

	mixed bool // cells of several kinds, so that the speed says nothing of one
}

// Run carries out a plan on this machine and returns when every cell is done or
// failed, or when it was stopped. Any number of Runs of one plan, in any number
// of processes, share the cells between them. The errors are those that the
// package comment lists; the Summary is valid with every one of them.
func Run(ctx context.Context, plan *Plan, o Options) (Summary, error) {
	if o.Command == nil {
		return Summary{}, record.Fail(record.Internal, "sweeps.Run: no Command given")
	}
	r := newRunner(plan, o.withDefaults())
	if err := r.prepare(ctx); err != nil {
		return r.summary(), err
	}
	if r.open() == 0 {
		r.say("grid %s: all %d cells have ended before, nothing to start", plan.Name, len(plan.Cells))
		return r.summary(), r.verdict()
	}
	if err := r.setUp(ctx); err != nil {
		return r.summary(), err
	}
	server, err := r.serve()
	if err != nil {
		return r.summary(), err
	}
	defer server.close()
	r.loop(ctx)
	summary := r.summary()
	r.say("%s", summary.text(time.Now()))
	return summary, r.verdict()
}

// verdict is the error of a run that has come to its end.
func (r *runner) verdict() error {
	summary := r.summary()
	switch {
	case r.broken != nil:
		return r.broken
	case r.stopping && summary.Unfinished > 0:
		return record.Fail(record.Stopped, "grid %s: stopped with %d of %d cells done: run the same command again to continue",
			r.plan.Name, summary.Done, summary.Cells)
	case summary.Failed > 0:
		first := summary.Failures[0]
		return record.Fail(record.Failed, "grid %s: %d of %d cells failed, the first is %s (%s): %s\nsee `plasticity sweep status`; `plasticity sweep retry` lets the next run try again",
			r.plan.Name, summary.Failed, summary.Cells, first.ID, first.Label, first.Cause)
	}
	return nil
}

// allFailed is the error that ends a sweep in which nothing works.
func (r *runner) allFailed(j *job) error {
	f := j.failure()
	message := fmt.Sprintf("grid %s: every cell that was started failed, so the sweep stops; %s (%s): %s", r.plan.Name, f.ID, f.Label, f.Cause)
	if len(f.Tail) > 0 {
		message += "\nthe end of " + j.log.path + ":\n  " + strings.Join(f.Tail, "\n  ")
	}
	message += "\nremove the cause, then `plasticity sweep retry` and `plasticity sweep run` again"
	return &record.Failure{Code: f.Code, Err: errors.New(message)}
}

// text is the last line that a run prints.
func (s Summary) text(now time.Time) string {
	speed := countText(int64(s.TokensPerSecond)) + " tokens/s"
	if at, ok := s.Sharing.speed(); ok && !s.mixed {
		speed += fmt.Sprintf(" (%s while it was measured)", countText(int64(at.TokensPerSecond)))
	}
	return fmt.Sprintf("grid %s: %d of %d cells done, %d failed, %d unfinished; %d starts, %d of them retries; %s tokens in %s, %s; ended %s",
		s.Grid, s.Done, s.Cells, s.Failed, s.Unfinished, s.Starts, s.Retries, countText(s.Tokens),
		durationText(float64(s.Seconds)), speed, now.Format("15:04:05"))
}
