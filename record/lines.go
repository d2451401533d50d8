package record

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
)

// maxProblems bounds what is reported about one file.
const maxProblems = 100

// Metric is one line of metrics.jsonl: a logged step. Losses are means in nats a token; rates are those of the step.
type Metric struct {
	Step            int64 `json:"step"`   // optimizer steps done
	Tokens          int64 `json:"tokens"` // that the loss was over so far: of prepared text all, of a task those of its responses
	Loss            Float `json:"loss"`
	LearningRate    Float `json:"learning_rate"`
	WeightDecay     Float `json:"weight_decay"`
	GradNorm        Float `json:"grad_norm"` // before clipping
	ParamNorm       Float `json:"param_norm"`
	StepSeconds     Float `json:"step_seconds"`
	TokensPerSecond Float `json:"tokens_per_second"`

	// Only on steps with an evaluation.
	ValLoss        *Float `json:"val_loss,omitempty"`
	ValBitsPerByte *Float `json:"val_bits_per_byte,omitempty"`
}

// Event is one line of events.jsonl. Time is RFC 3339 and only a label: nothing is ordered by it.
type Event struct {
	Time   string `json:"time"`
	Kind   string `json:"kind"`
	Step   int64  `json:"step"`
	Detail string `json:"detail,omitempty"`
}

// The kinds of events.
const (
	EventStart   = "start"
	EventResume  = "resume"
	EventSave    = "save"
	EventSignal  = "signal"
	EventStop    = "stop"
	EventDone    = "done"
	EventFail    = "fail"
	EventWarning = "warning"
)

// ParseMetric decodes one line. Numbers that it lacks are NaN; a line without a step is an error.
func ParseMetric(line []byte) (Metric, error) {
	nan := Float(math.NaN())
	m := Metric{
		Step: -1, Loss: nan, LearningRate: nan, WeightDecay: nan, GradNorm: nan, ParamNorm: nan,
		StepSeconds: nan, TokensPerSecond: nan,
	}
	if err := decodeLine(line, &m); err != nil {
		return Metric{}, err
	}
	if m.Step < 0 || m.Tokens < 0 {
		return Metric{}, fmt.Errorf("step %d, tokens %d: want both, 0 or more", m.Step, m.Tokens)
	}
	return m, nil
}

// ParseEvent decodes one line; an event has a kind.
func ParseEvent(line []byte) (Event, error) {
	var e Event
	if err := decodeLine(line, &e); err != nil {
		return Event{}, err
	}
	if e.Kind == "" {
		return Event{}, errors.New("no kind")
	}
	return e, nil
}

// decodeLine decodes a JSON object; json itself would also take null.
func decodeLine(line []byte, v any) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return fmt.Errorf("%.40q: not a JSON object", line)
	}
	return json.Unmarshal(line, v)
}

// Metrics reads metrics.jsonl: one entry a step, ascending; of several lines for a step (after a resume) the last
// counts. Damaged lines and a torn last one are left out and reported. Without the file there are no metrics.
func (r *Run) Metrics() ([]Metric, []Problem, error) {
	metrics, problems, err := readLines(r.fsys, r.Path(MetricsFile), ParseMetric)
	// A stable sort keeps the order of the file among equal steps, so the last of them is the latest.
	slices.SortStableFunc(metrics, func(a, b Metric) int { return cmp.Compare(a.Step, b.Step) })
	unique := metrics[:0]
	for _, m := range metrics {
		if n := len(unique); n > 0 && unique[n-1].Step == m.Step {
			unique[n-1] = m
			continue
		}
		unique = append(unique, m)
	}
	return unique, problems, err
}

// Events reads events.jsonl in the order of the file. Damaged lines and a torn last one are left out and reported.
func (r *Run) Events() ([]Event, []Problem, error) {
	return readLines(r.fsys, r.Path(EventsFile), ParseEvent)
}

// readLines reads a journal without trusting it: long, damaged and torn lines become Problems with their number.
func readLines[T any](fsys FS, path string, parse func([]byte) (T, error)) ([]T, []Problem, error) {
	f, _, err := openRegular(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, FailIO(err, "read journal")
	}
	defer f.Close() //nolint:errcheck // only read
	var values []T
	report := problemList{path: path}
	lines := lineReader{from: bufio.NewReaderSize(f, 64<<10)}
	for {
		line, state, err := lines.next()
		if errors.Is(err, io.EOF) {
			return values, report.problems, nil
		}
		if err != nil {
			return values, report.problems, FailIO(err, "read %s", path)
		}
		value, parseErr := parse(line)
		switch {
		case state == lineLong:
			report.add(lines.number, fmt.Sprintf("longer than %d bytes: left out", MaxLine))
		case state == lineTorn && (parseErr != nil || !wholeObject(line)):
			report.add(lines.number, "the last line is torn: left out")
		case len(bytes.TrimSpace(line)) == 0:
			// an empty line says nothing
		case parseErr != nil:
			report.add(lines.number, fmt.Sprintf("damaged, left out: %v", parseErr))
		default:
			values = append(values, value)
		}
	}
}

// problemList gathers the problems of one file, the first maxProblems of them.
type problemList struct {
	path     string
	problems []Problem
}

func (l *problemList) add(line int, what string) {
	switch len(l.problems) {
	case maxProblems:
		return
	case maxProblems - 1:
		what += "; further problems of this file are not listed"
	}
	l.problems = append(l.problems, Problem{Path: l.path, Line: line, What: what})
}

// lineState says how a line ended.
type lineState int

const (
	lineWhole lineState = iota
	lineTorn            // the file ended before the line did
	lineLong            // over MaxLine bytes: skipped
)

// lineReader reads lines of bounded length and counts them.
type lineReader struct {
	from   *bufio.Reader
	number int // of the line read last, from 1
	buf    []byte
}

// next returns the next line without its end; the bytes are valid until the next call. At the end the error is io.EOF.
func (r *lineReader) next() ([]byte, lineState, error) {
	r.buf = r.buf[:0]
	r.number++
	long := false
	for {
		part, err := r.from.ReadSlice('\n')
		if len(r.buf)+len(part) > MaxLine+1 {
			long = true
		}
		if !long {
			r.buf = append(r.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) == 0 && !long:
			return nil, lineWhole, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, lineWhole, err
		case long:
			return nil, lineLong, nil
		case err != nil:
			return r.buf, lineTorn, nil
		default:
			return r.buf[:len(r.buf)-1], lineWhole, nil
		}
	}
}
