package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plasticity/plots"
	"plasticity/record"
)

const hostile = `<script>alert(1)</script>"'><img src=http://evil.example/x>`

// write makes a run folder as a trainer would.
func write(t *testing.T, root, grid string, i record.Info, steps int64, loss float64) *record.Run {
	t.Helper()
	dir := filepath.Join(root, grid, i.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	i.Grid, i.Model, i.Steps, i.Tokens, i.TokensPerStep, i.Parameters, i.DataSource = grid, "small", 100, 1000, 10, 5000, hostile
	r, err := record.Create(record.OS(), dir, i, []byte("name: x\n"), []byte("name: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	journal, err := record.OpenJournal(record.OS(), r.Path(record.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	for step := int64(10); step <= steps; step += 10 {
		value := record.Float(loss + 1/float64(step))
		err = errors.Join(err, journal.Append(record.Metric{Step: step, Tokens: step * 10, Loss: value, ValLoss: &value, ValBitsPerByte: &value, TokensPerSecond: 100}))
	}
	if err := errors.Join(err, journal.Close()); err != nil {
		t.Fatal(err)
	}
	return r
}

func pretrained(id string, seed int64, decay string) record.Info {
	return record.Info{ID: id, Name: "small", Kind: "pretrain", Seed: seed, Axes: []record.Axis{{Name: "budget.tpp", Value: "20"}, {Name: "optimizer.weight_decay", Value: decay}}}
}

// scene is a grid of four base models, of which one is done, one runs, one has failed and one was stopped, and two fine-tunings.
func scene(t *testing.T) (root string, lock *record.Lock) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "runs")
	done := write(t, root, "g", pretrained("aaaa", 1, "0"), 100, 2)
	running := write(t, root, "g", pretrained("bbbb", 2, "0"), 50, 2)
	failed := write(t, root, "g", pretrained("cccc", 1, "10"), 30, 3)
	write(t, root, "g", pretrained("dddd", 2, "3"), 20, 4)
	write(t, root, "g", record.Info{ID: "eeee", Name: "tune", Kind: "finetune", Task: "judge", Parents: []string{"aaaa"}, Seed: 1}, 10, 1)
	write(t, root, "g", record.Info{ID: "ffff", Name: "tune", Kind: "finetune", Task: "judge", Seed: 1}, 10, 1)
	write(t, root, "other", record.Info{ID: "4567", Name: "x", Kind: "pretrain", Seed: 7, Axes: []record.Axis{{Name: hostile, Value: "1"}}}, 10, 1)
	write(t, root, "other", record.Info{ID: "0123", Name: "x", Kind: "pretrain", Seed: 7, Commit: hostile, Axes: []record.Axis{{Name: hostile, Value: hostile}}}, 10, 1)
	lock, err := record.Acquire(running.Dir)
	if err != nil {
		t.Fatal(err)
	}
	log := strings.Repeat("an old line\n", 5000) + "\x1b[31mstep 50\x1b[0m " + hostile + "\nlast words\n"
	err = errors.Join(done.Finish(), failed.MarkFailed(record.NonFinite, "the loss is NaN "+hostile), os.MkdirAll(running.Path("logs"), 0o755),
		os.WriteFile(running.Path("logs", "worker.log"), []byte(log), 0o644),
		os.MkdirAll(done.Path("eval", "judge-1"), 0o755), record.Mark(record.OS(), done.Path("eval", "judge-1"), "judge-1", record.OK, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Release() })
	return root, lock
}

func handler(t *testing.T, root string) http.Handler {
	t.Helper()
	h, err := Handler(root, "")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://x/", nil)
	r.URL.Path, r.Host = path, host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages_ShowTheState(t *testing.T) {
	root, _ := scene(t)
	h := handler(t, root)
	for path, wants := range map[string][]string{
		"/": {`href="/grid/g"`, `href="/grid/other"`, "<b>1</b> running", "<b>1</b> done", "<b>3</b> stopped", "<b>1</b> failed", "2.2k of 6k tokens of 6 runs"},
		"/grid/g": {
			`<caption>pretrain</caption>`, `<caption>finetune: judge</caption>`, "seed 1", "seed 2",
			`<th scope="row">weight_decay 0</th><td><a class="cell done" href="/run/aaaa"><b>2.0100</b> done</a></td><td><a class="cell running" href="/run/bbbb"><b>2.0200</b> running 50 %</a></td>`,
			`<th scope="row">weight_decay 3</th><td></td><td><a class="cell stopped" href="/run/dddd"><b>4.0500</b> stopped 20 %</a></td>`,
			`<th scope="row">never pretrained</th>`, `src="/grid/g/loss-vs-decay.svg?`, `src="/grid/g/training-curves.svg?`, "100 tokens/s, 5s left",
		},
		"/run/bbbb":                     {"50 of 100", "running", "last words", "step 50 &lt;script&gt;", `src="/run/bbbb/training-curves.svg?`, `href="/grid/g"`},
		"/run/cccc":                     {"exit code 76: the loss is NaN &lt;script&gt;", "failed"},
		"/run/aaaa":                     {"judge-1 done"},
		"/run/eeee":                     {">weight_decay<", `src="/run/eeee/training-curves.svg?`, "fine-tuned on judge"},
		"/run/bbbb/training-curves.svg": {"<svg", "</svg>"},
		"/run/ffff/training-curves.svg": {"<svg", "</svg>"},
		"/grid/g/loss-vs-decay.svg":     {"<svg", "</svg>"},
		"/page.css":                     {".running"}, "/live.js": {"fetch("},
	} {
		w := ask(h, "GET", "localhost:8080", path)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		for _, want := range wants {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s lacks %q:\n%s", path, want, w.Body)
			}
		}
	}
	page := ask(h, "GET", "localhost", "/grid/g").Body.String()
	if first, second := strings.Index(page, "weight_decay 3<"), strings.Index(page, "weight_decay 10<"); first < 0 || second < first {
		t.Errorf("rows are not in the order of their numbers: %d, %d", first, second)
	}
	if strings.Count(ask(h, "GET", "localhost", "/run/bbbb").Body.String(), "an old line") > logLines {
		t.Error("the whole log is shown")
	}
}

// What others wrote into records and logs stays text, and no page asks for anything from elsewhere.
func TestPages_AreInertAndSelfContained(t *testing.T) {
	root, _ := scene(t)
	h := handler(t, root)
	elsewhere := regexp.MustCompile(`(?i)<[a-z][^<>]*(?:src|href|srcset|action|content)\s*=\s*["']?(?:[a-z]+:)?//|url\(|@import|fetch\(["']`)
	for _, path := range []string{"/", "/grid/g", "/grid/other", "/run/0123", "/run/bbbb", "/run/cccc", "/page.css", "/live.js"} {
		w := ask(h, "GET", "127.0.0.1:8080", path)
		body := w.Body.String()
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img src=http") || strings.Contains(body, "\x1b") {
			t.Errorf("%s has foreign markup:\n%s", path, body)
		}
		if found := elsewhere.FindString(body); found != "" {
			t.Errorf("%s asks elsewhere: %s", path, found)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
			w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, w.Header())
		}
	}
}

func TestHandler_RefusesForeignHostsAndAllButReading(t *testing.T) {
	root, _ := scene(t)
	h, err := Handler(root, "lab.example")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8080": 200, "LOCALHOST:1": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "10.1.2.3": 200, "lab.example:8080": 200,
		"evil.example": 421, "evil.example:8080": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "": 421, "lab.example.evil": 421,
	} {
		if w := ask(h, "GET", host, "/"); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		if w := ask(h, method, "localhost", "/run/aaaa"); w.Code != 405 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	for _, path := range []string{
		"/run/../aaaa", "/run/..%2f..", "/grid/..", "/run/" + strings.Repeat("a", 5000), "/grid/g/no.svg", "/grid/g/loss-vs-decay", "/run/nope",
		"/etc/passwd", "/run/aaaa/run.json", "/grid/nope/loss-vs-decay.svg", "/run/aaaa/loss-vs-decay.svg", "/run/\x00",
	} {
		if w := ask(h, "GET", "localhost", path); w.Code != 404 && w.Code != 307 && w.Code != 301 {
			t.Errorf("%.60q: %d", path, w.Code)
		}
	}
	if _, err := Handler(filepath.Join(root, "nope"), ""); record.CodeOf(err) != record.Usage {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// listing is every path below dir with its size and time.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			fmt.Fprintln(&out, path, info.Size(), info.ModTime(), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Many readers at once, while runs go on and vanish: nothing is written, and changes appear.
func TestPages_FollowTheFoldersAndWriteNothing(t *testing.T) {
	root, lock := scene(t)
	h := handler(t, root)
	before := listing(t, root)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, path := range []string{"/", "/grid/g", "/run/bbbb", "/run/cccc", "/grid/g/training-curves.svg"} {
				if w := ask(h, "GET", "localhost", path); w.Code != 200 {
					t.Errorf("%s: %d", path, w.Code)
				}
			}
		})
	}
	wg.Wait()
	if after := listing(t, root); after != before {
		t.Errorf("reading changed the folders from\n%s\nto\n%s", before, after)
	}
	if err := errors.Join(lock.Release(), os.RemoveAll(filepath.Join(root, "other"))); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		page := ask(h, "GET", "localhost", "/").Body.String()
		if !strings.Contains(page, "running") && !strings.Contains(page, "/grid/other") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page does not follow:\n%s", page)
		}
	}
}

func TestTable_NamesRowsByWhatDiffers(t *testing.T) {
	var s snapshot
	var records []plots.Record
	for _, value := range []string{"10", "9", "0.5", "none"} {
		i := pretrained("x"+value, 1, value)
		records = append(records, plots.Record{Info: i, State: record.StatePlanned})
	}
	g := gridRecords{"g", records}
	page := s.gridPage(g, (&drawer{kept: make(map[string]*album)}).grid(g))
	var labels []string
	for _, r := range page.Tables[0].Rows {
		labels = append(labels, r.Label)
	}
	if got, want := strings.Join(labels, "; "), "weight_decay 0.5; weight_decay 9; weight_decay 10; weight_decay none"; got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	if len(page.Figures) != 0 {
		t.Errorf("figures of nothing: %v", page.Figures)
	}
}

// A folder that is a grid itself has its own name, however it is written.
func TestHandler_GridAsRoot(t *testing.T) {
	root, _ := scene(t)
	t.Chdir(filepath.Join(root, "g"))
	for _, path := range []string{".", "../g", filepath.Join(root, "g")} {
		h := handler(t, path)
		if text := ask(h, "GET", "localhost", "/").Body.String(); !strings.Contains(text, `href="/grid/g"`) {
			t.Errorf("%s: the index has no link to the grid:\n%s", path, text)
		}
		if code := ask(h, "GET", "localhost", "/grid/g").Code; code != http.StatusOK {
			t.Errorf("%s: the grid answers with %d", path, code)
		}
	}
}

// Figures are drawn again when there is something new, and not more often than their cost allows.
func TestDrawer_KeepsWhatItDrew(t *testing.T) {
	root, _ := scene(t)
	records, _, err := plots.Read(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	d := &drawer{kept: make(map[string]*album)}
	first := d.grid(gridRecords{"g", records})
	if len(first.figures) == 0 || len(first.pictures) != len(first.figures) {
		t.Fatalf("%d figures, %d pictures", len(first.figures), len(first.pictures))
	}
	if d.grid(gridRecords{"g", records}) != first {
		t.Error("drawn again though nothing is new")
	}
	fewer := gridRecords{"g", records[1:]}
	first.due = time.Now().Add(time.Hour)
	if d.grid(fewer) != first {
		t.Error("drawn again too soon")
	}
	first.due = time.Now()
	if second := d.grid(fewer); second == first || second.of == first.of {
		t.Error("not drawn again though it was time")
	}
}

// A page shows another picture when an evaluation or an analysis has new numbers, too.
func TestFingerprint_OfAllThatIsDrawn(t *testing.T) {
	base := plots.Record{Info: pretrained("a", 1, "0"), State: record.StateDone}
	evaluated, scored, ranked, again := base, base, base, base
	evaluated.Evaluations = []plots.Evaluation{{Folder: "judge", Scores: map[string]float64{"greedy": 0.5}}}
	scored.Evaluations = []plots.Evaluation{{Folder: "judge", Scores: map[string]float64{"greedy": 0.6}}}
	ranked.Ranks = &plots.Ranks{Last: plots.RankPoint{Layers: []plots.LayerRank{{Layer: 0, Mean: [2]float64{3, 4}}}}}
	again.Ranks = &plots.Ranks{Last: plots.RankPoint{Layers: []plots.LayerRank{{Layer: 0, Mean: [2]float64{3, 5}}}}}
	probed, gapped := base, base
	probed.Probes = []plots.Probes{{Layers: []plots.LayerProbe{{Accuracy: 0.7}}}}
	gapped.Gap = &plots.Gap{Comparisons: []plots.GapComparison{{Seen: 2, Unseen: 3}}}
	noisy, forgot := base, base
	noisy.Noise = &plots.Noise{Rises: []float64{0.1}}
	forgot.Forgetting = &plots.Forgetting{}
	seen := map[string]bool{}
	for _, r := range []plots.Record{base, evaluated, scored, ranked, again, probed, gapped, noisy, forgot} {
		seen[fingerprint([]plots.Record{r})] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d different pictures of 9", len(seen))
	}
	same := probed
	same.Probes = slices.Clone(probed.Probes) // read again
	if fingerprint([]plots.Record{probed}) != fingerprint([]plots.Record{same}) {
		t.Error("another picture of the same")
	}
}
