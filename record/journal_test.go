package record_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
	"plasticity/record/recordtest"
)

// metricsPath is the journal in the file systems of these tests.
const metricsPath = runDir + "/" + record.MetricsFile

// steps reads the journal as a report would.
func steps(t *testing.T, fsys record.FS) (got []int64, problems []record.Problem) {
	t.Helper()
	run, err := record.OpenFS(fsys, runDir)
	if err != nil {
		t.Fatal(err)
	}
	metrics, problems, err := run.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metrics {
		if m.Loss != record.Float(m.Step)/3 {
			t.Errorf("step %d has loss %v", m.Step, m.Loss)
		}
		got = append(got, m.Step)
	}
	return got, problems
}

func row(step int64) record.Metric { return record.Metric{Step: step, Loss: record.Float(step) / 3} }

// putFile writes a durable file.
func putFile(t *testing.T, fsys record.FS, path, text string) {
	t.Helper()
	if err := record.WriteFileAtomic(fsys, path, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// getFile reads a file.
func getFile(t *testing.T, fsys record.FS, path string) string {
	t.Helper()
	text, err := record.ReadFile(fsys, path, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOpenJournal_RepairsTail(t *testing.T) {
	t.Parallel()
	const first = `{"step":1,"loss":0.3333333333333333}`
	long := `{"step":2,"x":"` + strings.Repeat("y", 200<<10)
	for _, c := range []struct{ name, text, want, torn string }{
		{"empty", "", "", ""},
		{"whole", first + "\n", first + "\n", ""},
		{"torn", first + "\n" + `{"step":2,"lo`, first + "\n", `{"step":2,"lo`},
		{"only the end is missing", first, first + "\n", ""},
		{"zeros of a power cut", first + "\n\x00\x00\x00", first + "\n", "\x00\x00\x00"},
		{"torn first line", `{"st`, "", `{"st`},
		{"torn long line", first + "\n" + long, first + "\n", long},
		{"a number is no object", first + "\n12", first + "\n", "12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := startFS(t, smallFiles)
			putFile(t, m, metricsPath, c.text)
			j, err := record.OpenJournal(m, metricsPath)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.Append(row(9)), j.Close(), j.Close()); err != nil {
				t.Fatal(err)
			}
			text := getFile(t, m, metricsPath)
			if got, ok := strings.CutPrefix(text, c.want); !ok || !strings.HasPrefix(got, `{"step":9,`) || strings.Count(got, "\n") != 1 {
				t.Errorf("got %.200q", text)
			}
			if c.torn != "" {
				if got := getFile(t, m, metricsPath+".torn"); got != c.torn {
					t.Errorf("the torn bytes are %.80q, want %.80q", got, c.torn)
				}
			}
		})
	}
}

func TestJournal_EveryOperationGoesWrong(t *testing.T) {
	t.Parallel()
	states := 0
	for kind, inject := range faults() {
		for n := 1; ; n++ {
			m := startFS(t, smallFiles)
			putFile(t, m, metricsPath, `{"step":1,"loss":0.3333333333333333}`+"\n"+`{"step":2,`)
			base := m.Clone()
			inject(base, n)
			// What was synced must be there after any end, what was appended after a kill.
			appended, synced := int64(1), int64(1)
			if j, err := record.OpenJournal(base, metricsPath); err == nil {
				for step := int64(2); step <= 5; step++ {
					if j.Append(row(step)) == nil {
						appended = step
					}
					if j.Sync() == nil {
						appended, synced = step, step
					}
				}
			}
			if base.Ops() < n {
				break
			}
			for end, after := range afterDeath(base, uint64(n)) {
				states++
				want := synced
				if end == "kill" {
					want = appended
				}
				again, err := record.OpenJournal(after, metricsPath)
				if err != nil {
					t.Errorf("%s at %d (%s), %s: %v", kind, n, base.OpName(n), end, err)
					continue
				}
				if err := errors.Join(again.Append(row(6)), again.Close()); err != nil {
					t.Error(err)
				}
				got, problems := steps(t, after)
				if end == "kill" && len(problems) > 0 {
					t.Errorf("%s at %d (%s), %s: %v", kind, n, base.OpName(n), end, problems)
				}
				if int64(len(got)) < want+1 || got[want-1] != want || got[len(got)-1] != 6 {
					t.Errorf("%s at %d (%s), %s: rows %v, want 1 to %d and 6", kind, n, base.OpName(n), end, got, want)
				}
			}
		}
	}
	t.Logf("%d states after faults: no synced row lost, none joined", states)
}

func TestJournal_PowerCutLosesNoSyncedRow(t *testing.T) {
	t.Parallel()
	chains := uint64(300)
	if hurry() {
		chains = 30
	}
	for seed := range chains {
		rng := rand.New(rand.NewPCG(seed, 0))
		m := startFS(t, smallFiles)
		var synced int64
		for step := int64(1); step < 40; {
			j, err := record.OpenJournal(m, metricsPath)
			if err != nil {
				t.Fatal(err)
			}
			for range rng.IntN(6) {
				if err := j.Append(row(step)); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(3) == 0 {
					if err := j.Sync(); err != nil {
						t.Fatal(err)
					}
					synced = step
				}
				step++
			}
			m.Crash(recordtest.Random, rng)
			got, _ := steps(t, m)
			if int64(len(got)) < synced {
				t.Fatalf("seed %d: %d rows of %d synced", seed, len(got), synced)
			}
			step = int64(len(got)) + 1 // rows that were not synced are gone
		}
	}
}

func TestJournal_DiskFullKeepsRowsInMemory(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	j, err := record.OpenJournal(m, metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(row(1)); err != nil {
		t.Fatal(err)
	}
	m.SetCapacity(usedBytes(t, m) + 50) // half a line
	for step := int64(2); step <= 4; step++ {
		if err := j.Append(row(step)); record.CodeOf(err) != record.IO {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if got, problems := steps(t, m); len(got) != 1 || len(problems) > 0 {
		t.Fatalf("on a full disk: %v, %v: want only the first row and no half one", got, problems)
	}
	m.SetCapacity(math.MaxInt64)
	if err := errors.Join(j.Append(row(5)), j.Close()); err != nil {
		t.Fatal(err)
	}
	if got, problems := steps(t, m); !cmp.Equal(got, []int64{1, 2, 3, 4, 5}) || len(problems) > 0 {
		t.Errorf("after there was room: %v, %v", got, problems)
	}
}

// When too much waits, a line is lost with an error that says so, and the first one with room again takes all others along.
func TestJournal_FullMemoryTriesTheDiskAgain(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	j, err := record.OpenJournal(m, metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	long := func(step int64) any {
		return map[string]any{"step": step, "loss": record.Float(step) / 3, "pad": strings.Repeat("x", record.MaxLine/2)}
	}
	m.SetCapacity(usedBytes(t, m))
	kept := int64(0)
	for err = nil; !errors.Is(err, record.ErrLineLost); kept++ {
		if kept > 100 {
			t.Fatal("memory is never full")
		}
		if err = j.Append(long(kept + 1)); record.CodeOf(err) != record.IO {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	kept-- // the last one was lost
	m.SetCapacity(math.MaxInt64)
	if err := errors.Join(j.Append(long(kept+1)), j.Close()); err != nil {
		t.Fatal(err)
	}
	if got, problems := steps(t, m); int64(len(got)) != kept+1 || len(problems) > 0 {
		t.Errorf("%d of %d rows, %v", len(got), kept+1, problems)
	}
}

func TestJournal_CloseSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	j, err := record.OpenJournal(m, metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	m.FailFrom(m.Ops()+1, syscall.ENOSPC)
	_ = j.Append(row(1))
	err = j.Close()
	if record.CodeOf(err) != record.IO || !strings.Contains(err.Error(), "1 lines are lost") {
		t.Errorf("got %v", err)
	}
	if err := j.Append(row(2)); record.CodeOf(err) != record.Internal {
		t.Errorf("append after close: %v", err)
	}
}

func TestJournal_RefusesWhatCannotBeALine(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	j, err := record.OpenJournal(m, metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{math.NaN(), func() {}, strings.Repeat("x", record.MaxLine)} {
		if err := j.Append(v); record.CodeOf(err) != record.Internal {
			t.Errorf("%.20v: %v", v, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// Lines of a journal with a limit of its own may be longer than a run's, and are found whole or cut off as others are.
func TestJournal_OwnLimit(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	const limit = 12 << 20 // more than what waits for a disk
	j, err := record.OpenJournalOf(m, metricsPath, limit)
	if err != nil {
		t.Fatal(err)
	}
	long := map[string]string{"text": strings.Repeat("x", limit-len(`{"text":""}`))}
	if err := errors.Join(j.Append(long), j.Close()); err != nil {
		t.Fatal(err)
	}
	if j, err = record.OpenJournalOf(m, metricsPath, limit); err != nil {
		t.Fatal(err)
	}
	long["text"] += "x"
	if err := j.Append(long); record.CodeOf(err) != record.Internal {
		t.Errorf("a line over the limit: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	text, err := record.ReadFile(m, metricsPath, 2*limit)
	if err != nil || len(text) != limit+1 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestMetrics_Tolerant(t *testing.T) {
	t.Parallel()
	pad := func(n int) string { return `,"pad":"` + strings.Repeat("p", n) + `"}` }
	for _, c := range []struct {
		name, text string
		want       []int64
		lines      []int // of the problems
	}{
		{"no file", "", nil, nil},
		{"torn last line", "{\"step\":1}\n{\"step\":2,\"lo", []int64{1}, []int{2}},
		{"last line without its end", "{\"step\":1}\n{\"step\":2}", []int64{1, 2}, nil},
		{"damaged in the middle", "{\"step\":1}\n{\"st\x00\n\n{\"step\":3}\n", []int64{1, 3}, []int{2}},
		{"later lines of a step count", "{\"step\":2,\"loss\":9}\n{\"step\":1}\n{\"step\":2}\n", []int64{1, 2}, nil},
		{"100 KiB line", "{\"step\":1" + pad(100<<10) + "\n{\"step\":2}\n", []int64{1, 2}, nil},
		{"line of the limit", "{\"step\":1" + pad(record.MaxLine-19) + "\n{\"step\":2}\n", []int64{1, 2}, nil},
		{"line over the limit", "{\"step\":1" + pad(record.MaxLine-18) + "\n{\"step\":2}\n", []int64{2}, []int{1}},
		{"3 MiB without an end", "{\"step\":1}\n" + strings.Repeat("z", 3<<20), []int64{1}, []int{2}},
		{"no step, negative, null, wrong type", "{}\n{\"step\":-1}\nnull\n{\"step\":\"1\"}\n[1]\n", nil, []int{1, 2, 3, 4, 5}},
		{"steps beyond 2^53", "{\"step\":9007199254740993}\n", []int64{9007199254740993}, nil},
		{"a number out of range", "{\"step\":1,\"loss\":1e400}\n", nil, []int{1}},
		{"windows line ends", "{\"step\":1}\r\n{\"step\":2}\r\n", []int64{1, 2}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := startFS(t, smallFiles)
			if c.text != "" {
				putFile(t, m, metricsPath, c.text)
			}
			run, err := record.OpenFS(m, runDir)
			if err != nil {
				t.Fatal(err)
			}
			metrics, problems, err := run.Metrics()
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, m := range metrics {
				got = append(got, m.Step)
				if m.Loss == 9 {
					t.Error("an earlier line won")
				}
			}
			var lines []int
			for _, p := range problems {
				lines = append(lines, p.Line)
				if p.Path != metricsPath || !strings.Contains(p.String(), fmt.Sprintf("%s:%d: ", metricsPath, p.Line)) {
					t.Errorf("problem %q does not name its line", p)
				}
			}
			if !cmp.Equal(got, c.want) || !cmp.Equal(lines, c.lines) {
				t.Errorf("steps %v, want %v; problems at lines %v, want %v", got, c.want, lines, c.lines)
			}
		})
	}
}

func TestMetrics_ManyProblemsAreBounded(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	putFile(t, m, metricsPath, strings.Repeat("?\n", 5000)+"{\"step\":1}\n")
	run, err := record.OpenFS(m, runDir)
	if err != nil {
		t.Fatal(err)
	}
	metrics, problems, err := run.Metrics()
	if err != nil || len(metrics) != 1 || len(problems) != 100 || !strings.Contains(problems[99].What, "not listed") {
		t.Errorf("%d metrics, %d problems, %v", len(metrics), len(problems), err)
	}
}

func TestMetrics_NotARegularFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := record.Create(record.OS(), dir, record.Info{ID: "cell"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(run.Path(record.MetricsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(run.Path(record.EventsFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run.Metrics(); record.CodeOf(err) != record.BadData {
		t.Errorf("a named pipe: %v", err)
	}
	if _, _, err := run.Events(); record.CodeOf(err) != record.BadData {
		t.Errorf("a folder: %v", err)
	}
	if _, err := record.OpenJournal(record.OS(), run.Path(record.MetricsFile)); err == nil {
		t.Error("a journal opened on a named pipe")
	}
	target := filepath.Join(dir, "target")
	if err := os.Symlink(target, filepath.Join(dir, "link.jsonl")); err != nil {
		t.Fatal(err)
	}
	if _, err := record.OpenJournal(record.OS(), filepath.Join(dir, "link.jsonl")); err == nil {
		t.Error("a journal opened through a link")
	}
}

// sameFloat compares numbers with NaN equal to itself.
func sameFloat() cmp.Option {
	return cmp.Comparer(func(a, b record.Float) bool {
		return a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b))
	})
}

func TestMetric_RoundTrip(t *testing.T) {
	t.Parallel()
	val, nan := record.Float(2.5), record.Float(math.NaN())
	want := []record.Metric{
		{Step: 1, Tokens: 1 << 60, Loss: nan, GradNorm: record.Float(math.Inf(1)), ParamNorm: record.Float(math.Inf(-1)), ValLoss: &val, ValBitsPerByte: &nan},
		{Step: 2, Tokens: 7, Loss: 3.141592653589793, LearningRate: 5e-324, WeightDecay: 0.1, StepSeconds: 1e-7, TokensPerSecond: 1.7e308},
	}
	m := startFS(t, smallFiles)
	j, err := record.OpenJournal(m, metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range want {
		if err := j.Append(metric); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	run, err := record.OpenFS(m, runDir)
	if err != nil {
		t.Fatal(err)
	}
	got, problems, err := run.Metrics()
	if diff := cmp.Diff(want, got, sameFloat()); diff != "" || err != nil || len(problems) > 0 {
		t.Errorf("%s %v %v", diff, problems, err)
	}
}

func FuzzParseMetric(f *testing.F) {
	for _, s := range []string{`{"step":1,"loss":"NaN"}`, `{"step":1,"val_loss":null}`, `{"step":1e400}`, `[`, "", "\x00", `{"step":1}x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := record.ParseMetric(line)
		if err == nil && (m.Step < 0 || m.Tokens < 0) {
			t.Errorf("accepted %+v", m)
		}
		// Whatever the bytes, a journal that holds them can be read and opened, and new rows do not join them.
		fsys := recordtest.NewMemFS()
		if err := fsys.Mkdir("/r", record.DirMode); err != nil {
			t.Fatal(err)
		}
		putFile(t, fsys, "/r/"+record.MetricsFile, string(line))
		putFile(t, fsys, "/r/"+record.InfoFile, `{"schema":1,"id":"r"}`)
		j, err := record.OpenJournal(fsys, "/r/"+record.MetricsFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.Append(row(math.MaxInt64)), j.Close()); err != nil {
			t.Fatal(err)
		}
		run, err := record.OpenFS(fsys, "/r")
		if err != nil {
			t.Fatal(err)
		}
		metrics, _, err := run.Metrics()
		if err != nil || len(metrics) == 0 || metrics[len(metrics)-1].Step != math.MaxInt64 {
			t.Errorf("the new row is lost: %v, %v", metrics, err)
		}
	})
}
