package record

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// scanDepth is how far below the root runs are looked for: runs/<grid>/<run>.
const scanDepth = 2

// Scan finds the runs in root, which may itself be one: root/<run> and root/<grid>/<run>, sorted by id, then folder. Folders
// that are damaged or unreadable come back as Problems and never stop it. The error is a Failure when root itself
// cannot be read.
func Scan(root string) ([]*Run, []Problem, error) { return ScanFS(OS(), root) }

// ScanFS is Scan on another file system.
func ScanFS(fsys FS, root string) ([]*Run, []Problem, error) {
	info, err := fsys.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, Fail(Usage, "no runs: %w", err)
	case err != nil:
		return nil, nil, FailIO(err, "look for runs")
	case !info.IsDir():
		return nil, nil, Fail(Usage, "%s: not a folder", root)
	}
	s := scanner{fsys: fsys}
	s.visit(root, scanDepth)
	slices.SortFunc(s.runs, func(a, b *Run) int {
		return cmp.Or(strings.Compare(a.Info.ID, b.Info.ID), strings.Compare(a.Dir, b.Dir))
	})
	return s.runs, s.problems, nil
}

// scanner gathers what Scan finds.
type scanner struct {
	fsys     FS
	runs     []*Run
	problems []Problem
}

func (s *scanner) problem(path string, what any) {
	s.problems = append(s.problems, Problem{Path: path, What: fmt.Sprint(what)})
}

// visit takes dir as a run, or looks below it.
func (s *scanner) visit(dir string, depth int) {
	entries, err := s.fsys.ReadDir(dir)
	if err != nil {
		s.problem(dir, err)
		return
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == InfoFile }) {
		s.open(dir)
		return
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return runOnly(e.Name()) }) {
		s.problem(dir, "looks like a run but has no "+InfoFile+": left out")
		return
	}
	if depth == 0 {
		return
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := s.fsys.Stat(name) // not Lstat: runs may be linked in
		switch {
		case err != nil:
			s.problem(name, err)
		case info.IsDir():
			s.visit(name, depth-1)
		}
	}
}

// open reads one run; its problems are passed on.
func (s *scanner) open(dir string) {
	run, err := OpenFS(s.fsys, dir)
	if err != nil {
		s.problem(dir, err)
		return
	}
	s.problems = append(s.problems, run.Problems...)
	s.runs = append(s.runs, run)
}

// runOnly reports names that only a run's folder has.
func runOnly(name string) bool {
	return name == ResolvedFile || name == MetricsFile || name == EventsFile
}
