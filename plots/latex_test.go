package plots

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func latexOf(t *testing.T, table Table) string {
	t.Helper()
	var out bytes.Buffer
	if err := table.LaTeX(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLaTeX_EscapesWhatItWouldInterpret(t *testing.T) {
	t.Parallel()
	got := latexOf(t, Table{
		Name: "odd", Title: `50 % of R&D_1`, Note: `costs $3 #1 {x} ~y ^z \input{/etc/passwd}.`,
		Columns: []string{"λ", "a&b"},
		Rows:    [][]string{{"−1.5", `& % _ # $ { } ~ ^ \`}, {"0.3", "[2ex]"}, {"", "* --flag <a|b>"}},
	})
	want := `% \usepackage{booktabs}
\begin{table}
\centering
\caption{50 \% of R\&D\_1. costs \$3 \#1 \{x\} \textasciitilde{}y \textasciicircum{}z \textbackslash{}input\{/etc/passwd\}.}\label{tab:odd}
\begin{tabular}{rl}
\toprule
$\lambda$ & a\&b \\
\midrule
$-$1.5 & \& \% \_ \# \$ \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{} \\
0.3 & {[}2ex{]} \\
 & {*} -{}-flag \textless{}a\textbar{}b\textgreater{} \\
\bottomrule
\end{tabular}
\end{table}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// groups counts braces that are not escaped.
func groups(text, brace string) int {
	return strings.Count(text, brace) - strings.Count(text, `\`+brace)
}

// Whatever a table has: as many cells a row as columns, no sign that LaTeX would interpret left, every environment closed.
func TestLaTeX_ColumnsMatchInEveryTable(t *testing.T) {
	t.Parallel()
	records := withNoise(withGaps(withProbes(withRanks(small().records(2), 2, 0), 9)))
	records = withForgetting(append(records, tuning().of(records)...))
	for i, text := range hostile() {
		records[i].Info.DataSource, records[i].Info.Commit = text, text
	}
	tables := NewSet(records, nil).tables()
	if len(tables) != 11 {
		t.Fatalf("%d tables", len(tables))
	}
	special := regexp.MustCompile(`\\[\\&%$#_{}]|\\[a-z]+(\{[a-z0-9:, -]*\})?|\$-\$|[&%$#_^~\\]`)
	cells := regexp.MustCompile(`(^|[^\\])&`)
	for _, table := range tables {
		text := latexOf(t, table)
		if len(table.Rows) == 0 || len(table.Rows) > maxFloatRows != strings.Contains(text, `\endhead`) {
			t.Errorf("%s: %d rows", table.Name, len(table.Rows))
		}
		if strings.Count(text, `\begin{`) != strings.Count(text, `\end{`) || groups(text, "{") != groups(text, "}") {
			t.Errorf("%s: an environment or a group is open", table.Name)
		}
		spec := regexp.MustCompile(`\\begin\{(?:tabular|longtable)\}\{([lr]+)\}`).FindStringSubmatch(text)
		if spec == nil || len(spec[1]) != len(table.Columns) {
			t.Fatalf("%s: columns %v, want %d", table.Name, spec, len(table.Columns))
		}
		rows := 0
		for line := range strings.Lines(text) {
			row, ok := strings.CutSuffix(line, " \\\\\n")
			if !ok {
				continue
			}
			rows++
			if n := len(cells.FindAllString(row, -1)) + 1; n != len(table.Columns) {
				t.Errorf("%s: %d cells of %d in %q", table.Name, n, len(table.Columns), row)
			}
			for _, found := range special.FindAllString(row, -1) {
				if len(found) == 1 && found != "&" && found != "$" && found != "~" { // $ and ~ are our own
					t.Errorf("%s: %q is left in %q", table.Name, found, row)
				}
			}
		}
		if rows != len(table.Rows)+1 {
			t.Errorf("%s: %d rows of %d", table.Name, rows, len(table.Rows)+1)
		}
		if !strings.Contains(text, fmt.Sprintf(`\label{tab:%s}`, table.Name)) {
			t.Errorf("%s has no label", table.Name)
		}
	}
}

// The note that explains the numbers is the same beside every form that has room for one.
func TestTable_NoteInEveryForm(t *testing.T) {
	t.Parallel()
	table := ProbeTable(NewSet(withProbes(small().records(1), 2), nil))
	var markdown bytes.Buffer
	if err := table.Markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	const says = "The best layer is chosen for each model on other texts."
	if !strings.Contains(table.Note, says) || !strings.Contains(markdown.String(), says) || !strings.Contains(latexOf(t, table), says) {
		t.Errorf("the note is missing: %s\n%s", markdown.String()[:300], latexOf(t, table)[:400])
	}
}
