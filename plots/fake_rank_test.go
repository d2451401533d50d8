package plots

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"plasticity/record"
)

// withRanks gives every record ranks of so many layers that fall with weight decay and, measured at so many checkpoints, over training.
func withRanks(records []Record, layers, checkpoints int) []Record {
	for i := range records {
		records[i].Ranks = fakeRanks(&records[i], layers, checkpoints)
	}
	return records
}

// fakeRanks makes ranks of 4 heads of size 32.
func fakeRanks(r *Record, layers, checkpoints int) *Ranks {
	random := rand.New(rand.NewPCG(uint64(r.Info.Seed), math.Float64bits(float64(r.Info.WeightDecay))))
	point := func(done float64) RankPoint {
		p := RankPoint{Step: int64(done * float64(r.Info.Steps)), Tokens: int64(done * float64(r.Info.Tokens))}
		for layer := range layers {
			at := 20 + 5*float64(layer)/float64(layers)
			less := 1 + float64(r.Info.WeightDecay)*done
			noise := func() float64 { return random.NormFloat64() * 0.4 }
			round := func(v float64) float64 { return math.Round(4*v) / 4 }
			p.Layers = append(p.Layers, LayerRank{layer, [2]float64{round(at/less + noise()), round((at + 4) / math.Sqrt(less))}})
		}
		return p
	}
	out := &Ranks{Formula: RankFormula{Power: 1, Threshold: 0.95, Normalisation: "none"}, Heads: 4, HeadSize: 32, Last: point(1)}
	for i := range checkpoints {
		out.Training = append(out.Training, point(float64(i+1)/float64(checkpoints)))
	}
	return out
}

// partlyRanked are runs of one seed with ranks of eight layers: some without, of an older step, by another formula, without training.
func partlyRanked() []Record {
	records := withRanks(small().records(1), 8, 0)
	records[0].Ranks = nil
	records[1].Ranks.Last.Step = 1000
	for _, i := range []int{2, 3} {
		records[i].Ranks = fakeRanks(&records[i], 8, 4)
	}
	records[3].Ranks.Training = records[3].Ranks.Training[1:]
	records[3].Ranks.LeftOut = 1
	other := records[5].Ranks
	other.Formula = RankFormula{Power: 2, Threshold: 0.9, Normalisation: "head_size", FoldedNorms: true}
	for i := range other.Last.Layers {
		for product := range productCount {
			other.Last.Layers[i].Mean[product] /= 32
		}
	}
	return records
}

// saveRanks writes ranks as rank.json of a run below root, every head with the mean.
func saveRanks(t *testing.T, root string, r Record) {
	t.Helper()
	saveJSON(t, filepath.Join(root, r.Folder, record.AnalyzeDir, rankFile), rankJSON(r.Ranks, r.Info.ID))
}

// rankJSON is the document that readRanks reads.
func rankJSON(r *Ranks, id string) map[string]any {
	product := func(mean float64) map[string]any {
		heads := make([]float64, r.Heads)
		for i := range heads {
			heads[i] = mean
		}
		return map[string]any{"mean": mean, "heads": heads}
	}
	point := func(p RankPoint) map[string]any {
		var layers []any
		for _, l := range p.Layers {
			layers = append(layers, map[string]any{"layer": l.Layer, "qk": product(l.Mean[0]), "vp": product(l.Mean[1])})
		}
		return map[string]any{"step": p.Step, "tokens": p.Tokens, "layers": layers}
	}
	out := point(r.Last)
	out["schema"], out["formula"] = rankSchema, r.Formula
	out["model"] = map[string]any{"run": id, "heads": r.Heads, "head_size": r.HeadSize}
	var training []any
	for _, p := range r.Training {
		training = append(training, point(p))
	}
	out["training"], out["left_out"] = training, make([]int64, r.LeftOut)
	return out
}
