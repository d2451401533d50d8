package plots

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

// gapsOf makes runs of two decays with the given gaps to the validation split, a seed each.
func gapsOf(low, high []float64) []Record {
	var out []Record
	for i, values := range [][]float64{low, high} {
		for seed, v := range values {
			r := small().record(fakeLevel{[]float64{0.1, 1}[i], 2.5}, int64(seed+1))
			r.Gap = fakeGap(&r)
			r.Gap.Comparisons = []GapComparison{{HeldOut: GapValidation, Windows: 8, Seen: 2, Unseen: 2 + v, Low: v - 0.01, High: v + 0.02}}
			out = append(out, r)
		}
	}
	return out
}

func TestGaps_FindingsByHand(t *testing.T) {
	t.Parallel()
	t975 := 4.30265 / math.Sqrt(3)
	for name, c := range map[string]struct {
		low, high  []float64
		mean, half float64
		falls      Verdict
		says       string
	}{
		"falls": {
			[]float64{0.05, 0.06, 0.07},
			[]float64{0.03, 0.03, 0.03},
			-0.03, 0.01 * t975, Yes,
			"is 0.0600 at λ = 0.1, the lowest decay, and 0.0300 at λ = 1, the highest (−0.0300, interval −0.0548 to −0.0052, paired by 3 seeds). The two are told apart: the gap falls.",
		},
		"rises":    {[]float64{0.01, 0.01}, []float64{0.02, 0.02}, 0.01, 0, No, "the gap does not fall, it rises."},
		"open":     {[]float64{0.02, 0.02}, []float64{0.01, 0.03}, 0, 12.7062 * 0.01, Undecidable, "contains zero"},
		"one seed": {[]float64{0.02}, []float64{0.01}, -0.01, math.NaN(), Undecidable, "at least two seeds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := NewSet(gapsOf(c.low, c.high), nil).Gaps()[0]
			if f.HeldOut != GapValidation || f.Falls != c.falls || !strings.Contains(f.Text, c.says) || strings.Contains(f.Text, "NaN") {
				t.Errorf("got %+v", f)
			}
			near(t, "difference", float64(f.Difference), c.mean, 1e-9)
			near(t, "half", float64(f.High-f.Low)/2, c.half, 1e-4)
		})
	}
}

func TestGapTable_DocumentsWhereThereIsOneSeed(t *testing.T) {
	t.Parallel()
	rows := GapTable(NewSet(gapsOf([]float64{0.02, 0.04}, []float64{0.01}), nil)).Rows
	want := [][]string{ // read, other, gap, half, over documents, passes, n
		{"2.0000", "2.0300", "0.0300", "0.1271", "", "0.74", "2"}, {"2.0000", "2.0100", "0.0100", "", "0.0000 to 0.0300", "0.74", "1"},
	}
	if len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, w := range want {
		if got := rows[i][4:11]; !slices.Equal(got, w) {
			t.Errorf("row %d: %v, want %v", i, got, w)
		}
	}
}

func TestGapFigure_SaysWhatIsNotDrawn(t *testing.T) {
	t.Parallel()
	f := GapVsDecay(NewSet(partlyGapped(), nil))
	notes := strings.Join(f.Notes, "\n")
	for _, want := range []string{
		"1 of 6 finished runs without gaps (plasticity analyze gap)", "was measured at step 1000 of 1623", "other draws of them: they are drawn apart",
		"one seed per weight decay: intervals are over documents of one model",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	for _, want := range []string{"Training passed 0.74 times over its text", "512 windows of 256 tokens (validation split)", "of the same document"} {
		if !strings.Contains(f.Caption, want) {
			t.Errorf("the caption lacks %q: %s", want, f.Caption)
		}
	}
	means := slices.DeleteFunc(slices.Clone(f.Points.Rows), func(row []string) bool { return row[4] != "mean" })
	if len(means) != 3+2+1+1 { // of three runs, two with unread text, and of the one with another draw
		t.Errorf("%d means", len(means))
	}
	unknown := withGaps(small().records(2))
	for i := range unknown {
		unknown[i].Gap.Passes, unknown[i].Gap.Settings.AllRead = math.NaN(), true
	}
	if f := GapVsDecay(NewSet(unknown, nil)); !strings.Contains(f.Caption, "is not known") || strings.Contains(f.Caption, "NaN") {
		t.Errorf("caption %s", f.Caption)
	}
}

// Zero is on the axis however far the gaps are from it.
func TestGapPanel_HasZero(t *testing.T) {
	t.Parallel()
	for _, values := range [][]float64{{0.5, 0.51}, {-0.5, -0.51}, {0, 0}} {
		g := NewSet(gapsOf(values, values), nil).gapGroups()[0]
		p := g.panel(GapValidation)
		if p.low > 0 || p.high < 0 || p.low > slices.Min(values) || p.high < slices.Max(values) {
			t.Errorf("%v: from %v to %v", values, p.low, p.high)
		}
	}
}

func TestParseGap_RefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	r := withGaps(small().records(1))[0]
	type object = map[string]any
	first := func(d object) object { return d["comparisons"].([]any)[0].(object) }
	for name, change := range map[string]func(d object){
		"has schema 0":         func(d object) { d["schema"] = 0 },
		"is of other@1":        func(d object) { d["settings"].(object)["model"] = "other@1" },
		"has no windows":       func(d object) { d["settings"].(object)["context"] = 0 },
		"how often":            func(d object) { d["passes"] = "NaN" },
		"has no comparison":    func(d object) { d["comparisons"] = []any{} },
		"compares with the mo": func(d object) { first(d)["held_out"] = "the moon" },
		"each once":            func(d object) { first(d)["held_out"] = GapUnread },
		"split: has no win":    func(d object) { first(d)["sequences"] = 0 },
		"lacks a loss":         func(d object) { delete(first(d), "gap_nats_per_token") },
		"is not the differ":    func(d object) { first(d)["gap_nats_per_token"] = 1 },
		"two losses":           func(d object) { first(d)["seen_nats_per_token"] = "NaN" },
		"over documents is no": func(d object) { first(d)["gap_interval_95_over_documents"] = []float64{2, 1} },
		"is not the gap":       func(d object) { d["comparisons"] = "all" },
	} {
		d := gapJSON(r.Gap, r.Info.ID)
		parse := func() (*Gap, error) {
			t.Helper()
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			return parseGap(text, r.Info.ID)
		}
		if _, err := parse(); err != nil {
			t.Fatalf("the sound one: %v", err)
		}
		change(d)
		if got, err := parse(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// windows of one document have no interval over documents, whether the file says so or has one without width; a model that does not
	// say what it read has no passes
	for _, interval := range []any{[]float64{1, 1}, []string{"NaN", "NaN"}} {
		d := gapJSON(r.Gap, r.Info.ID)
		first(d)["gap_interval_95_over_documents"] = interval
		first(d)["seen_documents"], d["passes"], d["settings"].(object)["samples"] = 1, "NaN", gapAllRead
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := parseGap(text, r.Info.ID); err != nil || finite(g.Comparisons[0].Low) || finite(g.Passes) || !g.Settings.AllRead {
			t.Errorf("%+v, %v", g, err)
		}
	}
}
