package plots

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// importedRecords are models that were imported: one with every analysis, one without any.
func importedRecords() []Record {
	records := withNoise(withGaps(withProbes(withRanks(small().records(1), 2, 0), 2)))[:2]
	for i := range records {
		r := &records[i]
		r.Info = record.Info{
			Schema: 1, ID: "of" + r.Info.ID[2:], Kind: kindImport, Name: "imported", Model: "olmo2", Parameters: 1_484_916_736, TokenizerDigest: "other", DataSource: "imported weights",
		}
		r.Folder = "imported/" + r.Info.ID
		r.Metrics, r.Ranks.Last.Step, r.Gap.Step, r.Noise.Step = nil, 0, 0, 0
		for j := range r.Probes {
			r.Probes[j].Step = 0
		}
	}
	records[1].Ranks, records[1].Probes, records[1].Gap, records[1].Noise = nil, nil, nil, nil
	return records
}

// What was found in a public model is in a report, although nothing is known of its training; and it is in no mean.
func TestReport_ImportedModels(t *testing.T) {
	t.Parallel()
	for name, trained := range map[string][]Record{"alone": nil, "beside runs": small().records(2)} {
		root := t.TempDir()
		for _, r := range append(importedRecords(), trained...) {
			save(t, root, r)
			saveInside(t, root, r)
			saveAfter(t, root, r)
		}
		out := filepath.Join(t.TempDir(), "report")
		result, err := Report(t.Context(), ReportOptions{Runs: root, Out: out, dpi: 40})
		if err != nil || len(result.Problems) != 0 || result.Runs != len(trained) || result.Counted != len(trained) {
			t.Fatalf("%s: %+v, %v", name, result, err)
		}
		page, table := readFile(t, filepath.Join(out, "index.html")), readFile(t, filepath.Join(out, "tables", "imported-models.csv"))
		want := []string{"2 models were imported, 1 of them with analyses", count(1_484_916_736)}
		if len(trained) == 0 {
			want = append(want, "No model was pretrained here; 1 imported model was looked into.")
		}
		for _, text := range want {
			if !strings.Contains(page, text) {
				t.Errorf("%s: the page lacks %q", name, text)
			}
		}
		for _, text := range []string{"mean pseudo-rank of W_QK", "probes of sotu-decade", "train-validation gap", "rise under noise of σ = 0.05", "over documents"} {
			if !strings.Contains(table, text) {
				t.Errorf("%s: the table lacks %q", name, text)
			}
		}
		if drawn := slices.ContainsFunc(result.Files, func(f string) bool { return f == "figures/loss-vs-decay.png" }); drawn != (len(trained) > 0) {
			t.Errorf("%s: Figure 1 is drawn: %v", name, drawn)
		}
		if len(result.Ranks)+len(result.Gaps)+len(result.Probes)+len(result.Noise) != 0 || strings.Contains(page, "NaN") {
			t.Errorf("%s: imported models are in findings", name)
		}
	}
}
