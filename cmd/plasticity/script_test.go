package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"plasticity/record"
)

// quickExit keeps the race detector from waiting a second at the end of every process.
const quickExit = "atexit_sleep_ms=0"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			path, err := exec.LookPath(workerName)
			if err != nil {
				return err
			}
			env.Setenv("PLASTICITY_WORKER", path)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("GORACE", quickExit)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
		},
	})
}

// exits runs a program and wants this exit code: exits CODE PROGRAM ARGS…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// The worker is found beside the program when nothing else is said.
func TestWorkerPath_BesideTheProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := &app{}
	_, err = a.workerPath()
	if want := filepath.Join(filepath.Dir(self), workerName); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want a word about %s", err, want)
	}
}

// startWithSignals starts the program over a worker that tells its signals, and waits until it listens.
func startWithSignals(t *testing.T) (program *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "run.yaml")
	if err := os.WriteFile(file, []byte("model: {preset: llama2-s}\ndata: {train: x}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	worker, err := exec.LookPath(workerName)
	if err != nil {
		t.Fatal(err)
	}
	program = exec.Command("plasticity", "train", "--config", file)
	program.Env = append(os.Environ(), "FAKE=signals", "PLASTICITY_WORKER="+worker, "GORACE="+quickExit)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	program.Stdout, program.Stderr = in, os.Stderr
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewScanner(out)
	var pid, group int
	if _, err := fmt.Sscanf(next(lines), "ready %d %d", &pid, &group); err != nil {
		t.Fatal(err)
	}
	if pid != group {
		t.Errorf("worker %d is in process group %d, not its own", pid, group)
	}
	return program, lines
}

func next(lines *bufio.Scanner) string {
	lines.Scan()
	return lines.Text()
}

func TestWork_SignalsReachTheWorkerAndItsCodeIsOurs(t *testing.T) {
	program, lines := startWithSignals(t)
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGTERM} {
		if err := program.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if got, want := next(lines), fmt.Sprintf("signal %d", int(s)); got != want {
			t.Errorf("the worker says %q, want %q", got, want)
		}
	}
	_ = program.Wait() // the state says more than the error
	if got := program.ProcessState.ExitCode(); got != int(record.Stopped) {
		t.Errorf("exit code %d, want %d", got, record.Stopped)
	}
}

func TestWork_TheWorkerIsToldWhenThisProgramIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a death signal exists on Linux only")
	}
	program, lines := startWithSignals(t)
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := next(lines); got != "signal 15" {
		t.Errorf("the worker says %q, want signal 15", got)
	}
	_ = program.Wait() // killed
}

func TestKilled_StopBeforeTheWorkerListens(t *testing.T) {
	if err := killed(syscall.SIGTERM, true); !strings.Contains(err.Error(), "start it again") {
		t.Error(err)
	}
}
