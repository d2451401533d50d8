package plots

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Table is rows of text under named columns.
type Table struct {
	Name    string // of its files
	Title   string
	Note    string // how the numbers were made
	Columns []string
	Rows    [][]string
}

// about is title and note in one paragraph.
func (t Table) about() string {
	if t.Note == "" {
		return t.Title
	}
	return strings.TrimSpace(strings.TrimSuffix(t.Title, ".") + ". " + t.Note)
}

// CSV writes the table as RFC 4180. A cell that a spreadsheet would take for a formula is led by an apostrophe.
func (t Table) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := append([][]string{t.Columns}, t.Rows...)
	for _, row := range rows {
		safe := make([]string, len(row))
		for i, cell := range row {
			safe[i] = neutral(cell)
		}
		if err := out.Write(safe); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// neutral keeps spreadsheets from running a cell; numbers stay numbers, with a minus that machines read.
func neutral(cell string) string {
	if plain, negative := strings.CutPrefix(cell, "−"); negative {
		if _, err := strconv.ParseFloat(plain, 64); err == nil {
			return "-" + plain
		}
	}
	if cell == "" || !strings.ContainsRune("=+-@\t\r\n＝＋－＠|%", []rune(cell)[0]) {
		return cell
	}
	if _, err := strconv.ParseFloat(cell, 64); err == nil {
		return cell
	}
	return "'" + cell
}

// Markdown writes the table for GitHub and the like.
func (t Table) Markdown(w io.Writer) error {
	out := bufio.NewWriter(w)
	if t.Title != "" {
		fmt.Fprintf(out, "**%s**\n\n", markdown(t.Title))
	}
	if t.Note != "" {
		fmt.Fprintf(out, "%s\n\n", markdown(t.Note))
	}
	row := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(out, "| %s ", markdown(c))
		}
		fmt.Fprintln(out, "|")
	}
	row(t.Columns)
	fmt.Fprintln(out, strings.Repeat("|---", len(t.Columns))+"|")
	for _, cells := range t.Rows {
		row(cells)
	}
	return out.Flush()
}

// markdown escapes what Markdown or HTML would interpret.
func markdown(cell string) string {
	var b strings.Builder
	for _, r := range clean(cell, 4000) {
		if strings.ContainsRune("\\`*_[]<>&|#~$!", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// LossTable lists, for each setting and weight decay, the mean final validation loss with its interval, the difference to the
// best decay paired by seed, and the runs behind them.
func LossTable(s *Set) Table {
	t := Table{
		Name: "loss-per-decay", Title: "Final validation loss (nats per token) per weight decay, with 95 % intervals over seeds",
		Note:    "τ = 1/(lr·λ·steps). The difference is to the best decay of the setting, paired by seed; ± is the half-width of a 95 % t interval.",
		Columns: []string{"setting", "λ", "τ", "loss", "± 95 %", "n", "lowest in", "difference to best", "± 95 % (paired)", "left out", "runs"},
	}
	for _, g := range s.settings {
		best := g.best()
		wins, seeds := g.wins()
		for i := range g.levels {
			l := &g.levels[i]
			row := []string{g.fullTitle(), number(l.decay), short(rounded(l.tau, 2)), "", "", strconv.Itoa(l.N), "", "", "", leftOut(l), l.ids()}
			if l.N > 0 {
				row[3], row[4] = nats(l.Mean), orBlank(l.Half)
			}
			if seeds > 1 && l.N > 0 {
				row[6] = fmt.Sprintf("%d of %d", wins[i], seeds)
			}
			if l.N > 0 && i != best {
				d := difference(l, &g.levels[best])
				row[7], row[8] = orBlank(d.Mean), orBlank(d.Half)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// leftOut lists runs of a level that do not count, and why.
func leftOut(l *level) string {
	var out []string
	for _, m := range l.faulty {
		out = append(out, fmt.Sprintf("seed %s %s", m.seed, m.fault))
	}
	return strings.Join(out, "; ")
}

// ids lists the runs behind the mean.
func (l *level) ids() string {
	var out []string
	for _, v := range l.seeds {
		for _, m := range v.runs {
			out = append(out, m.Info.ID)
		}
	}
	return strings.Join(out, " ")
}

// eachMark yields what is drawn of a level: every seed, the mean with its interval, and a cross for each run that does not count.
func (l *level) eachMark(add func(mark, seed string, v, low, high float64, n int, ids, note string)) {
	nan := math.NaN()
	for _, v := range l.seeds {
		one := level{seeds: []seedLoss{v}}
		add("seed", fmt.Sprint(v.seed), v.loss, nan, nan, 1, one.ids(), "")
	}
	if l.N > 0 {
		add("mean", "", l.Mean, l.low(), l.high(), l.N, l.ids(), "")
	}
	for _, m := range l.faulty {
		add("cross", m.seed, nan, nan, nan, 0, m.Info.ID, m.fault)
	}
}

// orBlank writes a loss or a share; nothing for NaN.
func orBlank(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return nats(v)
}

// RunTable lists every run of the set: what it is, how it ended, and whether it counts.
func RunTable(s *Set) Table {
	t := Table{Name: "runs", Title: "Runs", Columns: []string{
		"run", "setting", "λ", "seed", "state", "final loss", "counts", "commit", "started", "data", "data digest", "folder",
	}}
	for _, g := range s.settings {
		for _, m := range g.runs {
			verdict := "yes"
			if !m.counts() {
				verdict = "no: " + m.fault
			}
			loss := ""
			if m.at > 0 || !math.IsNaN(m.final) {
				loss = nats(m.final)
			}
			t.Rows = append(t.Rows, []string{
				m.Info.ID, g.fullTitle(), number(m.decay()), m.seed, string(m.State), loss, verdict, commit(m.Info),
				clean(m.Info.Started, 40), clean(m.Info.DataSource, 120), clean(m.Info.DataDigest, 100), clean(m.Folder, 200),
			})
		}
	}
	for _, m := range s.imports {
		t.Rows = append(t.Rows, []string{
			m.Info.ID, modelTitle(m.Info), "", "", string(m.State), "", "no: " + m.fault, commit(m.Info), clean(m.Info.Started, 40),
			clean(m.Info.DataSource, 120), "", clean(m.Folder, 200),
		})
	}
	return t
}

// lossPoints lists what LossVsDecay draws.
func lossPoints(drawn []lossPanel) Table {
	t := Table{Name: "loss-vs-decay", Columns: []string{
		"setting", "weight_decay", "tau", "mark", "seed", "validation_loss", "ci95_low", "ci95_high", "bootstrap95_low", "bootstrap95_high", "n", "run_ids", "note",
	}}
	for _, p := range drawn {
		for _, s := range p.series {
			for i := range s.levels {
				l := &s.levels[i]
				head := []string{s.fullTitle(), plain(l.decay), plain(l.tau)}
				add := func(cells ...string) { t.Rows = append(t.Rows, append(head[:len(head):len(head)], cells...)) }
				for _, v := range l.seeds {
					one := level{seeds: []seedLoss{v}}
					add("seed", fmt.Sprint(v.seed), plain(v.loss), "", "", "", "", "1", one.ids(), above(v.loss, p.high))
				}
				if l.N > 0 {
					low, high := l.bootstrap()
					add("mean", "", plain(l.Mean), plain(l.low()), plain(l.high()), plain(low), plain(high), strconv.Itoa(l.N), l.ids(), above(l.Mean, p.high))
				}
				for _, m := range l.faulty {
					add("cross", m.seed, plain(m.final), "", "", "", "", "0", m.Info.ID, m.fault)
				}
			}
		}
	}
	return t
}

// bootstrap is the percentile interval of the mean, where there are enough seeds for it to mean something.
func (l *level) bootstrap() (low, high float64) {
	const fewest, rounds = 5, 2000
	if l.N < fewest {
		return math.NaN(), math.NaN()
	}
	return bootstrapMean(lossesOf(l.seeds), rounds)
}

// above says where a mark is that does not fit on the axis.
func above(v, high float64) string {
	if v > high {
		return "above the axis"
	}
	return ""
}

// plain writes a number for machines; NaN is an empty cell.
func plain(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
