package record

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// brokenSuffix ends the name of a checkpoint that was set aside.
const brokenSuffix = ".broken"

// sortedSteps sorts in place, ascending.
func sortedSteps(steps []int64) []int64 {
	slices.Sort(steps)
	return steps
}

// LatestCheckpoint returns the newest checkpoint that verifies, or nil when the run has none. Damaged ones are renamed to
// *.broken, kept for inspection, and reported. The error is a Failure: BadData when there were checkpoints and
// none of them is whole, Mismatch when the newest was written by a newer program, IO when one cannot be read
// (it may be whole: nothing older is taken in its place). The caller must own the run; others use FindCheckpoint.
func LatestCheckpoint(fsys FS, runDir string) (*Checkpoint, []Problem, error) {
	return newestWhole(fsys, runDir, func(dir string) (string, error) {
		aside, err := quarantine(fsys, dir)
		return "; set aside as " + filepath.Base(aside), err
	})
}

// findTries is how often FindCheckpoint looks again while the owner of the run prunes.
const findTries = 5

// FindCheckpoint is LatestCheckpoint for those who do not own the run: it changes nothing, and the run may be training
// and pruning meanwhile.
func FindCheckpoint(fsys FS, runDir string) (*Checkpoint, []Problem, error) {
	vanished := errors.New("removed by its owner")
	for try := 1; ; try++ {
		c, problems, err := newestWhole(fsys, runDir, func(dir string) (string, error) {
			there, err := exists(fsys, dir)
			if err == nil && !there {
				err = vanished
			}
			return "", err
		})
		if !errors.Is(err, vanished) || try == findTries {
			return c, problems, err
		}
	}
}

// newestWhole returns the newest checkpoint that verifies; damaged deals with each folder that does not, and returns what
// to add to its Problem.
func newestWhole(fsys FS, runDir string, damaged func(dir string) (string, error)) (*Checkpoint, []Problem, error) {
	steps, err := Checkpoints(fsys, runDir)
	if err != nil {
		return nil, nil, err
	}
	var problems []Problem
	for _, step := range slices.Backward(steps) {
		dir := CheckpointPath(runDir, step)
		c, err := OpenCheckpoint(fsys, dir)
		if err == nil {
			return c, problems, nil
		}
		if CodeOf(err) != BadData {
			return nil, problems, err
		}
		note, damagedErr := damaged(dir)
		if damagedErr != nil {
			return nil, problems, damagedErr
		}
		problems = append(problems, Problem{Path: dir, What: err.Error() + note})
	}
	if len(problems) > 0 {
		return nil, problems, Fail(BadData, "%s: none of its %d checkpoints is whole (%s): start the run anew in another folder, or restore one",
			runDir, len(steps), problems[0].What)
	}
	return nil, nil, nil
}

// quarantine renames a damaged checkpoint to a free name with the suffix .broken and returns it.
func quarantine(fsys FS, dir string) (string, error) {
	aside := dir + brokenSuffix
	for n := 2; ; n++ {
		there, err := exists(fsys, aside)
		if err != nil {
			return "", FailIO(err, "set %s aside", dir)
		}
		if !there {
			break
		}
		aside = fmt.Sprintf("%s%s-%d", dir, brokenSuffix, n)
	}
	err := fsys.Rename(dir, aside)
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(dir))
	}
	if err != nil {
		return "", FailIO(err, "set %s aside", dir)
	}
	return aside, nil
}

// Prune removes old checkpoints: all but the newest keep (at least one) and those for which keepSteps, when given, is
// true. Nothing is removed unless the newest that counts was verified in full; checkpoints that are not whole do not count
// and are left alone. A checkpoint leaves its name, durably, before its manifest and then its files are removed, so a
// crash at any point leaves whole checkpoints and temporaries, nothing between. The caller must own the run.
func Prune(fsys FS, runDir string, keep int, keepSteps func(int64) bool) error {
	steps, err := Checkpoints(fsys, runDir)
	if err != nil {
		return err
	}
	kept, mode := 0, verifyDigests
	for _, step := range slices.Backward(steps) {
		dir := CheckpointPath(runDir, step)
		if kept >= max(keep, 1) {
			if keepSteps != nil && keepSteps(step) {
				continue
			}
			if err := removeCheckpoint(fsys, dir); err != nil {
				return err
			}
			continue
		}
		c, err := openCheckpoint(fsys, dir, mode)
		if err == nil && c.Step == step {
			kept++
			mode = verifySizes
		}
	}
	return nil
}

// removeCheckpoint removes a checkpoint: name, manifest, files, in this order.
func removeCheckpoint(fsys FS, dir string) error {
	parent, temp := filepath.Dir(dir), tempName(dir)
	err := fsys.Rename(dir, temp)
	if err == nil {
		err = fsys.SyncDir(parent)
	}
	if err == nil {
		err = removeQuietly(fsys, filepath.Join(temp, ManifestFile))
	}
	if err == nil {
		err = fsys.RemoveAll(temp)
	}
	if err != nil {
		return FailIO(err, "remove old checkpoint %s", dir)
	}
	return nil
}
