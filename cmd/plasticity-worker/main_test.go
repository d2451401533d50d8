package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"plasticity/cmd/internal/request"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// asWorker makes the test binary the worker.
const asWorker = "PLASTICITY_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// worker starts a worker process with one request.
func worker(t *testing.T, command string, r any) *exec.Cmd {
	t.Helper()
	text, err := request.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], command, text)
	c.Env = append(os.Environ(), asWorker+"=1")
	return c
}

// work runs a worker to its end.
func work(t *testing.T, command string, r any) (code record.Code, out, errs string) {
	t.Helper()
	c := worker(t, command, r)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return record.Code(c.ProcessState.ExitCode()), stdout.String(), stderr.String()
}

// folderOf reads all files of a folder, but for the owner's lock and what a journal cut off.
func folderOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == record.LockFile || strings.HasSuffix(e.Name(), ".torn") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

// sameFiles compares what folderOf has read.
func sameFiles(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Errorf("%s: files %v, want %v", what, a, b)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %s is another one", what, name)
		}
	}
}

// put writes files into a folder, which it makes.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// corpus prepares a little text.
func corpus(t *testing.T) string {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "prepared")
	for i := range 10 {
		text := strings.Repeat(fmt.Sprintf("fellow citizens of district %d, the state of the union is strong. ", i), 20)
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{in}, Tokenizer: "bpe:270", Out: out, ValFraction: 0.2, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	return out
}

// configFile writes the config of a small run.
func configFile(t *testing.T, prepared string, steps int) string {
	t.Helper()
	text := fmt.Sprintf(`name: small
precision: f32
threads: 1
model: {family: olmo2, layers: 2, width: 16, heads: 2, kv_heads: 1, ffn: 24, context: 16}
data: {train: %s/train, val: %s/val}
budget: {steps: %d}
batch: {sequences: 4}
optimizer: {lr: 3e-3, weight_decay: 0.1}
eval: {every_steps: 10, tokens: 128}
checkpoint: {every_steps: 10}
`, prepared, prepared, steps)
	path := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func decode[T any](t *testing.T, line string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(line), &v); err != nil || strings.Count(line, "\n") != 1 {
		t.Fatalf("want one line of JSON, got %q (%v)", line, err)
	}
	return v
}

// One model through all commands: plan, train, loss, generation, export, import, and the same numbers
// at the end.
func TestWorker_Commands(t *testing.T) {
	prepared := corpus(t)
	file, dir := configFile(t, prepared, 20), filepath.Join(t.TempDir(), "run")
	code, out, errs := work(t, request.CommandTrain, request.Train{Config: file, Out: dir, Resume: "auto", DryRun: true, JSON: true})
	if code != record.OK {
		t.Fatalf("plan: %d %s", code, errs)
	}
	plan := decode[trainer.Plan](t, out)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a plan made %s: %v", dir, err)
	}
	code, out, errs = work(t, request.CommandTrain, request.Train{Config: file, Out: dir, Resume: "auto", JSON: true, Quiet: true})
	if code != record.OK || errs != "" {
		t.Fatalf("train: %d %q", code, errs)
	}
	trained := decode[struct {
		ID      string       `json:"id"`
		Steps   int64        `json:"steps"`
		ValLoss record.Float `json:"val_loss"`
	}](t, out)
	if trained.ID != plan.ID || trained.Steps != 20 {
		t.Errorf("trained %+v, planned %s", trained, plan.ID)
	}
	loss := func(model string) request.Loss {
		code, out, errs := work(t, request.CommandEvalLoss, request.EvalLoss{Model: model, Data: prepared + "/val", Tokens: 128, Threads: 1, JSON: true})
		if code != record.OK {
			t.Fatalf("loss of %s: %d %s", model, code, errs)
		}
		if !strings.Contains(errs, "loss on 128 of 128 tokens, ") {
			t.Errorf("loss of %s: no progress in %q", model, errs)
		}
		return decode[request.Loss](t, out)
	}
	first := loss(dir)
	if d := first.LossNatsPerToken - trained.ValLoss; d > 1e-6 || d < -1e-6 {
		t.Errorf("loss %v, in training %v", first.LossNatsPerToken, trained.ValLoss)
	}
	hf, again := filepath.Join(t.TempDir(), "hf"), filepath.Join(t.TempDir(), "again")
	if code, _, errs := work(t, request.CommandExport, request.Export{Run: dir, Out: hf}); code != record.OK {
		t.Fatalf("export: %d %s", code, errs)
	}
	if code, _, errs := work(t, request.CommandImport, request.Import{HF: hf, Out: again}); code != record.OK {
		t.Fatalf("import: %d %s", code, errs)
	}
	prompt := request.Generate{Model: dir, Prompt: "fellow <citizens", MaxTokens: 6, Threads: 1, JSON: true}
	_, out, _ = work(t, request.CommandGenerate, prompt)
	text := decode[request.Generated](t, out)
	if text.Prompt != prompt.Prompt || len(text.Tokens) == 0 || text.Finish == "" || strings.Contains(out, `\u003c`) {
		t.Errorf("generated %s", out)
	}
	for _, folder := range []string{hf, again} {
		if got := loss(folder); got != first {
			t.Errorf("loss of %s: %+v, of the run %+v", folder, got, first)
		}
		prompt.Model = folder
		if _, same, errs := work(t, request.CommandGenerate, prompt); same != out {
			t.Errorf("%s generated %s, the run %s %s", folder, same, out, errs)
		}
	}
	prompt.Model, prompt.JSON = dir, false
	if _, plain, _ := work(t, request.CommandGenerate, prompt); plain != text.Prompt+text.Text+"\n" {
		t.Errorf("streamed %q, want %q", plain, text.Prompt+text.Text+"\n")
	}
	weights := filepath.Join(record.CheckpointPath(dir, 20), model.WeightsFile)
	if err := os.Truncate(weights, 100); err != nil {
		t.Fatal(err)
	}
	code, out, errs = work(t, request.CommandEvalLoss, request.EvalLoss{Model: dir, Data: prepared + "/val", Tokens: 128, Threads: 1, JSON: true})
	if code != record.OK || decode[request.Loss](t, out) == first || !strings.Contains(errs, "warning: ") || !strings.Contains(errs, weights[len(dir):len(weights)-len(model.WeightsFile)-1]) || !strings.Contains(errs, "step 10 is used instead") {
		t.Errorf("a damaged checkpoint: %d %q %q", code, out, errs)
	}
	prompt.Prompt = strings.Repeat("fellow citizens ", 20)
	if code, out, errs := work(t, request.CommandGenerate, prompt); code != record.Usage || out != "" || !strings.Contains(errs, "context is 16") {
		t.Errorf("a long prompt: %d %q %q", code, out, errs)
	}
	diverged := filepath.Join(t.TempDir(), "diverged")
	files := folderOf(t, hf)
	values := files["model.safetensors"]
	files["model.safetensors"] = values[:len(values)-4096] + strings.Repeat("\x00\x00\x7f\x7f", 1024) // 3.4e38
	put(t, diverged, files)
	if code, out, errs := work(t, request.CommandEvalLoss, request.EvalLoss{Model: diverged, Data: prepared + "/val", Tokens: 128, Threads: 1, JSON: true}); code != record.NonFinite || out != "" || !strings.Contains(errs, "diverged") {
		t.Errorf("a model that diverged: %d %q %q", code, out, errs)
	}
}

// training starts a worker that trains for very long, and waits for a checkpoint of its own.
func training(t *testing.T, r request.Train, c *exec.Cmd) <-chan error {
	t.Helper()
	newest := func() int64 {
		steps, err := record.Checkpoints(record.OS(), r.Out)
		if err != nil || len(steps) == 0 {
			return -1
		}
		return steps[len(steps)-1]
	}
	before := newest()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; {
		if newest() > before {
			return ended
		}
		select {
		case err := <-ended:
			t.Fatalf("ended by itself: %v", err)
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("no checkpoint in a minute")
		}
	}
}

// One signal saves and exits with 75 and one line, and so do many at once, as of a scheduler that signals every process of a job.
// The checkpoints stay whole, and the next process goes on.
func TestWorker_Signals(t *testing.T) {
	r := request.Train{Config: configFile(t, corpus(t), 1_000_000), Out: filepath.Join(t.TempDir(), "run"), Resume: "auto"}
	for _, storm := range [][]syscall.Signal{
		{syscall.SIGHUP}, {syscall.SIGINT, syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP},
	} {
		c := worker(t, request.CommandTrain, r)
		var said bytes.Buffer
		c.Stderr = &said
		ended := training(t, r, c)
		for _, s := range storm {
			if err := c.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
		<-ended
		if code := c.ProcessState.ExitCode(); code != int(record.Stopped) || strings.Count(said.String(), "error:") != 1 || !strings.Contains(said.String(), "everything saved") {
			t.Errorf("%v: exit code %d, said:\n%s", storm, code, said.String())
		}
		if last, problems, err := record.FindCheckpoint(record.OS(), r.Out); err != nil || last == nil || len(problems) > 0 {
			t.Errorf("%v: checkpoint %v, problems %v, error %v", storm, last, problems, err)
		}
	}
}

// A log that nobody reads any more does not end a run.
func TestWorker_ClosedPipe(t *testing.T) {
	r := request.Train{Config: configFile(t, corpus(t), 20), Out: filepath.Join(t.TempDir(), "run"), Resume: "auto"}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	c := worker(t, request.CommandTrain, r)
	c.Stderr = writer
	if err := c.Run(); err != nil {
		t.Errorf("%v", err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWorker_Misuse(t *testing.T) {
	for _, c := range []struct {
		name, command, text string
		want                record.Code
	}{
		{"no such command", "dance", "{}", record.Usage},
		{"not JSON", "train", "{", record.Usage},
		{"unknown field", "train", `{"fast":true}`, record.Usage},
		{"no config", "train", `{"config":"/does/not/exist.yaml","resume":"auto"}`, record.Usage},
		{"no model", "generate", `{"model":"/does/not/exist","prompt":"a","max_tokens":1,"temperature":0,"seed":0}`, record.BadData},
		{"no tokens", "generate", `{"model":"x","prompt":"a","max_tokens":0,"temperature":0,"seed":0}`, record.Usage},
		{"bench", "bench", `{"what":"dance","config":""}`, record.Usage},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := exec.Command(os.Args[0], c.command, c.text)
			p.Env = append(os.Environ(), asWorker+"=1")
			var out, errs bytes.Buffer
			p.Stdout, p.Stderr = &out, &errs
			_ = p.Run() // the code is looked at below
			if code := record.Code(p.ProcessState.ExitCode()); code != c.want || out.Len() > 0 || !strings.HasPrefix(errs.String(), "error: ") || strings.Contains(errs.String(), "goroutine") {
				t.Errorf("exit code %d, want %d; said %q %q", code, c.want, out.String(), errs.String())
			}
		})
	}
}

func TestWorker_Doctor(t *testing.T) {
	code, out, errs := work(t, request.CommandDoctor, request.Doctor{Products: true})
	if code != record.OK {
		t.Fatalf("%d %s", code, errs)
	}
	m := decode[request.Machine](t, out)
	if !strings.HasPrefix(m.Libtorch, "2.11") || m.Shim == "" || m.Shim != m.ShimBuilt || m.CPU == "" || m.Threads < 1 || !(m.F32GFLOPS > 0) || !(m.BF16GFLOPS > 0) || m.LibtorchPath == "" {
		t.Errorf("got %+v", m)
	}
	t.Logf("libtorch %s, %s, %d threads, %.0f GFLOP/s f32, %.0f GFLOP/s bf16", m.Libtorch, m.CPU, m.Threads, float64(m.F32GFLOPS), float64(m.BF16GFLOPS))
}

// serveLines runs a bench over these lines and returns its replies.
func serveLines(t *testing.T, r request.Bench, lines string) []string {
	t.Helper()
	c := worker(t, request.CommandBench, r)
	c.Stdin = strings.NewReader(lines)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	replies := strings.SplitAfter(strings.TrimSpace(out.String())+"\n", "\n")
	return replies[:len(replies)-1]
}

// A bench answers every line with one line, and ends with its input.
func TestWorker_BenchInTurns(t *testing.T) {
	r := request.Bench{What: request.BenchServe, Config: configFile(t, "none", 20), Sets: []string{"model.vocab=300"}}
	replies := serveLines(t, r, "go 3\ngo 1\nprofile 2\nproducts 1\nquit\ngo 1\n")
	if len(replies) != 5 {
		t.Fatalf("%d lines: %q", len(replies), replies)
	}
	ready := decode[request.BenchReady](t, replies[0])
	first, second := decode[request.BenchTurn](t, replies[1]), decode[request.BenchTurn](t, replies[2])
	if ready.TokensPerStep != 64 || ready.Parameters == 0 || ready.Step == "" || !(ready.FLOPsFull > ready.FLOPsCausal) {
		t.Errorf("ready: %+v", ready)
	}
	if len(first.StepMS) != 3 || len(first.Losses) != 3 || len(first.GradNorms) != 3 || len(second.StepMS) != 1 || !(first.StepMS[0] > 0) || !(first.GradNorms[0] > 0) {
		t.Errorf("turns: %+v %+v", first, second)
	}
	profile := decode[request.BenchProfile](t, replies[3])
	outside := 0
	for _, s := range profile.Spans {
		if s.Thread < 0 {
			outside++
		}
		if !(s.Seconds >= 0) || !(s.Start >= 0) {
			t.Errorf("span %+v", s)
		}
	}
	if outside != 4 || !profile.Inside && len(profile.Spans) != 4 {
		t.Errorf("profile: %+v", profile)
	}
	products := decode[request.Products](t, replies[4])
	for _, p := range products.Rates {
		if !(p.GFLOPS > 0) || p.Threads != 1 { // the config has one thread
			t.Errorf("product: %+v", p)
		}
	}
	if len(products.Rates) != 2 {
		t.Errorf("products: %+v", products)
	}
}

func TestWorker_BenchGenerates(t *testing.T) {
	r := request.Bench{
		What: request.BenchGenerate, Config: configFile(t, "none", 20), Sets: []string{"model.vocab=300"},
		PromptTokens: 4, NewTokens: 5, Threads: 1, HF: filepath.Join(t.TempDir(), "hf"),
	}
	replies := serveLines(t, r, "go 2\n")
	turn := decode[request.GenerateTurn](t, replies[1])
	if len(turn.PrefillMS) != 2 || len(turn.DecodeMS) != 2 || !(turn.PrefillMS[0] > 0) || !(turn.DecodeMS[0] > 0) {
		t.Errorf("got %q", replies)
	}
	r.Model, r.Config, r.HF = r.HF, "", ""
	if again := decode[request.BenchReady](t, serveLines(t, r, "quit\n")[0]); again.Parameters != decode[request.BenchReady](t, replies[0]).Parameters {
		t.Errorf("the exported model: %+v, was %q", again, replies[0])
	}
	r.NewTokens = 20
	if code, _, errs := work(t, request.CommandBench, r); code != record.Usage || !strings.Contains(errs, "context of 16") {
		t.Errorf("too many tokens: %d %s", code, errs)
	}
}

func TestWorker_BenchSamples(t *testing.T) {
	r := request.Bench{
		What: request.BenchSample, Config: configFile(t, "none", 20), Sets: []string{"model.vocab=300"},
		Prompts: [][]int32{{1, 2, 3}, {4}}, Samples: 3, NewTokens: 5, Precision: "bf16", Threads: 1,
	}
	replies := serveLines(t, r, "go 2\ngreedy 4\n")
	turn, greedy := decode[request.SampleTurn](t, replies[1]), decode[request.GreedyTurn](t, replies[2])
	if len(turn.MS) != 2 || !(turn.MS[0] > 0) || turn.Tokens != 2*3*5 {
		t.Errorf("got %q", replies[1])
	}
	if len(greedy.Tokens) != 2 || len(greedy.Tokens[0]) != 4 {
		t.Errorf("got %q", replies[2])
	}
	for words, spoil := range map[string]func(*request.Bench){
		"context of 16":     func(r *request.Bench) { r.NewTokens = 14 },
		"precision \"f16\"": func(r *request.Bench) { r.Precision = "f16" },
		"at least 1":        func(r *request.Bench) { r.Prompts = nil },
	} {
		bad := r
		spoil(&bad)
		if code, _, errs := work(t, request.CommandBench, bad); code != record.Usage || !strings.Contains(errs, words) {
			t.Errorf("want %q: %d %s", words, code, errs)
		}
	}
}

func TestRun_PanicIsInternal(t *testing.T) {
	var errs bytes.Buffer
	if code := run([]string{"train", "{}"}, streams{out: &errs, errs: panicking{&errs}}); code != record.Internal {
		t.Errorf("code %d, want 70: %s", code, errs.String())
	}
}

// panicking breaks down at its first write.
type panicking struct{ then *bytes.Buffer }

func (p panicking) Write(text []byte) (int, error) {
	if p.then.Len() == 0 {
		p.then.WriteString("broken\n")
		panic("write\nfailed")
	}
	return p.then.Write(text)
}
