package plots

import (
	"fmt"
	"slices"
)

// gapGroup is the runs of a setting whose gaps compare: the same texts, windows and draws.
type gapGroup struct{ *group[Gap] }

// gapAnalysis is that of analyze gap.
func gapAnalysis() analysis[Gap] {
	return analysis[Gap]{
		noun: "gaps", command: gapCommand, mixed: "on other texts, or on other draws of them",
		of: func(m *member) []*Gap {
			if m.Gap == nil {
				return nil
			}
			return []*Gap{m.Gap}
		},
		step: func(g *Gap) int64 { return g.Step }, family: onlyFamily[Gap],
		fields: func(g *Gap) []field {
			s := g.Settings
			read := "as read by the run"
			if s.AllRead {
				read = "all of the text as read"
			}
			return []field{
				{"tokens", fmt.Sprintf("up to %s tokens of each side", count(s.Tokens))},
				{"context", fmt.Sprintf("windows of %d tokens", s.Context)},
				{"seed", fmt.Sprintf("seed %d", s.Seed)},
				{"read", read},
				{"text", fmt.Sprintf("text %.8s", clean(s.TrainDigest, 64))},
				{"held out", fmt.Sprintf("held out %.8s", clean(s.HeldOutDigest, 64))},
			}
		},
	}
}

// gapGroups sorts the pretraining runs with gaps.
func (s *Set) gapGroups() []*gapGroup {
	var out []*gapGroup
	for _, g := range gapAnalysis().groups(s) {
		out = append(out, &gapGroup{g})
	}
	return out
}

// texts lists what some run of the group was compared with.
func (g *gapGroup) texts() []string {
	return slices.DeleteFunc([]string{GapValidation, GapUnread}, func(heldOut string) bool {
		return !slices.ContainsFunc(g.runs, func(m *member) bool { return g.of[m].with(heldOut) != nil })
	})
}

// levels gathers a number of the comparison with a text for every weight decay of the setting.
func (g *gapGroup) levels(heldOut string, of func(GapComparison) float64) []level {
	return g.levelsOf(func(r *Gap) (float64, bool) {
		c := r.with(heldOut)
		if c == nil {
			return 0, false
		}
		return of(*c), true
	})
}

// gaps are the levels of the gap itself.
func (g *gapGroup) gaps(heldOut string) []level { return g.levels(heldOut, GapComparison.Value) }

// overDocuments is the comparison of a level that rests on one run: its interval over documents stands in for one over seeds. Else it is nil.
func (g *gapGroup) overDocuments(l *level, heldOut string) *GapComparison {
	if l.N != 1 || len(l.seeds[0].runs) != 1 {
		return nil
	}
	if c := g.of[l.seeds[0].runs[0]].with(heldOut); finite(c.Low) {
		return c
	}
	return nil
}

// gapLevels wraps the gaps of each group with each text as a setting, for what counts seeds.
func gapLevels(groups []*gapGroup) []*setting {
	var out []*setting
	for _, g := range groups {
		for _, heldOut := range g.texts() {
			out = append(out, &setting{levels: g.gaps(heldOut)})
		}
	}
	return out
}

// GapFinding is what the gaps of one setting show: whether the gap is smaller at larger weight decay.
type GapFinding struct {
	Setting  string      `json:"setting"`
	Settings GapSettings `json:"gap"`
	HeldOut  string      `json:"held_out"` // what the text read in training is compared with
	Text     string      `json:"text"`     // in plain words
	Trend                // nats per token
	Falls    Verdict     `json:"falls"` // is the gap at the highest decay below that at the lowest?
}

// Gaps says what the gaps show, for each group of runs that compare, the validation split first.
func (s *Set) Gaps() []GapFinding {
	out := []GapFinding{}
	for _, g := range s.gapGroups() {
		for _, heldOut := range g.texts() {
			t, words := newTrend(g.gaps(heldOut)), gapWords(heldOut)
			out = append(out, GapFinding{
				Setting: g.title(), Settings: g.like.Settings, HeldOut: heldOut, Text: t.text(words), Trend: t.Trend, Falls: t.verdict(words.direction),
			})
		}
	}
	return out
}

// gapWords names the gap to a text.
func gapWords(heldOut string) trendWords {
	w := trendWords{
		name: "validation − train", what: "the loss on the validation split less that on text read in training", noun: "gap", direction: -1,
		show: nats, change: nats,
	}
	if heldOut == GapUnread {
		w.name, w.what = "unread − read", "the loss on windows of the training split that were not read less that on read ones of the same documents"
	}
	return w
}
