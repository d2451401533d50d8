package plots

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"plasticity/record"
)

const (
	rankFile     = "rank.json"
	rankSchema   = 1
	maxRankBytes = 64 << 20
	maxRankSize  = 4096 // layers, heads or head size of a model
	productCount = 2    // W_QK and W_VP
)

// RankFormula is what decides the pseudo-rank: runs compare only when it is equal.
type RankFormula struct {
	Power         int     `json:"power"`         // of the singular values that are summed
	Threshold     float64 `json:"threshold"`     // the part of the sum that is to be reached
	Normalisation string  `json:"normalisation"` // none, or head_size: divided by it
	FoldedNorms   bool    `json:"folded_norms"`  // gains of the norms on queries and keys are multiplied in
}

// Ranks is what rank.json says of a run's attention: pseudo-ranks, means over query heads.
type Ranks struct {
	Formula  RankFormula
	Heads    int         // query heads, which means are over
	HeadSize int         // the highest rank
	Last     RankPoint   // the newest checkpoint
	Training []RankPoint // ascending in steps; empty unless every checkpoint was measured
	LeftOut  int         // checkpoints that were damaged
}

// RankPoint is a model at one point of its training.
type RankPoint struct {
	Step, Tokens int64
	Layers       []LayerRank // ascending
}

// LayerRank is the mean pseudo-rank of the two products of a layer.
type LayerRank struct {
	Layer int // from 0 on
	Mean  [productCount]float64
}

// products names the products of attention in the order of LayerRank.Mean.
func products() [productCount]string { return [productCount]string{"W_QK", "W_VP"} }

// normalised tells whether ranks are shares of the head size.
func (f RankFormula) normalised() bool { return f.Normalisation == "head_size" }

// check refuses a formula that this package cannot put into words.
func (f RankFormula) check() error {
	if (f.Power != 1 && f.Power != 2) || !(f.Threshold > 0 && f.Threshold <= 1) || (f.Normalisation != "none" && !f.normalised()) {
		return errors.New("its formula has no meaning: measure again (plasticity analyze rank)")
	}
	return nil
}

// rankDocument is rank.json as far as it is read.
type rankDocument struct {
	Schema  int         `json:"schema"`
	Formula RankFormula `json:"formula"`
	Model   struct {
		Run      string `json:"run"`
		Heads    int    `json:"heads"`
		HeadSize int    `json:"head_size"`
	} `json:"model"`
	rankDocumentPoint
	Training []rankDocumentPoint `json:"training"`
	LeftOut  []int64             `json:"left_out"`
}

type rankDocumentPoint struct {
	Step   int64 `json:"step"`
	Tokens int64 `json:"tokens"`
	Layers []struct {
		Layer *int                `json:"layer"`
		QK    rankDocumentProduct `json:"qk"`
		VP    rankDocumentProduct `json:"vp"`
	} `json:"layers"`
}

type rankDocumentProduct struct {
	Mean  float64   `json:"mean"`
	Heads []float64 `json:"heads"`
}

// readRanks reads rank.json of a run; nil when there is none. What is damaged is a problem.
func readRanks(run *record.Run) (*Ranks, []record.Problem) {
	return readResult(run.Path(record.AnalyzeDir, rankFile), maxRankBytes, "measure again without --spectra", func(text []byte) (*Ranks, error) {
		return parseRanks(text, run.Info.ID)
	})
}

// parseRanks decodes rank.json of the run with the id.
func parseRanks(text []byte, id string) (*Ranks, error) {
	var d rankDocument
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, errors.New("is not the ranks of a model: remove it and measure again (plasticity analyze rank)")
	}
	full := d.Model.HeadSize
	switch {
	case d.Schema != rankSchema:
		return nil, fmt.Errorf("has schema %d, this version reads %d", d.Schema, rankSchema)
	case d.Model.Run != id:
		return nil, fmt.Errorf("is of run %s: measure this one (plasticity analyze rank)", clean(d.Model.Run, 40))
	case d.Model.Heads < 1 || d.Model.Heads > maxRankSize || full < 1 || full > maxRankSize:
		return nil, errors.New("heads and head_size are not those of a model")
	}
	if err := d.Formula.check(); err != nil {
		return nil, err
	}
	out := &Ranks{Formula: d.Formula, Heads: d.Model.Heads, HeadSize: full, LeftOut: len(d.LeftOut)}
	var err error
	if out.Last, err = d.point(d.rankDocumentPoint); err != nil {
		return nil, err
	}
	for i, p := range d.Training {
		point, err := d.point(p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("training: %w", err)
		case i > 0 && (p.Step <= d.Training[i-1].Step || p.Tokens <= d.Training[i-1].Tokens):
			return nil, errors.New("training: steps and tokens do not rise")
		case !equalLayers(point.Layers, out.Last.Layers):
			return nil, fmt.Errorf("training: step %d has other layers than the newest checkpoint", p.Step)
		}
		out.Training = append(out.Training, point)
	}
	return out, nil
}

// point checks one point: means over all heads, no higher than full rank.
func (d *rankDocument) point(p rankDocumentPoint) (RankPoint, error) {
	out := RankPoint{Step: p.Step, Tokens: p.Tokens}
	if len(p.Layers) == 0 || len(p.Layers) > maxRankSize || p.Step < 0 || p.Tokens < 0 {
		return out, fmt.Errorf("step %d has no layers", p.Step)
	}
	last := -1
	for _, l := range p.Layers {
		if l.Layer == nil || *l.Layer <= last || *l.Layer >= maxRankSize {
			return out, fmt.Errorf("step %d: layers are not numbered upwards from 0", p.Step)
		}
		last = *l.Layer
		rank := LayerRank{Layer: last}
		for i, product := range []rankDocumentProduct{l.QK, l.VP} {
			if !d.sound(product) {
				return out, fmt.Errorf("step %d, layer %d: %s is not a rank for each of %d heads with their mean", p.Step, last, products()[i], d.Model.Heads)
			}
			rank.Mean[i] = product.Mean
		}
		out.Layers = append(out.Layers, rank)
	}
	return out, nil
}

// sound tells whether a product has a rank for each head, and their mean.
func (d *rankDocument) sound(p rankDocumentProduct) bool {
	if len(p.Heads) != d.Model.Heads {
		return false
	}
	full := float64(d.Model.HeadSize)
	if d.Formula.normalised() {
		full = 1
	}
	for _, v := range p.Heads {
		if v < 0 || v > full {
			return false
		}
	}
	return math.Abs(mean(p.Heads)-p.Mean) <= 1e-6*full
}

// equalLayers tells whether two points are of the same layers.
func equalLayers(a, b []LayerRank) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Layer != b[i].Layer {
			return false
		}
	}
	return true
}

// value is the rank of a product in a layer, or with layer meanOfLayers over all that were measured.
func (p RankPoint) value(product, layer int) float64 {
	var sum float64
	for _, l := range p.Layers {
		if l.Layer == layer {
			return l.Mean[product]
		}
		sum += l.Mean[product]
	}
	return sum / float64(len(p.Layers))
}

// meanOfLayers stands for the average over layers.
const meanOfLayers = -1
