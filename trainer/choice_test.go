package trainer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
)

// What auto takes, what is refused, and what is said when the engine cannot run.
func TestChooseStep(t *testing.T) {
	none := func(string) (string, error) { return "", record.Fail(record.Internal, "no instruction set") }
	best := func(isa string) (string, error) {
		if isa == "" {
			isa = "avx512"
		}
		if isa == "amx" {
			return none(isa)
		}
		return isa, nil
	}
	host := placement{device: torch.CPU}
	for _, c := range []struct {
		step, isa string
		probe     func(string) (string, error)
		want      choice
		refusal   string
	}{
		{step: "auto", isa: "auto", probe: best, want: choice{engine: true, isa: "avx512"}},
		{step: "auto", isa: "avx2", probe: best, want: choice{engine: true, isa: "avx2"}},
		{step: "engine", isa: "auto", probe: best, want: choice{engine: true, isa: "avx512"}},
		{step: "reference", isa: "auto", probe: none},
		{step: "auto", isa: "amx", probe: best, refusal: "isa: auto"},
		{step: "auto", isa: "avx2", probe: none, refusal: "isa: auto"},
		{step: "engine", isa: "auto", probe: none, refusal: "step: auto"},
	} {
		got, err := chooseStep(config.Run{Step: c.step, ISA: c.isa}, host, c.probe)
		if c.refusal != "" {
			if record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), c.refusal) {
				t.Errorf("step %s, isa %s: %v, want 64 with %q", c.step, c.isa, err, c.refusal)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("step %s, isa %s: %+v, %v, want %+v", c.step, c.isa, got, err, c.want)
		}
	}
	got, err := chooseStep(config.Run{Step: "auto", ISA: "auto"}, host, none)
	if err != nil || got.engine || !strings.Contains(got.why, "AVX2") || got.name() != config.StepReference {
		t.Errorf("without any instruction set: %+v, %v", got, err)
	}
}

// A CPU that has no kernels for the engine trains with the reference, and one line says so, on the console and in the
// record.
func TestTrain_FallsBack(t *testing.T) {
	prepared := corpus(t, 1)
	none := func(string) (string, error) { return "", record.Fail(record.Internal, "no instruction set") }
	dir := filepath.Join(folder(t), "run")
	var said strings.Builder
	if _, err := train(t, dir, settings(prepared), func(o *Options) { o.Console, o.probe = &said, none }); err != nil {
		t.Fatal(err)
	}
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	warnings := 0
	for _, e := range eventsOf(t, dir) {
		if e.Kind == record.EventWarning && strings.Contains(e.Detail, "AVX2") {
			warnings++
		}
	}
	if run.Info.Step != config.StepReference || run.Info.ISA != "" || warnings != 1 || strings.Count(said.String(), "AVX2") != 1 {
		t.Errorf("step %s, isa %q, %d warnings; said: %s", run.Info.Step, run.Info.ISA, warnings, said.String())
	}
	if _, err := train(t, filepath.Join(folder(t), "run"), settings(prepared, "step=engine"), func(o *Options) { o.probe = none }); record.CodeOf(err) != record.Usage {
		t.Errorf("step engine: %v, want 64", err)
	}
}

// A program that does not know its commit says so once, on the console and in the record; one that does says nothing.
func TestTrain_NamesItsCommit(t *testing.T) {
	prepared := corpus(t, 1)
	for commit, want := range map[string]int{"": 1, "c0ffee": 0} {
		dir := filepath.Join(folder(t), "run")
		var said strings.Builder
		if _, err := train(t, dir, settings(prepared), func(o *Options) { o.Console, o.Program.Commit = &said, commit }); err != nil {
			t.Fatal(err)
		}
		warnings := 0
		for _, e := range eventsOf(t, dir) {
			if e.Kind == record.EventWarning && e.Detail == record.NoCommit {
				warnings++
			}
		}
		if warnings != want || strings.Count(said.String(), record.NoCommit) != want {
			t.Errorf("commit %q: %d warnings; said: %s", commit, warnings, said.String())
		}
	}
}

// What ran is in the record and in the first line; who forces an implementation gets the same id; a checkpoint of another
// implementation, or of other kernels, is gone on with under a warning.
func TestTrain_SaysWhichStep(t *testing.T) {
	prepared := corpus(t, 1)
	ids := map[string]bool{}
	sets := isas(t)
	for _, c := range []struct {
		set, step, isa string
	}{{"step=auto", "engine", sets[len(sets)-1]}, {"step=engine", "engine", sets[len(sets)-1]}, {"isa=avx2", "engine", "avx2"}, {"step=reference", "reference", ""}} {
		dir := filepath.Join(folder(t), "run")
		var said strings.Builder
		result, err := train(t, dir, settings(prepared, c.set), func(o *Options) { o.Console = &said })
		if err != nil {
			t.Fatal(err)
		}
		ids[result.ID] = true
		run, err := record.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if run.Info.Step != c.step || run.Info.ISA != c.isa {
			t.Errorf("%s: the record says step %q, isa %q", c.set, run.Info.Step, run.Info.ISA)
		}
		first, _, _ := strings.Cut(said.String(), "\n")
		if !strings.Contains(first, stepText(c.step, c.isa, "f32", 1)) {
			t.Errorf("%s: the first line is %q", c.set, first)
		}
		t.Log(first)
	}
	if len(ids) != 1 {
		t.Errorf("the ids %v differ", ids)
	}
	dir := filepath.Join(folder(t), "run")
	if _, err := train(t, dir, settings(prepared, "isa=avx2"), stopping(5)); record.CodeOf(err) != record.Stopped {
		t.Fatal(err)
	}
	if _, err := train(t, dir, settings(prepared, "step=reference"), stopping(5)); record.CodeOf(err) != record.Stopped {
		t.Fatal(err)
	}
	if _, err := train(t, dir, settings(prepared, "isa=avx2"), stopping(5)); record.CodeOf(err) != record.Stopped {
		t.Fatal(err)
	}
	if len(sets) > 1 {
		if _, err := train(t, dir, settings(prepared)); err != nil {
			t.Fatal(err)
		}
	}
	var warnings []string
	for _, e := range eventsOf(t, dir) {
		if e.Kind == record.EventWarning {
			warnings = append(warnings, e.Detail)
		}
	}
	want := []string{"step engine, this process has reference", "step reference, this process has engine", "kernels for avx2, this process has " + sets[len(sets)-1]}
	if len(sets) == 1 {
		want = want[:2]
	}
	if len(warnings) != len(want) {
		t.Fatalf("warnings %q, want %q", warnings, want)
	}
	for i := range want {
		if !strings.Contains(warnings[i], want[i]) {
			t.Errorf("warning %q lacks %q", warnings[i], want[i])
		}
	}
}

func eventsOf(t testing.TB, dir string) []record.Event {
	t.Helper()
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	events, problems, err := run.Events()
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	return events
}

// Who insists on a step or on kernels of the CPU gets the CPU, or, having insisted on a GPU too, is told that both do not go.
func TestPlace_AForcedStepIsTheCPUs(t *testing.T) {
	for _, set := range []string{"step=engine", "step=reference", "isa=avx2"} {
		at, err := place(load(t, []string{"device=auto", "precision=bf16", set}))
		if err != nil || at.device != torch.CPU || at.note != "" {
			t.Errorf("%s: %+v, %v", set, at, err)
		}
		key, _, _ := strings.Cut(set, "=")
		_, err = place(load(t, []string{"device=cuda", "precision=bf16", set}))
		if record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), "set "+key+": auto") {
			t.Errorf("%s on a GPU: %v, want 64 with %s: auto", set, err, key)
		}
	}
}
