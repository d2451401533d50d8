package sweeps

import (
	"errors"

	"plasticity/record"
)

// Retry takes the mark FAILED from the cells with these ids (or the only ones
// that begin so), or from every failed cell when none is given, so that the
// next Run starts them again. It returns the ids of the cells it changed. An id
// that is no cell of the plan, or a cell that has not failed, is refused
// (record.Usage) before anything is changed.
func (p *Plan) Retry(ids []string) ([]string, error) {
	var cells []Cell
	for _, id := range ids {
		cell, err := p.find(id)
		if err != nil {
			return nil, err
		}
		if state, _ := stateOf(cell); state != record.StateFailed {
			return nil, record.Fail(record.Usage, "run %s (%s) has not failed, it is %s: nothing to retry", cell.ID, cell.Label(), state)
		}
		cells = append(cells, cell)
	}
	if len(ids) == 0 {
		for _, cell := range p.Cells {
			if state, _ := stateOf(cell); state == record.StateFailed {
				cells = append(cells, cell)
			}
		}
	}
	var cleared []string
	var failures []error
	for _, cell := range cells {
		if err := clearMarks(record.OS(), cell); err != nil {
			failures = append(failures, err)
			continue
		}
		cleared = append(cleared, cell.ID)
	}
	return cleared, errors.Join(failures...)
}
