package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/cmd/internal/request"
	"plasticity/data/task"
	"plasticity/eval"
	"plasticity/model"
	"plasticity/record"
)

// guessing is a task whose answers nobody can know, and two Llama runs: one that has hardly seen anything, and one fine-tuned on the
// task, which answers yes or no and is right half of the time.
func guessing(t *testing.T) (folder, base, tuned string) {
	t.Helper()
	side := func(name string, n int) []task.Example {
		var out []task.Example
		for i := range n {
			answer := []string{"yes", "no"}[i*7%11%2]
			out = append(out, task.Example{
				ID: fmt.Sprint("guess-", name, "-", i), Instruction: fmt.Sprint(name, " ", i), Response: " the answer is " + answer, Answer: answer, Level: "1", Source: "guess",
			})
		}
		return out
	}
	dir := t.TempDir()
	folder, base, tuned = filepath.Join(dir, "task"), filepath.Join(dir, "base"), filepath.Join(dir, "tuned")
	if _, err := task.Write(&task.Task{Name: "guess", Kind: task.Word, Train: side("fellow", 64), Test: side("citizen", 80)}, folder); err != nil {
		t.Fatal(err)
	}
	for _, r := range []request.Train{
		{Config: configFile(t, corpus(t), 5), Sets: []string{"model.family=llama2", "model.context=64", "model.width=32"}, Out: base},
		{Config: tuningFile(t, folder), Init: base, Out: tuned},
	} {
		r.Resume, r.Quiet = "auto", true
		if code, _, errs := work(t, request.CommandTrain, r); code != record.OK {
			t.Fatal(errs)
		}
	}
	return folder, base, tuned
}

func tuningFile(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tune.yaml")
	text := fmt.Sprintf(`name: tuned
precision: f32
threads: 1
data: {task: %s}
budget: {steps: 150}
batch: {sequences: 8}
optimizer: {lr: 2e-2, weight_decay: 0}
eval: {every_steps: 150}
checkpoint: {every_steps: 150}
`, folder)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// learn makes a verifier of a run's answers.
func learn(t *testing.T, r request.Verifier) (code record.Code, out, errs string) {
	t.Helper()
	r.Samples, r.MaxTokens, r.Temperature, r.RepetitionPenalty, r.Precision, r.Seed, r.Threads, r.JSON = 4, 16, 1, 1, "f32", 3, 1, true
	r.Steps, r.Batch, r.LR = 30, 16, 1e-2
	return work(t, request.CommandVerifier, r)
}

// A verifier is made of a fine-tuned run's answers, says how good it is, and gives every sampled answer of an evaluation a reward;
// cut off at any byte of the rewards, the evaluation ends as the undisturbed one.
func TestVerifier_FromAnswersToRewards(t *testing.T) {
	folder, base, tuned := guessing(t)
	made := filepath.Join(t.TempDir(), "verifier")
	code, out, errs := learn(t, request.Verifier{Model: tuned, Task: folder, Out: made, Quiet: true})
	if code != record.OK || errs != "" {
		t.Fatalf("%d %s", code, errs)
	}
	said := decode[struct {
		Out      string
		Verifier verifierOrigin
	}](t, out).Verifier
	if said.Problems != 64 || said.Train.Answers != 48*4 || said.Held.Answers != 16*4 || !(said.AUC.CI95[0] <= said.AUC.Value) ||
		!strings.Contains(said.Model, "@150") || said.Task != "guess" {
		t.Errorf("%s", out)
	}
	first := folderOf(t, made)
	var written verifierOrigin
	if err := json.Unmarshal([]byte(first[model.VerifierFile]), &written); err != nil || written.AUC != said.AUC {
		t.Errorf("%v: %s", err, first[model.VerifierFile])
	}
	if code, _, errs := learn(t, request.Verifier{Model: tuned, Task: folder, Out: made}); code != record.OK || !maps.Equal(folderOf(t, made), first) {
		t.Errorf("the same again is another verifier: %d %s", code, errs)
	}

	r := request.EvalTask{
		Model: tuned, Task: folder, Out: filepath.Join(t.TempDir(), "calm"), Samples: 3, MaxTokens: 16, Temperature: 1, RepetitionPenalty: 1,
		Precision: "f32", Seed: 5, Threads: 1, JSON: true, Reward: made,
	}
	if code, out, errs = work(t, request.CommandEvalTask, r); code != record.OK {
		t.Fatalf("%d %s", code, errs)
	}
	results := decode[struct{ Results map[string]any }](t, out).Results
	if results["rm@3"] == nil || results["orm"] == nil || results["orm_ci95"] == nil || results["pass@3"] == 0.0 {
		t.Errorf("%s", out)
	}
	want := folderOf(t, r.Out)
	if !strings.Contains(want[settingsFile], `"reward": "hf-`) || strings.Count(want[rewardsFile], "\n") != 80 || strings.Contains(want[responsesFile], "reward") {
		t.Errorf("%s\n%.200s", want[settingsFile], want[rewardsFile])
	}
	cutRewards(t, r, want)
	refuseRewards(t, r, want, base)

	if said.ToldApart != "instruction" || !strings.Contains(said.describe("x"), "told apart by their instruction") {
		t.Errorf("%+v", said)
	}

	for name, c := range map[string]struct {
		model, out string
		code       record.Code
		words      string
	}{
		"nothing right":      {base, filepath.Join(t.TempDir(), "none"), record.BadData, "0 of the 192 answers to learn from"},
		"somebody's folder":  {tuned, tuned, record.NotPermitted, "choose another folder"},
		"a verifier's model": {made, filepath.Join(t.TempDir(), "none"), record.BadData, "architectures"},
	} {
		code, out, errs := learn(t, request.Verifier{Model: c.model, Task: folder, Out: c.out, Quiet: true})
		if code != c.code || out != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%s: %d %q %q", name, code, out, errs)
		}
		if _, err := os.Stat(c.out); c.out != tuned && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written: %v", name, err)
		}
	}
}

// An instruction with several worked responses is one problem.
func TestAnswered_TakesAnInstructionOnce(t *testing.T) {
	var train []task.Example
	for i := range 30 {
		train = append(train, task.Example{ID: fmt.Sprint("t", i), Instruction: fmt.Sprint("question ", i%10), Response: fmt.Sprint("so ", i), Answer: "yes", Level: "1", Source: "x"})
	}
	test := []task.Example{{ID: "a", Instruction: "another", Response: "no", Answer: "no", Level: "1", Source: "x"}}
	dir := filepath.Join(t.TempDir(), "task")
	if _, err := task.Write(&task.Task{Name: "many", Kind: task.Word, Train: train, Test: test}, dir); err != nil {
		t.Fatal(err)
	}
	set, err := task.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := answered(set, 0); err != nil || !slices.Equal(got, train[:10]) {
		t.Errorf("%v %v", got, err)
	}
}

// cutRewards cuts the rewards of an evaluation off at many bytes and lets it go on.
func cutRewards(t *testing.T, r request.EvalTask, want map[string]string) {
	t.Helper()
	whole := want[rewardsFile]
	line := strings.IndexByte(whole, '\n') + 1
	for _, n := range []int{0, 1, line - 1, line, line + 20, len(whole) / 2, len(whole) - 1} {
		r.Out = filepath.Join(t.TempDir(), fmt.Sprint("cut", n))
		put(t, r.Out, map[string]string{settingsFile: want[settingsFile], responsesFile: want[responsesFile], rewardsFile: whole[:n]})
		if code, _, errs := work(t, request.CommandEvalTask, r); code != record.OK {
			t.Fatalf("cut at %d: %d %s", n, code, errs)
		}
		sameFiles(t, fmt.Sprintf("cut at byte %d of %d", n, len(whole)), folderOf(t, r.Out), want)
	}
}

// refuseRewards gives an evaluation rewards and reward models that are not its own.
func refuseRewards(t *testing.T, r request.EvalTask, want map[string]string, base string) {
	t.Helper()
	out := r.Out
	damaged := filepath.Join(t.TempDir(), "damaged")
	files := folderOf(t, r.Reward)
	weights := []byte(files["model.safetensors"])
	copy(weights[len(weights)-4:], []byte{0, 0, 0xc0, 0x7f}) // NaN
	files["model.safetensors"] = string(weights)
	put(t, damaged, files)
	bare := filepath.Join(t.TempDir(), "bare")
	delete(files, "tokenizer.json")
	put(t, bare, files)
	lines := strings.SplitAfter(want[rewardsFile], "\n")
	for name, c := range map[string]struct {
		reward  string
		rewards string // what is there; empty: a new folder
		code    record.Code
		words   string
	}{
		"a run":           {base, "", record.Usage, "plasticity verifier"},
		"nothing":         {"nowhere", "", record.BadData, "nowhere"},
		"damaged weights": {damaged, "", record.BadData, "is NaN"},
		"no tokenizer":    {bare, "", record.BadData, "tokenizer.json"},
		"no rewards":      {"", lines[0], record.Mismatch, settingsFile},
		"another order":   {r.Reward, lines[1] + lines[0], record.BadData, rewardsFile + ":1"},
		"one missing":     {r.Reward, lines[0] + lines[2], record.BadData, rewardsFile + ":2"},
		"too few":         {r.Reward, lines[0] + strings.Replace(lines[1], "[", "[1],\"x\":[", 1), record.BadData, rewardsFile + ":2"},
		"too many":        {r.Reward, want[rewardsFile] + lines[0], record.BadData, rewardsFile + ":81"},
	} {
		r := r
		r.Reward, r.Out = c.reward, filepath.Join(t.TempDir(), "other")
		if c.rewards != "" {
			put(t, r.Out, map[string]string{settingsFile: want[settingsFile], responsesFile: want[responsesFile], rewardsFile: c.rewards})
		}
		if code, said, errs := work(t, request.CommandEvalTask, r); code != c.code || said != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%s: %d %q %q, want %d with %q", name, code, said, errs, c.code, c.words)
		}
		if _, err := os.Stat(r.Out); c.rewards == "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(r.Out, "results.json")); err == nil {
			t.Errorf("%s: there are results", name)
		}
	}
	sameFiles(t, "the first evaluation", folderOf(t, out), want)
}

// transformers loads the folder that the program wrote and gives the rewards of
// rewards.jsonl.
func TestVerifier_OracleRewards(t *testing.T) {
	python := os.Getenv("PLASTICITY_ORACLE")
	if python == "" {
		t.Skip("needs transformers: make oracle")
	}
	folder, _, tuned := guessing(t)
	made, out := filepath.Join(t.TempDir(), "verifier"), filepath.Join(t.TempDir(), "scores")
	if code, _, errs := learn(t, request.Verifier{Model: tuned, Task: folder, Out: made}); code != record.OK {
		t.Fatal(errs)
	}
	r := request.EvalTask{
		Model: tuned, Task: folder, Out: out, Samples: 3, MaxTokens: 16, Temperature: 1, RepetitionPenalty: 1, Precision: "f32", Seed: 5, Threads: 1, Reward: made,
	}
	if code, _, errs := work(t, request.CommandEvalTask, r); code != record.OK {
		t.Fatal(errs)
	}
	set, err := task.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	source, err := model.LocateReward(made)
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := source.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := readResponses(filepath.Join(out, responsesFile))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readRewards(filepath.Join(out, rewardsFile), problems); err != nil || n != len(problems) {
		t.Fatal(n, err)
	}
	spec := map[string]any{"dir": made}
	var texts [][]int32
	var ours []float64
	for i, p := range problems {
		for k, response := range p.Responses {
			texts, ours = append(texts, eval.AnswerTokens(tokenizer, set.Test()[i], response)), append(ours, p.Rewards[k])
		}
	}
	spec["texts"] = texts
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	in, answers := filepath.Join(t.TempDir(), "spec.json"), filepath.Join(t.TempDir(), "out.json")
	put(t, filepath.Dir(in), map[string]string{"spec.json": string(text)})
	if said, err := exec.Command(python, filepath.Join("..", "..", "oracle", "reward_parity.py"), in, answers).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if text, err = os.ReadFile(answers); err != nil {
		t.Fatal(err)
	}
	var theirs struct{ Logits []float64 }
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&theirs); err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for i := range ours {
		worst = max(worst, math.Abs(ours[i]-theirs.Logits[i]))
	}
	spread := slices.Max(theirs.Logits) - slices.Min(theirs.Logits)
	if !(worst <= 1e-4 && worst <= 1e-3*spread) {
		t.Errorf("rewards differ by %v from transformers', which reach over %v", worst, spread)
	}
	t.Logf("%d rewards of a verifier that the program wrote, over a range of %.2g, largest difference %.1e", len(ours), spread, worst)
}
