package model_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/optim"
	"plasticity/torch/torchtest"
)

// The tests of this file compare the model with transformers. With PLASTICITY_ORACLE=python they ask it; without, they read
// what it said before, from testdata. To renew that:
//
//	PLASTICITY_ORACLE=python go test ./model -run Oracle -update
var update = flag.Bool("update", false, "write what the oracle says, and golden texts, into testdata")

// What may differ.
const (
	logitTolerance    = 1e-4 // absolute
	gradientTolerance = 1e-3 // of a parameter's gradient, relative
	trainTolerance    = 1e-3 // of loss and gradient norm, relative
)

const oracleText = "The Union of these States is perpetual.\n\n  Fellow-citizens: 1861, “naïve” – é 漢 🙂 don't I'll\t12345 "

// oracleSpec is what oracle/model_parity.py reads.
type oracleSpec struct {
	Dir       string          `json:"dir"`
	Batches   []oracleBatch   `json:"batches"`
	ZLoss     float64         `json:"z_loss"`
	Optimizer oracleOptimizer `json:"optimizer"`
	Prompt    [][]int32       `json:"prompt"`
	NewTokens int             `json:"new_tokens"`
	Text      string          `json:"text"`
	Again     string          `json:"again"`  // where safetensors writes the same tensors again
	Resave    string          `json:"resave"` // where transformers writes the model again; empty: nowhere
}

type oracleBatch struct {
	Inputs  [][]int32 `json:"inputs"`
	Targets [][]int32 `json:"targets"`
}

type oracleOptimizer struct {
	LR       []float64     `json:"lr"` // of each step
	Betas    [2]float64    `json:"betas"`
	Eps      float64       `json:"eps"`
	ClipNorm float64       `json:"clip_norm"`
	Groups   []oracleGroup `json:"groups"`
}

type oracleGroup struct {
	WeightDecay float64  `json:"weight_decay"`
	Parameters  []string `json:"parameters"`
}

// oracleAnswer is what transformers says. In testdata, logits are those of a few positions and gradients a few elements
// with the norm.
type oracleAnswer struct {
	Versions  map[string]string    `json:"versions"`
	Class     string               `json:"class"`
	Weights   string               `json:"weights,omitempty"` // SHA-256 of the exported file, in testdata only
	Logits    []float32            `json:"logits"`
	Gradients map[string][]float32 `json:"gradients"`
	Norms0    map[string]float64   `json:"gradient_norms,omitempty"` // in testdata only
	Tokens    [][]int32            `json:"tokens"`
	IDs       []int32              `json:"ids"`
	Decoded   string               `json:"decoded"`
	EOS       []int32              `json:"eos"`
	Losses    []float64            `json:"losses"`
	Norms     []float64            `json:"norms"`
}

// The sizes of a comparison.
const (
	oracleSequences, oracleTime = 3, 17
	oracleSteps                 = 40
	oracleNew                   = 40
)

// question makes the batches and the recipe: four batches in turn, some targets left out, decay in three groups, a
// learning rate that warms up and decays.
func question(t *testing.T, cfg config.Model, m *model.Transformer) oracleSpec {
	t.Helper()
	spec := oracleSpec{NewTokens: oracleNew, Text: oracleText, Optimizer: oracleOptimizer{Betas: [2]float64{0.9, 0.95}, Eps: 1e-8, ClipNorm: 1}}
	peak := 5e-3
	if cfg.Family == config.OLMo2 {
		// Weights of standard deviation 0.02 move relatively faster: at 5e-3 rounding grows a thousandfold within forty steps.
		spec.ZLoss, peak = 1e-3, 2e-3
	}
	for b := range uint64(4) {
		inputs, targets := ids(20+b, oracleSequences*oracleTime, cfg.Vocab), ids(30+b, oracleSequences*oracleTime, cfg.Vocab)
		targets[b], targets[7] = -1, -1
		spec.Batches = append(spec.Batches, oracleBatch{rows(inputs, oracleTime), rows(targets, oracleTime)})
	}
	spec.Prompt = rows(ids(40, 2*9, cfg.Vocab), 9)
	for step := range oracleSteps {
		spec.Optimizer.LR = append(spec.Optimizer.LR, peak*math.Min(float64(step+1)/8, 1)*(1-0.9*float64(step)/oracleSteps))
	}
	for _, g := range groups(t, m) {
		group := oracleGroup{WeightDecay: g.WeightDecay}
		for _, p := range g.Params {
			group.Parameters = append(group.Parameters, p.Name)
		}
		spec.Optimizer.Groups = append(spec.Optimizer.Groups, group)
	}
	return spec
}

func groups(t *testing.T, m *model.Transformer) []optim.Group {
	t.Helper()
	g, err := optim.Assign(m.Registry().Params(), 0.1, []string{"*norm.weight"}, []optim.Rule{{Match: "*mlp.up_proj.weight", WeightDecay: 2}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func rows(flat []int32, width int) [][]int32 { return slices.Collect(slices.Chunk(flat, width)) }

// ask runs the oracle over the exported folder.
func ask(t *testing.T, python string, spec oracleSpec) oracleAnswer {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "spec.json"), filepath.Join(dir, "out.json")
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, text, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(context.Background(), python, filepath.Join("..", "oracle", "model_parity.py"), in, out)
	command.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false")
	if printed, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	return readAnswer(t, out)
}

func readAnswer(t *testing.T, path string) oracleAnswer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; to make it: PLASTICITY_ORACLE=python go test ./model -run Oracle -update", err)
	}
	var a oracleAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// keepLogits and keepGradient say what of an answer goes into testdata.
func keepLogits(all []float32, vocab int) []float32 {
	var kept []float32
	for _, position := range []int{0, 5, oracleTime - 1, oracleSequences*oracleTime - 1} {
		kept = append(kept, all[position*vocab:(position+1)*vocab]...)
	}
	return kept
}

func keepGradient(all []float32) []float32 {
	var kept []float32
	for i := 0; i < len(all); i += max(1, len(all)/11) {
		kept = append(kept, all[i])
	}
	return kept
}

// shorten makes an answer small enough for testdata.
func (a oracleAnswer) shorten(vocab int, weights string) oracleAnswer {
	a.Weights, a.Logits = weights, keepLogits(a.Logits, vocab)
	short, norms := map[string][]float32{}, map[string]float64{}
	for name, g := range a.Gradients {
		short[name], norms[name] = keepGradient(g), norm32(g)
	}
	a.Gradients, a.Norms0 = short, norms
	return a
}

// evidence is a line of the table that the test prints.
type evidence struct{ logits, gradient, loss, norm float64 }

func TestOracle_Transformers(t *testing.T) {
	tokenizer, err := data.LoadTokenizer(filepath.Join("testdata", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]evidence{}
	var versions map[string]string
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			table[name], versions = compare(t, name, cfg, tokenizer)
		})
	}
	text := fmt.Sprintf("against %v; live: %v\n%-24s %12s %12s %12s %12s\n", versions, os.Getenv("PLASTICITY_ORACLE") != "",
		"", "logits, abs", "gradient", "loss", "grad norm")
	for _, name := range slices.Sorted(maps.Keys(table)) {
		e := table[name]
		text += fmt.Sprintf("%-24s %12.2e %12.2e %12.2e %12.2e\n", name, e.logits, e.gradient, e.loss, e.norm)
	}
	t.Log(text)
}

// compare exports a model, hears the oracle and compares everything.
func compare(t *testing.T, name string, cfg config.Model, tokenizer *data.Tokenizer) (evidence, map[string]string) {
	t.Helper()
	m := build(t, cfg, torch.Float32)
	dir := filepath.Join(t.TempDir(), "hf")
	if err := model.SaveHF(record.OS(), dir, m, model.ExportOptions{Tokenizer: tokenizer}); err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(weights)
	digest := hex.EncodeToString(sum[:])
	spec := question(t, cfg, m)
	golden := filepath.Join("testdata", "oracle", name+".json")
	var answer oracleAnswer
	live := os.Getenv("PLASTICITY_ORACLE") != ""
	if live {
		spec.Dir, spec.Again, spec.Resave = dir, filepath.Join(t.TempDir(), "again"), filepath.Join(t.TempDir(), "resaved")
		answer = ask(t, os.Getenv("PLASTICITY_ORACLE"), spec)
		compareFiles(t, m, spec, weights)
		if *update {
			writeAnswer(t, golden, answer.shorten(cfg.Vocab, digest))
		}
	} else if answer = readAnswer(t, golden); answer.Weights != digest {
		t.Fatalf("the initial weights are %s and those in %s were %s: renew it with PLASTICITY_ORACLE=python go test ./model -run Oracle -update", digest, golden, answer.Weights)
	}
	var e evidence
	e.logits = compareLogits(t, m, spec, answer, live)
	e.gradient = compareGradients(t, m, spec, answer)
	compareText(t, tokenizer, m, spec, answer)
	e.loss, e.norm = compareTraining(t, m, spec, answer)
	return e, answer.Versions
}

func writeAnswer(t *testing.T, path string, a oracleAnswer) {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// compareFiles checks that safetensors itself writes the bytes that were exported, and that a folder saved by transformers
// loads and gives the same weights.
func compareFiles(t *testing.T, m *model.Transformer, spec oracleSpec, weights []byte) {
	t.Helper()
	again, err := os.ReadFile(spec.Again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, weights) {
		t.Errorf("safetensors writes other bytes for the same tensors: %.200q, here %.200q", again[8:], weights[8:])
	}
	resaved, source, err := model.Open(spec.Resave, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer resaved.Close()
	if source.Config != m.Config() {
		t.Errorf("saved by transformers: %+v, exported: %+v", source.Config, m.Config())
	}
	for _, p := range m.Registry().Params() {
		a, errA := m.Registry().Read(nn.Params, p.Name)
		b, errB := resaved.Registry().Read(nn.Params, p.Name)
		if errA != nil || errB != nil || !slices.Equal(a, b) {
			t.Errorf("%s differs in the folder saved by transformers (%v, %v)", p.Name, errA, errB)
		}
	}
}

func compareLogits(t *testing.T, m *model.Transformer, spec oracleSpec, answer oracleAnswer, live bool) float64 {
	t.Helper()
	got := logits(t, m, slices.Concat(spec.Batches[0].Inputs...), oracleSequences, oracleTime)
	if !live {
		got = keepLogits(got, m.Config().Vocab)
	}
	worst := 0.0
	for i := range got {
		worst = math.Max(worst, math.Abs(float64(got[i])-float64(answer.Logits[i])))
	}
	if len(got) != len(answer.Logits) || !(worst <= logitTolerance) {
		t.Errorf("logits differ by %v", worst)
	}
	return worst
}

func compareGradients(t *testing.T, m *model.Transformer, spec oracleSpec, answer oracleAnswer) float64 {
	t.Helper()
	b := spec.Batches[0]
	if err := m.Registry().ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	lossOf(t, m, slices.Concat(b.Inputs...), slices.Concat(b.Targets...), oracleSequences, spec.ZLoss, true)
	worst := 0.0
	for _, p := range m.Registry().Params() {
		got, err := m.Registry().Read(nn.Grads, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := answer.Gradients[p.Name]
		if !ok {
			t.Errorf("transformers has no %s", p.Name)
			continue
		}
		relative, scale := 0.0, norm32(want)
		if norm, short := answer.Norms0[p.Name]; short {
			relative = math.Abs(norm32(got)/norm - 1)
			got, scale = keepGradient(got), norm*math.Sqrt(float64(len(want))/float64(p.Len()))
		}
		difference := make([]float32, len(want))
		for i := range want {
			difference[i] = got[i] - want[i]
		}
		relative = math.Max(relative, norm32(difference)/scale)
		if !(relative <= gradientTolerance) { // NaN is no agreement
			t.Errorf("the gradient of %s differs by %v of its norm", p.Name, relative)
		}
		worst = math.Max(worst, relative)
	}
	if len(answer.Gradients) != len(m.Registry().Params()) {
		t.Errorf("transformers has %d parameters, here are %d", len(answer.Gradients), len(m.Registry().Params()))
	}
	return worst
}

// compareText compares the tokenizer and the greedy continuation.
func compareText(t *testing.T, tokenizer *data.Tokenizer, m *model.Transformer, spec oracleSpec, answer oracleAnswer) {
	t.Helper()
	if got := tokenizer.Encode(spec.Text); !slices.Equal(got, answer.IDs) || answer.Decoded != spec.Text {
		t.Errorf("ids %v, AutoTokenizer has %v, which is %q", got, answer.IDs, answer.Decoded)
	}
	if eos, _ := tokenizer.EOS(); !slices.Equal(answer.EOS, []int32{eos, eos, eos}) {
		t.Errorf("end of text %d; tokenizer, config and generation config say %v", eos, answer.EOS)
	}
	if got := greedy(t, m, spec.Prompt, spec.NewTokens); !slices.EqualFunc(got, answer.Tokens, slices.Equal) {
		t.Errorf("greedy continuation %v, of transformers %v", got, answer.Tokens)
	}
}

// greedy continues the prompts with the cache.
func greedy(t testing.TB, m *model.Transformer, prompt [][]int32, count int) [][]int32 {
	t.Helper()
	c, err := m.NewCache(len(prompt), len(prompt[0])+count)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, vocab := make([][]int32, len(prompt)), m.Config().Vocab
	next, width := slices.Concat(prompt...), len(prompt[0])
	for range count {
		scores := decode(t, m, c, next, width)
		next, width = nil, 1
		for b := range prompt {
			row := scores[b*vocab : (b+1)*vocab]
			best := int32(slices.Index(row, slices.Max(row)))
			next = append(next, best)
			out[b] = append(out[b], best)
		}
	}
	return out
}

func compareTraining(t *testing.T, m *model.Transformer, spec oracleSpec, answer oracleAnswer) (worstLoss, worstNorm float64) {
	t.Helper()
	o := spec.Optimizer
	adam := optim.NewAdamW(m.Registry(), groups(t, m), optim.Options{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, ClipNorm: o.ClipNorm})
	var first, last float64
	for step, lr := range o.LR {
		b := spec.Batches[step%len(spec.Batches)]
		if err := m.Registry().ZeroGrad(); err != nil {
			t.Fatal(err)
		}
		loss := lossOf(t, m, slices.Concat(b.Inputs...), slices.Concat(b.Targets...), oracleSequences, spec.ZLoss, true)
		norm, err := adam.GradNorm()
		if err != nil {
			t.Fatal(err)
		}
		if err := adam.Step(lr, 1, norm); err != nil {
			t.Fatal(err)
		}
		worstLoss = math.Max(worstLoss, math.Abs(loss/answer.Losses[step]-1))
		worstNorm = math.Max(worstNorm, math.Abs(norm/answer.Norms[step]-1))
		if step == 0 {
			first = loss
		}
		last = loss
	}
	if !(worstLoss <= trainTolerance) || !(worstNorm <= trainTolerance) || len(answer.Losses) != len(o.LR) {
		t.Errorf("%d steps: losses differ by %v, gradient norms by %v", len(o.LR), worstLoss, worstNorm)
	}
	if last > 0.98*first {
		t.Errorf("the loss went from %v to %v: nothing was learned, so the comparison means little", first, last)
	}
	return worstLoss, worstNorm
}
