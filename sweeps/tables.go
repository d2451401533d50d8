package sweeps

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"plasticity/record"
)

// newTable is the one style of all tables: no colours, no frame.
func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Options.SeparateHeader = true
	style.Options.SeparateFooter = true
	style.Format.Header = text.FormatDefault
	style.Format.Footer = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

// models are the rows of base models, and the stale runs.
func (s Status) models() []Row {
	var out []Row
	for _, row := range s.Rows {
		if row.Stale || row.Cell.Kind == Pretrain {
			out = append(out, row)
		}
	}
	return out
}

// axisNames are the heads of the axis columns: those of the first row that has any.
func (s Status) axisNames() []string {
	for _, row := range s.models() {
		var names []string
		for _, axis := range row.Cell.Axes {
			names = append(names, axis.Name)
		}
		if len(names) > 0 {
			return names
		}
	}
	return nil
}

// axisValues are the values of a cell in the order of names. A stale run may
// come from a grid with other axes.
func axisValues(c Cell, names []string) []any {
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = "-"
		for _, axis := range c.Axes {
			if axis.Name == name {
				values[i] = printable(axis.Value, 40)
			}
		}
	}
	return values
}

func shortKeys(names []string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = printable(shortKey(name), 24)
	}
	return out
}

// rightAligned aligns the columns with numbers by their heads.
func rightAligned(heads ...string) []table.ColumnConfig {
	var configs []table.ColumnConfig
	for _, head := range heads {
		configs = append(configs, table.ColumnConfig{
			Name: head, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight,
		})
	}
	return configs
}

// WritePlan prints what the grid will train and what it costs.
func (s Status) WritePlan(w io.Writer) error {
	out := &stickyWriter{w: w}
	out.printf("%s: %s\n%s\n\n", s.Grid, printable(s.Claim, 200), s.Dir)
	names := s.axisNames()
	t := newTable(out)
	head := append(append(table.Row{"#", "run"}, shortKeys(names)...), "seed", "parameters", "steps", "tokens", "FLOPs", "tau", "state")
	t.AppendHeader(head)
	tokens, flops := int64(0), 0.0
	for i, row := range s.models() {
		c := row.Cell
		if !row.Stale {
			tokens, flops = tokens+c.Tokens, flops+float64(c.FLOPs)
		}
		line := append(table.Row{i + 1, c.ID}, axisValues(c, names)...)
		line = append(line, c.Seed, countText(c.Parameters), c.Steps, countText(c.Tokens), floatText(c.FLOPs, 3),
			floatText(c.Tau, 3), stateText(row))
		t.AppendRow(line)
	}
	foot := make(table.Row, len(head))
	for i := range foot {
		foot[i] = ""
	}
	foot[1], foot[len(head)-4], foot[len(head)-3] = "total", countText(tokens), floatText(record.Float(flops), 3)
	t.AppendFooter(foot)
	t.SetColumnConfigs(rightAligned("#", "seed", "parameters", "steps", "tokens", "FLOPs", "tau"))
	t.Render()
	for _, line := range slices.Concat(s.analysesText(), s.descendantsText()) {
		out.printf("%s\n", line)
	}
	out.printf("\n%s\n", s.countsText())
	if s.Measured != nil && !s.Finished() {
		out.printf("estimated %s for what is left, at the %s that the last run measured\n", durationText(float64(s.SecondsEstimated)), s.Measured)
	}
	return out.err
}

// Write prints how far the grid is.
func (s Status) Write(w io.Writer) error {
	out := &stickyWriter{w: w}
	names, tasks, descent := s.axisNames(), s.tasks(), s.descent()
	t := newTable(out)
	t.AppendHeader(slices.Concat(table.Row{"run"}, shortKeys(names), table.Row{"seed", "state", "step", "of", "loss", "val loss", "tokens/s", "left"}, anys(tasks)))
	for _, row := range s.models() {
		c := row.Cell
		line := slices.Concat(table.Row{c.ID}, axisValues(c, names), table.Row{
			c.Seed, stateText(row), row.Step, c.Steps, floatText(row.Loss, 4), floatText(row.ValLoss, 4), rateText(row.TokensPerSecond), leftText(row),
		})
		for _, task := range tasks {
			text := "-"
			if !row.Stale {
				text = descent.text(chain{base: c.Index, task: task})
			}
			line = append(line, text)
		}
		t.AppendRow(line)
	}
	t.SetColumnConfigs(rightAligned("seed", "step", "of", "loss", "val loss", "tokens/s", "left"))
	t.Render()
	if len(tasks) > 0 {
		s.writeFresh(out)
		out.printf("\na task's column has the loss of its reference responses, in nats per token, once fine-tuning and evaluation are done\n")
	}
	out.printf("\n%s\n", s.countsText())
	for _, row := range s.Rows {
		if row.State == record.StateFailed {
			out.printf("failed %s: %s\n  log: %s\n", row.Cell.ID, row.Cause, row.Log)
		}
	}
	for _, problem := range s.Problems {
		out.printf("problem: %s\n", printable(problem.String(), 400))
	}
	return out.err
}

// countsText is the state of the grid in one line.
func (s Status) countsText() string {
	var parts []string
	for _, of := range []struct {
		kind  Kind
		words string
	}{{Pretrain, "cells"}, {Analyze, "analyses"}, {Finetune, "fine-tunings"}, {Evaluate, "evaluations"}} {
		if text := s.countOf(of.kind, of.words); text != "" {
			parts = append(parts, text)
		}
	}
	line := strings.Join(parts, "; ")
	if n := s.staleRows(); n > 0 {
		line += fmt.Sprintf(", %d stale (not in this grid any more)", n)
	}
	line += fmt.Sprintf("; %s of %s tokens", countText(s.TrainedTokens), countText(s.PlannedTokens))
	if s.TokensPerSecond > 0 {
		line += fmt.Sprintf(", %s tokens/s, %s left", countText(int64(s.TokensPerSecond)), durationText(float64(s.SecondsLeft)))
	}
	return line
}

// countOf counts the cells of a kind in words; "" when there are none.
func (s Status) countOf(kind Kind, words string) string {
	total, text := 0, ""
	for _, count := range s.Counts {
		if count.Kind == kind && count.Runs > 0 {
			total += count.Runs
			text += fmt.Sprintf(", %d %s", count.Runs, count.State)
		}
	}
	if total == 0 {
		return ""
	}
	return strconv.Itoa(total) + " " + words + text
}

func (s Status) staleRows() int {
	n := 0
	for _, row := range s.Rows {
		if row.Stale {
			n++
		}
	}
	return n
}

// rateText is a speed in few characters.
func rateText(f record.Float) string {
	if v := float64(f); v >= 0 && v < 1e18 {
		return countText(int64(v))
	}
	return "-"
}

func leftText(row Row) string {
	if row.State != record.StateRunning {
		return "-"
	}
	return durationText(float64(row.SecondsLeft))
}

func stateText(row Row) string {
	if row.Stale {
		return string(row.State) + " (stale)"
	}
	return string(row.State)
}

// stickyWriter keeps the first error, so that tables can be written without a
// check on every line.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	s.err = err
	return n, err
}

func (s *stickyWriter) printf(format string, args ...any) { _, _ = fmt.Fprintf(s, format, args...) }

// clock is the time of day for headers of a redrawn view.
func clock(now time.Time) string { return now.Format("15:04:05") }
