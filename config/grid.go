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
	Evaluate Evaluate // Samples 0: fine-tuned models are not evaluated
	Analyze  []Analysis
	Figures  []string

	table  table
	layers []layer // base, grid, scale, environment, flags: the lowest first
}

// Axis is a key of the configuration and the values it takes, as canonical text: shortest decimal numbers, text as it
// is, lists as JSON. An axis whose values have names may be a section, of which each value sets some keys; its values are
// the names.
type Axis struct {
	Key    string
	Values []string

	sets []layer // what each value sets
	at   origin
}

// FinetuneEntry is a fine-tuning that every base model, and the never-pretrained one, goes through on each of its tasks.
type FinetuneEntry struct {
	Tasks  []string
	Config string  // path from the current folder
	Axes   []Axis  // of the fine-tuning; may be empty
	Seeds  []int64 // of the fine-tuning; empty: that of the base model

	layers []layer // the configuration and what the entry sets over it
}

// Evaluate is how fine-tuned models are scored on the test set of their task.
type Evaluate struct {
	Samples           int     `json:"samples"`              // responses to each problem besides the greedy one
	Problems          int     `json:"problems,omitempty"`   // the first ones of the test set; 0: all
	MaxTokens         int     `json:"max_tokens,omitempty"` // of a response; 0: what the context has room for
	Temperature       float64 `json:"temperature"`          // of the samples
	RepetitionPenalty float64 `json:"repetition_penalty"`   // 1: none
	Precision         string  `json:"precision"`            // of products: f32 | bf16
	Seed              int64   `json:"seed"`                 // of samples and of bootstrapped intervals
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
	chosen, values := choose(g.Axes, i)
	cell.Axes = values
	chosen["seed"] = setting{cell.Seed, origin{source: g.File}}
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
