package serve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"plasticity/plots"
	"plasticity/record"
)

// snapshot is what the folders said at one moment. It is never changed.
type snapshot struct {
	root     string
	at       time.Time
	grids    map[string]gridRecords
	byID     map[string]plots.Record
	problems []record.Problem
}

// gridRecords are the runs of a grid.
type gridRecords struct {
	name    string
	records []plots.Record
}

// reader reads run folders, not more often than their number allows.
type reader struct {
	root string

	mu   sync.Mutex
	last *snapshot
	due  time.Time
}

// Readers rest for a while and for some times as long as reading took, so that a page never takes more than a part of a core.
const (
	rest      = 2 * time.Second
	restTimes = 5
)

// look returns the newest snapshot, and makes one when the last is too old. Whoever asks meanwhile waits for it.
func (r *reader) look(ctx context.Context) (*snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil && time.Now().Before(r.due) {
		return r.last, nil
	}
	began := time.Now()
	records, problems, err := plots.Read(ctx, r.root)
	if err != nil {
		return nil, err
	}
	r.last = newSnapshot(r.root, began, records, problems)
	r.due = time.Now().Add(max(rest, restTimes*time.Since(began)))
	return r.last, nil
}

// newSnapshot sorts records by the folder they lie in, which is that of a grid, and by id. Of several folders of one run the
// furthest is the run's; a grid shows those in its own.
func newSnapshot(root string, at time.Time, records []plots.Record, problems []record.Problem) *snapshot {
	s := &snapshot{root: root, at: at, grids: map[string]gridRecords{}, byID: map[string]plots.Record{}, problems: problems}
	for _, rec := range records {
		if other, twice := s.byID[rec.Info.ID]; !twice || step(rec) > step(other) {
			s.byID[rec.Info.ID] = rec
		}
		name := s.gridOf(rec)
		g := s.grids[name]
		s.grids[name] = gridRecords{name, append(g.records, rec)}
	}
	return s
}

// gridOf names the grid of a run: the folder it lies in, which is the root itself where that is a grid.
func (s *snapshot) gridOf(r plots.Record) string {
	name := filepath.ToSlash(filepath.Dir(r.Folder))
	if name != "." {
		return name
	}
	root := s.root
	if absolute, err := filepath.Abs(root); err == nil { // "." and ".." name nothing, and no address
		root = absolute
	}
	return filepath.Base(root)
}

// step is how far a run has come, as its metrics say.
func step(r plots.Record) int64 { return latest(r).Step }

// latest is the last line of a run's metrics, of zeros when there is none.
func latest(r plots.Record) record.Metric {
	if n := len(r.Metrics); n > 0 {
		return r.Metrics[n-1]
	}
	return record.Metric{}
}

// validation is the last evaluation of a run.
func validation(r plots.Record) (loss float64, ok bool) {
	for _, m := range slices.Backward(r.Metrics) {
		if m.ValLoss != nil {
			return float64(*m.ValLoss), true
		}
	}
	return 0, false
}

// colours match what terminals take for colours and movements.
var colours = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// What is shown of a log.
const (
	logBytes = 16 << 10
	logLines = 40
)

// logTail reads the end of the log that a sweep keeps of a member, "" where there is none. Colours and other control
// characters are left out.
func logTail(dir string) string {
	path := filepath.Join(dir, record.LogsDir, "worker.log")
	info, err := os.Lstat(path) //nolint:gosec // dir is that of a run that was found, not what was asked for
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(path) //nolint:gosec // as above
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read
	from := max(0, info.Size()-logBytes)
	text := make([]byte, min(info.Size(), logBytes))
	n, err := f.ReadAt(text, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	tail := strings.ToValidUTF8(string(text[:n]), "")
	if _, rest, cut := strings.Cut(tail, "\n"); cut && from > 0 {
		tail = rest
	}
	tail = strings.ReplaceAll(colours.ReplaceAllString(tail, ""), "\r", "\n")
	tail = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, tail)
	lines := strings.Split(strings.TrimRight(tail, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-logLines):], "\n")
}

// evaluations lists the folders of evaluations in that of a run, and whether each is done.
func evaluations(dir string) []evaluation {
	entries, err := os.ReadDir(filepath.Join(dir, record.EvalDir))
	if err != nil {
		return nil
	}
	var out []evaluation
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		_, err := os.Stat(filepath.Join(dir, record.EvalDir, e.Name(), record.DoneFile)) //nolint:gosec // as above
		switch {
		case err == nil:
			out = append(out, evaluation{e.Name(), record.StateDone})
		case errors.Is(err, fs.ErrNotExist):
			out = append(out, evaluation{e.Name(), record.StateStopped})
		}
	}
	return out
}
