package plots

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

type object = map[string]any

// parseWith encodes a document for a parser.
func parseWith[A any](t *testing.T, d object, parse func([]byte) (*A, error)) (*A, error) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return parse(text)
}

func TestParseNoise_RefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	r := withNoise(small().records(1))[0]
	first := func(d object) object { return d["levels"].([]any)[0].(object) }
	settings := func(d object) object { return d["settings"].(object) }
	for name, change := range map[string]func(d object){
		"has schema 0":        func(d object) { d["schema"] = 0 },
		"is of other@1":       func(d object) { settings(d)["model"] = "other@1" },
		"no windows or no dr": func(d object) { settings(d)["draws"] = 0 },
		"without noise":       func(d object) { delete(d, "nats_per_token") },
		"for each size":       func(d object) { d["levels"] = []any{} },
		"do not rise":         func(d object) { first(d)["sigma"] = 0.03 },
		"those of its sett":   func(d object) { settings(d)["sigmas"] = []float64{0.02, 0.01, 0.05, 0.1, 0.2} },
		"lacks a loss":        func(d object) { delete(first(d), "rise") },
		"the difference":      func(d object) { first(d)["rise"] = 1 },
		"of two losses":       func(d object) { first(d)["nats_per_token"] = "NaN" },
		"tells the size at":   func(d object) { d["rise"] = 0.2 },
		"is none of those":    func(d object) { d["sigma_at_rise"] = 7 },
		"is not the noise":    func(d object) { d["levels"] = "all" },
	} {
		d := noiseJSON(r.Noise, r.Info.ID)
		parse := func(text []byte) (*Noise, error) { return parseNoise(text, r.Info.ID) }
		if n, err := parseWith(t, d, parse); err != nil || !slices.Equal(n.Settings.Sigmas, r.Noise.Settings.Sigmas) || len(n.Rises) != 5 {
			t.Fatalf("the sound one: %v", err)
		}
		change(d)
		if got, err := parseWith(t, d, parse); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestParseForgetting_RefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	records := partlyForgot()
	r := records[len(records)-1]
	for name, change := range map[string]func(d object){
		"has schema 0":        func(d object) { d["schema"] = 0 },
		"is of other@1":       func(d object) { d["settings"].(object)["model"] = "other@1" },
		"was not made from":   func(d object) { d["settings"].(object)["base"] = "other@1" },
		"has no windows":      func(d object) { d["settings"].(object)["tokens"] = 0 },
		"lacks a loss":        func(d object) { d["tuned_nats_per_token"] = nil },
		"the difference":      func(d object) { d["forgetting_nats_per_token"] = 9 },
		"of two losses":       func(d object) { d["base_nats_per_token"] = "Infinity" },
		"is not the forgetti": func(d object) { d["settings"] = 1 },
	} {
		d := forgettingJSON(r.Forgetting, r.Info)
		parse := func(text []byte) (*Forgetting, error) { return parseForgetting(text, r.Info) }
		if f, err := parseWith(t, d, parse); err != nil || *f != *r.Forgetting {
			t.Fatalf("the sound one: %v, %v", f, err)
		}
		change(d)
		if got, err := parseWith(t, d, parse); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	fresh := r.Info
	fresh.Parents = nil
	if _, err := parseWith(t, forgettingJSON(r.Forgetting, r.Info), func(text []byte) (*Forgetting, error) { return parseForgetting(text, fresh) }); err == nil {
		t.Error("a model that was made from nothing has forgotten something")
	}
}

// What a run folder has is what a set has, and what is damaged is a problem of the set.
func TestRead_NoiseAndForgetting(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	records := partlyForgot()
	records[1].Noise = fakeNoise(&records[1])
	for _, r := range records {
		save(t, root, r)
		saveAfter(t, root, r)
	}
	saveJSON(t, filepath.Join(root, records[0].Folder, record.AnalyzeDir, noiseDir, noiseFile), object{"schema": 9})
	saveJSON(t, filepath.Join(root, records[len(records)-1].Folder, record.AnalyzeDir, forgettingDir, forgettingFile), object{"schema": 9})
	got, problems, err := Read(t.Context(), root)
	if err != nil || len(problems) != 2 || !strings.Contains(problems[0].What, "has schema 9") {
		t.Fatalf("%v, %v", problems, err)
	}
	noises, forgot := 0, 0
	for _, r := range got {
		if r.Noise != nil {
			noises++
			if r.Info.ID != records[1].Info.ID || !slices.Equal(r.Noise.Settings.Sigmas, records[1].Noise.Settings.Sigmas) {
				t.Errorf("%+v", r.Noise)
			}
		}
		if r.Forgetting != nil {
			forgot++
		}
	}
	if noises != 1 || forgot != 12-1-1 {
		t.Errorf("%d with noise, %d with forgetting", noises, forgot)
	}
}

func TestNoises_FindingsByHand(t *testing.T) {
	t.Parallel()
	var records []Record
	for i, rises := range [][]float64{{0.05, 0.06, 0.07}, {0.03, 0.03, 0.03}} {
		for seed, v := range rises {
			r := small().record(fakeLevel{[]float64{0.1, 1}[i], 2.5}, int64(seed+1))
			r.Noise = fakeNoise(&r)
			r.Noise.Settings.Sigmas, r.Noise.Rises = []float64{0.1, 0.2, 0.4}, []float64{v / 50, v, 50 * v}
			records = append(records, r)
		}
	}
	f := NewSet(records, nil).Noises()[0]
	if f.Sigma != 0.2 { // 0.045 is nearer to 0.1 than 0.0009 and 2.25, by ratio
		t.Errorf("σ = %v", f.Sigma)
	}
	near(t, "difference", float64(f.Difference), -0.03, 1e-9)
	near(t, "half", float64(f.High-f.Low)/2, 0.01*4.30265/math.Sqrt(3), 1e-4)
	if f.Falls != Yes || !strings.Contains(f.Text, "under noise of σ = 0.2 on the weights is 0.0600 at λ = 0.1") || !strings.Contains(f.Text, "the rise falls") {
		t.Errorf("%+v", f)
	}
}

func TestNoiseFigure_SaysWhatIsNotDrawn(t *testing.T) {
	t.Parallel()
	f := NoiseVsDecay(NewSet(partlyNoised(), nil))
	notes := strings.Join(f.Notes, "\n")
	for _, want := range []string{
		"1 of 6 finished runs without noise (plasticity analyze noise)", "was measured at step 1000 of 1623", "with other noise or on other text: they are drawn apart",
		"one seed per weight decay",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	enough := 0
	for _, row := range f.Points.Rows {
		if row[3] != "rise" && row[5] == "mean" {
			enough++
		}
	}
	if enough != 3 { // of four runs, less the one that has none
		t.Errorf("%d runs with a size that is enough", enough)
	}
}

// The average is over tasks; the trend is paired by seed; the front is of the means.
func TestForgettings_ByHand(t *testing.T) {
	t.Parallel()
	records := twoByTwo() // response losses by the fixed recipe: 2 and 2.2 at 0.1, 1.25 and 1.5 at 1
	forgot := map[string][]float64{"a": {0.1, 0.2, 0.5, 0.7}, "b": {0.3, 0.4, 0.7, 0.9}}
	bases := map[string]int{}
	for i, r := range records[:4] {
		bases[r.Info.ID] = i
	}
	for i := range records {
		r := &records[i]
		if len(r.Info.Parents) > 0 {
			v := forgot[r.Info.Task][bases[r.Info.Parents[0]]]
			r.Forgetting = &Forgetting{Settings: ForgettingSettings{Context: 8, Tokens: 9}, Step: r.Info.Steps, Base: 2, Tuned: 2 + v}
		}
	}
	f := NewSet(records, nil).Forgettings()[0]
	near(t, "difference: 0.6 − 0.2 and 0.8 − 0.3", float64(f.Difference), 0.45, 1e-12)
	near(t, "half", float64(f.High-f.Low)/2, 12.7062*0.05, 1e-4)
	if f.Rises != Undecidable || len(f.Front) != 2 || f.Front[0] != 1 || f.Front[1] != 0.1 || !slices.Equal(f.Tasks, []string{"a", "b"}) || f.Recipe != "lr 0.001" {
		t.Errorf("%+v", f)
	}
	// over the four runs: the response losses 2, 2.2, 1.25, 1.5 have ranks 3, 4, 1, 2; the forgetting 0.2, 0.3, 0.6, 0.8 has 1, 2, 3, 4
	near(t, "Spearman: 1 − 6·(4 + 4 + 4 + 4)/(4·15)", float64(f.Spearman[0]), -0.6, 1e-12)
	table := ForgettingTable(NewSet(records, nil))
	if got := table.Rows[0][:8]; !slices.Equal(got[1:5], []string{"average of 2 tasks", "lr 0.001", "0.1", "2.1000"}) || got[6] != "0.2500" {
		t.Errorf("%q", got)
	}
	if len(table.Rows) != 2*3 {
		t.Errorf("%d rows", len(table.Rows))
	}
}

func TestForgettingFigure_SaysWhatIsNotDrawn(t *testing.T) {
	t.Parallel()
	f := ForgettingVsLearning(NewSet(partlyForgot(), nil))
	notes := strings.Join(f.Notes, "\n")
	for _, want := range []string{
		"1 of 12 finished fine-tuned runs of base models without forgetting (plasticity analyze forgetting)", "2 results of another step, other text or other windows",
		"3 base runs without a result on some task", "one seed per weight decay",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	means := slices.DeleteFunc(slices.Clone(f.Points.Rows), func(row []string) bool { return row[1] != "mean" })
	if len(means) != 6-3 {
		t.Errorf("%d means", len(means))
	}
}

// Signals by hand: of four base runs with response losses 2, 2.2, 1.25, 1.5, in the order of λ and seed.
func TestSignals_ByHand(t *testing.T) {
	t.Parallel()
	records := twoByTwo()
	for i := range records[:4] {
		r := &records[i]
		final := []record.Float{2.1, 2.2, 2.4, 2.3}[i]
		third := []record.Float{3.3, 3.4, 3.1, 3.2}[i]
		middle := record.Float(2.9)
		r.Info.Steps = 900
		r.Metrics = []record.Metric{
			{Step: 200, ParamNorm: 1, ValLoss: &middle},
			{Step: 310, ParamNorm: record.Float(10 - i), ValLoss: &third},
			{Step: 600, ParamNorm: 7, ValLoss: &middle},
			{Step: 900, ParamNorm: 5, ValLoss: &final},
		}
	}
	withNoise(records[:4])
	all := NewSet(records, nil).signalsOf()
	if len(all) != 1 {
		t.Fatalf("%d settings", len(all))
	}
	rho := func(name string, when int) float64 {
		t.Helper()
		at := all[0].at(name, when)
		if at == nil || len(at.points) != 4 {
			t.Fatalf("%s: %+v", name, at)
		}
		return at.r
	}
	// ranks of the results: 3, 4, 1, 2
	near(t, "loss at a third, ranks 3, 4, 1, 2", rho(lossSignal, early), 1, 1e-12)
	near(t, "loss at the end, ranks 1, 2, 4, 3", rho(lossSignal, late), 1-6.0*(4+4+9+1)/60, 1e-12)
	near(t, "norm at a third, ranks 4, 3, 2, 1", rho("norm of all weights", early), 1-6.0*4/60, 1e-12)
	if v := rho("norm of all weights", late); finite(v) {
		t.Errorf("equal norms correlate by %v", v)
	}
	near(t, "λ, ranks 1.5, 1.5, 3.5, 3.5", rho(decaySignal, early), -4/math.Sqrt(5*4), 1e-12)
	// Within λ the results deviate by −0.1, 0.1, −0.125, 0.125, the losses at a third by −0.05, 0.05, −0.05, 0.05.
	near(t, "loss at a third, within λ", all[0].at(lossSignal, early).within(), 0.0225/math.Sqrt(0.05125*0.01), 1e-9)
	if v := all[0].at(decaySignal, early).within(); finite(v) {
		t.Errorf("λ itself correlates within λ by %v", v)
	}
	if got := all[0].ranks[all[0].strongest(early)].name; got != lossSignal {
		t.Errorf("the best signal is %s", got)
	}
	if text := all[0].inWords(); !strings.Contains(text, "At a third of training, of 2 signals the validation loss ranks 4 base runs best") || strings.Contains(text, "NaN") {
		t.Error(text)
	}
}

// What is measured too far from a third of training is no early signal.
func TestNearest_WithinATenth(t *testing.T) {
	t.Parallel()
	same := func(v int64) int64 { return v }
	for _, c := range []struct {
		steps []int64
		want  int
	}{{[]int64{100, 300, 400, 900}, 1}, {[]int64{300, 340}, 1}, {[]int64{200, 450}, -1}, {[]int64{440}, -1}, {[]int64{423}, 0}, {nil, -1}} {
		if got := nearest(c.steps, 1000, same); got != c.want {
			t.Errorf("%v: %d, want %d", c.steps, got, c.want)
		}
	}
}

func TestSignalFigure_EverySignal(t *testing.T) {
	t.Parallel()
	s := NewSet(looked(), nil)
	f := SignalsVsResults(s)
	found := map[string]bool{}
	for _, row := range f.Points.Rows {
		found[row[2]+" "+row[3]] = true
		if row[8] != "18" || row[9] != "6" {
			t.Errorf("%s %s: %s runs at %s decays", row[2], row[3], row[8], row[9])
		}
	}
	for _, want := range []string{
		"weight decay λ at a third of training", "validation loss at a third of training", "validation loss at the end", "norm of all weights at the end",
		"mean pseudo-rank of W_QK at a third of training", "mean pseudo-rank of W_VP at the end", "probes of sotu-decade at the end", "gap to the validation split at the end",
		"rise under noise of σ = 0.1 at the end",
	} {
		if !found[want] {
			t.Errorf("%s is not there", want)
		}
	}
	if len(f.Notes) != 0 {
		t.Errorf("%q", f.Notes)
	}
	finding := s.Signals()[0]
	if finding.Early == "" || finding.Early == decaySignal || len(finding.Signals) != len(f.Points.Rows) || len(finding.Signals[0].Runs) != 18 {
		t.Errorf("%+v", finding)
	}
	if NewSet(small().records(2), nil).has(aboutSignals) || NewSet(partlyForgot(), nil).has(aboutSignals) {
		t.Error("signals of models that nobody looked into are drawn unasked")
	}
}

// Numbers that are possible and strange draw, and are not said as NaN.
func TestAfter_OddNumbersDraw(t *testing.T) {
	t.Parallel()
	noise := func(change func(*Noise)) []Record {
		records := withNoise(small().records(2))
		for i := range records {
			change(records[i].Noise)
		}
		return records
	}
	forgot := func(v float64) []Record {
		records := partlyForgot()
		for i := range records {
			if f := records[i].Forgetting; f != nil {
				f.Tuned = f.Base + v
			}
		}
		return records
	}
	for name, records := range map[string][]Record{
		"falling": noise(func(n *Noise) { n.Rises = []float64{-1, -2, -3, -4, -5}; n.Enough = math.NaN() }),
		"zero":    noise(func(n *Noise) { n.Rises = make([]float64, 5) }), "huge": noise(func(n *Noise) { n.Rises[4] = 1e300 }),
		"one size": noise(func(n *Noise) { n.Settings.Sigmas, n.Rises = []float64{1}, []float64{2} }), "one run": looked()[:1],
		"nothing forgotten": forgot(0), "gained": forgot(-2), "all forgotten": forgot(1e200), "one base": append(looked()[:1], looked()[18:20]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSet(records, nil)
			drawOdd(t, NoiseVsDecay(s), ForgettingVsLearning(s), SignalsVsResults(s))
			for _, f := range s.Noises() {
				if strings.Contains(f.Text, "NaN") {
					t.Error(f.Text)
				}
			}
			for _, f := range s.Forgettings() {
				if strings.Contains(f.Text, "NaN") {
					t.Error(f.Text)
				}
			}
			for _, f := range s.Signals() {
				if strings.Contains(f.Text, "NaN") {
					t.Error(f.Text)
				}
			}
		})
	}
}
