package record

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// CheckpointsDir is the folder of the checkpoints in a run.
const CheckpointsDir = "checkpoints"

// writeBuffer gathers small writes; larger ones pass through.
const writeBuffer = 64 << 10

// CheckpointDir is a checkpoint that is being written.
type CheckpointDir struct {
	fsys   FS
	dir    string
	files  []CheckpointFile
	bytes  int64
	buffer *bufio.Writer // one for all files, one after the other
	open   bool          // inside WriteFile
	named  bool          // it had its final name for a while
	err    error         // the first failure: it fails the save even when the callback ignores it
}

// WriteFile writes the file name of the checkpoint. The bytes are hashed while they pass, and the file is
// synced before WriteFile returns.
func (d *CheckpointDir) WriteFile(name string, write func(io.Writer) error) error {
	if d.err != nil {
		return d.err
	}
	d.err = d.writeFile(name, write)
	return d.err
}

func (d *CheckpointDir) writeFile(name string, write func(io.Writer) error) error {
	if err := checkFileName(name); err != nil {
		return err
	}
	if d.open {
		return Fail(Internal, "checkpoint file %s: begun inside another file", name)
	}
	d.open = true
	defer func() { d.open = false }()
	f, err := d.fsys.OpenFile(filepath.Join(d.dir, name), createNew, FileMode)
	if err != nil {
		return err
	}
	sink := &hashingWriter{to: f, sum: sha256.New(), total: &d.bytes}
	d.buffer.Reset(sink)
	err = write(d.buffer)
	if err == nil {
		err = d.buffer.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	sum := hex.EncodeToString(sink.sum.Sum(nil))
	d.files = append(d.files, CheckpointFile{Name: name, Size: sink.size, SHA256: sum})
	return nil
}

// hashingWriter passes bytes on, and counts and hashes those that arrived.
type hashingWriter struct {
	to    io.Writer
	sum   hash.Hash
	size  int64  // of this file
	total *int64 // of the checkpoint
}

func (w *hashingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	*w.total += int64(n)
	return n, err
}

// SaveCheckpoint writes the checkpoint of a step. When it returns nil the checkpoint loads after any crash or power cut;
// when it fails, older checkpoints are as they were, the temporary folder is removed (or left for Lock.CleanTemp when
// even that fails) and the error is a Failure, for a full disk IO with the bytes needed and free.
//
// The order is what makes it safe: files, each synced; manifest, synced; the folder synced; everything read back and
// compared with its digest; ownership checked; renamed to its final name; the parent folder synced. A checkpoint of the
// same step that is there already is kept when it is valid and of the same run and configuration, and set aside
// when it is damaged.
func SaveCheckpoint(fsys FS, runDir string, step int64, meta CheckpointMeta, write func(*CheckpointDir) error) error {
	if step < 0 {
		return Fail(Internal, "save a checkpoint: step %d", step)
	}
	parent := filepath.Join(runDir, CheckpointsDir)
	final := CheckpointPath(runDir, step)
	if err := MkdirAll(fsys, parent); err != nil {
		return fmt.Errorf("save checkpoint %d: %w", step, err)
	}
	// The folder of checkpoints may be there without being durable: made by a process that was killed before its sync.
	if err := fsys.SyncDir(runDir); err != nil {
		return FailIO(err, "save checkpoint %d", step)
	}
	if kept, err := keepExisting(fsys, final, meta); kept || err != nil {
		return err
	}
	if err := Need(fsys, parent, meta.Bytes, fmt.Sprintf("checkpoint %d", step)); err != nil {
		return err
	}
	d := &CheckpointDir{fsys: fsys, dir: tempName(final), buffer: bufio.NewWriterSize(nil, writeBuffer)}
	err := fsys.Mkdir(d.dir, DirMode)
	if err == nil {
		err = d.fill(step, meta, write)
	}
	if err == nil {
		err = d.publish(final, meta.Lock)
	}
	if err == nil {
		return nil
	}
	free, freeErr := freeBytes(fsys, parent) // asked before the removal gives space back
	removeErr := d.remove()
	if CodeOf(err) == IO && freeErr == nil {
		err = fmt.Errorf("%w (%d bytes needed, %d of them written, %d bytes free in %s)", err, max(meta.Bytes, d.bytes), d.bytes, free, parent)
	}
	return FailIO(errors.Join(err, removeErr), "save checkpoint %d", step)
}

// keepExisting decides about a checkpoint of the same step: kept when it can serve, set aside when it is damaged.
func keepExisting(fsys FS, final string, meta CheckpointMeta) (kept bool, err error) {
	there, err := exists(fsys, final)
	if err != nil {
		return false, FailIO(err, "save checkpoint %s", final)
	}
	if !there {
		return false, nil
	}
	old, err := OpenCheckpoint(fsys, final)
	switch {
	case CodeOf(err) == BadData:
		_, err := quarantine(fsys, final)
		return false, err
	case err != nil:
		return false, err
	case old.Meta.RunID != meta.RunID || old.Meta.ConfigDigest != meta.ConfigDigest:
		return false, Fail(Mismatch, "%s is a checkpoint of run %s, config %s, not of run %s, config %s: choose another folder",
			final, old.Meta.RunID, old.Meta.ConfigDigest, meta.RunID, meta.ConfigDigest)
	}
	if err := fsys.SyncDir(filepath.Dir(final)); err != nil {
		return false, FailIO(err, "save checkpoint %s", final)
	}
	return true, nil
}

// fill writes files and manifest into the temporary folder, makes them durable and reads them back.
func (d *CheckpointDir) fill(step int64, meta CheckpointMeta, write func(*CheckpointDir) error) error {
	if err := write(d); err != nil {
		return err
	}
	if d.err != nil {
		return d.err
	}
	m := manifest{Schema: CheckpointSchema, Step: step, Meta: meta, Files: d.files}
	if meta.Lock != nil {
		m.Owner = meta.Lock.Owner()
	}
	if err := m.check(); err != nil {
		return Fail(Internal, "%w", err)
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	if err := writeSynced(d.fsys, filepath.Join(d.dir, ManifestFile), text); err != nil {
		return err
	}
	if err := d.fsys.SyncDir(d.dir); err != nil {
		return err
	}
	if _, err := openCheckpoint(d.fsys, d.dir, verifyDigests); err != nil {
		return Fail(IO, "reading back what was written: %w", err)
	}
	return nil
}

// publish gives the finished folder its final name. When the name cannot be made durable it is taken back: a
// later sync of the same folder could claim success for a name that was lost.
func (d *CheckpointDir) publish(final string, lock *Lock) error {
	if lock != nil {
		if err := lock.Check(); err != nil {
			return err
		}
	}
	if err := d.fsys.Rename(d.dir, final); err != nil {
		return err
	}
	d.named = true
	if err := d.fsys.SyncDir(filepath.Dir(final)); err != nil {
		return errors.Join(err, d.fsys.Rename(final, d.dir))
	}
	return nil
}

// remove removes what a failed save has written.
func (d *CheckpointDir) remove() error {
	if d.named {
		return discard(d.fsys, d.dir)
	}
	return d.fsys.RemoveAll(d.dir)
}

// Checkpoint is a checkpoint that was verified: every file has the size and SHA-256 of the manifest.
type Checkpoint struct {
	Dir   string
	Step  int64
	Meta  CheckpointMeta
	Owner Owner // who wrote it; zero when it was written without a lock
	Files []CheckpointFile
}

// Path returns the path of a file of the checkpoint.
func (c *Checkpoint) Path(name string) string { return filepath.Join(c.Dir, name) }

// Bytes returns the size of the checkpoint's files.
func (c *Checkpoint) Bytes() int64 {
	var sum int64
	for _, f := range c.Files {
		sum += f.Size
	}
	return sum
}

// OpenCheckpoint verifies the checkpoint in dir, sizes and digests. The error is a Failure: BadData when something is
// missing or damaged (it names the file), Mismatch when a newer program wrote it, IO when it cannot be read.
func OpenCheckpoint(fsys FS, dir string) (*Checkpoint, error) {
	c, err := openCheckpoint(fsys, dir, verifyDigests)
	if err != nil {
		return nil, FailIO(err, "checkpoint %s", dir)
	}
	if step, ok := parseStep(filepath.Base(dir)); ok && step != c.Step {
		return nil, Fail(BadData, "checkpoint %s: its manifest is for step %d", dir, c.Step)
	}
	return c, nil
}

// verifyMode says how closely files are looked at.
type verifyMode int

const (
	verifySizes verifyMode = iota
	verifyDigests
)

func openCheckpoint(fsys FS, dir string, mode verifyMode) (*Checkpoint, error) {
	text, err := ReadFile(fsys, filepath.Join(dir, ManifestFile), maxManifestBytes)
	if err != nil {
		return nil, missingIsBad(err)
	}
	m, err := parseManifest(text)
	if err != nil {
		return nil, FailIO(err, "%s", ManifestFile)
	}
	for _, f := range m.Files {
		if err := verifyFile(fsys, dir, f, mode); err != nil {
			return nil, missingIsBad(err)
		}
	}
	return &Checkpoint{Dir: dir, Step: m.Step, Meta: m.Meta, Owner: m.Owner, Files: m.Files}, nil
}

// missingIsBad turns an absent file into BadData: in a checkpoint, absence is damage.
func missingIsBad(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return Fail(BadData, "%w", err)
	}
	return err
}

// verifyFile compares one file with its entry in the manifest.
func verifyFile(fsys FS, dir string, want CheckpointFile, mode verifyMode) error {
	f, size, err := openRegular(fsys, filepath.Join(dir, want.Name))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if size != want.Size {
		return Fail(BadData, "%s has %d bytes and should have %d", want.Name, size, want.Size)
	}
	if mode == verifySizes {
		return nil
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, want.Size+1))
	if err != nil {
		return FailIO(err, "read %s", want.Name)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != want.Size || !strings.EqualFold(got, want.SHA256) {
		return Fail(BadData, "%s is damaged: its SHA-256 is %s and should be %s", want.Name, got, want.SHA256)
	}
	return nil
}

// CheckpointPath is the folder of the checkpoint of a step.
func CheckpointPath(runDir string, step int64) string {
	return filepath.Join(runDir, CheckpointsDir, stepDir(step))
}

// parseStep returns the step of a checkpoint folder's name; only exact names count.
func parseStep(name string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, "step-")
	if !ok {
		return 0, false
	}
	step, err := strconv.ParseInt(digits, 10, 64)
	return step, err == nil && stepDir(step) == name
}

// Checkpoints lists the steps that have a checkpoint folder, ascending. Only exact names count; nothing is verified.
func Checkpoints(fsys FS, runDir string) ([]int64, error) {
	entries, err := fsys.ReadDir(filepath.Join(runDir, CheckpointsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, FailIO(err, "list checkpoints")
	}
	var steps []int64
	for _, e := range entries {
		if step, ok := parseStep(e.Name()); ok && e.IsDir() {
			steps = append(steps, step)
		}
	}
	return sortedSteps(steps), nil
}
