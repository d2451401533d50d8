package record_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"plasticity/record"
)

// childEnv names the part that this test binary plays when it is started again by a test.
const childEnv = "PLASTICITY_RECORD_TEST_CHILD"

func TestMain(m *testing.M) {
	part, dir, _ := strings.Cut(os.Getenv(childEnv), ":")
	switch part {
	case "":
		os.Exit(m.Run())
	case "trainer":
		os.Exit(childExit(trainer(dir, right)))
	case "naive":
		os.Exit(childExit(trainer(dir, naive)))
	case "starter":
		os.Exit(childExit(starter(dir)))
	}
	os.Exit(int(record.Usage))
}

func childExit(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return int(record.CodeOf(err))
}

// startChild starts this binary in another part; the caller kills it and waits for it.
func startChild(t *testing.T, part, dir string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout io.Reader, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+part+":"+dir, "GOMAXPROCS=2")
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	if stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if stdout, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, stdout, stderr
}

// childWriter is a way to keep checkpoints: save writes that of a step and announces it, load finds and checks the newest.
type childWriter struct {
	save func(dir string, step int64) error
	load func(dir string) (step int64, err error)
}

var childFiles = files{{"model.safetensors", 24 << 10}, {"optimizer.safetensors", 48 << 10}}

// right is this package.
var right = childWriter{
	save: func(dir string, step int64) error {
		err := record.SaveCheckpoint(record.OS(), dir, step, record.CheckpointMeta{RunID: "cell"}, func(d *record.CheckpointDir) error {
			for _, f := range childFiles {
				if err := d.WriteFile(f.name, func(w io.Writer) error { return writeStep(w, step, f.size) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		_, err = fmt.Printf("saved %d\n", step)
		return errors.Join(err, record.Prune(record.OS(), dir, 2, nil))
	},
	load: func(dir string) (int64, error) {
		c, problems, err := record.LatestCheckpoint(record.OS(), dir)
		if err != nil || c == nil {
			return 0, err
		}
		if len(problems) > 0 {
			return 0, fmt.Errorf("problems: %v", problems)
		}
		for _, f := range childFiles {
			if err := checkStep(c.Path(f.name), c.Step, f.size); err != nil {
				return 0, err
			}
		}
		return c.Step, nil
	},
}

// naive is the planted bug: one file a step, written in place; the highest number wins.
var naive = childWriter{
	save: func(dir string, step int64) error {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("step-%08d.bin", step)))
		if err != nil {
			return err
		}
		for _, part := range childFiles {
			if err := writeStep(f, step, part.size); err != nil {
				return err
			}
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		_, err = fmt.Printf("saved %d\n", step)
		return err
	},
	load: func(dir string) (int64, error) {
		names, err := filepath.Glob(filepath.Join(dir, "step-*.bin"))
		if err != nil || len(names) == 0 {
			return 0, err
		}
		newest := names[len(names)-1] // sorted
		var step int64
		if _, err := fmt.Sscanf(filepath.Base(newest), "step-%d.bin", &step); err != nil {
			return 0, err
		}
		size := 0
		for _, part := range childFiles {
			size += part.size
		}
		return step, checkStep(newest, step, size)
	},
}

// writeStep writes size bytes that say the step over and over, in pieces.
func writeStep(w io.Writer, step int64, size int) error {
	piece := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, uint64(step)), 512)
	for ; size > 0; size -= len(piece) {
		if _, err := w.Write(piece[:min(size, len(piece))]); err != nil {
			return err
		}
	}
	return nil
}

// checkStep verifies what writeStep wrote.
func checkStep(path string, step int64, size int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	want := binary.LittleEndian.AppendUint64(nil, uint64(step))
	if len(data) != size || !bytes.Equal(data, bytes.Repeat(want, size/8)) {
		return fmt.Errorf("%s: %d bytes, not the %d of step %d", path, len(data), size, step)
	}
	return nil
}

// trainer is the child: recover, then log and save step after step until killed. It says on standard output what it has
// made durable.
func trainer(dir string, w childWriter) error {
	lock, err := record.Acquire(dir)
	if err != nil {
		return err
	}
	if _, err := lock.CleanTemp(record.OS()); err != nil {
		return err
	}
	step, err := w.load(dir)
	if err != nil {
		return err
	}
	journal, err := record.OpenJournal(record.OS(), filepath.Join(dir, record.MetricsFile))
	if err != nil {
		return err
	}
	for {
		step++
		if err := journal.Append(record.Metric{Step: step, Loss: record.Float(step) / 3}); err != nil {
			return err
		}
		if _, err := fmt.Printf("row %d\n", step); err != nil {
			return err
		}
		if err := w.save(dir, step); err != nil {
			return err
		}
	}
}

// tally counts what a chain of kills did.
type tally struct {
	kills, saved           int
	unreadable, lost, torn int
	rows, rowsLost, rowBad int
}

// chain kills a trainer n times, each start resuming from the last, and looks after each kill. It stops early when enough
// is set and as many faults were found.
func chain(t *testing.T, part, dir string, w childWriter, n int, seed uint64, enough int) tally {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var sum tally
	var savedStep, rowStep int64
	for i := range n {
		cmd, _, stdout, stderr := startChild(t, part, dir)
		wait := time.Duration(rng.ExpFloat64() * float64(12*time.Millisecond))
		lines := bufio.NewScanner(stdout)
		// Half of them die anywhere from the first instruction on, a quarter after their first row, a quarter after
		// their first checkpoint.
		for await := []string{"saved", "", "row", ""}[i%4]; await != "" && lines.Scan(); {
			savedStep = max(savedStep, stepOf(lines.Text(), "saved"))
			rowStep = max(rowStep, stepOf(lines.Text(), "row"))
			if strings.HasPrefix(lines.Text(), await) {
				break
			}
		}
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			savedStep = max(savedStep, stepOf(lines.Text(), "saved"))
			rowStep = max(rowStep, stepOf(lines.Text(), "row"))
		}
		err := cmd.Wait()
		timer.Stop()
		sum.kills++
		if stderr.Len() > 0 || cmd.ProcessState.Exited() {
			if enough == 0 {
				t.Errorf("kill %d: the child ended by itself: %v: %s", i, err, stderr)
			}
			sum.unreadable++
		}
		sum.look(t, w, dir, savedStep, i, enough == 0)
		if i%100 == 99 || i == n-1 {
			sum.lookAtRows(t, dir, rowStep)
		}
		if enough > 0 && sum.unreadable+sum.lost >= enough {
			break
		}
		if enough > 0 && sum.unreadable > 0 { // a naive chain does not come back by itself
			removeNewest(t, dir)
		}
	}
	sum.saved = int(savedStep)
	return sum
}

func removeNewest(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "step-*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 0 {
		if err := os.Remove(names[len(names)-1]); err != nil {
			t.Fatal(err)
		}
	}
}

// stepOf returns the number of a line "word n", or 0.
func stepOf(line, word string) int64 {
	rest, ok := strings.CutPrefix(line, word+" ")
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// look loads the newest checkpoint as the next process would.
func (s *tally) look(t *testing.T, w childWriter, dir string, savedStep int64, kill int, loud bool) {
	t.Helper()
	step, err := w.load(dir)
	switch {
	case err != nil && strings.Contains(err.Error(), "not the"):
		s.torn++
		s.unreadable++
	case err != nil:
		s.unreadable++
	case step < savedStep:
		s.lost++
	default:
		return
	}
	if loud {
		t.Errorf("kill %d: announced %d, loaded %d: %v", kill, savedStep, step, err)
	}
}

// lookAtRows reads the journal: every announced row is there and right.
func (s *tally) lookAtRows(t *testing.T, dir string, rowStep int64) {
	t.Helper()
	// Opening the journal is what the next process does first: it repairs the tail.
	journal, err := record.OpenJournal(record.OS(), filepath.Join(dir, record.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	info := record.Info{ID: "cell"}
	run, err := record.Create(record.OS(), dir, info, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics, problems, err := run.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	s.rowBad += len(problems)
	s.rows = len(metrics)
	if int64(len(metrics)) < rowStep {
		s.rowsLost += int(rowStep) - len(metrics)
	}
	for i, m := range metrics {
		if m.Step != int64(i+1) || m.Loss != record.Float(m.Step)/3 {
			s.rowBad++
		}
	}
}

func TestRun_ThousandKills(t *testing.T) {
	t.Parallel()
	kills := 500
	if hurry() {
		kills = 20
	}
	var sums [2]tally
	t.Run("chains", func(t *testing.T) {
		for i := range sums {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				sums[i] = chain(t, "trainer", t.TempDir(), right, kills, uint64(i), 0)
			})
		}
	})
	var all tally
	for _, s := range sums {
		all.kills += s.kills
		all.saved += s.saved
		all.unreadable += s.unreadable
		all.lost += s.lost
		all.torn += s.torn
		all.rows += s.rows
		all.rowsLost += s.rowsLost
		all.rowBad += s.rowBad
	}
	t.Logf("%d kills, %d checkpoints announced: unreadable %d, lost %d, torn %d; %d journal rows: lost %d, damaged %d",
		all.kills, all.saved, all.unreadable, all.lost, all.torn, all.rows, all.rowsLost, all.rowBad)
	if all.unreadable+all.lost+all.torn+all.rowsLost+all.rowBad != 0 {
		t.Error("want none unreadable, lost, torn or damaged")
	}
	if all.saved < all.kills/5 {
		t.Errorf("only %d checkpoints in %d kills: the kills come too early to prove anything", all.saved, all.kills)
	}
}

func TestRun_KillsFindTheNaiveWriter(t *testing.T) {
	t.Parallel()
	sum := chain(t, "naive", t.TempDir(), naive, 300, 7, 1)
	if sum.unreadable+sum.lost == 0 {
		t.Fatalf("%d kills did not break a writer that writes in place: the harness is blind", sum.kills)
	}
	t.Logf("the naive writer broke after %d kills", sum.kills)
}
