package plots

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"plasticity/record"
)

// forgottenTrade sets what base models learn by fine-tuning against what they forget, by the fixed recipe over the tasks whose forgetting was
// measured.
type forgottenTrade struct {
	d      *downstream
	tasks  []taskKind
	paired // response loss and forgetting
	front  []int
	change trend // of forgetting over weight decay
	rank   correlation
	// Forgetting at rates matched to the base models' weight norms; nil where it was not measured at several rates.
	matched       []level
	matchedChange trend
}

// forgottenTrades are those of the settings that have some.
func (s *Set) forgottenTrades() []*forgottenTrade {
	var out []*forgottenTrade
	for _, d := range s.down {
		if t := newForgottenTrade(d); len(t.points) > 0 {
			out = append(out, t)
		}
	}
	return out
}

func newForgottenTrade(d *downstream) *forgottenTrade {
	m := measure{name: responseLoss}
	t := &forgottenTrade{d: d, tasks: d.tasksWith(forgettingMeasure())}
	t.paired = t.over(t.tasks, d.fixed)
	if len(t.x) > 1 {
		t.front = paretoFront(levelMeans(t.x), levelMeans(t.y), m)
	}
	t.change, t.rank = newTrend(t.y), t.spearman()
	if d.match != nil {
		if r := d.resultsOver(t.tasks, forgettingMeasure(), matchedRate); r.measured() > 1 {
			t.matched, t.matchedChange = withoutCrosses(r.levels), newTrend(r.levels)
		}
	}
	return t
}

// settings are those of the measurement.
func (t *forgottenTrade) settings() ForgettingSettings {
	for _, r := range t.d.runs {
		if r.forgot != nil {
			return r.forgot.Settings
		}
	}
	return ForgettingSettings{}
}

// taskWords names what is averaged: "arithmetic", "3 tasks".
func (t *forgottenTrade) taskWords() string {
	if len(t.tasks) == 1 {
		return t.tasks[0].name
	}
	return plural(len(t.tasks), "task")
}

// words name the forgetting.
func (t *forgottenTrade) words() trendWords {
	return trendWords{
		name: "forgetting", what: "the rise of the loss on the base's own kind of text by fine-tuning, averaged over " + t.taskWords() + ",", noun: "forgetting",
		direction: 1, show: nats, change: nats,
	}
}

// inWords is the paragraph of a setting.
func (t *forgottenTrade) inWords() string {
	parts := []string{t.change.text(t.words())}
	if len(t.front) > 0 {
		var decays []float64
		for _, i := range t.front {
			decays = append(decays, t.x[i].decay)
		}
		slices.Sort(decays)
		parts = append(parts, fmt.Sprintf("No other decay both learns more and forgets less than λ = %s.", decayList(decays)))
	}
	if t.matched != nil {
		words := t.words()
		words.what = "at rates in proportion to each base model's weight norm, interpolated, that rise"
		parts = append(parts, t.matchedChange.text(words))
	}
	if finite(t.rank.r) {
		parts = append(parts, fmt.Sprintf("Response loss against forgetting over %s: Spearman ρ = %s; in brackets, one λ left out.",
			plural(len(t.points), "base run"), coefficient(t.rank)))
	}
	return strings.Join(parts, " ")
}

// ForgettingFinding is what fine-tuning cost the base models of one setting: whether those of larger weight decay forget more.
type ForgettingFinding struct {
	Setting  string             `json:"setting"`
	Recipe   string             `json:"recipe"` // the fixed one
	Tasks    []string           `json:"tasks"`
	Settings ForgettingSettings `json:"forgetting"`
	Text     string             `json:"text"`
	Trend                       // nats per token
	Rises    Verdict            `json:"rises"`    // is the forgetting at the highest decay above that at the lowest?
	Front    []record.Float     `json:"front"`    // λ on the Pareto front of response loss and forgetting
	Spearman [3]record.Float    `json:"learning"` // correlation of response loss and forgetting; range when one λ is left out
	Matched  *Trend             `json:"matched"`  // of forgetting at rates matched to weight norms; null where there are none
}

// Forgettings says what was forgotten, for each setting with such runs.
func (s *Set) Forgettings() []ForgettingFinding {
	out := []ForgettingFinding{}
	for _, t := range s.forgottenTrades() {
		f := ForgettingFinding{
			Setting: t.d.base.fullTitle(), Recipe: t.d.recipes[t.d.fixed].label, Settings: t.settings(), Text: t.inWords(), Trend: t.change.Trend,
			Rises: t.change.verdict(t.words().direction), Front: []record.Float{}, Spearman: t.rank.numbers(),
		}
		if t.matched != nil {
			f.Matched = &t.matchedChange.Trend
		}
		for _, task := range t.tasks {
			f.Tasks = append(f.Tasks, task.name)
		}
		for _, i := range t.front {
			f.Front = append(f.Front, record.Float(t.x[i].decay))
		}
		out = append(out, f)
	}
	return out
}

// ForgettingTable lists, for each weight decay and task, the mean response loss and forgetting by the fixed recipe and, where it
// was measured at several rates, at matched ones, and the runs behind them.
func ForgettingTable(s *Set) Table {
	t := Table{
		Name: "forgetting-per-decay", Title: "Response loss after fine-tuning and rise of the loss on pretraining text (nats per token) per weight decay",
		Note:    "Means over seeds of base models; ± is the half-width of the 95 % t interval over seeds.",
		Columns: []string{"setting", "task", "recipe", "λ", "response loss", "± 95 %", "forgetting", "± 95 % (forgetting)", "n", "runs"},
	}
	for _, trade := range s.forgottenTrades() {
		rows := func(name, recipe string, both paired) {
			for i := range both.x {
				x, y := &both.x[i], &both.y[i]
				t.Rows = append(t.Rows, []string{
					trade.d.base.fullTitle(), name, recipe, number(x.decay), orBlank(x.Mean), orBlank(x.Half), orBlank(y.Mean),
					orBlank(y.Half), strconv.Itoa(x.N), y.ids(),
				})
			}
		}
		for _, w := range trade.ways() {
			if len(trade.tasks) > 1 {
				rows(fmt.Sprintf("average of %d tasks", len(trade.tasks)), w.label, trade.over(trade.tasks, w.recipe))
			}
			for i, task := range trade.tasks {
				rows(task.name, w.label, trade.over(trade.tasks[i:i+1], w.recipe))
			}
		}
	}
	return t
}

// ways are the fixed recipe and, where it was measured, the matched rate.
func (t *forgottenTrade) ways() []way {
	out := []way{{t.d.fixed, t.d.recipes[t.d.fixed].label}}
	if t.matched != nil {
		out = append(out, way{matchedRate, matchedLabel})
	}
	return out
}

// over are response loss and forgetting averaged over tasks.
func (t *forgottenTrade) over(tasks []taskKind, recipe int) paired {
	return t.d.paired(t.d.averageOf(tasks, measure{name: responseLoss}, recipe), t.d.averageOf(tasks, forgettingMeasure(), recipe))
}

// forgettingPoints lists what ForgettingVsLearning draws.
func forgettingPoints(drawn []*forgottenTrade) Table {
	t := Table{Name: "forgetting-vs-learning", Columns: []string{
		"setting", "mark", "weight_decay", "seed", "response_loss", "forgetting", "response_low", "response_high", "forgetting_low", "forgetting_high", "n", "pareto",
		"run_ids", "base_ids",
	}}
	nan := plain(math.NaN())
	for _, trade := range drawn {
		title := trade.d.base.fullTitle()
		for _, p := range trade.points {
			l := level{seeds: []seedLoss{{runs: p.runs}}}
			t.Rows = append(t.Rows, []string{
				title, "base run", plain(p.base.decay()), p.base.seed, plain(p.x), plain(p.y), nan, nan, nan, nan, "1", "", l.ids(), p.base.Info.ID,
			})
		}
		for _, l := range trade.matched {
			if l.N > 0 {
				t.Rows = append(t.Rows, []string{
					title, "mean at matched rates", plain(l.decay), "", nan, plain(l.Mean), nan, nan, plain(l.low()), plain(l.high()), strconv.Itoa(l.N), "", l.ids(), baseIDs(l.seeds),
				})
			}
		}
		onFront := map[int]bool{}
		for _, i := range trade.front {
			onFront[i] = true
		}
		for i := range trade.x {
			x, y := &trade.x[i], &trade.y[i]
			t.Rows = append(t.Rows, []string{
				title, "mean", plain(x.decay), "", plain(x.Mean), plain(y.Mean), plain(x.low()), plain(x.high()), plain(y.low()), plain(y.high()),
				strconv.Itoa(x.N), strconv.FormatBool(onFront[i]), y.ids(), baseIDs(y.seeds),
			})
		}
	}
	return t
}
