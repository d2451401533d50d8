package sweeps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"plasticity/record"
)

// onEnded decides what follows from the end of an attempt at a job. The order
// of the questions matters: a finished run is finished whatever the process
// said last, and a stopped sweep starts nothing again.
func (r *runner) onEnded(j *job, end ending) {
	j.spent = j.busy(time.Now())
	j.phase, j.cmd = waiting, nil
	r.metrics.ended(end.code, 1)
	r.tidy(j)
	if a := j.cell.Analysis; a != nil && end.code == record.OK {
		if err := a.conclude(r.o.FS, j.cell); err != nil {
			end = ending{code: record.CodeOf(err), what: err.Error()}
		}
	}
	if isDone(j.cell) {
		j.fault = fault{}
		r.end(j, finished)
		if j.cell.Kind == Pretrain {
			r.say("done %s (%s) %s%s", j.cell.ID, j.cell.Label(), lossText(j.cell), r.doneText())
		}
		return
	}
	action := RuleFor(end.code).Action
	if action == Finish {
		end, action = ending{code: record.Internal, what: "exit code 0, but the run has no DONE"}, Retry
		if m, there := readMark(j.cell, record.DoneFile); there && m.ID != "" {
			// Most likely a PLASTICITY_ variable that the member took over the config.
			end = ending{code: record.Mismatch, what: fmt.Sprintf("it trained run %.32q, not this cell", m.ID)}
			action = Abandon
			r.unmark(j) // its DONE is about another run
		}
	}
	if end.code == record.NotPermitted {
		if owner, held := record.Holder(j.cell.Dir); held {
			r.postpone(j, "another process, "+owner.String())
			return
		}
	}
	if r.killed || r.stopping && action != Abandon {
		r.unmark(j)
		r.end(j, left)
		return
	}
	r.note(j, end)
	r.follow(j, action)
}

// tidy puts the folder of an ended member in order.
func (r *runner) tidy(j *job) {
	j.tokens = lastMetric(j.cell).Tokens
	if err := forgetAddress(j.cell.Dir); err != nil {
		r.o.Log.Warn("remove address", "run_id", j.cell.ID, "error", err)
	}
	if err := j.log.trim(); err != nil {
		r.o.Log.Warn("rotate log", "run_id", j.cell.ID, "error", err)
	}
}

// note keeps how the attempt failed and whether it came further than the last.
func (r *runner) note(j *job, end ending) {
	step := stepOf(r.o.FS, j.cell)
	if step > j.from {
		j.setbacks = 0
	} else {
		j.setbacks++
	}
	cause := end.what
	if m, there := readMark(j.cell, record.FailedFile); there && m.Cause != "" {
		cause += ": " + printable(m.Cause, 1000)
	} else if tail := j.log.tail(); len(tail) > 0 && end.code != record.Stopped {
		cause += ": " + telling(tail)
	}
	j.fault = fault{
		end: end, cause: cause, fresh: true, step: max(step, lastMetric(j.cell).Step),
		suspect: step <= j.from && !end.signaled && end.code != record.Stopped,
	}
}

// telling picks the line of a log's end that says what happened: the last that
// announces an error, else the last.
func telling(tail []string) string {
	for _, line := range slices.Backward(tail) {
		for _, start := range []string{"error:", "Error:", "panic:", "fatal error:", "terminate called"} {
			if strings.HasPrefix(line, start) {
				return line
			}
		}
	}
	return tail[len(tail)-1]
}

// follow does what the table of exit codes asks for.
func (r *runner) follow(j *job, action Action) {
	switch {
	case action == Abandon:
		r.abandon(j)
	case j.setbacks > r.o.Retries:
		j.fault.cause = fmt.Sprintf("%d attempts in a row came no further: %s", j.setbacks, j.fault.cause)
		r.abandon(j)
	case action == Restart:
		r.unmark(j)
		j.due = time.Time{}
		r.say("restart %s (%s): %s", j.cell.ID, j.cell.Label(), j.fault.cause)
	default:
		r.unmark(j)
		pause := r.o.Backoff(max(1, j.setbacks))
		j.due = time.Now().Add(pause)
		r.say("retry %s (%s) in %s: %s", j.cell.ID, j.cell.Label(), pause, j.fault.cause)
	}
}

// unmark takes a FAILED of the worker away from a cell that will be tried again:
// should this runner die, the next one must not take it for final.
func (r *runner) unmark(j *job) {
	if err := clearMarks(r.o.FS, j.cell); err != nil {
		r.o.Log.Warn("clear marks", "run_id", j.cell.ID, "error", err)
	}
}

// abandon marks a cell failed. The others go on.
func (r *runner) abandon(j *job) {
	if err := markFailed(r.o.FS, j.cell, j.fault.end.code, j.fault.cause); err != nil {
		r.say("cannot mark %s as failed: %v", j.cell.ID, err)
	}
	r.say("failed %s (%s): %s", j.cell.ID, j.cell.Label(), j.fault.cause)
	r.end(j, failed)
}

// outlook says whether it makes sense to start another member.
type outlook int

const (
	// fine: nothing speaks against it.
	fine outlook = iota
	// unclear: all that ended failed alike, but others are still on their way.
	unclear
	// hopeless: every member failed and none is left that could prove otherwise.
	hopeless
)

// outlook looks for a failure that is that of every cell: a broken program, a
// missing library, a config that no member accepts. It is there when everything
// that ended in this run failed (at least two cells with the same code, three
// with different ones, or all there were), nothing has ever succeeded, and no
// member that is running has come further than all that failed. While some are
// still running nothing new is started; healthy members are never stopped.
func (r *runner) outlook() outlook {
	var codes []record.Code
	alike, final, furthest, alive := true, 0, int64(0), 0
	for _, j := range r.jobs {
		switch {
		case j.phase == finished:
			return fine
		case j.phase == running:
			alive++
		case j.fault.fresh && (j.phase == failed || j.fault.suspect):
			codes = append(codes, j.fault.end.code)
			alike = alike && j.fault.end.code == codes[0]
			furthest = max(furthest, j.fault.step)
			if j.phase == failed {
				final++
			}
		}
	}
	enough := 3
	if alike {
		enough = 2
	}
	// A single cell gets all its retries before it counts as all of them.
	if len(codes) < enough && final < r.todo || len(codes) == 0 {
		return fine
	}
	if alive == 0 {
		return hopeless
	}
	for _, j := range r.jobs {
		if j.phase == running && lastMetric(j.cell).Step > furthest {
			return fine
		}
	}
	return unclear
}
