package sweeps

import (
	"math"

	"plasticity/config"
	"plasticity/record"
)

// unknownID stands in a forecast for the id of a cell whose data is not there: an id is a hash over digests of data.
const unknownID = "unknown"

// Forecast is what a grid will train and what it costs, told before its data needs to be there.
type Forecast struct {
	Status
	Cost Cost `json:"cost"`
	// Absent are the folders of data that are not there. Cells that read them have no id and no folder, and their numbers rest on the
	// configuration and on what is known of a task by its name.
	Absent []string `json:"absent,omitempty"`
}

// NewForecast lays out a grid as New does, but needs no data; nothing can be run of it.
func NewForecast(grid config.Grid, root, tasks string, on Processor) (Forecast, error) {
	facts, absent := ForecastFacts(grid.Evaluate)
	plan, err := New(grid, root, tasks, facts)
	if err != nil {
		return Forecast{}, err
	}
	f := Forecast{Absent: absent.Folders}
	if len(absent.Folders) == 0 {
		f.Status, err = plan.Status()
	} else {
		f.Status = plan.supposed()
	}
	f.Cost = f.cost(on)
	return f, err
}

// supposed is the state of a plan of which some data is not there: cells that rest on it are planned, without an id.
func (p *Plan) supposed() Status {
	s := Status{Grid: p.Name, Claim: p.Claim, Dir: p.Dir, SecondsLeft: record.Float(math.NaN()), SecondsEstimated: record.Float(math.NaN())}
	unknown := make([]bool, len(p.Cells))
	counts := make(map[Count]int)
	var order []Count
	flops := 0.0
	for i, cell := range p.Cells {
		unknown[i] = rests(cell.Facts) || cell.Needs != none && unknown[cell.Needs]
		var row Row
		if unknown[i] {
			row = Row{
				Cell: cell.nameless(), State: record.StatePlanned, Loss: record.Float(math.NaN()), ValLoss: record.Float(math.NaN()),
				TokensPerSecond: record.Float(math.NaN()), SecondsLeft: record.Float(math.NaN()),
			}
		} else {
			row = rowOf(cell)
		}
		s.Rows = append(s.Rows, row)
		flops += float64(cell.FLOPs)
		if cell.trains() {
			s.PlannedTokens += cell.Tokens
			s.TrainedTokens += row.Tokens
		}
		count := Count{Kind: cell.Kind, State: row.State}
		if counts[count] == 0 {
			order = append(order, count)
		}
		counts[count]++
	}
	for _, count := range order {
		runs := counts[count]
		count.Runs = runs
		s.Counts = append(s.Counts, count)
	}
	s.PlannedFLOPs = record.Float(flops)
	return s
}

// nameless is the cell without what follows from its id.
func (c Cell) nameless() Cell {
	c.ID, c.Dir, c.ConfigFile, c.Parent = unknownID, "", "", ""
	if c.Evaluation != nil {
		e := *c.Evaluation
		e.Model = ""
		c.Evaluation = &e
	}
	if c.Analysis != nil {
		a := *c.Analysis
		a.Model, a.Out = "", ""
		c.Analysis = &a
	}
	if c.Kind != Pretrain {
		c.Run.Init = ""
	}
	return c
}
