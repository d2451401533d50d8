package metric_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/eval/metric"
	"plasticity/record"
)

// apart writes each task of a report into its own folder below dir.
func apart(t *testing.T, dir string, r metric.Report) []string {
	t.Helper()
	var names []string
	for _, task := range r.Tasks {
		if _, err := metric.Write(record.OS(), filepath.Join(dir, task.Name), metric.Report{Model: r.Model, Tasks: []metric.Task{task}}); err != nil {
			t.Fatal(err)
		}
		names = append(names, task.Name)
	}
	return names
}

// twoTasks are the worked problems under two names.
func twoTasks(t *testing.T) metric.Report {
	t.Helper()
	r := report(t, worked())
	other := r.Tasks[0]
	other.Name = "judge"
	r.Tasks = append(r.Tasks, other)
	return r
}

// Results of tasks in folders of their own, merged in any order, are to the byte what they would have been if written together.
func TestMerge_IsWhatWriteMakes(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 2; n++ {
		together, dir, r := t.TempDir(), t.TempDir(), twoTasks(t)
		r.Tasks = r.Tasks[:n]
		if _, err := metric.Write(record.OS(), together, r); err != nil {
			t.Fatal(err)
		}
		names := apart(t, dir, r)
		if unchanged, err := metric.Merge(record.OS(), dir, names); err != nil || unchanged {
			t.Fatal(unchanged, err)
		}
		var texts [2]string
		for i, folder := range []string{together, dir} {
			text, err := os.ReadFile(filepath.Join(folder, metric.ResultsFile))
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = string(text)
		}
		if diff := cmp.Diff(texts[0], texts[1]); diff != "" {
			t.Errorf("%d tasks (-together +merged):\n%s", n, diff)
		}
		if unchanged, err := metric.Merge(record.OS(), dir, []string{names[n-1], names[0]}[:n]); err != nil || !unchanged {
			t.Errorf("%d tasks again, in another order: %v %v", n, unchanged, err)
		}
	}
}

func TestMerge_Refuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := apart(t, dir, twoTasks(t))
	merge := func() error {
		_, err := metric.Merge(record.OS(), dir, names)
		return err
	}
	results := filepath.Join(dir, "judge", metric.ResultsFile)
	whole, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		text  string
		code  record.Code
		words string
	}{
		"another model": {strings.Replace(string(whole), "worked by hand", "another", 1), record.Mismatch, "different models"},
		"another task":  {strings.ReplaceAll(string(whole), `"judge"`, `"quiz"`), record.BadData, `"results" has nothing of the task`},
		"no JSON":       {"{", record.BadData, "remove the file"},
	} {
		if err := os.WriteFile(results, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := merge(); record.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), results) {
			t.Errorf("%s: %v, want %d with %q", what, err, c.code, c.words)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, metric.ResultsFile)); err == nil {
		t.Error("there are results of them")
	}
}

// A folder with the results of other tasks is refused before anything is evaluated.
func TestCheckMerge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := metric.CheckMerge(record.OS(), dir, []string{"a", "b"}); err != nil {
		t.Error("an empty folder:", err)
	}
	names := apart(t, dir, twoTasks(t))
	if _, err := metric.Merge(record.OS(), dir, names); err != nil {
		t.Fatal(err)
	}
	if err := metric.CheckMerge(record.OS(), dir, []string{"judge", "arithmetic"}); err != nil {
		t.Error("the same tasks:", err)
	}
	err := metric.CheckMerge(record.OS(), dir, []string{"judge", "arithmetic", "race"})
	if record.CodeOf(err) != record.NotPermitted || !strings.Contains(err.Error(), "arithmetic judge") {
		t.Errorf("another task: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, metric.ResultsFile), []byte("[]"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := metric.CheckMerge(record.OS(), dir, names); record.CodeOf(err) != record.BadData {
		t.Errorf("no object: %v", err)
	}
}
