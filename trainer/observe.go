package trainer

import (
	"errors"

	"plasticity/record"
)

// observe opens the observers in the order in which they see a step: the record first.
func (t *training) observe() error {
	lines, err := record.OpenJournal(t.fsys, t.run.Path(record.MetricsFile))
	if err != nil {
		return err
	}
	t.journal = &journal{lines: lines, warn: t.warn}
	t.observer = append(t.observer, t.journal)
	if listen := t.config.Metrics.Listen; listen != "" {
		gpu, _ := t.stepper.(*graph) // nil: it is another step
		if t.server, err = newServer(listen, t.fsys, t.run, t.config, standing{t.step, t.tokens}, gpu); err != nil {
			// Watching is not worth a run: a taken port costs the metrics only.
			t.warn("%v: training goes on without live metrics", err)
		} else {
			t.observer = append(t.observer, t.server)
			t.console.message("metrics at http://%s/metrics", t.server.address)
		}
	}
	t.console.start(t.dir, t.step, t.tokens, stepText(t.stepper.Name(), t.stepper.ISA(), t.config.Precision, Threads(t.config.Run)))
	t.observer = append(t.observer, t.console)
	return nil
}

// journal writes logged steps to metrics.jsonl. A line that the disk does not take stays with
// record.Journal, which tries it again with the next.
type journal struct {
	lines  *record.Journal
	warn   func(format string, args ...any)
	behind bool // the last write failed, and that was said
}

// step appends a line.
func (j *journal) step(e StepEvent) error {
	if !e.Logged {
		return nil
	}
	m := record.Metric{
		Step: e.Step, Tokens: e.Tokens, Loss: record.Float(e.Loss), LearningRate: record.Float(e.LearningRate),
		WeightDecay: record.Float(e.WeightDecay), GradNorm: record.Float(e.GradNorm), ParamNorm: record.Float(e.ParamNorm),
		StepSeconds: record.Float(e.Seconds), TokensPerSecond: record.Float(e.TokensPerSecond),
	}
	if v := e.Evaluation; v != nil {
		loss, bits := record.Float(v.Loss), record.Float(v.BitsPerByte)
		m.ValLoss, m.ValBitsPerByte = &loss, &bits
	}
	err := j.lines.Append(m)
	if errors.Is(err, record.ErrLineLost) {
		return err
	}
	j.said(err)
	return nil
}

// said tells once of a disk that does not take lines, until it does again.
func (j *journal) said(err error) {
	if err != nil && !j.behind {
		j.warn("metrics are kept in memory until they can be written: %v", err)
	}
	j.behind = err != nil
}

// sync makes the lines durable, if it can.
func (j *journal) sync() error {
	err := j.lines.Sync()
	j.said(err)
	return err
}

// flush makes them durable or fails.
func (j *journal) flush() error { return j.lines.Sync() }

func (j *journal) close() error { return j.lines.Close() }
