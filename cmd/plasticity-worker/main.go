package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"plasticity/cmd/internal/request"
	"plasticity/record"
)

func main() { os.Exit(int(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))) }

// run does one command and reports its failure. A panic is a bug and ends in 70, never in Go's own 2.
func run(args []string, s streams) (code record.Code) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(s.errs, "error: internal error: %s; this is a bug of plasticity, please report it with what follows\n%s", oneLine(fmt.Sprint(p)), debug.Stack())
			code = record.Internal
		}
	}()
	if len(args) != 2 {
		fmt.Fprintln(s.errs, "error: plasticity-worker is started by plasticity: run plasticity --help")
		return record.Usage
	}
	// A closed pipe is an error of the write, not the death of a run.
	signal.Ignore(syscall.SIGPIPE)
	err := dispatch(context.Background(), args[0], args[1], s)
	if err != nil {
		fmt.Fprintf(s.errs, "error: %s\n", err)
	}
	return record.CodeOf(err)
}

// oneLine joins the lines of a text.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// streams are the standard streams of a command.
type streams struct {
	in        io.Reader
	out, errs io.Writer
}

// tty reports whether progress goes to a terminal that may be redrawn.
func (s streams) tty() bool {
	f, ok := s.errs.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// progress is where progress goes; nil when it is not wanted.
func (s streams) progress(quiet bool) io.Writer {
	if quiet {
		return nil
	}
	return s.errs
}

func dispatch(ctx context.Context, command, text string, s streams) error {
	switch command {
	case request.CommandTrain:
		return with(text, func(r request.Train) error { return train(ctx, r, s) })
	case request.CommandGenerate:
		return with(text, func(r request.Generate) error { return generate(ctx, r, s) })
	case request.CommandEvalLoss:
		return with(text, func(r request.EvalLoss) error { return evalLoss(ctx, r, s) })
	case request.CommandEvalTask:
		return with(text, func(r request.EvalTask) error { return evalTask(ctx, r, s) })
	case request.CommandVerifier:
		return with(text, func(r request.Verifier) error { return verifier(ctx, r, s) })
	case request.CommandEvalChoices:
		return with(text, func(r request.EvalChoices) error { return evalChoices(ctx, r, s) })
	case request.CommandAnalyzeGap:
		return with(text, func(r request.AnalyzeGap) error { return analyzeGap(ctx, r, s) })
	case request.CommandAnalyzeForgetting:
		return with(text, func(r request.AnalyzeForgetting) error { return analyzeForgetting(ctx, r, s) })
	case request.CommandAnalyzeNoise:
		return with(text, func(r request.AnalyzeNoise) error { return analyzeNoise(ctx, r, s) })
	case request.CommandAnalyzeProbes:
		return with(text, func(r request.AnalyzeProbes) error { return analyzeProbes(ctx, r, s) })
	case request.CommandExport:
		return with(text, func(r request.Export) error { return export(r, s) })
	case request.CommandImport:
		return with(text, func(r request.Import) error { return importHF(r, s) })
	case request.CommandBench:
		return with(text, func(r request.Bench) error { return bench(r, s) })
	case request.CommandDoctor:
		return with(text, func(r request.Doctor) error { return doctor(r, s) })
	default:
		return record.Fail(record.Usage, "the worker has no command %q: program and worker are of different builds, run make build", command)
	}
}

// with decodes the request of a command.
func with[T any](text string, f func(T) error) error {
	r, err := request.Decode[T](text)
	if err != nil {
		return err
	}
	return f(r)
}

// forceAfter is how long a stop may take before the process ends without it.
const forceAfter = 30 * time.Second

// signals delivers the first stop signal; a second one that is not the same wish, or a stop that takes too long, ends the
// process at once. The unfinished checkpoint has no name by then, and the one before it stays.
func signals(errs io.Writer) (first <-chan os.Signal, stop func()) {
	in, out := make(chan os.Signal, 4), make(chan os.Signal, 1)
	signal.Notify(in, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP)
	finished := make(chan struct{})
	go func() {
		select {
		case s := <-in:
			out <- s
		case <-finished:
			return
		}
		began, tooLong := time.Now(), time.After(forceAfter)
		for {
			select {
			case <-in:
				if time.Since(began) <= record.SameStop {
					continue
				}
				fmt.Fprintln(errs, "error: a second signal: ended without saving; the last checkpoint is valid")
				os.Exit(int(record.Stopped))
			case <-tooLong:
				fmt.Fprintf(errs, "error: the stop took more than %s: ended; the last checkpoint is valid\n", forceAfter)
				os.Exit(int(record.Stopped))
			case <-finished:
				return
			}
		}
	}()
	return out, func() { signal.Stop(in); close(finished) }
}
