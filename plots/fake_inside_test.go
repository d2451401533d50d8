package plots

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"plasticity/record"
)

// withProbes gives every record probes of two tasks, in the embedding and so many layers.
func withProbes(records []Record, layers int) []Record {
	for i := range records {
		records[i].Probes = []Probes{fakeProbes(&records[i], "sotu-decade", layers), fakeProbes(&records[i], "synthetic-sentiment", layers)}
	}
	return records
}

// fakeProbes makes accuracies that rise with weight decay up to 1, and with layers.
func fakeProbes(r *Record, task string, layers int) Probes {
	decay := float64(r.Info.WeightDecay)
	random := rand.New(rand.NewPCG(uint64(r.Info.Seed), math.Float64bits(decay)+uint64(len(task))))
	p := Probes{
		Settings: ProbeSettings{Task: task, TextDigest: "0123456789abcdef", Pool: "last", Context: 256, Grid: []float64{0.01, 1}, Seed: 1},
		Step:     r.Info.Steps, Synthetic: task == "synthetic-sentiment", Labels: 2, Train: 2000, Val: 500, Test: 1000, Majority: 0.506,
	}
	base, gain := 0.62, 0.06
	if !p.Synthetic {
		p.Labels, p.Majority, base, gain = 8, 0.172, 0.31, 0.05
	}
	for i := range layers + 1 {
		at := base + gain*math.Min(decay, 2-decay/2) + 0.05*float64(i)/float64(layers+1) + 0.008*random.NormFloat64()
		p.Settings.Layers = append(p.Settings.Layers, i-1)
		p.Layers = append(p.Layers, LayerProbe{Layer: i - 1, Accuracy: at, Low: at - 0.03, High: at + 0.03, Control: p.Majority - 0.01*random.Float64()})
		if at > p.Layers[p.Best].Accuracy {
			p.Best = i
		}
	}
	return p
}

// partlyProbed are runs of one seed: one without probes, one of an older step, one with other pooling, one with a further task; eight layers.
func partlyProbed() []Record {
	records := withProbes(small().records(1), 8)
	records[0].Probes = nil
	records[1].Probes[0].Step = 1000
	for i := range records[3].Probes {
		records[3].Probes[i].Settings.Pool = "mean"
	}
	records[4].Probes = append(records[4].Probes, fakeProbes(&records[4], "sst2", 8))
	return records
}

// withGaps gives every record a gap that falls with weight decay.
func withGaps(records []Record) []Record {
	for i := range records {
		records[i].Gap = fakeGap(&records[i])
	}
	return records
}

func fakeGap(r *Record) *Gap {
	decay := float64(r.Info.WeightDecay)
	random := rand.New(rand.NewPCG(uint64(r.Info.Seed), math.Float64bits(decay)))
	comparison := func(heldOut string, at, wide float64) GapComparison {
		at += 0.1 * wide * random.NormFloat64()
		return GapComparison{HeldOut: heldOut, Windows: 512, Seen: 2.5, Unseen: 2.5 + at, Low: at - wide, High: at + wide}
	}
	return &Gap{
		Settings: GapSettings{TrainDigest: "fedcba98", HeldOutDigest: "76543210", Context: 256, Tokens: 1 << 17, Seed: 1}, Step: r.Info.Steps, Passes: 0.74,
		Comparisons: []GapComparison{comparison(GapValidation, 0.03-0.004*decay, 0.02), comparison(GapUnread, 0.004/(1+decay), 0.003)},
	}
}

// partlyGapped are runs of one seed: one without a gap, one of an older step, one with another draw, one without unread text.
func partlyGapped() []Record {
	records := withGaps(small().records(1))
	records[0].Gap = nil
	records[1].Gap.Step = 1000
	records[2].Gap.Settings.Seed = 2
	records[3].Gap.Comparisons = records[3].Gap.Comparisons[:1]
	return records
}

// probesJSON is the document that readProbes reads.
func probesJSON(p Probes, id string) map[string]any {
	fit := func(at, low, high float64) map[string]any {
		return map[string]any{"c": 1, "accuracy": at, "accuracy_interval_95": []float64{low, high}}
	}
	var layers []any
	for _, l := range p.Layers {
		layers = append(layers, map[string]any{
			"layer": l.Layer, "probe": fit(l.Accuracy, l.Low, l.High), "control": fit(l.Control, l.Control-0.01, l.Control+0.01), "selectivity": 0,
		})
	}
	s := p.Settings
	labels := make([]string, p.Labels)
	for i := range labels {
		labels[i] = fmt.Sprint("label ", i)
	}
	return map[string]any{
		"schema": resultSchema, "synthetic": p.Synthetic, "labels": labels, "train_texts": p.Train, "val_texts": p.Val, "test_texts": p.Test,
		"settings": map[string]any{
			"model": fmt.Sprintf("%s@%d", id, p.Step), "task": s.Task, "text_digest": s.TextDigest, "pool": s.Pool, "layers": s.Layers, "context": s.Context,
			"c_grid": s.Grid, "seed": s.Seed,
		},
		"summary": map[string]any{"majority": p.Majority, "best_layer": p.Layers[p.Best].Layer, "mean_accuracy": p.Mean()},
		"layers":  layers,
	}
}

// gapJSON is the document that readGap reads.
func gapJSON(g *Gap, id string) map[string]any {
	var comparisons []any
	for _, c := range g.Comparisons {
		comparisons = append(comparisons, map[string]any{
			"held_out": c.HeldOut, "sequences": c.Windows, "seen_documents": 9, "held_out_documents": 7, "seen_nats_per_token": c.Seen,
			"held_out_nats_per_token": c.Unseen, "gap_nats_per_token": c.Value(), "gap_interval_95_over_documents": []float64{c.Low, c.High},
		})
	}
	s := g.Settings
	return map[string]any{
		"schema": resultSchema, "passes": record.Float(g.Passes), "comparisons": comparisons,
		"settings": map[string]any{
			"model": fmt.Sprintf("%s@%d", id, g.Step), "train_digest": s.TrainDigest, "held_out_digest": s.HeldOutDigest, "context": s.Context,
			"tokens": s.Tokens, "seed": s.Seed, "samples": 100,
		},
	}
}

// saveInside writes what a record has of ranks, probes and a gap into its run's folder below root.
func saveInside(t *testing.T, root string, r Record) {
	t.Helper()
	if r.Ranks != nil {
		saveRanks(t, root, r)
	}
	for _, p := range r.Probes {
		saveJSON(t, filepath.Join(root, r.Folder, record.AnalyzeDir, probesFolder+p.Settings.Task, probesFile), probesJSON(p, r.Info.ID))
	}
	if r.Gap != nil {
		saveJSON(t, filepath.Join(root, r.Folder, record.AnalyzeDir, gapDir, gapFile), gapJSON(r.Gap, r.Info.ID))
	}
}

func saveJSON(t *testing.T, path string, document any) {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
