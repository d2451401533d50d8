package plots

import (
	"fmt"
	"math"
	"strings"

	"plasticity/record"
)

// TunedFinding is what one setting shows after fine-tuning, on one task or on the average over tasks, with the numbers behind the words.
type TunedFinding struct {
	Setting         string       `json:"setting"`
	Task            string       `json:"task"`  // empty: the average over tasks
	Tasks           int          `json:"tasks"` // behind it
	Measure         string       `json:"measure"`
	HigherIsBetter  bool         `json:"higher_is_better"`
	Recipe          string       `json:"recipe"`
	Text            string       `json:"text"`     // in plain words
	Best            record.Float `json:"best"`     // λ with the best mean; NaN when fewer than two decays were measured
	BestLow         record.Float `json:"best_low"` // 95 % percentile interval of it, bootstrapped over seeds; NaN with fewer than two
	BestHigh        record.Float `json:"best_high"`
	Value           record.Float `json:"value"` // mean there
	Low             record.Float `json:"low"`   // 95 % t interval of it; NaN with one seed
	High            record.Float `json:"high"`
	Seeds           int          `json:"seeds"`            // behind Value
	LossOptimal     Comparison   `json:"loss_optimal"`     // the best less the decay with the lowest validation loss
	Default         Comparison   `json:"default"`          // the best less the common default of 0.1
	NeverPretrained Comparison   `json:"never_pretrained"` // the loss-optimal decay less the never-pretrained model
	Runs            []string     `json:"runs"`             // ids behind Value
	// The best λ by other ways to choose the fine-tuning rate; NaN without a choice, and for other measures than the average response loss.
	BestOfRecipes record.Float `json:"best_of_recipes"` // each base model and task by its best recipe
	Matched       record.Float `json:"matched"`         // at rates in proportion to the base models' weight norms, interpolated
}

// Comparison is a difference paired by seed. Yes: better beyond the interval; No: worse beyond it, or the same decay.
type Comparison struct {
	Than       record.Float `json:"than"` // λ; NaN for a model without pretraining, and when nothing is compared
	Difference record.Float `json:"difference"`
	Low        record.Float `json:"low"` // of the 95 % interval
	High       record.Float `json:"high"`
	Seeds      int          `json:"seeds"` // in pairs
	Verdict    Verdict      `json:"verdict"`
}

// compare judges a less b.
func compare(m measure, a, b *level, than float64) (Comparison, estimate) {
	d := difference(a, b)
	c := Comparison{
		Than: record.Float(than), Difference: record.Float(d.Mean), Low: record.Float(d.low()), High: record.Float(d.high()), Seeds: d.N,
		Verdict: Undecidable,
	}
	switch {
	case d.excludesZero() && m.better(d.Mean, 0):
		c.Verdict = Yes
	case d.excludesZero():
		c.Verdict = No
	}
	return c, d
}

// notCompared is the comparison that was not made.
func notCompared() Comparison {
	nan := record.Float(math.NaN())
	return Comparison{Than: nan, Difference: nan, Low: nan, High: nan, Verdict: NotAsked}
}

// Downstream says what each setting shows after fine-tuning: for each drawn measure the average over tasks, then every task.
func (s *Set) Downstream() []TunedFinding {
	out := []TunedFinding{}
	for _, d := range s.down {
		out = append(out, d.findings(s.drawnMeasures())...)
	}
	return out
}

// findings are those of one setting.
func (d *downstream) findings(measures []measure) []TunedFinding {
	var out []TunedFinding
	for _, m := range measures {
		if len(d.tasksWith(m)) == 0 {
			continue
		}
		for task := -1; task < len(d.tasks); task++ {
			if r := d.results(task, m, d.fixed); r.measured() > 0 || task < 0 {
				out = append(out, d.finding(&r))
			}
		}
	}
	return out
}

// finding puts results into words.
func (d *downstream) finding(r *results) TunedFinding {
	nan := record.Float(math.NaN())
	f := TunedFinding{
		Setting: d.base.fullTitle(), Task: r.task, Tasks: r.tasks, Measure: r.name, HigherIsBetter: r.higher, Recipe: d.recipes[d.fixed].label,
		Best: nan, BestLow: nan, BestHigh: nan, Value: nan, Low: nan, High: nan,
		LossOptimal: notCompared(), Default: notCompared(), NeverPretrained: notCompared(), BestOfRecipes: nan, Matched: nan,
	}
	head := fmt.Sprintf("%s, %s: ", sentence(r.title()), r.inWords())
	at := r.best()
	if at < 0 {
		f.Text = head + "no weight decay has a result yet."
		return f
	}
	best := &r.levels[at]
	f.Value, f.Low, f.High, f.Seeds = record.Float(best.Mean), record.Float(best.low()), record.Float(best.high()), best.N
	f.Runs = strings.Fields(best.ids())
	if r.measured() < 2 {
		f.Text = head + fmt.Sprintf("only λ = %s has been measured, %s, so nothing can be said about which is best.", lambda(best.decay), r.valueInWords(best))
		return f
	}
	f.Best = record.Float(best.decay)
	text := fmt.Sprintf("of %d weight decays λ = %s is best, %s", r.measured(), lambda(best.decay), r.valueInWords(best))
	if low, high, ok := r.bestSpan(); ok {
		f.BestLow, f.BestHigh = record.Float(low), record.Float(high)
		text += "; 95 % bootstrap interval of the best decay over seeds: " + between(low, high)
	}
	parts := []string{head + text + ".", d.againstLossOptimal(r, best, &f), againstCommon(r, best, &f), d.otherRates(r, &f), d.againstFresh(r, &f)}
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	f.Text = strings.Join(said, " ")
	return f
}

// bestSpan is the bootstrapped percentile interval of the best decay.
func (r *results) bestSpan() (low, high float64, ok bool) {
	_, rows := wholeSeeds(r.levels)
	first, last, ok := span(bootstrapBest(rows, r.measure, bootstrapRounds))
	if !ok {
		return math.NaN(), math.NaN(), false
	}
	var decays []float64
	for _, l := range r.levels {
		if l.N > 0 {
			decays = append(decays, l.decay)
		}
	}
	return decays[first], decays[last], true
}

func between(low, high float64) string {
	if low == high {
		return "that one alone"
	}
	return fmt.Sprintf("%s to %s", lambda(low), lambda(high))
}

// sentence begins with a capital when it is not a name.
func sentence(title string) string {
	if rest, ok := strings.CutPrefix(title, "average"); ok {
		return "Average" + rest
	}
	return title
}

// valueInWords is "0.9652 (95 % interval 0.9301 to 1.0003, 3 seeds)".
func (r *results) valueInWords(l *level) string {
	if !l.hasInterval() {
		return r.show(l.Mean) + " (one seed, so no interval)"
	}
	return fmt.Sprintf("%s (95 %% interval %s to %s, %s)", r.show(l.Mean), r.show(l.low()), r.show(l.high()), plural(l.N, "seed"))
}

// verdict puts the outcome of a comparison into words.
func verdict(c Comparison) string {
	switch {
	case c.Verdict == Yes:
		return "told apart"
	case c.Verdict == No:
		return "told apart, the other way"
	case c.Seeds < 2:
		return "not decidable with fewer than two seeds in common"
	default:
		return "not decidable"
	}
}

// againstLossOptimal compares the best decay with that of the lowest validation loss.
func (d *downstream) againstLossOptimal(r *results, best *level, f *TunedFinding) string {
	lowest := d.lossOptimal()
	switch {
	case lowest == nil:
		return ""
	case lowest.decay == best.decay:
		f.LossOptimal.Than, f.LossOptimal.Verdict = record.Float(lowest.decay), No
		return "It is the loss-optimal decay, too."
	}
	other := r.at(lowest.decay)
	if other == nil {
		return fmt.Sprintf("The loss-optimal λ = %s has no result here to compare with.", lambda(lowest.decay))
	}
	c, diff := compare(r.measure, best, other, lowest.decay)
	f.LossOptimal = c
	return fmt.Sprintf("Against the loss-optimal λ = %s: %s (paired by seed), %s.", lambda(lowest.decay), r.difference(diff), verdict(c))
}

// againstCommon compares the best decay with the common default.
func againstCommon(r *results, best *level, f *TunedFinding) string {
	base := r.at(defaultDecay)
	switch {
	case base == nil:
		return ""
	case base.decay == best.decay:
		f.Default.Than, f.Default.Verdict = record.Float(defaultDecay), No
		return "It is the common default."
	case float64(f.LossOptimal.Than) == defaultDecay:
		f.Default = f.LossOptimal
		return "That is the common default, too."
	}
	c, diff := compare(r.measure, best, base, defaultDecay)
	f.Default = c
	return fmt.Sprintf("Against the common default of 0.1: %s, %s.", r.difference(diff), verdict(c))
}

// otherRates says which decay is best by other ways to choose the rate: whether plasticity may be the size of the step relative to the weights.
func (d *downstream) otherRates(r *results, f *TunedFinding) string {
	if r.task != "" || r.name != responseLoss {
		return ""
	}
	var parts []string
	say := func(recipe int, how string) record.Float {
		b := d.bestBy(recipe)
		if b.best == nil {
			return record.Float(math.NaN())
		}
		text := fmt.Sprintf("%s λ = %s is best, %s", how, lambda(b.best.decay), r.valueInWords(b.best))
		if b.lowest != nil && b.lowest.decay != b.best.decay {
			text += fmt.Sprintf("; against the loss-optimal λ = %s: %s, %s", lambda(b.lowest.decay), r.difference(b.difference), verdict(b.comparison))
		}
		parts = append(parts, text+".")
		return record.Float(b.best.decay)
	}
	if len(d.recipes) > 1 {
		f.BestOfRecipes = say(bestOfRecipes, "By the best recipe for each base model and task, chosen on the test set,")
	}
	if d.match != nil {
		f.Matched = say(matchedRate, "At rates in proportion to each base model's weight norm, interpolated,")
	}
	return strings.Join(parts, " ")
}

// bestBy is the best decay by a way to choose recipes, for the average response loss, beside the loss-optimal one.
type bestBy struct {
	best, lowest *level // nil where fewer than two decays were measured, and where the loss-optimal one has no result
	comparison   Comparison
	difference   estimate // the best less the loss-optimal, paired by seed
}

// bestBy finds it.
func (d *downstream) bestBy(recipe int) bestBy {
	r := d.results(-1, measure{name: responseLoss}, recipe)
	if r.measured() < 2 {
		return bestBy{}
	}
	b := bestBy{best: &r.levels[r.best()]}
	if lowest := d.lossOptimal(); lowest != nil {
		b.lowest = r.at(lowest.decay)
	}
	if b.lowest != nil {
		b.comparison, b.difference = compare(r.measure, b.best, b.lowest, b.lowest.decay)
	}
	return b
}

// againstFresh says whether pretraining helps. It asks it of the loss-optimal decay, which was not picked by these results.
func (d *downstream) againstFresh(r *results, f *TunedFinding) string {
	switch {
	case r.fresh.N > 0:
	case r.task != "":
		return "" // the average says it
	default:
		return "Whether pretraining helps is not known: there is no never-pretrained model."
	}
	lowest := d.lossOptimal()
	if lowest == nil {
		return ""
	}
	pretrained := r.at(lowest.decay)
	if pretrained == nil {
		return ""
	}
	c, diff := compare(r.measure, pretrained, &r.fresh, math.NaN())
	f.NeverPretrained = c
	answer := "whether pretraining helps is " + verdict(c)
	switch c.Verdict {
	case Yes:
		answer = "pretraining helps"
	case No:
		answer = "pretraining hurts"
	case Undecidable, NotAsked:
	}
	return fmt.Sprintf("Never pretrained: %s; the loss-optimal λ = %s differs by %s: %s.", r.valueInWords(&r.fresh), lambda(lowest.decay), r.difference(diff), answer)
}

// downOf returns what became of the models of a setting, or nil.
func (s *Set) downOf(g *setting) *downstream {
	for _, d := range s.down {
		if d.base == g {
			return d
		}
	}
	return nil
}

// downstreamHeadline is the finding on the average response loss, in a sentence or two; empty without fine-tuned runs.
func (s *Set) downstreamHeadline(main *setting) string {
	d := s.downOf(main)
	if d == nil {
		return ""
	}
	r := d.results(-1, measure{name: responseLoss}, d.fixed)
	f := d.finding(&r)
	if math.IsNaN(float64(f.Best)) {
		return "After fine-tuning, too few weight decays have been measured to say which is best."
	}
	best := &r.levels[r.best()]
	text := fmt.Sprintf("After fine-tuning, λ = %s has the lowest response loss on %s: %s.", lambda(best.decay), r.theTitle(), r.valueInWords(best))
	c := f.LossOptimal
	switch c.Verdict {
	case Yes:
		text += fmt.Sprintf(" It is better there than the loss-optimal λ = %s: %s (paired by seed).", lambda(float64(c.Than)), r.difference(difference(best, r.at(float64(c.Than)))))
	case Undecidable:
		text += fmt.Sprintf(" Whether it is better than the loss-optimal λ = %s is not decidable from these runs.", lambda(float64(c.Than)))
	case No:
		if c.Than == f.Best {
			text += " That is the loss-optimal decay, too."
			break
		}
		text += fmt.Sprintf(" In the seeds that both have, the loss-optimal λ = %s is better: %s.", lambda(float64(c.Than)), r.difference(difference(best, r.at(float64(c.Than)))))
	case NotAsked:
	}
	return text
}
