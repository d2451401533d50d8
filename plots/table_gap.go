package plots

import (
	"fmt"
	"math"
)

// GapTable lists, for each weight decay and text, the mean losses on read and on other text, the gap with its interval over seeds or, of a
// single run, over documents, and the runs behind them.
func GapTable(s *Set) Table {
	t := Table{
		Name: "gap-per-decay", Title: "Loss on held-out text less loss on text read in training (nats per token) per weight decay",
		Note: "Means over seeds; ± is the half-width of the 95 % t interval over seeds; over documents: the bootstrapped 95 % interval of a single " +
			"run. Passes: how often training had read its text.",
		Columns: []string{
			"setting", "compared with", "λ", "τ", "loss on read text", "loss on the other", "gap", "± 95 %", "over documents", "passes", "n", "runs",
		},
	}
	for _, g := range s.gapGroups() {
		for _, heldOut := range g.texts() {
			gaps := g.gaps(heldOut)
			seen := g.levels(heldOut, func(c GapComparison) float64 { return c.Seen })
			other := g.levels(heldOut, func(c GapComparison) float64 { return c.Unseen })
			passes := g.levelsOf(func(r *Gap) (float64, bool) { return r.Passes, r.with(heldOut) != nil })
			for i := range gaps {
				l := &gaps[i]
				if l.N == 0 {
					continue
				}
				documents, read := "", ""
				if c := g.overDocuments(l, heldOut); c != nil {
					documents = nats(c.Low) + " to " + nats(c.High)
				}
				if v := passes[i].Mean; finite(v) {
					read = short(rounded(v, 3))
				}
				t.Rows = append(t.Rows, []string{
					g.title(), heldOut, number(l.decay), short(rounded(l.tau, 2)), orBlank(seen[i].Mean), orBlank(other[i].Mean),
					orBlank(l.Mean), orBlank(l.Half), documents, read, fmt.Sprint(l.N), l.ids(),
				})
			}
		}
	}
	return t
}

// gapPoints lists what GapVsDecay draws, every run with its interval over documents.
func gapPoints(drawn []*gapGroup) Table {
	t := Table{Name: "gap-vs-decay", Columns: []string{
		"setting", "compared_with", "weight_decay", "tau", "mark", "seed", "gap", "ci95_low", "ci95_high", "documents95_low", "documents95_high",
		"seen_loss", "other_loss", "passes", "n", "run_ids", "note",
	}}
	for _, g := range drawn {
		for i, heldOut := range g.texts() {
			levels := g.gaps(heldOut)
			if i > 0 {
				levels = withoutCrosses(levels) // said once
			}
			for at := range levels {
				t.Rows = append(t.Rows, g.points(heldOut, &levels[at])...)
			}
		}
	}
	return t
}

// points lists the marks of a weight decay.
func (g *gapGroup) points(heldOut string, l *level) [][]string {
	var out [][]string
	nan := math.NaN()
	none := GapComparison{Seen: nan, Unseen: nan, Low: nan, High: nan}
	add := func(mark, seed string, v, low, high float64, c GapComparison, passes float64, n int, ids, note string) {
		out = append(out, []string{
			g.title(), heldOut, plain(l.decay), plain(l.tau), mark, seed, plain(v), plain(low), plain(high), plain(c.Low), plain(c.High),
			plain(c.Seen), plain(c.Unseen), plain(passes), fmt.Sprint(n), ids, note,
		})
	}
	for _, v := range l.seeds {
		for _, m := range v.runs {
			c := *g.of[m].with(heldOut)
			add("seed", fmt.Sprint(v.seed), c.Value(), nan, nan, c, g.of[m].Passes, 1, m.Info.ID, "")
		}
	}
	if l.N > 0 {
		add("mean", "", l.Mean, l.low(), l.high(), none, nan, l.N, l.ids(), "")
	}
	for _, m := range l.faulty {
		add("cross", m.seed, nan, nan, nan, none, nan, 0, m.Info.ID, m.fault)
	}
	return out
}
