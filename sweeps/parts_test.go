package sweeps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"plasticity/record"
	"plasticity/record/recordtest"
)

var update = flag.Bool("update", false, "write the list of metrics in monitoring/ anew")

func TestRules_CoverEveryExitCode(t *testing.T) {
	want := map[record.Code]Action{
		record.OK: Finish, record.Stopped: Restart,
		record.Failed: Retry, record.DeviceLost: Retry, record.Internal: Retry, record.OutOfMemory: Retry, record.IO: Retry,
		record.Usage: Abandon, record.BadData: Abandon, record.NonFinite: Abandon, record.NotPermitted: Abandon, record.Mismatch: Abandon,
	}
	got := make(map[record.Code]Action)
	for _, rule := range Rules() {
		if _, twice := got[rule.Code]; twice {
			t.Errorf("code %d has two rules", rule.Code)
		}
		got[rule.Code] = rule.Action
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	for _, code := range record.Codes() {
		if _, ok := got[code]; !ok {
			t.Errorf("code %d has no rule", code)
		}
	}
	if rule := RuleFor(2); rule.Action != Retry {
		t.Errorf("an unknown code gives %s", rule.Action)
	}
}

func TestDefaultBackoff_GrowsAndIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(-3, 1<<30).Draw(t, "n")
		a, b := DefaultBackoff(n), DefaultBackoff(n+1)
		if a < time.Second || b < a || b > time.Minute {
			t.Fatalf("backoff %d: %s, %d: %s", n, a, n+1, b)
		}
	})
}

// outlookOf builds a runner of jobs from words: "done", "run:STEP", "fail:CODE",
// "pause:CODE", "old" (failed before), "wait".
func outlookOf(t *testing.T, words ...string) outlook {
	t.Helper()
	root := t.TempDir()
	r := &runner{}
	for i, word := range words {
		j := &job{cell: Cell{Needs: none, Dir: filepath.Join(root, fmt.Sprint(i))}}
		what, text, _ := strings.Cut(word, ":")
		var n int
		_, _ = fmt.Sscan(text, &n)
		hurt := fault{end: ending{code: record.Code(n), what: "x"}, step: 5, fresh: true, suspect: true}
		switch what {
		case "done":
			j.phase = finished
		case "run":
			j.phase = running
			line, err := json.Marshal(record.Metric{Step: int64(n)})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.MkdirAll(j.cell.Dir, 0o755), os.WriteFile(filepath.Join(j.cell.Dir, record.MetricsFile), append(line, '\n'), 0o644)); err != nil {
				t.Fatal(err)
			}
		case "fail":
			j.phase, j.fault = failed, hurt
		case "pause":
			j.fault = hurt
		case "old":
			j.phase, j.fault = failed, fault{end: hurt.end}
			r.todo--
		}
		r.todo++
		r.jobs = append(r.jobs, j)
	}
	return r.outlook()
}

func TestOutlook_TellsACommonFaultFromSingleOnes(t *testing.T) {
	for _, c := range []struct {
		name  string
		words []string
		want  outlook
	}{
		{"nothing yet", []string{"wait", "wait"}, fine},
		{"one failed of many", []string{"fail:64", "wait", "wait"}, fine},
		{"two alike", []string{"fail:64", "fail:64", "wait"}, hopeless},
		{"two alike, not final", []string{"pause:1", "pause:1", "wait"}, hopeless},
		{"two unlike", []string{"fail:76", "pause:70", "wait"}, fine},
		{"three unlike", []string{"fail:76", "pause:70", "pause:1", "wait"}, hopeless},
		{"the only one, not final", []string{"pause:1"}, fine},
		{"the only one", []string{"fail:1"}, hopeless},
		{"something succeeded", []string{"done", "fail:64", "fail:64", "wait"}, fine},
		{"others under way", []string{"fail:76", "fail:76", "run:3", "wait"}, unclear},
		{"another came further", []string{"fail:76", "fail:76", "run:9", "wait"}, fine},
		{"old failures do not count", []string{"old:76", "old:76", "wait"}, fine},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := outlookOf(t, c.words...); got != c.want {
				t.Errorf("outlook(%v) = %d, want %d", c.words, got, c.want)
			}
		})
	}
}

func TestReadAddress_TakesHostAndPortOnly(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:9090\n": "127.0.0.1:9090",
		"[::1]:80":         "[::1]:80",
		"host-1.lan:65535": "host-1.lan:65535",
		"":                 "", ":80": "", "host": "", "host:": "", "host:0": "", "host:65536": "", "host:http": "",
		"a\"b:1": "", "a b:1": "", "a\n:1": "", "ho/st:1": "",
		strings.Repeat("x", 300) + ":1": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, addressName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := readAddress(dir); got != want {
			t.Errorf("address %q: %q, want %q", text, got, want)
		}
	}
}

func TestRun_ListsMembersForPrometheus(t *testing.T) {
	s := newScene(t, "gate", "gate")
	s.Listen = "127.0.0.1:0"
	_, life := pipe(t)
	ready, readyEnd := pipe(t)
	gate, gateEnd := pipe(t)
	s.extra = [3]*os.File{life, readyEnd, gate}
	p := s.plan()
	var listed []target
	var page string
	o := s.options()
	o.Listen = "127.0.0.1:0"
	address := make(chan string, 1)
	o.Console = &addressTrap{address}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		defer gateEnd.Close()
		_, _ = io.ReadFull(ready, make([]byte, 2))
		url := <-address
		// The list follows at the next tick: ask until it is there.
		for deadline := time.Now().Add(10 * time.Second); len(listed) != 2 && time.Now().Before(deadline); {
			if text, err := os.ReadFile(filepath.Join(p.Dir, targetsName)); err == nil {
				_ = json.Unmarshal(text, &listed)
			}
			page = get(url)
		}
	}()
	mustRun(t, s, o, record.OK)
	<-looked
	want := []target{
		{[]string{"127.0.0.1:4242"}, targetLabels{p.Cells[0].ID, "scene"}},
		{[]string{"127.0.0.1:4242"}, targetLabels{p.Cells[1].ID, "scene"}},
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("targets while running (-want +got):\n%s", diff)
	}
	if !strings.Contains(page, `plasticity_sweep_runs{grid="scene",state="running"} 2`) {
		t.Errorf("metrics while running:\n%s", page)
	}
	recordtest.CheckMetricList(t, page, "../monitoring/metrics-sweep.txt", *update)
	after, err := os.ReadFile(filepath.Join(p.Dir, targetsName))
	if err != nil || string(after) != "[]\n" {
		t.Errorf("targets afterwards: %q %v", after, err)
	}
}

// addressTrap picks the address of the metrics from the console.
type addressTrap struct{ found chan string }

func (a *addressTrap) Write(b []byte) (int, error) {
	if url := regexp.MustCompile(`http://\S+`).Find(b); url != nil {
		a.found <- string(url)
	}
	return len(b), nil
}

func get(url string) string {
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestMetrics_PassLint(t *testing.T) {
	m := newSweepMetrics(newScene(t, "ok").plan())
	m.set([]*job{{phase: running}, {phase: finished}, {}}, 5, 1)
	m.ended(record.NonFinite, 2)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	want := `
# HELP plasticity_sweep_runs Runs and evaluations of the grid by state.
# TYPE plasticity_sweep_runs gauge
plasticity_sweep_runs{grid="scene",state="done"} 1
plasticity_sweep_runs{grid="scene",state="failed"} 0
plasticity_sweep_runs{grid="scene",state="planned"} 1
plasticity_sweep_runs{grid="scene",state="running"} 1
plasticity_sweep_runs{grid="scene",state="stopped"} 0
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "plasticity_sweep_runs"); err != nil {
		t.Error(err)
	}
}

func TestRun_RefusesAListenAddressThatIsTaken(t *testing.T) {
	s := newScene(t, "ok")
	o := s.options()
	o.Listen = "256.0.0.1:1"
	if summary := mustRun(t, s, o, record.NotPermitted); summary.Starts != 0 {
		t.Errorf("started all the same: %+v", summary)
	}
	o.Listen = "localhost" // no port
	if summary := mustRun(t, s, o, record.Usage); summary.Starts != 0 {
		t.Errorf("started all the same: %+v", summary)
	}
}

func TestMemberLog_TailIsSafeToShow(t *testing.T) {
	log := newMemberLog(t.TempDir(), 1000)
	file, err := log.open()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		_, _ = fmt.Fprintf(file, "line %d\x1b[31m\r\n\n", i)
	}
	_, _ = file.WriteString("10%\r20%\rlast \xff word")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	tail := log.tail()
	if len(tail) != tailLines || tail[0] != "line 11.[31m" || tail[19] != "last . word" {
		t.Errorf("tail: %d lines, %q", len(tail), tail)
	}
}

func TestMemberLog_TrimKeepsTheNewest(t *testing.T) {
	log := newMemberLog(t.TempDir(), 100)
	if err := log.trim(); err != nil {
		t.Errorf("trim without a log: %v", err)
	}
	file, err := log.open()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range 100 {
		_, _ = fmt.Fprintf(file, "%02d ", i)
	}
	if err := log.trim(); err != nil {
		t.Fatal(err)
	}
	_, _ = file.WriteString("after")
	old, err := os.ReadFile(log.path + ".1")
	if err != nil || !bytes.HasSuffix(old, []byte("98 99 ")) || len(old) != 50 {
		t.Errorf("rotated: %q %v", old, err)
	}
	if now, err := os.ReadFile(log.path); err != nil || string(now) != "after" {
		t.Errorf("log: %q %v", now, err)
	}
}

func TestPrintable_NeverControls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		out := printable(rapid.String().Draw(t, "line"), 50)
		if len([]rune(out)) > 51 || strings.ContainsFunc(out, unicode.IsControl) {
			t.Fatalf("%q", out)
		}
	})
}

func TestLastMetric_SurvivesTornAndForeignLines(t *testing.T) {
	whole := `{"step":7,"tokens":700,"loss":"NaN"}` + "\n"
	for name, c := range map[string]struct {
		text string
		step int64
	}{
		"none": {"", 0}, "whole": {whole, 7}, "torn": {whole + `{"step":8,"tok`, 7}, "garbage after": {whole + "\x00\x00\n", 7},
		"only torn": {`{"step":8`, 0}, "blank lines": {whole + "\n\n", 7}, "far back": {whole + strings.Repeat("x", metricTail), 0},
	} {
		cell := Cell{Dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(cell.Dir, record.MetricsFile), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := lastMetric(cell); got.Step != c.step || !math.IsNaN(float64(got.Loss)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestShare_RuleAndJobs(t *testing.T) {
	for _, c := range []struct{ cells, cores, jobs, members, threads int }{
		{8, 2, 0, 2, 1}, {1, 2, 0, 1, 2}, {3, 8, 0, 3, 2}, {8, 8, 3, 3, 2}, {8, 2, 5, 5, 1}, {2, 8, 5, 2, 4}, {9, 1, 0, 1, 1},
	} {
		p := newScene(t, repeat("ok", c.cells)...).plan()
		got, err := p.share(context.Background(), Options{Cores: c.cores, Jobs: c.jobs})
		if err != nil || got.Members != c.members || got.Threads != c.threads {
			t.Errorf("%d cells on %d cores, jobs %d: %+v %v; want %d × %d", c.cells, c.cores, c.jobs, got, err, c.members, c.threads)
		}
	}
}

func TestStatus_ShowsFinishedStaleAndBroken(t *testing.T) {
	s := newScene(t, "ok", "nan", "ok")
	mustRun(t, s, s.options(), record.Failed)
	p := s.plan()
	gone := p.Cells[2]
	p.Cells = p.Cells[:2]
	torn := filepath.Join(p.Dir, "torn")
	if err := errors.Join(os.Mkdir(torn, 0o755), os.WriteFile(filepath.Join(torn, record.MetricsFile), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	status, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Rows) != 3 || !status.Rows[2].Stale || status.Rows[2].Cell.ID != gone.ID || status.Rows[2].State != record.StateDone {
		t.Errorf("rows: %+v", status.Rows)
	}
	if len(status.Problems) != 1 || !status.Finished() || status.TrainedTokens != 2000+500 {
		t.Errorf("problems %v, finished %v, trained %d", status.Problems, status.Finished(), status.TrainedTokens)
	}
	if _, err := json.Marshal(status); err != nil {
		t.Errorf("JSON: %v", err)
	}
	golden(t, "status.txt", func(w io.Writer) error { return status.Write(w) }, s.Root)
	golden(t, "plan.txt", func(w io.Writer) error { return status.WritePlan(w) }, s.Root)
}

func TestStatus_BestIsAFinishedCellOfTheGrid(t *testing.T) {
	row := func(id string, state record.State, loss float64, stale bool) Row {
		return Row{Cell: Cell{ID: id, Kind: Pretrain}, State: state, ValLoss: record.Float(loss), Stale: stale}
	}
	s := Status{Rows: []Row{
		row("none", record.StateDone, math.NaN(), false), row("high", record.StateDone, 2.6, false), row("low", record.StateDone, 2.5, false),
		row("same", record.StateDone, 2.5, false), row("going", record.StateRunning, 2.4, false), row("failed", record.StateFailed, 2.3, false),
		row("stale", record.StateDone, 2.2, true),
	}}
	if best, ok := s.Best(); !ok || best.Cell.ID != "low" {
		t.Errorf("best: %+v, %v", best, ok)
	}
	s.Rows = s.Rows[:1]
	if best, ok := s.Best(); ok {
		t.Errorf("best without a loss: %+v", best)
	}
}

// golden compares a text with a file in testdata, with the root cut out.
func golden(t *testing.T, name string, write func(io.Writer) error, root string) {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(out.String(), root, "ROOT")
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), UPDATE_GOLDEN=1 go test writes it anew:\n%s", path, diff)
	}
}

func TestWatch_EndsWithTheGrid(t *testing.T) {
	for _, tty := range []bool{false, true} {
		s := newScene(t, "ok", "ok")
		p := s.plan()
		ticks := make(chan time.Time)
		var out bytes.Buffer
		ended := make(chan error, 1)
		go func() { ended <- Watch(context.Background(), p, WatchOptions{Out: &out, TTY: tty, Ticks: ticks}) }()
		ticks <- time.Time{} // has looked once
		mustRun(t, s, s.options(), record.OK)
		close(ticks)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		text := out.String()
		if !strings.Contains(text, "planned") || !strings.Contains(text, "2 cells, 2 done") || strings.Contains(text, "\x1b") != tty {
			t.Errorf("tty %v:\n%s", tty, text)
		}
	}
}

func TestWatch_EndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Watch(ctx, newScene(t, "ok").plan(), WatchOptions{Out: io.Discard}); err != nil {
		t.Error(err)
	}
}

func TestText_ForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1k", 12345: "12.3k", 4570000: "4.57M", 999999: "1M", 20e9: "20G", math.MaxInt64: "9.22e+03P"} {
		if got := countText(n); got != want {
			t.Errorf("countText(%d) = %q, want %q", n, got, want)
		}
	}
	for seconds, want := range map[float64]string{0: "0.0s", 4.21: "4.2s", 59: "59s", 200: "3m20s", 18420: "5h07m", 183600: "2d03h", -1: "-", math.Inf(1): "-"} {
		if got := durationText(seconds); got != want {
			t.Errorf("durationText(%v) = %q, want %q", seconds, got, want)
		}
	}
}

func FuzzReadAddress(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:9090\n", "[::1]:80", "a\"b:1", ":", "[fe80::1%eth0]:99"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, addressName), text, 0o644); err != nil {
			t.Fatal(err)
		}
		if address := readAddress(dir); strings.ContainsAny(address, "\"\\ \n{}") || len(address) > 256 {
			t.Errorf("%q gave %q", text, address)
		}
	})
}
