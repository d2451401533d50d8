package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"plasticity/record"
	"plasticity/record/recordtest"
)

// hurry reports that the sweeps should take samples: in short mode, and under the race detector, which makes them about
// ten times slower and has little to find in them.
func hurry() bool { return raceEnabled || testing.Short() }

// runDir is the run in every file system of these tests.
const runDir = "/runs/grid/cell"

// payload returns the bytes of a checkpoint's file, different for each step and name.
func payload(step int64, name string, size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(step), uint64(len(name))))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// files are the files of the checkpoints in these tests and their sizes in bytes.
type files []struct {
	name string
	size int
}

var (
	smallFiles = files{{"model.safetensors", 300}, {"trainer.json", 40}}
	largeFiles = files{{"model.safetensors", 48 << 10}, {"optimizer.safetensors", 20 << 10}, {"trainer.json", 40}}
)

// write is the callback for SaveCheckpoint.
func (f files) write(step int64) func(*record.CheckpointDir) error {
	return func(d *record.CheckpointDir) error {
		for _, file := range f {
			err := d.WriteFile(file.name, func(w io.Writer) error {
				_, err := w.Write(payload(step, file.name, file.size))
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// intact reports whether a loaded checkpoint has the bytes that were saved.
func (f files) intact(fsys record.FS, c *record.Checkpoint) bool {
	for _, file := range f {
		got, err := record.ReadFile(fsys, c.Path(file.name), 1<<30)
		if err != nil || !bytes.Equal(got, payload(c.Step, file.name, file.size)) {
			return false
		}
	}
	return len(c.Files) == len(f)
}

// save is one round of a trainer: save the step, announce it, remove what is older.
type save func(fsys record.FS, step int64, announce func(int64)) error

// saveRight is how it is done.
func saveRight(fsys record.FS, step int64, announce func(int64)) error {
	if err := record.SaveCheckpoint(fsys, runDir, step, record.CheckpointMeta{RunID: "cell"}, smallFiles.write(step)); err != nil {
		return err
	}
	announce(step)
	return record.Prune(fsys, runDir, 1, nil)
}

// startFS returns a file system with checkpoint 10 announced and everything durable.
func startFS(t *testing.T, f files) *recordtest.MemFS {
	t.Helper()
	m := recordtest.NewMemFS()
	info := record.Info{ID: "cell"}
	if _, err := record.Create(m, runDir, info, []byte("a: 1\n"), []byte("a: 1\n")); err != nil {
		t.Fatal(err)
	}
	if err := record.SaveCheckpoint(m, runDir, 10, record.CheckpointMeta{RunID: "cell"}, f.write(10)); err != nil {
		t.Fatal(err)
	}
	return m
}

// verdict is what is wrong after a fault: nothing, or a sentence.
func verdict(fsys *recordtest.MemFS, f files, announced int64) string {
	steps, err := record.Checkpoints(fsys, runDir)
	if err != nil {
		return fmt.Sprintf("lost: %v", err)
	}
	for _, step := range steps {
		if _, err := record.OpenCheckpoint(fsys, path.Join(runDir, record.CheckpointsDir, record.StepDir(step))); err != nil {
			return fmt.Sprintf("a partial checkpoint has a final name: %v", err)
		}
	}
	c, problems, err := record.LatestCheckpoint(fsys, runDir)
	switch {
	case err != nil:
		return fmt.Sprintf("lost: %v", err)
	case c == nil:
		return "lost: no checkpoint"
	case len(problems) > 0:
		return fmt.Sprintf("problems: %v", problems)
	case c.Step < announced:
		return fmt.Sprintf("lost: %d was announced, %d loads", announced, c.Step)
	case !f.intact(fsys, c):
		return fmt.Sprintf("torn: checkpoint %d was accepted with other bytes", c.Step)
	}
	return ""
}

// recovers starts the next process on fsys: temporaries go, the next checkpoint saves and loads.
func recovers(fsys *recordtest.MemFS) string {
	if _, err := record.CleanTempUnlocked(fsys, runDir); err != nil {
		return fmt.Sprintf("clean: %v", err)
	}
	for _, name := range fsys.Files() {
		if bytes.Contains([]byte(name), []byte("/.tmp-")) {
			return "leftover " + name
		}
	}
	if err := saveRight(fsys, 30, func(int64) {}); err != nil {
		return fmt.Sprintf("next save: %v", err)
	}
	return verdict(fsys, smallFiles, 30)
}

// cuts are the ends of a process: killed (no cut), or a power cut that leaves one thing or another.
func afterDeath(fsys *recordtest.MemFS, seed uint64) map[string]*recordtest.MemFS {
	after := map[string]*recordtest.MemFS{"kill": fsys.Clone()}
	for name, cut := range map[string]recordtest.Cut{"lose all": recordtest.LoseAll, "keep names": recordtest.KeepNames} {
		after[name] = fsys.Clone()
		after[name].Crash(cut, nil)
	}
	ends := uint64(randomEnds)
	if hurry() {
		ends = 2
	}
	for i := range ends {
		name := fmt.Sprintf("random %d", i)
		after[name] = fsys.Clone()
		after[name].Crash(recordtest.Random, rand.New(rand.NewPCG(seed, i)))
	}
	return after
}

// randomEnds is how many random power cuts follow each fault.
const randomEnds = 12

// fault makes the n-th operation of a file system go wrong.
type fault func(m *recordtest.MemFS, n int)

func faults() map[string]fault {
	return map[string]fault{
		"die":            func(m *recordtest.MemFS, n int) { m.DieAt(n) },
		"EIO once":       func(m *recordtest.MemFS, n int) { m.FailAt(n, syscall.EIO) },
		"EIO for ever":   func(m *recordtest.MemFS, n int) { m.FailFrom(n, syscall.EIO) },
		"ENOSPC once":    func(m *recordtest.MemFS, n int) { m.FailAt(n, syscall.ENOSPC) },
		"ENOSPC forever": func(m *recordtest.MemFS, n int) { m.FailFrom(n, syscall.ENOSPC) },
	}
}

// explore lets every operation of a save go wrong in every way and returns how many states were looked at and what was found.
// It stops after enough findings.
func explore(t *testing.T, do save, wrap func(record.FS) record.FS, enough int) (states int, found []string) {
	t.Helper()
	base := startFS(t, smallFiles)
	for kind, inject := range faults() {
		for n := 1; ; n++ {
			m := base.Clone()
			inject(m, n)
			announced := int64(10)
			err := do(wrap(m), 20, func(step int64) { announced = step })
			if m.Ops() < n {
				break // the fault came too late to strike
			}
			if len(found) >= enough {
				return states, found
			}
			for end, after := range afterDeath(m, uint64(n)) {
				states++
				bad := verdict(after, smallFiles, announced)
				if bad == "" {
					bad = recovers(after)
				}
				if bad != "" {
					found = append(found, fmt.Sprintf("%s at %d (%s), %s: %s (save: %v)", kind, n, m.OpName(n), end, bad, err))
				}
			}
		}
	}
	return states, found
}

func unwrapped(fsys record.FS) record.FS { return fsys }

func TestSaveCheckpoint_EveryOperationGoesWrong(t *testing.T) {
	t.Parallel()
	states, found := explore(t, saveRight, unwrapped, 20)
	for _, f := range found {
		t.Error(f)
	}
	t.Logf("%d states after faults; lost or partial: %d", states, len(found))
}

// planted file systems and writers: each has one of the classic bugs.
type (
	noSync    struct{ record.FS }
	noSyncDir struct{ record.FS }
	retrySync struct{ record.FS }
	plain     struct{ record.File }
	retrying  struct{ record.File }
)

func (plain) Sync() error { return nil }

func (f retrying) Sync() error {
	if err := f.File.Sync(); err != nil {
		return f.File.Sync()
	}
	return nil
}

func (f noSync) OpenFile(name string, flag int, perm fs.FileMode) (record.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return plain{file}, err
}

func (f retrySync) OpenFile(name string, flag int, perm fs.FileMode) (record.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return retrying{file}, err
}

func (noSyncDir) SyncDir(string) error { return nil }

// saveDirect writes files and manifest straight into the final folder.
func saveDirect(fsys record.FS, step int64, announce func(int64)) error {
	scratch := recordtest.NewMemFS()
	meta := record.CheckpointMeta{RunID: "cell"}
	if err := errors.Join(record.MkdirAll(scratch, runDir), record.SaveCheckpoint(scratch, runDir, step, meta, smallFiles.write(step))); err != nil {
		return err
	}
	dir := path.Join(runDir, record.CheckpointsDir, record.StepDir(step))
	if err := fsys.Mkdir(dir, record.DirMode); err != nil {
		return err
	}
	for _, name := range scratch.Files() {
		data, err := record.ReadFile(scratch, name, 1<<20)
		if err != nil {
			return err
		}
		f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE, record.FileMode)
		if err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := errors.Join(fsys.SyncDir(dir), fsys.SyncDir(path.Dir(dir))); err != nil {
		return err
	}
	announce(step)
	return record.Prune(fsys, runDir, 1, nil)
}

// savePruneFirst makes room before it saves.
func savePruneFirst(fsys record.FS, step int64, announce func(int64)) error {
	if err := fsys.RemoveAll(path.Join(runDir, record.CheckpointsDir, record.StepDir(10))); err != nil {
		return err
	}
	return saveRight(fsys, step, announce)
}

// savePruneInPlace removes the files of the old checkpoint under its final name.
func savePruneInPlace(fsys record.FS, step int64, announce func(int64)) error {
	meta := record.CheckpointMeta{RunID: "cell"}
	if err := record.SaveCheckpoint(fsys, runDir, step, meta, smallFiles.write(step)); err != nil {
		return err
	}
	announce(step)
	return fsys.RemoveAll(path.Join(runDir, record.CheckpointsDir, record.StepDir(10)))
}

// saveAnnounceFirst says that it has saved before it has.
func saveAnnounceFirst(fsys record.FS, step int64, announce func(int64)) error {
	announce(step)
	return saveRight(fsys, step, announce)
}

func TestExplore_FindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   save
		wrap func(record.FS) record.FS
	}{
		{"direct writer", saveDirect, unwrapped},
		{"no sync of files", saveRight, func(f record.FS) record.FS { return noSync{f} }},
		{"no sync of folders", saveRight, func(f record.FS) record.FS { return noSyncDir{f} }},
		{"sync again after EIO", saveRight, func(f record.FS) record.FS { return retrySync{f} }},
		{"prune before save", savePruneFirst, unwrapped},
		{"prune in place", savePruneInPlace, unwrapped},
		{"announce before save", saveAnnounceFirst, unwrapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			enough := math.MaxInt
			if hurry() {
				enough = 1
			}
			states, found := explore(t, c.do, c.wrap, enough)
			if len(found) == 0 {
				t.Fatalf("%d states and nothing found: the harness is blind to this bug", states)
			}
			t.Logf("found %d times in %d states, first: %s", len(found), states, found[0])
		})
	}
}

func TestSaveCheckpoint_DeathAtEveryByte(t *testing.T) {
	t.Parallel()
	base := startFS(t, smallFiles)
	meta := record.CheckpointMeta{RunID: "cell"}
	whole := base.Clone()
	if err := record.SaveCheckpoint(whole, runDir, 20, meta, largeFiles.write(20)); err != nil {
		t.Fatal(err)
	}
	size, stride := whole.Written(), int64(1)
	if size < 64<<10 {
		t.Fatalf("the checkpoint has %d bytes: want 64 KiB at least", size)
	}
	if hurry() {
		stride = 499
	}
	content := map[string][]byte{}
	for _, f := range largeFiles {
		content[f.name] = payload(20, f.name, f.size)
	}
	write := func(d *record.CheckpointDir) error {
		for _, f := range largeFiles {
			if err := d.WriteFile(f.name, func(w io.Writer) error { _, err := w.Write(content[f.name]); return err }); err != nil {
				return err
			}
		}
		return nil
	}
	var next, deaths atomic.Int64
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for k := next.Add(stride) - stride; k < size; k = next.Add(stride) - stride {
				m := base.Clone()
				m.DieAtByte(k)
				if err := record.SaveCheckpoint(m, runDir, 20, meta, write); !errors.Is(err, recordtest.ErrDied) {
					t.Errorf("byte %d: the save ended with %v", k, err)
					return
				}
				for _, cut := range []recordtest.Cut{-1, recordtest.LoseAll, recordtest.KeepNames} {
					m.Restart()
					if cut >= 0 {
						m.Crash(cut, nil)
					}
					c, problems, err := record.FindCheckpoint(m, runDir)
					if err != nil || len(problems) > 0 || c == nil || c.Step != 10 {
						t.Errorf("byte %d, cut %d: got %v, %v, %v", k, cut, c, problems, err)
						return
					}
				}
				deaths.Add(1)
			}
		})
	}
	group.Wait()
	t.Logf("%d bytes, %d deaths × 3 ends: partial accepted 0, announced lost 0", size, deaths.Load())
}

func TestSaveCheckpoint_DiskFullAfterEveryByte(t *testing.T) {
	t.Parallel()
	base := startFS(t, smallFiles)
	used := usedBytes(t, base)
	full, stride := 0, int64(1)
	if hurry() {
		stride = 3
	}
	for extra := int64(0); ; extra += stride {
		m := base.Clone()
		m.SetCapacity(used + extra)
		err := saveRight(m, 20, func(int64) {})
		if err == nil {
			break
		}
		full++
		if got := record.CodeOf(err); got != record.IO {
			t.Fatalf("%d bytes free: code %d: %v", extra, got, err)
		}
		if bad := verdict(m, smallFiles, 10); bad != "" {
			t.Fatalf("%d bytes free: %s", extra, bad)
		}
		if now := usedBytes(t, m); now != used {
			t.Fatalf("%d bytes free: %d bytes left behind", extra, now-used)
		}
	}
	if full < 100 {
		t.Errorf("the disk was full only %d times", full)
	}
	t.Logf("disk full %d times: old checkpoint intact, nothing left behind", full)
}

// usedBytes sums the sizes of all files.
func usedBytes(t *testing.T, m *recordtest.MemFS) int64 {
	t.Helper()
	var sum int64
	for _, name := range m.Files() {
		info, err := m.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}
