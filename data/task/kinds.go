package task

import (
	"cmp"
	"slices"
)

// KindOf says which answers a task has.
type KindOf struct{ Task, Kind string }

// Kinds lists the tasks that have answers, synthetic and public, and the test sets of the tasks of mathematics by the names that
// results have.
func Kinds() []KindOf {
	var out []KindOf
	for _, f := range Families() {
		if f.Kind != Text {
			out = append(out, KindOf{f.Name, f.Kind})
		}
	}
	for _, p := range publics() {
		out = append(out, KindOf{p.name, p.kind})
	}
	for _, name := range mathTestNames() {
		out = append(out, KindOf{name, Math})
	}
	slices.SortFunc(out, func(a, b KindOf) int { return cmp.Compare(a.Task, b.Task) })
	return out
}

func mathTestNames() []string {
	return []string{"gsm8k-platinum", "math-level1", "math-level2", "math-level3", "math-level4", "math-hard"}
}
