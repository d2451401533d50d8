package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// small is a model with weights that say something, and prepared text with its tokenizer.
func small(t *testing.T, family string) (*model.Transformer, *data.Set, *data.Tokenizer) {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "prepared")
	for i := range 4 {
		text := strings.Repeat(fmt.Sprintf("Zwölf Boxkämpfer jagen Viktor %d mal über den großen Sylter Deich 🥊. ", i), 20)
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{in}, Tokenizer: "bpe:270", Out: out, ValFraction: 0.5, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	set, err := data.Open(filepath.Join(out, "val"))
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := set.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(config.Model{
		Family: family, Layers: 2, Width: 16, Heads: 4, KVHeads: 2, FFN: 24, Vocab: tokenizer.Vocab() + 6, Context: 32, RopeTheta: 10000, NormEps: 1e-5,
	}, torch.Float32, nn.Training)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.Initialize(3); err != nil {
		t.Fatal(err)
	}
	sharpen(t, m)
	return m, set, tokenizer
}

// sharpen makes the scores of fresh weights differ.
func sharpen(t *testing.T, m *model.Transformer) {
	t.Helper()
	values, err := m.Registry().Read(0, "lm_head.weight")
	if err != nil {
		t.Fatal(err)
	}
	for i := range values {
		values[i] *= 30
	}
	if err := m.Registry().Write(0, "lm_head.weight", values); err != nil {
		t.Fatal(err)
	}
}

// scores are the logits of every position, without a cache.
func scores(t *testing.T, m *model.Transformer, ids []int32) []float32 {
	t.Helper()
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	out := s.Float32s(m.Logits(s, s.FromInt32(ids, 1, len(ids))))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// The loss is the mean of −log softmax over the windows' targets, whatever the batch, the same every
// time.
func TestLoss_MatchesLogits(t *testing.T) {
	torchtest.NoLeaks(t)
	m, set, _ := small(t, "llama2")
	const windows = 7
	tokens := int64(windows * m.Config().Context)
	sum, n := 0.0, 0
	for b, err := range set.Windows(m.Config().Context, tokens) {
		if err != nil {
			t.Fatal(err)
		}
		logits, v := scores(t, m, b.Inputs), m.Config().Vocab
		for i, target := range b.Targets {
			row := logits[i*v : (i+1)*v]
			highest, total := float64(slices.Max(row)), 0.0
			for _, x := range row {
				total += math.Exp(float64(x) - highest)
			}
			sum += highest + math.Log(total) - float64(row[target])
			n++
		}
	}
	want := sum / float64(n)
	for _, sequences := range []int{1, 2, 7, 100} {
		for range 2 {
			got, err := Loss(context.Background(), m, set, tokens, sequences)
			if err != nil {
				t.Fatal(err)
			}
			if got.Tokens != int64(n) || math.Abs(got.NatsPerToken-want) > 1e-5 {
				t.Errorf("%d sequences at once: %v over %d tokens, want %v over %d", sequences, got.NatsPerToken, got.Tokens, want, n)
			}
			if bits := want / math.Ln2 / set.BytesPerToken(); math.Abs(got.BitsPerByte-bits) > 1e-5 {
				t.Errorf("%v bits per byte, want %v", got.BitsPerByte, bits)
			}
		}
	}
	if all, err := Loss(context.Background(), m, set, 0, 3); err != nil || all.Tokens != set.WindowCount(32)*32 {
		t.Errorf("all windows: %d tokens, error %v", all.Tokens, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Loss(ctx, m, set, 0, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Greedy generation with the cache makes the tokens that whole passes without it make.
func TestGenerate_GreedyMatchesWholePasses(t *testing.T) {
	torchtest.NoLeaks(t)
	for _, family := range []string{"llama2", "olmo2"} {
		m, _, tokenizer := small(t, family)
		ids := tokenizer.Encode("Zwölf")
		var want []int32
		for len(ids) <= m.Config().Context {
			logits, v := scores(t, m, ids), m.Config().Vocab
			next := argmax(logits[(len(ids)-1)*v : (len(ids)-1)*v+tokenizer.Vocab()])
			want, ids = append(want, next), append(ids, next)
		}
		var pieces []string
		got, err := Generate(context.Background(), m, tokenizer, "Zwölf", GenerateOptions{
			MaxTokens: 1000, Ends: []int32{-1}, OnText: func(s string) error { pieces = append(pieces, s); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Tokens); diff != "" {
			t.Errorf("%s (-whole passes +cache):\n%s", family, diff)
		}
		if got.Finish != FinishContext || strings.Join(pieces, "") != got.Text {
			t.Errorf("%s: finish %s, text %q, streamed %q", family, got.Finish, got.Text, pieces)
		}
		// One that stops earlier is the beginning of the same.
		short, err := Generate(context.Background(), m, tokenizer, "Zwölf", GenerateOptions{MaxTokens: 5, Ends: []int32{-1}})
		if err != nil || !slices.Equal(short.Tokens, want[:5]) || short.Finish != FinishLength {
			t.Errorf("%s: five tokens: %+v, error %v", family, short, err)
		}
		ended, err := Generate(context.Background(), m, tokenizer, "Zwölf", GenerateOptions{MaxTokens: 1000, Ends: []int32{want[3]}})
		first := slices.Index(want, want[3])
		if err != nil || !slices.Equal(ended.Tokens, want[:first]) || ended.Finish != FinishEnd {
			t.Errorf("%s: ended by %d: %+v, error %v", family, want[3], ended, err)
		}
	}
}

func TestGenerate_Seeds(t *testing.T) {
	m, _, tokenizer := small(t, "llama2")
	sample := func(seed int64, stream uint64) []int32 {
		g, err := Generate(context.Background(), m, tokenizer, "", GenerateOptions{MaxTokens: 20, Seed: seed, Stream: stream, Sampling: Sampling{Temperature: 1}, Ends: []int32{-1}})
		if err != nil {
			t.Fatal(err)
		}
		return g.Tokens
	}
	if !slices.Equal(sample(1, 0), sample(1, 0)) {
		t.Error("one seed makes two texts")
	}
	if slices.Equal(sample(1, 0), sample(2, 0)) || slices.Equal(sample(1, 0), sample(1, 1)) {
		t.Error("two seeds or streams make one text")
	}
}

func TestGenerate_Refuses(t *testing.T) {
	m, _, tokenizer := small(t, "llama2")
	long := strings.Repeat("Viktor Deich ", 40)
	_, err := Generate(context.Background(), m, tokenizer, long, GenerateOptions{MaxTokens: 1})
	n := len(tokenizer.Encode(long))
	if record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), fmt.Sprint(n)) || !strings.Contains(fmt.Sprint(err), "32") {
		t.Errorf("a prompt of %d tokens: %v, want 64 with both numbers", n, err)
	}
	values, err := m.Registry().Read(0, "model.norm.weight")
	if err != nil {
		t.Fatal(err)
	}
	values[0] = float32(math.NaN())
	if err := m.Registry().Write(0, "model.norm.weight", values); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(context.Background(), m, tokenizer, "a", GenerateOptions{MaxTokens: 1}); record.CodeOf(err) != record.NonFinite {
		t.Errorf("weights that are not numbers: %v, want 76", err)
	}
}

// Frequencies of many draws agree with the probabilities that temperature, top-k and top-p ask for.
func TestSampling_Frequencies(t *testing.T) {
	logits := []float32{1, 3, 2, 0.5, 2, -1}
	softmax := func(temperature float64, kept ...int) []float64 {
		p, sum := make([]float64, len(logits)), 0.0
		for _, i := range kept {
			p[i] = math.Exp(float64(logits[i]) / temperature)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	for _, c := range []struct {
		name string
		s    Sampling
		want []float64
	}{
		{"plain", Sampling{Temperature: 1}, softmax(1, 0, 1, 2, 3, 4, 5)},
		{"hot", Sampling{Temperature: 2}, softmax(2, 0, 1, 2, 3, 4, 5)},
		{"greedy", Sampling{}, softmax(1, 1)},
		{"top-k 1", Sampling{Temperature: 1, TopK: 1}, softmax(1, 1)},
		{"top-k 3", Sampling{Temperature: 1, TopK: 3}, softmax(1, 1, 2, 4)},
		{"top-k 2, ties to the lower id", Sampling{Temperature: 1, TopK: 2}, softmax(1, 1, 2)},
		{"top-p", Sampling{Temperature: 1, TopP: 0.6}, softmax(1, 1, 2)},
		{"top-p 1", Sampling{Temperature: 1, TopP: 1}, softmax(1, 0, 1, 2, 3, 4, 5)},
		{"both", Sampling{Temperature: 1, TopK: 4, TopP: 0.99}, softmax(1, 0, 1, 2, 4)},
	} {
		const draws = 40000
		counts := make([]float64, len(logits))
		for n := range uint64(draws) {
			counts[c.s.pick(logits, uniform(11, 5, n))]++
		}
		for i, want := range c.want {
			got, sigma := counts[i]/draws, math.Sqrt(want*(1-want)/draws)
			if math.Abs(got-want) > 5*sigma {
				t.Errorf("%s: token %d has frequency %.4f, want %.4f ± %.4f", c.name, i, got, want, sigma)
			}
		}
	}
}

func TestSampling_Check(t *testing.T) {
	for _, s := range []Sampling{{Temperature: -1}, {Temperature: math.NaN()}, {TopK: -1}, {TopP: 1.1}, {TopP: math.NaN()}} {
		if err := s.Check(); record.CodeOf(err) != record.Usage {
			t.Errorf("%+v: %v, want 64", s, err)
		}
	}
	if err := (Sampling{Temperature: 0.7, TopK: 5, TopP: 0.9}).Check(); err != nil {
		t.Error(err)
	}
}

// Text that comes in pieces is valid UTF-8 at any moment, and as a whole what it is in one piece.
func TestValidText_Pieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		for _, part := range rapid.SliceOf(rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 4), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }))).Draw(t, "parts") {
			text = append(text, part...)
		}
		whole, used := validText(text, true)
		if used != len(text) || !utf8.ValidString(whole) || (utf8.Valid(text) && whole != string(text)) {
			t.Fatalf("%q became %q", text, whole)
		}
		var pieces strings.Builder
		var pending []byte
		for len(text) > 0 {
			n := rapid.IntRange(1, len(text)).Draw(t, "n")
			pending, text = append(pending, text[:n]...), text[n:]
			piece, used := validText(pending, len(text) == 0)
			if !utf8.ValidString(piece) || len(pending)-used > 3 {
				t.Fatalf("piece %q, %d bytes held back", piece, len(pending)-used)
			}
			pieces.WriteString(piece)
			pending = pending[used:]
		}
		if pieces.String() != whole {
			t.Fatalf("in pieces %q, whole %q", pieces.String(), whole)
		}
	})
}

func TestValidText_Replaces(t *testing.T) {
	for in, want := range map[string]string{
		"a\xe2\x82":        "a\ufffd",                  // the beginning of a character at the end: one
		"\xe2\x82b":        "\ufffdb",                  // and before another one
		"\xff\xfe":         "\ufffd\ufffd",             // bytes that begin nothing: one each
		"\xf0\x9f\xa5\x8a": "🥊",                        //
		"\x80\xc3\xa4":     "\ufffdä",                  //
		"\xed\xa0\x80":     "\ufffd\ufffd\ufffd",       // half of a surrogate pair
		"\xf0\x9f\xf0\x9f": "\ufffd\ufffd",             // two beginnings
		"\xef\xbf\xbd ok":  "\ufffd ok",                // the real U+FFFD
		"\xc0\xaf":         "\ufffd\ufffd",             // overlong
		"\xf4\x90\x80\x80": "\ufffd\ufffd\ufffd\ufffd", // beyond Unicode
	} {
		if got, _ := validText([]byte(in), true); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestTimeGeneration(t *testing.T) {
	torchtest.NoLeaks(t)
	m, _, _ := small(t, config.Llama2)
	speed, err := TimeGeneration(context.Background(), m, 5, 9)
	if err != nil || speed.Prefill <= 0 || speed.Decode <= 0 {
		t.Errorf("%+v %v", speed, err)
	}
	for _, c := range []struct{ prompt, n int }{{0, 9}, {5, 1}, {30, 3}} {
		if _, err := TimeGeneration(context.Background(), m, c.prompt, c.n); record.CodeOf(err) != record.Usage {
			t.Errorf("%d and %d: %v", c.prompt, c.n, err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := TimeGeneration(ended, m, 5, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
