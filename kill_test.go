package plasticity_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

// sandbox is a folder with both programs, a text, a task and a grid: two base models, fine-tuned and evaluated.
type sandbox struct {
	t    *testing.T
	root string
}

const killGrid = `name: g
base: base.yaml
axes: {optimizer.weight_decay: [0, 1]}
seeds: [1]
finetune: [{task: judge, config: tune.yaml}]
evaluate: {samples: 3, problems: 70, max_tokens: 24}
`

func newSandbox(t *testing.T) *sandbox {
	s := &sandbox{t, t.TempDir()}
	for _, program := range []string{"plasticity", "plasticity-worker"} {
		run(t, nil, "go", "build", "-o", s.path(program), "./cmd/"+program)
	}
	var text strings.Builder
	for i := range 3000 {
		text.WriteString([]string{"all millers ", "no smith ", "paid the tax, ", "and the answer is yes. ", "some went home.\n"}[(i*i+i/7)%5])
	}
	half := text.Len() / 2
	for name, content := range map[string]string{
		"texts/a.txt": text.String()[:half], "texts/b.txt": text.String()[half:], "grid.yaml": killGrid,
		"base.yaml": "model: {layers: 1, width: 32, heads: 2, ffn: 64, context: 128}\ndata: {train: data/train, val: data/val}\nbudget: {steps: 10}\nbatch: {sequences: 2}\n",
		"tune.yaml": "budget: {steps: 60}\nbatch: {sequences: 4}\noptimizer: {weight_decay: 0}\ncheckpoint: {every_steps: 5, keep: 1}\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(s.path(name)), 0o755), os.WriteFile(s.path(name), []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s.plasticity("data", "prepare", "--in", "texts", "--tokenizer", "bpe:300", "--out", "data", "--val-fraction", "0.5")
	s.plasticity("data", "task", "judge", "--out", "data/tasks/judge", "--level", "1", "--train", "60", "--test", "80")
	return s
}

func (s *sandbox) path(name string) string { return filepath.Join(s.root, name) }

func (s *sandbox) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), s.path("plasticity"), args...)
	cmd.Dir, cmd.Env = s.root, append(os.Environ(), "HOME="+s.root)
	return cmd
}

func (s *sandbox) plasticity(args ...string) {
	s.t.Helper()
	if out, err := s.command(args...).CombinedOutput(); err != nil {
		s.t.Fatalf("plasticity %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func sweepArgs(out string) []string {
	return []string{"sweep", "run", "--grid", "grid.yaml", "--out", out, "--measure=false", "--set", "threads=1"}
}

// outcome is everything that tables are made of, and the final weights, by path.
func (s *sandbox) outcome(out string) map[string]string {
	s.t.Helper()
	kept := make(map[string]string)
	err := filepath.WalkDir(s.path(out), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if name != "results.json" && name != "responses.jsonl" && !strings.HasPrefix(name, "samples_") && !strings.HasSuffix(name, ".safetensors") && name != record.MetricsFile {
			return nil
		}
		rel, _ := filepath.Rel(s.path(out), path)
		if name == record.MetricsFile {
			kept[rel] = losses(s.t, filepath.Dir(path))
			return nil
		}
		text, err := os.ReadFile(path)
		kept[rel] = string(text)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return kept
}

// losses are what a reader of a run's metrics sees, without what depends on time: a step whose checkpoint a kill came before
// has a line for each try, and the last counts.
func losses(t *testing.T, dir string) string {
	t.Helper()
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	metrics, problems, err := run.Metrics()
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v %v", err, problems)
	}
	var out strings.Builder
	for _, m := range metrics {
		fmt.Fprint(&out, m.Step, m.Tokens, m.Loss, m.GradNorm)
		if m.ValLoss != nil {
			fmt.Fprint(&out, " ", *m.ValLoss)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// A sweep killed at random moments of fine-tuning and evaluation ends with the same weights, answers and scores, to the byte,
// as one that nobody disturbed.
func TestSweep_KilledWhileFineTuningAndEvaluating(t *testing.T) {
	const kills = 5
	s := newSandbox(t)
	s.plasticity(sweepArgs("calm")...)
	want := s.outcome("calm")
	random := rand.New(rand.NewPCG(7, 8))
	killed := 0
	for attempt := 0; killed < kills && attempt < 4*kills; attempt++ {
		cmd := s.command(sweepArgs("torn")...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(over)
		}()
		for ended := false; !s.begun("torn"); time.Sleep(5 * time.Millisecond) {
			if ended {
				t.Fatal("the sweep ended before it fine-tuned")
			}
			select {
			case <-over:
				ended = true // what it wrote last is looked at once more
			default:
			}
		}
		select {
		case <-over: // it came to its end: from the beginning again
			if err := os.RemoveAll(s.path("torn")); err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Duration(100+random.IntN(900)) * time.Millisecond):
			_ = syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
			<-over
			killed++
		}
	}
	if killed < kills {
		t.Fatalf("killed %d times only", killed)
	}
	s.plasticity(sweepArgs("torn")...)
	if diff := cmp.Diff(want, s.outcome("torn")); diff != "" {
		t.Errorf("after %d kills (-calm +torn):\n%.4000s", killed, diff)
	}
	t.Logf("%d kills; %d files are the same", killed, len(want))
}

// begun says that a fine-tuning has begun, so that all before it is over.
func (s *sandbox) begun(out string) bool {
	configs, _ := filepath.Glob(s.path(out + "/g/*/run.json"))
	for _, path := range configs {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), `"kind": "finetune"`) {
			return true
		}
	}
	return false
}
