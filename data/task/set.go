package task

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"plasticity/record"
)

// remedy ends the errors about a prepared task that is not as it was written.
const remedy = "make the task again with `plasticity data task`"

// Set is a prepared task that was opened, checked and read. It is immutable and safe for concurrent use.
type Set struct {
	dir      string
	manifest Manifest
	train    []Example
	test     []Example
}

// Open reads a prepared task and checks all of it. Errors are Failures that name file, line, field and what to do.
func Open(dir string) (*Set, error) {
	m, err := readManifest(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, err
	}
	s := &Set{dir: dir, manifest: *m}
	seen := census{ids: make(map[string]place), keys: make(map[string]place)}
	if s.test, err = readSide(filepath.Join(dir, TestFile), m, true, &seen); err != nil {
		return nil, err
	}
	if s.train, err = readSide(filepath.Join(dir, TrainFile), m, false, &seen); err != nil {
		return nil, err
	}
	if !slices.Equal(countLevels(s.train, s.test), m.Levels) {
		return nil, bad("%s: field \"levels\" does not count what the files hold: %s", filepath.Join(dir, ManifestFile), remedy)
	}
	return s, nil
}

// Inspectable reports whether dir looks like a prepared task.
func Inspectable(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, ManifestFile))
	return err == nil && info.Mode().IsRegular()
}

// place is a line of a file.
type place struct {
	file string
	line int
}

// census is what was seen on both sides of a task.
type census struct {
	ids  map[string]place
	keys map[string]place // of the test set
}

// add takes an example in, or says what of it was there before.
func (c *census) add(e Example, at place, test bool) error {
	if old, ok := c.ids[e.ID]; ok {
		return bad("%s:%d: field \"id\" %.80q is that of %s:%d, too: %s", at.file, at.line, e.ID, filepath.Base(old.file), old.line, remedy)
	}
	c.ids[e.ID] = at
	k := key(e)
	if test {
		c.keys[k] = at
	} else if old, ok := c.keys[k]; ok {
		field := "instruction"
		if e.Instruction == "" {
			field = "response"
		}
		return bad("%s:%d: field %q is that of %s:%d, too, so the test would be of what was learned: %s", at.file, at.line, field,
			filepath.Base(old.file), old.line, remedy)
	}
	return nil
}

// readSide reads the training or the test set.
func readSide(path string, m *Manifest, test bool, seen *census) ([]Example, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	var examples []Example
	err = readLines(io.TeeReader(f, sum), func(line int, e Example) error {
		if field, reason := e.check(m.Kind, test); reason != "" {
			return bad("%s:%d: field %q %s: %s", path, line, field, reason, remedy)
		}
		examples = append(examples, e)
		return seen.add(e, place{path, line}, test)
	})
	var wrong *lineError
	switch {
	case errors.As(err, &wrong) && wrong.field != "":
		return nil, bad("%s:%d: field %q %s: %s", path, wrong.line, wrong.field, wrong.what, remedy)
	case errors.As(err, &wrong):
		return nil, bad("%s:%d: %s: %s", path, wrong.line, wrong.what, remedy)
	case err != nil:
		return nil, record.FailIO(err, "read %s", path)
	}
	count, digest, field := m.Train, m.TrainSHA256, "train"
	if test {
		count, digest, field = m.Test, m.TestSHA256, "test"
	}
	if len(examples) != count {
		return nil, bad("%s: %d examples, field %q of %s says %d: %s", path, len(examples), field, ManifestFile, count, remedy)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return nil, bad("%s: SHA-256 %s, field \"%s_sha256\" of %s says %s: its content was changed; put the right file back or %s",
			path, got, field, ManifestFile, digest, remedy)
	}
	return examples, nil
}

// openRegular opens a regular file, never through a link and never waiting for a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, bad("%s: a symbolic link, not a regular file: put the file itself there", path)
	}
	if err != nil {
		return nil, missing(err, path)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = bad("%s: not a regular file (%s): %s", path, info.Mode().Type(), remedy)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// missing makes a Failure of an error of opening a file of a prepared task.
func missing(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return bad("%s: no such file: put it back or %s", path, remedy)
	}
	return record.FailIO(err, "read %s", path)
}

// countLevels counts the examples of each level, by name.
func countLevels(train, test []Example) []LevelCount {
	counts := make(map[string]*LevelCount)
	at := func(level string) *LevelCount {
		if counts[level] == nil {
			counts[level] = &LevelCount{Level: level}
		}
		return counts[level]
	}
	for i := range train {
		at(train[i].Level).Train++
	}
	for i := range test {
		at(test[i].Level).Test++
	}
	list := make([]LevelCount, 0, len(counts))
	for _, c := range counts {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b LevelCount) int { return strings.Compare(a.Level, b.Level) })
	return list
}

// Dir returns the folder.
func (s *Set) Dir() string { return s.dir }

// Name returns the name of the task.
func (s *Set) Name() string { return s.manifest.Name }

// Kind returns the kind of answers: Math, Letter, Word or Text.
func (s *Set) Kind() string { return s.manifest.Kind }

// Manifest returns a copy of the manifest.
func (s *Set) Manifest() Manifest { return s.manifest }

// Train returns the examples to learn from, in order. The caller must not change them.
func (s *Set) Train() []Example { return s.train }

// Test returns the examples to be tested with, in order. The caller must not change them.
func (s *Set) Test() []Example { return s.test }

// Digest returns the digest of what a run reads from the task.
func (s *Set) Digest() string { return s.manifest.Digest }

// First returns the task with the first n examples of its test set; 0: all. Its digest says so.
func (s *Set) First(n int) (*Set, error) {
	if n == 0 || n >= len(s.test) {
		return s, nil
	}
	if n < 0 {
		return nil, usage("the first %d examples: at least 1, or 0 for all", n)
	}
	out := *s
	out.test = s.test[:n]
	out.manifest.Test = n
	out.manifest.Digest = fmt.Sprintf("%s, the first %d", s.manifest.Digest, n)
	return &out, nil
}
