package plots

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// ranksOf makes runs of two decays with the given ranks of W_QK in one layer, a seed each.
func ranksOf(low, high []float64) []Record {
	var out []Record
	for i, values := range [][]float64{low, high} {
		for seed, v := range values {
			r := small().record(fakeLevel{[]float64{0.1, 1}[i], 2.5}, int64(seed+1))
			r.Ranks = fakeRanks(&r, 1, 0)
			r.Ranks.Last.Layers[0].Mean = [2]float64{v, 20}
			out = append(out, r)
		}
	}
	return out
}

func TestRanks_FindingsByHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		low, high             []float64
		difference, low95, hi float64
		falls                 Verdict
		says                  string
	}{
		// differences −2, −3, −4: mean −3, standard error 1/√3, t(0.975, 2) = 4.30265
		"falls":     {[]float64{20, 21, 22}, []float64{18, 18, 18}, -3, -3 - 4.30265/math.Sqrt(3), -3 + 4.30265/math.Sqrt(3), Yes, "told apart: the rank falls"},
		"rises":     {[]float64{10, 10, 10}, []float64{12, 12, 12}, 2, 2, 2, No, "it rises"},
		"open":      {[]float64{20, 21}, []float64{18, 21}, -1, -1 - 12.7062, -1 + 12.7062, Undecidable, "contains zero"},
		"one seed":  {[]float64{20}, []float64{10}, -10, math.NaN(), math.NaN(), Undecidable, "at least two seeds"},
		"one decay": {[]float64{20, 21}, nil, math.NaN(), math.NaN(), math.NaN(), NotAsked, "one weight decay only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := NewSet(ranksOf(c.low, c.high), nil).Ranks()[0]
			if f.Product != "W_QK" || f.Falls != c.falls || !strings.Contains(f.Text, c.says) || strings.Contains(f.Text, "NaN") {
				t.Errorf("got %+v", f)
			}
			near(t, "difference", float64(f.Difference), c.difference, 1e-9)
			near(t, "low", float64(f.Low), c.low95, 1e-3)
			near(t, "high", float64(f.High), c.hi, 1e-3)
		})
	}
	falling := NewSet(withRanks(small().records(3), 2, 0), nil).Ranks()
	near(t, "Spearman", float64(falling[0].Spearman), -1, 1e-9)
	if falling[1].Product != "W_VP" || falling[1].Decays != 6 || falling[1].Seeds != 3 || len(falling[1].Runs) != 6 {
		t.Errorf("got %+v", falling[1])
	}
}

func TestRankTable_AverageThenLayers(t *testing.T) {
	t.Parallel()
	records := ranksOf([]float64{20, 22}, []float64{10, 11})
	for i := range records {
		last := &records[i].Ranks.Last
		last.Layers = append(last.Layers, LayerRank{3, [2]float64{30, 31}})
	}
	rows := RankTable(NewSet(records, nil)).Rows
	want := [][]string{ // layer, W_QK, half, W_VP, half, n
		{"mean", "25.50", "6.35", "25.50", "0.00", "2"}, {"0", "21.00", "12.71", "20.00", "0.00", "2"}, {"3", "30.00", "0.00", "31.00", "0.00", "2"},
	}
	if len(rows) != 6 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, w := range want {
		if got := rows[i][4:10]; !slices.Equal(got, w) {
			t.Errorf("row %d: %v, want %v", i, got, w)
		}
	}
}

func TestRankFigures_SayWhatIsNotDrawn(t *testing.T) {
	t.Parallel()
	records := partlyRanked()
	s := NewSet(records, nil)
	vs, over := RankVsDecay(s), RankOverTraining(s)
	for _, c := range []struct {
		figure Figure
		says   []string
	}{
		{vs, []string{
			"1 of 6 finished runs without ranks", "was measured at step 1000 of 1623", "different formulas", "one seed per weight decay",
		}},
		{over, []string{"2 of 4 runs with ranks have none over training", "1 damaged checkpoint could not be measured"}},
	} {
		notes := strings.Join(c.figure.Notes, "\n")
		for _, want := range c.says {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: no note says %q:\n%s", c.figure.Name, want, notes)
			}
		}
	}
	for _, want := range []string{"power 1, 95 %, not normalised", "power 2, 90 %, divided by the head size, gains of norms folded in", "4 query heads of size 32", "4 runs"} {
		if !strings.Contains(vs.Caption, want) {
			t.Errorf("the caption lacks %q: %s", want, vs.Caption)
		}
	}
	// a run that failed is a cross of each product, not of each layer
	failed := withRanks(small().records(2), 3, 0)
	failed[0].State = record.StateFailed
	crosses := slices.DeleteFunc(RankVsDecay(NewSet(failed, nil)).Points.Rows, func(row []string) bool { return row[6] != "cross" })
	if len(crosses) != 2 || crosses[0][5] != "mean" || crosses[0][12] != failed[0].Info.ID {
		t.Errorf("crosses %v", crosses)
	}
	// eight layers: the first, the middle and the last over training, at 4 and 3 checkpoints, for two products
	var layers []string
	for _, row := range over.Points.Rows {
		layers = append(layers, row[4])
	}
	if n := different(layers); n != 3 || len(layers) != 2*3*(4+3) || !slices.Contains(layers, "4") || !slices.Contains(layers, "7") {
		t.Errorf("%d points, layers %v", len(layers), layers)
	}
	// a checkpoint that one of the seeds lacks is not drawn
	both := withRanks(small().records(2), 2, 4)
	both[1].Ranks.Training = both[1].Ranks.Training[1:]
	figure := RankOverTraining(NewSet(both, nil))
	if got := len(figure.Points.Rows); got != 2*2*(6*4-1) || !strings.Contains(strings.Join(figure.Notes, " "), "1 checkpoint that some seed") {
		t.Errorf("%d points, %v", got, figure.Notes)
	}
	none := RankOverTraining(NewSet(withRanks(small().records(2), 2, 0), nil))
	if len(none.Points.Rows) != 0 || !strings.Contains(strings.Join(none.Notes, " "), "12 of 12 runs with ranks have none over training") {
		t.Errorf("got %v", none.Notes)
	}
}

func TestReadRanks_FileOfTheProgram(t *testing.T) {
	t.Parallel()
	// written by `plasticity analyze rank --all` for a run of the quickstart with λ = 0.1
	text, err := os.ReadFile(filepath.Join("testdata", rankFile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseRanks(text, "03bf0f7c5f37721b")
	if err != nil {
		t.Fatal(err)
	}
	if got.Heads != 2 || got.HeadSize != 32 || got.Last.Step != 1623 || len(got.Training) != 2 || got.Last.Layers[0].Mean != [2]float64{20, 27} {
		t.Errorf("got %+v", got)
	}
}

func TestParseRanks_RefusesWhatIsNotRanks(t *testing.T) {
	t.Parallel()
	r := withRanks(small().records(1), 2, 3)[0]
	type object = map[string]any
	layer := func(d object) object { return d["layers"].([]any)[0].(object) }
	for name, change := range map[string]func(d object){
		"has schema":        func(d object) { d["schema"] = 2 },
		"is of run other":   func(d object) { d["model"].(object)["run"] = "other" },
		"heads and head":    func(d object) { d["model"].(object)["head_size"] = 0 },
		"formula has no":    func(d object) { d["formula"] = object{"power": 3, "threshold": 0.95, "normalisation": "none"} },
		"has no layers":     func(d object) { d["layers"] = []any{} },
		"numbered upwards":  func(d object) { layer(d)["layer"] = 1 },
		"W_QK is not":       func(d object) { layer(d)["qk"] = object{"mean": 33, "heads": []int{33, 33, 33, 33}} },
		"W_VP is not":       func(d object) { layer(d)["vp"] = object{"mean": 9, "heads": []int{10, 10, 10, 10}} },
		"of 4 heads":        func(d object) { layer(d)["vp"] = object{"mean": 9, "heads": []int{9}} },
		"do not rise":       func(d object) { slices.Reverse(d["training"].([]any)) },
		"has other layers":  func(d object) { p := d["training"].([]any)[1].(object); p["layers"] = p["layers"].([]any)[:1] },
		"is not the ranks ": func(d object) { d["layers"] = "all" },
	} {
		d := rankJSON(r.Ranks, r.Info.ID)
		whole, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRanks(whole, r.Info.ID); err != nil {
			t.Fatalf("the sound one: %v", err)
		}
		change(d)
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseRanks(text, r.Info.ID); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestReport_RanksOnDisk(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), t.TempDir()
	records := withRanks(small().records(2), 2, 3)
	for _, r := range records {
		save(t, root, r)
	}
	report := func(name string, figures ...string) (Result, string) {
		t.Helper()
		dir := filepath.Join(out, name)
		result, err := Report(t.Context(), ReportOptions{Runs: root, Out: dir, Figures: figures, dpi: 40})
		if err != nil {
			t.Fatal(err)
		}
		return result, dir
	}
	if result, _ := report("without"); slices.ContainsFunc(result.Files, func(f string) bool { return strings.Contains(f, "rank") }) || result.Ranks == nil {
		t.Errorf("without ranks: %v, %v", result.Files, result.Ranks)
	}
	if result, _ := report("asked", "rank-vs-decay"); !slices.Contains(result.Files, "figures/rank-vs-decay.png") {
		t.Errorf("asked for by name: %v", result.Files)
	}
	chosen, err := Report(t.Context(), ReportOptions{Runs: root, Out: filepath.Join(out, "chosen"), Choice: []string{"rank-vs-decay", "loss-vs-decay"}, dpi: 40})
	drawn := slices.DeleteFunc(slices.Clone(chosen.Files), func(f string) bool { return !strings.HasSuffix(f, ".png") })
	if err != nil || !slices.Equal(drawn, []string{"figures/loss-vs-decay.png"}) {
		t.Errorf("of a choice what was measured: %v, %v", drawn, err)
	}
	for _, r := range records {
		saveRanks(t, root, r)
	}
	broken := filepath.Join(root, records[0].Folder, record.AnalyzeDir, rankFile)
	writeFile(t, broken, `{"schema":1,"model":{"run":"<script>"}}`)
	result, dir := report("with")
	if len(result.Problems) != 1 || result.Problems[0].Path != fmt.Sprintf("%s/%s/%s", records[0].Folder, record.AnalyzeDir, rankFile) {
		t.Errorf("problems %v", result.Problems)
	}
	if len(result.Ranks) != 2 || result.Ranks[0].Falls != Undecidable || result.Ranks[0].Seeds != 1 {
		t.Errorf("got %+v", result.Ranks)
	}
	for _, name := range []string{"tables/rank-per-decay.tex", "figures/rank-over-training.csv", "figures/rank-vs-decay.svg"} {
		if !slices.Contains(result.Files, name) {
			t.Errorf("%s is missing", name)
		}
	}
	page := readFile(t, filepath.Join(dir, "index.html"))
	for _, want := range []string{result.Ranks[0].Falls.sentence(), `id="ranks"`, "Spearman", "power 1, 95 %"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "NaN") {
		t.Error("the page has markup of a record, or NaN")
	}
	rows, err := csv.NewReader(bytes.NewReader([]byte(readFile(t, filepath.Join(dir, "figures/rank-vs-decay.csv"))))).ReadAll()
	// two products × (average and two layers) × (11 seeds and 6 means), and a header
	if err != nil || len(rows) != 1+2*3*(11+6) {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func (v Verdict) sentence() string { return "Whether it falls is " + string(v) }

func TestReadRanks_TooLargeIsAProblem(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := small().records(1)[0]
	save(t, root, r)
	path := filepath.Join(root, r.Folder, record.AnalyzeDir, rankFile)
	writeFile(t, path, "")
	if err := os.Truncate(path, maxRankBytes+1); err != nil {
		t.Fatal(err)
	}
	s, err := Load(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0].What, "too large") {
		t.Errorf("problems %v", p)
	}
}
