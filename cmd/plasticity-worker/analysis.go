package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"plasticity/cmd/internal/request"
	"plasticity/model"
	"plasticity/record"
)

// analysis is a measurement whose result is kept in a folder.
type analysis[R kept] struct {
	find    func() (r R, there bool, err error)
	measure func() (R, error)
}

// kept is the result of an analysis.
type kept interface {
	Write(fsys record.FS, dir string) error
	Describe() string
}

// keep replies with the result in a folder, where it is in the file, and measures only where there is none. Other processes are kept
// from writing there meanwhile.
func keep[R kept](s streams, asJSON bool, out, file string, a analysis[R]) error {
	lock, err := lockDir(out)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the process ends soon and the kernel lets go
	result, there, err := a.find()
	if err != nil {
		return err
	}
	if !there {
		if result, err = a.measure(); err != nil {
			return err
		}
		if err := result.Write(record.OS(), out); err != nil {
			return err
		}
	}
	if asJSON {
		return reply(s, request.Analyzed{Out: out, Unchanged: there, Results: result})
	}
	_, err = fmt.Fprintf(s.out, "%s%s\n", result.Describe(), filepath.Join(out, file))
	return err
}

// analysisDir is the folder that an analysis goes to: the one asked for, or one with a name among the analyses of the run.
func analysisDir(source model.Source, out, name string) (string, error) {
	if out != "" {
		return out, nil
	}
	if source.RunDir == "" {
		return "", record.Fail(record.Usage, "%s is a Hugging Face folder: name a folder for the result with --out", source.Path)
	}
	return filepath.Join(source.RunDir, record.AnalyzeDir, name), nil
}

// lockDir makes a folder, keeps other processes from writing into it, and removes what one that was killed left half-written.
func lockDir(dir string) (*record.Lock, error) {
	if err := record.MkdirAll(record.OS(), dir); err != nil {
		return nil, err
	}
	lock, err := record.Acquire(dir)
	if err != nil {
		return nil, err
	}
	if _, err := lock.CleanTemp(record.OS()); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return lock, nil
}
