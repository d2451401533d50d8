package sweeps

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"plasticity/record"
)

// quietFor is how long a console that cannot be redrawn waits between two
// lines of progress.
const quietFor = 30 * time.Second

// liveLine prints lines and, on a terminal, keeps one line of progress under
// them that is redrawn.
type liveLine struct {
	out   io.Writer
	tty   bool
	shown string
	last  time.Time
}

// say prints a line; nobody is helped by failing because a console went away.
func (l *liveLine) say(format string, args ...any) {
	shown := l.shown
	l.clear()
	_, _ = fmt.Fprintf(l.out, format+"\n", args...)
	if shown != "" {
		l.draw(shown)
	}
}

// show makes text the line of progress.
func (l *liveLine) show(text string) {
	now := time.Now()
	if l.tty {
		if text != l.shown {
			l.draw(text)
		}
		return
	}
	if l.last.IsZero() {
		l.last = now // the first line comes after the first pause
	}
	if now.Sub(l.last) >= quietFor {
		l.last = now
		_, _ = fmt.Fprintln(l.out, text)
	}
}

func (l *liveLine) draw(text string) {
	l.shown = text
	_, _ = io.WriteString(l.out, "\r\x1b[K"+text)
}

func (l *liveLine) clear() {
	if l.shown != "" {
		_, _ = io.WriteString(l.out, "\r\x1b[K")
		l.shown = ""
	}
}

// progressText is the state of the sweep in one line.
func (r *runner) progressText(speed float64) string {
	count := func(p phase) int { return r.count(func(j *job) bool { return j.phase == p }) }
	text := fmt.Sprintf("%s: %d/%d done, %d running, %d waiting, %d failed",
		r.plan.Name, count(finished), len(r.jobs), count(running), count(waiting), count(failed))
	if speed > 0 {
		text += fmt.Sprintf(" | %s tokens/s", countText(int64(speed)))
	}
	if eta := r.etaText(time.Now()); eta != "" {
		text += " | " + eta
	}
	return text
}

// lossText is the last loss of a run for a message.
func lossText(c Cell) string {
	metric := lastMetric(c)
	if math.IsNaN(float64(metric.Loss)) {
		return ""
	}
	return "loss " + floatText(metric.Loss, 4)
}

// floatText prints a number with some digits, "-" for none.
func floatText(f record.Float, digits int) string {
	switch v := float64(f); {
	case math.IsNaN(v):
		return "-"
	case math.IsInf(v, 0):
		return "∞"
	default:
		return strconv.FormatFloat(v, 'g', digits, 64)
	}
}

// countText prints a count for people: 950, 12.3k, 4.57M, 20.1G.
func countText(n int64) string {
	v := float64(n)
	for _, unit := range []string{"", "k", "M", "G", "T", "P"} {
		if math.Abs(v) < 999.5 || unit == "P" {
			if unit == "" {
				return strconv.FormatInt(n, 10)
			}
			return strconv.FormatFloat(v, 'g', 3, 64) + unit
		}
		v /= 1000
	}
	return ""
}

// durationText prints seconds for people: 4.2s, 3m20s, 5h07m, 2d03h.
func durationText(seconds float64) string {
	if math.IsNaN(seconds) || seconds < 0 || seconds > 1e9 {
		return "-"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
