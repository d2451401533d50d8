package sweeps

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

// mustRun runs the scene and wants this exit code.
func mustRun(t *testing.T, s *scene, o Options, want record.Code) Summary {
	t.Helper()
	summary, err := Run(context.Background(), s.plan(), o)
	if got := record.CodeOf(err); got != want {
		t.Fatalf("Run: code %d (%v), want %d", got, err, want)
	}
	return summary
}

func TestRun_FinishedGridStartsNothing(t *testing.T) {
	s := newScene(t, repeat("ok", 8)...)
	first := mustRun(t, s, s.options(), record.OK)
	if first.Done != 8 || first.Starts != 8 || first.Tokens != 8*100*s.Steps {
		t.Errorf("first run: %+v", first)
	}
	if diff := cmp.Diff(s.expected(s.plan(), all), digests(t, s.plan())); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	o := s.options()
	o.Command = func(context.Context, Cell, *os.File) (*exec.Cmd, error) {
		t.Error("a finished cell was started again")
		return nil, os.ErrInvalid
	}
	began := time.Now()
	second := mustRun(t, s, o, record.OK)
	if second.Starts != 0 || second.Done != 8 {
		t.Errorf("second run: %+v", second)
	}
	t.Logf("finished grid of 8: %s", time.Since(began))
}

func TestRun_RunnersNeverOverlap(t *testing.T) {
	s := newScene(t, repeat("ok", 12)...)
	s.Pace = time.Millisecond
	alive, life := pipe(t)
	s.extra[0] = life
	process := s.runner(t, life)
	var out bytes.Buffer
	process.Stdout = &out
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	summaries := make([]Summary, 3)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			var err error
			if summaries[i], err = Run(context.Background(), s.plan(), s.options()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &summaries[2]); err != nil {
		t.Fatal(err)
	}
	s.extra[0] = nil
	if err := life.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(alive); err != nil { // EOF: nobody is left
		t.Fatal(err)
	}
	starts := 0
	for i, summary := range summaries {
		starts += summary.Starts
		if summary.Done != 12 {
			t.Errorf("runner %d ended before the grid: %+v", i, summary)
		}
		t.Logf("runner %d started %d", i, summary.Starts)
	}
	counts := s.counts(t, "start")
	for id, n := range counts {
		if n != 1 {
			t.Errorf("%s was started %d times", id, n)
		}
	}
	if len(counts) != 12 || starts != 12 || len(s.counts(t, "collision")) > 0 {
		t.Errorf("12 cells, %d started, %d starts, collisions %v", len(counts), starts, s.counts(t, "collision"))
	}
	if diff := cmp.Diff(s.expected(s.plan(), all), digests(t, s.plan())); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
}

func TestRun_FailingMembersLeaveTheOthersAlone(t *testing.T) {
	s := newScene(t, "ok", "panic", "ok", "kill", "ok", "nan", "flood", "ok")
	s.Cores = 4
	o := s.options()
	o.Retries = 2
	o.LogLimit = 64 << 10
	summary := mustRun(t, s, o, record.Failed)
	if summary.Done != 5 || summary.Failed != 3 || summary.Unfinished != 0 {
		t.Errorf("summary: %+v", summary)
	}
	healthy := func(does string) bool { return does == "ok" || does == "flood" }
	if diff := cmp.Diff(s.expected(s.plan(), healthy), digests(t, s.plan())); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	p := s.plan()
	starts := s.counts(t, "start")
	for _, want := range []struct {
		index, starts int
		code          record.Code
		cause         string
	}{
		{1, 3, record.Internal, "exit code 2"},
		{3, 3, record.OutOfMemory, "signal 9"},
		{5, 1, record.NonFinite, "the loss is NaN at step 5"},
	} {
		state, f := stateOf(p.Cells[want.index])
		if state != record.StateFailed || f.end.code != want.code || !strings.Contains(f.cause, want.cause) {
			t.Errorf("cell %d: %s, code %d, cause %q; want failed, %d, %q", want.index, state, f.end.code, f.cause, want.code, want.cause)
		}
		if got := starts[p.Cells[want.index].ID]; got != want.starts {
			t.Errorf("cell %d (%s) was started %d times, want %d", want.index, s.Does[want.index], got, want.starts)
		}
	}
	if !strings.Contains(strings.Join(summary.Failures[0].Tail, "\n"), "planted") {
		t.Errorf("the panic is not in the tail: %q", summary.Failures[0].Tail)
	}
	log := newMemberLog(p.Cells[6].Dir, 0).path
	for _, path := range []string{log, log + ".1"} {
		if info, err := os.Stat(path); err != nil || info.Size() > 64<<10 {
			t.Errorf("log of the flooding member: %v %v", info.Size(), err)
		}
	}
}

func TestRun_FailedCellsWaitForRetry(t *testing.T) {
	s := newScene(t, "ok", "nan")
	mustRun(t, s, s.options(), record.Failed)
	if again := mustRun(t, s, s.options(), record.Failed); again.Starts != 0 {
		t.Errorf("a failed cell was started without being asked: %+v", again)
	}
	p := s.plan()
	s.Does[1] = "ok"
	cleared, err := p.Retry(nil)
	if diff := cmp.Diff([]string{p.Cells[1].ID}, cleared); diff != "" || err != nil {
		t.Fatalf("Retry: %v %s", err, diff)
	}
	if last := mustRun(t, s, s.options(), record.OK); last.Starts != 1 {
		t.Errorf("after retry: %+v", last)
	}
	if _, err := p.Retry([]string{p.Cells[1].ID}); record.CodeOf(err) != record.Usage {
		t.Errorf("Retry of a cell that is done: %v", err)
	}
	for _, id := range []string{"ffff", "", "000000", "../.."} {
		if _, err := p.Retry([]string{id}); record.CodeOf(err) != record.Usage {
			t.Errorf("Retry(%q): %v", id, err)
		}
	}
}

func TestRun_RetryFailedStartsThemAgain(t *testing.T) {
	s := newScene(t, "nan", "ok")
	mustRun(t, s, s.options(), record.Failed)
	s.Does[0] = "ok"
	o := s.options()
	o.RetryFailed = true
	mustRun(t, s, o, record.OK)
}

func TestRun_AllFailStopsAtOnce(t *testing.T) {
	for _, c := range []struct {
		does string
		code record.Code
		tail string
	}{
		{"usage", record.Usage, "optimizer.lr: 0 is not above 0"},
		{"exit1", record.Failed, "libtorch is not there"},
		{"panic", record.Internal, "planted"},
		{"nan", record.NonFinite, "the loss is NaN"},
	} {
		t.Run(c.does, func(t *testing.T) {
			s := newScene(t, repeat(c.does, 8)...)
			o := s.options()
			// A stop at once does not sit out the pause before a retry.
			o.Backoff = func(int) time.Duration { return time.Hour }
			summary, err := Run(context.Background(), s.plan(), o)
			if record.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.tail) {
				t.Errorf("error with code %d: %v; want %d and %q", record.CodeOf(err), err, c.code, c.tail)
			}
			// Two show it; a third may have started between their ends.
			if summary.Starts > 3 || summary.Failed != summary.Starts || summary.Unfinished != 8-summary.Failed {
				t.Errorf("summary: %+v", summary)
			}
		})
	}
}

func TestRun_SingleCellGetsItsRetries(t *testing.T) {
	s := newScene(t, "exit1")
	summary := mustRun(t, s, s.options(), record.Failed)
	if summary.Starts != 4 || summary.Retries != 3 {
		t.Errorf("summary: %+v", summary)
	}
}

func TestRun_ProgressIsNoSetback(t *testing.T) {
	// Killed, or stopped, after every checkpoint: three times without a retry left.
	s := newScene(t, "killsaved", "pause")
	o := s.options()
	o.Retries = -1
	summary := mustRun(t, s, o, record.OK)
	if diff := cmp.Diff(s.expected(s.plan(), all), digests(t, s.plan())); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	if summary.Starts != 8 {
		t.Errorf("%d starts, want 4 of each cell", summary.Starts)
	}
}

func TestRun_RestartWithoutProgressIsBounded(t *testing.T) {
	for _, does := range []string{"stuck75", "nodone"} {
		t.Run(does, func(t *testing.T) {
			s := newScene(t, "ok", does, "ok")
			summary := mustRun(t, s, s.options(), record.Failed)
			// The one without DONE comes to its end, which is progress, once.
			if n := s.counts(t, "start")[s.plan().Cells[1].ID]; n < 4 || n > 5 || summary.Done != 2 {
				t.Errorf("%d starts, %+v", n, summary)
			}
		})
	}
}

func TestRun_MemberThatTrainsAnotherRunFails(t *testing.T) {
	s := newScene(t, "ok", "other")
	summary := mustRun(t, s, s.options(), record.Failed)
	if summary.Starts != 2 || summary.Failures[0].Code != record.Mismatch || !strings.Contains(summary.Failures[0].Cause, "another") {
		t.Errorf("summary: %+v", summary)
	}
}

func TestRun_SignalStopsGently(t *testing.T) {
	s := newScene(t, "gate", "gate", "gate")
	alive, life := pipe(t)
	ready, readyEnd := pipe(t)
	gate, gateEnd := pipe(t)
	s.extra = [3]*os.File{life, readyEnd, gate}
	signals := make(chan os.Signal, 2)
	go func() {
		_, _ = io.ReadFull(ready, make([]byte, 2)) // both members are in the middle of a step
		// The same wish by two ways.
		for range cap(signals) {
			signals <- syscall.SIGTERM
		}
	}()
	o := s.options()
	var said bytes.Buffer
	o.Signals, o.Console = signals, &said
	summary := mustRun(t, s, o, record.Stopped)
	if strings.Contains(said.String(), "killing") {
		t.Errorf("two signals at once are one wish:\n%s", &said)
	}
	if summary.Starts != 2 || summary.Unfinished != 3 || summary.Failed != 0 {
		t.Errorf("summary: %+v", summary)
	}
	_ = life.Close()
	if _, err := io.ReadAll(alive); err != nil {
		t.Fatal(err)
	}
	status, err := s.plan().Status()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []record.State{record.StateStopped, record.StateStopped, record.StatePlanned} {
		if status.Rows[i].State != want {
			t.Errorf("cell %d is %s, want %s", i, status.Rows[i].State, want)
		}
	}
	_ = gateEnd.Close()
	s.extra = [3]*os.File{}
	s.Does = repeat("ok", 3)
	mustRun(t, s, s.options(), record.OK)
	if diff := cmp.Diff(s.expected(s.plan(), all), digests(t, s.plan())); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
}

func TestRun_DeafMembersAreKilled(t *testing.T) {
	for _, c := range []struct {
		name  string
		grace time.Duration
		n     int
	}{{"second signal", time.Hour, 2}, {"grace over", time.Millisecond, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, "deaf", "deaf")
			alive, life := pipe(t)
			ready, readyEnd := pipe(t)
			gate, _ := pipe(t)
			s.extra = [3]*os.File{life, readyEnd, gate}
			signals := make(chan os.Signal, 2)
			go func() {
				_, _ = io.ReadFull(ready, make([]byte, 2))
				for range c.n {
					signals <- syscall.SIGINT
					time.Sleep(record.SameStop + 100*time.Millisecond)
				}
			}()
			o := s.options()
			o.Signals, o.Grace = signals, c.grace
			mustRun(t, s, o, record.Stopped)
			_ = life.Close()
			if _, err := io.ReadAll(alive); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRun_CancelledContextStops(t *testing.T) {
	s := newScene(t, "gate")
	_, life := pipe(t)
	ready, readyEnd := pipe(t)
	gate, _ := pipe(t)
	s.extra = [3]*os.File{life, readyEnd, gate}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.ReadFull(ready, make([]byte, 1))
		cancel()
	}()
	if _, err := Run(ctx, s.plan(), s.options()); record.CodeOf(err) != record.Stopped {
		t.Errorf("Run: %v", err)
	}
}

// lineTrap calls do once when a line with text is printed.
type lineTrap struct {
	text string
	do   func()
}

func (l *lineTrap) Write(b []byte) (int, error) {
	if l.do != nil && bytes.Contains(b, []byte(l.text)) {
		l.do()
		l.do = nil
	}
	return len(b), nil
}

func TestRun_WaitsForAWorkerThatOutlivedItsRunner(t *testing.T) {
	s := newScene(t, "ok", "ok")
	cell := s.plan().Cells[0]
	if err := os.MkdirAll(cell.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := record.Acquire(cell.Dir)
	if err != nil {
		t.Fatal(err)
	}
	o := s.options()
	o.Console = &lineTrap{"wait for " + cell.ID, func() { _ = lock.Release() }}
	summary := mustRun(t, s, o, record.OK)
	if summary.Starts != 2 || len(s.counts(t, "collision")) > 0 {
		t.Errorf("summary %+v, collisions %v", summary, s.counts(t, "collision"))
	}
}

func TestRun_ChoosesThreadsOfAnEarlierStart(t *testing.T) {
	s := newScene(t, "ok", "ok", "ok")
	p := s.plan()
	if _, err := record.Create(record.OS(), p.Cells[1].Dir, record.Info{ID: p.Cells[1].ID, Name: "x", Kind: "pretrain", Threads: 4}, nil, nil); err != nil {
		t.Fatal(err)
	}
	o := s.options()
	o.Cores = 4
	var mu sync.Mutex
	threads := make([]int, 3)
	o.Command = func(ctx context.Context, c Cell, log *os.File) (*exec.Cmd, error) {
		mu.Lock()
		defer mu.Unlock()
		threads[c.Index] = c.Threads
		return s.command(ctx, c, log)
	}
	mustRun(t, s, o, record.OK)
	if !slices.Equal(threads, []int{1, 4, 1}) {
		t.Errorf("threads %v", threads)
	}
}
