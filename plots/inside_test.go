package plots

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// odd are numbers that are possible and strange.
func odd() map[string][]Record {
	probed := func(layers int, change func(*Probes)) []Record {
		records := withProbes(small().records(2), layers)
		for i := range records {
			for j := range records[i].Probes {
				change(&records[i].Probes[j])
			}
		}
		return records
	}
	gaps := func(seen, unseen, half float64) []Record {
		records := withGaps(small().records(1))
		for i := range records {
			for j := range records[i].Gap.Comparisons {
				c := &records[i].Gap.Comparisons[j]
				c.Seen, c.Unseen, c.Low, c.High = seen, unseen, unseen-seen-half, unseen-seen+half
			}
		}
		return records
	}
	all := func(v float64) func(*Probes) {
		return func(p *Probes) {
			for i := range p.Layers {
				p.Layers[i].Accuracy, p.Layers[i].Control = v, v
			}
			p.Majority = math.Max(v, 0.1)
		}
	}
	return map[string][]Record{
		"embedding only": probed(0, func(*Probes) {}), "many layers": probed(80, func(*Probes) {}), "all right": probed(2, all(1)), "all wrong": probed(2, all(0)),
		"one run": withGaps(probed(1, func(*Probes) {})[:1]), "equal": gaps(2, 2, 0), "huge": gaps(1, 1e300, 1e299), "tiny": gaps(2, 2+1e-15, 0), "negative": gaps(3, 1, 5),
		"no interval": gaps(2, 3, math.NaN()), "only lambda 0": withGaps(probed(1, func(*Probes) {}))[:2],
	}
}

// drawOdd draws figures that must not say NaN, and counts their points.
func drawOdd(t *testing.T, figures ...Figure) (points int) {
	t.Helper()
	for _, figure := range figures {
		var svg bytes.Buffer
		if err := errors.Join(figure.SVG(&svg), figure.png(io.Discard, 30)); err != nil {
			t.Fatal(err)
		}
		checkXML(t, svg.String())
		if strings.Contains(svg.String(), "NaN") || strings.Contains(svg.String(), "Inf") {
			t.Errorf("%s draws or says NaN", figure.Name)
		}
		points += len(figure.Points.Rows)
	}
	return points
}

func TestInside_OddNumbersDraw(t *testing.T) {
	t.Parallel()
	for name, records := range odd() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSet(records, nil)
			if points := drawOdd(t, ProbesVsDecay(s), ProbesByLayer(s), GapVsDecay(s)); points == 0 {
				t.Error("nothing is drawn")
			}
			for _, f := range s.Probes() {
				if f.Text == "" || strings.Contains(f.Text, "NaN") || strings.Contains(f.Text, "  ") {
					t.Errorf("finding %q", f.Text)
				}
			}
		})
	}
}

// The files were written by `plasticity analyze probes --task synthetic-sentiment` and `plasticity analyze gap` for a run of the quickstart with
// λ = 0.1; what is wanted is what those commands printed.
func TestReadInside_FilesOfTheProgram(t *testing.T) {
	t.Parallel()
	const id = "03bf0f7c5f37721b"
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	probes, err := parseProbes(read(probesFile), id)
	if err != nil {
		t.Fatal(err)
	}
	if probes.Step != 1623 || !probes.Synthetic || probes.Majority != 0.509 || len(probes.Layers) != 3 || probes.Layers[probes.Best].Layer != 1 || probes.Settings.Pool != "last" {
		t.Errorf("got %+v", probes)
	}
	near(t, "mean accuracy", probes.Mean(), 0.5517, 5e-5)
	gap, err := parseGap(read(gapFile), id)
	if err != nil {
		t.Fatal(err)
	}
	validation, unread := gap.with(GapValidation), gap.with(GapUnread)
	if gap.Step != 1623 || gap.Settings.Tokens != 131072 || validation == nil || unread == nil || validation.Windows != 1024 {
		t.Fatalf("got %+v", gap)
	}
	near(t, "passes", gap.Passes, 0.74, 5e-3)
	near(t, "validation", validation.Value(), 0.08707, 5e-6)
	near(t, "low, over 13 documents", validation.Low, -0.00831, 5e-6)
	near(t, "unread", unread.Value(), 0.02240, 5e-6)
}
