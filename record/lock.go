package record

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// LockFile is the name of the lock in a folder.
const LockFile = ".lock"

const (
	maxOwnerBytes = 4096 // of the owner's text; hosts' names have at most 255
	lockTries     = 400  // while somebody only probes, about 0.4 s
	staleTries    = 40   // while the text names nobody or a dead process, about 40 ms
)

// Owner says who holds a lock. ID is random and tells two owners apart even when pid and host were used again.
type Owner struct {
	PID  int    `json:"pid"`
	Host string `json:"host"`
	ID   string `json:"id"`
}

// String returns "pid 123 on host h".
func (o Owner) String() string {
	if o.PID == 0 && o.Host == "" {
		return "an unknown process"
	}
	return fmt.Sprintf("pid %d on host %s", o.PID, o.Host)
}

// stale reports that the text cannot be the present owner's: it names nobody, or a process of this host that is dead.
func (o Owner) stale() bool {
	if o.PID <= 0 {
		return true
	}
	host, err := os.Hostname()
	return err == nil && o.Host == host && errors.Is(unix.Kill(o.PID, 0), unix.ESRCH)
}

// Lock is the ownership of a folder. The kernel gives it back when the process ends, however it ends.
type Lock struct {
	dir   string
	owner Owner
	once  sync.Once
	file  *os.File
}

// Acquire takes the lock of dir, which must exist, without waiting. When another process (or another caller in this one)
// has it, the error is a Failure with NotPermitted that names its pid and host.
func Acquire(dir string) (*Lock, error) {
	for try := range lockTries {
		file, err := openLock(dir)
		if err != nil {
			return nil, FailIO(err, "lock %s", dir)
		}
		state, err := tryLock(file)
		if err != nil {
			return nil, FailIO(errors.Join(err, file.Close()), "lock %s", dir)
		}
		switch {
		case state == lockTaken && sameFile(file, filepath.Join(dir, LockFile)):
			return own(dir, file)
		case state == lockOwned:
			if owner := readOwner(file); try >= staleTries || !owner.stale() {
				_ = file.Close()
				return nil, Fail(NotPermitted, "%s is in use by %s: wait for it, or stop it first", dir, owner)
			}
		}
		// Somebody was only looking, or the file was replaced under us, or the new owner has not written its text yet.
		_ = file.Close()
		time.Sleep(jitter())
	}
	return nil, Fail(NotPermitted, "%s: could not take the lock: others keep probing it; start again", dir)
}

// lockState is the outcome of one try.
type lockState int

const (
	lockTaken  lockState = iota // it is ours
	lockOwned                   // somebody else owns it
	lockProbed                  // nobody owns it, somebody looked at it at this moment
)

// tryLock tries once. A probe (see Holder) takes the lock in shared mode for an instant, which makes the exclusive try
// fail; the shared try that follows fails only against a real owner.
func tryLock(file *os.File) (lockState, error) {
	err := flock(file, unix.LOCK_EX)
	if err == nil {
		return lockTaken, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, err
	}
	err = flock(file, unix.LOCK_SH)
	if err == nil {
		return lockProbed, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, err
	}
	return lockOwned, nil
}

// flock locks without waiting, again after interruptions by signals.
func flock(file *os.File, how int) error {
	for {
		err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// jitter returns a random time of 0 to 2 ms.
func jitter() time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(2*time.Millisecond)))
	if err != nil {
		return time.Millisecond
	}
	return time.Duration(n.Int64())
}

// openLock opens the lock file of dir, never through a link and never waiting at a named pipe.
func openLock(dir string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK
	file, err := os.OpenFile(filepath.Join(dir, LockFile), flags, FileMode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = Fail(NotPermitted, "%s: not a regular file", file.Name())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// sameFile reports whether the open file is still the one under name.
func sameFile(file *os.File, name string) bool {
	a, errA := file.Stat()
	b, errB := os.Lstat(name)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// own writes the owner's text into the locked file.
func own(dir string, file *os.File) (*Lock, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	owner := Owner{PID: os.Getpid(), Host: host, ID: randomID()}
	text, err := json.Marshal(owner)
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(append(text, '\n'), 0)
	}
	if err != nil {
		return nil, FailIO(errors.Join(err, file.Close()), "lock %s", dir)
	}
	return &Lock{dir: dir, owner: owner, file: file}, nil
}

// readOwner reads the owner's text; a text half-written or damaged gives the zero Owner.
func readOwner(file *os.File) Owner {
	var owner Owner
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxOwnerBytes))
	if err != nil || json.Unmarshal(text, &owner) != nil {
		return Owner{}
	}
	return owner
}

// Dir returns the folder that is locked.
func (l *Lock) Dir() string { return l.dir }

// Owner returns who this process is in the lock.
func (l *Lock) Owner() Owner { return l.owner }

// Check verifies that the folder is still owned by this Lock: on a shared file system without locks, or after somebody
// deleted the lock file, another process may have taken over. The error is a Failure with NotPermitted.
func (l *Lock) Check() error {
	if _, err := l.file.Stat(); err != nil {
		return Fail(Internal, "%s: the lock was released before this use", l.dir)
	}
	file, err := os.OpenFile(filepath.Join(l.dir, LockFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Fail(NotPermitted, "%s: the lock of this run is gone: %w", l.dir, err)
	}
	defer file.Close() //nolint:errcheck // only read
	if owner := readOwner(file); owner != l.owner {
		return Fail(NotPermitted, "%s was taken over by %s: nothing was written", l.dir, owner)
	}
	return nil
}

// Release gives the lock back. Later calls do nothing. The lock file stays: to remove it would let two
// processes own two files of the same name.
func (l *Lock) Release() error {
	var err error
	l.once.Do(func() {
		// Without its text nobody is told of an owner that has left; when this fails, the lock is still given back.
		_ = l.file.Truncate(0)
		err = l.file.Close()
	})
	if err != nil {
		return FailIO(err, "release the lock of %s", l.dir)
	}
	return nil
}

// Holder returns who owns dir now. It disturbs neither the owner nor a process that is about to become it.
func Holder(dir string) (Owner, bool) {
	file, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Owner{}, false
	}
	defer file.Close() //nolint:errcheck // only read
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return Owner{}, false
	}
	if err := flock(file, unix.LOCK_SH); !errors.Is(err, unix.EWOULDBLOCK) {
		return Owner{}, false
	}
	return readOwner(file), true
}

// randomID returns 16 random hexadecimal digits.
func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: package crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// CleanTemp removes what processes that died left half-written in the locked folder: temporary files and folders and
// half-deleted checkpoints. The Lock is the proof that no living process still writes them. It returns the removed names.
func (l *Lock) CleanTemp(fsys FS) ([]string, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	return cleanTemp(fsys, l.dir)
}

// cleanTemp removes the temporaries in a run folder and in its checkpoint folder.
func cleanTemp(fsys FS, runDir string) ([]string, error) {
	var removed []string
	for _, dir := range []string{runDir, filepath.Join(runDir, CheckpointsDir)} {
		entries, err := fsys.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, FailIO(err, "look for temporary files")
		}
		for _, e := range entries {
			if !isTemp(e.Name()) {
				continue
			}
			name := filepath.Join(dir, e.Name())
			if err := discard(fsys, name); err != nil {
				return removed, FailIO(err, "remove temporary %s", name)
			}
			removed = append(removed, name)
		}
	}
	return removed, nil
}
