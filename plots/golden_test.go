package plots

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gonum.org/v1/plot/cmpimg"

	"plasticity/record"
)

// Goldens are drawn at the density of a screen, so that they stay small.
const (
	goldenDPI = 60
	tunedDPI  = 46 // of the larger figures of fine-tuned runs and of what is inside models
	maxGolden = 60 << 10
)

var update = flag.Bool("update", false, "write the golden pictures anew")

// goldenSets are the collections of runs that have a picture.
func goldenSets() map[string]*Set {
	one := small().records(3)
	failed := small().record(fakeLevel{0.6, 2.554}, 1)
	failed.State, failed.Cause = record.StateFailed, "exit code 76: the loss is not finite at step 1200"
	failed.Metrics = failed.Metrics[:60]

	hundred, decayed := small(), small()
	hundred.tpp, hundred.losses = 100, []fakeLevel{{0, 2.40}, {0.03, 2.393}, {0.1, 2.394}, {0.3, 2.41}, {1, 2.50}, {2, 2.60}}
	decayed.noDecay = "[]"
	decayed.losses = []fakeLevel{{0, 2.556}, {0.1, 2.555}, {0.3, 2.572}, {0.6, 2.623}, {1, 2.732}, {2, 3.184}, {3, 4.082}, {10, 5.708}}
	bases := small().records(3)
	tuned := append(slices.Clone(bases), tuning().of(bases)...)
	single := small().records(1)
	few := tuning()
	few.tasks, few.rates, few.answers, few.fresh = few.tasks[:2], few.rates[:1], false, 0
	partial := append(slices.Clone(single), few.of(single)...)
	partial[6].State, partial[6].Cause = record.StateFailed, "exit code 76: the loss is not finite at step 12"
	many := append(append(small().records(3), hundred.records(2)...), decayed.records(2)...)
	fewProbed := partlyProbed()
	for i := range fewProbed { // a panel less
		fewProbed[i].Probes = slices.DeleteFunc(fewProbed[i].Probes, func(p Probes) bool { return p.Synthetic })
	}
	normedBases := small().records(3)
	for i := range normedBases {
		lines := normedBases[i].Metrics
		lines[len(lines)-1].ParamNorm = record.Float(60 / (1 + float64(normedBases[i].Info.WeightDecay)/4))
	}
	rates := tuning()
	rates.tasks, rates.answers = rates.tasks[:3], false
	return map[string]*Set{
		"quickstart":  NewSet(append(one, failed), nil),
		"settings":    NewSet(many, nil),
		"empty":       NewSet(nil, nil),
		"tuned":       NewSet(tuned, nil),
		"partial":     NewSet(partial, nil),
		"ranked":      NewSet(append(withRanks(small().records(3), 2, 6), failed), nil),
		"mixedranks":  NewSet(partlyRanked(), nil),
		"probed":      NewSet(append(withProbes(small().records(3), 2), failed), nil),
		"mixedprobes": NewSet(fewProbed, nil),
		"gapped":      NewSet(append(withGaps(small().records(3)), failed), nil),
		"mixedgaps":   NewSet(partlyGapped(), nil),
		"noised":      NewSet(append(withNoise(small().records(3)), failed), nil),
		"mixednoise":  NewSet(partlyNoised(), nil),
		"looked":      NewSet(looked(), nil),
		"mixedforgot": NewSet(partlyForgot(), nil),
		"matched":     NewSet(append(normedBases, rates.of(normedBases)...), nil),
	}
}

func TestFigures_MatchGoldens(t *testing.T) {
	t.Parallel()
	for set, s := range goldenSets() {
		for _, name := range Names() {
			if about := subjectOf(name); set != "empty" && (about == aboutRuns && special(s) || !s.has(about)) {
				continue // figures of pretraining alone have sets of their own
			}
			if set == "matched" && name != "plasticity-vs-decay" {
				continue
			}
			if afterwards := s.has(aboutForgetting); afterwards && subjectOf(name) != aboutForgetting && subjectOf(name) != aboutSignals {
				continue // and so have those of what was found inside and became of it
			}
			if set == "settings" && name == "training-curves" {
				continue // the layout of curves is the quickstart's, once a setting
			}
			t.Run(set+"/"+name, func(t *testing.T) {
				t.Parallel()
				figure, err := Draw(name, s)
				if err != nil {
					t.Fatal(err)
				}
				checkGolden(t, figure, filepath.Join("testdata", set+"."+name+".png"))
			})
		}
	}
}

// special tells whether a set has more than pretraining runs.
func special(s *Set) bool {
	return slices.ContainsFunc([]subject{aboutTuned, aboutProbes, aboutRanks, aboutGaps, aboutNoise}, s.has)
}

func checkGolden(t *testing.T, figure Figure, path string) {
	t.Helper()
	var got bytes.Buffer
	dpi := goldenDPI
	if subjectOf(figure.Name) != aboutRuns {
		dpi = tunedDPI
	}
	if err := figure.png(&got, dpi); err != nil {
		t.Fatal(err)
	}
	if got.Len() > maxGolden {
		t.Errorf("%s has %d bytes, more than %d", path, got.Len(), maxGolden)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./plots -update writes it)", err)
	}
	same, err := cmpimg.EqualApprox("png", got.Bytes(), want, 0.15)
	if err != nil {
		t.Fatal(err)
	}
	if !same {
		seen := filepath.Join(os.TempDir(), "got-"+filepath.Base(path))
		if err := os.WriteFile(seen, got.Bytes(), 0o644); err != nil {
			t.Error(err)
		}
		t.Errorf("%s differs from what is drawn now (%s); if that is meant: go test ./plots -update", path, seen)
	}
}

func TestFigures_SameBytesForAnyOrder(t *testing.T) {
	t.Parallel()
	records := withNoise(withGaps(withProbes(withRanks(small().records(2), 2, 3), 2)))
	records = withForgetting(append(records, tuning().of(records)...))
	backwards := make([]Record, len(records))
	for i, r := range records {
		backwards[len(records)-1-i] = r
	}
	for _, name := range Names() {
		var texts [2]bytes.Buffer
		for i, rs := range [][]Record{records, backwards} {
			figure, err := Draw(name, NewSet(rs, nil))
			if err != nil {
				t.Fatal(err)
			}
			if err := figure.SVG(&texts[i]); err != nil {
				t.Fatal(err)
			}
			if err := figure.CSV(&texts[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
			t.Errorf("%s depends on the order of the records", name)
		}
	}
}
