package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"plasticity/record"
)

// The two ways in which a weight decay is best.
const (
	byLoss   = iota // of the base models
	byTuning        // average response loss after fine-tuning, fixed recipe
	wayCount
)

// ways names them for people.
func ways() [wayCount]string {
	return [wayCount]string{"validation loss", "response loss after fine-tuning"}
}

// law is how AdamW's time-scale τ = B/(lr·λ·D) at the best weight decay moves with the tokens per parameter, over settings that are
// equal in everything else.
type law struct {
	title  string
	optima [wayCount][]optimum // ascending in tokens per parameter
	fits   [wayCount]powerLaw
}

// optimum is the best weight decay of a setting.
type optimum struct {
	setting   *setting
	recipe    string
	tpp       float64 // tokens per parameter
	tau       float64 // NaN when no decay above zero was measured
	low, high float64 // of the bootstrapped 95 % interval of tau; NaN with fewer than two seeds
	decay     float64
	edge      bool // the best decay that was tried is the smallest or the largest: the optimum may lie beyond
	seeds     int
	ids       string
	draws     []float64 // tau of each bootstrap sample
}

// powerLaw is τ = factor · TPP^exponent, by least squares in logarithms over the optima that do not lie at an edge.
type powerLaw struct {
	factor, exponent float64 // NaN with fewer than two optima
	low, high        float64 // of the bootstrapped 95 % interval of the exponent
	points           int
}

// at is the law's τ.
func (f powerLaw) at(tpp float64) float64 { return f.factor * math.Pow(tpp, f.exponent) }

// laws fits one to each family of settings.
func (s *Set) laws() []*law {
	down := map[*setting]*downstream{}
	for _, d := range s.down {
		down[d.base] = d
	}
	var out []*law
	titles := map[string]int{}
	for _, family := range s.families() {
		l := &law{title: family[0].title}
		if titles[l.title]++; titles[l.title] > 1 {
			l.title += fmt.Sprintf(" (%d)", titles[l.title])
		}
		for _, g := range family {
			l.add(byLoss, newOptimum(g, g.levels))
			if d := down[g]; d != nil {
				r := d.results(-1, measure{name: responseLoss}, d.fixed)
				o := newOptimum(g, r.levels)
				o.recipe = d.recipes[d.fixed].label
				l.add(byTuning, o)
			}
		}
		for way := range wayCount {
			slices.SortFunc(l.optima[way], func(a, b optimum) int { return cmp.Compare(a.tpp, b.tpp) })
			l.fits[way] = fitPowerLaw(l.optima[way])
		}
		out = append(out, l)
	}
	return out
}

// families are the settings of base models that differ in tokens alone; only those with two amounts or more.
func (s *Set) families() [][]*setting {
	settings, _ := ofPretraining(s)
	place := map[string]int{}
	var all [][]*setting
	for _, g := range settings {
		if g.runs[0].Info.Parameters <= 0 {
			continue
		}
		key := g.keyBut("tokens", "steps")
		at, known := place[key]
		if !known {
			at = len(all)
			place[key], all = at, append(all, nil)
		}
		all[at] = append(all[at], g)
	}
	return slices.DeleteFunc(all, func(family []*setting) bool { return len(family) < 2 })
}

// keyBut is the key of a setting without some of its fields.
func (s *setting) keyBut(names ...string) string {
	var fields []field
	for _, f := range s.fields {
		if !slices.Contains(names, f.name) {
			fields = append(fields, f)
		}
	}
	return fmt.Sprintf("%q", fields)
}

// add keeps what was measured.
func (l *law) add(way int, o optimum) {
	if finite(o.tau) {
		l.optima[way] = append(l.optima[way], o)
	}
}

// newOptimum finds the best decay of levels: the vertex of the parabola in log λ through the best mean and its neighbours, for the means
// and for those of seeds drawn anew. No decay is beyond the smallest that was tried.
func newOptimum(g *setting, levels []level) optimum {
	info := g.runs[0].Info
	o := optimum{setting: g, tpp: float64(info.Tokens) / float64(info.Parameters), tau: math.NaN(), low: math.NaN(), high: math.NaN()}
	var measured []level
	for _, l := range levels {
		if l.N > 0 {
			measured = append(measured, l)
		}
	}
	positive := slices.IndexFunc(measured, func(l level) bool { return l.decay > 0 && finite(l.tau) })
	if positive < 0 || len(measured) < 2 {
		return o
	}
	decays := make([]float64, len(measured))
	for i, l := range measured {
		decays[i] = l.decay
	}
	scale := measured[positive].tau * measured[positive].decay // τ·λ is the same for all
	best, edge := vertex(decays, levelMeans(measured))
	o.decay, o.tau, o.edge = best, scale/best, edge
	at := measured[bestLevel(measured, measure{})]
	o.seeds, o.ids = at.N, at.ids()
	seeds, rows := wholeSeeds(measured)
	if len(seeds) < 2 {
		return o
	}
	means := make([]float64, len(rows))
	resample(bootstrapRounds, len(seeds), func(drawn []int) {
		drawnMeans(means, rows, drawn)
		decay, _ := vertex(decays, means)
		o.draws = append(o.draws, scale/decay)
	})
	o.low, o.high = percentiles(o.draws)
	return o
}

// vertex is where values over ascending decays are lowest. edge says that this is at an end of the decays above zero, which includes a
// lowest value at zero.
func vertex(decays, values []float64) (decay float64, edge bool) {
	at := bestOf(values, measure{})
	first := 0
	if decays[0] == 0 {
		first = 1
	}
	if at = max(at, first); at == first || at == len(decays)-1 {
		return decays[at], true
	}
	x0, x1, x2 := math.Log(decays[at-1]), math.Log(decays[at]), math.Log(decays[at+1])
	left, right := (values[at]-values[at-1])/(x1-x0), (values[at+1]-values[at])/(x2-x1)
	if !(right > left) {
		return decays[at], false
	}
	// The derivative is left in the middle of the first two and right in that of the last two, and linear between.
	low, high := (x0+x1)/2, (x1+x2)/2
	return math.Exp(low + (high-low)*(-left)/(right-left)), false
}

// percentiles are the ends of the interval that holds 95 % of the values.
func percentiles(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	tail := (1 - confidence) / 2
	return stat.Quantile(tail, stat.Empirical, sorted, nil), stat.Quantile(1-tail, stat.Empirical, sorted, nil)
}

// fitPowerLaw fits the optima that are not at an edge. Its interval takes the same draw of the bootstrap in all of them.
func fitPowerLaw(optima []optimum) powerLaw {
	nan := math.NaN()
	fit := powerLaw{nan, nan, nan, nan, 0}
	var x, y []float64
	var inner []optimum
	for _, o := range optima {
		if !o.edge {
			inner = append(inner, o)
			x, y = append(x, math.Log(o.tpp)), append(y, math.Log(o.tau))
		}
	}
	if fit.points = len(inner); fit.points < 2 {
		return fit
	}
	intercept, slope := stat.LinearRegression(x, y, nil, false)
	fit.factor, fit.exponent = math.Exp(intercept), slope
	if slices.ContainsFunc(inner, func(o optimum) bool { return len(o.draws) == 0 }) {
		return fit
	}
	slopes := make([]float64, bootstrapRounds)
	for k := range slopes {
		for i, o := range inner {
			y[i] = math.Log(o.draws[k])
		}
		_, slopes[k] = stat.LinearRegression(x, y, nil, false)
	}
	fit.low, fit.high = percentiles(slopes)
	return fit
}

// inWords says what a way's optima show.
func (l *law) inWords(way int) string {
	name := ways()[way]
	fit, optima := l.fits[way], l.optima[way]
	if len(optima) == 0 {
		return ""
	}
	var edges []string
	for _, o := range optima {
		if o.edge {
			edges = append(edges, short(rounded(o.tpp, 2)))
		}
	}
	var text string
	switch {
	case fit.points < 2:
		text = fmt.Sprintf("By %s there is no law: fewer than two optima lie between decays that were tried.", name)
	case !finite(fit.low):
		text = fmt.Sprintf("By %s the best τ is %s · TPP^%s over %s; one seed, so no interval.", name, short(rounded(fit.factor, 3)), two(fit.exponent), plural(fit.points, "amount"))
	default:
		text = fmt.Sprintf("By %s the best τ is %s · TPP^%s over %s, exponent %s to %s.", name, short(rounded(fit.factor, 3)), two(fit.exponent),
			plural(fit.points, "amount"), two(fit.low), two(fit.high))
	}
	if len(edges) > 0 {
		text += fmt.Sprintf(" At %s TPP the best decay is the smallest or largest that was tried, so the optimum may lie beyond; left out of the fit.", listed(edges))
	}
	return text
}

// two writes two decimals.
func two(v float64) string { return minus(fmt.Sprintf("%.2f", v)) }

// Law is how the best weight decay of otherwise equal settings moves with tokens per parameter, with the numbers behind the words.
type Law struct {
	Setting  string       `json:"setting"`
	By       string       `json:"by"` // validation loss | response loss after fine-tuning
	Text     string       `json:"text"`
	Factor   record.Float `json:"factor"` // of τ = factor · TPP^exponent; NaN without a fit
	Exponent record.Float `json:"exponent"`
	Low      record.Float `json:"low"` // of the bootstrapped 95 % interval of the exponent
	High     record.Float `json:"high"`
	Optima   []Optimum    `json:"optima"`
}

// Optimum is the best weight decay at one amount of tokens.
type Optimum struct {
	TPP   record.Float `json:"tokens_per_parameter"`
	Tau   record.Float `json:"tau"`
	Low   record.Float `json:"low"` // of the bootstrapped 95 % interval of tau
	High  record.Float `json:"high"`
	Decay record.Float `json:"weight_decay"`
	Edge  bool         `json:"edge"` // at the smallest or largest decay that was tried
	Seeds int          `json:"seeds"`
	Runs  []string     `json:"runs"`
}

// Laws says how the best decay moves with tokens per parameter, for each family of settings with two amounts or more.
func (s *Set) Laws() []Law {
	out := []Law{}
	for _, l := range s.laws() {
		for way := range wayCount {
			if len(l.optima[way]) == 0 {
				continue
			}
			fit := l.fits[way]
			f := Law{
				Setting: l.title, By: ways()[way], Text: l.inWords(way), Factor: record.Float(fit.factor), Exponent: record.Float(fit.exponent),
				Low: record.Float(fit.low), High: record.Float(fit.high), Optima: []Optimum{},
			}
			for _, o := range l.optima[way] {
				f.Optima = append(f.Optima, Optimum{
					TPP: record.Float(o.tpp), Tau: record.Float(o.tau), Low: record.Float(o.low), High: record.Float(o.high),
					Decay: record.Float(o.decay), Edge: o.edge, Seeds: o.seeds, Runs: strings.Fields(o.ids),
				})
			}
			out = append(out, f)
		}
	}
	return out
}
