package plots

import (
	"path/filepath"
	"strings"
	"testing"
)

// Every claim that the runs speak to is there once, with the verdict of the finding that says it at length.
func TestClaims_AreTheFindings(t *testing.T) {
	t.Parallel()
	s := NewSet(looked(), nil)
	held := map[string]Verdict{}
	for _, c := range s.Claims() {
		if _, again := held[c.Claim]; again || c.Numbers == "" || strings.Contains(c.Numbers, "NaN") {
			t.Errorf("%+v", c)
		}
		held[c.Claim] = c.Held
	}
	for claim, want := range map[string]Verdict{
		"a weight decay above the common default of 0.1 has a lower loss":                                               s.Findings()[0].Larger,
		"the weight decay that is best after fine-tuning is above the loss-optimal one, by the fixed recipe (lr 0.001)": s.Downstream()[0].LossOptimal.Verdict,
		"models of larger weight decay forget more in fine-tuning":                                                      s.Forgettings()[0].Rises,
		"probes of sotu-decade read models of larger weight decay better":                                               s.Probes()[0].Rises,
		"the pseudo-rank of W_QK falls with weight decay":                                                               s.Ranks()[0].Falls,
		"the train-validation gap falls with weight decay (validation split)":                                           s.Gaps()[0].Falls,
		"models of larger weight decay are less sensitive to noise on their weights":                                    s.Noises()[0].Falls,
	} {
		if got, ok := held[claim]; !ok || got != want {
			t.Errorf("%s: %q, the finding says %q", claim, got, want)
		}
	}
	if len(held) != 10 { // two tasks of probes, two products, two texts
		t.Errorf("%d claims", len(held))
	}
}

// By other ways to choose the rate the same question has answers of its own: at matched rates and at each model's best one.
func TestClaims_ByOtherRates(t *testing.T) {
	t.Parallel()
	var said []string
	for _, c := range NewSet(normed(), nil).Claims() {
		said = append(said, c.Claim+": "+c.InWords())
	}
	text := strings.Join(said, "\n")
	for _, want := range []string{"by the fixed recipe (lr 0.001): ", "also with the best recipe for each model and task: ", "also at rates in proportion to weight norms: not decidable here"} {
		if !strings.Contains(text, want) {
			t.Errorf("no claim %q in\n%s", want, text)
		}
	}
}

func TestReport_ClaimsAtTheTop(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "report")
	for _, r := range withRanks(small().records(3), 2, 0) {
		save(t, root, r)
		saveRanks(t, root, r)
	}
	result, err := Report(t.Context(), ReportOptions{Runs: root, Out: out, dpi: 40})
	if err != nil || len(result.Claims) != 3 {
		t.Fatalf("%+v, %v", result.Claims, err)
	}
	page := readFile(t, filepath.Join(out, "index.html"))
	at := strings.Index(page, "Claims, and whether they held here")
	if at < 0 || at > strings.Index(page, `<article class="finding">`) || !strings.Contains(page, "<strong>held</strong>") {
		t.Error("no table of claims before the findings")
	}
	one := small()
	one.losses = one.losses[:1]
	if got := NewSet(one.records(2), nil).Claims(); len(got) != 0 {
		t.Errorf("claims of one decay: %+v", got)
	}
}
