package plots

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"plasticity/record"
)

// defaultDecay is the weight decay that most recipes use; findings compare with it.
const defaultDecay = 0.1

// Finding is what one setting shows, with the numbers behind the words.
type Finding struct {
	Setting string       `json:"setting"` // model and what tells it from others
	Text    string       `json:"text"`    // in plain words, one paragraph
	Best    record.Float `json:"best"`    // λ with the lowest mean loss; NaN when fewer than two decays were measured
	Loss    record.Float `json:"loss"`    // mean validation loss there, nats a token
	Low     record.Float `json:"low"`     // 95 % interval of it; NaN with one seed
	High    record.Float `json:"high"`    // its upper end
	Seeds   int          `json:"seeds"`   // behind Loss
	Larger  Verdict      `json:"larger"`  // is a decay above the common default of 0.1 better than it?
	Runs    []string     `json:"runs"`    // ids behind Loss
}

// Verdict is the answer to a question that data may leave open.
type Verdict string

// The verdicts.
const (
	Yes         Verdict = "yes"
	No          Verdict = "no"
	Undecidable Verdict = "not decidable"
	NotAsked    Verdict = "not measured"
)

// Findings says what each setting shows, in the order of the figures.
func (s *Set) Findings() []Finding {
	out := make([]Finding, 0, len(s.settings))
	for _, g := range s.settings {
		out = append(out, g.finding())
	}
	return out
}

// best returns the index of the level with the lowest mean, or −1.
func (s *setting) best() int { return bestLevel(s.levels, measure{}) }

// measured counts the levels that have a loss.
func (s *setting) measured() int { return measuredLevels(s.levels) }

// lossOptimal returns the level with the lowest mean validation loss, or nil where there is no choice.
func (s *setting) lossOptimal() *level {
	if at := s.best(); at >= 0 && s.measured() > 1 {
		return &s.levels[at]
	}
	return nil
}

// bestLevel returns the index of the level with the best mean, the first of equal ones, or −1.
func bestLevel(levels []level, m measure) int {
	at := -1
	for i, l := range levels {
		if l.N > 0 && (at < 0 || m.better(l.Mean, levels[at].Mean)) {
			at = i
		}
	}
	return at
}

// measuredLevels counts the levels that have a value.
func measuredLevels(levels []level) int {
	n := 0
	for _, l := range levels {
		if l.N > 0 {
			n++
		}
	}
	return n
}

// difference is loss(a) − loss(b), paired by seed.
func difference(a, b *level) estimate {
	var values []float64
	for _, v := range a.seeds {
		if other, ok := b.loss(v.seed); ok {
			values = append(values, v.loss-other)
		}
	}
	return estimateMean(values)
}

// wins counts, for each level, the seeds in which it has the lowest loss, among seeds that have every measured level.
// A tie counts for the smaller decay.
func (s *setting) wins() (perLevel []int, seeds int) {
	perLevel = make([]int, len(s.levels))
	if s.measured() < 2 {
		return perLevel, 0
	}
	for _, v := range s.levels[s.best()].seeds {
		at, lowest, whole := -1, math.Inf(1), true
		for i := range s.levels {
			if s.levels[i].N == 0 {
				continue
			}
			loss, ok := s.levels[i].loss(v.seed)
			whole = whole && ok
			if ok && loss < lowest {
				at, lowest = i, loss
			}
		}
		if whole && at >= 0 {
			perLevel[at]++
			seeds++
		}
	}
	return perLevel, seeds
}

// neighbour returns the next measured level in the direction, or nil.
func (s *setting) neighbour(at, direction int) *level {
	for i := at + direction; i >= 0 && i < len(s.levels); i += direction {
		if s.levels[i].N > 0 {
			return &s.levels[i]
		}
	}
	return nil
}

// finding puts the setting into words.
func (s *setting) finding() Finding {
	nan := record.Float(math.NaN())
	f := Finding{Setting: s.fullTitle(), Best: nan, Loss: nan, Low: nan, High: nan, Larger: NotAsked}
	at := s.best()
	if at < 0 {
		f.Text = "No run of this setting has finished with a finite validation loss yet, so there is nothing to compare."
		return f
	}
	best := &s.levels[at]
	for _, v := range best.seeds {
		for _, m := range v.runs {
			f.Runs = append(f.Runs, m.Info.ID)
		}
	}
	f.Loss, f.Low, f.High, f.Seeds = record.Float(best.Mean), record.Float(best.low()), record.Float(best.high()), best.N
	if s.measured() < 2 {
		f.Text = fmt.Sprintf("Only one weight decay has been measured (λ = %s, %s), so nothing can be said about which is best.",
			lambda(best.decay), lossInWords(best))
		return f
	}
	f.Best = record.Float(best.decay)
	parts := []string{fmt.Sprintf("Of %d weight decays tried, λ = %s has the lowest mean validation loss: %s.",
		s.measured(), lambda(best.decay), lossInWords(best))}
	if wins, seeds := s.wins(); seeds > 1 {
		parts = append(parts, fmt.Sprintf("It is the lowest in %d of %d seeds.", wins[at], seeds))
	}
	parts = append(parts, s.againstNeighbours(at), s.againstDefault(&f))
	if s.neighbour(at, 1) == nil {
		parts = append(parts, "It is the largest decay tried, so the optimum may lie beyond it.")
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	f.Text = strings.Join(parts, " ")
	return f
}

// fullTitle names the setting in full.
func (s *setting) fullTitle() string {
	title, budget := s.title, tokensPerParameter(s.runs[0].Info)
	if !strings.HasPrefix(s.label, budget) {
		title += ", " + budget
	}
	if s.label != "" {
		title += ", " + s.label
	}
	return title
}

// lossInWords is "2.5450 nats per token (95 % interval 2.5301 to 2.5599, 3 seeds)".
func lossInWords(l *level) string {
	if !l.hasInterval() {
		return fmt.Sprintf("%s nats per token (one seed, so no interval)", nats(l.Mean))
	}
	return fmt.Sprintf("%s nats per token (95 %% interval %s to %s, %s)",
		nats(l.Mean), nats(l.low()), nats(l.high()), plural(l.N, "seed"))
}

// againstNeighbours says whether the optimum is told apart from the decays beside it.
func (s *setting) againstNeighbours(at int) string {
	best := &s.levels[at]
	var open, told []string
	for _, direction := range []int{-1, 1} {
		l := s.neighbour(at, direction)
		if l == nil {
			continue
		}
		d := difference(l, best)
		text := fmt.Sprintf("λ = %s (%s)", lambda(l.decay), differenceInWords(d, nats))
		if d.excludesZero() {
			told = append(told, text)
		} else {
			open = append(open, text)
		}
	}
	switch {
	case len(open) == 0:
		return "It is told apart from " + strings.Join(told, " and ") + "."
	case len(told) == 0:
		return "Which of it and its neighbours is best is not decidable: " + strings.Join(open, " and ") + "."
	default:
		return "It is told apart from " + told[0] + ", but not from " + open[0] + "."
	}
}

// differenceInWords is "+0.0040, interval 0.0021 to 0.0059" of numbers as show writes them.
func differenceInWords(d estimate, show func(float64) string) string {
	switch {
	case d.N == 0:
		return "no seed in common"
	case !d.hasInterval():
		return plus(d.Mean) + show(d.Mean) + ", one seed"
	}
	return fmt.Sprintf("%s%s, interval %s to %s", plus(d.Mean), show(d.Mean), strings.TrimSuffix(show(d.low()), pointsUnit), show(d.high()))
}

// plus is the sign of a positive difference.
func plus(difference float64) string {
	if difference > 0 {
		return "+"
	}
	return ""
}

// againstDefault compares the best decay above the common default with the default.
func (s *setting) againstDefault(f *Finding) string {
	var base, larger *level
	for i := range s.levels {
		l := &s.levels[i]
		switch {
		case l.N == 0:
		case l.decay == defaultDecay:
			base = l
		case l.decay > defaultDecay && (larger == nil || l.Mean < larger.Mean):
			larger = l
		}
	}
	if base == nil || larger == nil {
		return ""
	}
	d := difference(larger, base)
	shown := differenceInWords(d, nats)
	switch {
	case !d.excludesZero():
		f.Larger = Undecidable
		why := "the interval of the paired difference contains zero"
		if d.N < 2 {
			why = "that takes at least two seeds"
		}
		return fmt.Sprintf("Whether a decay larger than the common default of 0.1 is better is not decidable here: %s for λ = %s (%s).",
			why, lambda(larger.decay), shown)
	case d.Mean < 0:
		f.Larger = Yes
		return fmt.Sprintf("A decay larger than the common default of 0.1 is better for the loss: λ = %s (%s, paired by seed).",
			lambda(larger.decay), shown)
	default:
		f.Larger = No
		return fmt.Sprintf("No larger decay beats the common default of 0.1: the best of them is λ = %s (%s, paired by seed).",
			lambda(larger.decay), shown)
	}
}
