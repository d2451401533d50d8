package eval

import (
	"context"
	"math"
	"slices"
	"strings"

	"plasticity/data/task"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// Likelihood is what a model says of a continuation behind its context.
type Likelihood struct {
	LogProb float64 // natural logarithm, summed over the continuation's tokens
	Greedy  bool    // each of its tokens is the likeliest
	Cut     int     // tokens of the context that were left off, from the beginning
}

// rowLimit and logitLimit bound what goes through the model at once. They change no result.
const (
	rowLimit   = 4096
	logitLimit = 32 << 20
)

// LogLikelihoods ranks continuations: groups are the pairs of a problem each, and each is called with the likelihoods of a group,
// in order. What a pair gets depends on it, its context and the model alone, as the lm-evaluation-harness (main, August 2026)
// defines it:
//
//   - White space at the end of a context goes to its continuation. Context and continuation are tokenised together, and the
//     continuation is the tokens beyond as many as the context alone has, which are the model's context. An empty context is the
//     end of a document.
//   - The model reads at most its context of tokens, the last of the continuation not being among them: what is too much is
//     left off at the beginning. A continuation longer than that is refused, as is one without a token.
//   - Probabilities are over the model's whole vocabulary.
//
// Errors are record.Failures, or the context's.
func (g *Generator) LogLikelihoods(ctx context.Context, groups [][]task.Pair, each func(group int, l []Likelihood) error) error {
	encoded := make([][]scored, len(groups))
	slots, longest := 1, 1
	for i, pairs := range groups {
		for k, p := range pairs {
			s, err := g.encodePair(p)
			if err != nil {
				return record.Fail(record.CodeOf(err), "problem %d, choice %d: %w", i+1, k+1, err)
			}
			encoded[i] = append(encoded[i], s)
			longest = max(longest, len(s.ids))
		}
		slots = max(slots, len(pairs))
	}
	slots = max(slots, g.batch(longest)/2)
	run := &scoring{g: g, slots: slots}
	if g.engine != nil {
		var err error
		// The first slots are for what the pairs of a problem share, the others for the pairs.
		if run.cache, err = g.engine.NewCache(2*slots, longest); err != nil {
			return err
		}
		defer run.cache.Close()
	}
	for i := 0; i < len(groups); {
		n := run.room(encoded[i:])
		if err := run.score(ctx, encoded[i:i+n]); err != nil {
			return err
		}
		for _, pairs := range encoded[i : i+n] {
			l := make([]Likelihood, len(pairs))
			for k, s := range pairs {
				l[k] = s.Likelihood
			}
			if err := each(i, l); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// scored is a pair on its way.
type scored struct {
	Likelihood
	ids    []int32 // what the model reads
	target []int32 // the continuation, which follows the last len(target) of ids one by one
}

// shared is how many tokens all continuations of a context have before them.
func (s *scored) shared() int { return len(s.ids) - len(s.target) }

// encodePair is the harness' rule for the border between a context and its continuation, and for what the model reads.
func (g *Generator) encodePair(p task.Pair) (scored, error) {
	encode := g.tokenizer.EncodeSpecial // as transformers' tokenizers, which know special tokens by their names
	var head, target []int32
	if p.Context == "" {
		end, ok := g.tokenizer.EOS()
		if !ok {
			return scored{}, record.Fail(record.BadData, "the context is empty and the tokenizer has no end of document to start from: put a tokenizer_config.json with eos_token beside it")
		}
		head, target = []int32{end}, encode(p.Continuation)
		if len(target) > 0 && target[0] == end {
			head, target = target[:1], target[1:]
		}
	} else {
		// A context of white space alone goes to the continuation as a whole, and nothing is left to begin with.
		text := strings.TrimRightFunc(p.Context, task.IsSpace)
		head = encode(text)
		target = encode(p.Context + p.Continuation)
		target = target[min(len(head), len(target)):]
	}
	limit := g.model.Config().Context
	switch {
	case len(head) == 0:
		return scored{}, record.Fail(record.BadData, "the context has no token: it must have more than white space")
	case len(target) == 0:
		return scored{}, record.Fail(record.BadData, "the continuation %.80q has no token behind its context: leave the problem out", p.Continuation)
	case len(target) > limit:
		return scored{}, record.Fail(record.BadData, "the continuation %.80q has %d tokens, the model's context is %d: use a model with a longer context, or leave the problem out",
			p.Continuation, len(target), limit)
	}
	all := slices.Concat(head, target[:len(target)-1])
	cut := max(0, len(all)-limit)
	return scored{Likelihood: Likelihood{Cut: cut}, ids: all[cut:], target: target}, nil
}

// scoring is one call of LogLikelihoods.
type scoring struct {
	g      *Generator
	cache  *torch.EngineCache // none: the reference computes
	slots  int
	rows   []torch.Row
	logits []float32
}

// room is how many of the problems go through the model at once, at least one.
func (r *scoring) room(problems [][]scored) int {
	pairs, rows, targets := 0, 0, 0
	for n, p := range problems {
		pairs += len(p)
		for i := range p {
			rows += len(p[i].ids)
			targets += len(p[i].target)
		}
		if n > 0 && (pairs > r.slots || rows > rowLimit || targets*r.g.model.Config().Vocab > logitLimit) {
			return n
		}
	}
	return len(problems)
}

// score finds the likelihoods of some problems.
func (r *scoring) score(ctx context.Context, problems [][]scored) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.cache == nil {
		for _, p := range problems {
			for i := range p {
				if err := r.reference(&p[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := r.prefixes(problems); err != nil {
		return err
	}
	r.rows = r.rows[:0]
	var all []*scored
	slot, targets := r.slots, 0
	for _, p := range problems {
		for i := range p {
			s := &p[i]
			for _, id := range s.ids[s.shared():] {
				r.rows = append(r.rows, torch.Row{Slot: int32(slot), ID: id, Wanted: 1})
			}
			all = append(all, s)
			slot++
			targets += len(s.target)
		}
	}
	v := r.g.model.Config().Vocab
	r.logits = slices.Grow(r.logits[:0], targets*v)[:targets*v]
	if err := r.g.engine.Decode(r.g.model.Registry().Flat(nn.Params), r.cache, r.rows, r.logits); err != nil {
		return err
	}
	starts := make([]int, len(all))
	at := 0
	for i, s := range all {
		starts[i] = at
		at += len(s.target) * v
	}
	return parallel(len(all), r.g.options.Threads, func(_, i int) error {
		return all[i].read(r.logits[starts[i]:starts[i]+len(all[i].target)*v], v)
	})
}

// prefixes runs what the pairs of a problem have in common, once for all that have the same, and lets their slots go on from it.
func (r *scoring) prefixes(problems [][]scored) error {
	if err := r.release(); err != nil {
		return err
	}
	r.rows = r.rows[:0]
	var prefixes []int // of each pair, the slot with what is before its continuations
	prefix := -1
	for _, p := range problems {
		for i := range p {
			own := p[i].ids[:p[i].shared()]
			if i == 0 || !slices.Equal(own, p[i-1].ids[:p[i-1].shared()]) {
				prefix++
				if err := r.cache.Begin(prefix); err != nil {
					return err
				}
				for _, id := range own {
					r.rows = append(r.rows, torch.Row{Slot: int32(prefix), ID: id})
				}
			}
			prefixes = append(prefixes, prefix)
		}
	}
	if len(r.rows) > 0 {
		if err := r.g.engine.Decode(r.g.model.Registry().Flat(nn.Params), r.cache, r.rows, nil); err != nil {
			return err
		}
	}
	return r.share(problems, prefixes)
}

// release empties the slots of pairs, so that none goes on from another.
func (r *scoring) release() error {
	for slot := r.slots; slot < 2*r.slots; slot++ {
		if err := r.cache.Begin(slot); err != nil {
			return err
		}
	}
	return nil
}

// share lets the slots of pairs go on from those of their prefixes.
func (r *scoring) share(problems [][]scored, prefixes []int) error {
	pair := 0
	for _, p := range problems {
		for i := range p {
			if n := p[i].shared(); n > 0 {
				if err := r.cache.Share(r.slots+pair, prefixes[pair], n); err != nil {
					return err
				}
			}
			pair++
		}
	}
	return nil
}

// reference finds the likelihood of one pair in a whole pass.
func (r *scoring) reference(s *scored) error {
	scope := torch.NewScope(torch.NoGrad)
	defer scope.Close()
	logits := scope.Float32s(r.g.model.Logits(scope, scope.FromInt32(s.ids, 1, len(s.ids))))
	if err := scope.Err(); err != nil {
		return err
	}
	v := r.g.model.Config().Vocab
	return s.read(logits[s.shared()*v:], v)
}

// read takes the likelihood out of the logits before each token of the continuation, v to a token.
func (s *scored) read(logits []float32, v int) error {
	s.Greedy = true
	for i, id := range s.target {
		row := logits[i*v : (i+1)*v]
		best := argmax(row)
		if best != id {
			s.Greedy = false
		}
		total := 0.0
		for _, x := range row {
			total += math.Exp(float64(x) - float64(row[best]))
		}
		s.LogProb += float64(row[id]) - float64(row[best]) - math.Log(total)
	}
	if math.IsNaN(s.LogProb) || math.IsInf(s.LogProb, 0) {
		return record.Fail(record.NonFinite, "a log-likelihood is %v: the model's weights are damaged or it diverged in training", s.LogProb)
	}
	return nil
}
