package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"plasticity/record"
)

// Grid is an experiment: runs over the product of its axes and seeds, with everything downstream of each. LoadGrid makes
// it, with one scale applied; nobody changes it afterwards.
type Grid struct {
	Name     string // with "-SCALE" at the end when a scale was chosen, so that scales never share a folder
	Scale    string // "": none
	Scales   []string
	Claim    string
	File     string
	Base     string // path of the base configuration, from the current folder
	Axes     []Axis // in the order of the file; the first varies slowest
	Seeds    []int64
	Finetune []FinetuneEntry
	Evaluate Evaluate
	Analyze  []string // probes | rank | gap
	Figures  []string

	table  table
	layers []layer // base, grid, scale, environment, flags: the lowest first
}

// Axis is a key of the configuration and the values it takes, as canonical text: shortest decimal numbers, text as it
// is, lists as JSON.
type Axis struct {
	Key    string
	Values []string

	settings []setting
}

// FinetuneEntry is a fine-tuning that every base model goes through.
type FinetuneEntry struct {
	Task   string
	Config string // path from the current folder
}

// Evaluate is how fine-tuned models are scored.
type Evaluate struct {
	Samples int // responses per problem; 0: not evaluated
}

// AxisValue is the value of an axis in one cell, as canonical text.
type AxisValue struct {
	Key   string
	Value string
}

// Cell is one run of a grid.
type Cell struct {
	Axes []AxisValue
	Seed int64
	Run  Run
}

// maxCells bounds the size of a grid.
const maxCells = 10_000

// Cells lays out the runs: the first axis varies slowest, the seed fastest. Two equal values of an axis or two equal
// seeds are refused when the grid is loaded. The error is a record.Failure with Usage and every problem inside.
func (g Grid) Cells() ([]Cell, error) {
	count := float64(len(g.Seeds))
	for _, a := range g.Axes {
		count *= float64(len(a.Values))
	}
	if count > maxCells {
		return nil, record.Fail(record.Usage, "%s: %.0f cells: at most %d", g.File, count, maxCells)
	}
	cells := make([]Cell, 0, int(count))
	problems := &problemList{}
	for i := range int(count) {
		cell, err := g.cell(i)
		if err != nil {
			mergeProblems(problems, err)
			continue
		}
		cells = append(cells, cell)
	}
	return cells, problems.err()
}

// cell builds the cell with index i.
func (g Grid) cell(i int) (Cell, error) {
	cell := Cell{Seed: g.Seeds[i%len(g.Seeds)]}
	i /= len(g.Seeds)
	chosen := layer{"seed": setting{cell.Seed, origin{source: g.File}}}
	cell.Axes = make([]AxisValue, len(g.Axes))
	for k := len(g.Axes) - 1; k >= 0; k-- {
		axis := g.Axes[k]
		at := i % len(axis.Values)
		i /= len(axis.Values)
		cell.Axes[k] = AxisValue{axis.Key, axis.Values[at]}
		chosen[axis.Key] = axis.settings[at]
	}
	run, err := g.table.build(&problemList{}, append(append([]layer{}, g.layers...), chosen)...)
	cell.Run = run
	return cell, err
}

// mergeProblems adds the problems of a cell that no cell before it had.
func mergeProblems(problems *problemList, err error) {
	for _, p := range ProblemsOf(err) {
		known := false
		for _, q := range *problems {
			known = known || q == p
		}
		if !known && len(*problems) < 50 {
			problems.add(p)
		}
	}
}

// ProblemsOf returns the problems that an error of Load, LoadGrid, Resolve or Cells lists; any other error is one problem
// without a place.
func ProblemsOf(err error) []Problem {
	var list *Error
	if errors.As(err, &list) {
		return list.Problems
	}
	return []Problem{{What: err.Error()}}
}

// CellCount returns how many runs the grid has.
func (g Grid) CellCount() int {
	count := float64(len(g.Seeds))
	for _, a := range g.Axes {
		count *= float64(len(a.Values))
	}
	return int(min(count, math.MaxInt32))
}

// String describes the grid in one line.
func (g Grid) String() string {
	words := make([]string, 0, len(g.Axes)+1)
	for _, a := range g.Axes {
		words = append(words, fmt.Sprintf("%s × %d", a.Key, len(a.Values)))
	}
	return g.Name + ": " + strings.Join(append(words, "seeds × "+strconv.Itoa(len(g.Seeds))), ", ")
}
