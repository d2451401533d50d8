package plots

import (
	"math"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// normed are the runs of twoByTwo with weight norms of 40, 40, 20 and 20.
func normed() []Record {
	records := twoByTwo()
	for i := range records[:4] {
		lines := records[i].Metrics
		lines[len(lines)-1].ParamNorm = []record.Float{40, 40, 20, 20}[i]
	}
	return records
}

// Rates of 3e-4 and 1e-3 were tried; of norms 40 and 20 the matched rates are c·40 and c·20. The larger the rate, the lower is the mean
// loss, so that c is as large as lets the larger one be tried: 1e-3/40. Those of λ = 0.1 are then 1e-3, those of λ = 1 5e-4.
func TestMatchedRate_ByHand(t *testing.T) {
	t.Parallel()
	s := NewSet(normed(), nil)
	d := s.down[0]
	if d.match == nil || len(d.match.rates) != 2 {
		t.Fatalf("%+v", d.match)
	}
	near(t, "rate over norm", d.match.relative, 1e-3/40, 1e-12)
	loss := measure{name: responseLoss}
	average := d.results(-1, loss, matchedRate)
	near(t, "at 0.1, as by the fixed rate", average.at(0.1).Mean, 2.1, 1e-9)
	part := math.Log(5e-4/3e-4) / math.Log(1e-3/3e-4)
	between := func(low, high float64) float64 { return low + part*(high-low) }
	near(t, "at 1", average.at(1).Mean, (between(0.7, 0.5)+between(4, 2)+between(0.8, 0.6)+between(4, 2.4))/4, 1e-9)
	if average.fresh.N != 0 {
		t.Error("a never-pretrained model has no norm to match")
	}
	finding := d.findings([]measure{loss})[0]
	if finding.Matched != 1 || finding.BestOfRecipes != 1 || !strings.Contains(finding.Text, "At rates in proportion to each base model's weight norm, interpolated, λ = 1 is best") {
		t.Errorf("%v, %v: %s", finding.Matched, finding.BestOfRecipes, finding.Text)
	}
	rows := slices.DeleteFunc(TunedTable(s).Rows, func(row []string) bool { return !strings.HasPrefix(row[3], "rate matched") })
	if len(rows) != 3*2 || !strings.Contains(PlasticityVsDecay(s).Caption, "Matched rate") {
		t.Errorf("%d rows", len(rows))
	}
}

// Nothing is matched without norms, or without a second rate; and other differences between recipes are no rates.
func TestMatchedRate_NeedsNormsAndRates(t *testing.T) {
	t.Parallel()
	if d := NewSet(twoByTwo(), nil).down[0]; d.match != nil {
		t.Errorf("matched without norms: %+v", d.match)
	}
	one := normed()
	one = slices.DeleteFunc(one, func(r Record) bool { return r.Info.Kind == kindFinetune && r.Info.LearningRate == 3e-4 })
	if d := NewSet(one, nil).down[0]; d.match != nil {
		t.Errorf("matched one rate: %+v", d.match)
	}
	other := normed()
	for i := range other {
		if r := &other[i]; r.Info.Kind == kindFinetune && r.Info.LearningRate == 3e-4 {
			r.Config = append(slices.Clone(r.Config), "schedule: {kind: constant}\n"...)
		}
	}
	if d := NewSet(other, nil).down[0]; d.match != nil {
		t.Errorf("matched rates of other schedules: %+v", d.match)
	}
}

// Forgetting is interpolated as results are: of λ = 1, whose matched rate of 5e-4 lies between those tried, and of 0.1, which is the fixed rate.
func TestForgettings_AtMatchedRates(t *testing.T) {
	t.Parallel()
	records := normed()
	for i := range records {
		if r := &records[i]; len(r.Info.Parents) > 0 {
			v := 0.2
			if r.Info.LearningRate == 1e-3 {
				v = 0.6
			}
			r.Forgetting = &Forgetting{Settings: ForgettingSettings{Context: 8, Tokens: 9}, Step: r.Info.Steps, Base: 2, Tuned: 2 + v}
		}
	}
	s := NewSet(records, nil)
	f := s.Forgettings()[0]
	part := math.Log(5e-4/3e-4) / math.Log(1e-3/3e-4)
	if f.Matched == nil {
		t.Fatal("nothing is matched")
	}
	near(t, "difference by the fixed rate", float64(f.Difference), 0, 1e-12)
	near(t, "difference at matched rates", float64(f.Matched.Difference), 0.2+0.4*part-0.6, 1e-9)
	if !strings.Contains(f.Text, "At rates in proportion to each base model's weight norm, interpolated, that rise is 0.6000 at λ = 0.1") {
		t.Error(f.Text)
	}
	matched := slices.DeleteFunc(ForgettingVsLearning(s).Points.Rows, func(row []string) bool { return row[1] != "mean at matched rates" })
	if len(matched) != 2 || len(ForgettingTable(s).Rows) != 2*2*3 {
		t.Errorf("%d points, %d rows", len(matched), len(ForgettingTable(s).Rows))
	}
}

// Where a middle ratio has the lowest mean loss, that is the one.
func TestMatchedRate_OfTheLowestMeanLoss(t *testing.T) {
	t.Parallel()
	bases := small().records(1)
	f := tuning()
	f.tasks, f.rates, f.fresh, f.answers = f.tasks[:1], []float64{3e-4, 1e-3, 3e-3}, 0, false
	records := append(slices.Clone(bases), f.of(bases)...)
	for i := range records {
		r := &records[i]
		last := &r.Metrics[len(r.Metrics)-1]
		last.ParamNorm = 30
		if len(r.Info.Parents) > 0 { // losses of 1, 0.5 and 0.8 for every base model
			loss := map[record.Float]record.Float{3e-4: 1, 1e-3: 0.5, 3e-3: 0.8}[r.Info.LearningRate]
			last.ValLoss = &loss
		}
	}
	d := NewSet(records, nil).down[0]
	near(t, "rate", math.Log(30*d.match.relative/1e-3), 0, math.Log(10)/48)
	near(t, "loss", d.results(-1, measure{name: responseLoss}, matchedRate).levels[0].Mean, 0.5, 0.02)
}

// A ratio at which a model has no result is not chosen for looking better without it.
func TestMatchedRate_WhereAllHaveResults(t *testing.T) {
	t.Parallel()
	bases := small().records(1)
	f := tuning()
	f.tasks, f.rates, f.fresh, f.answers = f.tasks[:1], []float64{3e-4, 1e-3, 3e-3}, 0, false
	tuned := slices.DeleteFunc(f.of(bases), func(r Record) bool { return r.Info.LearningRate == 3e-4 && r.Info.Parents[0] == bases[0].Info.ID })
	for i := range bases {
		bases[i].Metrics[len(bases[i].Metrics)-1].ParamNorm = 30
	}
	for i := range tuned {
		loss := map[record.Float]record.Float{3e-4: 0.4, 1e-3: 0.5, 3e-3: 0.8}[tuned[i].Info.LearningRate]
		if tuned[i].Info.Parents[0] == bases[0].Info.ID {
			loss = 9
		}
		last := &tuned[i].Metrics[len(tuned[i].Metrics)-1]
		last.ValLoss = &loss
	}
	if got := 30 * NewSet(append(bases, tuned...), nil).down[0].match.relative; math.Abs(math.Log(got/1e-3)) > math.Log(10)/48 {
		t.Errorf("a rate of %v, want 1e-3: below it a model has no result, above it all are worse", got)
	}
}
