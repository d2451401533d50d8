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

// Where a smaller decay than the loss-optimal one is best, the claim does not hold if the two are told apart, and is open if they are not.
func TestClaims_OfASmallerDecay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at01 []float64 // response losses at λ = 0.1; those at 1, which has the lower loss, are 1, 1.1 and 1.2
		want Verdict
	}{{[]float64{0.8, 0.9, 1.0}, No}, {[]float64{0.9, 1.2, 1.1}, Undecidable}} {
		m, f := small(), tuning()
		m.losses = []fakeLevel{{0.1, 2.6}, {1, 2.5}}
		records := m.records(3)
		for i, b := range records[:6] {
			loss := append(c.at01, 1, 1.1, 1.2)[i]
			records = append(records, f.record(&b, b.Info, b.Info.Seed, "a", 1e-3, loss, true))
		}
		claims := NewSet(records, nil).Claims()
		if len(claims) != 2 || claims[1].Held != c.want || !strings.Contains(claims[1].Numbers, "best λ = 0.1, loss-optimal λ = 1: −0.") {
			t.Errorf("%v: %+v", c.at01, claims)
		}
	}
}
