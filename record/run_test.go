package record_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
	"plasticity/record/recordtest"
)

// fullInfo has a value in every field.
func fullInfo() record.Info {
	return record.Info{
		ID: "0123456789abcdef", Name: "llama2-tiny", Grid: "quickstart", Kind: "pretrain", Task: "judge", Parents: []string{"aa"}, Seed: -1 << 62,
		Axes:   []record.Axis{{Name: "optimizer.weight_decay", Value: "0"}, {Name: "optimizer.lr", Value: "1e-3"}},
		Commit: "c0ffee", Dirty: true, Program: "v1", Shim: "ab", Libtorch: "2.11.0", CPU: "avx512", Device: "cpu", Precision: "bf16",
		Step: "reference", Threads: 2, Started: "2026-01-02T03:04:05Z", Model: "llama2-s", Parameters: 1 << 60, Tokens: 2, Steps: 3,
		TokensPerStep: 4, LearningRate: 1e-3, WeightDecay: 0, Tau: record.Float(math.Inf(1)),
		DecayGroups: []record.DecayGroup{{WeightDecay: 0.1, Parameters: []string{"a.weight"}}, {Parameters: []string{"norm.weight"}}},
		DataSource:  "state of the union", DataDigest: "d", ValDigest: "v", TokenizerDigest: "t", TrainTokens: 5, ValTokens: 6,
	}
}

func TestCreate_RoundTrip(t *testing.T) {
	t.Parallel()
	dir := path.Join(t.TempDir(), "runs", "grid", "cell")
	run, err := record.Create(record.OS(), dir, fullInfo(), []byte("given"), []byte("resolved"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(run.Info, again.Info); diff != "" || again.Info.Schema != record.Schema || len(again.Problems) > 0 {
		t.Errorf("%s %v", diff, again.Problems)
	}
	if v, ok := again.Info.Axis("optimizer.lr"); !ok || v != "1e-3" {
		t.Errorf("axis %q, %v", v, ok)
	}
	if _, ok := again.Info.Axis("x"); ok {
		t.Error("an axis that is not there")
	}
	// Again with another start time and program: the first description stays.
	later := fullInfo()
	later.Started, later.Program = "later", "v2"
	third, err := record.Create(record.OS(), dir, later, []byte("given 2"), []byte("resolved 2"))
	if err != nil || third.Info.Program != "v1" {
		t.Errorf("%v, %v", third, err)
	}
	if got := getFile(t, record.OS(), run.Path(record.ConfigFile)); got != "given" {
		t.Errorf("config %q", got)
	}
	later.ID = "another"
	if _, err := record.Create(record.OS(), dir, later, nil, nil); record.CodeOf(err) != record.Mismatch {
		t.Errorf("another run in the folder: %v", err)
	}
}

func TestCreate_EveryOperationGoesWrong(t *testing.T) {
	t.Parallel()
	states := 0
	for kind, inject := range faults() {
		for n := 1; ; n++ {
			m := recordtest.NewMemFS()
			inject(m, n)
			_, err := record.Create(m, runDir, record.Info{ID: "cell", Name: "x"}, []byte("given"), []byte("resolved"))
			if m.Ops() < n {
				break
			}
			made := err == nil
			for end, after := range afterDeath(m, uint64(n)) {
				states++
				run, err := record.OpenFS(after, runDir)
				if made && err != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s at %d (%s), %s: %v", kind, n, m.OpName(n), end, err)
				}
				if err == nil && (run.Info.Name != "x" || getFile(t, after, run.Path(record.ConfigFile)) != "given" ||
					getFile(t, after, run.Path(record.ResolvedFile)) != "resolved") {
					t.Errorf("%s at %d (%s), %s: the folder is not complete", kind, n, m.OpName(n), end)
				}
				if _, err := record.Create(after, runDir, record.Info{ID: "cell", Name: "x"}, []byte("given"), []byte("resolved")); err != nil {
					t.Errorf("again: %v", err)
				}
			}
		}
	}
	t.Logf("%d states after faults: a run is complete or not there", states)
}

func TestOpen_Damage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		code       record.Code
		problems   int
	}{
		{"right", `{"schema":1,"id":"a"}`, record.OK, 0},
		{"unknown field", `{"schema":1,"id":"a","colour":"red"}`, record.OK, 0},
		{"older schema", `{"schema":0,"id":"a"}`, record.OK, 1},
		{"no schema", `{"id":"a"}`, record.OK, 1},
		{"future schema", `{"schema":2,"id":{"new":"form"}}`, record.Mismatch, 0},
		{"negative schema", `{"schema":-1,"id":"a"}`, record.BadData, 0},
		{"empty", ``, record.BadData, 0},
		{"torn", `{"schema":1,"id":"a`, record.BadData, 0},
		{"no object", `[]`, record.BadData, 0},
		{"wrong type", `{"schema":1,"id":7}`, record.BadData, 0},
		{"no id", `{"schema":1}`, record.BadData, 0},
		{"id is a path", `{"schema":1,"id":"../../etc"}`, record.BadData, 0},
		{"name with a line end", `{"schema":1,"id":"a","name":"b\nc"}`, record.BadData, 0},
		{"deep nesting", `{"schema":1,"id":"a","x":` + strings.Repeat("[", 100000), record.BadData, 0},
		{"5 MiB", `{"schema":1,"id":"a"}` + strings.Repeat(" ", 5<<20), record.BadData, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := recordtest.NewMemFS()
			if err := m.Mkdir("/r", record.DirMode); err != nil {
				t.Fatal(err)
			}
			putFile(t, m, "/r/run.json", c.text)
			run, err := record.OpenFS(m, "/r")
			if record.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), "/r/run.json") {
				t.Fatalf("code %d: %v", record.CodeOf(err), err)
			}
			if err == nil && len(run.Problems) != c.problems {
				t.Errorf("problems %v", run.Problems)
			}
		})
	}
}

func TestCheckName_Hostile(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "0", "A-b_c.d=e", "0123456789abcdef", "wd=0.1", strings.Repeat("x", 64)} {
		if err := record.CheckName("run name", good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "/", "a/b", `a\b`, "-a", ".a", "_a", "=a", "a b", "a\n", "a\x00", "ä", "🙂", "a\u202eb", strings.Repeat("x", 65), "$(x)", "a;b",
	} {
		if err := record.CheckName("run name", bad); record.CodeOf(err) != record.Usage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRun_States(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := record.Create(record.OS(), dir, record.Info{ID: "cell"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want record.State) {
		t.Helper()
		if got := run.State(); got != want {
			t.Errorf("state %s, want %s", got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(record.StatePlanned)
	lock, err := record.Acquire(dir)
	must(err)
	expect(record.StateRunning)
	j, err := record.OpenJournal(record.OS(), run.Path(record.EventsFile))
	must(err)
	must(errors.Join(j.Append(record.Event{Time: "t", Kind: record.EventStart}), j.Close(), lock.Release()))
	expect(record.StateStopped)
	must(run.MarkFailed(record.NonFinite, "loss is NaN at step 7 "+strings.Repeat("ä", 10000)))
	expect(record.StateFailed)
	code, cause, failed := run.Failure()
	if code != record.NonFinite || !strings.HasPrefix(cause, "loss is NaN at step 7") || len(cause) > 9000 || !failed {
		t.Errorf("%d, %.40s, %v", code, cause, failed)
	}
	must(errors.Join(run.ClearFailed(), run.ClearFailed()))
	expect(record.StateStopped)
	must(run.MarkFailed(record.IO, "again"))
	must(run.Finish())
	expect(record.StateDone)
	if _, _, failed := run.Failure(); failed {
		t.Error("failed and done")
	}
	if err := run.MarkFailed(record.IO, "late"); record.CodeOf(err) != record.Internal {
		t.Errorf("failed after done: %v", err)
	}
	events, problems, err := run.Events()
	if err != nil || len(problems) > 0 || len(events) != 1 || events[0].Kind != record.EventStart {
		t.Errorf("%v, %v, %v", events, problems, err)
	}
}

func TestRun_FinishSurvivesEveryEnd(t *testing.T) {
	t.Parallel()
	base := startFS(t, smallFiles)
	run, err := record.OpenFS(base, runDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.MarkFailed(record.IO, "x"); err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		m := base.Clone()
		run, err := record.OpenFS(m, runDir)
		if err != nil {
			t.Fatal(err)
		}
		m.DieAt(m.Ops() + n)
		done := run.Finish() == nil
		for end, after := range afterDeath(m, uint64(n)) {
			again, err := record.OpenFS(after, runDir)
			if err != nil {
				t.Fatal(err)
			}
			if got := again.State(); done && got != record.StateDone {
				t.Errorf("at %d, %s: %s", n, end, got)
			}
		}
		if done {
			break
		}
	}
}

func TestFailure_DamagedMarkIsStillAMark(t *testing.T) {
	t.Parallel()
	m := startFS(t, smallFiles)
	putFile(t, m, path.Join(runDir, record.FailedFile), "{")
	run, err := record.OpenFS(m, runDir)
	if err != nil {
		t.Fatal(err)
	}
	if code, cause, failed := run.Failure(); code != record.Failed || !failed || cause == "" || run.State() != record.StateFailed {
		t.Errorf("%d, %q, %v", code, cause, failed)
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	m := recordtest.NewMemFS()
	if err := record.MkdirAll(m, "/eval"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		code record.Code
		file string
		want string
	}{
		{record.OK, record.DoneFile, `{"schema":1,"id":"judge-1","code":0,"kind":"done"}`},
		{record.BadData, record.FailedFile, `{"schema":1,"id":"judge-1","code":65,"kind":"bad data or checkpoint","cause":"why"}`},
	} {
		cause := ""
		if test.code != record.OK {
			cause = "why"
		}
		if err := record.Mark(m, "/eval", "judge-1", test.code, cause); err != nil {
			t.Fatal(err)
		}
		text, err := record.ReadFile(m, path.Join("/eval", test.file), 1000)
		if err != nil || string(text) != test.want+"\n" {
			t.Errorf("%s: %v %s", test.file, err, text)
		}
	}
	if err := record.Mark(m, "/eval", "../x", record.OK, ""); err == nil {
		t.Error("a hostile id is taken")
	}
}

func TestScan_DamagedFolders(t *testing.T) {
	t.Parallel()
	m := recordtest.NewMemFS()
	for dir, files := range map[string]map[string]string{
		"/runs/b":             {"run.json": `{"schema":1,"id":"bb"}`},
		"/runs/grid/a":        {"run.json": `{"schema":1,"id":"aa"}`},
		"/runs/grid/old":      {"run.json": `{"id":"old"}`},
		"/runs/grid/c":        {"run.json": `{"schema":1,"id":"aa"}`},
		"/runs/grid/torn":     {"run.json": `{"schema":1`},
		"/runs/grid/future":   {"run.json": `{"schema":7}`},
		"/runs/grid/half":     {"config.resolved.yaml": "a: 1"},
		"/runs/grid/notes":    {"README": "hello"},
		"/runs/grid/deep/too": {"run.json": `{"schema":1,"id":"deep"}`},
		"/runs/.hidden/x":     {"run.json": `{"schema":1,"id":"hidden"}`},
		"/runs/b/inner":       {"run.json": `{"schema":1,"id":"inside a run"}`},
		"/runs/empty":         {},
		"/runs/weird":         {"run.json/x": "a folder"},
		"/runs/grid":          {"grid.yaml": "name: x"},
	} {
		for name, text := range files {
			file := path.Join(dir, name)
			if err := m.MkdirAll(path.Dir(file), record.DirMode); err != nil {
				t.Fatal(err)
			}
			putFile(t, m, file, text)
		}
		if err := m.MkdirAll(dir, record.DirMode); err != nil {
			t.Fatal(err)
		}
	}
	runs, problems, err := record.ScanFS(m, "/runs")
	if err != nil {
		t.Fatal(err)
	}
	var got, bad []string
	for _, r := range runs {
		got = append(got, r.Info.ID+" "+r.Dir)
	}
	for _, p := range problems {
		bad = append(bad, p.Path)
	}
	if diff := cmp.Diff([]string{"aa /runs/grid/a", "aa /runs/grid/c", "bb /runs/b", "old /runs/grid/old"}, got); diff != "" {
		t.Error(diff)
	}
	want := []string{"/runs/grid/future", "/runs/grid/half", "/runs/grid/old/run.json", "/runs/grid/torn", "/runs/weird"}
	if diff := cmp.Diff(want, bad); diff != "" {
		t.Error(diff)
	}
	if runs, _, err := record.ScanFS(m, "/runs/b"); err != nil || len(runs) != 1 {
		t.Errorf("a run itself: %v, %v", runs, err)
	}
	if _, _, err := record.ScanFS(m, "/nowhere"); record.CodeOf(err) != record.Usage {
		t.Errorf("no root: %v", err)
	}
	if _, _, err := record.ScanFS(m, "/runs/b/run.json"); record.CodeOf(err) != record.Usage {
		t.Errorf("root is a file: %v", err)
	}
}

func TestScan_EveryReadFails(t *testing.T) {
	t.Parallel()
	base := recordtest.NewMemFS()
	for i := range 3 {
		if _, err := record.Create(base, fmt.Sprintf("/runs/grid/r%d", i), record.Info{ID: fmt.Sprintf("r%d", i)}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; ; n++ {
		m := base.Clone()
		m.FailAt(n, errors.New("bad sector"))
		runs, problems, err := record.ScanFS(m, "/runs")
		if m.Ops() < n {
			break
		}
		if err == nil && len(problems) == 0 && len(runs) < 3 {
			t.Errorf("a failure at %d (%s) hid a run: %d left", n, m.OpName(n), len(runs))
		}
	}
}
