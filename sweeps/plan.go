package sweeps

import (
	"fmt"
	"path/filepath"
	"strings"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
)

// hiddenDir holds what belongs to the sweep and to no run.
const hiddenDir = ".sweep"

// A Cell is one point of a grid: one pretraining run with one seed.
type Cell struct {
	// Index is the position in the plan, from 0.
	Index int `json:"index"`
	// ID is config.Resolved.ID: the same on every machine.
	ID string `json:"id"`
	// Dir is the run folder, <root>/<grid>/<id>.
	Dir string `json:"dir"`
	// Axes are the values that make this cell, in the order of the grid.
	Axes []record.Axis `json:"axes"`
	Seed int64         `json:"seed"`
	// Parent is the id of the run that this one starts from, "" for fresh weights.
	Parent string `json:"parent,omitempty"`

	Parameters int64 `json:"parameters"`
	Steps      int64 `json:"steps"`
	// Tokens is the whole budget, Steps times the tokens of a step.
	Tokens int64 `json:"tokens"`
	// FLOPs of the whole run with full attention: Tokens · (6·N + 12·L·d·s).
	FLOPs record.Float `json:"flops"`
	// WeightDecay is the peak decay and Tau its AdamW time-scale in units of
	// the run, B/(lr·λ·D); Tau is infinite for no decay.
	WeightDecay record.Float `json:"weight_decay"`
	Tau         record.Float `json:"tau"`

	// ConfigFile, Threads and Listen are set by Run before it asks for the
	// command: the config to train, written by the runner; the threads the
	// member may use; and the address it must listen on, "" for none.
	ConfigFile string `json:"-"`
	Threads    int    `json:"threads,omitempty"`
	Listen     string `json:"-"`

	// Run is the config of the cell, Facts what its data is.
	Run   config.Run       `json:"-"`
	Facts config.DataFacts `json:"-"`
}

// Label names the cell for people: its axis values and its seed.
func (c Cell) Label() string {
	words := make([]string, 0, len(c.Axes)+1)
	for _, axis := range c.Axes {
		words = append(words, printable(shortKey(axis.Name)+"="+axis.Value, 60))
	}
	return strings.Join(append(words, fmt.Sprintf("seed=%d", c.Seed)), " ")
}

// shortKey is the last part of a dotted config key.
func shortKey(key string) string {
	return key[strings.LastIndexByte(key, '.')+1:]
}

// A Plan is a grid laid out: its cells in order, each with its folder.
type Plan struct {
	Name  string `json:"name"`
	Claim string `json:"claim"`
	// Root holds the grids, Dir is the folder of this one.
	Root  string `json:"root"`
	Dir   string `json:"dir"`
	Cells []Cell `json:"cells"`
}

// FactsFunc says what the data of a run is.
type FactsFunc func(run config.Run) (config.DataFacts, error)

// New lays out a grid under root. It refuses (record.Usage) a name that cannot
// be a folder, a grid without cells, a cell that config refuses, and two cells
// that are the same run, naming both.
func New(grid config.Grid, root string, facts FactsFunc) (*Plan, error) {
	if err := record.CheckName("grid name", grid.Name); err != nil {
		return nil, err
	}
	points, err := grid.Cells()
	if err != nil {
		return nil, err
	}
	if len(points) == 0 {
		return nil, record.Fail(record.Usage, "grid %s has no cells: give every axis at least one value", grid.Name)
	}
	plan := &Plan{Name: grid.Name, Claim: grid.Claim, Root: root, Dir: filepath.Join(root, grid.Name)}
	seen := make(map[string]Cell, len(points))
	for i, point := range points {
		cell, err := plan.lay(i, point, facts)
		if err != nil {
			return nil, err
		}
		if twin, ok := seen[cell.ID]; ok {
			return nil, record.Fail(record.Usage, "grid %s: cells %d (%s) and %d (%s) are the same run %s: remove one of them",
				grid.Name, twin.Index+1, twin.Label(), i+1, cell.Label(), cell.ID)
		}
		seen[cell.ID] = cell
		plan.Cells = append(plan.Cells, cell)
	}
	return plan, nil
}

// lay resolves one point of the grid into a cell.
func (p *Plan) lay(index int, point config.Cell, facts FactsFunc) (Cell, error) {
	cell := Cell{Index: index, Seed: point.Seed, Run: point.Run}
	for _, axis := range point.Axes {
		cell.Axes = append(cell.Axes, record.Axis{Name: axis.Key, Value: axis.Value})
	}
	var err error
	if cell.Facts, err = facts(point.Run); err != nil {
		return Cell{}, fmt.Errorf("grid %s, cell %d (%s): %w", p.Name, index+1, cell.Label(), err)
	}
	resolved, err := point.Run.Resolve(cell.Facts)
	if err != nil {
		return Cell{}, fmt.Errorf("grid %s, cell %d (%s): %w", p.Name, index+1, cell.Label(), err)
	}
	if cell.Parent, err = parentOf(point.Run.Init); err != nil {
		return Cell{}, fmt.Errorf("grid %s, cell %d (%s): %w", p.Name, index+1, cell.Label(), err)
	}
	cell.ID = resolved.ID(cell.Facts, cell.Parent)
	cell.Dir = filepath.Join(p.Dir, cell.ID)
	cell.ConfigFile = filepath.Join(p.claimDir(cell.ID), record.ConfigFile)
	cell.Parameters = resolved.Model.Parameters()
	cell.Steps, cell.Tokens = resolved.Steps, resolved.TokensTotal
	full, _ := resolved.Model.FLOPsPerToken()
	cell.FLOPs = record.Float(full * float64(resolved.TokensTotal))
	cell.WeightDecay, cell.Tau = record.Float(resolved.WeightDecay), record.Float(resolved.Tau)
	return cell, nil
}

// parentOf is the id of the run that init names.
func parentOf(init string) (string, error) {
	if init == "" {
		return "", nil
	}
	run, err := record.Open(init)
	if err != nil {
		return "", record.Fail(record.Usage, "init: %q is not the folder of a run (bring a Hugging Face folder in with `plasticity import` first): %w", init, err)
	}
	return run.Info.ID, nil
}

// ReadFacts opens the data of a run and describes it; each pair of folders is
// opened once for a whole grid.
func ReadFacts() FactsFunc {
	type pair struct{ train, val string }
	known := make(map[pair]config.DataFacts)
	return func(run config.Run) (config.DataFacts, error) {
		key := pair{run.Data.Train, run.Data.Val}
		if facts, ok := known[key]; ok {
			return facts, nil
		}
		train, err := data.Open(run.Data.Train)
		if err != nil {
			return config.DataFacts{}, fmt.Errorf("data.train: %w", err)
		}
		facts := config.DataFacts{
			Vocab: train.Vocab(), TrainTokens: train.Tokens(), TrainDigest: train.Digest(),
			TokenizerDigest: train.TokenizerDigest(), Source: train.Source(),
		}
		if run.Data.Val != "" {
			val, err := data.Open(run.Data.Val)
			if err != nil {
				return config.DataFacts{}, fmt.Errorf("data.val: %w", err)
			}
			facts.ValTokens, facts.ValDigest = val.Tokens(), val.Digest()
		}
		known[key] = facts
		return facts, nil
	}
}

// find gives the cell with this id, or with the only id that starts so.
func (p *Plan) find(id string) (Cell, error) {
	var found []Cell
	for _, cell := range p.Cells {
		if cell.ID == id {
			return cell, nil
		}
		if len(id) >= 4 && strings.HasPrefix(cell.ID, id) {
			found = append(found, cell)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if len(found) > 1 {
		return Cell{}, record.Fail(record.Usage, "run id %q fits %d cells of grid %s: give more of it", id, len(found), p.Name)
	}
	return Cell{}, record.Fail(record.Usage, "no cell of grid %s has the run id %q: `plasticity sweep status` lists them", p.Name, id)
}
