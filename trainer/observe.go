package trainer

import (
	"plasticity/record"
)

// observe opens the observers in the order in which they see a step: the record first.
func (t *training) observe() error {
	j, err := newJournal(t.fsys, t.run)
	if err != nil {
		return err
	}
	t.observer = append(t.observer, j)
	if listen := t.config.Metrics.Listen; listen != "" {
		s, err := newServer(listen, t.run, t.config)
		if err != nil {
			// Watching is not worth a run: a taken port costs the metrics only.
			t.event("warning", err.Error())
			t.console.message("%v: training goes on without live metrics", err)
		} else {
			t.server = s
			t.observer = append(t.observer, s)
			t.console.message("metrics at http://%s/metrics", s.address)
		}
	}
	t.console.start(t.dir, t.step)
	t.observer = append(t.observer, t.console)
	return nil
}

// journal writes logged steps to metrics.jsonl.
type journal struct{ lines *record.Journal }

func newJournal(fsys record.FS, r *record.Run) (*journal, error) {
	lines, err := record.OpenJournal(fsys, r.Path(record.MetricsFile))
	return &journal{lines}, err
}

// step appends a line. A line that cannot be written stays with the journal, which tries it again.
func (j *journal) step(e StepEvent) error {
	if !e.Logged {
		return nil
	}
	tokens := float64(e.Tokens) / float64(e.Step)
	m := record.Metric{
		Step: e.Step, Tokens: e.Tokens, Loss: record.Float(e.Loss), LearningRate: record.Float(e.LearningRate),
		WeightDecay: record.Float(e.WeightDecay), GradNorm: record.Float(e.GradNorm), ParamNorm: record.Float(e.ParamNorm),
		StepSeconds: record.Float(e.Seconds), TokensPerSecond: record.Float(tokens / e.Seconds),
	}
	if v := e.Evaluation; v != nil {
		loss, bits := record.Float(v.Loss), record.Float(v.BitsPerByte)
		m.ValLoss, m.ValBitsPerByte = &loss, &bits
	}
	_ = j.lines.Append(m)
	return nil
}

func (j *journal) sync() error  { return j.lines.Sync() }
func (j *journal) close() error { return j.lines.Close() }
