package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// tempPrefix begins every temporary name.
const tempPrefix = ".tmp-"

// nameRule is what run names, ids and file names in checkpoints must look like: no separator, no leading dot or dash,
// nothing a shell or a file system would take for something else.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._=-]{0,63}$`)

// CheckName returns a Failure with Usage unless value is safe as a name of a file or folder; what says what is named.
func CheckName(what, value string) error {
	if nameRule.MatchString(value) {
		return nil
	}
	return Fail(Usage, "%s %.80q: 1 to 64 of letters, digits and . _ = - are allowed, the first a letter or digit", what, value)
}

// tempName returns a new temporary name beside path.
func tempName(path string) string {
	return filepath.Join(filepath.Dir(path), tempPrefix+filepath.Base(path)+"-"+randomID())
}

// isTemp reports whether a name is one that tempName makes.
func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// WriteFileAtomic replaces path with data, durably, or leaves what was there; no reader ever sees a part of either. (When only
// the last step fails, the sync of the folder, the new content is there but may not survive a power cut.) The folder must
// exist. The temporary file lies beside path and is removed on failure.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	temp := tempName(path)
	err := writeSynced(fsys, temp, data)
	if err == nil {
		err = fsys.Rename(temp, path)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return FailIO(errors.Join(err, removeQuietly(fsys, temp)), "write %s", path)
	}
	return nil
}

// writeSynced writes a new file and syncs it.
func writeSynced(fsys FS, name string, data []byte) error {
	f, err := fsys.OpenFile(name, createNew, FileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// removeQuietly removes name if it is there.
func removeQuietly(fsys FS, name string) error {
	err := fsys.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// WriteDirAtomic makes the folder dir from what write puts into an empty temporary folder beside it. When it returns nil, the
// whole tree is durable under its name; a folder of that name that was there before is replaced. On failure
// the old folder is untouched and the temporary one removed. Only regular files and folders may be written.
func WriteDirAtomic(fsys FS, dir string, write func(temp string) error) error {
	if err := MkdirAll(fsys, filepath.Dir(dir)); err != nil {
		return err
	}
	temp := tempName(dir)
	if err := fsys.Mkdir(temp, DirMode); err != nil {
		return FailIO(err, "write %s", dir)
	}
	err := write(temp)
	if err == nil {
		err = syncTree(fsys, temp)
	}
	if err != nil {
		return FailIO(errors.Join(err, fsys.RemoveAll(temp)), "write %s", dir)
	}
	if err := publishDir(fsys, temp, dir); err != nil {
		return FailIO(err, "write %s", dir)
	}
	return nil
}

// publishDir gives the synced folder temp its final name and removes what had the name before, but only once
// the new name is durable. On failure the old folder has its name again and temp is removed.
func publishDir(fsys FS, temp, dir string) error {
	parent := filepath.Dir(dir)
	there, err := exists(fsys, dir)
	if err != nil {
		return errors.Join(err, fsys.RemoveAll(temp))
	}
	swap := func() error { return fsys.Rename(temp, dir) }
	swapBack := func() error { return fsys.Rename(dir, temp) }
	old := temp // where the old folder is after the swap
	if there {
		swap = func() error { return fsys.Exchange(temp, dir) }
		swapBack = swap
	}
	err = swap()
	if errors.Is(err, errors.ErrUnsupported) {
		old = tempName(dir)
		err = swapInTwo(fsys, temp, dir, old)
		swapBack = func() error { return errors.Join(fsys.Rename(dir, temp), fsys.Rename(old, dir)) }
	}
	if err != nil {
		return errors.Join(err, discard(fsys, temp))
	}
	if err := fsys.SyncDir(parent); err != nil {
		if backErr := swapBack(); backErr != nil {
			return errors.Join(err, backErr) // both folders stay: nobody knows which has the name on disk
		}
		return errors.Join(err, discard(fsys, temp))
	}
	if there {
		return fsys.RemoveAll(old)
	}
	return nil
}

// swapInTwo is for systems that cannot exchange names: there is an instant in which neither folder has the name, while
// both are complete all the time.
func swapInTwo(fsys FS, temp, dir, old string) error {
	if err := fsys.Rename(dir, old); err != nil {
		return err
	}
	if err := fsys.Rename(temp, dir); err != nil {
		return errors.Join(err, fsys.Rename(old, dir))
	}
	return nil
}

// discard removes a temporary that may have had a final name: only when it is durable that it has it no more. Else
// a power cut could bring the name back with half of the content.
func discard(fsys FS, temp string) error {
	if err := fsys.SyncDir(filepath.Dir(temp)); err != nil {
		return err
	}
	return fsys.RemoveAll(temp)
}

// syncTree makes dir and all below it durable.
func syncTree(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = syncTree(fsys, name)
		case e.Type().IsRegular():
			err = syncFile(fsys, name)
		default:
			err = Fail(Internal, "%s: only regular files and folders may be published", name)
		}
		if err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)
}

// syncFile makes the bytes of a finished file durable.
func syncFile(fsys FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// FreeBytes returns how many bytes can still be written in dir, or in its nearest parent that exists.
func FreeBytes(dir string) (int64, error) { return freeBytes(OS(), dir) }

func freeBytes(fsys FS, dir string) (int64, error) {
	for {
		n, err := fsys.FreeBytes(dir)
		parent := filepath.Dir(dir)
		if errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		if err != nil {
			return 0, FailIO(err, "ask for the free space of %s", dir)
		}
		return n, nil
	}
}

// Need returns a Failure with IO, naming both numbers, when fewer than bytes bytes are free in dir; what says what for.
func Need(fsys FS, dir string, bytes int64, what string) error {
	free, err := freeBytes(fsys, dir)
	if err != nil {
		return err
	}
	if free < bytes {
		return Fail(IO, "%s needs %d bytes in %s and only %d are free: free some space or choose another place", what, bytes, dir, free)
	}
	return nil
}
