package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch"
)

// childVariable makes the test binary a training process: its value is a childRequest.
const childVariable = "PLASTICITY_TEST_TRAIN"

type childRequest struct {
	Sets   []string
	Out    string
	Resume Resume
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(int(childMain(text)))
	}
	// libtorch decides at its first use whether it has CUDA: for the tests that need a GPU, before any other.
	if _, err := torch.OpenCUDA(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// childMain trains as the worker does.
func childMain(text string) record.Code {
	var r childRequest
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return record.Internal
	}
	c, err := config.Load(config.LoadOptions{Sets: r.Sets})
	if err == nil {
		stop := make(chan os.Signal, 4)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
		_, err = Train(context.Background(), Options{Config: c, Out: r.Out, Resume: r.Resume, Console: os.Stderr, Signals: stop})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	return record.CodeOf(err)
}

// child is a training process.
type child struct {
	cmd   *exec.Cmd
	ended chan error
}

func start(t *testing.T, r childRequest) *child {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{exec.Command(os.Args[0], "-test.run=^$"), make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var said strings.Builder
	c.cmd.Stderr = &said
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := c.cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, said.String())
		}
		c.ended <- err
	}()
	return c
}

// saves waits until the process has stored a checkpoint after step before.
func (c *child) saves(t *testing.T, dir string, before int64) {
	t.Helper()
	deadline := time.After(time.Minute)
	for lastStep(t, dir) <= before {
		select {
		case err := <-c.ended:
			t.Fatalf("the process ended by itself with step %d saved: %v", lastStep(t, dir), err)
		case <-deadline:
			_ = c.cmd.Process.Kill()
			t.Fatal("no checkpoint in a minute")
		case <-time.After(time.Millisecond):
		}
	}
}

// folder is a new folder of the test, in memory where the system has such: hundreds of runs wait for
// the disk otherwise.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "plasticity-test-") //nolint:usetesting // t.TempDir cannot be told to lie in memory
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// corpus prepares shards of made-up text, in a folder of the test.
func corpus(t testing.TB, seed int64) string {
	t.Helper()
	dir := folder(t)
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	words := strings.Fields("the state of our union is strong and people of this nation ask congress to act for peace work and fair taxes")
	for i := range 20 {
		var text strings.Builder
		for range 120 {
			text.WriteString(words[random.IntN(len(words))])
			text.WriteByte(' ')
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.txt", i)), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(folder(t), "prepared")
	_, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{dir}, Tokenizer: "bpe:270", Out: out, ValFraction: 0.2, Seed: 1, Source: "made-up words"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// settings are those of a run of two small layers, with more of them behind.
func settings(prepared string, more ...string) []string {
	return append([]string{
		"name=small", "precision=f32", "threads=1", "data.train=" + prepared + "/train", "data.val=" + prepared + "/val",
		"model.layers=2", "model.width=16", "model.heads=2", "model.kv_heads=1", "model.ffn=24", "model.context=16",
		"batch.sequences=4", "budget.steps=30", "optimizer.lr=3e-3", "optimizer.no_decay=[\"*norm*\"]",
		"eval.every_steps=10", "eval.tokens=128", "checkpoint.every_steps=5", "checkpoint.keep=2", "metrics.log_every_steps=5",
	}, more...)
}

func load(t testing.TB, sets []string) config.Run {
	t.Helper()
	c, err := config.Load(config.LoadOptions{Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// train runs a config in dir, quietly.
func train(t testing.TB, dir string, sets []string, change ...func(*Options)) (Result, error) {
	t.Helper()
	o := Options{Config: load(t, sets), Out: dir, Resume: ResumeAuto, Program: Program{Commit: "c0ffee"}, Console: io.Discard}
	for _, f := range change {
		f(&o)
	}
	return Train(context.Background(), o)
}

// outcome is what must be equal between runs that are the same.
type outcome struct {
	Step                    int64
	Model, Optimizer, Chain string
	Metrics                 string
}

// outcomeOf reads the last checkpoint and the losses of the record.
func outcomeOf(t testing.TB, dir string) outcome {
	t.Helper()
	c, problems, err := record.FindCheckpoint(record.OS(), dir)
	if err != nil || c == nil || len(problems) > 0 {
		t.Fatalf("%s: checkpoint %v, problems %v, error %v", dir, c, problems, err)
	}
	out := outcome{Step: c.Step}
	for _, f := range c.Files {
		switch f.Name {
		case modelFile:
			out.Model = f.SHA256
		case optimizerFile:
			out.Optimizer = f.SHA256
		}
	}
	var s state
	text, err := os.ReadFile(c.Path(trainerFile))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	out.Chain = fmt.Sprintf("%x", s.Chain)
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	metrics, problems, err := run.Metrics()
	if err != nil || len(problems) > 0 {
		t.Fatalf("metrics: %v, %v", problems, err)
	}
	for _, m := range metrics {
		out.Metrics += fmt.Sprintf("%d %d %v %v %v", m.Step, m.Tokens, m.Loss, m.GradNorm, m.ParamNorm)
		if m.ValLoss != nil {
			out.Metrics += fmt.Sprintf(" val %v %v", *m.ValLoss, *m.ValBitsPerByte)
		}
		out.Metrics += "\n"
	}
	return out
}
