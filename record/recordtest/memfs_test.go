package recordtest_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"plasticity/record"
	"plasticity/record/recordtest"
)

// put writes a file without making its name durable.
func put(t *testing.T, m *recordtest.MemFS, name, text string, sync bool) {
	t.Helper()
	f, err := m.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, record.FileMode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// get returns a file's text, or its error.
func get(m *recordtest.MemFS, name string) string {
	text, err := record.ReadFile(m, name, 1<<20)
	if err != nil {
		return "error"
	}
	return string(text)
}

func TestMemFS_PowerCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		syncFile, syncDir bool
		cut               recordtest.Cut
		want              string
	}{
		{"nothing synced", false, false, recordtest.LoseAll, "error"},
		{"file synced", true, false, recordtest.LoseAll, "error"},
		{"folder synced", false, true, recordtest.LoseAll, ""},
		{"both synced", true, true, recordtest.LoseAll, "text"},
		{"names kept", false, false, recordtest.KeepNames, ""},
		{"names kept, file synced", true, false, recordtest.KeepNames, "text"},
		{"both synced, random", true, true, recordtest.Random, "text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := recordtest.NewMemFS()
			put(t, m, "/a", "text", c.syncFile)
			if c.syncDir {
				if err := m.SyncDir("/"); err != nil {
					t.Fatal(err)
				}
			}
			m.Crash(c.cut, rand.New(rand.NewPCG(1, 2)))
			if got := get(m, "/a"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMemFS_FailedSyncNeverMakesDurable(t *testing.T) {
	t.Parallel()
	m := recordtest.NewMemFS()
	f, err := m.OpenFile("/a", os.O_WRONLY|os.O_CREATE, record.FileMode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	m.FailAt(m.Ops()+1, syscall.EIO)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("first sync: %v", err)
	}
	if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
		t.Errorf("second sync: %v", err)
	}
	m.Crash(recordtest.LoseAll, nil)
	if got := get(m, "/a"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestMemFS_TearsFillsAndDies(t *testing.T) {
	t.Parallel()
	m := recordtest.NewMemFS()
	f, err := m.OpenFile("/a", os.O_WRONLY|os.O_CREATE, record.FileMode)
	if err != nil {
		t.Fatal(err)
	}
	m.SetCapacity(3)
	if n, err := f.Write([]byte("text")); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full: %d, %v", n, err)
	}
	m.SetCapacity(100)
	m.DieAtByte(5)
	if n, err := f.Write([]byte("text")); n != 2 || !errors.Is(err, recordtest.ErrDied) {
		t.Errorf("torn: %d, %v", n, err)
	}
	if _, err := m.Stat("/a"); !errors.Is(err, recordtest.ErrDied) {
		t.Errorf("dead: %v", err)
	}
	m.Restart()
	if got := get(m, "/a"); got != "texte"[:3]+"te" {
		t.Errorf("got %q", got)
	}
	if err := f.Close(); !errors.Is(err, recordtest.ErrDied) {
		t.Errorf("a handle of the dead process: %v", err)
	}
}
