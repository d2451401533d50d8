package window

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/data"
	"plasticity/record"
)

const width = 16 // tokens of a window

// prepared makes a split of documents of very different lengths.
func prepared(t *testing.T) *Text {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "prepared")
	for i := range 10 {
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(strings.Repeat("the state is strong. ", 2+10*i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{in}, Tokenizer: "bpe:260", Out: out, ValFraction: 0.2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	set, err := data.Open(filepath.Join(out, "train"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewText(set, 1<<20); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), set.Dir()) {
		t.Errorf("a context longer than the text: %v", err)
	}
	text, err := NewText(set, width)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A seed draws the same windows each time, none twice, from all over the text, and knows their documents.
func TestDraw(t *testing.T) {
	text := prepared(t)
	few, all := text.Draw(20, 7), text.Draw(1<<40, 7)
	if few.Len() != 20 || few.Tokens() != 20*width || int64(all.Len()) != text.Windows || !slices.Equal(few.Windows, all.Windows[:20]) {
		t.Fatalf("%d and %d windows of %d", few.Len(), all.Len(), text.Windows)
	}
	if again, other := text.Draw(20, 7), text.Draw(20, 8); !slices.Equal(again.Windows, few.Windows) || slices.Equal(other.Windows, few.Windows) {
		t.Error("the draw is not made of the seed")
	}
	sorted := slices.Sorted(slices.Values(all.Windows))
	if len(slices.Compact(sorted)) != all.Len() || sorted[0] != 0 {
		t.Errorf("windows %v", sorted)
	}
	for i, w := range few.Windows {
		if few.Documents[i] != text.Documents.Of(w*width) {
			t.Errorf("window %d: document %d", w, few.Documents[i])
		}
	}
	if n := all.DocumentCount(); n < 4 || n > 8 {
		t.Errorf("%d documents", n)
	}
}

// counting is a model whose loss of a batch is that of the first token, for each token.
type counting struct{ bad bool }

func (m counting) SummedLoss(b data.Batch) (float64, error) {
	if m.bad {
		return math.NaN(), nil
	}
	return float64(b.Inputs[0]) * float64(b.Time), nil
}

func TestLosses_AreThoseOfTheWindows(t *testing.T) {
	text := prepared(t)
	s, told := text.Draw(12, 1), 0
	got, err := s.Losses(context.Background(), counting{}, func() { told++ })
	if err != nil || len(got) != 12 || told != 12 {
		t.Fatal(got, told, err)
	}
	i := 0
	for b, err := range text.Set.Pick(width, s.Windows) {
		if err != nil || got[i] != float64(b.Inputs[0]) {
			t.Errorf("window %d: loss %v, want %d (%v)", i, got[i], b.Inputs[0], err)
		}
		i++
	}
	if _, err := s.Losses(context.Background(), counting{bad: true}, nil); record.CodeOf(err) != record.NonFinite {
		t.Error(err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Losses(stopped, counting{}, nil); record.CodeOf(err) != record.Stopped {
		t.Error(err)
	}
}

func TestDifferences_AreOfTheSecond(t *testing.T) {
	if got := Differences([]float64{1, 2}, []float64{4, 1}); !slices.Equal(got, []float64{3, -1}) || Mean(got) != 1 {
		t.Error(got)
	}
}

// The bootstrap's interval has the half-width that the normal distribution gives: 1.96 standard errors.
func TestInterval_IsThatOfAMean(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	samples := [][]float64{make([]float64, 400), make([]float64, 400)}
	for k, s := range samples {
		for i := range s {
			s[i] = float64(k) + random.NormFloat64()
		}
	}
	got := Interval(1, samples, nil)
	want := 1.96 * math.Sqrt(2.0/400)
	if half := float64(got[1]-got[0]) / 2; math.Abs(half/want-1) > 0.12 {
		t.Errorf("half-width %v, want about %v", half, want)
	}
	if center := Mean(samples[0]) - Mean(samples[1]); math.Abs(float64(got[0]+got[1])/2-center) > 0.02 {
		t.Errorf("interval %v around %v", got, center)
	}
	// Copies of a value within a document are no new evidence.
	copies, documents := make([]float64, 400), make([]int, 400)
	for i := range copies {
		copies[i], documents[i] = samples[0][i/20], i/20
	}
	over := Interval(1, [][]float64{copies}, [][]int{documents})
	within := Interval(1, [][]float64{copies}, nil)
	if ratio := float64((over[1] - over[0]) / (within[1] - within[0])); ratio < 3.5 || ratio > 5.5 { // √20
		t.Errorf("over documents %v, over windows %v: ratio %v", over, within, ratio)
	}
}

// One document, on either side, or one window has no interval: it would be without width.
func TestInterval_OfOneIsNone(t *testing.T) {
	two, same := []float64{1, 2}, []int{5, 5}
	for name, got := range map[string][2]record.Float{
		"one document":          Interval(1, [][]float64{two}, [][]int{same}),
		"one of the other side": Interval(1, [][]float64{two, two}, [][]int{{1, 2}, same}),
		"one window":            Interval(1, [][]float64{{1}}, nil),
	} {
		if !math.IsNaN(float64(got[0])) || !math.IsNaN(float64(got[1])) || Describe(got) != "none" {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := Interval(1, [][]float64{two}, [][]int{{5, 6}}); got != [2]record.Float{1, 2} || Describe(got) != "[+1.00000, +2.00000]" {
		t.Errorf("two documents: %v", got)
	}
}
