package gap

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plasticity/analyze/window"
	"plasticity/data"
	"plasticity/record"
)

const width = 16 // tokens of a window

// prepared makes text of documents of very different lengths, in which no window comes twice.
func prepared(t *testing.T) (train, val *data.Set) {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "prepared")
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 40 {
		var text strings.Builder
		for range 2 + i {
			fmt.Fprintf(&text, "in district %d of %d, the state is strong. ", random.IntN(1e6), random.IntN(1e6))
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{in}, Tokenizer: "bpe:270", Out: out, ValFraction: 0.2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name string
		set  **data.Set
	}{{"train", &train}, {"val", &val}} {
		if *s.set, err = data.Open(filepath.Join(out, s.name)); err != nil {
			t.Fatal(err)
		}
	}
	return train, val
}

func text(t *testing.T, set *data.Set) *window.Text {
	t.Helper()
	x, err := window.NewText(set, width)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// read is the set of windows that a history has as read.
func read(h data.History) map[int64]bool {
	all := make(map[int64]bool)
	for i := range h.Read() {
		all[h.Window(i)] = true
	}
	return all
}

func TestPaired_ReadAndUnreadOfOneDocument(t *testing.T) {
	train, _ := prepared(t)
	x := text(t, train)
	h := data.NewHistory(x.Windows, x.Windows/3, 9, data.Shuffled)
	seen, unseen := Paired(x, h, 60, 1)
	if seen.Len() != 60 || unseen.Len() != 60 {
		t.Fatalf("%d and %d windows, want 60", seen.Len(), unseen.Len())
	}
	was, used := read(h), make(map[int64]bool)
	for i := range seen.Windows {
		a, b := seen.Windows[i], unseen.Windows[i]
		if !was[a] || was[b] {
			t.Errorf("pair %d: window %d was read: %v, window %d: %v", i, a, was[a], b, was[b])
		}
		if seen.Documents[i] != unseen.Documents[i] {
			t.Errorf("pair %d: of documents %d and %d", i, seen.Documents[i], unseen.Documents[i])
		}
		if used[a] || used[b] {
			t.Errorf("pair %d has a window of an earlier one", i)
		}
		used[a], used[b] = true, true
	}
	if other, _ := Paired(x, h, 60, 2); fmt.Sprint(other.Windows) == fmt.Sprint(seen.Windows) {
		t.Error("another seed drew the same windows")
	}
	if whole, _ := Paired(x, data.NewHistory(x.Windows, x.Windows*2, 9, data.Shuffled), 60, 1); whole.Len() != 0 {
		t.Error("a run that has read everything has pairs")
	}
}

// A document that has more unread windows than read ones is not searched through for each of them: this would take minutes.
func TestPaired_OneLongDocument(t *testing.T) {
	train, _ := prepared(t)
	const windows, read = 400_000, 50 // nearly all of the last document
	x := &window.Text{Set: train, Documents: text(t, train).Documents, Context: 1, Windows: windows}
	began := time.Now()
	seen, unseen := Paired(x, data.NewHistory(windows, read, 9, data.Shuffled), 2*read, 1)
	if n := seen.Len(); n < read/2 || n > read || unseen.Len() != n {
		t.Errorf("%d and %d windows of %d that were read", n, unseen.Len(), read)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestUnpaired_EqualNumbers(t *testing.T) {
	train, val := prepared(t)
	x, y := text(t, train), text(t, val)
	h := data.NewHistory(x.Windows, x.Windows/3, 9, data.Shuffled)
	for _, n := range []int64{5, 1 << 40} {
		seen, unseen := Unpaired(x, h, y, n, 1)
		if want := int(min(n, h.Read(), y.Windows)); seen.Len() != want || unseen.Len() != want {
			t.Fatalf("%d and %d windows, want %d", seen.Len(), unseen.Len(), want)
		}
		was, used := read(h), make(map[int64]bool)
		for _, w := range seen.Windows {
			if !was[w] || used[w] {
				t.Errorf("window %d: read %v, drawn before %v", w, was[w], used[w])
			}
			used[w] = true
		}
	}
}

// planted is a model whose loss is noise, less a bonus for some windows.
type planted struct {
	random *rand.Rand
	bonus  map[string]float64
}

func key(b data.Batch) string { return fmt.Sprint(b.Inputs, b.Targets) }

func (p *planted) SummedLoss(b data.Batch) (float64, error) {
	return (5 + 0.2*p.random.NormFloat64() - p.bonus[key(b)]) * float64(b.Time), nil
}

func TestCompare_FindsAPlantedGapAndNoOther(t *testing.T) {
	train, _ := prepared(t)
	x := text(t, train)
	h := data.NewHistory(x.Windows, x.Windows/2, 9, data.Shuffled)
	for _, bonus := range []float64{0, 0.3} {
		m := &planted{random: rand.New(rand.NewPCG(1, 2)), bonus: map[string]float64{}}
		for i := range h.Read() {
			for b := range train.Pick(width, []int64{h.Window(i)}) {
				m.bonus[key(b)] = bonus
			}
		}
		seen, unseen := Paired(x, h, 100, 1)
		counted := 0
		c, err := Compare(context.Background(), m, Unread, true, seen, unseen, 1, func() { counted++ })
		if err != nil {
			t.Fatal(err)
		}
		if counted != 200 || c.Sequences != 100 || c.Tokens != 100*width || c.Pairing != "document" {
			t.Errorf("%d windows counted, %+v", counted, c)
		}
		if d := c.HeldOutLoss - c.SeenLoss - c.Gap; math.Abs(float64(d)) > 1e-12 {
			t.Errorf("the gap is not the difference: %+v", c)
		}
		for name, i := range map[string][2]record.Float{"windows": c.Interval, "documents": c.DocumentInterval} {
			if found := i[0] > 0; found != (bonus > 0) || i[1] < 0 || i[0] > c.Gap || c.Gap > i[1] {
				t.Errorf("bonus %v: gap %v in %v over %s", bonus, c.Gap, i, name)
			}
		}
	}
}

func TestResult_IsKeptAndNotReplaced(t *testing.T) {
	dir := t.TempDir()
	r := Result{Settings: Settings{Model: "a@1", Tokens: 3}, Comparisons: []Comparison{{HeldOut: Validation, Gap: 0.5}}}
	if _, ok, err := Find(record.OS(), dir, r.Settings); ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := r.Write(record.OS(), dir); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := Find(record.OS(), dir, r.Settings); !ok || err != nil || got.Comparisons[0] != r.Comparisons[0] {
		t.Error(got, ok, err)
	}
	if _, _, err := Find(record.OS(), dir, Settings{Model: "b@1", Tokens: 3}); record.CodeOf(err) != record.Mismatch {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, File), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Find(record.OS(), dir, r.Settings); record.CodeOf(err) != record.BadData {
		t.Error(err)
	}
}
