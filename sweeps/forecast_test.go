package sweeps

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/record"
)

// forecastOf lays out a grid whose data is not there.
func forecastOf(t *testing.T, vocab, tasks string) (Forecast, error) {
	t.Helper()
	dir := t.TempDir()
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "base.yaml"), []byte("model: {layers: 1, width: 32, heads: 2, ffn: 64, context: 64, vocab: "+vocab+"}\ndata: {train: gone/train, val: gone/val}\nbudget: {steps: 100}\ncheckpoint: {keep: 3}\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "tune.yaml"), []byte("budget: {epochs: 2}\nbatch: {sequences: 10}\noptimizer: {weight_decay: 0}\ncheckpoint: {keep: 1}\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "grid.yaml"), []byte("name: g\nbase: base.yaml\naxes: {optimizer.weight_decay: [0, 1]}\nseeds: [1, 2]\nevaluate: {samples: 3, max_tokens: 16}\nfinetune: [{task: "+tasks+", config: tune.yaml}]\n"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	grid, err := config.LoadGrid(filepath.Join(dir, "grid.yaml"), "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewForecast(grid, filepath.Join(dir, "runs"), filepath.Join(dir, "tasks"), Processor{Name: "slow", FLOPS: 1e9, Utilisation: 0.5})
}

func TestNewForecast_WithoutData(t *testing.T) {
	f, err := forecastOf(t, "512", "[race, gosource]")
	if err != nil {
		t.Fatal(err)
	}
	var flops float64
	for _, row := range f.Rows {
		c := row.Cell
		flops += float64(c.FLOPs)
		if c.ID != unknownID || c.Dir != "" || c.Parent != "" || c.Run.Init != "" || row.State != record.StatePlanned || c.Evaluation != nil && c.Evaluation.Model != "" {
			t.Errorf("%s has an identity: %+v", c.Label(), c)
		}
		// Two epochs of the authors' examples in batches of ten, and of the default number of a family.
		if want := map[string]int64{"race": 2 * 9274, "gosource": 2 * 400}[c.Task]; c.Kind == Finetune && c.Steps != want {
			t.Errorf("%s: %d steps, want %d", c.Label(), c.Steps, want)
		}
		if c.Kind == Evaluate && (c.Steps != 4934 || c.Tokens != 4934*4*16) {
			t.Errorf("%s: %d problems, %d tokens", c.Label(), c.Steps, c.Tokens)
		}
	}
	n := f.Rows[0].Cell.Parameters
	c := f.Cost
	if c.Models != 4 || c.Finetunings != 4*2+2*2 || c.Evaluations != 6 || c.PretrainTokens != 4*100*16*64 || c.Checkpoints != (4*3+12)*(12*n+1<<20) {
		t.Errorf("%+v", c)
	}
	if hours := flops / 0.5e9 / 3600; float64(c.FLOPs) != flops || float64(c.Hours) != hours {
		t.Errorf("%v hours for %v FLOPs, want %v", c.Hours, c.FLOPs, hours)
	}
	if len(f.Absent) != 4 || f.Absent[0] != "gone/train" || filepath.Base(f.Absent[2]) != "race" {
		t.Errorf("absent: %v", f.Absent)
	}
	var out bytes.Buffer
	if err := f.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{unknownID, "not there: gone/train, gone/val, ", "cost: 4 models on 410k tokens", "one slow at 50 % of 0.001 TFLOP/s", "nothing can be run yet"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	text, err := json.Marshal(f)
	if err != nil || !strings.Contains(string(text), `"id":"unknown","dir":""`) || !strings.Contains(string(text), `"cost":{"models":4`) {
		t.Errorf("%v: %s", err, text)
	}
}

func TestNewForecast_RefusesWhatNothingTells(t *testing.T) {
	if _, err := forecastOf(t, "512", "nonsense"); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "no task of this name is known") {
		t.Errorf("a task that nobody knows: %v", err)
	}
	if _, err := forecastOf(t, "0", "race"); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "model.vocab") {
		t.Errorf("a vocabulary that nobody knows: %v", err)
	}
}
