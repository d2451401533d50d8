package record_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/record"
)

// starter is a child that tries for the lock each time it reads a line, keeps it until the next line, and says how it went.
func starter(dir string) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		lock, err := record.Acquire(dir)
		if err != nil {
			fmt.Printf("busy %d %v\n", record.CodeOf(err), err)
		} else {
			fmt.Printf("own %d\n", os.Getpid())
		}
		if !lines.Scan() {
			break
		}
		if lock != nil {
			if err := lock.Release(); err != nil {
				return err
			}
		}
		fmt.Println("ready")
	}
	return lines.Err()
}

// peer is a running starter.
type peer struct {
	say  func()
	hear func() string
}

// startPeers starts n children that play the starter; they end with the test.
func startPeers(t *testing.T, dir string, n int) []peer {
	t.Helper()
	var peers []peer
	for range n {
		cmd, stdin, stdout, _ := startChild(t, "starter", dir)
		lines := bufio.NewScanner(stdout)
		t.Cleanup(func() {
			_ = stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
		peers = append(peers, peer{
			say: func() { fmt.Fprintln(stdin) },
			hear: func() string {
				lines.Scan()
				return lines.Text()
			},
		})
	}
	return peers
}

func TestAcquire_EightStartersRace(t *testing.T) {
	t.Parallel()
	rounds := 100
	if hurry() {
		rounds = 20
	}
	dir := t.TempDir()
	peers := startPeers(t, dir, 8)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		for _, p := range peers {
			p.say()
		}
		record.Holder(dir) // somebody who only looks
		var owners, busy []string
		for _, p := range peers {
			line := p.hear()
			if pid, ok := strings.CutPrefix(line, "own "); ok {
				owners = append(owners, pid)
			} else {
				busy = append(busy, line)
			}
		}
		if len(owners) != 1 || len(busy) != len(peers)-1 {
			t.Fatalf("round %d: owners %v, busy %v", round, owners, busy)
		}
		if owner, held := record.Holder(dir); !held || fmt.Sprint(owner.PID) != owners[0] || owner.Host != host || owner.ID == "" {
			t.Fatalf("round %d: holder %v, %v: want pid %s", round, owner, held, owners[0])
		}
		want := fmt.Sprintf("pid %s on host %s", owners[0], host)
		for _, line := range busy {
			if !strings.HasPrefix(line, "busy 77 ") || !strings.Contains(line, want) {
				t.Fatalf("round %d: %q does not name %q", round, line, want)
			}
		}
		for _, p := range peers {
			p.say()
		}
		for _, p := range peers {
			if line := p.hear(); line != "ready" {
				t.Fatalf("round %d: %q", round, line)
			}
		}
	}
	t.Logf("%d starters × %d rounds: never two owners", len(peers), rounds)
}

func TestAcquire_AfterKillNeedsNoHand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 5 {
		cmd, stdin, stdout, _ := startChild(t, "starter", dir)
		fmt.Fprintln(stdin)
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "own ") {
			t.Fatalf("the child says %q", lines.Text())
		}
		if _, err := record.Acquire(dir); record.CodeOf(err) != record.NotPermitted ||
			!strings.Contains(err.Error(), fmt.Sprintf("pid %d", cmd.Process.Pid)) {
			t.Fatalf("while it is held: %v", err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	lock, err := record.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lock.Check(), lock.Release(), lock.Release()); err != nil {
		t.Fatal(err)
	}
	if _, held := record.Holder(dir); held {
		t.Error("still held after its release")
	}
}

func TestAcquire_HostileLockFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(path string) error
		code record.Code
	}{
		{"garbage text", func(p string) error { return os.WriteFile(p, []byte("\x00{{{"), 0o600) }, record.OK},
		{"future owner", func(p string) error { return os.WriteFile(p, []byte(`{"pid":1,"host":"x"}`), 0o600) }, record.OK},
		{"link", func(p string) error { return os.Symlink("/etc/hostname", p) }, record.IO},
		{"folder", func(p string) error { return os.Mkdir(p, 0o700) }, record.IO},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := c.make(filepath.Join(dir, record.LockFile)); err != nil {
				t.Fatal(err)
			}
			if _, held := record.Holder(dir); held {
				t.Error("nobody holds it")
			}
			lock, err := record.Acquire(dir)
			if got := record.CodeOf(err); got != c.code {
				t.Fatalf("code %d: %v", got, err)
			}
			if lock != nil {
				if err := lock.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestLock_TakenOverStopsTheSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := record.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	// A file system without working locks: somebody else wrote its text into the file.
	if err := os.WriteFile(filepath.Join(dir, record.LockFile), []byte(`{"pid":1,"host":"other","id":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	m := startFS(t, smallFiles)
	err = record.SaveCheckpoint(m, runDir, 20, record.CheckpointMeta{RunID: "cell", Lock: lock}, smallFiles.write(20))
	if record.CodeOf(err) != record.NotPermitted || !strings.Contains(err.Error(), "pid 1 on host other") {
		t.Errorf("the save ended with %v", err)
	}
	if bad := verdict(m, smallFiles, 10); bad != "" {
		t.Error(bad)
	}
	if _, err := lock.CleanTemp(record.OS()); record.CodeOf(err) != record.NotPermitted {
		t.Errorf("clean without the lock: %v", err)
	}
}

func TestLock_CleanTempTakesOnlyTemporaries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := record.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, name := range []string{".tmp-run.json-1", "checkpoints/.tmp-step-00000010-a/x", "checkpoints/step-00000010/x", "notes.tmp", ".hidden"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := lock.CleanTemp(record.OS())
	if err != nil || len(removed) != 2 {
		t.Errorf("removed %v, %v", removed, err)
	}
	for _, name := range []string{"checkpoints/step-00000010/x", "notes.tmp", ".hidden"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
