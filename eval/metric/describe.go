package metric

import (
	"fmt"
	"strings"
)

// Describe lays the metrics out as a table for people.
func (t Task) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: n = %d problems, N = %d responses to each\n", t.Name, t.Result.Problems, t.Result.Responses)
	width := len("metric")
	for _, e := range t.Result.Estimates {
		width = max(width, len(e.Name))
	}
	fmt.Fprintf(&b, "%-*s %9s   95 %% interval\n", width, "metric", "value")
	for _, e := range t.Result.Estimates {
		fmt.Fprintf(&b, "%-*s %9.4f   %.4f to %.4f\n", width, e.Name, e.Value, e.CI95[0], e.CI95[1])
	}
	return b.String()
}
