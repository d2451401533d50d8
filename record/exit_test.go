package record_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"plasticity/record"
)

func TestCodeOf_ByKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want record.Code
	}{
		{nil, record.OK},
		{errors.New("x"), record.Failed},
		{record.Fail(record.NonFinite, "x"), record.NonFinite},
		{fmt.Errorf("while: %w", record.Fail(record.BadData, "x")), record.BadData},
		{record.Fail(record.Mismatch, "outer: %w", record.Fail(record.BadData, "inner")), record.Mismatch},
		{record.Fail(record.Usage, "no file: %w", fs.ErrNotExist), record.Usage},
		{errors.Join(errors.New("x"), record.Fail(record.OutOfMemory, "y")), record.OutOfMemory},
		{fmt.Errorf("while: %w", context.Canceled), record.Stopped},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, record.IO},
		{syscall.EIO, record.IO},
		{syscall.EDQUOT, record.IO},
		{syscall.EFBIG, record.IO},
		{syscall.EMFILE, record.IO},
		{os.NewSyscallError("open", syscall.EACCES), record.NotPermitted},
		{syscall.EPERM, record.NotPermitted},
		{syscall.EROFS, record.NotPermitted},
		{fs.ErrPermission, record.NotPermitted},
		{syscall.ENOMEM, record.OutOfMemory},
		{syscall.ENOENT, record.Failed},
	} {
		if got := record.CodeOf(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
	if !errors.Is(record.Fail(record.Usage, "no file: %w", fs.ErrNotExist), fs.ErrNotExist) {
		t.Error("a Failure hides its cause")
	}
}

func TestCodeTable_ListsEveryCode(t *testing.T) {
	t.Parallel()
	table := record.CodeTable()
	last := record.Code(-1)
	for _, c := range record.Codes() {
		if c <= last || c == 2 {
			t.Errorf("code %d after %d: want them ascending and never 2", c, last)
		}
		last = c
		if !strings.Contains(table, fmt.Sprintf("%4d  %s\n", c, c)) || strings.HasPrefix(c.String(), "exit code") {
			t.Errorf("code %d (%s) is not in the table", c, c)
		}
	}
	if got := record.Code(99).String(); got != "exit code 99" {
		t.Errorf("got %q", got)
	}
}
