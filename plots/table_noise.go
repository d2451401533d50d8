package plots

import (
	"fmt"
	"math"
)

// NoiseTable lists, for each weight decay and size of noise, the mean rise of the loss with its interval over seeds, and the runs behind it.
func NoiseTable(s *Set) Table {
	t := Table{
		Name: "noise-per-decay", Title: "Rise of the loss under noise on the weights (nats per token) per weight decay",
		Note: "Means over seeds; ± is the half-width of the 95 % t interval over seeds. Noise of σ times the root mean square of each matrix; the rows " +
			fmt.Sprintf("“rise %v” have the σ at which the loss has risen by so much.", NoiseRise),
		Columns: []string{"setting", "λ", "τ", "σ", "loss without noise", "rise", "± 95 %", "σ at the rise", "± 95 % (σ)", "n", "runs"},
	}
	for _, g := range s.noiseGroups() {
		losses, enough := g.levelsOf(func(n *Noise) (float64, bool) { return n.Loss, true }), g.enough()
		for at, sigma := range g.sigmas() {
			for i, l := range g.rises(at) {
				if l.N > 0 {
					t.Rows = append(t.Rows, []string{
						g.title(), number(l.decay), short(rounded(l.tau, 2)), number(sigma), orBlank(losses[i].Mean), orBlank(l.Mean), orBlank(l.Half), "", "",
						fmt.Sprint(l.N), l.ids(),
					})
				}
			}
		}
		for _, l := range enough {
			if l.N > 0 {
				t.Rows = append(t.Rows, []string{
					g.title(), number(l.decay), short(rounded(l.tau, 2)), "", "", number(NoiseRise), "", orBlank(l.Mean), orBlank(l.Half), fmt.Sprint(l.N), l.ids(),
				})
			}
		}
	}
	return t
}

// noisePoints lists what NoiseVsDecay draws, and the rises at the sizes that it has no room for.
func noisePoints(drawn []*noiseGroup) Table {
	t := Table{Name: "noise-vs-decay", Columns: []string{
		"setting", "weight_decay", "tau", "quantity", "sigma", "mark", "seed", "value", "ci95_low", "ci95_high", "n", "run_ids", "note",
	}}
	for _, g := range drawn {
		add := func(quantity string, sigma float64, levels []level) {
			for i := range levels {
				levels[i].eachMark(func(mark, seed string, v, low, high float64, n int, ids, note string) {
					t.Rows = append(t.Rows, []string{
						g.title(), plain(levels[i].decay), plain(levels[i].tau), quantity, plain(sigma), mark, seed, plain(v), plain(low), plain(high), fmt.Sprint(n),
						ids, note,
					})
				})
			}
		}
		for at, sigma := range g.sigmas() {
			levels := g.rises(at)
			if at > 0 {
				levels = withoutCrosses(levels) // said once
			}
			add("rise", sigma, levels)
		}
		add(fmt.Sprintf("sigma at a rise of %v", NoiseRise), math.NaN(), withoutCrosses(g.enough()))
	}
	return t
}
