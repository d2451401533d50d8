package sweeps

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"plasticity/record"
)

const (
	// markLimit bounds what is read of DONE and FAILED, in bytes.
	markLimit = 64 << 10
	// metricTail is how much of the end of metrics.jsonl is read for its last line.
	metricTail = 16 << 10
)

// mark is the content of DONE and FAILED as record writes them. It is read
// here, too, because a member can fail before its folder is a run.
type mark struct {
	ID    string      `json:"id"`
	Code  record.Code `json:"code"`
	Kind  string      `json:"kind"`
	Cause string      `json:"cause"`
}

// readMark reads DONE or FAILED of a cell. there is false when no such file
// exists; a file that cannot be understood is there with a zero mark.
func readMark(c Cell, name string) (m mark, there bool) {
	text, err := record.ReadFile(record.OS(), filepath.Join(c.Dir, name), markLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, false
	}
	if err != nil || json.Unmarshal(text, &m) != nil {
		return mark{}, true
	}
	return m, true
}

// isDone says that the cell is done: its DONE can be read and is its own. A
// DONE that is empty, garbage or copied from elsewhere is none.
func isDone(c Cell) bool {
	m, there := readMark(c, record.DoneFile)
	return there && m.ID == c.ID && m.Code == record.OK && (c.Analysis == nil || c.Analysis.check() == nil)
}

// stateOf says where a cell stands and, when it has failed, how.
func stateOf(c Cell) (record.State, fault) {
	if isDone(c) {
		return record.StateDone, fault{}
	}
	if _, err := os.Lstat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return record.StatePlanned, fault{}
	}
	if _, held := record.Holder(c.Dir); held {
		return record.StateRunning, fault{}
	}
	// A FAILED of another id tells of earlier settings of an analysis.
	if m, there := readMark(c, record.FailedFile); there && (m.ID == c.ID || m.ID == "") {
		f := fault{end: ending{code: m.Code, what: m.Kind}, cause: printable(m.Cause, 1000)}
		if f.end.what == "" {
			f.end = ending{code: record.Failed, what: "its FAILED cannot be read"}
		}
		if f.cause == "" {
			f.cause = f.end.what
		}
		return record.StateFailed, f
	}
	if !c.trains() {
		if answered(c) > 0 {
			return record.StateStopped, fault{}
		}
		return record.StatePlanned, fault{}
	}
	run, err := record.Open(c.Dir)
	if err != nil {
		return record.StatePlanned, fault{}
	}
	if state := run.State(); state != record.StateDone {
		return state, fault{}
	}
	return record.StateStopped, fault{} // a DONE that does not verify
}

// markFailed writes FAILED. A worker that wrote its own knows better.
func markFailed(fsys record.FS, c Cell, code record.Code, cause string) error {
	if m, there := readMark(c, record.FailedFile); there && m.ID == c.ID && m.Cause != "" {
		return nil
	}
	if run, err := record.OpenFS(fsys, c.Dir); err == nil {
		return run.MarkFailed(code, cause)
	}
	if err := record.MkdirAll(fsys, c.Dir); err != nil {
		return err
	}
	return record.Mark(fsys, c.Dir, c.ID, code, cause)
}

// clearMarks removes what would keep a cell from being started: FAILED, and a
// DONE that does not verify, which is kept under another name. The DONE that an
// analysis has from earlier settings stays: it holds again once they are taken back.
func clearMarks(fsys record.FS, c Cell) error {
	err := fsys.Remove(filepath.Join(c.Dir, record.FailedFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	done := filepath.Join(c.Dir, record.DoneFile)
	if m, there := readMark(c, record.DoneFile); there && !isDone(c) && (c.trains() || m.ID == c.ID || m.ID == "") {
		err = errors.Join(err, fsys.Rename(done, done+".broken"))
	}
	return err
}

// answersName is where an evaluation keeps its answers, a line for each problem.
const answersName = "responses.jsonl"

// answered is how many problems an evaluation has answered.
func answered(c Cell) int64 {
	file, err := os.Open(filepath.Join(c.Dir, answersName))
	if err != nil {
		return 0
	}
	defer file.Close() //nolint:errcheck // only read
	lines, buffer := int64(0), make([]byte, 64<<10)
	for {
		n, err := file.Read(buffer)
		lines += int64(bytes.Count(buffer[:n], []byte{'\n'}))
		if err != nil {
			return lines
		}
	}
}

// stepOf is how far a cell has safely come: the newest checkpoint of a run, 0 without, or the problems answered.
func stepOf(fsys record.FS, c Cell) int64 {
	if !c.trains() {
		return answered(c)
	}
	steps, err := record.Checkpoints(fsys, c.Dir)
	if err != nil || len(steps) == 0 {
		return 0
	}
	return steps[len(steps)-1]
}

// lastMetric is the last whole line of the metrics of a run; without one its
// counts are 0 and its measurements NaN. Of an evaluation it has the counts alone.
func lastMetric(c Cell) record.Metric {
	none := record.Metric{Loss: record.Float(math.NaN()), TokensPerSecond: record.Float(math.NaN())}
	if !c.trains() {
		none.Step = answered(c)
		none.Tokens = int64(float64(c.Tokens) * float64(none.Step) / float64(max(1, c.Steps)))
		return none
	}
	end, err := readEnd(filepath.Join(c.Dir, record.MetricsFile), metricTail)
	if err != nil {
		return none
	}
	for len(end) > 0 {
		cut := bytes.LastIndexByte(end[:len(end)-1], '\n') + 1
		line := end[cut:]
		if line[len(line)-1] == '\n' {
			if metric, err := record.ParseMetric(line[:len(line)-1]); err == nil {
				return metric
			}
		}
		end = end[:cut]
	}
	return none
}

// lastValLoss is the newest validation loss of a run, NaN when it has none.
func lastValLoss(c Cell) record.Float {
	run, err := record.Open(c.Dir)
	if err != nil {
		return record.Float(math.NaN())
	}
	metrics, _, err := run.Metrics()
	if err != nil {
		return record.Float(math.NaN())
	}
	for i := len(metrics) - 1; i >= 0; i-- {
		if metrics[i].ValLoss != nil {
			return *metrics[i].ValLoss
		}
	}
	return record.Float(math.NaN())
}
