package sweeps

import (
	"errors"
	"io/fs"
	"math"
	"os"

	"plasticity/record"
)

// A Row is what the ledger knows of one cell.
type Row struct {
	Cell  Cell         `json:"cell"`
	State record.State `json:"state"`
	// Stale marks a run in the folder of the grid that the grid no longer has.
	Stale bool `json:"stale,omitempty"`
	// Step and Tokens are how far training has come.
	Step   int64 `json:"step"`
	Tokens int64 `json:"tokens"`
	// Loss is the last training loss and ValLoss the last validation loss, in
	// nats per token, NaN when there is none.
	Loss            record.Float `json:"loss"`
	ValLoss         record.Float `json:"val_loss"`
	TokensPerSecond record.Float `json:"tokens_per_second"`
	// SecondsLeft of training at that speed; NaN unless the run is going on.
	SecondsLeft record.Float `json:"seconds_left"`
	// Owner is the process that holds the run, if one does.
	Owner string `json:"owner,omitempty"`
	// Code and Cause say how a failed cell failed, Log where to read more.
	Code  record.Code `json:"code,omitempty"`
	Cause string      `json:"cause,omitempty"`
	Log   string      `json:"log,omitempty"`
}

// Count is the number of cells of a kind in a state.
type Count struct {
	Kind  Kind         `json:"kind"`
	State record.State `json:"state"`
	Runs  int          `json:"runs"`
}

// Status is the state of a grid, derived from its folders at one moment.
type Status struct {
	Grid  string `json:"grid"`
	Claim string `json:"claim"`
	Dir   string `json:"dir"`
	// Rows are the cells in the order of the plan, then the stale runs by id.
	Rows   []Row   `json:"rows"`
	Counts []Count `json:"counts"`
	// Planned is what the grid costs, Trained what it has. Stale runs count for neither.
	PlannedTokens int64        `json:"planned_tokens"`
	TrainedTokens int64        `json:"trained_tokens"`
	PlannedFLOPs  record.Float `json:"planned_flops"`
	// TokensPerSecond of all running members, SecondsLeft at that speed.
	TokensPerSecond record.Float `json:"tokens_per_second"`
	SecondsLeft     record.Float `json:"seconds_left"`
	// Measured is the speed of all members as an earlier run measured it for
	// these cells, and SecondsEstimated what is left at it; nil and NaN when
	// nothing was measured.
	Measured         *Placement       `json:"measured,omitempty"`
	SecondsEstimated record.Float     `json:"seconds_estimated"`
	Problems         []record.Problem `json:"problems,omitempty"`
}

// Finished says whether every cell of the grid is done, failed, or needs one that has failed.
func (s Status) Finished() bool { return s.Open() == 0 }

// Open counts the cells that are still to do: those that are neither done nor failed, and need none that has failed.
func (s Status) Open() int {
	open, lost := 0, make(map[int]bool) // by the index of the cell
	for _, r := range s.Rows {          // what a cell needs comes before it
		switch {
		case r.Stale:
		case r.State == record.StateFailed || lost[r.Cell.Needs]:
			lost[r.Cell.Index] = true
		case r.State != record.StateDone:
			open++
		}
	}
	return open
}

// Best is the finished base model with the lowest validation loss; ok is false when none has finished with one.
func (s Status) Best() (best Row, ok bool) {
	for _, r := range s.Rows {
		if r.Stale || r.Cell.Kind != Pretrain || r.State != record.StateDone || math.IsNaN(float64(r.ValLoss)) {
			continue
		}
		if !ok || r.ValLoss < best.ValLoss {
			best, ok = r, true
		}
	}
	return best, ok
}

// Status looks at every folder of the plan and at what else lies beside them.
// Damaged folders come back as Problems; the error is for a grid folder that
// cannot be read at all.
func (p *Plan) Status() (Status, error) {
	s := Status{Grid: p.Name, Claim: p.Claim, Dir: p.Dir, TokensPerSecond: 0}
	counts := make(map[Count]int) // of those without a number
	left, flops, speed := int64(0), 0.0, 0.0
	var work []float64
	for _, cell := range p.Cells {
		row := rowOf(cell)
		s.Rows = append(s.Rows, row)
		counts[Count{Kind: cell.Kind, State: row.State}]++
		open := row.State != record.StateDone && row.State != record.StateFailed
		flops += float64(cell.FLOPs)
		if cell.trains() {
			s.PlannedTokens += cell.Tokens
			s.TrainedTokens += row.Tokens
			if open {
				left += cell.Tokens - row.Tokens
			}
		}
		if open {
			work = append(work, float64(cell.Tokens-row.Tokens)*cell.flopsPerToken())
		}
		if row.State == record.StateRunning && row.TokensPerSecond > 0 {
			speed += float64(row.TokensPerSecond)
		}
	}
	for _, kind := range []Kind{Pretrain, Analyze, Finetune, Evaluate} {
		for _, state := range states() {
			c := Count{Kind: kind, State: state}
			c.Runs = counts[c]
			s.Counts = append(s.Counts, c)
		}
	}
	s.PlannedFLOPs, s.TokensPerSecond = record.Float(flops), record.Float(speed)
	s.SecondsLeft, s.SecondsEstimated = secondsLeft(left, speed), record.Float(math.NaN())
	if sharing, ok := p.kept(); ok {
		if at, ok := sharing.speed(); ok {
			s.Measured, s.SecondsEstimated = &at, record.Float(makespan(work, at.Members, float64(at.FLOPS)))
		}
	}
	stale, problems, err := p.stale()
	s.Rows, s.Problems = append(s.Rows, stale...), problems
	return s, err
}

// secondsLeft is NaN when nothing tells how fast it goes.
func secondsLeft(tokens int64, speed float64) record.Float {
	switch {
	case tokens <= 0:
		return 0
	case !(speed > 0):
		return record.Float(math.NaN())
	}
	return record.Float(float64(tokens) / speed)
}

// rowOf reads what a cell's folder says.
func rowOf(cell Cell) Row {
	state, f := stateOf(cell)
	metric := lastMetric(cell)
	row := Row{
		Cell: cell, State: state, Step: metric.Step, Tokens: metric.Tokens,
		Loss: metric.Loss, ValLoss: record.Float(math.NaN()), TokensPerSecond: metric.TokensPerSecond,
		SecondsLeft: record.Float(math.NaN()),
	}
	if cell.trains() {
		row.ValLoss = lastValLoss(cell)
	}
	// A copied or damaged journal must not make a grid look more than complete.
	row.Step, row.Tokens = min(row.Step, cell.Steps), min(row.Tokens, cell.Tokens)
	switch state {
	case record.StateDone:
		row.Step, row.Tokens, row.SecondsLeft = cell.Steps, cell.Tokens, 0
	case record.StateRunning:
		owner, _ := record.Holder(cell.Dir)
		row.Owner = owner.String()
		row.SecondsLeft = secondsLeft(cell.Tokens-row.Tokens, float64(metric.TokensPerSecond))
	case record.StateFailed:
		row.Code, row.Cause = f.end.code, f.cause
		row.Log = newMemberLog(cell.Dir, 0).path
	}
	return row
}

// stale finds runs that belong to no cell: the grid was changed after they were
// trained. They are kept and shown, never touched.
func (p *Plan) stale() ([]Row, []record.Problem, error) {
	if _, err := os.Lstat(p.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	runs, problems, err := record.Scan(p.Dir)
	if err != nil {
		return nil, nil, err
	}
	planned := make(map[string]bool, len(p.Cells))
	for _, cell := range p.Cells {
		planned[cell.Dir] = true
	}
	var rows []Row
	for _, run := range runs {
		if planned[run.Dir] {
			continue
		}
		info := run.Info
		row := rowOf(Cell{
			Index: none, Kind: Kind(info.Kind), Needs: none, Base: none, Task: info.Task, ID: info.ID, Dir: run.Dir, Axes: info.Axes, Seed: info.Seed, Threads: info.Threads,
			Parameters: info.Parameters, Steps: info.Steps, Tokens: info.Tokens,
			FLOPs: record.Float(math.NaN()), WeightDecay: info.WeightDecay, Tau: info.Tau,
		})
		row.Stale = true
		rows = append(rows, row)
	}
	return rows, problems, nil
}
