package eval

import (
	"context"
	"math"
	"unicode/utf8"

	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// GenerateOptions say how a prompt is continued.
type GenerateOptions struct {
	MaxTokens   int // new tokens, at least 1
	Sampling    Sampling
	Seed        int64
	OnText      func(text string) error // called with each piece of valid UTF-8 as it is made; may be nil
	StopAtEnd   bool                    // stop at the tokenizer's end of document
	TokenStream uint64                  // which of the seed's random streams
}

// Finish says why a generation ended.
type Finish string

// The reasons.
const (
	FinishEnd     Finish = "stop"   // the end of a document
	FinishLength  Finish = "length" // MaxTokens
	FinishContext Finish = "context"
)

// Generation is a continued prompt.
type Generation struct {
	Text   string // of the new tokens
	Tokens []int32
	Finish Finish
}

// Generate continues a prompt, one token at a time. An empty prompt starts a document. The error is
// a record.Failure: Usage when the prompt does not fit the model's context.
func Generate(ctx context.Context, m *model.Transformer, t *data.Tokenizer, prompt string, o GenerateOptions) (Generation, error) {
	ids, err := promptTokens(m, t, prompt)
	if err != nil {
		return Generation{}, err
	}
	room := m.Config().Context - len(ids)
	cache, err := m.NewCache(1, len(ids)+min(room, o.MaxTokens))
	if err != nil {
		return Generation{}, err
	}
	defer cache.Close()
	random := newStream(o.Seed, o.TokenStream)
	out := Generation{Finish: FinishLength}
	text := &streamer{tokenizer: t, emit: o.OnText}
	end, hasEnd := t.EOS()
	for next := ids; len(out.Tokens) < o.MaxTokens; {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if cache.Len()+len(next) > cache.Cap() {
			out.Finish = FinishContext
			break
		}
		logits, err := decode(m, next, cache)
		if err != nil {
			return out, err
		}
		id := o.Sampling.pick(logits[:t.Vocab()], random)
		if hasEnd && id == end && o.StopAtEnd {
			out.Finish = FinishEnd
			break
		}
		out.Tokens = append(out.Tokens, id)
		if err := text.add(id); err != nil {
			return out, err
		}
		next = []int32{id}
	}
	if err := text.flush(); err != nil {
		return out, err
	}
	out.Text = string(text.all)
	return out, nil
}

// promptTokens encodes a prompt and checks that it leaves room for an answer.
func promptTokens(m *model.Transformer, t *data.Tokenizer, prompt string) ([]int32, error) {
	if t.Vocab() > m.Config().Vocab {
		return nil, record.Fail(record.Mismatch, "the tokenizer has %d tokens, the model only %d: they do not belong together", t.Vocab(), m.Config().Vocab)
	}
	ids := t.Encode(prompt)
	if len(ids) == 0 {
		end, ok := t.EOS()
		if !ok {
			return nil, record.Fail(record.Usage, "the prompt is empty and the tokenizer has no end-of-document token to start from: give a prompt")
		}
		ids = []int32{end}
	}
	if context := m.Config().Context; len(ids) >= context {
		return nil, record.Fail(record.Usage, "the prompt has %d tokens, the model's context is %d: shorten the prompt to at most %d tokens", len(ids), context, context-1)
	}
	return ids, nil
}

// decode runs ids behind the cache and gives the scores of the next token.
func decode(m *model.Transformer, ids []int32, cache *model.Cache) ([]float32, error) {
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	logits := s.Float32s(m.Decode(s, s.FromInt32(ids, 1, len(ids)), cache))
	if err := s.Err(); err != nil {
		return nil, err
	}
	for _, x := range logits {
		if math.IsNaN(float64(x)) {
			return nil, record.Fail(record.NonFinite, "the model's scores are not numbers: its weights are damaged or it diverged in training")
		}
	}
	return logits, nil
}

// streamer turns tokens into text and holds back a rune that is not complete yet.
type streamer struct {
	tokenizer *data.Tokenizer
	emit      func(string) error
	all       []byte
	sent      int
}

func (s *streamer) add(id int32) error {
	s.all = append(s.all, s.tokenizer.Bytes(id)...)
	return s.send(completeRunes(s.all))
}

func (s *streamer) flush() error { return s.send(len(s.all)) }

func (s *streamer) send(to int) error {
	if s.emit == nil || to <= s.sent {
		return nil
	}
	piece := string(s.all[s.sent:to])
	s.sent = to
	return s.emit(piece)
}

// completeRunes is the length of b without a rune at its end whose bytes are still to come.
func completeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if utf8.FullRune(b[i:]) {
				return len(b)
			}
			return i
		}
	}
	return len(b)
}
