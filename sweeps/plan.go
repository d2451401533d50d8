package sweeps

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/config"
	"plasticity/record"
)

// hiddenDir holds what belongs to the sweep and to no run.
const hiddenDir = ".sweep"

// Kind is what a cell makes.
type Kind string

// The kinds of cells.
const (
	Pretrain Kind = "pretrain" // a base model
	Finetune Kind = "finetune" // a base model, or a never-pretrained one, fine-tuned on a task
	Evaluate Kind = "evaluate" // the answers of a fine-tuned model, scored
	Analyze  Kind = "analyze"  // a look inside a base model, or a fine-tuned one
)

// none stands for no cell.
const none = -1

// A Cell is one process of a grid: a base model of one seed, a fine-tuned model, the evaluation of one, or an analysis.
type Cell struct {
	// Index is the position in the plan, from 0.
	Index int  `json:"index"`
	Kind  Kind `json:"kind"`
	// ID is config.Resolved.ID, for an evaluation or an analysis a hash of what decides it: the same on every machine.
	ID string `json:"id"`
	// Dir is the run folder, <root>/<grid>/<id>; of an evaluation eval/<task>-<id> in that of its model, of an analysis
	// analyze/<name>.
	Dir string `json:"dir"`
	// Needs is the index of the cell that must be done before this one, and Base that of the base model that it comes
	// from; −1: there is none.
	Needs int `json:"needs"`
	Base  int `json:"base"`
	// Task is what it is fine-tuned on, or what probes are of.
	Task string `json:"task,omitempty"`
	// Axes are the values that make this cell, in the order of the grid: of a fine-tuning its own. Lineage has those of the
	// base model.
	Axes    []record.Axis `json:"axes"`
	Lineage []record.Axis `json:"lineage,omitempty"`
	Seed    int64         `json:"seed"`
	// Parent is the id of the run that this one starts from, "" for fresh weights.
	Parent string `json:"parent,omitempty"`

	Parameters int64 `json:"parameters"`
	// Steps of training, or problems to answer; 1 of an analysis.
	Steps int64 `json:"steps"`
	// Tokens that the loss of all steps is over; of an evaluation about what it generates.
	Tokens int64 `json:"tokens"`
	// FLOPs of the whole run with full attention, 6·N + 12·L·d·s for a token that is read, as if all examples of a task were as long as the
	// longest; of an evaluation what takes as long, about.
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

	// Evaluation says how to evaluate, Analysis what to measure; nil for other kinds.
	Evaluation *Evaluation `json:"evaluation,omitempty"`
	Analysis   *Analysis   `json:"analysis,omitempty"`

	// Run is the config of the cell, Facts what its data is.
	Run   config.Run       `json:"-"`
	Facts config.DataFacts `json:"-"`
	model config.Model     // with its vocabulary
}

// trains says that the cell is a run: a folder with a record, metrics and checkpoints.
func (c Cell) trains() bool { return c.Kind != Evaluate && c.Kind != Analyze }

// Label names the cell for people: what is done, on what, from where, and its seed.
func (c Cell) Label() string {
	var words []string
	switch c.Kind {
	case Pretrain:
	case Analyze:
		words = append(words, "analyze", c.Analysis.Folder())
		if c.Analysis.Tuned() {
			words = append(words, c.Task)
		}
	case Evaluate:
		words = append(words, "evaluate", c.Task)
	case Finetune:
		words = append(words, c.Task)
	}
	if c.Kind != Pretrain && c.Base == none {
		words = append(words, "never-pretrained")
	}
	for _, axis := range slices.Concat(c.Lineage, c.Axes) {
		words = append(words, printable(shortKey(axis.Name)+"="+axis.Value, 60))
	}
	return strings.Join(append(words, fmt.Sprintf("seed=%d", c.Seed)), " ")
}

// last is the checkpoint that a finished run ends with. What follows from a model names it rather than the run's folder, of which a
// reader takes the newest checkpoint that is whole: where the last one is damaged, that would be an earlier model.
func (c Cell) last() string { return record.CheckpointPath(c.Dir, c.Steps) }

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

// New lays out a grid under root: the base models first, then what is measured of each and what descends from it. tasks is the folder that has the
// tasks of fine-tunings. It refuses (record.Usage) a name that cannot be a folder, a grid without cells, a cell that config
// refuses, and two cells that are the same run, naming both.
func New(grid config.Grid, root, tasks string, facts Facts) (*Plan, error) {
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
			return nil, fmt.Errorf("grid %s, cell %d (%s): %w", plan.Name, i+1, cell.Label(), err)
		}
		if twin, ok := seen[cell.ID]; ok {
			return nil, record.Fail(record.Usage, "grid %s: cells %d (%s) and %d (%s) are the same run %s: remove one of them",
				grid.Name, twin.Index+1, twin.Label(), i+1, cell.Label(), cell.ID)
		}
		seen[cell.ID] = cell
		plan.Cells = append(plan.Cells, cell)
	}
	bases := plan.Cells
	if err := plan.analyses(grid); err != nil {
		return plan, err
	}
	return plan, plan.descend(grid, bases, tasks, facts)
}

// lay resolves one point of the grid into the cell of a base model; with an error it has its label.
func (p *Plan) lay(index int, point config.Cell, facts Facts) (Cell, error) {
	cell := Cell{Index: index, Kind: Pretrain, Needs: none, Base: none, Seed: point.Seed, Run: point.Run}
	for _, axis := range point.Axes {
		cell.Axes = append(cell.Axes, record.Axis{Name: axis.Key, Value: axis.Value})
	}
	var err error
	if cell.Facts, err = facts.Text(point.Run); err != nil {
		return cell, err
	}
	resolved, err := point.Run.Resolve(cell.Facts)
	if err != nil {
		return cell, err
	}
	var identity string
	if cell.Parent, identity, err = parentOf(point.Run.Init); err != nil {
		return cell, err
	}
	cell.settle(p, resolved, resolved.ID(cell.Facts, identity))
	return cell, nil
}

// settle fills in what follows from a resolved config and the id of a run.
func (c *Cell) settle(p *Plan, resolved config.Resolved, id string) {
	c.ID, c.model = id, resolved.Model
	c.Dir = filepath.Join(p.Dir, id)
	c.ConfigFile = filepath.Join(p.claimDir(id), record.ConfigFile)
	c.Parameters = resolved.Model.Parameters()
	c.Steps, c.Tokens = resolved.Steps, resolved.TokensTotal
	full, _ := resolved.FLOPs()
	c.FLOPs = record.Float(full)
	c.WeightDecay, c.Tau = record.Float(resolved.WeightDecay), record.Float(resolved.Tau)
}

// parentOf is the run that init names, and what of it decides the numbers of a run that starts from it: its id and the step
// of its newest checkpoint.
func parentOf(init string) (id, identity string, err error) {
	if init == "" {
		return "", "", nil
	}
	run, err := record.Open(init)
	if err != nil {
		return "", "", record.Fail(record.Usage, "init: %q is not the folder of a run (bring a Hugging Face folder in with `plasticity import` first): %w", init, err)
	}
	checkpoint, _, err := record.FindCheckpoint(record.OS(), init)
	if err != nil {
		return "", "", err
	}
	if checkpoint == nil {
		return "", "", record.Fail(record.Usage, "init: %q has no checkpoint yet: let it train up to its first", init)
	}
	return run.Info.ID, fmt.Sprintf("%s@%d", run.Info.ID, checkpoint.Step), nil
}

// bases are the cells of the base models, which come first.
func (p *Plan) bases() []Cell {
	for i, c := range p.Cells {
		if c.Kind != Pretrain {
			return p.Cells[:i]
		}
	}
	return p.Cells
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
