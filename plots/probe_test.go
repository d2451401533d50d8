package plots

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// probesOf makes runs of two decays with the given accuracies of the embedding and of layer 0, a seed each; the best layer is layer 0.
func probesOf(low, high [][2]float64) []Record {
	var out []Record
	for i, values := range [][][2]float64{low, high} {
		for seed, v := range values {
			r := small().record(fakeLevel{[]float64{0.1, 1}[i], 2.5}, int64(seed+1))
			p := fakeProbes(&r, "sst2", 1)
			for layer := range v {
				p.Layers[layer].Accuracy = v[layer]
			}
			p.Best = 1
			r.Probes = []Probes{p}
			out = append(out, r)
		}
	}
	return out
}

func TestProbes_FindingsByHand(t *testing.T) {
	t.Parallel()
	t975 := 4.30265 / math.Sqrt(3)
	for name, c := range map[string]struct {
		low, high  [][2]float64
		mean, half float64
		rises      Verdict
		best       float64 // difference of the best layer
		says       string
	}{
		// means 0.5, 0.51, 0.52 against 0.52, 0.54, 0.56: differences 2, 3 and 4 points
		"rises": {
			[][2]float64{{0.4, 0.6}, {0.41, 0.61}, {0.42, 0.62}},
			[][2]float64{{0.4, 0.64}, {0.41, 0.67}, {0.42, 0.70}},
			0.03, 0.01 * t975, Yes, 0.06,
			"is 51.0 % at λ = 0.1, the lowest decay, and 54.0 % at λ = 1, the highest (+3.0 points, interval 0.5 to 5.5 points, paired by 3 seeds). The two are told apart: the accuracy rises.",
		},
		"falls":     {[][2]float64{{0.6, 0.7}, {0.6, 0.7}}, [][2]float64{{0.5, 0.6}, {0.5, 0.6}}, -0.1, 0, No, -0.1, "the accuracy does not rise, it falls."},
		"open":      {[][2]float64{{0.6, 0.7}, {0.6, 0.7}}, [][2]float64{{0.5, 0.6}, {0.7, 0.8}}, 0, 12.7062 * 0.1, Undecidable, 0, "Whether it rises is not decidable: the interval"},
		"one seed":  {[][2]float64{{0.6, 0.7}}, [][2]float64{{0.7, 0.8}}, 0.1, math.NaN(), Undecidable, 0.1, "at least two seeds"},
		"one decay": {[][2]float64{{0.6, 0.7}}, nil, math.NaN(), math.NaN(), NotAsked, math.NaN(), "one weight decay only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := NewSet(probesOf(c.low, c.high), nil).Probes()
			if len(found) != 2 || found[0].Accuracy != "mean" || found[1].Accuracy != "best layer" {
				t.Fatalf("got %+v", found)
			}
			f := found[0]
			if f.Rises != c.rises || !strings.Contains(f.Text, c.says) || strings.Contains(f.Text, "NaN") {
				t.Errorf("got %+v", f)
			}
			near(t, "difference", float64(f.Difference), c.mean, 1e-9)
			near(t, "half", float64(f.High-f.Low)/2, c.half, 1e-4)
			near(t, "best layer", float64(found[1].Difference), c.best, 1e-9)
		})
	}
}

func TestProbeTable_MeanBestThenLayers(t *testing.T) {
	t.Parallel()
	rows := ProbeTable(NewSet(probesOf([][2]float64{{0.4, 0.6}, {0.5, 0.7}}, [][2]float64{{0.6, 0.8}, {0.6, 0.8}}), nil)).Rows
	want := [][]string{ // layer, accuracy, half
		{"mean", "0.5500", "0.6353"}, {"best layer", "0.6500", "0.6353"}, {"embedding", "0.4500", "0.6353"}, {"0", "0.6500", "0.6353"}, {"mean", "0.7000", "0.0000"},
	}
	if len(rows) != 8 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, w := range want {
		if got := rows[i][5:8]; !slices.Equal(got, w) {
			t.Errorf("row %d: %v, want %v", i, got, w)
		}
	}
}

func TestProbeFigures_SayWhatIsNotDrawn(t *testing.T) {
	t.Parallel()
	s := NewSet(partlyProbed(), nil)
	for _, f := range []Figure{ProbesVsDecay(s), ProbesByLayer(s)} {
		notes := strings.Join(f.Notes, "\n")
		for _, want := range []string{
			"1 of 6 finished runs without probes of sotu-decade (plasticity analyze probes)", "5 of 6 finished runs without probes of sst2",
			"was measured at step 1000 of 1623", "with other texts, states or layers: they are drawn apart", "one seed per weight decay: no interval",
		} {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: no note says %q:\n%s", f.Name, want, notes)
			}
		}
		for _, want := range []string{"8 labels, last token", "mean over tokens", "2 labels, made-up texts", "2000 texts to learn from, 500 to choose by, 1000 to test on", "shuffled labels"} {
			if !strings.Contains(f.Caption, want) {
				t.Errorf("%s: the caption lacks %q: %s", f.Name, want, f.Caption)
			}
		}
	}
	// two tasks by two poolings, and sst2: 3 + 1, 4 + 1 and 1 runs in the mean and in the best layer
	count := func(f Figure, mark string) int {
		return len(slices.DeleteFunc(f.Points.Rows, func(row []string) bool { return row[6] != mark }))
	}
	if n := count(ProbesVsDecay(s), "mean"); n != 2*(3+1+4+1+1) {
		t.Errorf("%d means", n)
	}
	if n := count(ProbesByLayer(s), "mean"); n != 9*(3+1+4+1+1) {
		t.Errorf("%d means by layer", n)
	}
	// a run that failed is a cross once a task
	failed := withProbes(small().records(2), 2)
	failed[0].State = record.StateFailed
	if n := count(ProbesVsDecay(NewSet(failed, nil)), "cross"); n != 2 {
		t.Errorf("%d crosses", n)
	}
}

func TestFitAccuracies_ChanceIsDrawnOrSaid(t *testing.T) {
	t.Parallel()
	low, high, _, remark := fitAccuracies([]float64{60, 70}, nil, nil, 55, []float64{53, 52})
	if low > 52 || high < 70 || remark != "" {
		t.Errorf("near: %v to %v, %q", low, high, remark)
	}
	low, _, _, remark = fitAccuracies([]float64{90, 92}, nil, nil, 50.4, []float64{49.2, 48.8})
	if low < 80 || remark != "↓ majority class 50, control 49" {
		t.Errorf("far: from %v, %q", low, remark)
	}
	if low, high, _, _ := fitAccuracies([]float64{100, 100}, nil, nil, 100, []float64{100}); !(low < 100) || high > 102 {
		t.Errorf("all right: %v to %v", low, high)
	}
}

func TestParseProbes_RefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	r := withProbes(small().records(1), 2)[0]
	type object = map[string]any
	settings := func(d object) object { return d["settings"].(object) }
	layer := func(d object) object { return d["layers"].([]any)[1].(object) }
	for name, change := range map[string]func(d object){
		"has schema 2":        func(d object) { d["schema"] = 2 },
		"is of other@3":       func(d object) { settings(d)["model"] = "other@3" },
		"is of hf-1234":       func(d object) { settings(d)["model"] = "hf-1234" },
		"no name of a task":   func(d object) { settings(d)["task"] = "" },
		"has no texts":        func(d object) { d["test_texts"] = 0 },
		"most frequent label": func(d object) { d["summary"].(object)["majority"] = 1.5 },
		"are not those":       func(d object) { settings(d)["layers"] = []int{-1, 0} },
		"numbered upwards":    func(d object) { layer(d)["layer"] = 5 },
		"layer 0: an acc":     func(d object) { layer(d)["probe"] = object{"accuracy": 1.2, "accuracy_interval_95": []float64{1, 1.3}} },
		"is not a share":      func(d object) { layer(d)["control"] = object{} },
		"with an interval":    func(d object) { layer(d)["probe"] = object{"accuracy": "NaN", "accuracy_interval_95": []float64{0, 1}} },
		"more documents than": func(d object) { d["summary"].(object)["test_documents"] = 1001 },
		"best layer is none":  func(d object) { d["summary"].(object)["best_layer"] = 7 },
		"mean accuracy is":    func(d object) { d["summary"].(object)["mean_accuracy"] = 0.1 },
		"is not the probes":   func(d object) { d["layers"] = "all" },
	} {
		d := probesJSON(r.Probes[0], r.Info.ID)
		parse := func() (*Probes, error) {
			t.Helper()
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			return parseProbes(text, r.Info.ID)
		}
		if _, err := parse(); err != nil {
			t.Fatalf("the sound one: %v", err)
		}
		change(d)
		if got, err := parse(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// how many documents the texts to test on were cut out of; each may be one, and older results do not say
	for documents, want := range map[any]string{12: "12 documents", 1000: "", nil: ""} {
		d := probesJSON(r.Probes[0], r.Info.ID)
		if documents != nil {
			d["summary"].(object)["test_documents"] = documents
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseProbes(text, r.Info.ID)
		if err != nil || p.cutFrom() != want {
			t.Errorf("%v documents: %+v, %v", documents, p, err)
			continue
		}
		like := []*probeGroup{{&group[Probes]{like: p}}}
		if says := probeTexts(like); strings.Contains(says, "1000 to test on out of 12 documents") != (want != "") {
			t.Errorf("%v documents: %s", documents, says)
		}
	}
}

func TestReport_InsideOnDisk(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), t.TempDir()
	records := withGaps(withProbes(small().records(2), 2))
	for _, r := range records {
		save(t, root, r)
		saveInside(t, root, r)
	}
	first := filepath.Join(root, records[0].Folder, record.AnalyzeDir)
	writeFile(t, filepath.Join(first, gapDir, gapFile), `{"schema":1,"settings":{"model":"<script>"}}`)
	writeFile(t, filepath.Join(first, "probes-torn", probesFile), `{"schema":1,"settings":`)
	writeFile(t, filepath.Join(first, "probes-no-folder"), "")
	saveJSON(t, filepath.Join(first, "probes-again", probesFile), probesJSON(records[0].Probes[0], records[0].Info.ID))
	large := filepath.Join(root, records[1].Folder, record.AnalyzeDir, "probes-sotu-decade", probesFile)
	if err := os.Truncate(large, maxProbeBytes+1); err != nil {
		t.Fatal(err)
	}
	result, err := Report(t.Context(), ReportOptions{Runs: root, Out: filepath.Join(out, "with"), dpi: 40})
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	for _, p := range result.Problems {
		problems = append(problems, p.String())
	}
	all := strings.Join(problems, "\n")
	for _, want := range []string{"gap.json: is of <script>", "probes-torn/probes.json: is not the probes", "probes-sotu-decade/probes.json: a second result", "too large for results"} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem says %q:\n%s", want, all)
		}
	}
	if len(result.Problems) != 4 || len(result.Probes) != 4 || len(result.Gaps) != 2 || result.Probes[0].Seeds != 1 || result.Probes[2].Seeds != 2 || result.Gaps[1].Seeds != 1 {
		t.Errorf("%d problems, %+v, %+v", len(result.Problems), result.Probes, result.Gaps)
	}
	for _, name := range []string{
		"tables/probes-per-decay.tex", "tables/gap-per-decay.md", "figures/probes-vs-decay.csv", "figures/probes-by-layer.svg", "figures/gap-vs-decay.png",
	} {
		if !slices.Contains(result.Files, name) {
			t.Errorf("%s is missing", name)
		}
	}
	page := readFile(t, filepath.Join(out, "with", "index.html"))
	for _, want := range []string{`id="probes"`, `id="gaps"`, "Linear probes: llama2-s", "Train-validation gap: llama2-s", "tables/probes-per-decay.tex"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "NaN") {
		t.Error("the page has markup of a record, or NaN")
	}
	for _, name := range []string{"probes-vs-decay", "probes-by-layer", "gap-vs-decay"} {
		rows, err := csv.NewReader(strings.NewReader(readFile(t, filepath.Join(out, "with", "figures", name+".csv")))).ReadAll()
		if err != nil || len(rows) < 20 || !slices.Contains(rows[0], "run_ids") {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
	report := readFile(t, filepath.Join(out, "with", reportFile))
	for _, want := range []string{`"rises": "not decidable"`, `"rises": "yes"`, `"spearman"`, `"held_out": "training split, not read yet"`} {
		if !strings.Contains(report, want) {
			t.Errorf("report.json lacks %q", want)
		}
	}
}
