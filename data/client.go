package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"plasticity/record"
)

const (
	fetchTimeout = 5 * time.Minute
	maxArchive   = 32 << 20 // bytes, packed
)

// client is a program that fetches a package by the user's own settings, which know the registry.
type client struct {
	program string
	args    []string
	what    string // the package
	suffix  string // of the file that the program leaves in its working directory
}

// fetch returns the archive that the program leaves. An error that is no Failure means that it could not get it.
func (c client) fetch(ctx context.Context) ([]byte, error) {
	program, err := exec.LookPath(c.program)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed (%w)", c.program, err)
	}
	temp, err := os.MkdirTemp("", "plasticity-fetch-")
	if err != nil {
		return nil, record.FailIO(err, "fetch %s", c.what)
	}
	defer os.RemoveAll(temp) //nolint:errcheck // the system clears it in the end
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	// It packs into its working directory; an empty one keeps the settings of projects out.
	cmd := exec.CommandContext(ctx, program, c.args...)
	cmd.Dir = temp
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s could not fetch %s (%w): %s", c.program, c.what, err, lastLine(output.String()))
	}
	found, err := filepath.Glob(filepath.Join(temp, "*"+c.suffix))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%s left %d archives of %s", c.program, len(found), c.what)
	}
	return readSmall(found[0], maxArchive)
}

// lastLine returns the last line of a program's output that says something, shortened.
func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		// npm ends with where its log is, which helps nobody after this process.
		if line := strings.TrimSpace(lines[i]); line != "" && !strings.Contains(line, "A complete log") {
			return fmt.Sprintf("%.200s", line)
		}
	}
	return "no message"
}

// checkArchive refuses an archive that is not the one it should be: somebody changed it.
func checkArchive(name, what string, archive []byte, want string) error {
	sum := sha256.Sum256(archive)
	if got := hex.EncodeToString(sum[:]); got != want {
		return bad("data set %s: the archive of %s has SHA-256 %s, want %s: it was changed or damaged on its way; try again or use another registry",
			name, what, got, want)
	}
	return nil
}

// orNothing is the error of a data set that could not be fetched and that no other text can stand in for.
func orNothing(ctx context.Context, name string, err error, remedy string) error {
	var failure *record.Failure
	switch {
	case ctx.Err() != nil:
		return record.FailIO(ctx.Err(), "fetch %s", name)
	case errors.As(err, &failure):
		return err
	}
	return record.Fail(record.IO, "data set %s: %w; no other text has its labels: %s, and try again", name, err, remedy)
}
