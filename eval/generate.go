package eval

import (
	"context"
	"fmt"
	"slices"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// Prompt is a text to be continued.
type Prompt struct {
	Text   string
	Tokens []int32 // of the text; nil: the tokenizer makes them
	// Stream is the seed's random stream of the first sample; further samples have the streams that follow.
	Stream uint64
}

// GenerateOptions say how prompts are continued.
type GenerateOptions struct {
	MaxTokens int // new tokens, at least 1
	Samples   int // of each prompt; 0: one
	Sampling  Sampling
	Seed      int64
	Stops     []string // texts that end a continuation and are not part of it
	// OnText is called with each piece of valid UTF-8 as it is made, by one goroutine; may be nil.
	OnText func(prompt, sample int, text string) error
}

// Finish says why a generation ended.
type Finish string

// The reasons.
const (
	FinishEnd     Finish = "eos"     // the model ended the text
	FinishStop    Finish = "stop"    // one of the texts that end a continuation
	FinishLength  Finish = "length"  // MaxTokens
	FinishContext Finish = "context" // the model's context is full
)

// Generation is a continued prompt.
type Generation struct {
	Text   string  // of the new tokens, valid UTF-8: bytes that are not part of a character are U+FFFD
	Tokens []int32 // without the one that ended the text
	Finish Finish
}

// GeneratorOptions say what continues prompts, and how many at a time.
type GeneratorOptions struct {
	Compute
	Ends []int32 // tokens that end a text; empty: the tokenizer's end of document
	// Batch is how many samples are continued at once; 0: as many as a gibibyte of keys and values has room for, at most 256, beyond
	// which nothing is gained. It changes no result.
	Batch int
}

// Generator continues prompts with a model, many at a time and each as if it were alone. It is used by one goroutine at a time.
type Generator struct {
	model     *model.Transformer
	tokenizer *data.Tokenizer
	options   GeneratorOptions
	engine    *torch.Engine // nil: the reference continues
	fallback  string
}

// NewGenerator makes a generator. The caller closes it before the model, which must lie on the CPU. Without a tokenizer prompts are
// tokens, and generations have no text.
func NewGenerator(m *model.Transformer, t *data.Tokenizer, o GeneratorOptions) (*Generator, error) {
	if t != nil && t.Vocab() > m.Config().Vocab {
		return nil, record.Fail(record.Mismatch, "the tokenizer has %d tokens, the model only %d: they do not belong together", t.Vocab(), m.Config().Vocab)
	}
	g := &Generator{model: m, tokenizer: t, options: o}
	var err error
	g.engine, g.fallback, err = o.newEngine(m, 1)
	return g, err
}

// Close frees what the generator has, not the model. Closing twice is harmless.
func (g *Generator) Close() {
	if g.engine != nil {
		g.engine.Close()
	}
}

// Fallback says why the reference continues although the engine was wanted; empty where it does not.
func (g *Generator) Fallback() string { return g.fallback }

// sequences makes slots with room for capacity tokens each.
func (g *Generator) sequences(slots, capacity int) (sequences, error) {
	return newSequences(g.engine, g.model, slots, capacity)
}

// batch is how many samples are continued at once, with room for capacity tokens each.
func (g *Generator) batch(capacity int) int {
	if g.options.Batch > 0 {
		return g.options.Batch
	}
	return slotsFor(g.model.Config(), capacity)
}

// slotsFor is how many sequences of so many tokens a gibibyte of keys and values has room for, at most 256.
func slotsFor(c config.Model, capacity int) int {
	bytes := 2 * 4 * c.Layers * c.KVHeads * (c.HeadSize() + 31) * (capacity + 15)
	return max(1, min(256, 1<<30/bytes))
}

// Generate continues every prompt and returns the samples of each. An empty prompt starts a document. What a sample becomes
// depends on its prompt, seed and stream alone. The error is a record.Failure: Usage when a prompt does not fit the model's
// context.
func (g *Generator) Generate(ctx context.Context, prompts []Prompt, o GenerateOptions) ([][]Generation, error) {
	o.Samples = max(o.Samples, 1)
	if slices.Contains(o.Stops, "") {
		return nil, record.Fail(record.Usage, "an empty text cannot end a continuation: leave it out of the stops")
	}
	run := &generating{g: g, o: o, prompts: make([]promptState, len(prompts)), ends: g.options.Ends}
	if g.tokenizer != nil && len(run.ends) == 0 {
		if end, ok := g.tokenizer.EOS(); ok {
			run.ends = []int32{end}
		}
	}
	longest := 1
	for i, p := range prompts {
		ids, err := g.promptTokens(p)
		if err != nil {
			if len(prompts) > 1 {
				err = fmt.Errorf("prompt %d of %d: %w", i+1, len(prompts), err)
			}
			return nil, err
		}
		run.prompts[i] = promptState{ids: ids, stream: p.Stream, left: o.Samples}
		longest = max(longest, len(ids))
	}
	return run.all(ctx, longest)
}

// One is Generate for a single continuation of a single prompt.
func (g *Generator) One(ctx context.Context, prompt Prompt, o GenerateOptions) (Generation, error) {
	o.Samples = 1
	out, err := g.Generate(ctx, []Prompt{prompt}, o)
	if err != nil {
		return Generation{}, err
	}
	return out[0][0], nil
}

// promptTokens are those of a prompt; it checks that it leaves room for an answer.
func (g *Generator) promptTokens(p Prompt) ([]int32, error) {
	ids := p.Tokens
	switch {
	case len(ids) == 0 && g.tokenizer == nil:
		return nil, record.Fail(record.Usage, "the prompt has no tokens and there is no tokenizer: give its tokens")
	case ids == nil:
		ids = g.tokenizer.Encode(p.Text)
	}
	if len(ids) == 0 {
		end, ok := g.tokenizer.EOS()
		if !ok {
			return nil, record.Fail(record.Usage, "the prompt is empty and the tokenizer has no end-of-document token to start from: give a prompt")
		}
		ids = []int32{end}
	}
	if context := g.model.Config().Context; len(ids) >= context {
		return nil, record.Fail(record.Usage, "the prompt has %d tokens, the model's context is %d: shorten the prompt to at most %d tokens", len(ids), context, context-1)
	}
	return ids, nil
}

// promptState is a prompt on its way.
type promptState struct {
	ids    []int32
	stream uint64
	slot   int
	left   int // samples that are not done
}

// sample is a continuation on its way.
type sample struct {
	prompt, index int
	slot          int
	tokens        []int32
	text          *streamer
	seen          []bool  // by token: is in the text; nil without a repetition penalty of ours
	list          []int32 // of tokens seen
	next          int32   // chosen last, to be appended
	finish        Finish  // empty: goes on
}

// generating is one call of Generate.
type generating struct {
	g         *Generator
	o         GenerateOptions
	ends      []int32
	prompts   []promptState
	admitted  int // of the prompts
	sequences sequences
	drawer    drawer // nil: the samples choose from scores
	active    []*sample
	// Slots that are free: the first ones are for prompts, the others for samples.
	promptSlots, sampleSlots []int
	pickers                  []picker
	logits                   []float32
	numbers                  []float64 // what tokens are drawn by
	drawn                    []int32
	out                      [][]Generation
}

// all admits prompts as slots become free and continues all samples token by token.
func (r *generating) all(ctx context.Context, longest int) ([][]Generation, error) {
	r.out = make([][]Generation, len(r.prompts))
	for i := range r.out {
		r.out[i] = make([]Generation, r.o.Samples)
	}
	context := r.g.model.Config().Context
	capacity := max(longest, min(r.o.MaxTokens, context))
	samples := min(max(r.g.batch(capacity), r.o.Samples), len(r.prompts)*r.o.Samples)
	prompts := samples / r.o.Samples
	samples = prompts * r.o.Samples
	if prompts == 0 {
		return r.out, nil
	}
	var err error
	if r.sequences, err = r.g.sequences(prompts+samples, min(capacity, context)); err != nil {
		return nil, err
	}
	defer r.sequences.close()
	if d, ok := r.sequences.(drawer); ok && !r.o.Sampling.limits(r.known()) {
		r.drawer = d
	}
	for i := range prompts {
		r.promptSlots = append(r.promptSlots, i)
	}
	for i := range samples {
		r.sampleSlots = append(r.sampleSlots, prompts+i)
	}
	r.pickers = make([]picker, max(1, r.g.options.Threads))
	for r.admitted < len(r.prompts) || len(r.active) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.admit(); err != nil {
			return nil, err
		}
		if err := r.advance(); err != nil {
			return nil, err
		}
	}
	return r.out, nil
}

// admit runs prompts through the model, as many as there are slots for, and starts their samples.
func (r *generating) admit() error {
	var rows []torch.Row
	first := r.admitted
	for r.admitted < len(r.prompts) && len(r.promptSlots) > 0 {
		p := &r.prompts[r.admitted]
		p.slot, r.promptSlots = r.promptSlots[0], r.promptSlots[1:]
		if err := r.sequences.begin(p.slot); err != nil {
			return err
		}
		for _, id := range p.ids {
			rows = append(rows, torch.Row{Slot: int32(p.slot), ID: id})
		}
		rows[len(rows)-1].Wanted = int32(r.o.Samples)
		r.admitted++
	}
	if len(rows) == 0 {
		return nil
	}
	var fresh []*sample
	for i := first; i < r.admitted; i++ {
		for k := range r.o.Samples {
			fresh = append(fresh, r.newSample(i, k))
		}
	}
	if err := r.step(rows, fresh); err != nil {
		return err
	}
	for _, s := range fresh {
		if s.finish != "" {
			if err := r.done(s); err != nil {
				return err
			}
			continue
		}
		s.slot, r.sampleSlots = r.sampleSlots[0], r.sampleSlots[1:]
		if err := r.sequences.share(s.slot, r.prompts[s.prompt].slot); err != nil {
			return err
		}
		r.active = append(r.active, s)
	}
	return nil
}

func (r *generating) newSample(prompt, index int) *sample {
	s := &sample{prompt: prompt, index: index, slot: -1, tokens: []int32{}}
	var emit func(string) error
	if r.o.OnText != nil {
		emit = func(text string) error { return r.o.OnText(prompt, index, text) }
	}
	s.text = &streamer{tokenizer: r.g.tokenizer, emit: emit, stops: r.o.Stops}
	if r.drawer == nil && r.o.Sampling.penalises() {
		s.seen = make([]bool, r.g.model.Config().Vocab)
		for _, id := range r.prompts[prompt].ids {
			s.see(id)
		}
	}
	return s
}

func (s *sample) see(id int32) {
	if s.seen != nil && !s.seen[id] {
		s.seen[id] = true
		s.list = append(s.list, id)
	}
}

// advance appends the token that each sample chose last and lets it choose the next.
func (r *generating) advance() error {
	if len(r.active) == 0 {
		return nil
	}
	rows := make([]torch.Row, len(r.active))
	for i, s := range r.active {
		rows[i] = torch.Row{Slot: int32(s.slot), ID: s.next, Wanted: 1}
	}
	if err := r.step(rows, r.active); err != nil {
		return err
	}
	going := r.active[:0]
	for _, s := range r.active {
		if s.finish == "" {
			going = append(going, s)
		} else if err := r.done(s); err != nil {
			return err
		}
	}
	r.active = going
	return nil
}

// done keeps what a sample became and frees its slot, and the prompt's with its last sample.
func (r *generating) done(s *sample) error {
	r.out[s.prompt][s.index] = Generation{Text: s.text.all.String(), Tokens: s.tokens, Finish: s.finish}
	p := &r.prompts[s.prompt]
	if p.left--; p.left == 0 {
		r.promptSlots = append(r.promptSlots, p.slot)
	}
	if s.slot < 0 {
		return nil
	}
	r.sampleSlots = append(r.sampleSlots, s.slot)
	return r.sequences.begin(s.slot) // it no longer goes on from its prompt
}
