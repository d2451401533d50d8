package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Schema is the version of run.json that this program writes. Older ones are read with a Problem, newer ones refused.
const Schema = 1

// Names in the folder of a run.
const (
	InfoFile     = "run.json"
	ConfigFile   = "config.yaml"
	ResolvedFile = "config.resolved.yaml"
	MetricsFile  = "metrics.jsonl"
	EventsFile   = "events.jsonl"
	DoneFile     = "DONE"
	FailedFile   = "FAILED"
	LogsDir      = "logs"
	EvalDir      = "eval"
	AnalyzeDir   = "analyze"
)

const (
	maxInfoBytes = 4 << 20
	maxMarkBytes = 64 << 10
	maxCauseText = 8 << 10
)

// Info is the identity of a run, where it comes from, and its sizes: the content of run.json. Losses are in the metrics.
type Info struct {
	Schema  int      `json:"schema"` // set by Create
	ID      string   `json:"id"`     // hash of the resolved configuration with its data and parents
	Name    string   `json:"name"`
	Grid    string   `json:"grid,omitempty"` // the grid it belongs to, empty for a single run
	Kind    string   `json:"kind"`           // pretrain | finetune
	Task    string   `json:"task,omitempty"` // the task it is fine-tuned on
	Parents []string `json:"parents,omitempty"`
	Seed    int64    `json:"seed"`
	Axes    []Axis   `json:"axes,omitempty"` // of the grid, in its order

	Commit   string `json:"commit"` // git commit of the program
	Dirty    bool   `json:"dirty"`  // built from a tree with changes
	Program  string `json:"program"`
	Shim     string `json:"shim"`
	Libtorch string `json:"libtorch"`

	CPU       string `json:"cpu"`           // instruction set in use
	Device    string `json:"device"`        // cpu, cuda:0
	Precision string `json:"precision"`     // f32 | bf16
	Step      string `json:"step"`          // reference | engine | graph
	ISA       string `json:"isa,omitempty"` // of the engine's kernels: amx, avx512_bf16, avx512 or avx2
	Threads   int    `json:"threads"`
	Started   string `json:"started"` // RFC 3339; a label, nothing is computed from it

	Model         string `json:"model"`      // preset or family, for people
	Parameters    int64  `json:"parameters"` // of the model
	Tokens        int64  `json:"tokens"`     // planned, as Metric counts them; of a task about
	Steps         int64  `json:"steps"`      // planned
	TokensPerStep int64  `json:"tokens_per_step"`

	LearningRate Float        `json:"learning_rate"` // peak
	WeightDecay  Float        `json:"weight_decay"`
	Tau          Float        `json:"tau"` // AdamW timescale as a fraction of training; Infinity without decay
	DecayGroups  []DecayGroup `json:"decay_groups,omitempty"`

	DataSource      string `json:"data_source"` // the body of text, for people
	DataDigest      string `json:"data_digest"`
	ValDigest       string `json:"val_digest"`
	TokenizerDigest string `json:"tokenizer_digest"`
	TrainTokens     int64  `json:"train_tokens"` // in the prepared data
	ValTokens       int64  `json:"val_tokens"`
}

// NoCommit is what a program says before it writes records without a commit.
const NoCommit = "this program was built without its git commit, so results will not name one: build it by make build in a git checkout, without -buildvcs=false"

// Axis is the value of one axis of the grid, as exact text: {"optimizer.weight_decay", "0.1"}.
type Axis struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// DecayGroup lists the parameters that share a weight decay.
type DecayGroup struct {
	WeightDecay Float    `json:"weight_decay"`
	Parameters  []string `json:"parameters"`
}

// Axis returns the value of the axis name.
func (i Info) Axis(name string) (string, bool) {
	for _, a := range i.Axes {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// Problem is something wrong with a file that reading survived. Line counts from 1; 0 means the file as a whole.
type Problem struct {
	Path string `json:"path"`
	Line int    `json:"line,omitempty"`
	What string `json:"what"`
}

// String returns "path:line: what".
func (p Problem) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.What)
	}
	return p.Path + ": " + p.What
}

// Run is the folder of a run.
type Run struct {
	Dir  string
	Info Info
	// Problems is what reading run.json found, such as an older schema.
	Problems []Problem

	fsys FS
}

// Path returns the path of a file or folder in the run.
func (r *Run) Path(name ...string) string {
	return filepath.Join(append([]string{r.Dir}, name...)...)
}

// Create makes the folder of a run, or opens the one that is there when it has the same id: run.json is written last and
// never changed, so what it says is how the run began (later starts are events). A folder of another id is
// refused with Mismatch. The caller must own the run: make the folder, Acquire its lock, Create.
func Create(fsys FS, dir string, info Info, configGiven, configResolved []byte) (*Run, error) {
	if err := info.checkNames(); err != nil {
		return nil, err
	}
	for _, sub := range []string{dir, filepath.Join(dir, CheckpointsDir), filepath.Join(dir, LogsDir)} {
		if err := MkdirAll(fsys, sub); err != nil {
			return nil, err
		}
	}
	if err := syncParents(fsys, dir); err != nil {
		return nil, err
	}
	old, err := OpenFS(fsys, dir)
	switch {
	case err == nil && old.Info.ID != info.ID:
		return nil, Fail(Mismatch, "%s holds run %s, not %s: choose another folder", dir, old.Info.ID, info.ID)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{ConfigFile, configGiven}, {ResolvedFile, configResolved}} {
		path := filepath.Join(dir, file.name)
		if old != nil {
			err = writeMissing(fsys, path, file.data)
		} else {
			err = WriteFileAtomic(fsys, path, file.data)
		}
		if err != nil {
			return nil, err
		}
	}
	if old != nil {
		return old, nil
	}
	info.Schema = Schema
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return nil, Fail(Internal, "encode %s: %w", InfoFile, err)
	}
	if err := WriteFileAtomic(fsys, filepath.Join(dir, InfoFile), append(text, '\n')); err != nil {
		return nil, err
	}
	return &Run{Dir: dir, Info: info, fsys: fsys}, nil
}

// checkNames refuses ids and names that are not safe in paths.
func (i Info) checkNames() error {
	if err := CheckName("run id", i.ID); err != nil {
		return err
	}
	for _, n := range []struct{ what, value string }{{"run name", i.Name}, {"grid name", i.Grid}, {"run kind", i.Kind}} {
		if n.value == "" {
			continue
		}
		if err := CheckName(n.what, n.value); err != nil {
			return err
		}
	}
	return nil
}

// writeMissing writes a file that is not there yet.
func writeMissing(fsys FS, path string, data []byte) error {
	there, err := exists(fsys, path)
	if err != nil {
		return FailIO(err, "write %s", path)
	}
	if there {
		return nil
	}
	return WriteFileAtomic(fsys, path, data)
}

// Open reads the run in dir. The error is a Failure: BadData when run.json is missing or damaged (errors.Is with
// fs.ErrNotExist tells which), Mismatch when a newer program wrote it.
func Open(dir string) (*Run, error) { return OpenFS(OS(), dir) }

// OpenFS is Open on another file system.
func OpenFS(fsys FS, dir string) (*Run, error) {
	path := filepath.Join(dir, InfoFile)
	text, err := ReadFile(fsys, path, maxInfoBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Fail(BadData, "%s: not the folder of a run: %w", dir, err)
	}
	if err != nil {
		return nil, FailIO(err, "open run")
	}
	info, err := parseInfo(text)
	if err != nil {
		return nil, FailIO(err, "%s", path)
	}
	r := &Run{Dir: dir, Info: info, fsys: fsys}
	if info.Schema < Schema {
		what := fmt.Sprintf("schema %d is older than this program's %d: fields it did not know are empty", info.Schema, Schema)
		r.Problems = append(r.Problems, Problem{Path: path, What: what})
	}
	return r, nil
}

// parseInfo decodes and checks run.json.
func parseInfo(text []byte) (Info, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return Info{}, Fail(BadData, "not a run's description: %w", err)
	}
	if version.Schema > Schema {
		return Info{}, Fail(Mismatch, "schema %d is newer than this program, which reads up to %d: use a newer program", version.Schema, Schema)
	}
	if version.Schema < 0 {
		return Info{}, Fail(BadData, "schema %d: want 0 to %d", version.Schema, Schema)
	}
	var info Info
	if err := json.Unmarshal(text, &info); err != nil {
		return Info{}, Fail(BadData, "not a run's description: %w", err)
	}
	if err := info.checkNames(); err != nil {
		return Info{}, Fail(BadData, "%w", err)
	}
	return info, nil
}

// State is where a run stands.
type State string

// The states of a run.
const (
	StatePlanned State = "planned" // a folder, but no training yet
	StateRunning State = "running" // a process owns it
	StateDone    State = "done"
	StateFailed  State = "failed"  // ended with an error that a new start does not cure by itself
	StateStopped State = "stopped" // began, has no owner and no end: start it again
)

// State tells where the run stands, from its marks, its lock and its records.
func (r *Run) State() State {
	if r.has(DoneFile) {
		return StateDone
	}
	if _, held := Holder(r.Dir); held {
		return StateRunning
	}
	if r.has(FailedFile) {
		return StateFailed
	}
	steps, err := Checkpoints(r.fsys, r.Dir)
	if err == nil && len(steps) == 0 && r.empty(EventsFile) && r.empty(MetricsFile) {
		return StatePlanned
	}
	return StateStopped
}

func (r *Run) has(name string) bool {
	there, err := exists(r.fsys, r.Path(name))
	return err == nil && there
}

func (r *Run) empty(name string) bool {
	info, err := r.fsys.Stat(r.Path(name))
	return err != nil || info.Size() == 0
}

// mark is the content of DONE and FAILED.
type mark struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"`
	Code   Code   `json:"code"`
	Kind   string `json:"kind"` // the code in words
	Cause  string `json:"cause,omitempty"`
}

// Finish marks the run as done: the last act of a training.
func (r *Run) Finish() error {
	if err := r.ClearFailed(); err != nil {
		return err
	}
	return r.writeMark(DoneFile, OK, "")
}

// MarkFailed marks the run as failed, with the exit code and one sentence why. A run that is done stays done.
func (r *Run) MarkFailed(code Code, cause string) error {
	if r.has(DoneFile) {
		return Fail(Internal, "%s is done: it cannot be marked as failed (%s)", r.Dir, cause)
	}
	return r.writeMark(FailedFile, code, cause)
}

func (r *Run) writeMark(name string, code Code, cause string) error {
	return writeMark(r.fsys, r.Path(name), mark{ID: r.Info.ID, Code: code, Cause: cause})
}

// Mark marks a folder that is no run, such as that of an evaluation, under an id: as done with OK, else as failed.
func Mark(fsys FS, dir, id string, code Code, cause string) error {
	if err := CheckName("id", id); err != nil {
		return err
	}
	name := FailedFile
	if code == OK {
		name = DoneFile
	}
	return writeMark(fsys, filepath.Join(dir, name), mark{ID: id, Code: code, Cause: cause})
}

func writeMark(fsys FS, path string, m mark) error {
	if len(m.Cause) > maxCauseText {
		m.Cause = string(bytes.ToValidUTF8([]byte(m.Cause[:maxCauseText]), nil)) + " …"
	}
	m.Schema, m.Kind = Schema, m.Code.String()
	text, err := json.Marshal(m)
	if err != nil {
		return Fail(Internal, "encode %s: %w", path, err)
	}
	return WriteFileAtomic(fsys, path, append(text, '\n'))
}

// ClearFailed removes the mark FAILED, if there is one, before a new try.
func (r *Run) ClearFailed() error {
	if !r.has(FailedFile) {
		return nil
	}
	err := removeQuietly(r.fsys, r.Path(FailedFile))
	if err == nil {
		err = r.fsys.SyncDir(r.Dir)
	}
	if err != nil {
		return FailIO(err, "remove %s", r.Path(FailedFile))
	}
	return nil
}

// Failure returns the exit code and cause of the mark FAILED; ok is false without one. A damaged mark is still a mark.
func (r *Run) Failure() (code Code, cause string, ok bool) {
	text, err := ReadFile(r.fsys, r.Path(FailedFile), maxMarkBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return OK, "", false
	}
	var m mark
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return Failed, fmt.Sprintf("the mark cannot be read: %v", err), true
	}
	return m.Code, m.Cause, true
}
