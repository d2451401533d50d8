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
	for i, sequences := range []int{1, 2, 7, 100} {
		scorer, err := NewScorer(m, sequences, Compute{Step: []string{config.StepEngine, config.StepReference}[i%2], Precision: torch.Float32, Threads: 1 + i/2})
		if err != nil {
			t.Fatal(err)
		}
		defer scorer.Close()
		for range 2 {
			got, err := Loss(context.Background(), scorer, set, tokens, sequences)
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

// generators are the engine in float32, with one thread and with two, and the reference.
func generators(t *testing.T, m *model.Transformer, tokenizer *data.Tokenizer, ends ...int32) map[string]*Generator {
	t.Helper()
	out := map[string]*Generator{}
	for name, o := range map[string]GeneratorOptions{
		"engine":           {Compute: Compute{Step: config.StepEngine, Threads: 1}},
		"engine 2 threads": {Compute: Compute{Step: config.StepEngine, Threads: 2}, Batch: 5},
		"reference":        {Compute: Compute{Step: config.StepReference, Threads: 1}, Batch: 4},
	} {
		o.Precision, o.Ends = torch.Float32, ends
		g, err := NewGenerator(m, tokenizer, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		out[name] = g
	}
	return out
}

// wholePasses continues ids greedily without any cache, until the context is full.
func wholePasses(t *testing.T, m *model.Transformer, tokenizer *data.Tokenizer, ids []int32, penalty float64) []int32 {
	t.Helper()
	var out []int32
	for len(ids) <= m.Config().Context {
		all, v := scores(t, m, ids), m.Config().Vocab
		row := all[(len(ids)-1)*v : (len(ids)-1)*v+tokenizer.Vocab()]
		Sampling{RepetitionPenalty: penalty}.penalise(row, unique(ids))
		next := argmax(row)
		out, ids = append(out, next), append(ids, next)
	}
	return out
}

func unique(ids []int32) []int32 {
	out := slices.Clone(ids)
	slices.Sort(out)
	return slices.Compact(out)
}

// Greedy generation with the cache makes the tokens that whole passes without it make.
func TestGenerator_GreedyMatchesWholePasses(t *testing.T) {
	torchtest.NoLeaks(t)
	for _, family := range []string{"llama2", "olmo2"} {
		m, _, tokenizer := small(t, family)
		want := wholePasses(t, m, tokenizer, tokenizer.Encode("Zwölf"), 1)
		for name, g := range generators(t, m, tokenizer, -1) {
			var pieces []string
			got, err := g.One(context.Background(), Prompt{Text: "Zwölf"}, GenerateOptions{
				MaxTokens: 1000, OnText: func(_, _ int, s string) error { pieces = append(pieces, s); return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Tokens); diff != "" {
				t.Errorf("%s, %s (-whole passes +cache):\n%s", family, name, diff)
			}
			if got.Finish != FinishContext || strings.Join(pieces, "") != got.Text {
				t.Errorf("%s, %s: finish %s, text %q, streamed %q", family, name, got.Finish, got.Text, pieces)
			}
			// One that stops earlier is the beginning of the same.
			short, err := g.One(context.Background(), Prompt{Text: "Zwölf"}, GenerateOptions{MaxTokens: 5})
			if err != nil || !slices.Equal(short.Tokens, want[:5]) || short.Finish != FinishLength {
				t.Errorf("%s, %s: five tokens: %+v, error %v", family, name, short, err)
			}
		}
		for name, g := range generators(t, m, tokenizer, want[3]) {
			ended, err := g.One(context.Background(), Prompt{Text: "Zwölf"}, GenerateOptions{MaxTokens: 1000})
			first := slices.Index(want, want[3])
			if err != nil || !slices.Equal(ended.Tokens, want[:first]) || ended.Finish != FinishEnd {
				t.Errorf("%s, %s: ended by %d: %+v, error %v", family, name, want[3], ended, err)
			}
		}
	}
}

// Prompts of different lengths that are continued together become what each becomes alone, greedily with a repetition
// penalty as in whole passes, and sampled; whatever the batch, the threads and the order.
func TestGenerator_TogetherAsAlone(t *testing.T) {
	torchtest.NoLeaks(t)
	texts := []string{"Zwölf", "", "Viktor jagt den großen Deich", "a", "Sylter Deich über Boxkämpfer", "🥊 Zwölf mal", "Deich"}
	for _, family := range []string{"llama2", "olmo2"} {
		m, _, tokenizer := small(t, family)
		var prompts, backwards []Prompt
		for i, text := range texts {
			prompts = append(prompts, Prompt{Text: text, Stream: uint64(100 * i)})
		}
		backwards = slices.Clone(prompts)
		slices.Reverse(backwards)
		for _, o := range []GenerateOptions{
			{MaxTokens: 100, Sampling: Sampling{RepetitionPenalty: 1.1}},
			{MaxTokens: 9, Samples: 4, Seed: 7, Sampling: Sampling{Temperature: 1, RepetitionPenalty: 1.1}},
			{MaxTokens: 12, Samples: 3, Seed: 7, Sampling: Sampling{Temperature: 0.8, TopK: 20, TopP: 0.9}, Stops: []string{"a", "Deich"}},
		} {
			var want [][]Generation
			for name, g := range generators(t, m, tokenizer) {
				got, err := g.Generate(context.Background(), prompts, o)
				if err != nil {
					t.Fatal(err)
				}
				reversed, err := g.Generate(context.Background(), backwards, o)
				if err != nil {
					t.Fatal(err)
				}
				slices.Reverse(reversed)
				if diff := cmp.Diff(got, reversed); diff != "" {
					t.Errorf("%s, %s: another order of prompts changes what they become:\n%s", family, name, diff)
				}
				if want == nil {
					want = got
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, %s against another generator:\n%s", family, name, diff)
				}
				for i, p := range prompts {
					alone, err := g.Generate(context.Background(), []Prompt{p}, o)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(got[i], alone[0]); diff != "" {
						t.Errorf("%s, %s: prompt %d alone becomes something else:\n%s", family, name, i, diff)
					}
				}
			}
			if o.Sampling.Temperature == 0 {
				for i, text := range texts {
					ids := tokenizer.Encode(text)
					if len(ids) == 0 {
						end, _ := tokenizer.EOS()
						ids = []int32{end}
					}
					tokens := wholePasses(t, m, tokenizer, ids, 1.1)
					end, _ := tokenizer.EOS()
					if at := slices.Index(tokens, end); at >= 0 {
						tokens = tokens[:at]
					}
					if !slices.Equal(tokens, want[i][0].Tokens) {
						t.Errorf("%s: prompt %d with a repetition penalty becomes %v, in whole passes %v", family, i, want[i][0].Tokens, tokens)
					}
				}
			}
		}
	}
}

// A stop ends a text and is no part of it, wherever its tokens' borders are; what only begins like one comes through.
func TestStreamer_Stops(t *testing.T) {
	_, _, tokenizer := small(t, "llama2")
	for _, c := range []struct{ text, want string }{
		{"Zwölf Human: ja", "Zwölf "},
		{"Zwölf Hum", "Zwölf Hum"},
		{"Hum Humbug Viktor", "Hum Humbug Viktor"},
		{"Human:", ""},
		{"mal HuHuman:", "mal Hu"},
	} {
		var sent strings.Builder
		s := &streamer{tokenizer: tokenizer, stops: []string{"Human:", "Assistant:"}, emit: func(text string) error { sent.WriteString(text); return nil }}
		stopped := false
		for _, id := range tokenizer.Encode(c.text) {
			var err error
			if stopped, err = s.add(id); err != nil {
				t.Fatal(err)
			}
			if stopped {
				break
			}
		}
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		if s.all.String() != c.want || sent.String() != c.want || stopped != strings.Contains(c.text, "Human:") {
			t.Errorf("%q became %q, sent %q, stopped %v; want %q", c.text, s.all.String(), sent.String(), stopped, c.want)
		}
	}
}

func TestGenerator_Seeds(t *testing.T) {
	m, _, tokenizer := small(t, "llama2")
	g := generators(t, m, tokenizer, -1)["engine"]
	sample := func(seed int64, stream uint64) []int32 {
		out, err := g.One(context.Background(), Prompt{Stream: stream}, GenerateOptions{MaxTokens: 20, Seed: seed, Sampling: Sampling{Temperature: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Tokens
	}
	if !slices.Equal(sample(1, 0), sample(1, 0)) {
		t.Error("one seed makes two texts")
	}
	if slices.Equal(sample(1, 0), sample(2, 0)) || slices.Equal(sample(1, 0), sample(1, 1)) {
		t.Error("two seeds or streams make one text")
	}
	// The samples of a prompt have the streams that follow each other.
	out, err := g.Generate(context.Background(), []Prompt{{Stream: 5}}, GenerateOptions{MaxTokens: 20, Samples: 3, Seed: 1, Sampling: Sampling{Temperature: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range out[0] {
		if !slices.Equal(s.Tokens, sample(1, uint64(5+i))) {
			t.Errorf("sample %d is not that of stream %d", i, 5+i)
		}
	}
}

func TestGenerator_Refuses(t *testing.T) {
	m, _, tokenizer := small(t, "llama2")
	long := strings.Repeat("Viktor Deich ", 40)
	n := len(tokenizer.Encode(long))
	for name, g := range generators(t, m, tokenizer) {
		_, err := g.Generate(context.Background(), []Prompt{{Text: "a"}, {Text: long}}, GenerateOptions{MaxTokens: 1})
		for _, words := range []string{fmt.Sprint(n), "32", "prompt 2 of 2"} {
			if record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), words) {
				t.Errorf("%s: a prompt of %d tokens: %v, want 64 with %q", name, n, err, words)
			}
		}
		if _, err := g.One(context.Background(), Prompt{Text: "a"}, GenerateOptions{MaxTokens: 1, Stops: []string{""}}); record.CodeOf(err) != record.Usage {
			t.Errorf("%s: an empty stop: %v, want 64", name, err)
		}
	}
	values, err := m.Registry().Read(0, "model.norm.weight")
	if err != nil {
		t.Fatal(err)
	}
	values[0] = float32(math.NaN())
	if err := m.Registry().Write(0, "model.norm.weight", values); err != nil {
		t.Fatal(err)
	}
	for name, g := range generators(t, m, tokenizer) {
		if _, err := g.One(context.Background(), Prompt{Text: "a"}, GenerateOptions{MaxTokens: 1}); record.CodeOf(err) != record.NonFinite {
			t.Errorf("%s: weights that are not numbers: %v, want 76", name, err)
		}
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
		var p picker
		for n := range uint64(draws) {
			id, err := p.pick(c.s, logits, uniform(11, 5, n))
			if err != nil {
				t.Fatal(err)
			}
			counts[id]++
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
	for _, s := range []Sampling{{Temperature: -1}, {Temperature: math.NaN()}, {TopK: -1}, {TopP: 1.1}, {TopP: math.NaN()}, {RepetitionPenalty: -1}, {RepetitionPenalty: math.NaN()}} {
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

func TestGenerator_Time(t *testing.T) {
	torchtest.NoLeaks(t)
	m, _, tokenizer := small(t, config.Llama2)
	for name, g := range generators(t, m, tokenizer) {
		speed, err := g.Time(context.Background(), 5, 9)
		if err != nil || speed.Prefill <= 0 || speed.Decode <= 0 {
			t.Errorf("%s: %+v %v", name, speed, err)
		}
		for _, c := range []struct{ prompt, n int }{{0, 9}, {5, 1}, {30, 3}} {
			if _, err := g.Time(context.Background(), c.prompt, c.n); record.CodeOf(err) != record.Usage {
				t.Errorf("%s: %d and %d: %v", name, c.prompt, c.n, err)
			}
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := g.Time(ended, 5, 9); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", name, err)
		}
	}
}
