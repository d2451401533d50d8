package sweeps

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"plasticity/config"
	"plasticity/record"
)

// Analysis is a look inside a model: what is measured, and where the model and the result lie.
type Analysis struct {
	config.Analysis
	Model string `json:"model"` // its last checkpoint, or the folder of its run for a look at all of them
	Out   string `json:"out"`   // folder of the result
}

// analysisVersion changes when the same settings no longer mean the same results.
const analysisVersion = "plasticity-analysis-1"

// analyses adds the analyses of every base model.
func (p *Plan) analyses(grid config.Grid) error {
	for _, base := range p.bases() {
		if err := p.inside(base, grid.Analyze); err != nil {
			return err
		}
	}
	return nil
}

// inside adds the analyses of one model, which is a base model or a fine-tuned one.
func (p *Plan) inside(of Cell, analyses []config.Analysis) error {
	for _, a := range analyses {
		if a.Tuned() != (of.Kind == Finetune) {
			continue
		}
		cell, err := p.analysis(of, a)
		if err != nil {
			return err
		}
		p.Cells = append(p.Cells, cell)
	}
	return nil
}

// analysis is the cell of one look inside a model.
func (p *Plan) analysis(of Cell, a config.Analysis) (Cell, error) {
	settings, err := json.Marshal([]any{analysisVersion, of.ID, a})
	if err != nil {
		return Cell{}, record.Fail(record.Internal, "encode an analysis: %w", err)
	}
	sum := sha256.Sum256(settings)
	cell := of
	cell.Index, cell.Kind, cell.Needs, cell.Parent = len(p.Cells), Analyze, of.Index, of.ID
	if of.Kind == Pretrain {
		cell.Base, cell.Axes, cell.Lineage, cell.Task = of.Index, nil, of.Axes, a.Task
	}
	cell.ID, cell.ConfigFile = hex.EncodeToString(sum[:])[:16], ""
	all := filepath.Join(of.Dir, record.AnalyzeDir)
	cell.Dir = filepath.Join(all, a.Folder())
	cell.Analysis = &Analysis{Analysis: a, Model: of.last(), Out: cell.Dir}
	if a.Name == config.Rank {
		cell.Analysis.Out = all // where a run's ranks are looked for
	}
	if a.All {
		cell.Analysis.Model = of.Dir // has all of them
	}
	// What it reads is little beside training; estimates leave it out.
	cell.Steps, cell.Tokens, cell.FLOPs = 1, 0, 0
	return cell, nil
}

// check says whether the result is there.
func (a *Analysis) check() error {
	_, err := os.Stat(filepath.Join(a.Out, a.Name+".json"))
	return err
}

// conclude marks an analysis whose process has ended well as done: the process writes its result whole or not at all, and finds it
// again.
func (a *Analysis) conclude(fsys record.FS, c Cell) error {
	if err := a.check(); err != nil {
		return record.FailIO(err, "%s: exit code 0, but no result", c.Label())
	}
	return record.Mark(fsys, c.Dir, c.ID, record.OK, "")
}

// analysesText says what is measured, a line for each analysis.
func (s Status) analysesText() []string {
	var order []string
	counts := make(map[string]int)
	for _, row := range s.Rows {
		if a := row.Cell.Analysis; a != nil && !row.Stale {
			if counts[a.Folder()] == 0 {
				order = append(order, a.Folder())
			}
			counts[a.Folder()]++
		}
	}
	var lines []string
	for _, name := range order {
		lines = append(lines, fmt.Sprintf("then %s of %d models", name, counts[name]))
	}
	return lines
}
