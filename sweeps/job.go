package sweeps

import (
	"os/exec"
	"time"

	"plasticity/record"
)

// phase is where a job stands in this runner.
type phase int

const (
	// waiting: may start when it is due and there is room.
	waiting phase = iota
	// running: its member is alive.
	running
	// finished: its folder is done.
	finished
	// failed: marked FAILED, by this runner or before it.
	failed
	// left: not finished because the sweep stopped.
	left
)

// ended says that nothing more happens to a job in this phase.
func (p phase) ended() bool { return p >= finished }

// A job is a cell on its way through one runner. Only the goroutine of
// runner.loop touches it.
type job struct {
	cell  Cell
	phase phase
	log   memberLog

	// due is the earliest time of the next start.
	due time.Time
	// claim is held from the first start until the job has ended.
	claim *record.Lock
	// blockedBy says who else works on the cell; pauses counts how often this
	// runner has looked.
	blockedBy string
	pauses    int

	cmd    *exec.Cmd
	starts int
	// began is when the present attempt was started, spent how long the others took in this runner.
	began time.Time
	spent time.Duration
	// setbacks counts the attempts since the last that came further.
	setbacks int
	// from is the step at which the present attempt began.
	from int64
	// tokensBefore is what was trained before this runner, tokens what is now.
	tokensBefore, tokens int64
	// speed is what the member says of itself, in tokens a second.
	speed float64

	// fault is how the last attempt failed, the zero value after none.
	fault fault
}

// busy is how long a member has been at the job in this runner.
func (j *job) busy(now time.Time) time.Duration {
	if j.phase == running {
		return j.spent + now.Sub(j.began)
	}
	return j.spent
}

// fault is a failed attempt.
type fault struct {
	end   ending
	cause string
	// step is how far the run had come.
	step int64
	// suspect marks a failure that may be that of every cell: the process ended
	// by its own exit code and came no further than it was.
	suspect bool
	// fresh marks a failure in this Run, not one it found.
	fresh bool
}

func (f fault) any() bool { return f.end.what != "" }

// Failure is a cell that failed in a Run.
type Failure struct {
	ID    string      `json:"id"`
	Label string      `json:"label"`
	Code  record.Code `json:"code"`
	Cause string      `json:"cause"`
	// Tail is the end of the member's log.
	Tail []string `json:"tail,omitempty"`
}

func (j *job) failure() Failure {
	return Failure{ID: j.cell.ID, Label: j.cell.Label(), Code: j.fault.end.code, Cause: j.fault.cause, Tail: j.log.tail()}
}
