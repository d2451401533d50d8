package sweeps

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"plasticity/record"
)

// WatchOptions says how Watch shows a sweep.
type WatchOptions struct {
	Out io.Writer
	// TTY redraws one table; without it a line is printed for each change.
	TTY bool
	// Every is the pause between two looks; 0: one second.
	Every time.Duration
	// Ticks replaces the clock in tests.
	Ticks <-chan time.Time
}

// Watch shows the state of a plan until every cell is done or failed, or until
// ctx ends, which is no error. It only reads.
func Watch(ctx context.Context, plan *Plan, o WatchOptions) error {
	ticks := o.Ticks
	if ticks == nil {
		if o.Every <= 0 {
			o.Every = time.Second
		}
		ticker := time.NewTicker(o.Every)
		defer ticker.Stop()
		ticks = ticker.C
	}
	view := watchView{out: o.Out, tty: o.TTY, seen: make(map[string]record.State)}
	for {
		status, err := plan.Status()
		if err != nil {
			return err
		}
		if err := view.show(status, time.Now()); err != nil {
			return err
		}
		if status.Finished() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
	}
}

// watchView remembers what is on the screen.
type watchView struct {
	out  io.Writer
	tty  bool
	seen map[string]record.State
	last time.Time
}

func (v *watchView) show(s Status, now time.Time) error {
	if v.tty {
		return v.redraw(s, now)
	}
	return v.lines(s, now)
}

// redraw writes the whole screen in one call, so that it does not flicker:
// home, table, and each line's old rest cleared.
func (v *watchView) redraw(s Status, now time.Time) error {
	var page bytes.Buffer
	fmt.Fprintf(&page, "%s  %s\n\n", s.Grid, clock(now))
	if err := s.Write(&page); err != nil {
		return err
	}
	screen := bytes.ReplaceAll(page.Bytes(), []byte("\n"), []byte("\x1b[K\n"))
	if v.last.IsZero() {
		screen = append([]byte("\x1b[2J"), screen...)
	}
	v.last = now
	_, err := fmt.Fprintf(v.out, "\x1b[H%s\x1b[J", screen)
	return err
}

// lines writes what has changed since the last look, and the counts now and then.
func (v *watchView) lines(s Status, now time.Time) error {
	out := &stickyWriter{w: v.out}
	changed := false
	for _, row := range s.Rows {
		if before, ok := v.seen[row.Cell.Dir]; ok && before == row.State {
			continue
		}
		v.seen[row.Cell.Dir] = row.State
		changed = true
		out.printf("%s %s (%s) step %d of %d, loss %s\n",
			stateText(row), row.Cell.ID, row.Cell.Label(), row.Step, row.Cell.Steps, floatText(row.Loss, 4))
	}
	if changed || now.Sub(v.last) >= quietFor {
		v.last = now
		out.printf("%s\n", s.countsText())
	}
	return out.err
}
