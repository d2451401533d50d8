package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"plasticity/record"
)

// tradeoff sets the validation loss of base models against their results after fine-tuning.
type tradeoff struct {
	d       *downstream
	paired  // loss and downstream average by the fixed recipe
	pearson correlation
	rank    correlation // Spearman's
	pairs   []lossPair

	front       []int // of loss and after
	recommended int   // index; −1 without
	seeds       []int64
	// How often each level was chosen by the bootstrap; nil without two seeds that every level has.
	lossWins, afterWins, recommendWins []int
}

// lossPair are two decays of equal loss, as far as the interval tells, that are told apart after fine-tuning: after(b) is better.
type lossPair struct {
	a, b        float64
	loss, after estimate // b less a, paired by seed
}

// newTradeoff computes everything that Figure 3 shows of a setting.
func newTradeoff(d *downstream) *tradeoff {
	m := measure{name: responseLoss}
	t := &tradeoff{d: d, paired: d.paired(baseLoss, d.averageOf(d.tasksWith(m), m, d.fixed)), recommended: -1}
	t.pearson, t.rank = t.correlate(pearson), t.spearman()
	t.pairs = equalLossPairs(t.x, t.y)
	loss, after := levelMeans(t.x), levelMeans(t.y)
	if len(loss) > 1 {
		t.front = paretoFront(loss, after, m)
		t.recommended = recommend(loss, after, m)
	}
	var rows, afterRows [][]float64
	t.seeds, rows = wholeSeeds(t.x)
	_, afterRows = wholeSeeds(t.y)
	if len(loss) > 1 {
		t.lossWins = bootstrapBest(rows, m, bootstrapRounds)
		t.afterWins = bootstrapBest(afterRows, m, bootstrapRounds)
		t.recommendWins = bootstrapRecommended(rows, afterRows, m, bootstrapRounds)
	}
	return t
}

func levelMeans(levels []level) []float64 {
	out := make([]float64, len(levels))
	for i, l := range levels {
		out[i] = l.Mean
	}
	return out
}

// equalLossPairs finds the pairs whose paired loss difference may be zero and whose downstream difference is not, the clearest first.
func equalLossPairs(loss, after []level) []lossPair {
	var out []lossPair
	for i := range loss {
		for j := range i {
			dl, da := difference(&loss[i], &loss[j]), difference(&after[i], &after[j])
			if !dl.hasInterval() || dl.excludesZero() || !da.excludesZero() {
				continue
			}
			p := lossPair{a: loss[j].decay, b: loss[i].decay, loss: dl, after: da}
			if da.Mean > 0 {
				p.a, p.b = p.b, p.a
				p.loss.Mean, p.after.Mean = -dl.Mean, -da.Mean
			}
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(p, q lossPair) int { return cmp.Compare(p.after.Mean, q.after.Mean) })
	return out
}

// sure is the share of bootstrap samples that recommend what is recommended; NaN without a bootstrap.
func (t *tradeoff) sure() float64 { return share(t.recommendWins, t.recommended) }

// share is the part of the counts at an index; NaN without counts.
func share(counts []int, at int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	if total == 0 || at < 0 {
		return math.NaN()
	}
	return float64(counts[at]) / float64(total)
}

// shares are the parts of all counts.
func shares(counts []int) []float64 {
	out := make([]float64, len(counts))
	for i := range counts {
		out[i] = share(counts, i)
	}
	return out
}

// percent writes a share: "62 %"; what is neither none nor all is never written so.
func percent(v float64) string {
	switch p := 100 * v; {
	case math.IsNaN(v):
		return "–"
	case p > 0 && p < 1:
		return "< 1 %"
	case p < 100 && p > 99:
		return "> 99 %"
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// coefficient writes a correlation with its range: "−0.93 (−0.97 to −0.85)".
func coefficient(c correlation) string {
	if !finite(c.r) {
		return "not defined"
	}
	if !finite(c.low) {
		return two(c.r)
	}
	return fmt.Sprintf("%s (%s to %s)", two(c.r), two(c.low), two(c.high))
}

// decays lists weight decays in words: "0.1, 0.3 and 1".
func decayList(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = lambda(v)
	}
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " and " + texts[len(texts)-1]
}

// frontDecays lists the decays on the Pareto front, ascending.
func (t *tradeoff) frontDecays() []float64 {
	var out []float64
	for _, i := range t.front {
		out = append(out, t.x[i].decay)
	}
	slices.Sort(out)
	return out
}

// inWords is the paragraph of a setting, with so many equal-loss pairs at most.
func (t *tradeoff) inWords(most int) string {
	if len(t.x) < 2 {
		return "Fewer than two weight decays have both a validation loss and results on every task, so the two cannot be set against each other."
	}
	parts := []string{fmt.Sprintf("Base loss against downstream loss over %s: Pearson r = %s, Spearman ρ = %s; in brackets, one λ left out.",
		plural(len(t.points), "base run"), coefficient(t.pearson), coefficient(t.rank))}
	parts = append(parts, t.pairWords(most), t.frontWords(), t.recommendation())
	return strings.Join(parts, " ")
}

// pairWords lists the equal-loss pairs, so many at most.
func (t *tradeoff) pairWords(most int) string {
	n := len(t.pairs)
	switch {
	case !slices.ContainsFunc(t.x, func(l level) bool { return l.N > 1 }):
		return "Which base losses are told apart cannot be said with one seed."
	case n == 0:
		return "No two decays whose base losses are not told apart differ downstream beyond the interval."
	}
	var texts []string
	for _, p := range t.pairs[:min(n, most)] {
		texts = append(texts, fmt.Sprintf("λ = %s against %s (base %s, downstream %s)", lambda(p.b), lambda(p.a), bracketed(p.loss), bracketed(p.after)))
	}
	text := "Base loss not told apart, downstream loss told apart: " + strings.Join(texts, "; ")
	if n > most {
		text += "; and " + plural(n-most, "further pair")
	}
	return text + "."
}

// frontWords names the members of the front.
func (t *tradeoff) frontWords() string {
	return fmt.Sprintf("On the Pareto front: λ = %s.", decayList(t.frontDecays()))
}

// bracketed is "−0.0897 [−0.1203, −0.0592]".
func bracketed(d estimate) string {
	text := plus(d.Mean) + nats(d.Mean)
	if d.hasInterval() {
		text += fmt.Sprintf(" [%s, %s]", nats(d.low()), nats(d.high()))
	}
	return text
}

// recommendation says which decay is recommended, and how sure that is.
func (t *tradeoff) recommendation() string {
	text := fmt.Sprintf("Recommended λ = %s: the best downstream of those whose loss is within %g %% of the lowest", lambda(t.x[t.recommended].decay), 100*lossTolerance)
	if sure := t.sure(); finite(sure) {
		return text + fmt.Sprintf("; %s of bootstrap samples over %s recommend it.", percent(sure), plural(len(t.seeds), "seed"))
	}
	return text + "; how sure that is cannot be said with fewer than two seeds that every λ has."
}

// Tradeoff is what one setting shows of base loss against results after fine-tuning, with the numbers behind the words.
type Tradeoff struct {
	Setting     string          `json:"setting"`
	Recipe      string          `json:"recipe"`
	Text        string          `json:"text"`
	Pearson     [3]record.Float `json:"pearson"`  // coefficient over base runs; range when one λ is left out
	Spearman    [3]record.Float `json:"spearman"` // the same of ranks
	EqualLoss   []EqualLoss     `json:"equal_loss"`
	Front       []record.Float  `json:"front"`       // λ on the Pareto front
	Recommended record.Float    `json:"recommended"` // λ; NaN without
	Sure        record.Float    `json:"sure"`        // share of bootstrap samples that recommend it
	BaseRuns    int             `json:"base_runs"`
	Seeds       int             `json:"seeds"` // that every λ has: those of the bootstrap
}

// EqualLoss are two decays whose base losses may be equal and whose results after fine-tuning are not. Differences are B less A, paired by
// seed: mean and ends of the 95 % interval.
type EqualLoss struct {
	A          record.Float    `json:"a"` // λ
	B          record.Float    `json:"b"`
	Loss       [3]record.Float `json:"loss"`
	Downstream [3]record.Float `json:"downstream"`
}

// Tradeoffs says how base loss and results after fine-tuning go together, for each setting with fine-tuned runs.
func (s *Set) Tradeoffs() []Tradeoff {
	out := []Tradeoff{}
	for _, d := range s.down {
		t := newTradeoff(d)
		ends := func(e estimate) [3]record.Float {
			return [3]record.Float{record.Float(e.Mean), record.Float(e.low()), record.Float(e.high())}
		}
		f := Tradeoff{
			Setting: d.base.fullTitle(), Recipe: d.recipes[d.fixed].label, Text: t.inWords(4), Pearson: t.pearson.numbers(), Spearman: t.rank.numbers(),
			Recommended: record.Float(math.NaN()), Sure: record.Float(t.sure()), BaseRuns: len(t.points), Seeds: len(t.seeds),
			EqualLoss: []EqualLoss{}, Front: []record.Float{},
		}
		if t.recommended >= 0 {
			f.Recommended = record.Float(t.x[t.recommended].decay)
		}
		for _, p := range t.pairs {
			f.EqualLoss = append(f.EqualLoss, EqualLoss{record.Float(p.a), record.Float(p.b), ends(p.loss), ends(p.after)})
		}
		for _, v := range t.frontDecays() {
			f.Front = append(f.Front, record.Float(v))
		}
		out = append(out, f)
	}
	return out
}
