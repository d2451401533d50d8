package main

import (
	"fmt"
	"io"
	"time"
)

// How often progress is shown: on a terminal, where one line is redrawn, and in a log.
const (
	redrawEvery = 100 * time.Millisecond
	printEvery  = 2 * time.Second
)

// counter shows how far a job of many equal parts is and when it will be done.
type counter struct {
	out         io.Writer // nil: nothing is shown
	tty         bool
	format      string // of what is done and of all
	from, of    int
	began, said time.Time
	width       int // of the line on the terminal
}

// counter begins to count: format has a verb for the parts that are done and one for all of them, from of which were done before.
func (s streams) counter(quiet bool, format string, from, of int) *counter {
	return &counter{out: s.progress(quiet), tty: s.tty(), format: format, from: from, of: of, began: time.Now(), said: time.Now()}
}

// show tells how many are done.
func (c *counter) show(done int) {
	every := printEvery
	if c.tty {
		every = redrawEvery
	}
	if c.out == nil || done != c.of && time.Since(c.said) < every {
		return
	}
	c.said = time.Now()
	line := c.line(done, time.Since(c.began))
	if !c.tty {
		fmt.Fprintln(c.out, line)
		return
	}
	fmt.Fprintf(c.out, "\r%-*s", c.width, line)
	c.width = max(c.width, len(line))
	if done == c.of {
		c.end()
	}
}

// line says how far the job is after some time.
func (c *counter) line(done int, after time.Duration) string {
	line := fmt.Sprintf(c.format, done, c.of) + fmt.Sprintf(", %.1fs", after.Seconds())
	if done > c.from && done < c.of {
		left := after / time.Duration(done-c.from) * time.Duration(c.of-done)
		line += fmt.Sprintf(", %d %%, %s left", 100*done/c.of, left.Round(time.Second))
	}
	return line
}

// end leaves the line on the terminal; of a job that was broken off, too.
func (c *counter) end() {
	if c.width > 0 {
		fmt.Fprintln(c.out)
		c.width = 0
	}
}
