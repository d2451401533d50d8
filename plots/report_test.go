package plots

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"plasticity/record"
)

func TestReport_QuickstartOnDisk(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "report")
	for _, r := range small().records(3) {
		save(t, root, r)
	}
	best := NewSet(small().records(3), nil).settings[0]
	m := best.levels[best.best()].seeds[0].runs[0]
	writeFile(t, filepath.Join(root, m.Folder, "samples", "one.jsonl"), `{"prompt":"We","text":" the people","finish":"length"}`+"\n")
	for _, dpi := range []int{40, pngDPI} { // the second report replaces the first
		result, err := Report(t.Context(), ReportOptions{Runs: root, Out: out, dpi: dpi})
		if err != nil {
			t.Fatal(err)
		}
		if result.Runs != 18 || result.Counted != 18 || len(result.Problems) != 0 || result.Findings[0].Best != 0.3 {
			t.Errorf("got %+v", result)
		}
	}
	text := regexp.MustCompile(`base64,[^"]*`).ReplaceAllString(readFile(t, filepath.Join(out, "index.html")), "base64,")
	for _, want := range []string{"λ = 0.3", "<strong>We</strong> the people", "norm gains exempt from decay", "data:image/png;base64,", m.Info.ID, "0572032aa1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"http://", "https://", "<script", "ZgotmplZ", "NaN", root} {
		if strings.Contains(text, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, name := range []string{"figures/loss-vs-decay", "figures/training-curves"} {
		checkForms(t, filepath.Join(out, name))
	}
	if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// checkForms reads a figure back: a picture that is crisp, well-formed SVG, CSV whose points have run ids.
func checkForms(t *testing.T, name string) {
	t.Helper()
	picture, err := png.DecodeConfig(strings.NewReader(readFile(t, name+".png")))
	if err != nil || picture.Width < 1200 {
		t.Errorf("%s.png: %v, %v", name, picture, err)
	}
	checkXML(t, readFile(t, name+".svg"))
	rows, err := csv.NewReader(strings.NewReader(readFile(t, name+".csv"))).ReadAll()
	if err != nil || len(rows) < 10 {
		t.Fatalf("%s.csv: %d rows, %v", name, len(rows), err)
	}
	at := slices.IndexFunc(rows[0], func(c string) bool { return strings.HasPrefix(c, "run_id") })
	for _, row := range rows[1:] {
		if row[at] == "" {
			t.Fatalf("%s.csv: a point without a run: %v", name, row)
		}
	}
}

func checkXML(t *testing.T, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}

// hostile are texts that try to break out of wherever they are put.
func hostile() []string {
	return []string{
		`=cmd|' /C calc'!A0`, `@SUM(1+1)*cmd`, `+1+cmd`, "-2+3+cmd", "\t=1+1", `<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`,
		`]]><svg onload=alert(1)>`, `{{.Style}}`, `\input{/etc/passwd}`, "a|b\n| c", "](javascript:alert(1))", "\u202eevil", "nul\x00\x1b[31m", "\xff\xfe", strings.Repeat("A", 100_000),
	}
}

func TestReport_HostileTextStaysText(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "report")
	var samples []Sample
	for i, text := range hostile() {
		m := small()
		m.data = text
		r := m.record(fakeLevel{0.1, 2.5}, int64(i))
		r.Info.Model, r.Info.Commit, r.Info.Started, r.Info.Precision = text, text, text, text
		r.Info.DecayGroups[0].Parameters = []string{text}
		r.Folder = fmt.Sprintf("grid/%d", i)
		if i%2 == 0 {
			r.State, r.Cause = record.StateFailed, text
		}
		save(t, root, r)
		probes := probesJSON(fakeProbes(&r, text, 1), r.Info.ID)
		saveJSON(t, filepath.Join(root, r.Folder, record.AnalyzeDir, "probes-x", probesFile), probes)
		samples = append(samples, Sample{Run: text, Prompt: text, Text: text, File: text})
	}
	title := `<script>alert(1)</script>"><img src=x onerror=alert(1)>`
	if _, err := Report(t.Context(), ReportOptions{Runs: root, Out: out, Title: title, Claim: title, Samples: samples[5:13], dpi: 40}); err != nil {
		t.Fatal(err)
	}
	page := strings.ToLower(readFile(t, filepath.Join(out, "index.html")))
	for _, never := range []string{"<script", "<img src=x", "<svg", "\x00", "\x1b", "\u202e"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, name := range []string{"figures/loss-vs-decay.svg", "figures/training-curves.svg", "figures/probes-vs-decay.svg", "figures/probes-by-layer.svg"} {
		text := readFile(t, filepath.Join(out, name))
		checkXML(t, text)
		if strings.Contains(text, "<script") || strings.Contains(text, "onerror=") && strings.Contains(text, "<img") {
			t.Errorf("%s has markup from a name", name)
		}
	}
	for _, name := range []string{"figures/loss-vs-decay.csv", "figures/training-curves.csv", "figures/probes-vs-decay.csv", "tables/probes-per-decay.csv", "tables/runs.csv", "tables/loss-per-decay.csv"} {
		rows, err := csv.NewReader(strings.NewReader(readFile(t, filepath.Join(out, name)))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range slices.Concat(rows...) {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") && !isNumber(cell) {
				t.Errorf("%s: %.40q would run in a spreadsheet", name, cell)
			}
		}
	}
	for _, line := range strings.Split(readFile(t, filepath.Join(out, "tables/runs.tex")), "\n") {
		if strings.Contains(line, `\input`) {
			t.Errorf("LaTeX would run %q", line)
		}
	}
}

func isNumber(text string) bool {
	var v float64
	_, err := fmt.Sscanf(text, "%g", &v)
	return err == nil
}

// damaged are collections of runs that are broken in some way, each with what the figures must say about it.
func damaged() map[string]struct {
	records []Record
	says    string
} {
	change := func(n int, change func(*Record)) []Record {
		records := small().records(2)
		for i := range n {
			change(&records[i])
		}
		return records
	}
	nan, inf := record.Float(math.NaN()), record.Float(math.Inf(1))
	type c = struct {
		records []Record
		says    string
	}
	return map[string]c{
		"empty":        {nil, ""},
		"no metrics":   {change(3, func(r *Record) { r.Metrics = nil }), "nothing logged by"},
		"one point":    {change(12, func(r *Record) { r.Metrics = r.Metrics[len(r.Metrics)-1:] }), ""},
		"one run":      {small().records(1)[:1], "one seed"},
		"one level":    {small().records(3)[:3], ""},
		"only zero":    {small().records(2)[:2], "two seeds"},
		"all failed":   {change(12, func(r *Record) { r.State = record.StateFailed }), "12 of 12 runs not in the means"},
		"running":      {change(2, func(r *Record) { r.State, r.Metrics = record.StateRunning, r.Metrics[:40] }), "not finished (running, step 400 of 1623)"},
		"nan loss":     {change(2, func(r *Record) { r.Metrics[len(r.Metrics)-1].ValLoss = &nan }), "diverged (validation loss NaN)"},
		"inf train":    {change(2, func(r *Record) { r.Metrics[5].Loss = inf }), "not finite are left out"},
		"no final":     {change(1, func(r *Record) { r.Metrics = r.Metrics[:100] }), "last evaluated at step 1000 of 1623"},
		"no val":       {change(1, func(r *Record) { r.Metrics = r.Metrics[:3] }), "has no validation loss"},
		"nan decay":    {change(1, func(r *Record) { r.Info.WeightDecay = nan }), "its weight decay is NaN"},
		"minus decay":  {change(1, func(r *Record) { r.Info.WeightDecay = -1 }), "its weight decay is -1"},
		"minus zero":   {change(1, func(r *Record) { r.Info.WeightDecay = record.Float(math.Copysign(0, -1)) }), ""},
		"schemas":      {change(1, func(r *Record) { r.Info.Schema = 0 }), "2 schema versions"},
		"data":         {change(6, func(r *Record) { r.Info.DataDigest, r.Info.ValDigest = "x", "y" }), "runs on different data"},
		"same seed":    {change(12, func(r *Record) { r.Info.Seed = 1 }), "counted once"},
		"zero info":    {[]Record{{Info: record.Info{ID: "a"}, State: record.StateDone}}, "has no validation loss"},
		"finetuned":    {change(2, func(r *Record) { r.Info.Kind = "finetune" }), "2 never-pretrained runs without fine-tuned base models"},
		"other kind":   {change(2, func(r *Record) { r.Info.Kind = "distill" }), "2 runs of another kind"},
		"flat":         {change(12, func(r *Record) { v := record.Float(2.5); r.Metrics[len(r.Metrics)-1].ValLoss = &v }), ""},
		"huge":         {change(2, func(r *Record) { v := record.Float(1e300); r.Metrics[len(r.Metrics)-1].ValLoss = &v }), ""},
		"tiny decay":   {change(2, func(r *Record) { r.Info.WeightDecay = 1e-300 }), ""},
		"huge decay":   {change(2, func(r *Record) { r.Info.WeightDecay = 1e300 }), ""},
		"tokens fall":  {change(1, func(r *Record) { r.Metrics[3].Tokens = 1 }), "token counts that fall"},
		"huge tokens":  {change(1, func(r *Record) { r.Info.Tokens, r.Metrics[9].Tokens = math.MaxInt64, math.MaxInt64 }), ""},
		"huge seed":    {change(1, func(r *Record) { r.Info.Seed = math.MinInt64 }), ""},
		"bad config":   {change(1, func(r *Record) { r.Config = []byte("a: &a [*a, *a]\n\tb") }), ""},
		"alias config": {change(1, func(r *Record) { r.Config = []byte("a: &a [x]\nb: [*a, *a]\n") }), ""},
	}
}

func TestFigures_DamagedRecordsDrawWithANote(t *testing.T) {
	t.Parallel()
	for name, c := range damaged() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSet(c.records, nil)
			var notes strings.Builder
			for _, figure := range Names() {
				f, err := Draw(figure, s)
				if err != nil {
					t.Fatal(err)
				}
				var svg bytes.Buffer
				if err := errors.Join(f.SVG(&svg), f.png(io.Discard, 30)); err != nil {
					t.Fatal(err)
				}
				checkXML(t, svg.String())
				if strings.Contains(svg.String(), "NaN") && !strings.Contains(c.says, "NaN") || strings.Contains(svg.String(), `="NaN`) {
					t.Errorf("%s draws at NaN", figure)
				}
				notes.WriteString(strings.Join(f.Notes, "\n"))
			}
			if !strings.Contains(notes.String(), c.says) {
				t.Errorf("the notes do not say %q: %s", c.says, notes.String())
			}
			checkNobodyDropped(t, s, len(c.records))
		})
	}
}

// checkNobodyDropped compares the table of runs with what went in.
func checkNobodyDropped(t *testing.T, s *Set, want int) {
	t.Helper()
	if got := len(RunTable(s).Rows) + len(TunedRunTable(s).Rows); got != want {
		t.Errorf("%d of %d runs are in the table", got, want)
	}
	for _, f := range s.Findings() {
		if f.Text == "" || strings.Contains(f.Text, "NaN") || strings.Contains(f.Text, "  ") {
			t.Errorf("finding %q", f.Text)
		}
	}
}

func TestLoad_DamagedFoldersAreReported(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	records := small().records(2)
	for _, r := range records {
		save(t, root, r)
	}
	torn := filepath.Join(root, records[0].Folder, record.MetricsFile)
	writeFile(t, torn, readFile(t, torn)+`{"step": 99, "tok`)
	writeFile(t, filepath.Join(root, records[1].Folder, record.InfoFile), `{"schema":1,`)
	copied := records[2]
	copied.Folder = "other/copy"
	save(t, root, copied)
	s, err := Load(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, p := range s.Problems() {
		text = append(text, p.String())
	}
	all := strings.Join(text, "\n")
	for _, want := range []string{"torn", "not a run's description", "a second folder of run " + copied.Info.ID} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem says %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, root) {
		t.Errorf("absolute paths in\n%s", all)
	}
	if n, _ := s.Runs(); n != len(records)-1 {
		t.Errorf("%d runs", n)
	}
	if got := LossVsDecay(s).Notes; !strings.Contains(strings.Join(got, " "), "problems while reading") {
		t.Errorf("the figure does not mention the problems: %v", got)
	}
}

// Grids that have a run in common, as scales have never-pretrained models, each have a folder of it. That is no problem unless they disagree.
func TestNewSet_RunsOfTwoGrids(t *testing.T) {
	t.Parallel()
	records := small().records(1)
	again := records[0]
	again.Folder, again.Info.Grid = "long/"+again.Info.ID, "long"
	s := NewSet(append(records, again), nil)
	if n, _ := s.Runs(); n != len(records) || len(s.Problems()) != 0 {
		t.Errorf("%d of %d runs, problems %v", n, len(records), s.Problems())
	}
	again.Metrics = slices.Clone(again.Metrics)
	last := &again.Metrics[len(again.Metrics)-1]
	last.Loss++
	if s := NewSet(append(records, again), nil); len(s.Problems()) != 1 {
		t.Errorf("folders that disagree: problems %v", s.Problems())
	}
}

func TestReport_RefusesFoldersItWouldDestroy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	runs := filepath.Join(root, "runs")
	save(t, runs, small().records(1)[0])
	precious := filepath.Join(root, "precious")
	writeFile(t, filepath.Join(precious, "thesis.txt"), "years of work")
	link := filepath.Join(root, "link")
	if err := os.Symlink(runs, link); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{runs, root, precious, link, "", filepath.Join(runs, "grid")} {
		_, err := Report(t.Context(), ReportOptions{Runs: runs, Out: out})
		if record.CodeOf(err) != record.Usage {
			t.Errorf("%q: %v", out, err)
		}
	}
	if _, err := Report(t.Context(), ReportOptions{Runs: runs, Out: filepath.Join(root, "r"), Choice: []string{"pie"}}); record.CodeOf(err) != record.Usage {
		t.Errorf("a choice of figures that there are not: %v", err)
	}
	if _, err := Report(t.Context(), ReportOptions{Runs: runs, Out: filepath.Join(root, "r"), Figures: []string{"pie"}}); record.CodeOf(err) != record.Usage {
		t.Errorf("an unknown figure: %v", err)
	}
	if _, err := Report(t.Context(), ReportOptions{Runs: filepath.Join(root, "none"), Out: filepath.Join(root, "r")}); err == nil {
		t.Error("runs that are not there were reported on")
	}
	if readFile(t, filepath.Join(precious, "thesis.txt")) == "" {
		t.Error("something was lost")
	}
}

func TestReport_CancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), t.TempDir()
	for _, r := range small().records(1) {
		save(t, root, r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Report(ctx, ReportOptions{Runs: root, Out: filepath.Join(out, "report")}); record.CodeOf(err) != record.Stopped {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Not parallel: it measures the processor time of this process, which a busy machine leaves alone.
func TestReport_ThousandRuns(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("measures time: not under the race detector, and not in short runs")
	}
	root := t.TempDir()
	m := small()
	m.losses = nil
	for i := range 32 {
		m.losses = append(m.losses, fakeLevel{math.Pow(10, float64(i)/10-2.5), 2.5 + 0.01*math.Abs(float64(i)-20)})
	}
	bases := withNoise(withGaps(withProbes(withRanks(m.records(6), 4, 10), 8)))
	f := tuning()
	f.tasks, f.fresh = f.tasks[:3], 0
	tuned := withForgetting(append(bases, f.of(bases)[:1000-len(bases)]...))[len(bases):]
	for _, r := range bases {
		save(t, root, r)
		saveInside(t, root, r)
		saveAfter(t, root, r)
	}
	for _, r := range tuned {
		save(t, root, r)
		saveAfter(t, root, r)
		saveEvaluation(t, root, r, `{"results":{"`+r.Info.Task+`":{"greedy":0.25,"pass@4":0.5,"n":50,"samples":4}},"configs":{}}`)
	}
	began := processorTime(t)
	result, err := Report(t.Context(), ReportOptions{Runs: root, Out: filepath.Join(t.TempDir(), "report")})
	if err != nil || result.Counted+result.TunedCounted != 1000 || len(result.Problems) != 0 {
		t.Fatalf("%d and %d runs, %v, %v", result.Counted, result.TunedCounted, result.Problems, err)
	}
	if len(result.Probes) != 4 || len(result.Ranks) != 2 || len(result.Gaps) != 2 || len(result.Tradeoffs) != 1 ||
		len(result.Noise) != 1 || len(result.Forgetting) != 1 || len(result.Signals) != 1 {
		t.Errorf("%d, %d, %d, %d, %d, %d findings of probes, ranks, gaps, noise, forgetting and signals", len(result.Probes), len(result.Ranks), len(result.Gaps),
			len(result.Noise), len(result.Forgetting), len(result.Signals))
	}
	took := processorTime(t) - began
	t.Logf("a report on 1000 runs took %.1f s of processor time", took.Seconds())
	if took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestResult_SurvivesJSON(t *testing.T) {
	t.Parallel()
	for name, c := range damaged() {
		if _, err := json.Marshal(Result{Findings: NewSet(c.records, nil).Findings()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
