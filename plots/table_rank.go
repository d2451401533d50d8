package plots

import "fmt"

// RankTable lists, for each weight decay and layer, the mean pseudo-ranks over seeds with their intervals, and the runs behind them.
func RankTable(s *Set) Table {
	t := Table{
		Name: "rank-per-decay", Title: "Mean pseudo-rank of attention per weight decay and layer, with 95 % intervals over seeds",
		Note:    "Means over query heads and seeds; ± is the half-width of a 95 % t interval. Layers are counted from 0.",
		Columns: []string{"setting", "formula", "λ", "τ", "layer", "W_QK", "± 95 % (W_QK)", "W_VP", "± 95 % (W_VP)", "n", "runs"},
	}
	half := func(g *rankGroup, l *level) string {
		if !l.hasInterval() {
			return ""
		}
		return g.show(l.Half)
	}
	for _, g := range s.rankGroups() {
		layers := g.rows()
		qk, vp := make([][]level, len(layers)), make([][]level, len(layers))
		for i, layer := range layers {
			qk[i], vp[i] = g.levels(0, layer), g.levels(1, layer)
		}
		for at := range g.base.levels {
			for i, layer := range layers {
				q, v := &qk[i][at], &vp[i][at]
				if q.N == 0 {
					continue
				}
				t.Rows = append(t.Rows, []string{
					g.base.fullTitle(), g.like.Formula.label(), number(q.decay), short(rounded(q.tau, 2)), layerName(layer),
					g.show(q.Mean), half(g, q), g.show(v.Mean), half(g, v), fmt.Sprint(q.N), q.ids(),
				})
			}
		}
	}
	return t
}

// layerName is a layer in a table.
func layerName(layer int) string {
	if layer == meanOfLayers {
		return "mean"
	}
	return fmt.Sprint(layer)
}

// rankPoints lists what RankVsDecay draws.
func rankPoints(drawn []*rankGroup) Table {
	t := Table{Name: "rank-vs-decay", Columns: []string{
		"setting", "formula", "weight_decay", "tau", "product", "layer", "mark", "seed", "pseudo_rank", "ci95_low", "ci95_high", "n", "run_ids", "note",
	}}
	for _, g := range drawn {
		for product := range productCount {
			for i, layer := range g.rows() {
				levels := g.levels(product, layer)
				if i > 0 {
					levels = withoutCrosses(levels) // said once
				}
				for at := range levels {
					t.Rows = append(t.Rows, g.points(product, layer, &levels[at])...)
				}
			}
		}
	}
	return t
}

// points lists the marks of a weight decay.
func (g *rankGroup) points(product, layer int, l *level) [][]string {
	var out [][]string
	l.eachMark(func(mark, seed string, v, low, high float64, n int, ids, note string) {
		out = append(out, []string{
			g.base.fullTitle(), g.like.Formula.label(), plain(l.decay), plain(l.tau), products()[product], layerName(layer), mark, seed,
			plain(v), plain(low), plain(high), fmt.Sprint(n), ids, note,
		})
	})
	return out
}
