package plots

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// rankGroup is the runs of a setting whose ranks compare: by one formula, over the same heads and layers.
type rankGroup struct{ *group[Ranks] }

// rankAnalysis is that of analyze rank.
func rankAnalysis() analysis[Ranks] {
	return analysis[Ranks]{
		noun: "ranks", command: "plasticity analyze rank", mixed: "by different formulas or in different layers",
		of: func(m *member) []*Ranks {
			if m.Ranks == nil {
				return nil
			}
			return []*Ranks{m.Ranks}
		},
		step: func(r *Ranks) int64 { return r.Last.Step }, family: onlyFamily[Ranks],
		fields: func(r *Ranks) []field {
			return []field{
				{"formula", r.Formula.label()},
				{"layers", "layers " + joined(layersOf(r.Last))},
				{"heads", fmt.Sprintf("%s of size %d", plural(r.Heads, "query head"), r.HeadSize)},
			}
		},
	}
}

// rankGroups sorts the pretraining runs with ranks.
func (s *Set) rankGroups() []*rankGroup {
	var out []*rankGroup
	for _, g := range rankAnalysis().groups(s) {
		out = append(out, &rankGroup{g})
	}
	return out
}

func layersOf(p RankPoint) []int {
	out := make([]int, len(p.Layers))
	for i, l := range p.Layers {
		out[i] = l.Layer
	}
	return out
}

// layers are those that were measured, ascending.
func (g *rankGroup) layers() []int { return layersOf(g.like.Last) }

// levels are the ranks of a product in a layer, or meanOfLayers, for every weight decay of the setting.
func (g *rankGroup) levels(product, layer int) []level {
	return g.levelsOf(func(r *Ranks) (float64, bool) { return r.Last.value(product, layer), true })
}

// chosen are the layers that are shown over training: all when there are three at most, else first, middle and last.
func (g *rankGroup) chosen() []int {
	layers := g.layers()
	n := len(layers)
	if n <= 3 {
		return layers
	}
	return []int{layers[0], layers[n/2], layers[n-1]}
}

// rankEnds wraps the ends of the curves over training in the same way.
func rankEnds(groups []*rankGroup) []*setting {
	var out []*setting
	for _, g := range groups {
		curves, _ := g.curves(0, meanOfLayers)
		s := &setting{}
		for _, c := range curves {
			s.levels = append(s.levels, c.points[len(c.points)-1].level)
		}
		out = append(out, s)
	}
	return out
}

// rankAverages wraps the levels of W_QK averaged over layers as a setting, for what counts seeds.
func rankAverages(groups []*rankGroup) []*setting {
	var out []*setting
	for _, g := range groups {
		out = append(out, &setting{levels: g.levels(0, meanOfLayers)})
	}
	return out
}

// rows are the layers of tables: the average first, where it is one of several.
func (g *rankGroup) rows() []int {
	layers := g.layers()
	if len(layers) == 1 {
		return layers
	}
	return append([]int{meanOfLayers}, layers...)
}

// joined writes layer numbers: "0 to 15", "5, 15".
func joined(layers []int) string {
	n := len(layers)
	if n > 2 && layers[n-1]-layers[0] == n-1 {
		return fmt.Sprintf("%d to %d", layers[0], layers[n-1])
	}
	var out []string
	for _, l := range layers {
		out = append(out, fmt.Sprint(l))
	}
	return strings.Join(out, ", ")
}

// rankCurve is the mean over seeds of one weight decay over training.
type rankCurve struct {
	decay  float64
	points []rankCurvePoint
}

// rankCurvePoint is one checkpoint of a curve.
type rankCurvePoint struct {
	step, tokens int64
	level
}

// curves are the ranks over training, a curve a weight decay. A checkpoint that not every measured seed of a decay has is left out: the mean
// would jump where a seed comes in. left counts those.
func (g *rankGroup) curves(product, layer int) (curves []rankCurve, left int) {
	tokens := map[int64]int64{}
	whole := g.levelsOf(func(r *Ranks) (float64, bool) { return 0, len(r.Training) > 0 })
	for _, m := range g.runs {
		for _, p := range g.of[m].Training {
			tokens[p.Step] = p.Tokens
		}
	}
	steps := make([]int64, 0, len(tokens))
	for step := range tokens {
		steps = append(steps, step)
	}
	slices.Sort(steps)
	curves = make([]rankCurve, len(whole))
	for i := range whole {
		curves[i].decay = whole[i].decay
	}
	for _, step := range steps {
		at := g.levelsOf(func(r *Ranks) (float64, bool) {
			i, found := slices.BinarySearchFunc(r.Training, step, func(p RankPoint, step int64) int { return cmp.Compare(p.Step, step) })
			if !found {
				return 0, false
			}
			return r.Training[i].value(product, layer), true
		})
		for i, l := range at {
			switch {
			case l.N == 0:
			case l.N < whole[i].N:
				left++
			default:
				curves[i].points = append(curves[i].points, rankCurvePoint{step, tokens[step], l})
			}
		}
	}
	return slices.DeleteFunc(curves, func(c rankCurve) bool { return len(c.points) == 0 }), left
}
