package sweeps

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// logName is where a member's standard output and error go, in its run folder.
	logName = "worker.log"
	// tailBytes bounds what is read of a log to quote its end.
	tailBytes = 16 << 10
	// tailLines is how many lines of a log an error message quotes.
	tailLines = 20
)

// memberLog is the log of one run, shared by all attempts at it. The member
// writes to the file itself, not to a pipe: its last words survive the runner.
type memberLog struct {
	path  string
	limit int64 // bytes before the log is rotated
}

func newMemberLog(runDir string, limit int64) memberLog {
	return memberLog{path: filepath.Join(runDir, "logs", logName), limit: limit}
}

// open makes the log ready for another attempt. Append mode matters: it is what
// makes shortening the file safe while the member writes to it.
func (l memberLog) open() (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// trim keeps the log under its limit. When it has grown past it, its newest
// half limit goes to worker.log.1 and the file starts again at zero, so the two
// together hold at most one and a half limits and what is written between two
// calls.
func (l memberLog) trim() error {
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Size() <= l.limit {
		return err
	}
	kept, err := readEnd(l.path, l.limit/2)
	if err != nil {
		return err
	}
	// The old part is a convenience; when it cannot be written the limit still holds.
	writeErr := os.WriteFile(l.path+".1", kept, 0o644)
	return errors.Join(os.Truncate(l.path, 0), writeErr)
}

// tail is the end of the log in at most tailLines lines, made safe for a
// terminal. An empty or missing log gives none.
func (l memberLog) tail() []string {
	end, err := readEnd(l.path, tailBytes)
	if err != nil || len(bytes.TrimSpace(end)) == 0 {
		// The file may just have been rotated.
		if end, err = readEnd(l.path+".1", tailBytes); err != nil {
			return nil
		}
	}
	return lastLines(end, tailLines)
}

// readEnd reads the last n bytes of a file, or all of it when it is shorter.
func readEnd(path string, n int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	start := max(0, info.Size()-n)
	end := make([]byte, min(n, info.Size()))
	got, err := file.ReadAt(end, start)
	if errors.Is(err, io.EOF) {
		err = nil // it shrank between the two calls
	}
	return end[:got], err
}

// lastLines splits text into lines and keeps the last n that are not blank.
func lastLines(text []byte, n int) []string {
	var lines []string
	for line := range strings.Lines(string(text)) {
		// A progress line is redrawn with carriage returns: its last state counts.
		line = strings.TrimRight(line, "\r\n")
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:]
		}
		if line = printable(line, 400); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// printable keeps what is safe to show on a terminal, at most limit runes of it.
func printable(line string, limit int) string {
	var out strings.Builder
	for _, r := range line {
		if limit == 0 {
			out.WriteString("…")
			break
		}
		switch {
		case r == '\t':
			r = ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '.'
		}
		out.WriteRune(r)
		limit--
	}
	return out.String()
}
