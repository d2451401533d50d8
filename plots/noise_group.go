package plots

import (
	"fmt"
	"math"
	"strings"

	"plasticity/record"
)

// noiseGroup is the runs of a setting whose answers to noise compare: the same text, windows, sizes and draws.
type noiseGroup struct{ *group[Noise] }

// noiseAnalysis is that of analyze noise.
func noiseAnalysis() analysis[Noise] {
	return analysis[Noise]{
		noun: "noise", command: noiseCommand, mixed: "with other noise or on other text",
		of: func(m *member) []*Noise {
			if m.Noise == nil {
				return nil
			}
			return []*Noise{m.Noise}
		},
		step: func(n *Noise) int64 { return n.Step }, family: onlyFamily[Noise],
		fields: func(n *Noise) []field {
			s := n.Settings
			return []field{
				{"sizes", "σ of " + sigmaList(s.Sigmas)},
				{"draws", plural(s.Draws, "draw")},
				{"tokens", fmt.Sprintf("up to %s tokens", count(s.Tokens))},
				{"context", fmt.Sprintf("windows of %d tokens", s.Context)},
				{"seed", fmt.Sprintf("seed %d", s.Seed)},
				{"text", fmt.Sprintf("text %.8s", clean(s.TextDigest, 64))},
			}
		},
	}
}

// sigmaList writes sizes of noise.
func sigmaList(sigmas []float64) string {
	out := make([]string, len(sigmas))
	for i, v := range sigmas {
		out[i] = number(v)
	}
	return strings.Join(out, ", ")
}

// noiseGroups sorts the pretraining runs with noise.
func (s *Set) noiseGroups() []*noiseGroup {
	var out []*noiseGroup
	for _, g := range noiseAnalysis().groups(s) {
		out = append(out, &noiseGroup{g})
	}
	return out
}

// sigmas are the sizes that were measured.
func (g *noiseGroup) sigmas() []float64 { return g.like.Settings.Sigmas }

// rises are the levels of the rise at the size with the index.
func (g *noiseGroup) rises(at int) []level {
	return g.levelsOf(func(n *Noise) (float64, bool) { return n.Rises[at], true })
}

// enough are the levels of the size at which the loss has risen by NoiseRise.
func (g *noiseGroup) enough() []level {
	return g.levelsOf(func(n *Noise) (float64, bool) { return n.Enough, finite(n.Enough) })
}

// main is the index of the size whose mean rise over runs is nearest to NoiseRise, by their ratio: the one that findings are about.
func (g *noiseGroup) main() int {
	best, nearest := 0, math.Inf(1)
	for at := range g.sigmas() {
		var values []float64
		for _, m := range g.runs {
			values = append(values, g.of[m].Rises[at])
		}
		if away := math.Abs(math.Log(mean(values) / NoiseRise)); away < nearest { // NaN of a loss that falls is not
			best, nearest = at, away
		}
	}
	return best
}

// chosen are the sizes that are drawn: main with its neighbours.
func (g *noiseGroup) chosen() []int {
	const most = 3
	n := len(g.sigmas())
	first := max(0, min(g.main()-1, n-most))
	var out []int
	for at := first; at < min(first+most, n); at++ {
		out = append(out, at)
	}
	return out
}

// noiseLevels wraps the rises of the main size of each group as a setting, for what counts seeds.
func noiseLevels(groups []*noiseGroup) []*setting {
	var out []*setting
	for _, g := range groups {
		out = append(out, &setting{levels: g.rises(g.main())})
	}
	return out
}

// NoiseFinding is what noise on the weights shows in one setting: whether the loss of a model of larger weight decay rises less.
type NoiseFinding struct {
	Setting  string        `json:"setting"`
	Settings NoiseSettings `json:"noise"`
	Sigma    record.Float  `json:"sigma"` // the size whose mean rise is nearest to NoiseRise
	Text     string        `json:"text"`  // in plain words
	Trend                  // nats per token
	Falls    Verdict       `json:"falls"` // is the rise at the highest decay below that at the lowest?
}

// Noises says what noise on the weights shows, for each group of runs that compare.
func (s *Set) Noises() []NoiseFinding {
	out := []NoiseFinding{}
	for _, g := range s.noiseGroups() {
		at := g.main()
		t, words := newTrend(g.rises(at)), g.words(at)
		out = append(out, NoiseFinding{
			Setting: g.title(), Settings: g.like.Settings, Sigma: record.Float(g.sigmas()[at]), Text: t.text(words), Trend: t.Trend,
			Falls: t.verdict(words.direction),
		})
	}
	return out
}

// words names the rise at a size.
func (g *noiseGroup) words(at int) trendWords {
	sigma := number(g.sigmas()[at])
	return trendWords{
		name: "rise at σ = " + sigma, what: "the rise of the loss under noise of σ = " + sigma + " on the weights", noun: "rise", direction: -1,
		show: nats, change: nats,
	}
}
