package plots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// maxConfigBytes bounds config.resolved.yaml.
const maxConfigBytes = 1 << 20

// Record is what is known of one run: the content of its folder that figures need.
type Record struct {
	Folder  string // where it lies, for people; relative to the root of the set
	Info    record.Info
	State   record.State
	Cause   string // of a failure
	Metrics []record.Metric
	Config  []byte // config.resolved.yaml; empty when there is none
	// Evaluations of a fine-tuned run's answers, in the order of their folders.
	Evaluations []Evaluation
	// Ranks of a pretraining run's attention; nil when they were not measured.
	Ranks *Ranks
	// Probes of a pretraining run's hidden states, in the order of their folders.
	Probes []Probes
	// Gap of a pretraining run; nil when it was not measured.
	Gap *Gap
	// Noise on a pretraining run's weights; nil when it was not measured.
	Noise *Noise
	// Forgetting of a fine-tuned run; nil when it was not measured.
	Forgetting *Forgetting
}

// Set is a collection of records, sorted into settings that can be compared.
type Set struct {
	settings []*setting
	members  []*member // all but fine-tuned and imported ones
	imports  []*member // models that were imported, not trained
	tuned    []*tunedRun
	down     []*downstream // in the order of settings
	problems []record.Problem

	unusedEvaluations int
	unusedForgetting  int
}

// member is one run of a set with what was derived from it.
type member struct {
	Record
	final float64 // last validation loss in nats a token; NaN without one
	at    int64   // the step of it
	fault string  // why final does not count; empty when it does
	seed  string  // seed as text
}

// Load reads every run below root. Damaged runs become problems of the set, not errors; the error is a Failure when root
// itself cannot be read or ctx ends.
func Load(ctx context.Context, root string) (*Set, error) {
	records, problems, err := Read(ctx, root)
	if err != nil {
		return nil, err
	}
	return NewSet(records, problems), nil
}

// Read is Load for those who make sets of parts of the records themselves.
func Read(ctx context.Context, root string) ([]Record, []record.Problem, error) {
	runs, problems, err := record.Scan(root)
	if err != nil {
		return nil, nil, err
	}
	var records []Record
	for _, run := range runs {
		if err := ctx.Err(); err != nil {
			return nil, nil, record.Fail(record.Stopped, "read runs: %w", err)
		}
		r, found := read(run)
		records = append(records, r)
		problems = append(problems, found...)
	}
	for i := range records {
		records[i].Folder = relative(root, records[i].Folder)
	}
	for i := range problems {
		full := problems[i].Path
		problems[i].Path = relative(root, full)
		problems[i].What = strings.ReplaceAll(problems[i].What, full, problems[i].Path)
	}
	return records, problems, nil
}

// read gathers what figures need of one run.
func read(run *record.Run) (Record, []record.Problem) {
	r := Record{Folder: run.Dir, Info: run.Info, State: run.State()}
	metrics, problems, err := run.Metrics()
	r.Metrics = metrics
	if err != nil {
		problems = append(problems, record.Problem{Path: run.Path(record.MetricsFile), What: err.Error()})
	}
	if code, cause, failed := run.Failure(); failed {
		r.Cause = fmt.Sprintf("exit code %d: %s", int(code), cause)
	}
	if isTuned(run.Info) {
		var ofEvaluations, ofForgetting []record.Problem
		r.Evaluations, ofEvaluations = readEvaluations(run)
		r.Forgetting, ofForgetting = readForgetting(run)
		problems = slices.Concat(problems, ofEvaluations, ofForgetting)
	} else {
		var ofRanks, ofProbes, ofGap, ofNoise []record.Problem
		r.Ranks, ofRanks = readRanks(run)
		r.Probes, ofProbes = readProbes(run)
		r.Gap, ofGap = readGap(run)
		r.Noise, ofNoise = readNoise(run)
		problems = slices.Concat(problems, ofRanks, ofProbes, ofGap, ofNoise)
	}
	path := run.Path(record.ResolvedFile)
	if r.Config, err = record.ReadFile(record.OS(), path, maxConfigBytes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, record.Problem{Path: path, What: err.Error()})
	}
	return r, problems
}

// relative returns path as seen from root, with forward slashes.
func relative(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil {
		path = rel
	}
	return filepath.ToSlash(path)
}

// NewSet sorts records into settings. problems are those of reading; what is found here is added.
func NewSet(records []Record, problems []record.Problem) *Set {
	s := &Set{problems: slices.Clone(problems)}
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(strings.Compare(a.Info.ID, b.Info.ID), rank(a.State)-rank(b.State), strings.Compare(a.Folder, b.Folder))
	})
	var tuned []*member
	var used Record
	for i, r := range records {
		if i > 0 && r.Info.ID == used.Info.ID {
			if !shared(r, used) {
				what := fmt.Sprintf("a second folder of run %s; %s is used", r.Info.ID, used.Folder)
				s.problems = append(s.problems, record.Problem{Path: r.Folder, What: what})
			}
			continue
		}
		used = r
		switch m := newMember(r); r.Info.Kind {
		case kindFinetune:
			tuned = append(tuned, m)
		case kindImport:
			s.imports = append(s.imports, m)
		default:
			s.members = append(s.members, m)
		}
	}
	slices.SortFunc(s.imports, func(a, b *member) int { return strings.Compare(a.Folder, b.Folder) })
	s.settings = sortIntoSettings(s.members)
	s.sortTuned(tuned)
	return s
}

// shared tells that two folders of one run are those of two grids that have the run in common, as a never-pretrained model of two
// scales, and that both came to the same end.
func shared(a, b Record) bool {
	if a.Info.Grid == b.Info.Grid || a.State != record.StateDone || b.State != record.StateDone || len(a.Metrics) == 0 || len(b.Metrics) == 0 {
		return false
	}
	x, y := a.Metrics[len(a.Metrics)-1], b.Metrics[len(b.Metrics)-1]
	return x.Step == y.Step && x.Loss == y.Loss && x.ValLoss != nil && y.ValLoss != nil && *x.ValLoss == *y.ValLoss
}

// rank orders the folders of one run: the furthest first.
func rank(state record.State) int {
	order := []record.State{record.StateDone, record.StateRunning, record.StateStopped, record.StateFailed}
	if i := slices.Index(order, state); i >= 0 {
		return i
	}
	return len(order)
}

// newMember finds the final validation loss of a run, and why it does not count when it does not.
func newMember(r Record) *member {
	m := &member{Record: r, final: math.NaN(), seed: fmt.Sprint(r.Info.Seed)}
	for _, line := range slices.Backward(r.Metrics) {
		if line.ValLoss != nil {
			m.final, m.at = float64(*line.ValLoss), line.Step
			break
		}
	}
	decay := float64(r.Info.WeightDecay)
	switch {
	case r.Info.Kind == kindImport:
		m.fault = "was imported, not trained"
	case r.State == record.StateFailed:
		m.fault = "failed"
		if r.Cause != "" {
			m.fault += " (" + clean(r.Cause, 80) + ")"
		}
	case r.State != record.StateDone:
		m.fault = fmt.Sprintf("not finished (%s, %s)", r.State, m.progress())
	case !finite(decay) || decay < 0:
		m.fault = fmt.Sprintf("its weight decay is %v", decay)
	case m.at == 0 && math.IsNaN(m.final):
		m.fault = "has no validation loss"
	case !finite(m.final):
		m.fault = fmt.Sprintf("diverged (validation loss %v)", m.final)
	case m.at < r.Info.Steps:
		m.fault = fmt.Sprintf("was last evaluated at step %d of %d", m.at, r.Info.Steps)
	}
	return m
}

// progress says how far the run got.
func (m *member) progress() string {
	var step int64
	if n := len(m.Metrics); n > 0 {
		step = m.Metrics[n-1].Step
	}
	return fmt.Sprintf("step %d of %d", step, m.Info.Steps)
}

// counts tells whether the final loss enters means.
func (m *member) counts() bool { return m.fault == "" }

// decay is λ.
func (m *member) decay() float64 { return float64(m.Info.WeightDecay) }

// tau is AdamW's timescale as a fraction of training, 1/(lr·λ·steps).
func (m *member) tau() float64 {
	if t := float64(m.Info.Tau); t > 0 {
		return t
	}
	return 1 / (float64(m.Info.LearningRate) * m.decay() * float64(m.Info.Steps))
}

// name says which run is meant, in a note.
func (m *member) name() string {
	return fmt.Sprintf("λ = %s seed %s (run %.8s)", lambda(m.decay()), m.seed, m.Info.ID)
}

// Runs returns how many runs the set has besides fine-tuned and imported ones, and how many of them count: finished with a finite validation loss.
func (s *Set) Runs() (all, counted int) {
	for _, m := range s.members {
		if m.counts() {
			counted++
		}
	}
	return len(s.members), counted
}

// Problems returns what reading and sorting found.
func (s *Set) Problems() []record.Problem { return slices.Clone(s.problems) }
