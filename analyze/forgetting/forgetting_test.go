package forgetting

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/analyze/window"
	"plasticity/data"
	"plasticity/record"
)

// sample is the windows of a few documents.
func sample(t *testing.T) *window.Sample {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "prepared")
	for i := range 12 {
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(strings.Repeat(fmt.Sprintf("the state of district %d is strong. ", i), 25)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{in}, Tokenizer: "bpe:260", Out: out, ValFraction: 0.2, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	set, err := data.Open(filepath.Join(out, "train"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := window.NewText(set, 8)
	if err != nil {
		t.Fatal(err)
	}
	s := text.Draw(1<<40, 1)
	return &s
}

// A loss that rose is forgetting; what makes windows hard for both models cancels; what differs by document widens the interval
// over documents.
func TestCompare_IsPaired(t *testing.T) {
	s, random := sample(t), rand.New(rand.NewPCG(1, 1))
	base, tuned, none := make([]float64, s.Len()), make([]float64, s.Len()), make([]float64, s.Len())
	for i := range base {
		base[i] = 3 + 2*random.NormFloat64()
		tuned[i] = base[i] + 0.2 + 0.05*random.NormFloat64() + 0.05*float64(s.Documents[i]%2)
		none[i] = base[i] + 0.05*random.NormFloat64()
	}
	r := Compare(Settings{Seed: 1, Context: 8}, s, base, tuned)
	if math.Abs(float64(r.Forgetting)-0.225) > 0.02 || math.Abs(float64(r.TunedLoss-r.BaseLoss-r.Forgetting)) > 1e-9 || r.Tokens != int64(8*s.Len()) {
		t.Errorf("%+v", r)
	}
	if i, d := r.Interval, r.DocumentInterval; i[0] < 0.19 || i[1] > 0.26 || d[1]-d[0] < 1.5*(i[1]-i[0]) || d[0] > r.Forgetting || r.Forgetting > d[1] {
		t.Errorf("intervals %v over %d windows, %v over %d documents", i, s.Len(), d, r.Documents)
	}
	if i := Compare(Settings{Seed: 1}, s, base, none).Interval; i[0] > 0 || i[1] < 0 || i[1]-i[0] > 0.05 {
		t.Errorf("nothing forgotten: %v", i)
	}
	if back := Compare(Settings{Seed: 1}, s, tuned, base); back.Interval[1] > -0.19 {
		t.Errorf("a loss that fell: %+v", back)
	}
}

func TestResult_IsKeptAndNotReplaced(t *testing.T) {
	s, dir := sample(t), t.TempDir()
	losses := make([]float64, s.Len())
	r := Compare(Settings{Base: "a@1", Model: "b@2", Seed: 1, Context: 8}, s, losses, losses)
	if err := r.Write(record.OS(), dir); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := Find(record.OS(), dir, r.Settings); !ok || err != nil || *got != *r {
		t.Error(got, ok, err)
	}
	if _, _, err := Find(record.OS(), dir, Settings{Base: "b@2", Model: "a@1", Seed: 1, Context: 8}); record.CodeOf(err) != record.Mismatch {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "forgetting.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll(); err != nil || len(rows) != 2 || rows[1][0] != "a@1" || rows[1][1] != "b@2" {
		t.Error(rows, err)
	}
}
