package main

import (
	"strings"
	"testing"
	"time"
)

func TestCounter_SaysWhatIsLeft(t *testing.T) {
	c := counter{format: "answered %d of %d problems", from: 10, of: 50}
	for done, want := range map[int]string{
		10: "answered 10 of 50 problems, 20.0s",
		20: "answered 20 of 50 problems, 20.0s, 40 %, 1m0s left", // ten in twenty seconds
		45: "answered 45 of 50 problems, 20.0s, 90 %, 3s left",
		50: "answered 50 of 50 problems, 20.0s",
	} {
		if got := c.line(done, 20*time.Second); got != want {
			t.Errorf("%d: %q, want %q", done, got, want)
		}
	}
}

// A log has whole lines, now and then and at the end; a terminal has one that is redrawn, and goes on below it; quiet is quiet.
func TestCounter_Shows(t *testing.T) {
	var log strings.Builder
	c := streams{errs: &log}.counter(false, "%d of %d losses", 0, 3)
	for done := 1; done <= 3; done++ {
		c.show(done)
	}
	c.end()
	if got := log.String(); got != "3 of 3 losses, 0.0s\n" {
		t.Errorf("in a log: %q", got)
	}
	var terminal strings.Builder
	c = streams{errs: &terminal}.counter(false, "%d of %d losses", 0, 12)
	c.tty = true
	for _, done := range []int{3, 4} {
		c.said = time.Time{}
		c.show(done)
	}
	c.show(5) // too soon
	c.end()
	lines := strings.Split(terminal.String(), "\r")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "3 of 12 losses") || !strings.HasPrefix(lines[2], "4 of 12 losses") || !strings.HasSuffix(lines[2], "\n") || strings.Count(terminal.String(), "\n") != 1 {
		t.Errorf("on a terminal: %q", terminal.String())
	}
	var quiet strings.Builder
	c = streams{errs: &quiet}.counter(true, "%d of %d", 0, 1)
	c.show(1)
	c.end()
	if quiet.Len() > 0 {
		t.Errorf("quiet: %q", quiet.String())
	}
}
