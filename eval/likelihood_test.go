package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/torchtest"
)

// likelihoods ranks groups and returns them in the order they were handed over.
func likelihoods(t *testing.T, g *Generator, groups [][]task.Pair) [][]Likelihood {
	t.Helper()
	var out [][]Likelihood
	err := g.LogLikelihoods(context.Background(), groups, func(i int, l []Likelihood) error {
		if i != len(out) {
			t.Errorf("group %d comes as the %dth", i, len(out))
		}
		out = append(out, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// groupsOf are problems whose choices share a context, or have one each; some do not fit a context of 32 tokens.
func groupsOf(n int) [][]task.Pair {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich 🥊. Fix x")
	some := func(most int) string {
		var s []string
		for range 1 + r.IntN(most) {
			s = append(s, words[r.IntN(len(words))])
		}
		return strings.Join(s, " ")
	}
	groups := make([][]task.Pair, n)
	for i := range groups {
		context := some(8) + []string{"", " ", "\n"}[i%3]
		for range 1 + i%5 {
			if i%4 == 3 {
				context = some(8)
			}
			groups[i] = append(groups[i], task.Pair{Context: context, Continuation: " " + some(3)})
		}
	}
	return append(groups, []task.Pair{{Continuation: "Zwölf"}, {Continuation: data.EndOfText + " Fix"}})
}

// likeliest is a pair whose continuation is what the model finds likeliest.
func likeliest(t *testing.T, m *model.Transformer, tokenizer *data.Tokenizer) task.Pair {
	t.Helper()
	text := []rune("Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. ")
	for n := 1; n < len(text); n++ {
		context := strings.TrimSpace(string(text[n/20*10 : n]))
		ids := tokenizer.Encode(context)
		if len(ids) == 0 || len(ids) > m.Config().Context {
			continue
		}
		all, v := scores(t, m, ids), m.Config().Vocab
		next := argmax(all[(len(ids)-1)*v:])
		if int(next) >= tokenizer.Vocab() || tokenizer.IsSpecial(next) {
			continue
		}
		p := task.Pair{Context: context, Continuation: tokenizer.Decode([]int32{next})}
		if slices.Equal(tokenizer.Encode(context+p.Continuation), append(ids, next)) {
			return p
		}
	}
	t.Fatal("no context whose likeliest token is a text of its own")
	return task.Pair{}
}

// wholePass computes a likelihood from the logits of a whole pass and the rules as they are written.
func wholePass(t *testing.T, m *model.Transformer, tokenizer *data.Tokenizer, p task.Pair) Likelihood {
	t.Helper()
	context, continuation := strings.TrimRight(p.Context, " \n"), p.Continuation
	continuation = p.Context[len(context):] + continuation
	head := tokenizer.EncodeSpecial(context)
	target := tokenizer.EncodeSpecial(context + continuation)[len(head):]
	if end, _ := tokenizer.EOS(); p.Context == "" {
		head = []int32{end}
		if target[0] == end {
			target = target[1:]
		}
	}
	all := slices.Concat(head, target)
	limit := m.Config().Context
	cut := max(0, len(all)-limit-1)
	all = all[cut:]
	logits, v := scores(t, m, all[:len(all)-1]), m.Config().Vocab
	out := Likelihood{Greedy: true, Cut: cut}
	for i := len(all) - len(target); i < len(all); i++ {
		row := logits[(i-1)*v : i*v]
		total := 0.0
		for _, x := range row {
			total += math.Exp(float64(x))
		}
		out.LogProb += float64(row[all[i]]) - math.Log(total)
		out.Greedy = out.Greedy && argmax(row) == all[i]
	}
	return out
}

// Likelihoods are those of whole passes, and to the last bit independent of batch, threads, and the order and number of problems.
func TestLogLikelihoods_MatchWholePasses(t *testing.T) {
	torchtest.NoLeaks(t)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		m, _, tokenizer := small(t, family)
		groups := append(groupsOf(30), []task.Pair{likeliest(t, m, tokenizer)})
		cut, greedy := 0, 0
		want := make([][]Likelihood, len(groups))
		for i, group := range groups {
			for _, p := range group {
				l := wholePass(t, m, tokenizer, p)
				if l.Cut > 0 {
					cut++
				}
				if l.Greedy {
					greedy++
				}
				want[i] = append(want[i], l)
			}
		}
		var engine [][]Likelihood
		for name, g := range generators(t, m, tokenizer) {
			got := likelihoods(t, g, groups)
			for i, group := range groups {
				for k, p := range group {
					want, got := want[i][k], got[i][k]
					if math.Abs(got.LogProb-want.LogProb) > 1e-4 || got.Greedy != want.Greedy || got.Cut != want.Cut {
						t.Errorf("%s, %s: %+v of %q, want %+v", family, name, got, p, want)
					}
				}
			}
			if name == "reference" {
				continue
			}
			if engine == nil {
				engine = got
			}
			if diff := cmp.Diff(engine, got); diff != "" {
				t.Errorf("%s: other threads or batches change likelihoods:\n%s", family, diff)
			}
			turned := slices.Clone(groups)
			slices.Reverse(turned)
			again := likelihoods(t, g, turned)
			slices.Reverse(again)
			if diff := cmp.Diff(engine, again); diff != "" {
				t.Errorf("%s, %s: another order changes likelihoods:\n%s", family, name, diff)
			}
			if alone := likelihoods(t, g, groups[17:18]); !slices.Equal(alone[0], engine[17]) {
				t.Errorf("%s, %s: a problem alone has %v, among others %v", family, name, alone[0], engine[17])
			}
		}
		if cut == 0 || greedy == 0 {
			t.Errorf("%s: %d contexts were cut, %d continuations are greedy: the test needs some of both", family, cut, greedy)
		}
	}
}

func TestLogLikelihoods_Refuses(t *testing.T) {
	torchtest.NoLeaks(t)
	m, _, tokenizer := small(t, config.Llama2)
	fits := strings.Repeat("x", m.Config().Context) // a token each, if no rule joins them
	if n := len(tokenizer.Encode(fits)); n != m.Config().Context {
		t.Fatalf("%d tokens", n)
	}
	for name, g := range generators(t, m, tokenizer) {
		if got := likelihoods(t, g, [][]task.Pair{{{Context: "Zwölf.", Continuation: fits}}}); got[0][0].Cut != len(tokenizer.Encode("Zwölf."))-1 {
			t.Errorf("%s: %+v", name, got)
		}
		for _, c := range []struct {
			pair  task.Pair
			words string
		}{
			{task.Pair{Context: "Zwölf.", Continuation: fits + "x"}, "has 33 tokens, the model's context is 32"},
			{task.Pair{Context: "Zwölf", Continuation: ""}, "has no token behind its context"},
			{task.Pair{Context: " \n", Continuation: "x"}, "the context has no token"},
		} {
			err := g.LogLikelihoods(context.Background(), [][]task.Pair{{{Context: "a", Continuation: "b"}}, {{Context: "a", Continuation: "b"}, c.pair}}, nil)
			if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "problem 2, choice 2") {
				t.Errorf("%s: %v, want %q", name, err, c.words)
			}
		}
		if err := g.LogLikelihoods(context.Background(), nil, nil); err != nil {
			t.Errorf("%s: no problems: %v", name, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := g.LogLikelihoods(ctx, groupsOf(2), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		stop := fmt.Errorf("enough")
		if err := g.LogLikelihoods(context.Background(), groupsOf(2), func(int, []Likelihood) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Weights that are not numbers are refused, not ranked.
func TestLogLikelihoods_RefusesNaN(t *testing.T) {
	torchtest.NoLeaks(t)
	m, _, tokenizer := small(t, config.Llama2)
	values, err := m.Registry().Read(0, "lm_head.weight")
	if err != nil {
		t.Fatal(err)
	}
	values[3] = float32(math.NaN())
	if err := m.Registry().Write(0, "lm_head.weight", values); err != nil {
		t.Fatal(err)
	}
	g, err := NewGenerator(m, tokenizer, GeneratorOptions{Compute: Compute{Precision: torch.Float32, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.LogLikelihoods(context.Background(), groupsOf(2), nil); record.CodeOf(err) != record.NonFinite {
		t.Error(err)
	}
}
