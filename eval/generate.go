package eval

import (
	"context"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// GenerateOptions say how a prompt is continued.
type GenerateOptions struct {
	MaxTokens int // new tokens, at least 1
	Sampling  Sampling
	Seed      int64
	Stream    uint64                  // which of the seed's random streams: one for each sample of a prompt
	OnText    func(text string) error // called with each piece of valid UTF-8 as it is made; may be nil
	Ends      []int32                 // tokens that end a text; empty: the tokenizer's end of document
}

// Finish says why a generation ended.
type Finish string

// The reasons.
const (
	FinishEnd     Finish = "eos"     // the model ended the text
	FinishLength  Finish = "length"  // MaxTokens
	FinishContext Finish = "context" // the model's context is full
)

// Generation is a continued prompt.
type Generation struct {
	Text   string  // of the new tokens, valid UTF-8: bytes that are not part of a character are U+FFFD
	Tokens []int32 // without the one that ended the text
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
	ends := o.Ends
	if end, ok := t.EOS(); ok && len(ends) == 0 {
		ends = []int32{end}
	}
	out := Generation{Finish: FinishLength, Tokens: []int32{}}
	text := &streamer{tokenizer: t, emit: o.OnText}
	for next := ids; len(out.Tokens) < o.MaxTokens; {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if cache.Len()+len(next) > m.Config().Context {
			out.Finish = FinishContext
			break
		}
		logits, err := decode(m, next, cache)
		if err != nil {
			return out, err
		}
		// The rows that pad a vocabulary stand for nothing.
		id := o.Sampling.pick(logits[:t.Vocab()], uniform(o.Seed, o.Stream, uint64(len(out.Tokens))))
		if slices.Contains(ends, id) {
			out.Finish = FinishEnd
			break
		}
		out.Tokens = append(out.Tokens, id)
		if err := text.add(id); err != nil {
			return out, err
		}
		next = []int32{id}
	}
	err = text.send(true)
	out.Text = text.all.String()
	return out, err
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

// streamer turns tokens into text and holds back a character that is not complete yet.
type streamer struct {
	tokenizer *data.Tokenizer
	emit      func(string) error
	all       strings.Builder
	pending   []byte
}

func (s *streamer) add(id int32) error {
	s.pending = append(s.pending, s.tokenizer.Bytes(id)...)
	return s.send(false)
}

// send passes on what is pending, all of it at the end.
func (s *streamer) send(end bool) error {
	text, used := validText(s.pending, end)
	s.pending = s.pending[used:]
	s.all.WriteString(text)
	if s.emit == nil || text == "" {
		return nil
	}
	return s.emit(text)
}

// validText is b as UTF-8, and how many of its bytes that took. What cannot become a character is one
// U+FFFD for each longest beginning of one, as Unicode recommends and Hugging Face's tokenizers do. Unless
// b is the end of a text, a beginning at its end is left for later.
func validText(b []byte, end bool) (text string, used int) {
	var out strings.Builder
	for used < len(b) {
		rest := b[used:]
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			if !end && !utf8.FullRune(rest) {
				break
			}
			for size < len(rest) && !utf8.FullRune(rest[:size+1]) {
				size++
			}
		}
		out.WriteRune(r)
		used += size
	}
	return out.String(), used
}
