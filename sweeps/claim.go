package sweeps

import (
	"errors"
	"path/filepath"
	"syscall"

	"plasticity/record"
)

// claimDir is the folder of what the runner keeps for one cell: the claim and
// the config the member is started with.
func (p *Plan) claimDir(id string) string { return filepath.Join(p.Dir, hiddenDir, "cells", id) }

// claim takes the right to work on a cell. While somebody else has it, or while
// a process that outlived its runner still trains the run, blockedBy says who.
//
// The claim and the lock of the run folder are two locks on purpose: the runner
// holds the claim between attempts, too, and the worker holds the lock of the
// run even when its runner is dead.
func (p *Plan) claim(fsys record.FS, c Cell) (lock *record.Lock, blockedBy string, err error) {
	dir := p.claimDir(c.ID)
	if err := record.MkdirAll(fsys, dir); err != nil {
		return nil, "", err
	}
	lock, err = record.Acquire(dir)
	if err != nil {
		var errno syscall.Errno
		if record.CodeOf(err) != record.NotPermitted || errors.As(err, &errno) {
			return nil, "", err
		}
		if owner, held := record.Holder(dir); held {
			return nil, "another runner, " + owner.String(), nil
		}
		return nil, "another runner that has just let go", nil
	}
	if owner, held := record.Holder(c.Dir); held {
		return nil, "its own worker, " + owner.String(), lock.Release()
	}
	// What a killed runner was writing when it died.
	if _, err := lock.CleanTemp(fsys); err != nil {
		return nil, "", errors.Join(err, lock.Release())
	}
	return lock, "", nil
}
