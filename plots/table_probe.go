package plots

import (
	"fmt"
	"math"
)

// ProbeTable lists, for each task, weight decay and layer, the mean accuracies of probes and of their control task over seeds with their
// intervals, and the runs behind them. Accuracies are from 0 to 1.
func ProbeTable(s *Set) Table {
	t := Table{
		Name: "probes-per-decay", Title: "Accuracy of linear probes per weight decay and layer, with 95 % intervals over seeds",
		Note: "Shares of test texts from 0 to 1; control: the same with shuffled labels; majority class: the share of the most frequent label. " +
			"The best layer is chosen for each model on other texts. Layers are counted from 0.",
		Columns: []string{
			"setting", "task", "probes", "λ", "τ", "layer", "accuracy", "± 95 %", "control", "± 95 % (control)", "majority class", "n", "runs",
		},
	}
	for _, g := range s.probeGroups() {
		rows := g.rows()
		accuracies, controls := make([][]level, len(rows)), make([][]level, len(rows))
		for i, row := range rows {
			accuracies[i], controls[i] = g.levels(row.accuracy), g.levels(row.control)
		}
		for at := range g.base.levels {
			for i, row := range rows {
				l, c := &accuracies[i][at], &controls[i][at]
				if l.N == 0 {
					continue
				}
				t.Rows = append(t.Rows, []string{
					g.base.fullTitle(), g.family, g.like.label(), number(l.decay), short(rounded(l.tau, 2)), row.name,
					orBlank(l.Mean), orBlank(l.Half), orBlank(c.Mean), orBlank(c.Half), orBlank(g.like.Majority), fmt.Sprint(l.N), l.ids(),
				})
			}
		}
	}
	return t
}

// probeColumns are those of the points of both figures.
func probeColumns() []string {
	return []string{
		"setting", "task", "probes", "weight_decay", "tau", "layer", "mark", "seed", "accuracy", "ci95_low", "ci95_high", "control_accuracy", "majority", "n",
		"run_ids", "note",
	}
}

// probePoints lists what ProbesVsDecay draws.
func probePoints(drawn [][]*probeGroup) Table {
	t := Table{Name: "probes-vs-decay", Columns: probeColumns()}
	for _, own := range drawn {
		for _, g := range own {
			for i, row := range g.summaryRows() {
				t.Rows = append(t.Rows, g.points(row, true, i == 0)...)
			}
		}
	}
	return t
}

// layerPoints lists what ProbesByLayer draws.
func layerPoints(drawn [][]*probeGroup) Table {
	t := Table{Name: "probes-by-layer", Columns: probeColumns()}
	for _, own := range drawn {
		for _, g := range own {
			for _, row := range g.layerRows() {
				t.Rows = append(t.Rows, g.points(row, false, false)...)
			}
		}
	}
	return t
}

// points lists the marks of an accuracy: means, with seeds and crosses where those are drawn.
func (g *probeGroup) points(row probeRow, seeds, crosses bool) [][]string {
	var out [][]string
	nan := math.NaN()
	controls := g.levels(row.control)
	for i, l := range g.levels(row.accuracy) {
		add := func(mark, seed string, v, low, high, control float64, n int, ids, note string) {
			out = append(out, []string{
				g.base.fullTitle(), g.family, g.like.label(), plain(l.decay), plain(l.tau), row.name, mark, seed, plain(v), plain(low), plain(high),
				plain(control), plain(g.like.Majority), fmt.Sprint(n), ids, note,
			})
		}
		for j, v := range l.seeds {
			if !seeds {
				break
			}
			one := level{seeds: []seedLoss{v}}
			add("seed", fmt.Sprint(v.seed), v.loss, nan, nan, controls[i].seeds[j].loss, 1, one.ids(), "")
		}
		if l.N > 0 {
			add("mean", "", l.Mean, l.low(), l.high(), controls[i].Mean, l.N, l.ids(), "")
		}
		for _, m := range l.faulty {
			if crosses {
				add("cross", m.seed, nan, nan, nan, nan, 0, m.Info.ID, m.fault)
			}
		}
	}
	return out
}
