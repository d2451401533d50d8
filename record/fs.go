package record

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Modes of what this package makes, before the process's umask; the package documentation says why.
const (
	FileMode fs.FileMode = 0o644
	DirMode  fs.FileMode = 0o755
)

// createNew are the flags of every temporary file: never an existing file, never through a link.
const createNew = os.O_WRONLY | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW

// File is an open file of an FS.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.Closer
	// Sync makes the file's bytes durable. After an error the state of the file is unknown: write a new one.
	Sync() error
	// Truncate sets the length in bytes.
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// FS is the file system that the durable writers use, so that tests can inject faults. Paths are those of the operating
// system. A new name is durable only after SyncDir of the folder that holds it.
type FS interface {
	// OpenFile opens name with the flags of package os.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename replaces newName when it is a file or an empty folder.
	Rename(oldName, newName string) error
	// Exchange swaps two names in one step; errors.ErrUnsupported where the system cannot.
	Exchange(a, b string) error
	// Remove removes a file or an empty folder.
	Remove(name string) error
	// RemoveAll removes name and all below it; no error when there is none.
	RemoveAll(name string) error
	Mkdir(name string, perm fs.FileMode) error
	// MkdirAll makes name and its missing parents; use the function MkdirAll where they must be durable.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat follows links; Lstat does not.
	Stat(name string) (fs.FileInfo, error)
	Lstat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	// FreeBytes returns how many bytes an ordinary user can still write below dir, which must exist.
	FreeBytes(dir string) (int64, error)
}

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

// osFS is the operating system's file system.
type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a nil *os.File inside a non-nil interface
	}
	return f, nil
}

func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) Exchange(a, b string) error                   { return exchange(a, b) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) Mkdir(name string, perm fs.FileMode) error    { return os.Mkdir(name, perm) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) Lstat(name string) (fs.FileInfo, error)       { return os.Lstat(name) }

func (osFS) SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	err = dir.Sync()
	// Some network file systems cannot sync a folder and say EINVAL; their renames are durable on the server.
	if errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}

func (osFS) FreeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // types differ between systems
}

// ReadFile reads the regular file name, which must not be longer than limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, size, err := openRegular(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	if size > limit {
		return nil, Fail(BadData, "%s: %d bytes, the limit for this file is %d", name, size, limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, FailIO(err, "read %s", name)
	}
	if int64(len(data)) > limit {
		return nil, Fail(BadData, "%s: longer than the limit for this file, %d bytes", name, limit)
	}
	return data, nil
}

// openRegular opens name for reading and returns its size. It refuses what is not a regular file before opening it: the
// opening of a named pipe would wait for ever.
func openRegular(fsys FS, name string) (File, int64, error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, Fail(BadData, "%s: not a regular file (%s)", name, info.Mode().Type())
	}
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// MkdirAll makes dir and its missing parents and makes each new name durable.
func MkdirAll(fsys FS, dir string) error {
	info, err := fsys.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return Fail(NotPermitted, "%s: is in the way: not a folder", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return FailIO(err, "make folder")
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(dir, DirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return FailIO(err, "make folder")
	}
	if err := fsys.SyncDir(parent); err != nil {
		return FailIO(err, "sync %s", parent)
	}
	return nil
}

// syncParents makes the names durable that lead to a run's folder: runs/<grid>/<run>. They may be there and yet not be
// durable, when whoever made them was killed before the sync. Parents that may not be read are somebody else's.
func syncParents(fsys FS, dir string) error {
	for range 3 {
		err := fsys.SyncDir(dir)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return FailIO(err, "sync %s", dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return nil
}

// exists reports whether there is something under name.
func exists(fsys FS, name string) (bool, error) {
	_, err := fsys.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
