package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"plasticity/record"
)

func main() { os.Exit(run(context.Background(), system(), os.Args[1:])) }

// app is what the commands share: streams, environment and the flags that all of them have.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      []string // as of os.Environ
	quiet    bool
}

func system() *app {
	return &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ()}
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return int(record.OK)
	}
	a.complain(err)
	return int(record.CodeOf(err))
}

// complain prints an error, unless it has been told already.
func (a *app) complain(err error) {
	var told *toldError
	if errors.As(err, &told) {
		return
	}
	word := "error:"
	if a.colored() {
		word = "\x1b[31merror:\x1b[0m"
	}
	fmt.Fprintln(a.err, word, err)
}

// toldError is an error whose message somebody else has printed, such as the worker.
type toldError struct{ what string }

func (e *toldError) Error() string { return e.what }

// getenv looks a variable up in the environment of the app.
func (a *app) getenv(name string) string {
	value := ""
	for _, entry := range a.env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// isTerminal tells whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// live tells whether progress may be redrawn on standard error.
func (a *app) live() bool {
	return !a.quiet && isTerminal(a.err) && a.getenv("TERM") != "dumb"
}

// colored follows no-color.org; FORCE_COLOR turns colour on without a terminal.
func (a *app) colored() bool {
	if a.getenv("NO_COLOR") != "" {
		return false
	}
	return a.getenv("FORCE_COLOR") != "" || isTerminal(a.err) && a.getenv("TERM") != "dumb"
}

// say prints a line of progress on standard error.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// console is where progress of others goes.
func (a *app) console() io.Writer {
	if a.quiet {
		return io.Discard
	}
	return a.err
}
