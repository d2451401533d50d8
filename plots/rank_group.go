package plots

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// rankGroup is the runs of a setting whose ranks compare: by one formula, over the same layers.
type rankGroup struct {
	base     *setting
	formula  RankFormula
	heads    int
	headSize int
	layers   []int
	key      string
	runs     []*member // that count, in the order of the setting
	has      map[*member]bool
	many     bool // the setting has other groups
}

// rankGroups sorts the pretraining runs with ranks: in the order of settings, the groups with the most runs first.
func (s *Set) rankGroups() []*rankGroup {
	settings, _ := ofPretraining(s)
	var out []*rankGroup
	for _, g := range settings {
		var own []*rankGroup
		for _, m := range g.runs {
			if !m.ranked() {
				continue
			}
			r := m.Ranks
			key := fmt.Sprintf("%v %d %d %v", r.Formula, r.Heads, r.HeadSize, layersOf(r.Last))
			at := slices.IndexFunc(own, func(o *rankGroup) bool { return o.key == key })
			if at < 0 {
				at = len(own)
				own = append(own, &rankGroup{base: g, formula: r.Formula, heads: r.Heads, headSize: r.HeadSize, layers: layersOf(r.Last), key: key, has: map[*member]bool{}})
			}
			own[at].runs = append(own[at].runs, m)
			own[at].has[m] = true
		}
		slices.SortFunc(own, func(a, b *rankGroup) int {
			return cmp.Or(cmp.Compare(len(b.runs), len(a.runs)), strings.Compare(a.key, b.key))
		})
		for _, o := range own {
			o.many = len(own) > 1
		}
		out = append(out, own...)
	}
	return out
}

// ranked tells whether the ranks of a run enter means: those of its last step, of a run that counts.
func (m *member) ranked() bool {
	return m.counts() && m.Ranks != nil && m.Ranks.Last.Step == m.Info.Steps
}

// hasRanks tells whether some pretraining run was measured; without any a report leaves the figures out unless they are asked for.
func (s *Set) hasRanks() bool {
	settings, _ := ofPretraining(s)
	return slices.ContainsFunc(settings, func(g *setting) bool {
		return slices.ContainsFunc(g.runs, func(m *member) bool { return m.Ranks != nil })
	})
}

func layersOf(p RankPoint) []int {
	out := make([]int, len(p.Layers))
	for i, l := range p.Layers {
		out[i] = l.Layer
	}
	return out
}

// levels are the ranks of a product in a layer, or meanOfLayers, for every weight decay of the setting.
func (g *rankGroup) levels(product, layer int) []level {
	return g.levelsOf(func(m *member) (float64, bool) { return m.Ranks.Last.value(product, layer), true })
}

// levelsOf gathers a number of each run; runs that share decay and seed are averaged.
func (g *rankGroup) levelsOf(of func(*member) (float64, bool)) []level {
	var out []level
	for i := range g.base.levels {
		base := &g.base.levels[i]
		l := level{decay: base.decay, tau: base.tau, faulty: base.faulty}
		for _, s := range base.seeds {
			var values []float64
			var runs []*member
			for _, m := range s.runs {
				if !g.has[m] {
					continue
				}
				if v, ok := of(m); ok {
					values, runs = append(values, v), append(runs, m)
				}
			}
			if len(values) > 0 {
				l.seeds = append(l.seeds, seedLoss{seed: s.seed, loss: mean(values), runs: runs})
			}
		}
		l.estimate = estimateSeeds(l.seeds)
		out = append(out, l)
	}
	return out
}

// title names the group: its setting, and the formula and layers where others of it have different ones.
func (g *rankGroup) title() string {
	if !g.many {
		return g.base.fullTitle()
	}
	return g.base.fullTitle() + ", " + g.formula.label() + ", layers " + joined(g.layers)
}

// chosen are the layers that are shown over training: all when there are three at most, else first, middle and last.
func (g *rankGroup) chosen() []int {
	n := len(g.layers)
	if n <= 3 {
		return g.layers
	}
	return []int{g.layers[0], g.layers[n/2], g.layers[n-1]}
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
	if len(g.layers) == 1 {
		return g.layers
	}
	return append([]int{meanOfLayers}, g.layers...)
}

// settingsOf lists the settings of the groups.
func settingsOf(groups []*rankGroup) []*setting {
	var out []*setting
	for _, g := range groups {
		out = append(out, g.base)
	}
	return slices.Compact(out)
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
	whole := g.levelsOf(func(m *member) (float64, bool) { return 0, len(m.Ranks.Training) > 0 })
	for _, m := range g.runs {
		for _, p := range m.Ranks.Training {
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
		at := g.levelsOf(func(m *member) (float64, bool) {
			i, found := slices.BinarySearchFunc(m.Ranks.Training, step, func(p RankPoint, step int64) int { return cmp.Compare(p.Step, step) })
			if !found {
				return 0, false
			}
			return m.Ranks.Training[i].value(product, layer), true
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
