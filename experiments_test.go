package plasticity_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/plots"
	"plasticity/sweeps"
)

var update = flag.Bool("update", false, "write the costs in docs/experiments.md anew")

// experiments are the grids that `make exp-NAME` runs, by the name of their file: all but the quickstart's.
func experiments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("sweeps/grids/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no grids", err)
	}
	out := make(map[string]string)
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); name != "weight-decay-quickstart" {
			out[name] = file
		}
	}
	return out
}

// forecast plans a scale of a grid as if no data were there, so that it says the same on every machine.
func forecast(t *testing.T, file, scale string, on sweeps.Processor) sweeps.Forecast {
	t.Helper()
	grid, err := config.LoadGrid(file, scale, []string{"data.train=nowhere/train", "data.val=nowhere/val"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := sweeps.NewForecast(grid, "nowhere", "nowhere/tasks", on)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestExperiments_AreWhole(t *testing.T) {
	doc, err := os.ReadFile("docs/experiments.md")
	if err != nil {
		t.Fatal(err)
	}
	all := experiments(t)
	args := []string{"-n"}
	for name := range all {
		args = append(args, "exp-"+name)
	}
	commands := string(run(t, nil, "make", args...))
	for name, file := range all {
		grid, err := config.LoadGrid(file, "", nil, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if grid.Name != name || grid.Claim == "" || len(grid.Figures) == 0 {
			t.Errorf("%s: name %q, claim %q, figures %v", file, grid.Name, grid.Claim, grid.Figures)
		}
		for _, figure := range grid.Figures {
			if !slices.Contains(plots.Names(), figure) {
				t.Errorf("%s: there is no figure %s", file, figure)
			}
		}
		for _, scale := range []string{"smoke", "laptop", "paper"} {
			if !slices.Contains(grid.Scales, scale) {
				t.Errorf("%s has no scale %s", file, scale)
			}
		}
		if !strings.Contains(commands, "tools/experiment.sh "+name+" ") {
			t.Errorf("make exp-%s does not run the experiment", name)
		}
		if !strings.Contains(string(doc), "\n| `"+name+"` | ") {
			t.Errorf("docs/experiments.md has no row for %s", name)
		}
	}
}

// hoursOnCores is about how long two AMX cores take: at the speed that 72 models of 0.17M parameters and 21 of 0.94M were trained with
// (docs/results/loss-vs-decay.md), and as much as a process of a sweep takes besides.
func hoursOnCores(f sweeps.Forecast) float64 {
	const small, larger, perProcess = 0.4e12, 0.65e12, 0.35
	seconds := 0.0
	for _, row := range f.Rows {
		speed := small
		if row.Cell.Parameters > 500_000 {
			speed = larger
		}
		seconds += float64(row.Cell.FLOPs)/speed + perProcess
	}
	return seconds / 3600
}

func TestExperiments_CostsAreTold(t *testing.T) {
	const file, from, to = "docs/experiments.md", "<!-- costs: go test -run TestExperiments . -update -->\n", "<!-- end of costs -->"
	gpu := sweeps.GPUs()[1]
	gpu.Utilisation = 0.4
	var b strings.Builder
	b.WriteString("| experiment | scale | models | fine-tunings | evaluations | tokens of pretraining | FLOPs | time | checkpoints |\n|---|---|---|---|---|---|---|---|---|\n")
	all := experiments(t)
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		grid, err := config.LoadGrid(all[name], "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		together := 0.0 // hours of the laptop's scales
		for _, scale := range grid.Scales {
			f := forecast(t, all[name], scale, gpu)
			c := f.Cost
			took := short(float64(c.Hours)) + " H100-hours"
			if !strings.HasPrefix(scale, "paper") {
				hours := hoursOnCores(f)
				took = timeText(hours)
				if strings.HasPrefix(scale, "laptop") {
					together += hours
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %s | %.2g | %s | %s |\n", name, scale, c.Models, c.Finetunings, c.Evaluations,
				short(float64(c.PretrainTokens)), float64(c.FLOPs), took, short(float64(c.Checkpoints))+"B")
		}
		if together > 2 {
			t.Errorf("%s at laptop scale: about %.1f hours, want under two", name, together)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), from)
	old, after, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatalf("%s has no block between %q and %q", file, from, to)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+from+b.String()+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, b.String()); diff != "" {
		t.Errorf("costs in %s are not those of the plans (-told +planned); write them with `go test -run TestExperiments . -update`:\n%s", file, diff)
	}
}

// timeText writes hours in minutes, or in seconds.
func timeText(hours float64) string {
	if hours < 1.0/60 {
		return fmt.Sprintf("%.0f s", hours*3600)
	}
	return fmt.Sprintf("%.0f min", hours*60)
}

// short writes a number with two digits and a unit: 3.3M.
func short(v float64) string {
	for _, unit := range []string{"", "k", "M", "G", "T"} {
		if v < 999.5 {
			if v >= 99.5 {
				return strconv.FormatFloat(v, 'f', 0, 64) + unit
			}
			return strconv.FormatFloat(v, 'g', 2, 64) + unit
		}
		v /= 1000
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + "P"
}
