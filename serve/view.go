package serve

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"plasticity/plots"
	"plasticity/record"
)

// finetuned is the kind of a run that starts from another on a task.
const finetuned = "finetune"

// head is what every page begins with.
type head struct {
	Title string
	At    string // when the folders were read
}

// indexPage lists the grids.
type indexPage struct {
	head
	Root     string
	Grids    []gridLine
	Problems []record.Problem
}

type gridLine struct {
	Name, Address string
	progress
}

// progress is how far runs have come together.
type progress struct {
	Runs    int
	Counts  []count
	Done    float64 // part of the tokens of all runs that have begun
	Tokens  string
	Planned string
	Speed   string // of those that run
	Left    string // of them, at that speed; empty when nothing runs
}

type count struct {
	State record.State
	N     int
}

// gridPage shows a grid: a table for each kind of run, and figures.
type gridPage struct {
	head
	progress
	Tables  []table
	Figures []figure
}

// table has a row for each point of the grid and a column for each seed.
type table struct {
	Title string
	Seeds []string
	Rows  []row
}

type row struct {
	Label string
	name  string
	axes  []record.Axis
	Slots [][]cell // by seed
}

type cell struct {
	ID, Address string
	State       record.State
	Text        string // the last loss
	Percent     int
}

// figure is a picture that is drawn when it is asked for.
type figure struct{ Address, Alt, Title string }

// runPage shows one run.
type runPage struct {
	head
	ID, Grid, GridAddress string
	State                 record.State
	Cause                 string
	Percent               int
	Facts                 []fact
	Curves                *figure
	Evaluations           []evaluation
	Events                []record.Event
	Log                   string
}

type fact struct{ Name, Value string }

type evaluation struct {
	Name  string
	State record.State
}

func (s *snapshot) head(title string) head { return head{title, s.at.Format(time.TimeOnly)} }

func (s *snapshot) index() indexPage {
	page := indexPage{head: s.head("runs"), Root: s.root, Problems: s.problems}
	for _, name := range slices.Sorted(maps.Keys(s.grids)) {
		page.Grids = append(page.Grids, gridLine{name, address("grid", name), progressOf(s.grids[name].records)})
	}
	return page
}

func progressOf(records []plots.Record) progress {
	p := progress{Runs: len(records)}
	counts := map[record.State]int{}
	var tokens, planned, open int64
	speed := 0.0
	for _, r := range records {
		counts[r.State]++
		trained := min(latest(r).Tokens, r.Info.Tokens)
		tokens += trained
		planned += r.Info.Tokens
		if v := float64(latest(r).TokensPerSecond); r.State == record.StateRunning && v > 0 {
			speed += v
			open += r.Info.Tokens - trained
		}
	}
	for _, state := range []record.State{record.StateRunning, record.StateDone, record.StateStopped, record.StatePlanned, record.StateFailed} {
		if n := counts[state]; n > 0 {
			p.Counts = append(p.Counts, count{state, n})
		}
	}
	if planned > 0 {
		p.Done = float64(tokens) / float64(planned)
	}
	p.Tokens, p.Planned = short(float64(tokens)), short(float64(planned))
	if speed > 0 {
		p.Speed, p.Left = short(speed), time.Duration(float64(open)/speed*float64(time.Second)).Round(time.Second).String()
	}
	return p
}

func (s *snapshot) gridPage(g gridRecords, drawn *album) gridPage {
	page := gridPage{head: s.head(g.name), progress: progressOf(g.records), Figures: drawn.figures}
	tables := map[string]*table{}
	for _, r := range g.records {
		title := cmp.Or(r.Info.Kind, "run")
		if r.Info.Task != "" {
			title += ": " + r.Info.Task
		}
		t := tables[title]
		if t == nil {
			t = &table{Title: title}
			tables[title] = t
		}
		t.add(s.axes(r), r)
	}
	order := func(a, b string) int { // base models first
		return cmp.Or(cmp.Compare(strings.Count(a, ":"), strings.Count(b, ":")), strings.Compare(a, b))
	}
	for _, title := range slices.SortedFunc(maps.Keys(tables), order) {
		tables[title].sort()
		tables[title].label()
		page.Tables = append(page.Tables, *tables[title])
	}
	return page
}

// axes are those of the run's base model, then its own.
func (s *snapshot) axes(r plots.Record) []record.Axis {
	var out []record.Axis
	for _, id := range r.Info.Parents {
		if parent, there := s.byID[id]; there && id != r.Info.ID {
			out = append(out, parent.Info.Axes...)
		}
	}
	return append(out, r.Info.Axes...)
}

// add puts a run into its row and column.
func (t *table) add(axes []record.Axis, r plots.Record) {
	seed := strconv.FormatInt(r.Info.Seed, 10)
	column := slices.Index(t.Seeds, seed)
	if column < 0 {
		column = len(t.Seeds)
		t.Seeds = append(t.Seeds, seed)
		for i := range t.Rows {
			t.Rows[i].Slots = append(t.Rows[i].Slots, nil)
		}
	}
	name := r.Info.Name
	if r.Info.Kind == finetuned && len(r.Info.Parents) == 0 {
		name = "never pretrained"
	}
	at := slices.IndexFunc(t.Rows, func(r row) bool { return r.name == name && slices.Equal(r.axes, axes) })
	if at < 0 {
		at = len(t.Rows)
		t.Rows = append(t.Rows, row{name: name, axes: axes, Slots: make([][]cell, len(t.Seeds))})
	}
	t.Rows[at].Slots[column] = append(t.Rows[at].Slots[column], cellOf(r))
}

// label names rows by the axes in which they differ, a single one by all of its axes, and those without by their name.
func (t *table) label() {
	values := map[string]map[string]bool{}
	for _, r := range t.Rows {
		for _, a := range r.axes {
			if values[a.Name] == nil {
				values[a.Name] = map[string]bool{}
			}
			values[a.Name][a.Value] = true
		}
	}
	for i, r := range t.Rows {
		var words []string
		for _, a := range r.axes {
			if len(values[a.Name]) > 1 || len(t.Rows) == 1 {
				words = append(words, a.Name[strings.LastIndexByte(a.Name, '.')+1:]+" "+a.Value)
			}
		}
		t.Rows[i].Label = cmp.Or(strings.Join(words, ", "), r.name, "run")
	}
}

// sort puts rows in the order of their values and columns in that of their seeds.
func (t *table) sort() {
	order := slices.SortedFunc(slices.Values(t.Seeds), byNumber)
	for i, r := range t.Rows {
		slots := make([][]cell, len(order))
		for j, seed := range order {
			slots[j] = r.Slots[slices.Index(t.Seeds, seed)]
		}
		t.Rows[i].Slots = slots
	}
	t.Seeds = order
	slices.SortStableFunc(t.Rows, func(a, b row) int {
		for i := range min(len(a.axes), len(b.axes)) {
			if c := byNumber(a.axes[i].Value, b.axes[i].Value); c != 0 {
				return c
			}
		}
		return cmp.Compare(len(a.axes), len(b.axes))
	})
}

// byNumber puts numbers in their order before all other texts.
func byNumber(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return strings.Compare(a, b)
}

func cellOf(r plots.Record) cell {
	c := cell{ID: r.Info.ID, Address: address("run", r.Info.ID), State: r.State, Text: "–", Percent: percent(r)}
	if loss, ok := validation(r); ok {
		c.Text = nats(loss)
	} else if len(r.Metrics) > 0 {
		c.Text = nats(float64(latest(r).Loss))
	}
	return c
}

func percent(r plots.Record) int {
	if r.State == record.StateDone {
		return 100
	}
	if r.Info.Steps <= 0 {
		return 0
	}
	return int(min(99, 100*step(r)/r.Info.Steps))
}

func (s *snapshot) runPage(r plots.Record, drawn *album) runPage {
	i, m := r.Info, latest(r)
	grid := s.gridOf(r)
	page := runPage{
		head: s.head("run " + i.ID), ID: i.ID, Grid: grid, GridAddress: address("grid", grid), State: r.State, Cause: r.Cause, Percent: percent(r),
	}
	for _, a := range s.axes(r) {
		page.Facts = append(page.Facts, fact{a.Name[strings.LastIndexByte(a.Name, '.')+1:], a.Value})
	}
	loss, evaluated := validation(r)
	page.Facts = append(page.Facts,
		fact{"seed", strconv.FormatInt(i.Seed, 10)}, fact{"model", fmt.Sprintf("%s, %s parameters", i.Model, short(float64(i.Parameters)))},
		fact{"step", fmt.Sprintf("%d of %d", m.Step, i.Steps)}, fact{"tokens", fmt.Sprintf("%s of %s", short(float64(m.Tokens)), short(float64(i.Tokens)))})
	if len(r.Metrics) > 0 {
		page.Facts = append(page.Facts, fact{"training loss", nats(float64(m.Loss))})
	}
	if evaluated {
		page.Facts = append(page.Facts, fact{"validation loss", nats(loss)})
	}
	if len(r.Metrics) > 0 {
		page.Facts = append(page.Facts,
			fact{"learning rate", number(float64(m.LearningRate))}, fact{"weight decay", number(float64(m.WeightDecay))},
			fact{"gradient norm", number(float64(m.GradNorm))}, fact{"parameter norm", number(float64(m.ParamNorm))},
			fact{"tokens per second", short(float64(m.TokensPerSecond))})
	}
	page.Facts = append(page.Facts, fact{"data", i.DataSource}, fact{"computes", strings.TrimSpace(i.Step + " " + i.ISA + " " + i.Precision)},
		fact{"commit", i.Commit}, fact{"folder", r.Folder})
	page.Facts = slices.DeleteFunc(page.Facts, func(f fact) bool { return f.Value == "" })
	if len(drawn.figures) > 0 {
		page.Curves = &drawn.figures[0]
	}
	dir := filepath.Join(s.root, filepath.FromSlash(r.Folder))
	page.Log, page.Evaluations = logTail(dir), evaluations(dir)
	if run, err := record.Open(dir); err == nil {
		if events, _, err := run.Events(); err == nil {
			page.Events = events[max(0, len(events)-eventLines):]
		}
	}
	return page
}

// eventLines is how many of the last events a page shows.
const eventLines = 12

// nats prints a loss with four decimals, so that those of a column stand below each other.
func nats(v float64) string {
	if math.IsNaN(v) {
		return "not a number"
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

// number prints a number with five digits.
func number(v float64) string {
	if math.IsNaN(v) {
		return "not a number"
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}

// short prints a count for people: 950, 12.3k, 4.57M.
func short(v float64) string {
	for _, unit := range []string{"", "k", "M", "G", "T"} {
		if math.Abs(v) < 999.5 {
			return strconv.FormatFloat(v, 'g', 3, 64) + unit
		}
		v /= 1000
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + "P"
}
