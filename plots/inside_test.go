package plots

import (
	"os"
	"path/filepath"
	"testing"
)

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
