package sweeps

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

func TestRun_RunnerKilledAtRandomMoments(t *testing.T) {
	const kills = 20
	pattern := scene{Does: repeat("ok", 6), Steps: 30, Every: 5, Cores: 2, Pace: 2 * time.Millisecond}
	pattern.Root = t.TempDir()
	began := time.Now()
	mustRun(t, &pattern, pattern.options(), record.OK)
	whole := time.Since(began)
	undisturbed := digests(t, pattern.plan())

	alive, life := pipe(t)
	random := rand.New(rand.NewPCG(1, 2))
	killed, sweeps := 0, 0
	for ; killed < kills; sweeps++ {
		s := pattern
		s.Root = t.TempDir()
		for killed < kills && s.killRunner(t, life, time.Duration(random.Int64N(int64(whole)/2))) {
			killed++
		}
		mustRun(t, &s, s.options(), record.OK)
		if diff := cmp.Diff(undisturbed, digests(t, s.plan())); diff != "" {
			t.Errorf("digests (-undisturbed +killed):\n%s", diff)
		}
		for _, what := range []string{"collision", "repeated"} {
			if n := s.counts(t, what); len(n) > 0 {
				t.Errorf("%s of members: %v", what, n)
			}
		}
		leftovers(t, &s)
	}
	_ = life.Close()
	if _, err := io.ReadAll(alive); err != nil { // EOF: no orphan is left
		t.Fatal(err)
	}
	t.Logf("undisturbed %s; %d runners killed in %d sweeps", whole, killed, sweeps)
}

func TestRun_KilledRunnerTakesItsMembersAlong(t *testing.T) {
	s := newScene(t, "gate", "gate")
	alive, life := pipe(t)
	ready, readyEnd := pipe(t)
	gate, _ := pipe(t) // never opened
	s.extra = [3]*os.File{nil, readyEnd, gate}
	process := s.runner(t, life)
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ready, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	_ = life.Close()
	if err := alive.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(alive); err != nil {
		t.Errorf("members outlive their runner: %v", err)
	}
}

// killRunner starts a runner and kills it after a while. It says whether the
// kill came before the end.
func (s *scene) killRunner(t *testing.T, life *os.File, after time.Duration) bool {
	t.Helper()
	process := s.runner(t, life)
	process.Stderr = nil
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = process.Process.Kill() })
	defer timer.Stop()
	return process.Wait() != nil
}

// leftovers wants no temporary file anywhere in the folder of the grid.
func leftovers(t *testing.T, s *scene) {
	t.Helper()
	err := filepath.WalkDir(s.plan().Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".tmp-") {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRun_TornFoldersHeal(t *testing.T) {
	s := newScene(t, repeat("ok", 6)...)
	p := s.plan()
	write := func(i int, name, text string) {
		t.Helper()
		path := filepath.Join(p.Cells[i].Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(0, record.DoneFile, "")
	write(1, record.DoneFile, `{"schema":1,"id":"someone else's","code":0}`)
	write(2, record.MetricsFile, "{\"step\": 3, \"tok")
	write(3, addressName, "evil\"}]\n:99")
	write(4, record.FailedFile+".tmp", "?")
	write(5, "checkpoints/.tmp-step-00000007-x/state.bin", "?")
	write(5, ".lock", "garbage")
	if _, err := p.Status(); err != nil {
		t.Fatal(err)
	}
	mustRun(t, s, s.options(), record.OK)
	if diff := cmp.Diff(s.expected(p, all), digests(t, p)); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	leftovers(t, s)
}

func TestRun_HostileFoldersFailAlone(t *testing.T) {
	s := newScene(t, "ok", "ok", "ok", "ok", "ok")
	p := s.plan()
	broken := filepath.Join(p.Cells[3].Dir, "checkpoints", "step-00000007")
	if err := os.MkdirAll(broken, 0o755); err != nil {
		t.Fatal(err)
	}
	// No checkpoint that is whole, a file where the run folder must be, and the
	// run of somebody else.
	if err := os.WriteFile(filepath.Join(broken, "manifest.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Cells[1].Dir, []byte("?"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := record.Create(record.OS(), p.Cells[2].Dir, record.Info{ID: "0123", Name: "x", Kind: "pretrain"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	summary := mustRun(t, s, s.options(), record.Failed)
	if summary.Done != 2 || summary.Failed != 3 {
		t.Errorf("summary: %+v", summary)
	}
}
