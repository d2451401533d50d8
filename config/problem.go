package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"plasticity/record"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	Source  string `json:"source,omitempty"`  // "run.yaml", "--set", "PLASTICITY_SEED"; empty: the configuration as a whole
	Line    int    `json:"line,omitempty"`    // in the file, from 1; 0: none
	Path    string `json:"path,omitempty"`    // "optimizer.lr"; empty: the file as a whole
	Value   string `json:"value,omitempty"`   // as given, quoted and shortened; empty: none
	What    string `json:"what"`              // "is not a number"
	Allowed string `json:"allowed,omitempty"` // "a number above 0"; empty: What says it all
	Near    string `json:"near,omitempty"`    // the nearest known key; empty: none is near
}

// String returns "run.yaml:7: optimizer.lr: "fast" is not a number; allowed: …".
func (p Problem) String() string {
	var b strings.Builder
	if p.Source != "" {
		b.WriteString(p.Source)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	if p.Value != "" {
		b.WriteString(p.Value + " ")
	}
	b.WriteString(p.What)
	if p.Allowed != "" {
		b.WriteString("; allowed: " + p.Allowed)
	}
	if p.Near != "" {
		b.WriteString("; did you mean " + p.Near + "?")
	}
	return b.String()
}

// Error is everything that is wrong with a configuration. It comes inside a record.Failure with record.Usage.
type Error struct{ Problems []Problem }

// Error lists the problems, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	noun := "problems"
	if len(e.Problems) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "%d %s in the configuration:", len(e.Problems), noun)
	for _, problem := range e.Problems {
		b.WriteString("\n  " + problem.String())
	}
	return b.String()
}

// problemList collects problems.
type problemList []Problem

func (p *problemList) add(problem Problem) { *p = append(*p, problem) }

// err returns nil without problems, else all of them in the order of their places.
func (p *problemList) err() error {
	if len(*p) == 0 {
		return nil
	}
	rank := make(map[string]int)
	for _, problem := range *p {
		if _, ok := rank[problem.Source]; !ok {
			rank[problem.Source] = len(rank)
		}
	}
	slices.SortStableFunc(*p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank[a.Source], rank[b.Source]), cmp.Compare(a.Line, b.Line))
	})
	return &record.Failure{Code: record.Usage, Err: &Error{*p}}
}

// origin is where a value was set.
type origin struct {
	source string
	line   int
}

func (o origin) String() string {
	if o.line > 0 {
		return fmt.Sprintf("%s:%d", o.source, o.line)
	}
	return o.source
}

func (o origin) problem(path, value, what, allowed string) Problem {
	return Problem{Source: o.source, Line: o.line, Path: path, Value: value, What: what, Allowed: allowed}
}

// quoted shows hostile text safely and shortly.
func quoted(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strconv.Quote(text)
}

// plain shows a scalar: as it is when that is harmless, else quoted.
func plain(text string) string {
	if q := quoted(text); len(q) != len(text)+2 || text == "" {
		return q
	}
	return text
}

// nearest returns the known word with the smallest edit distance to word, "" when none is close.
func nearest(word string, known []string) string {
	best, bestDistance := "", 1+max(2, min(3, len(word)/3))
	if len(word) > 200 {
		return ""
	}
	for _, k := range known {
		d := distance(word, k)
		if len(word) > 2 && strings.HasPrefix(k, word) {
			d = min(d, 2) // cut short
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}
