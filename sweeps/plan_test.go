package sweeps

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/record"
)

// loadGrid writes a grid with these axes beside a small base config and loads it.
func loadGrid(t *testing.T, name, axes string) (config.Grid, error) {
	t.Helper()
	dir := t.TempDir()
	base := `
name: tiny
model: {family: llama2, layers: 2, width: 64, heads: 2, kv_heads: 2, ffn: 176, context: 128}
data: {train: train, val: val}
budget: {steps: 100}
batch: {sequences: 16}
`
	grid := fmt.Sprintf("name: %s\nclaim: a claim\nbase: base.yaml\naxes: {%s}\nseeds: [1, 2]\n", name, axes)
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "base.yaml"), []byte(base), 0o644),
		os.WriteFile(filepath.Join(dir, "grid.yaml"), []byte(grid), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	return config.LoadGrid(filepath.Join(dir, "grid.yaml"), "", nil, nil)
}

func someFacts() Facts {
	return Facts{
		Text: func(config.Run) (config.DataFacts, error) {
			return config.DataFacts{Vocab: 512, TrainTokens: 1e6, ValTokens: 1e5, TrainDigest: "a", ValDigest: "b", TokenizerDigest: "c"}, nil
		},
		Task: func(folder string, _ Cell) (TaskFacts, error) {
			name := filepath.Base(folder)
			facts := config.DataFacts{Vocab: 512, TrainTokens: 1000, ValTokens: 500, Examples: 100, TrainDigest: name, ValDigest: name, TokenizerDigest: "c", Task: name}
			return TaskFacts{DataFacts: facts, Problems: 50, Scored: name != "prose"}, nil
		},
	}
}

func TestNew_LaysOutTheGridInOrder(t *testing.T) {
	grid, err := loadGrid(t, "g", "optimizer.weight_decay: [0, 0.1, 1]")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(grid, "runs", "tasks", someFacts())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Cells) != 6 || p.Dir != filepath.Join("runs", "g") || p.Claim != "a claim" {
		t.Fatalf("plan: %+v", p)
	}
	seen := make(map[string]bool)
	for i, c := range p.Cells {
		label := fmt.Sprintf("weight_decay=%s seed=%d", []string{"0", "0.1", "1"}[i/2], 1+i%2)
		if c.Index != i || c.Label() != label || c.Dir != filepath.Join(p.Dir, c.ID) || c.Steps != 100 || c.Tokens != 100*16*128 {
			t.Errorf("cell %d: %s, want %s: %+v", i, c.Label(), label, c)
		}
		if seen[c.ID] {
			t.Errorf("two cells with id %s", c.ID)
		}
		seen[c.ID] = true
		if full, _ := c.Run.Model.FLOPsPerToken(128); c.Parameters == 0 || c.FLOPs <= record.Float(6*c.Tokens) || full <= 0 {
			t.Errorf("cell %d: %d parameters, %v FLOPs", i, c.Parameters, c.FLOPs)
		}
	}
	if again, err := New(grid, "elsewhere", "tasks", someFacts()); err != nil || again.Cells[3].ID != p.Cells[3].ID {
		t.Errorf("the id depends on the place: %v", err)
	}
	if cell, err := p.find(p.Cells[2].ID[:12]); err != nil || cell.ID != p.Cells[2].ID {
		t.Errorf("find by prefix: %v %v", cell.ID, err)
	}
}

func TestNew_RefusesTwoCellsThatAreOneRun(t *testing.T) {
	grid, err := loadGrid(t, "g", "threads: [1, 2]") // the threads are not part of what a run is
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(grid, "runs", "tasks", someFacts())
	if record.CodeOf(err) != record.Usage {
		t.Fatalf("New: %v", err)
	}
	for _, word := range []string{"threads=1 seed=1", "threads=2 seed=1"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %q", err, word)
		}
	}
}

func TestNew_RefusesHostileNamesAndMissingThings(t *testing.T) {
	grid, err := loadGrid(t, "g", "optimizer.weight_decay: [0]")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "-rf", ".hidden", "a\nb", "a\x00", strings.Repeat("x", 65), "ü"} {
		bad := grid
		bad.Name = name
		if _, err := New(bad, t.TempDir(), "tasks", someFacts()); record.CodeOf(err) != record.Usage {
			t.Errorf("name %q: %v", name, err)
		}
	}
	missing := someFacts()
	missing.Text = func(config.Run) (config.DataFacts, error) {
		return config.DataFacts{}, record.Fail(record.BadData, "no such data: run `plasticity data prepare`")
	}
	_, err = New(grid, "runs", "tasks", missing)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "weight_decay=0 seed=1") {
		t.Errorf("missing data: %v", err)
	}
	if _, _, err := parentOf(t.TempDir()); record.CodeOf(err) != record.Usage {
		t.Errorf("init that is no run: %v", err)
	}
}
