package plasticity_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fakePython stands in for python3 with pip. Installing makes a libtorch out of a system library, with the version in
// $FAKE_VERSION, and notes it in $FAKE_LOG. $FAKE_FAULT: "die" kills the whole set-up half-way as a power cut would,
// "hash" and "network" fail as pip does.
const fakePython = `#!/usr/bin/env bash
set -eu
[[ ${1:-} == -m && ${2:-} == pip ]] || exit 0
[[ $3 == install ]] || exit 0
while [[ $1 != --target ]]; do shift; done
mkdir -p "$2"/torch/lib "$2"/torch/include/ATen "$2"/torch/include/torch/headeronly
IFS=. read -r major minor patch <<<"$FAKE_VERSION"
printf '#define TORCH_VERSION_MAJOR %s\n#define TORCH_VERSION_MINOR %s\n#define TORCH_VERSION_PATCH %s\n' \
  "$major" "$minor" "$patch" >"$2"/torch/include/torch/headeronly/version.h
touch "$2"/torch/include/ATen/ATen.h
cp "$FAKE_LIBRARY" "$2"/torch/lib/libc10.so
case $FAKE_FAULT in
  die) kill -9 0 ;;
  hash) echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE." >&2; exit 1 ;;
  network) echo "ERROR: No matching distribution found for torch" >&2; exit 1 ;;
esac
cp "$FAKE_LIBRARY" "$2"/torch/lib/libtorch_cpu.so
echo installed >>"$FAKE_LOG"
`

// A setup runs third_party/find_libtorch.sh with a cache of its own and the fake Python.
type setup struct{ dir, library string }

func newSetup(t *testing.T) setup {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(run(t, nil, "ldd", bash)), "=> ") // any shared library will do
	library, _, _ := strings.Cut(rest, " ")
	s := setup{t.TempDir(), library}
	if err := os.WriteFile(filepath.Join(s.dir, "python3"), []byte(fakePython), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// find returns the script's answer, what it said, and whether it succeeded.
func (s setup) find(fault, version string, env ...string) (answer, said string, ok bool) {
	cmd := exec.Command("setsid", "--wait", "third_party/find_libtorch.sh")
	cmd.Env = append(os.Environ(), "LIBTORCH=", "PYTHON="+filepath.Join(s.dir, "python3"), "PLASTICITY_CACHE="+filepath.Join(s.dir, "cache"),
		"FAKE_FAULT="+fault, "FAKE_VERSION="+version, "FAKE_LIBRARY="+s.library, "FAKE_LOG="+filepath.Join(s.dir, "log"))
	cmd.Env = append(cmd.Env, env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return strings.TrimSpace(out.String()), errs.String(), err == nil
}

func (s setup) installations() int {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return strings.Count(string(log), "installed")
}

func TestSetup_FailuresLeaveNothing(t *testing.T) {
	for _, test := range []struct{ name, fault, version, want string }{
		{"killed half-way", "die", "2.11.0", ""},
		{"other bytes than pinned", "hash", "2.11.0", "nothing was installed"},
		{"no network", "network", "2.11.0", "check the network"},
		{"other version than wanted", "", "2.12.0", "holds libtorch 2.12.0, and this project needs 2.11"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(t)
			answer, said, ok := s.find(test.fault, test.version)
			if ok || answer != "" || !strings.Contains(said, test.want) {
				t.Fatalf("ok %v, answer %q, said %q; want a failure that says %q", ok, answer, said, test.want)
			}
			before := s.installations()
			_, said, ok = s.find("", "2.11.0")
			if !ok || s.installations() != before+1 {
				t.Fatalf("the next start: ok %v, %d installations, said %q; want a fresh one", ok, s.installations(), said)
			}
			left, err := filepath.Glob(filepath.Join(s.dir, "cache", "*.partial"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestSetup_InstallsOnceAndNoticesDamage(t *testing.T) {
	s := newSetup(t)
	var together sync.WaitGroup
	for range 4 {
		together.Go(func() {
			if _, said, ok := s.find("", "2.11.0"); !ok {
				t.Errorf("one of four starts at once failed: %s", said)
			}
		})
	}
	together.Wait()
	answer, _, _ := s.find("", "2.11.0")
	if s.installations() != 1 {
		t.Errorf("%d installations of five starts, want 1", s.installations())
	}
	if err := os.Truncate(filepath.Join(answer, "lib", "libtorch_cpu.so"), 100); err != nil {
		t.Fatal(err)
	}
	if _, said, ok := s.find("", "2.11.0"); !ok || s.installations() != 2 {
		t.Errorf("with a cut library: ok %v, %d installations, said %q; want a second one", ok, s.installations(), said)
	}
}

func TestSetup_GivenLibtorchIsTakenOrRefused(t *testing.T) {
	s := newSetup(t)
	good, said, ok := s.find("", "2.11.0")
	if !ok {
		t.Fatal(said)
	}
	if answer, said, ok := s.find("", "2.11.0", "LIBTORCH="+good); !ok || answer != good {
		t.Errorf("a good one: %q, %s", answer, said)
	}
	for dir, want := range map[string]string{
		t.TempDir():                    "has no libtorch headers",
		filepath.Join(s.dir, "gone"):   "has no libtorch headers",
		filepath.Join(good, "include"): "has no libtorch headers",
	} {
		if _, said, ok := s.find("", "2.11.0", "LIBTORCH="+dir); ok || !strings.Contains(said, want) || !strings.Contains(said, "LIBTORCH="+dir) {
			t.Errorf("LIBTORCH=%s: ok %v, said %q; want %q", dir, ok, said, want)
		}
	}
	if err := os.Remove(filepath.Join(good, "lib", "libtorch_cpu.so")); err != nil {
		t.Fatal(err)
	}
	if _, said, ok := s.find("", "2.11.0", "LIBTORCH="+good); ok || !strings.Contains(said, "is not complete") {
		t.Errorf("without libtorch_cpu.so: ok %v, said %q", ok, said)
	}
}
