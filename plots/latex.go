package plots

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxFloatRows is how many rows fit a page: longer tables are set by longtable, which breaks between pages.
const maxFloatRows = 40

// LaTeX writes the table with its caption for \input: rules of booktabs, and for more than a page of rows longtable.
func (t Table) LaTeX(w io.Writer) error {
	out := bufio.NewWriter(w)
	long := len(t.Rows) > maxFloatRows
	packages := "booktabs"
	if long {
		packages += ", longtable"
	}
	fmt.Fprintf(out, "%% \\usepackage{%s}\n", packages)
	columns := t.alignment()
	caption := ""
	if about := t.about(); about != "" {
		caption = fmt.Sprintf("\\caption{%s}\\label{tab:%s}", latex(about), t.Name)
	}
	if long {
		fmt.Fprintf(out, "\\begin{longtable}{%s}\n", columns)
		if caption != "" {
			fmt.Fprintf(out, "%s\\\\\n", caption)
		}
	} else {
		fmt.Fprintln(out, "\\begin{table}\n\\centering")
		if caption != "" {
			fmt.Fprintln(out, caption)
		}
		fmt.Fprintf(out, "\\begin{tabular}{%s}\n", columns)
	}
	fmt.Fprintf(out, "\\toprule\n%s\\midrule\n", latexRow(t.Columns))
	if long {
		fmt.Fprintln(out, `\endhead`)
	}
	for _, cells := range t.Rows {
		fmt.Fprint(out, latexRow(cells))
	}
	fmt.Fprintln(out, `\bottomrule`)
	if long {
		fmt.Fprintln(out, `\end{longtable}`)
	} else {
		fmt.Fprintln(out, "\\end{tabular}\n\\end{table}")
	}
	return out.Flush()
}

// latexRow is a row with its end.
func latexRow(cells []string) string {
	safe := make([]string, len(cells))
	for i, c := range cells {
		safe[i] = latex(c)
	}
	return strings.Join(safe, " & ") + " \\\\\n"
}

// alignment sets columns of numbers to the right, and all others to the left.
func (t Table) alignment() string {
	var b strings.Builder
	for i := range t.Columns {
		numbers, text := 0, 0
		for _, row := range t.Rows {
			if i >= len(row) {
				continue
			}
			switch cell := strings.Replace(row[i], "−", "-", 1); {
			case cell == "":
			case isNumeric(cell):
				numbers++
			default:
				text++
			}
		}
		if numbers > 0 && text == 0 {
			b.WriteByte('r')
		} else {
			b.WriteByte('l')
		}
	}
	return b.String()
}

func isNumeric(cell string) bool {
	_, err := strconv.ParseFloat(cell, 64)
	return err == nil || cell == "∞"
}

// latex escapes what LaTeX would interpret, an asterisk or a bracket after the end of a row among it, and writes the signs that it lacks.
func latex(cell string) string {
	return strings.NewReplacer(
		`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`, "{", `\{`, "}", `\}`, "~", `\textasciitilde{}`,
		"^", `\textasciicircum{}`, "[", "{[}", "]", "{]}", "*", "{*}", "<", `\textless{}`, ">", `\textgreater{}`, "|", `\textbar{}`, `"`, `\char34{}`,
		"`", `\textasciigrave{}`, "---", "-{}-{}-", "--", "-{}-", "−", `$-$`, "–", "--", "—", "---", "\u00a0", "~",
		"λ", `$\lambda$`, "τ", `$\tau$`, "ρ", `$\rho$`, "±", `$\pm$`, "×", `$\times$`, "·", `$\cdot$`, "≥", `$\geq$`, "≤", `$\leq$`, "∞", `$\infty$`,
		"½", `$\frac12$`, "…", `\ldots{}`,
	).Replace(clean(cell, 4000))
}
