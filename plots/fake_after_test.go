package plots

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"plasticity/record"
)

// withNoise gives every record rises that grow with the square of the noise, and fall with weight decay.
func withNoise(records []Record) []Record {
	for i := range records {
		records[i].Noise = fakeNoise(&records[i])
	}
	return records
}

func fakeNoise(r *Record) *Noise {
	decay := float64(r.Info.WeightDecay)
	random := rand.New(rand.NewPCG(uint64(r.Info.Seed), math.Float64bits(decay)))
	sharp := (12 - 2*math.Min(decay, 3)) * math.Exp(0.05*random.NormFloat64())
	n := &Noise{
		Settings: NoiseSettings{TextDigest: "76543210", Context: 128, Tokens: 1 << 17, Seed: 1, Sigmas: []float64{0.01, 0.02, 0.05, 0.1, 0.2}, Draws: 4},
		Step:     r.Info.Steps, Loss: 2.5 + 0.1*decay, Enough: math.Sqrt(NoiseRise / sharp),
	}
	for _, sigma := range n.Settings.Sigmas {
		n.Rises = append(n.Rises, sharp*sigma*sigma)
	}
	return n
}

// partlyNoised are runs of one seed: one without noise, one of an older step, one with other sizes, one whose loss no size moved far enough.
func partlyNoised() []Record {
	records := withNoise(small().records(1))
	records[0].Noise = nil
	records[1].Noise.Step = 1000
	records[2].Noise.Settings.Sigmas, records[2].Noise.Rises = []float64{0.1}, records[2].Noise.Rises[3:4]
	records[3].Noise.Enough = math.NaN()
	return records
}

// withForgetting gives every fine-tuned record of a base forgetting that rises with the weight decay of its base.
func withForgetting(records []Record) []Record {
	decays := map[string]float64{}
	for _, r := range records {
		decays[r.Info.ID] = float64(r.Info.WeightDecay)
	}
	for i := range records {
		r := &records[i]
		if r.Info.Kind != kindFinetune || len(r.Info.Parents) == 0 {
			continue
		}
		random := rand.New(rand.NewPCG(uint64(r.Info.Seed), math.Float64bits(float64(*r.Metrics[len(r.Metrics)-1].ValLoss))))
		r.Forgetting = &Forgetting{
			Settings: ForgettingSettings{TextDigest: "76543210", Context: 128, Tokens: 1 << 17, Seed: 1}, Step: r.Info.Steps, Base: 2.5,
			Tuned: 2.8 + 0.1*decays[r.Info.Parents[0]] + 0.01*random.NormFloat64(),
		}
	}
	return records
}

// partlyForgot are base runs of one seed with two tasks: some fine-tuned runs without forgetting, of an older step or on other windows.
func partlyForgot() []Record {
	f := tuning()
	f.tasks, f.rates, f.answers, f.fresh = f.tasks[:2], f.rates[:1], false, 0
	bases := small().records(1)
	records := withForgetting(append(bases, f.of(bases)...))
	tuned := records[len(bases):]
	tuned[0].Forgetting = nil
	tuned[3].Forgetting.Step = 100
	tuned[5].Forgetting.Settings.Seed = 2
	return records
}

// looked are base runs that were looked into in every way, and what became of them.
func looked() []Record {
	records := withNoise(withGaps(withProbes(withRanks(small().records(3), 2, 6), 2)))
	for i := range records { // two signals that are logged
		for j := range records[i].Metrics {
			m := &records[i].Metrics[j]
			m.ParamNorm = record.Float(60 - 9*math.Sqrt(float64(records[i].Info.WeightDecay)) + float64(j)/50 + 0.4*float64(m.Loss))
		}
	}
	f := tuning()
	f.tasks, f.rates, f.answers, f.fresh = f.tasks[:2], f.rates[:1], false, 0
	return withForgetting(append(records, f.of(records)...))
}

// noiseJSON is the document that readNoise reads.
func noiseJSON(n *Noise, id string) map[string]any {
	var levels []any
	for i, sigma := range n.Settings.Sigmas {
		levels = append(levels, map[string]any{"sigma": sigma, "nats_per_token": n.Loss + n.Rises[i], "rise": n.Rises[i], "interval_95": []float64{2, 3}, "draws": []float64{}})
	}
	s := n.Settings
	d := map[string]any{
		"schema": resultSchema, "nats_per_token": n.Loss, "levels": levels, "rise": NoiseRise, "sigma_at_rise": n.Enough,
		"settings": map[string]any{
			"model": fmt.Sprintf("%s@%d", id, n.Step), "text_digest": s.TextDigest, "context": s.Context, "tokens": s.Tokens, "seed": s.Seed,
			"sigmas": s.Sigmas, "draws": s.Draws,
		},
	}
	if !finite(n.Enough) {
		d["sigma_at_rise"] = nil
	}
	return d
}

// forgettingJSON is the document that readForgetting reads.
func forgettingJSON(f *Forgetting, info record.Info) map[string]any {
	s := f.Settings
	return map[string]any{
		"schema": resultSchema, "base_nats_per_token": f.Base, "tuned_nats_per_token": f.Tuned, "forgetting_nats_per_token": f.Value(),
		"settings": map[string]any{
			"base": info.Parents[0] + "@1623", "model": fmt.Sprintf("%s@%d", info.ID, f.Step), "text_digest": s.TextDigest, "context": s.Context,
			"tokens": s.Tokens, "seed": s.Seed,
		},
	}
}

// saveAfter writes what a record has of noise and forgetting into its run's folder below root.
func saveAfter(t *testing.T, root string, r Record) {
	t.Helper()
	if r.Noise != nil {
		saveJSON(t, filepath.Join(root, r.Folder, record.AnalyzeDir, noiseDir, noiseFile), noiseJSON(r.Noise, r.Info.ID))
	}
	if r.Forgetting != nil {
		saveJSON(t, filepath.Join(root, r.Folder, record.AnalyzeDir, forgettingDir, forgettingFile), forgettingJSON(r.Forgetting, r.Info))
	}
}
