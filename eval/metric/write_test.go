package metric_test

import (
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/eval/metric"
	"plasticity/record"
	"plasticity/record/recordtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// report scores the worked problems as a task.
func report(t *testing.T, problems []metric.Problem) metric.Report {
	t.Helper()
	result, err := metric.Score(problems, fakeJudge{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	config := struct {
		Answers string `json:"answers"`
	}{"numbers <1>"}
	return metric.Report{Model: "worked by hand", Tasks: []metric.Task{{Name: "arithmetic", Config: config, Result: result}}}
}

func TestWrite_Golden(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	if unchanged, err := metric.Write(record.OS(), dir, report(t, worked())); err != nil || unchanged {
		t.Fatal(unchanged, err)
	}
	for _, name := range []string{metric.ResultsFile, metric.SamplesFile("arithmetic")} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s differs (-want +got); accept with: go test ./eval/metric -run %s -update\n%s", golden, t.Name(), diff)
		}
	}
}

func TestWrite_NeverReplacesAnotherResult(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	samples := filepath.Join(dir, metric.SamplesFile("arithmetic"))
	if err := os.WriteFile(samples, []byte("what a killed one left"), 0o644); err != nil {
		t.Fatal(err)
	}
	write := func(problems []metric.Problem) (bool, error) {
		return metric.Write(record.OS(), dir, report(t, problems))
	}
	if unchanged, err := write(worked()); err != nil || unchanged {
		t.Fatal(unchanged, err)
	}
	if unchanged, err := write(worked()); err != nil || !unchanged {
		t.Error("the same again:", unchanged, err)
	}
	before, err := os.ReadFile(samples)
	if err != nil {
		t.Fatal(err)
	}
	// The same numbers from another answer are another result.
	other := worked()
	other[4].Responses[0] = "=5"
	if _, err := write(other); record.CodeOf(err) != record.NotPermitted || !strings.Contains(err.Error(), "choose another folder") {
		t.Error(err)
	}
	// Samples that were lost or damaged are written again.
	if err := os.WriteFile(samples, before[:10], 0o644); err != nil {
		t.Fatal(err)
	}
	if unchanged, err := write(worked()); err != nil || unchanged {
		t.Error(unchanged, err)
	}
	if after, err := os.ReadFile(samples); err != nil || string(after) != string(before) {
		t.Errorf("%q, %v", after, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Error(entries, err)
	}
}

func TestWrite_RefusesPlacesAndNames(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := metric.Write(record.OS(), file, report(t, worked())); record.CodeOf(err) != record.NotPermitted {
		t.Error(err)
	}
	r := report(t, worked())
	r.Tasks[0].Name = "../up"
	if _, err := metric.Write(record.OS(), t.TempDir(), r); record.CodeOf(err) != record.Usage {
		t.Error(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, metric.ResultsFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := metric.Write(record.OS(), folder, report(t, worked())); record.CodeOf(err) != record.NotPermitted {
		t.Error(err)
	}
}

// Wherever it is killed or fails: where there are results, they are whole and so are the samples.
func TestWrite_EveryOperationGoesWrong(t *testing.T) {
	t.Parallel()
	r := report(t, worked())
	whole := recordtest.NewMemFS()
	if _, err := metric.Write(whole, "/out", r); err != nil {
		t.Fatal(err)
	}
	read := func(m *recordtest.MemFS, name string) string {
		b, err := record.ReadFile(m, "/out/"+name, 1<<20)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	results, samples := read(whole, metric.ResultsFile), read(whole, metric.SamplesFile("arithmetic"))
	states := 0
	for _, inject := range []func(m *recordtest.MemFS, n int){
		func(m *recordtest.MemFS, n int) { m.DieAt(n) },
		func(m *recordtest.MemFS, n int) { m.FailAt(n, syscall.EIO) },
		func(m *recordtest.MemFS, n int) { m.FailFrom(n, syscall.ENOSPC) },
	} {
		for n := 1; ; n++ {
			m := recordtest.NewMemFS()
			inject(m, n)
			_, err := metric.Write(m, "/out", r)
			if m.Ops() < n {
				break
			}
			for _, cut := range []recordtest.Cut{recordtest.LoseAll, recordtest.KeepNames, recordtest.Random} {
				after := m.Clone()
				after.Crash(cut, rand.New(rand.NewPCG(uint64(n), 1)))
				states++
				gotResults, gotSamples := read(after, metric.ResultsFile), read(after, metric.SamplesFile("arithmetic"))
				if gotResults != "" && (gotResults != results || gotSamples != samples) || gotSamples != "" && gotSamples != samples {
					t.Errorf("at %d (%s): half a result is left: %q, %q", n, m.OpName(n), gotResults, gotSamples)
				}
				if err == nil && gotResults == "" {
					t.Errorf("at %d (%s): it was said to be written", n, m.OpName(n))
				}
				if unchanged, err := metric.Write(after, "/out", r); err != nil || unchanged != (gotResults != "") {
					t.Errorf("at %d (%s): another time: %v, %v", n, m.OpName(n), unchanged, err)
				}
			}
		}
	}
	t.Logf("%d states after faults", states)
}

// What a reader of the harness's files needs is there.
func TestWrite_HasTheShapeOfTheHarness(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := report(t, worked())
	second := r.Tasks[0]
	second.Name = "race"
	r.Tasks = append(r.Tasks, second)
	if _, err := metric.Write(record.OS(), dir, r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, metric.ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results  map[string]map[string]any  `json:"results"`
		Configs  map[string]any             `json:"configs"`
		Versions map[string]int             `json:"versions"`
		Shots    map[string]int             `json:"n-shot"`
		Better   map[string]map[string]bool `json:"higher_is_better"`
		Counts   map[string]struct {
			Original, Effective int
		} `json:"n-samples"`
		Hashes map[string]string `json:"task_hashes"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, task := range []string{"arithmetic", "race"} {
		if got.Results[task]["alias"] != task || got.Results[task]["maj@4"] != 0.2 || got.Results[task]["n"] != 5.0 || got.Results[task]["samples"] != 4.0 {
			t.Errorf("%v", got.Results[task])
		}
		if got.Versions[task] != 1 || !got.Better[task]["orm"] || got.Counts[task].Effective != 5 || len(got.Hashes[task]) != 64 || got.Configs[task] == nil {
			t.Errorf("%s: %+v", task, got)
		}
	}
}
