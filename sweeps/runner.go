package sweeps

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"plasticity/record"
)

// runner is one Run. All of its state belongs to the goroutine that calls
// loop; members and the spawner talk to it through channels.
type runner struct {
	plan    *Plan
	o       Options
	jobs    []*job
	sharing Sharing
	spawner *spawner
	ended   chan exited
	live    liveLine
	metrics *sweepMetrics
	began   time.Time

	todo     int // cells that were open at the beginning
	starts   int
	retries  int
	stopping bool
	stopped  time.Time // when it was asked to
	killed   bool
	// broken is why the sweep was given up.
	broken error
}

func newRunner(plan *Plan, o Options) *runner {
	r := &runner{plan: plan, o: o, ended: make(chan exited), live: liveLine{out: o.Console, tty: o.TTY}, began: time.Now()}
	for _, cell := range plan.Cells {
		r.jobs = append(r.jobs, &job{cell: cell, log: newMemberLog(cell.Dir, o.LogLimit)})
	}
	r.metrics = newSweepMetrics(plan)
	return r
}

// say prints one line for people.
func (r *runner) say(format string, args ...any) { r.live.say(format, args...) }

// prepare reads what is done and what has failed; no process is needed for it.
func (r *runner) prepare(ctx context.Context) error {
	for _, j := range r.jobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch state, cause := stateOf(j.cell); {
		case state == record.StateDone:
			j.phase = finished
		case state == record.StateFailed && !r.o.RetryFailed:
			j.phase = failed
			j.fault = cause
		default:
			j.tokensBefore = lastMetric(j.cell).Tokens
			j.tokens = j.tokensBefore
		}
	}
	// A cell that waits for another says nothing of its own.
	r.todo = r.count(func(j *job) bool { return !j.phase.ended() && r.standing(j) == ready })
	return nil
}

// setUp makes the folders and decides how the cores are shared out. A signal
// while the speed is measured stops the sweep before it began.
func (r *runner) setUp(ctx context.Context) error {
	if err := record.MkdirAll(r.o.FS, filepath.Join(r.plan.Dir, hiddenDir, "cells")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shared := make(chan error, 1)
	go func() {
		sharing, err := r.plan.share(ctx, r.o)
		r.sharing = sharing
		shared <- err
	}()
	var err error
	select {
	case err = <-shared:
	case <-r.o.Signals:
		r.stopping = true
		cancel()
		err = <-shared
	}
	if r.stopping {
		return r.verdict()
	}
	if err != nil {
		return err
	}
	r.began = time.Now() // measuring is over
	r.say("grid %s: %d of %d cells to do, %s", r.plan.Name, r.open(), len(r.jobs), r.sharing)
	r.say("grid %s: %s", r.plan.Name, r.startText(time.Now()))
	return nil
}

// open counts the jobs that have not ended.
func (r *runner) open() int {
	return r.count(func(j *job) bool { return !j.phase.ended() })
}

func (r *runner) count(is func(*job) bool) int {
	n := 0
	for _, j := range r.jobs {
		if is(j) {
			n++
		}
	}
	return n
}

func isRunning(j *job) bool { return j.phase == running }

// loop runs until every job has ended. It is the one place where things happen.
func (r *runner) loop(ctx context.Context) {
	r.spawner = newSpawner()
	defer r.spawner.close()
	tick := time.NewTicker(r.o.Tick)
	defer tick.Stop()
	var grace <-chan time.Time
	cancelled := ctx.Done()
	for {
		r.startDue(ctx)
		if r.open() == 0 {
			break
		}
		select {
		case e := <-r.ended:
			r.onEnded(e.job, e.end)
		case <-r.nextDue():
		case <-tick.C:
			r.onTick()
		case s := <-r.o.Signals:
			if !r.stopping || time.Since(r.stopped) > record.SameStop {
				grace = r.onStop(s.String())
			}
		case <-cancelled:
			cancelled = nil
			grace = r.onStop("cancelled")
		case <-grace:
			r.say("members did not stop within %s: killing them", r.o.Grace)
			r.killAll()
		}
	}
	r.onTick()
	r.live.clear()
}

// nextDue fires when the first waiting job becomes due; never when none waits.
func (r *runner) nextDue() <-chan time.Time {
	var first time.Time
	for _, j := range r.jobs {
		if j.phase == waiting && !j.due.IsZero() && (first.IsZero() || j.due.Before(first)) {
			first = j.due
		}
	}
	// Jobs without a date wait for room or for a verdict: an end or a tick.
	if first.IsZero() || r.stopping {
		return nil
	}
	if pause := time.Until(first); pause > 0 {
		return time.After(pause)
	}
	return nil
}

// startDue starts what is due while there is room, and gives the sweep up when
// nothing in it works.
func (r *runner) startDue(ctx context.Context) {
	if r.stopping {
		r.leaveWaiting()
		return
	}
	switch r.outlook() {
	case hopeless:
		r.giveUp()
		return
	case unclear:
		return
	case fine:
	}
	now := time.Now()
	for _, j := range r.jobs {
		if j.phase != waiting {
			continue
		}
		standing := r.standing(j)
		if standing == orphaned {
			r.end(j, left)
			continue
		}
		if standing == blocked || j.due.After(now) {
			continue
		}
		if !r.room(j) {
			break
		}
		r.start(ctx, j)
		if r.outlook() != fine {
			break
		}
	}
}

// standing is how a job stands to the one that it needs.
type standing int

const (
	// ready: it needs none, or that one is done.
	ready standing = iota
	// blocked: that one is not done yet.
	blocked
	// orphaned: that one has failed, or was left.
	orphaned
)

func (r *runner) standing(j *job) standing {
	if j.cell.Needs == none {
		return ready
	}
	switch need := r.jobs[j.cell.Needs]; {
	case need.phase == finished:
		return ready
	case need.phase.ended():
		return orphaned
	}
	return blocked
}

// room says whether another member fits: members are counted, and threads, so
// that a run that is continued with more threads than a share does not make
// the machine do two things at once.
func (r *runner) room(next *job) bool {
	members, threads := 0, 0
	for _, j := range r.jobs {
		if j.phase == running {
			members++
			threads += j.cell.Threads
		}
	}
	if members == 0 {
		return true
	}
	if r.o.Jobs > 0 {
		return members < r.o.Jobs
	}
	most := r.sharing.Members
	if r.sharing.isBrief(next.cell) {
		most = r.sharing.Cores
	}
	return members < most && threads+threadsFor(next.cell, r.sharing) <= r.sharing.Cores
}

// start begins an attempt at a job, unless somebody else works on it or has
// just finished it.
func (r *runner) start(ctx context.Context, j *job) {
	if j.claim == nil && !r.take(j) {
		return
	}
	j.cell.Threads, j.cell.Listen = threadsFor(j.cell, r.sharing), r.o.MemberListen
	j.from = stepOf(r.o.FS, j.cell)
	j.starts++
	r.starts++
	r.metrics.starts.Inc()
	if j.fault.any() {
		r.retries++
		r.metrics.retries.Inc()
	}
	if err := r.launch(ctx, j); err != nil {
		code := record.CodeOf(err)
		r.onEnded(j, ending{code: code, what: "it could not be started: " + err.Error()})
		return
	}
	j.phase, j.began = running, time.Now()
	// Descendants are many and short: the line of progress counts them.
	if j.cell.Kind == Pretrain {
		r.say("start %s (%s)%s, pid %d", j.cell.ID, j.cell.Label(), fromText(j.from), j.cmd.Process.Pid)
	}
}

func fromText(step int64) string {
	if step <= 0 {
		return ""
	}
	return fmt.Sprintf(" from step %d", step)
}

// take claims the cell and looks again at what is on disk: another runner may
// have been at work since the last look. It says whether to go on.
func (r *runner) take(j *job) bool {
	if state, _ := stateOf(j.cell); state == record.StateDone {
		r.end(j, finished)
		return false
	}
	claim, blockedBy, err := r.plan.claim(r.o.FS, j.cell)
	if err != nil {
		r.onEnded(j, ending{code: record.CodeOf(err), what: "it could not be claimed: " + err.Error()})
		return false
	}
	if claim == nil {
		r.postpone(j, blockedBy)
		return false
	}
	j.claim = claim
	j.blockedBy, j.pauses = "", 0
	switch state, cause := stateOf(j.cell); {
	case state == record.StateDone:
		r.end(j, finished)
		return false
	case state == record.StateFailed && !r.o.RetryFailed:
		j.fault = cause
		r.end(j, failed)
		return false
	}
	return true
}

// postpone looks again later at a cell that somebody else works on. When that
// somebody finishes it the cell is done; when he dies it is ours.
func (r *runner) postpone(j *job, blockedBy string) {
	if j.blockedBy != blockedBy {
		r.say("wait for %s (%s): in the hands of %s", j.cell.ID, j.cell.Label(), blockedBy)
		j.blockedBy = blockedBy
	}
	j.pauses = min(j.pauses+1, 6)
	j.due = time.Now().Add(r.o.Tick / 8 << j.pauses)
}

// launch writes the config of the cell and starts its process.
func (r *runner) launch(ctx context.Context, j *job) error {
	if err := clearMarks(r.o.FS, j.cell); err != nil {
		return err
	}
	if err := forgetAddress(j.cell.Dir); err != nil {
		return err
	}
	if j.cell.trains() {
		run := j.cell.Run
		run.Threads, run.Metrics.Listen = j.cell.Threads, j.cell.Listen
		text, err := run.YAML()
		if err != nil {
			return err
		}
		if err := record.WriteFileAtomic(r.o.FS, j.cell.ConfigFile, text); err != nil {
			return err
		}
	}
	log, err := j.log.open()
	if err != nil {
		return err
	}
	// The member has its own descriptor as soon as it is started.
	defer log.Close() //nolint:errcheck // nothing is written through this one
	// A member is stopped by a signal and a grace time, never by the context.
	cmd, err := r.o.Command(context.WithoutCancel(ctx), j.cell, log)
	if err != nil {
		return err
	}
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = log
	}
	if err := r.spawner.start(cmd); err != nil {
		return err
	}
	j.cmd = cmd
	go func() { r.ended <- exited{j, await(cmd)} }()
	return nil
}

// end finishes with a job.
func (r *runner) end(j *job, p phase) {
	j.phase = p
	if j.claim != nil {
		// The kernel gives it back in any case when this process ends.
		if err := j.claim.Release(); err != nil {
			r.o.Log.Warn("release claim", "run_id", j.cell.ID, "error", err)
		}
		j.claim = nil
	}
	r.o.Log.Info("cell ended", "run_id", j.cell.ID, "phase", int(p), "cause", j.fault.cause)
}

// onStop reacts to a signal: the first one asks members to save and stop, the
// second kills them. It returns the channel that fires when the grace is over.
func (r *runner) onStop(why string) <-chan time.Time {
	if r.stopping {
		r.say("%s again: killing %d members", why, r.count(isRunning))
		r.killAll()
		return nil
	}
	r.stopping, r.stopped = true, time.Now()
	r.say("%s: asking %d members to save and stop, %s at most", why, r.count(isRunning), r.o.Grace)
	for _, j := range r.jobs {
		if j.phase == running {
			terminate(j.cmd.Process)
		}
	}
	return time.After(r.o.Grace)
}

func (r *runner) killAll() {
	r.killed = true
	for _, j := range r.jobs {
		if j.phase == running {
			kill(j.cmd.Process)
		}
	}
}

// leaveWaiting ends the jobs that a stopped sweep does not start any more.
func (r *runner) leaveWaiting() {
	for _, j := range r.jobs {
		if j.phase == waiting {
			r.end(j, left)
		}
	}
}

// onTick does what needs doing now and then.
func (r *runner) onTick() {
	speed := 0.0
	var open []Cell // by this runner or another
	for _, j := range r.jobs {
		if !j.phase.ended() {
			open = append(open, j.cell)
		}
		if j.phase != running {
			continue
		}
		if err := j.log.trim(); err != nil {
			r.o.Log.Warn("rotate log", "run_id", j.cell.ID, "error", err)
		}
		metric := lastMetric(j.cell)
		j.tokens, j.speed = metric.Tokens, float64(metric.TokensPerSecond)
		if j.speed > 0 {
			speed += j.speed
		}
	}
	if err := writeTargets(r.o.FS, r.plan, open); err != nil {
		r.o.Log.Warn("write targets", "grid", r.plan.Name, "error", err)
	}
	r.metrics.set(r.jobs, r.trained(), speed)
	r.live.show(r.progressText(speed))
}

// trained is what all cells hold together, in tokens.
func (r *runner) trained() (tokens int64) {
	for _, j := range r.jobs {
		if !j.cell.trains() {
			continue
		}
		switch j.phase {
		case finished:
			tokens += j.cell.Tokens
		case failed:
		default:
			tokens += min(j.tokens, j.cell.Tokens)
		}
	}
	return tokens
}

// summary counts what has become of the jobs.
func (r *runner) summary() Summary {
	s := Summary{Grid: r.plan.Name, Sharing: r.sharing, Cells: len(r.jobs), Starts: r.starts, Retries: r.retries}
	s.mixed = len(r.plan.bases()) < len(r.jobs)
	for _, j := range r.jobs {
		switch j.phase {
		case finished:
			s.Done++
		case failed:
			s.Failed++
			s.Failures = append(s.Failures, j.failure())
		default:
			s.Unfinished++
		}
		if j.starts > 0 && j.cell.trains() {
			s.Tokens += max(0, lastMetric(j.cell).Tokens-j.tokensBefore)
		}
	}
	seconds := time.Since(r.began).Seconds()
	s.Seconds, s.TokensPerSecond = record.Float(seconds), record.Float(float64(s.Tokens)/seconds)
	return s
}

// giveUp stops a sweep in which nothing works: the cells that showed it are
// marked failed, the others stay as they are.
func (r *runner) giveUp() {
	var shown *job
	for _, j := range r.jobs {
		if !j.fault.fresh {
			continue
		}
		if shown == nil {
			shown = j
		}
		if j.phase == waiting {
			r.abandon(j)
		}
	}
	r.broken = r.allFailed(shown)
	r.leaveWaiting()
}
