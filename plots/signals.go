package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"plasticity/record"
)

// When a signal is read.
const (
	early     = iota // at what was logged nearest to earlyPart of training
	late             // at its end
	whenCount        // of the above
)

// earlyPart of the steps of training is early.
const earlyPart = 1.0 / 3

// whens names them.
func whens() [whenCount]string {
	return [whenCount]string{"at a third of training", "at the end"}
}

// signal is a number of a base model that may tell how good it will be after fine-tuning.
type signal struct {
	name string
	of   [whenCount]ofBase // nil where it is not measured then
}

// signalRank is how a signal ranks the base models of a setting.
type signalRank struct {
	name  string
	ranks [whenCount]*rankedBy // nil where fewer than three models have it
}

// rankedBy is Spearman's correlation of a signal with the response loss after fine-tuning.
type rankedBy struct {
	paired
	correlation
}

// strength is the larger of a signal's correlations, whatever its sign.
func (r signalRank) strength() float64 {
	most := -1.0
	for _, at := range r.ranks {
		if at != nil && finite(at.r) {
			most = math.Max(most, math.Abs(at.r))
		}
	}
	return most
}

// hasRange tells whether a correlation remains when some weight decay is left out.
func (r signalRank) hasRange() bool {
	return slices.ContainsFunc(r.ranks[:], func(at *rankedBy) bool { return at != nil && finite(at.low) })
}

// signalRanks is what all signals of a setting say of the average response loss by the fixed recipe, the strongest first.
type signalRanks struct {
	d     *downstream
	ranks []signalRank
}

// signalsOf ranks the base models of every setting that was fine-tuned. Unless some model was looked into there are none: loss and norm alone are
// what Figure 3 is about.
func (s *Set) signalsOf() []*signalRanks {
	if !slices.ContainsFunc([]subject{aboutProbes, aboutRanks, aboutGaps, aboutNoise}, s.has) {
		return nil
	}
	var out []*signalRanks
	for _, d := range s.down {
		if r := newSignalRanks(d); len(r.ranks) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// newSignalRanks ranks the base models of a setting.
func newSignalRanks(d *downstream) *signalRanks {
	m := measure{name: responseLoss}
	after := d.averageOf(d.tasksWith(m), m, d.fixed)
	r := &signalRanks{d: d}
	for _, one := range signals(d.base) {
		rank := signalRank{name: one.name}
		for when, of := range one.of {
			if of == nil {
				continue
			}
			if both := d.paired(of, after); len(both.points) >= 3 {
				rank.ranks[when] = &rankedBy{both, both.spearman()}
			}
		}
		if rank.ranks[early] != nil || rank.ranks[late] != nil {
			r.ranks = append(r.ranks, rank)
		}
	}
	slices.SortStableFunc(r.ranks, func(a, b signalRank) int { return cmp.Compare(b.strength(), a.strength()) })
	return r
}

// signals are those that base models of a setting may have, in a fixed order.
func signals(base *setting) []signal {
	out := []signal{
		{name: decaySignal, of: [whenCount]ofBase{early: decayOf}},
		{name: lossSignal, of: [whenCount]ofBase{early: logged(early, validationLoss), late: logged(late, validationLoss)}},
		{name: "norm of all weights", of: [whenCount]ofBase{early: logged(early, weightNorm), late: logged(late, weightNorm)}},
	}
	if groups := rankAnalysis().groupsOf(base); len(groups) > 0 {
		for product, name := range products() {
			out = append(out, signal{name: "mean pseudo-rank of " + name, of: [whenCount]ofBase{
				early: ofGroup(groups[0], func(r *Ranks) (float64, bool) { return r.early(product) }),
				late:  ofGroup(groups[0], func(r *Ranks) (float64, bool) { return r.Last.value(product, meanOfLayers), true }),
			}})
		}
	}
	for _, task := range chunksOf(probeAnalysis().groupsOf(base), func(g *group[Probes]) string { return g.family }) {
		out = append(out, signal{name: "probes of " + task[0].family, of: [whenCount]ofBase{
			late: ofGroup(task[0], func(p *Probes) (float64, bool) { return p.Mean(), true }),
		}})
	}
	if groups := gapAnalysis().groupsOf(base); len(groups) > 0 {
		for _, heldOut := range []string{GapValidation, GapUnread} {
			name := map[string]string{GapValidation: "gap to the validation split", GapUnread: "gap to text not read"}[heldOut]
			out = append(out, signal{name: name, of: [whenCount]ofBase{late: ofGroup(groups[0], func(g *Gap) (float64, bool) {
				if c := g.with(heldOut); c != nil {
					return c.Value(), true
				}
				return 0, false
			})}})
		}
	}
	if groups := noiseAnalysis().groupsOf(base); len(groups) > 0 {
		at := (&noiseGroup{groups[0]}).main()
		out = append(out, signal{name: "rise under noise of σ = " + number(groups[0].like.Settings.Sigmas[at]), of: [whenCount]ofBase{
			late: ofGroup(groups[0], func(n *Noise) (float64, bool) { return n.Rises[at], true }),
		}})
	}
	return out
}

// decayOf is the weight decay: what a signal has to beat, since it is known before training.
func decayOf(base *member) (v float64, runs []*member, ok bool) {
	return base.decay(), []*member{base}, true
}

// ofGroup is a number of the results of a group.
func ofGroup[A any](g *group[A], of func(*A) (float64, bool)) ofBase {
	return func(base *member) (v float64, runs []*member, ok bool) {
		r := g.of[base]
		if r == nil {
			return 0, nil, false
		}
		v, ok = of(r)
		return v, []*member{base}, ok
	}
}

// early is the mean rank at the checkpoint nearest to earlyPart of training; ok is false where none is near it.
func (r *Ranks) early(product int) (v float64, ok bool) {
	at := nearest(r.Training, r.Last.Step, func(p RankPoint) int64 { return p.Step })
	if at < 0 {
		return 0, false
	}
	return r.Training[at].value(product, meanOfLayers), true
}

// validationLoss is that of a line of metrics, if it has one.
func validationLoss(m *record.Metric) (float64, bool) {
	if m.ValLoss == nil {
		return 0, false
	}
	return float64(*m.ValLoss), finite(float64(*m.ValLoss))
}

// weightNorm is the norm of all parameters, which is positive where it was logged.
func weightNorm(m *record.Metric) (float64, bool) {
	return float64(m.ParamNorm), m.ParamNorm > 0 && finite(float64(m.ParamNorm))
}

// logged is a number of the metrics: of the last line that has it, which must be that of the last step, or of the line nearest to earlyPart.
func logged(when int, of func(*record.Metric) (float64, bool)) ofBase {
	return func(base *member) (v float64, runs []*member, ok bool) {
		var lines []*record.Metric
		for i := range base.Metrics {
			if _, has := of(&base.Metrics[i]); has {
				lines = append(lines, &base.Metrics[i])
			}
		}
		at := len(lines) - 1
		if when == early {
			at = nearest(lines, base.Info.Steps, func(m *record.Metric) int64 { return m.Step })
		} else if at >= 0 && lines[at].Step != base.Info.Steps {
			at = -1
		}
		if at < 0 {
			return 0, nil, false
		}
		v, ok = of(lines[at])
		return v, []*member{base}, ok
	}
}

// nearest is the index of what was measured nearest to earlyPart of the steps; −1 where nothing lies within a tenth of them.
func nearest[T any](all []T, steps int64, stepOf func(T) int64) int {
	best, away := -1, 0.1*float64(steps)
	for i, v := range all {
		if d := math.Abs(float64(stepOf(v)) - earlyPart*float64(steps)); d <= away && (best < 0 || d < away) {
			best, away = i, d
		}
	}
	return best
}

// strongest is the index of the signal that ranks best at a time, not counting weight decay itself; −1 without any.
func (r *signalRanks) strongest(when int) int {
	best, most := -1, -1.0
	for i, one := range r.ranks {
		at := one.ranks[when]
		if at == nil || !finite(at.r) || one.name == decaySignal {
			continue
		}
		if v := math.Abs(at.r); v > most {
			best, most = i, v
		}
	}
	return best
}

// The names of signals that findings speak of.
const (
	decaySignal = "weight decay λ"
	lossSignal  = "validation loss"
)

// at returns how the signal of a name ranks at a time, or nil.
func (r *signalRanks) at(name string, when int) *rankedBy {
	for _, one := range r.ranks {
		if one.name == name {
			return one.ranks[when]
		}
	}
	return nil
}

// inWords is the paragraph of a setting.
func (r *signalRanks) inWords() string {
	var parts []string
	for when, name := range whens() {
		best := r.strongest(when)
		if best < 0 {
			continue
		}
		at := r.ranks[best].ranks[when]
		n := 0
		for _, one := range r.ranks {
			if one.ranks[when] != nil && one.name != decaySignal {
				n++
			}
		}
		text := fmt.Sprintf("%s, of %s the %s ranks %s best by their response loss after fine-tuning: Spearman ρ = %s", sentenceCase(name),
			plural(n, "signal"), r.ranks[best].name, plural(len(at.points), "base run"), coefficient(at.correlation))
		if loss := r.at(lossSignal, when); loss != nil && r.ranks[best].name != lossSignal {
			text += fmt.Sprintf("; the validation loss %s", coefficient(loss.correlation))
		}
		parts = append(parts, text+".")
		if same := at.within(); finite(same) {
			parts = append(parts, fmt.Sprintf("Among runs of the same λ, seeds apart, it correlates by r = %s.", two(same)))
		}
	}
	if len(parts) == 0 {
		return "No signal differs between three base runs or more, so nothing can be ranked."
	}
	if decay := r.at(decaySignal, early); decay != nil && finite(decay.r) {
		parts = append(parts, fmt.Sprintf("Weight decay itself, known before training: %s.", coefficient(decay.correlation)))
	}
	if slices.ContainsFunc(r.ranks, signalRank.hasRange) {
		parts = append(parts, "In brackets the range when one λ is left out.")
	}
	return strings.Join(append(parts, "The best of several signals is chosen on these runs, and so looks better than it is."), " ")
}

// SignalFinding is how well what is known of base models of one setting ranks them by their results after fine-tuning.
type SignalFinding struct {
	Setting string       `json:"setting"`
	Recipe  string       `json:"recipe"` // the fixed one
	Text    string       `json:"text"`
	Early   string       `json:"early"` // the signal that ranks best at a third of training; empty without any
	Late    string       `json:"late"`  // the same at the end
	Signals []SignalRank `json:"signals"`
}

// SignalRank is one signal at one time.
type SignalRank struct {
	Signal   string          `json:"signal"`
	When     string          `json:"when"`
	Spearman [3]record.Float `json:"spearman"` // with the response loss; range when one λ is left out
	Within   record.Float    `json:"within"`   // Pearson's correlation of deviations from the means of each λ over seeds
	Runs     []string        `json:"runs"`     // ids of the base runs
}

// Signals says which signals rank base models by their results after fine-tuning, for each setting with such.
func (s *Set) Signals() []SignalFinding {
	out := []SignalFinding{}
	for _, r := range s.signalsOf() {
		f := SignalFinding{Setting: r.d.base.fullTitle(), Recipe: r.d.recipes[r.d.fixed].label, Text: r.inWords(), Signals: []SignalRank{}}
		if at := r.strongest(early); at >= 0 {
			f.Early = r.ranks[at].name
		}
		if at := r.strongest(late); at >= 0 {
			f.Late = r.ranks[at].name
		}
		for _, one := range r.ranks {
			for when, at := range one.ranks {
				if at != nil {
					f.Signals = append(f.Signals, SignalRank{one.name, whens()[when], at.numbers(), record.Float(at.within()), strings.Fields(at.ids())})
				}
			}
		}
		out = append(out, f)
	}
	return out
}
