package plots

import "fmt"

// Claim is something that the paper says, or that follows from it, and what the runs of one setting say of it.
type Claim struct {
	Setting string  `json:"setting"`
	Claim   string  `json:"claim"`
	Held    Verdict `json:"held"`
	Numbers string  `json:"numbers"` // behind the verdict, in words
}

// InWords is the verdict for people.
func (c Claim) InWords() string {
	switch c.Held {
	case Yes:
		return "held"
	case No:
		return "not held"
	case NotAsked:
		return "not measured"
	case Undecidable:
	}
	return "not decidable here"
}

// Claims lists what the set says of each claim, setting by setting: what Findings, Downstream and the findings about what is inside models say at
// length.
func (s *Set) Claims() []Claim {
	out := []Claim{}
	settings, _ := ofPretraining(s)
	for _, g := range settings {
		if g.measured() < 2 {
			continue
		}
		title := g.fullTitle()
		add := func(claim string, held Verdict, numbers string) {
			out = append(out, Claim{title, claim, held, numbers})
		}
		f := g.finding()
		add("a weight decay above the common default of 0.1 has a lower loss", f.Larger, fmt.Sprintf("lowest at λ = %s", lambda(float64(f.Best))))
		if d := s.downOf(g); d != nil {
			d.claims(add)
		}
		g.insideClaims(add)
	}
	return out
}

// claims are those about results after fine-tuning.
func (d *downstream) claims(add func(claim string, held Verdict, numbers string)) {
	const larger = "the weight decay that is best after fine-tuning is above the loss-optimal one"
	d.claim(add, larger+", by the fixed recipe ("+d.recipes[d.fixed].label+")", d.fixed)
	if len(d.recipes) > 1 {
		d.claim(add, larger+", also with the best recipe for each model and task", bestOfRecipes)
	}
	if d.match != nil {
		d.claim(add, larger+", also at rates in proportion to weight norms", matchedRate)
	}
	if t := newForgottenTrade(d); len(t.points) > 0 {
		t.change.claim(add, "models of larger weight decay forget more in fine-tuning", t.words())
	}
}

// claim compares the best decay by a way to choose recipes with the loss-optimal one.
func (d *downstream) claim(add func(claim string, held Verdict, numbers string), text string, recipe int) {
	b := d.bestBy(recipe)
	if b.best == nil || b.lowest == nil {
		return
	}
	numbers := fmt.Sprintf("best λ = %s, loss-optimal λ = %s", lambda(b.best.decay), lambda(b.lowest.decay))
	held := b.comparison.Verdict
	switch {
	case b.best.decay == b.lowest.decay:
		add(text, No, numbers)
		return
	case b.best.decay < b.lowest.decay && held == Yes:
		held = No // a smaller one is better
	}
	add(text, held, numbers+": "+bracketed(b.difference))
}

// insideClaims are those about what is inside base models; of several groups of a setting those of the first, with the most runs.
func (s *setting) insideClaims(add func(claim string, held Verdict, numbers string)) {
	for _, task := range chunksOf(probeAnalysis().groupsOf(s), func(g *group[Probes]) string { return g.family }) {
		g := &probeGroup{task[0]}
		row := g.summaryRows()[0]
		newTrend(g.levels(row.accuracy)).claim(add, "probes of "+g.family+" read models of larger weight decay better", g.words(row))
	}
	if groups := rankAnalysis().groupsOf(s); len(groups) > 0 {
		g := &rankGroup{groups[0]}
		for product, name := range products() {
			newTrend(g.levels(product, meanOfLayers)).claim(add, "the pseudo-rank of "+name+" falls with weight decay", g.words(product))
		}
	}
	if groups := gapAnalysis().groupsOf(s); len(groups) > 0 {
		g := &gapGroup{groups[0]}
		for _, heldOut := range g.texts() {
			newTrend(g.gaps(heldOut)).claim(add, "the train-validation gap falls with weight decay ("+heldOut+")", gapWords(heldOut))
		}
	}
	if groups := noiseAnalysis().groupsOf(s); len(groups) > 0 {
		g := &noiseGroup{groups[0]}
		newTrend(g.rises(g.main())).claim(add, "models of larger weight decay are less sensitive to noise on their weights", g.words(g.main()))
	}
}

// claim adds that a quantity goes in the direction of its words.
func (t trend) claim(add func(claim string, held Verdict, numbers string), text string, w trendWords) {
	add(text, t.verdict(w.direction), t.numbers(w))
}

// numbers are the two ends of a trend and their difference.
func (t trend) numbers(w trendWords) string {
	if t.first == nil {
		return "one weight decay only"
	}
	text := fmt.Sprintf("%s at λ = %s, %s at λ = %s", w.show(t.first.Mean), lambda(t.first.decay), w.show(t.last.Mean), lambda(t.last.decay))
	if !t.difference.hasInterval() {
		return text
	}
	return text + fmt.Sprintf(": %s%s [%s, %s]", plus(t.difference.Mean), w.change(t.difference.Mean), w.change(t.difference.low()), w.change(t.difference.high()))
}

// ClaimTable lists the claims and what the runs say of them.
func ClaimTable(s *Set) Table {
	t := Table{
		Name: "claims", Title: "Claims, and whether they held", Columns: []string{"setting", "claim", "here", "numbers"},
		Note: "Differences are paired by seed, with 95 % t intervals that are not corrected for the number of claims or of decays looked at.",
	}
	for _, c := range s.Claims() {
		t.Rows = append(t.Rows, []string{c.Setting, c.Claim, c.InWords(), c.Numbers})
	}
	return t
}
