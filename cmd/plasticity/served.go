package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"plasticity/cmd/internal/request"
	"plasticity/record"
	"plasticity/sweeps"
)

// served is a process that says when it is ready and answers lines with lines of JSON: a worker that is measured, or
// PyTorch beside it.
type served struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	complaint bytes.Buffer
	ready     request.BenchReady
	startup   time.Duration
	dir       string // to be removed with it
}

// serveBench starts a worker that is measured. It ends with ctx, and with its input when this program is gone.
func (a *app) serveBench(ctx context.Context, r request.Bench) (*served, error) {
	cmd, err := a.workerCommand(request.CommandBench, r)
	if err != nil {
		return nil, err
	}
	return start(ctx, cmd)
}

// start starts a command and waits until it is ready.
func start(ctx context.Context, prepared *exec.Cmd) (*served, error) {
	cmd := exec.CommandContext(ctx, prepared.Path, prepared.Args[1:]...)
	cmd.Env, cmd.Dir = prepared.Env, prepared.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is for this program, which ends it
	s := &served{cmd: cmd}
	cmd.Stderr = &s.complaint
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, record.Fail(record.IO, "start %s: %w", cmd.Path, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, record.Fail(record.IO, "start %s: %w", cmd.Path, err)
	}
	s.out = bufio.NewReader(out)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, record.Fail(record.CodeOf(err), "start %s: %w", cmd.Path, err)
	}
	if err := s.read(&s.ready); err != nil {
		return nil, err
	}
	s.startup = time.Since(began)
	return s, nil
}

// ask sends a line and reads the reply. After an error the process has ended.
func (s *served) ask(v any, word string, n int) error {
	if _, err := fmt.Fprintf(s.in, "%s %d\n", word, n); err != nil {
		return s.ended(err)
	}
	return s.read(v)
}

func (s *served) read(v any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return s.ended(err)
	}
	var failed struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(line, &failed); err == nil && failed.Error != "" {
		_ = s.in.Close() // it ends by itself
		_ = s.cmd.Wait() // its code says nothing more
		return record.Fail(record.Failed, "%s", failed.Error)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return s.ended(record.Fail(record.Internal, "its reply %.80q cannot be read: %w", line, err))
	}
	return nil
}

// ended waits for the process and tells what it said, with its exit code where it is one of this program's.
func (s *served) ended(cause error) error {
	_ = s.in.Close() // it may be gone already
	err := s.cmd.Wait()
	said := strings.TrimSpace(s.complaint.String())
	if at := strings.LastIndex(said, "error: "); at >= 0 {
		said = said[at+len("error: "):]
	}
	if s.cmd.ProcessState.ExitCode() == 0 || said == "" {
		said = strings.TrimSpace(fmt.Sprintf("%v (%v) %s", cause, s.cmd.ProcessState, said))
	}
	code := record.CodeOf(outcome(s.cmd.ProcessState, err, false))
	if code == record.OK {
		code = record.CodeOf(cause)
	}
	return record.Fail(code, "%s", said)
}

// Train is sweeps.Probe.
func (s *served) Train(steps int) (tokens int64, seconds float64, err error) {
	var turn request.BenchTurn
	if err := s.ask(&turn, "go", steps); err != nil {
		return 0, 0, err
	}
	for _, ms := range turn.StepMS {
		seconds += float64(ms) / 1e3
	}
	return int64(len(turn.StepMS)) * s.ready.TokensPerStep, seconds, nil
}

// Close ends the process and removes what was made for it. After a failed ask there is nothing to wait for.
func (s *served) Close() {
	_ = s.in.Close() // the end of its input is what it waits for
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Wait() // how it ends does not matter any more
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // a leftover in the temporary folder harms nobody
	}
}

// probe starts a process that trains a cell for its speed. It leaves nothing behind.
func (a *app) probe(ctx context.Context, c sweeps.Cell, at sweeps.Slot) (sweeps.Probe, error) {
	dir, err := os.MkdirTemp("", "plasticity-probe-")
	if err != nil {
		return nil, record.Fail(record.IO, "%w", err)
	}
	s, err := a.probeIn(ctx, dir, c, at)
	if err != nil {
		_ = os.RemoveAll(dir) // as above
		return nil, err
	}
	s.dir = dir
	return s, nil
}

func (a *app) probeIn(ctx context.Context, dir string, c sweeps.Cell, at sweeps.Slot) (*served, error) {
	text, err := c.Run.YAML()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, record.Fail(record.IO, "%w", err)
	}
	sets := []string{"threads=" + strconv.Itoa(at.Threads)}
	if c.Facts.Vocab > c.Run.Model.Vocab {
		sets = append(sets, "model.vocab="+strconv.Itoa(c.Facts.Vocab))
	}
	cmd, err := a.workerCommand(request.CommandBench, request.Bench{What: request.BenchServe, Config: file, Sets: sets})
	if err != nil {
		return nil, err
	}
	if at.Pinned {
		if cmd, err = pinned(cmd, at); err != nil {
			return nil, err
		}
	}
	return start(ctx, cmd)
}

// pinned keeps a command on the cores of its slot. taskset becomes the command itself, so that all of its threads are
// kept there from the start.
func pinned(cmd *exec.Cmd, at sweeps.Slot) (*exec.Cmd, error) {
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return nil, record.Fail(record.Failed, "pinning needs taskset (util-linux), which is not there: measure without --pin")
	}
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	if at.First+at.Threads > len(cpus) {
		return nil, record.Fail(record.Usage, "core %d is asked for and this process may use %d", at.First+at.Threads, len(cpus))
	}
	words := make([]string, 0, at.Threads)
	for _, cpu := range cpus[at.First : at.First+at.Threads] {
		words = append(words, strconv.Itoa(cpu))
	}
	out := exec.Command(taskset, append([]string{"-c", strings.Join(words, ","), cmd.Path}, cmd.Args[1:]...)...)
	out.Env = cmd.Env
	return out, nil
}

// allowedCPUs lists the logical cores that this process may use.
func allowedCPUs() ([]int, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, record.Fail(record.Failed, "pinning works on Linux only: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return parseCPUs(strings.TrimSpace(list))
		}
	}
	return nil, record.Fail(record.Failed, "the kernel does not say which cores this process may use")
}

// parseCPUs reads the kernel's notation, 0-3,8,10-11.
func parseCPUs(list string) ([]int, error) {
	var out []int
	for word := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(word, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && ranged {
			last, err = strconv.Atoi(to)
		}
		if err != nil || first < 0 || last < first || last > 1<<16 {
			return nil, record.Fail(record.Internal, "the list of cores %.80q cannot be read", list)
		}
		for cpu := first; cpu <= last; cpu++ {
			out = append(out, cpu)
		}
	}
	return out, nil
}
