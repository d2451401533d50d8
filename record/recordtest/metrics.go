package recordtest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	sample = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? `)
	label  = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
)

// MetricList makes of a page of metrics in Prometheus' text format a line a metric, without its values:
//
//	plasticity_sweep_runs gauge {grid,state} Runs and evaluations of the grid by state.
//
// What only some systems show of a process is left out.
func MetricList(page string) string {
	help, labels := map[string]string{}, map[string]string{}
	var lines []string
	for line := range strings.Lines(page) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if m := sample.FindStringSubmatch(line); m != nil {
			var names []string
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				names = append(names, l[1])
			}
			labels[strings.TrimSuffix(m[1], "_bucket")] = strings.Join(names, ",")
		} else if len(words) == 4 && words[1] == "HELP" {
			help[words[2]] = words[3]
		} else if len(words) == 4 && words[1] == "TYPE" && !strings.HasPrefix(words[2], "process_network_") {
			lines = append(lines, words[2]+" "+words[3])
		}
	}
	for i, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		lines[i] = fmt.Sprintf("%s {%s} %s\n", line, labels[name], help[name])
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// CheckMetricList compares the metrics of a page with the list in a file, or writes that anew. The dashboards and alerts in
// monitoring/ are checked against these lists.
func CheckMetricList(t testing.TB, page, file string, update bool) {
	t.Helper()
	got := MetricList(page)
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is exposed (the test's -update writes it); exposed are\n%s", file, got)
	}
}
