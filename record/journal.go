package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// MaxLine is the longest line of a run's journals in bytes, without its end.
	MaxLine = 1 << 20
	// maxPending bounds what is kept in memory while the disk takes nothing.
	maxPending = 8 << 20
	tornSuffix = ".torn"
)

// ErrLineLost is in the error of an Append that did not keep its line: too many wait already.
var ErrLineLost = errors.New("this line is lost")

// Journal appends JSON lines to a file. It has one writer: the process that owns the run. Its methods may be called from
// any goroutine.
type Journal struct {
	fsys    FS
	path    string
	maxLine int // in bytes, without the end

	mu      sync.Mutex
	file    File
	size    int64    // of the whole lines in the file
	torn    bool     // the file may hold part of a line behind size
	suspect bool     // a sync failed: the file's bytes may never become durable, whatever a second sync says
	pending [][]byte // lines that the disk has not taken yet, oldest first
	waiting int      // bytes in pending
}

// OpenJournal opens or makes the journal at path, of lines up to MaxLine. A last line that a crash cut off is moved to path + ".torn"; one
// that is whole but for its end gets it.
func OpenJournal(fsys FS, path string) (*Journal, error) { return OpenJournalOf(fsys, path, MaxLine) }

// OpenJournalOf is OpenJournal with another limit of a line, in bytes.
func OpenJournalOf(fsys FS, path string, maxLine int) (*Journal, error) {
	j := &Journal{fsys: fsys, path: path, maxLine: maxLine}
	const flags = os.O_RDWR | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK
	var err error
	if j.file, err = fsys.OpenFile(path, flags, FileMode); err != nil {
		return nil, FailIO(err, "open journal")
	}
	if err = j.repair(); err == nil {
		// Even when the file was there: its maker may have been killed before the name was durable.
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, FailIO(errors.Join(err, j.file.Close()), "open journal %s", path)
	}
	return j, nil
}

// repair finds the end of the last whole line and makes the file end there.
func (j *Journal) repair() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return Fail(BadData, "not a regular file")
	}
	tail, err := lastLine(j.file, info.Size())
	if err != nil {
		return err
	}
	j.size = info.Size() - int64(len(tail))
	if len(tail) == 0 {
		return nil
	}
	if len(tail) <= j.maxLine && wholeObject(tail) {
		if _, err := j.file.Write([]byte{'\n'}); err != nil {
			return err
		}
		j.size = info.Size() + 1
		return j.file.Sync()
	}
	// The torn bytes are evidence, not data: kept beside the journal, the latest ones only, at most one line's worth.
	if err := WriteFileAtomic(j.fsys, j.path+tornSuffix, tail[:min(len(tail), j.maxLine)]); err != nil {
		return err
	}
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	return j.file.Sync()
}

// lastLine returns what follows the last line end of a file, at most what fits into memory sensibly: a longer
// rest is an error.
func lastLine(f io.ReaderAt, size int64) ([]byte, error) {
	const block = 64 << 10
	const limit = 64 << 20
	var tail []byte
	for at := size; at > 0; {
		n := min(block, at)
		at -= n
		buf := make([]byte, n, n+int64(len(tail)))
		if _, err := f.ReadAt(buf, at); err != nil {
			return nil, err
		}
		if i := bytes.LastIndexByte(buf, '\n'); i >= 0 {
			return append(buf[i+1:], tail...), nil
		}
		tail = append(buf, tail...)
		if len(tail) > limit {
			return nil, Fail(BadData, "its last %d bytes hold no line end: not a journal", limit)
		}
	}
	return tail, nil
}

// wholeObject reports whether a line is one complete JSON object. A proper prefix of an object never is.
func wholeObject(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) > 0 && line[0] == '{' && json.Valid(line)
}

// Append adds v as one line, with a single write call. When the disk does not take it, Append returns a Failure with IO,
// leaves no half line behind, and keeps the line, unless the error is ErrLineLost: the next Append, Sync or Close tries again, in order; do
// not append it a second time.
func (j *Journal) Append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return Fail(Internal, "journal %s: %w", j.path, err)
	}
	if len(line) > j.maxLine {
		return Fail(Internal, "journal %s: a line of %d bytes, the limit is %d", j.path, len(line), j.maxLine)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return Fail(Internal, "journal %s: append after close", j.path)
	}
	if j.waiting+len(line) > max(maxPending, j.maxLine) {
		if err := j.flush(); err != nil {
			return FailIO(fmt.Errorf("%w: %w", ErrLineLost, err), "journal %s: %d lines wait for a disk that takes nothing", j.path, len(j.pending))
		}
	}
	j.pending = append(j.pending, append(line, '\n'))
	j.waiting += len(line) + 1
	return j.flush()
}

// flush writes the lines that wait.
func (j *Journal) flush() error {
	for len(j.pending) > 0 {
		if err := j.cutTorn(); err != nil {
			return j.kept(err)
		}
		line := j.pending[0]
		n, err := j.file.Write(line)
		if err == nil && n < len(line) {
			err = io.ErrShortWrite
		}
		if err != nil {
			j.torn = true
			return j.kept(errors.Join(err, j.cutTorn()))
		}
		j.size += int64(len(line))
		j.waiting -= len(line)
		j.pending = j.pending[1:]
	}
	j.pending = nil
	return nil
}

// cutTorn removes the part of a line that a failed write left.
func (j *Journal) cutTorn() error {
	if !j.torn {
		return nil
	}
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	j.torn = false
	return nil
}

func (j *Journal) kept(err error) error {
	return FailIO(err, "journal %s: %d lines kept in memory for the next try", j.path, len(j.pending))
}

// Sync makes all lines durable. After a failed sync the next one writes a new file: the old one's state is unknown.
func (j *Journal) Sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return Fail(Internal, "journal %s: sync after close", j.path)
	}
	return j.sync()
}

func (j *Journal) sync() error {
	if err := j.flush(); err != nil {
		return err
	}
	if j.suspect {
		return j.renew()
	}
	if err := j.file.Sync(); err != nil {
		j.suspect = true
		return FailIO(err, "journal %s", j.path)
	}
	return nil
}

// renew writes the whole lines into a new file and takes that in place of the suspect one.
func (j *Journal) renew() error {
	temp := tempName(j.path)
	file, err := j.fsys.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND|unix.O_NOFOLLOW, FileMode)
	if err != nil {
		return FailIO(err, "journal %s", j.path)
	}
	_, err = io.Copy(file, io.NewSectionReader(j.file, 0, j.size))
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = j.fsys.Rename(temp, j.path)
	}
	if err != nil {
		return FailIO(errors.Join(err, file.Close(), removeQuietly(j.fsys, temp)), "journal %s", j.path)
	}
	_ = j.file.Close() // nothing of it counts any more
	j.file, j.torn = file, false
	if err := j.fsys.SyncDir(filepath.Dir(j.path)); err != nil {
		return FailIO(err, "journal %s", j.path)
	}
	j.suspect = false
	return nil
}

// Close makes all lines durable and closes the file. Its error says how many lines were lost. Later calls do nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.sync()
	if err != nil && len(j.pending) > 0 {
		err = fmt.Errorf("%w; %d lines are lost", err, len(j.pending))
	}
	err = errors.Join(err, j.file.Close())
	j.file = nil
	if err != nil {
		return FailIO(err, "close")
	}
	return nil
}
