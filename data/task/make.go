package task

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// Task is a task in memory, before it is written.
type Task struct {
	Name, Kind  string
	Seed        int64
	Train, Test []Example
	Sources     []Source
	Filters     []Filter
}

// Options says what Make makes.
type Options struct {
	// Name is a synthetic family, or a public task if From is given.
	Name string
	// Out is the folder to make.
	Out string
	// From is the folder with the downloaded data sets of a public task; of gosource, a folder of texts in place of the
	// sources of the Go distribution.
	From string
	// Cache is the folder that data.Fetch keeps data sets in; empty: its default.
	Cache string
	// Seed decides which examples a family has, and which rows of a public task are taken.
	Seed int64
	// Train and Test are the numbers of examples; 0: the default of a family, all of a public task.
	Train, Test int
	// Levels are those of a family; empty: those that fit a context of 128 tokens.
	Levels []int
	// Progress, if not nil, is told the bytes read and to be read, one call at a time.
	Progress func(done, total int64)
}

// Longest is the longest example of a side.
type Longest struct {
	ID         string `json:"id"`
	Characters int    `json:"characters"` // of prompt and response
}

// Summary says what Make made.
type Summary struct {
	Out      string   `json:"out"`
	Manifest Manifest `json:"manifest"`
	Longest  Longest  `json:"longest"`
	// Unchanged is true when Out held the same task already and nothing was written.
	Unchanged bool `json:"unchanged"`
}

// Make makes a prepared task. Out appears complete or not at all; when it holds the same task already, nothing is written,
// and when it holds anything else, Make refuses. Errors are Failures.
func Make(ctx context.Context, o Options) (Summary, error) {
	if o.Out == "" {
		return Summary{}, usage("no output folder: give one")
	}
	if o.Train < 0 || o.Test < 0 {
		return Summary{}, usage("train %d and test %d must not be negative", o.Train, o.Test)
	}
	t, err := build(ctx, o)
	if err != nil {
		return Summary{}, err
	}
	return Write(t, o.Out)
}

// build makes the task that the options ask for.
func build(ctx context.Context, o Options) (*Task, error) {
	if o.Name == goSource {
		return generateText(ctx, o)
	}
	if o.From == "" {
		if _, ok := publicTask(o.Name); ok {
			return nil, usage("task %s is made of public data: download them and give their folder with --from\n%s", o.Name, wanted(o.Name))
		}
		return Generate(o.Name, o.Seed, o.Train, o.Test, o.Levels)
	}
	if len(o.Levels) > 0 {
		return nil, usage("levels are for synthetic families; the levels of %s are those of its data", o.Name)
	}
	return Load(ctx, o)
}

// Write writes a task as a prepared folder.
func Write(t *Task, out string) (Summary, error) {
	m := Manifest{
		Format: manifestFormat, Version: manifestVersion, Name: t.Name, Kind: t.Kind, Template: template, Seed: t.Seed,
		Train: len(t.Train), Test: len(t.Test), Levels: countLevels(t.Train, t.Test),
		Sources: append([]Source{}, t.Sources...), Filters: append([]Filter{}, t.Filters...),
	}
	if err := t.check(); err != nil {
		return Summary{}, err
	}
	var err error
	if m.TrainSHA256, err = digestLines(t.Train); err != nil {
		return Summary{}, err
	}
	if m.TestSHA256, err = digestLines(t.Test); err != nil {
		return Summary{}, err
	}
	m.Digest = m.contentDigest()
	if err := m.check(); err != nil {
		return Summary{}, bad("task %s: %w", t.Name, err)
	}
	summary := Summary{Out: out, Manifest: m, Longest: t.longest()}
	if summary.Unchanged, err = existing(out, &m); summary.Unchanged || err != nil {
		return summary, err
	}
	return summary, record.WriteDirAtomic(record.OS(), out, func(temp string) error {
		b, err := m.marshal()
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(temp, TrainFile), t.Train); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(temp, TestFile), t.Test); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(temp, ManifestFile), b, 0o644)
	})
}

// check checks what Open will check, so that nothing is written that cannot be read.
func (t *Task) check() error {
	seen := census{ids: make(map[string]place), keys: make(map[string]place)}
	for _, side := range []struct {
		examples []Example
		name     string
		test     bool
	}{{t.Test, TestFile, true}, {t.Train, TrainFile, false}} {
		for i, e := range side.examples {
			if field, reason := e.check(t.Kind, side.test); reason != "" {
				return bad("task %s: example %.80q: field %q %s", t.Name, e.ID, field, reason)
			}
			if err := seen.add(e, place{side.name, i + 1}, side.test); err != nil {
				return err
			}
		}
	}
	return nil
}

// longest returns the longest example.
func (t *Task) longest() Longest {
	var l Longest
	for _, e := range slices.Concat(t.Train, t.Test) {
		if n := characters(e); n > l.Characters {
			l = Longest{e.ID, n}
		}
	}
	return l
}

// characters counts the characters of prompt and response.
func characters(e Example) int { return len([]rune(Prompt(e))) + len([]rune(Response(e))) }

// digestLines returns the SHA-256 of the file of examples.
func digestLines(examples []Example) (string, error) {
	h := sha256.New()
	if err := writeLines(h, examples); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeFile writes a file of examples.
func writeFile(path string, examples []Example) error {
	f, err := os.Create(path)
	if err != nil {
		return record.FailIO(err, "write %s", filepath.Base(path))
	}
	if err := errors.Join(writeLines(f, examples), f.Close()); err != nil {
		return record.FailIO(err, "write %s", filepath.Base(path))
	}
	return nil
}

// existing looks at what is in the way of the output; the same is true when it is this very task.
func existing(out string, m *Manifest) (same bool, err error) {
	if info, err := os.Stat(out); err == nil && !info.IsDir() {
		return false, usage("output %s: there is a file of that name: choose another folder or remove it", out)
	}
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return false, nil
	}
	if err != nil {
		return false, record.FailIO(err, "read output folder")
	}
	there, err := readManifest(filepath.Join(out, ManifestFile))
	if err != nil || !there.equal(m) {
		return false, usage("output %s: there is something else already, which is not overwritten: choose another folder or remove it", out)
	}
	if _, err := Open(out); err != nil {
		return false, bad("output %s holds this task, but damaged; remove it and try again: %w", out, err)
	}
	return true, nil
}

// equal reports whether two manifests say the same.
func (m *Manifest) equal(other *Manifest) bool {
	a, err := m.marshal()
	b, otherErr := other.marshal()
	return err == nil && otherErr == nil && string(a) == string(b)
}

// normalize makes a text fit for one line and UTF-8: what a public file has beyond is replaced.
func normalize(s string) string {
	return strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD"))
}
