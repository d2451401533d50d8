package plots

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"plasticity/record"
)

// tunedSet is the set of base runs with their fine-tuned ones, after change.
func tunedSet(seeds int, f fakeTuning, change func(bases, tuned []Record) []Record) *Set {
	bases := small().records(seeds)
	tuned := f.of(bases)
	if change != nil {
		return NewSet(change(bases, tuned), nil)
	}
	return NewSet(append(bases, tuned...), nil)
}

func TestSet_FineTunedRunsLeaveFigure1Alone(t *testing.T) {
	t.Parallel()
	bases := small().records(2)
	alone, with := NewSet(bases, nil), NewSet(append(slices.Clone(bases), tuning().of(bases)...), nil)
	of := func(s *Set) string {
		var out bytes.Buffer
		for _, f := range []Figure{LossVsDecay(s), TrainingCurves(s)} {
			if err := errors.Join(f.SVG(&out), f.CSV(&out)); err != nil {
				t.Fatal(err)
			}
		}
		for _, table := range []Table{LossTable(s), RunTable(s)} {
			if err := table.CSV(&out); err != nil {
				t.Fatal(err)
			}
		}
		all, counted := s.Runs()
		fmt.Fprint(&out, s.Findings(), all, counted)
		return out.String()
	}
	if of(alone) != of(with) {
		t.Error("figure 1, its tables, findings or counts are others with fine-tuned runs in the set")
	}
	if all, counted := with.Tuned(); all != (12+3)*8 || counted != all {
		t.Errorf("%d of %d fine-tuned runs count", counted, all)
	}
}

// A set of fine-tuned runs alone, as the page of one has, shows their curves; that their base models are elsewhere is no fault of theirs.
func TestTrainingCurves_OfFineTunedRunsAlone(t *testing.T) {
	t.Parallel()
	bases := small().records(1)
	tuned := tuning().of(bases)
	one := TrainingCurves(NewSet(tuned[:1], nil))
	if rows := one.Points.Rows; len(rows) != 3 || rows[0][0] != tuned[0].Info.ID || len(one.Notes) > 0 {
		t.Errorf("%d points %v, notes %q", len(rows), rows, one.Notes)
	}
	if !strings.Contains(one.Alt, "fine-tuned on arithmetic") || !strings.Contains(one.Caption, "those of the responses") {
		t.Errorf("%q, %q", one.Alt, one.Caption)
	}
	ids := map[string]bool{}
	for _, row := range TrainingCurves(NewSet(tuned[:3], nil)).Points.Rows {
		ids[row[0]] = true
	}
	if len(ids) != 3 {
		t.Errorf("curves of %d runs, want 3", len(ids))
	}
	if with := TrainingCurves(NewSet(append(bases, tuned...), nil)); strings.Contains(with.Alt+with.Caption, "fine-tuned") || len(with.Points.Rows) == 0 {
		t.Errorf("beside base models: %q", with.Alt)
	}
}

// twoByTwo are base runs at λ = 0.1 and 1 with seeds 1 and 2, each fine-tuned on tasks a and b at two rates, with losses worked by hand.
func twoByTwo() []Record {
	m := small()
	m.losses = []fakeLevel{{0.1, 2.5}, {1, 2.6}}
	bases := m.records(2)
	f := tuning()
	out := bases
	for i, b := range bases { // decay 0.1 seeds 1 and 2, then decay 1
		for j, task := range []string{"a", "b"} {
			high := [][]float64{{1, 3}, {1.2, 3.2}, {0.5, 2}, {0.6, 2.4}}[i][j]
			low := [][]float64{{0.8, 4}, {1.3, 4}, {0.7, 4}, {0.8, 4}}[i][j]
			out = append(out, f.record(&b, b.Info, b.Info.Seed, task, 1e-3, high, true), f.record(&b, b.Info, b.Info.Seed, task, 3e-4, low, true))
		}
	}
	return append(out, f.record(nil, bases[0].Info, 1, "a", 1e-3, 2, true), f.record(nil, bases[0].Info, 1, "b", 1e-3, 5, true))
}

// A base model that was truncated is another way to fine-tune: its runs are no repeats of those of the whole one.
func TestSet_TruncationIsARecipe(t *testing.T) {
	t.Parallel()
	f, bases := tuning(), small().records(2)
	f.rates = f.rates[:1]
	all := append(slices.Clone(bases), f.of(bases)...)
	for _, r := range all[len(bases):] {
		r.Info.ID = "t" + r.Info.ID[1:]
		r.Folder = "tune/" + r.Info.ID
		r.Config = append(slices.Clone(r.Config), "init_truncate: {query_key: 0.9}\n"...)
		all = append(all, r)
	}
	var labels []string
	for _, r := range NewSet(all, nil).down[0].recipes {
		labels = append(labels, r.label)
	}
	if !slices.Equal(labels, []string{"query_key 0", "query_key 0.9"}) {
		t.Errorf("recipes %q", labels)
	}
}

func TestResults_ByHand(t *testing.T) {
	t.Parallel()
	s := NewSet(twoByTwo(), nil)
	d := s.down[0]
	loss := measure{name: responseLoss}
	if got := d.recipes[d.fixed].label; got != "lr 0.001" { // its losses sum to 13.9, the others' to 19.6
		t.Errorf("the fixed recipe is %s", got)
	}
	average := d.results(-1, loss, d.fixed)
	near(t, "average at 0.1: (2 + 2.2) / 2", average.at(0.1).Mean, 2.1, 1e-12)
	near(t, "average at 1: (1.25 + 1.5) / 2", average.at(1).Mean, 1.375, 1e-12)
	near(t, "paired difference", difference(average.at(1), average.at(0.1)).Mean, -0.725, 1e-12)
	near(t, "never pretrained", average.fresh.Mean, 3.5, 1e-12)
	tuned := d.results(-1, loss, bestOfRecipes)
	near(t, "best of recipes at 0.1: ((0.8 + 3) / 2 + (1.2 + 3.2) / 2) / 2", tuned.at(0.1).Mean, 2.05, 1e-12)
	a := d.results(0, loss, bestOfRecipes)
	near(t, "task a at 0.1: (0.8 + 1.2) / 2", a.at(0.1).Mean, 1, 1e-12)
	f := d.finding(&average)
	if f.Best != 1 || f.LossOptimal.Than != 0.1 || f.LossOptimal.Verdict != Yes || f.NeverPretrained.Verdict != Undecidable {
		t.Errorf("%+v", f)
	}
	near(t, "interval of −0.75 and −0.7", float64(f.LossOptimal.Low), -0.725-12.7062047*0.025, 1e-6)
}

func TestHeadline_LossOptimalIsBetterInPairs(t *testing.T) {
	t.Parallel()
	m := small()
	m.losses = []fakeLevel{{0.1, 2.5}, {1, 2.6}}
	bases := m.records(3)
	f := tuning()
	out := slices.Clone(bases)
	for i, b := range bases { // seeds 1 to 3 of decay 0.1, then of decay 1; the third of 0.1 is missing, so 1 has the lower mean
		if i != 2 {
			out = append(out, f.record(&b, b.Info, b.Info.Seed, "a", 1e-3, []float64{1, 1.01, 0, 1.1, 1.12, 0.3}[i], true))
		}
	}
	headline := NewSet(out, nil).headline()
	if !strings.Contains(headline, "After fine-tuning, λ = 1 has") || !strings.Contains(headline, "the loss-optimal λ = 0.1 is better: +0.1050") {
		t.Errorf("headline %q", headline)
	}
}

// The labels of an axis are those of the others beside it.
func TestPlasticityVsDecay_ColumnsNameTheSameDecays(t *testing.T) {
	t.Parallel()
	s := tunedSet(2, tuning(), nil)
	for _, rows := range newTunedGroup(s.down[0], s.drawnMeasures()).lines {
		for _, panel := range slices.Concat(rows...) {
			if !slices.Equal(panel.named, []float64{1, 0.3}) {
				t.Errorf("%s, %s: %v come first", panel.title(), panel.name, panel.named)
			}
		}
	}
}

func TestResults_AverageNeedsEveryTask(t *testing.T) {
	t.Parallel()
	records := twoByTwo()
	at := slices.IndexFunc(records, func(r Record) bool { return r.Info.Task == "b" && r.Info.Axes[0].Value == "0.001" })
	records[at].State = record.StateFailed
	d := NewSet(records, nil).down[0]
	r := d.results(-1, measure{name: responseLoss}, d.fixed)
	near(t, "only seed 2 at 0.1", r.at(0.1).Mean, 2.2, 1e-12)
	if r.partial != 1 || len(r.at(0.1).faulty) != 1 || r.at(0.1).N != 1 {
		t.Errorf("partial %d, %+v", r.partial, r.at(0.1))
	}
}

// partialSets are sets in which something is missing, each with what the figures must say about it.
func partialSets() map[string]struct {
	set  *Set
	says string
} {
	type c = struct {
		set  *Set
		says string
	}
	quiet := tuning()
	quiet.answers = false
	bare := tuning()
	bare.fresh = 0
	one := func(change func(r *Record)) func(bases, tuned []Record) []Record {
		return func(bases, tuned []Record) []Record {
			change(&tuned[0])
			return append(bases, tuned...)
		}
	}
	nan := record.Float(math.NaN())
	return map[string]c{
		"a few missing":  {tunedSet(3, tuning(), func(b, t []Record) []Record { return append(b, t[5:]...) }), "1 of 18 base runs lack a result on some task"},
		"failed":         {tunedSet(3, tuning(), one(func(r *Record) { r.State, r.Cause = record.StateFailed, "out of memory" })), "1 of 168 fine-tuned runs not in the means"},
		"diverged":       {tunedSet(2, tuning(), one(func(r *Record) { r.Metrics[1].ValLoss = &nan })), "diverged"},
		"running":        {tunedSet(2, tuning(), one(func(r *Record) { r.State = record.StateRunning })), "not finished"},
		"one seed":       {tunedSet(1, tuning(), nil), "one seed per weight decay"},
		"no evaluations": {tunedSet(2, quiet, nil), "no answers were evaluated"},
		"no fresh":       {tunedSet(2, bare, nil), "no never-pretrained model"},
		"a recipe less":  {tunedSet(2, tuning(), one(func(r *Record) { r.State = record.StateStopped })), "some recipe is missing"},
		"orphans":        {tunedSet(2, tuning(), func(b, t []Record) []Record { return append(b[2:], t...) }), "is no base run of this set"},
		"failed base": {tunedSet(2, tuning(), func(b, t []Record) []Record {
			b[0].State = record.StateFailed
			return append(b, t...)
		}), "was made from a base run that failed"},
		"only tuned":   {tunedSet(2, tuning(), func(_, t []Record) []Record { return t }), "96 of 120 fine-tuned runs not in the means"},
		"only fresh":   {tunedSet(2, tuning(), func(b, t []Record) []Record { return append(b, t[96:]...) }), "24 never-pretrained runs without fine-tuned base models"},
		"other fresh":  {tunedSet(2, tuning(), func(b, t []Record) []Record { t[100].Info.TokenizerDigest = "other"; return append(b, t...) }), "1 never-pretrained run without"},
		"other task":   {tunedSet(2, tuning(), one(func(r *Record) { r.Info.DataDigest = "other" })), "lack a result"},
		"evaluations":  {tunedSet(2, tuning(), one(func(r *Record) { r.Evaluations = append(r.Evaluations, Evaluation{Problems: 10, Settings: "x"}) })), "1 further evaluation"},
		"one decay":    {tunedSet(2, tuning(), func(b, t []Record) []Record { return append(b[:2], t[:16]...) }), ""},
		"huge":         {tunedSet(2, tuning(), one(func(r *Record) { v := record.Float(1e300); r.Metrics[1].ValLoss = &v })), ""},
		"equal losses": {tunedSet(2, tuning(), func(b, t []Record) []Record { return append(b, flat(t)...) }), ""},
	}
}

// flat gives all runs the same loss.
func flat(records []Record) []Record {
	v := record.Float(1)
	for _, r := range records {
		r.Metrics[1].ValLoss = &v
	}
	return records
}

func TestTunedFigures_PartialSetsDrawWithANote(t *testing.T) {
	t.Parallel()
	for name, c := range partialSets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, figure := range []Figure{PlasticityVsDecay(c.set), LossVsPlasticity(c.set)} {
				var svg bytes.Buffer
				if err := errors.Join(figure.SVG(&svg), figure.png(io.Discard, 30)); err != nil {
					t.Fatal(err)
				}
				checkXML(t, svg.String())
				if strings.Contains(svg.String(), `="NaN`) || strings.Contains(svg.String(), "Inf") {
					t.Errorf("%s draws at NaN", figure.Name)
				}
				if notes := strings.Join(figure.Notes, "\n"); !strings.Contains(notes, c.says) {
					t.Errorf("%s: the notes do not say %q: %s", figure.Name, c.says, notes)
				}
			}
			for _, f := range c.set.Downstream() {
				if strings.Contains(f.Text, "NaN") || strings.Contains(f.Text, "  ") || f.Text == "" {
					t.Errorf("finding %q", f.Text)
				}
			}
			for _, f := range c.set.Tradeoffs() {
				if strings.Contains(f.Text, "NaN") || strings.Contains(f.Text, "  ") {
					t.Errorf("trade-off %q", f.Text)
				}
			}
			if got, all := len(TunedRunTable(c.set).Rows), len(c.set.tuned); got != all {
				t.Errorf("%d of %d fine-tuned runs are in the table", got, all)
			}
		})
	}
}

func TestParseEvaluation_AsMetricWritesIt(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "eval", "metric", "testdata", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	e, about, err := parseEvaluation(text, "arithmetic")
	if err != nil || !about || e.Problems != 5 || e.Samples != 4 || e.Scores["pass@4"] != 0.8 || e.Scores["orm"] != 0.175 || len(e.Scores) != 6 {
		t.Errorf("%+v, %v, %v", e, about, err)
	}
	if !strings.Contains(e.Settings, "answers numbers") || !strings.HasPrefix(e.Settings, "5 problems, 4 samples") {
		t.Errorf("settings %q", e.Settings)
	}
	if _, about, err := parseEvaluation(text, "judge"); about || err != nil {
		t.Errorf("another task: %v, %v", about, err)
	}
	for _, bad := range []string{
		"", "{", "[]", "null", `{"results":1}`, `{"results":{"arithmetic":{}}}`, `{"results":{"arithmetic":{"n":5,"samples":4,"greedy":1.5}}}`,
		`{"results":{"arithmetic":{"n":5,"samples":4,"greedy":"NaN"}}}`, `{"results":{"arithmetic":{"n":-1,"samples":4}}}`,
		`{"results":{"arithmetic":{"n":5,"samples":4,"greedy":null}}}`, `{"results":{"arithmetic":{"n":5,"samples":null,"greedy":1}}}`,
	} {
		if _, _, err := parseEvaluation([]byte(bad), "arithmetic"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestChooseEvaluations_TheMostAnswers(t *testing.T) {
	t.Parallel()
	records := twoByTwo()
	for i := range records {
		if r := &records[i]; r.Info.Task == "a" {
			score := func(v float64) map[string]float64 { return map[string]float64{"greedy": v} }
			r.Evaluations = []Evaluation{
				{Folder: "many", Problems: 100, Samples: 16, Settings: "many", Scores: score(0.5)},
				{Folder: "quick", Problems: 100, Samples: 1, Settings: "quick", Scores: score(0.9)},
			}
		}
	}
	s := NewSet(records, nil)
	r := s.down[0].results(0, measure{name: "greedy", higher: true}, s.down[0].fixed)
	near(t, "greedy", r.at(1).Mean, 0.5, 1e-12)
	if s.unusedEvaluations != 9 {
		t.Errorf("%d evaluations are said not to be used", s.unusedEvaluations)
	}
}

// saveEvaluation writes results.json into a run folder.
func saveEvaluation(t *testing.T, root string, r Record, text string) {
	t.Helper()
	writeFile(t, filepath.Join(root, r.Folder, record.EvalDir, "default", resultsFile), text)
}

func TestReport_FineTunedOnDisk(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "report")
	bases := small().records(2)
	f := tuning()
	f.tasks, f.rates = f.tasks[:2], f.rates[:1]
	tuned := f.of(bases)
	for i, r := range append(slices.Clone(bases), tuned...) {
		save(t, root, r)
		switch {
		case r.Info.Task != "arithmetic":
		case i == len(bases):
			saveEvaluation(t, root, r, `{"results":`)
		default:
			saveEvaluation(t, root, r, `{"results":{"arithmetic":{"alias":"arithmetic","greedy":0.25,"greedy_ci95":[0,1],"pass@4":0.5,"n":50,"samples":4}},
				"configs":{"arithmetic":{"model":"`+r.Info.ID+`","temperature":1,"seed":3}}}`)
		}
	}
	result, err := Report(t.Context(), ReportOptions{Runs: root, Out: out, dpi: pngDPI})
	if err != nil {
		t.Fatal(err)
	}
	if result.Runs != 12 || result.Tuned != len(tuned) || result.TunedCounted != len(tuned) || len(result.Problems) != 1 || len(result.Tradeoffs) != 1 {
		t.Errorf("%d runs, %d of %d fine-tuned, problems %v", result.Runs, result.TunedCounted, result.Tuned, result.Problems)
	}
	if !strings.Contains(result.Headline, "Best weight decay: λ = 0.3") || !strings.Contains(result.Headline, "After fine-tuning, λ = 1") {
		t.Errorf("headline %q", result.Headline)
	}
	page := regexp.MustCompile(`base64,[^"]*`).ReplaceAllString(readFile(t, filepath.Join(out, "index.html")), "")
	for _, want := range []string{"After fine-tuning: llama2-s", "greedy accuracy", "never pretrained", tuned[3].Info.ID, "is not the results of an evaluation"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"NaN", "ZgotmplZ", root} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, name := range []string{"figures/plasticity-vs-decay", "figures/loss-vs-plasticity"} {
		checkForms(t, filepath.Join(out, name))
	}
	for _, name := range []string{"tables/fine-tuned-per-decay.csv", "tables/fine-tuned-runs.tex", "report.json"} {
		if text := readFile(t, filepath.Join(out, name)); !strings.Contains(text, tuned[0].Info.ID) {
			t.Errorf("%s does not name run %s", name, tuned[0].Info.ID)
		}
	}
}

// Not parallel: it measures the processor time of this process, which a busy machine leaves alone.
func TestReport_FineTunedIsQuick(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("measures time: not under the race detector, and not in short runs")
	}
	root := t.TempDir()
	m := small()
	m.losses = append(m.losses, fakeLevel{0.03, 2.55}, fakeLevel{0.6, 2.55})
	bases := m.records(3)
	for _, r := range append(slices.Clone(bases), tuning().of(bases)[:90]...) {
		save(t, root, r)
	}
	began := processorTime(t)
	result, err := Report(t.Context(), ReportOptions{Runs: root, Out: filepath.Join(t.TempDir(), "report")})
	if err != nil || result.Tuned != 90 {
		t.Fatalf("%d runs, %v", result.Tuned, err)
	}
	took := processorTime(t) - began
	t.Logf("a report on %d base and %d fine-tuned runs took %.1f s of processor time", result.Runs, result.Tuned, took.Seconds())
	if took > 4*time.Second { // 0.7 s on a machine of one's own
		t.Errorf("it took %v", took)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestReport_HostileTasksStayText(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "report")
	m := small()
	m.losses = m.losses[:2]
	bases := m.records(2)
	f := tuning()
	f.tasks, f.rates = hostile(), f.rates[:1]
	for i, r := range append(slices.Clone(bases), f.of(bases)...) {
		if isTuned(r.Info) {
			r.Info.Axes[0].Value = r.Info.Task
			saveEvaluation(t, root, r, `{"results":{"a":{}},"configs":{"a":{"<script>":"<script>"}}}`)
		}
		r.Folder = fmt.Sprintf("grid/%d", i)
		save(t, root, r)
	}
	if _, err := Report(t.Context(), ReportOptions{Runs: root, Out: out, dpi: 40}); err != nil {
		t.Fatal(err)
	}
	page := strings.ToLower(readFile(t, filepath.Join(out, "index.html")))
	for _, never := range []string{"<script", "<img src=x", "<svg", "\x00", "\x1b", "\u202e"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, name := range []string{"figures/plasticity-vs-decay", "figures/loss-vs-plasticity", "tables/fine-tuned-per-decay", "tables/fine-tuned-runs"} {
		rows, err := csv.NewReader(strings.NewReader(readFile(t, filepath.Join(out, name+".csv")))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range slices.Concat(rows...) {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") && !isNumber(cell) {
				t.Errorf("%s: %.40q would run in a spreadsheet", name, cell)
			}
		}
		if strings.HasPrefix(name, "figures/") {
			checkXML(t, readFile(t, filepath.Join(out, name+".svg")))
		}
	}
}
