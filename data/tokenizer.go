package data

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
)

// Tokenizer is a byte-level BPE tokenizer: every byte has a token, so every string, valid UTF-8 or not, survives Encode
// and Decode. It is immutable and safe for concurrent use.
type Tokenizer struct {
	tokens  []string // by id: the bytes of an ordinary token, the text of an added one
	added   []addedToken
	finders []*finder // of the added tokens; one looks only into what those before it leave
	reach   int       // bytes of the longest added token; 0: all are special, and Encode has none to find
	special map[int32]bool
	byteID  [256]int32
	merges  *mergeTable
	whole   map[string]int32 // tokens that stand for a whole pre-token whatever the merges say; nil without ignore_merges
	eos     int32            // -1: none
	json    []byte
	digest  string

	encoders sync.Pool // of *encoder
}

// addedToken is a token that is found in text before all others, if it is special by EncodeSpecial only.
type addedToken struct {
	content string
	id      int32
	special bool
	late    bool // found only in what the others leave
}

// Vocab returns the number of tokens; ids are 0 to Vocab()−1.
func (t *Tokenizer) Vocab() int { return len(t.tokens) }

// EOS returns the token that ends a document; ok is false when the tokenizer has none.
func (t *Tokenizer) EOS() (id int32, ok bool) { return t.eos, t.eos >= 0 }

// EOSText returns the text of the token that ends a document, empty when there is none.
func (t *Tokenizer) EOSText() string {
	if t.eos < 0 {
		return ""
	}
	return t.tokens[t.eos]
}

// IsSpecial reports whether id is a token with a function, not part of a text, such as the end of a document.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.special[id] || id >= 0 && id == t.eos }

// JSON returns the tokenizer.json, byte for byte as it was read or made. The caller must not change it.
func (t *Tokenizer) JSON() []byte { return t.json }

// Digest returns the SHA-256 of JSON() in hexadecimal.
func (t *Tokenizer) Digest() string { return t.digest }

// Bytes returns a copy of the bytes that token id stands for; nil when there is no such token. A token may end within a
// character.
func (t *Tokenizer) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.tokens) {
		return nil
	}
	return []byte(t.tokens[id])
}

// Decode returns the text of ids, special tokens included. Ids without a token are left out.
func (t *Tokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id >= 0 && int(id) < len(t.tokens) {
			b.WriteString(t.tokens[id])
		}
	}
	return b.String()
}

// Encode returns the tokens of text. The names of special tokens in the text, such as <|endoftext|>, are text like any
// other, so that a document cannot end itself; EncodeSpecial recognises them. Added tokens that are not special are
// recognised. No end of document is appended.
func (t *Tokenizer) Encode(text string) []int32 { return t.encode(text, false) }

// EncodeSpecial returns the tokens of text in which added tokens, special ones among them, are recognised by their names,
// the longest where several fit, as the Hugging Face library does.
func (t *Tokenizer) EncodeSpecial(text string) []int32 { return t.encode(text, true) }

func (t *Tokenizer) encode(text string, special bool) []int32 {
	e, _ := t.encoders.Get().(*encoder)
	if e == nil {
		e = newEncoder(t)
	}
	ids := e.append(nil, text, special)
	t.encoders.Put(e)
	return ids
}

// finish derives what lookups need and takes over the file; it is the last step of making a Tokenizer.
func (t *Tokenizer) finish(file []byte) {
	sum := sha256.Sum256(file)
	t.json, t.digest = file, hex.EncodeToString(sum[:])
	slices.SortStableFunc(t.added, func(a, b addedToken) int { return len(b.content) - len(a.content) })
	t.special = make(map[int32]bool)
	for _, a := range t.added {
		t.special[a.id] = a.special
		if !a.special {
			t.reach = len(t.added[0].content)
		}
	}
	for _, late := range []bool{false, true} {
		if f := newFinder(t.added, late); f != nil {
			t.finders = append(t.finders, f)
		}
	}
}

// findEOS sets the end of document: the added token of the given name, or, when name is empty, one with a usual name.
func (t *Tokenizer) findEOS(name string) {
	t.eos = -1
	names := []string{name}
	if name == "" {
		names = eosNames()
	}
	for _, n := range names {
		for _, a := range t.added {
			if a.content == n {
				t.eos = a.id
				return
			}
		}
	}
}

// EndOfText is the name of the token that ends a document in tokenizers trained here.
const EndOfText = "<|endoftext|>"

// eosNames are the names that the token at the end of a document has in public tokenizers, in the order of preference.
func eosNames() []string { return []string{EndOfText, "</s>", "<|end_of_text|>", "<eos>"} }

// Limits of an encoder's memory of pre-tokens.
const (
	cachedWord  = 64      // bytes of the longest pre-token worth remembering
	cachedWords = 1 << 16 // how many are remembered before all are forgotten
)

// encoder turns text into tokens. It remembers the pre-tokens it has seen, because texts repeat their words.
type encoder struct {
	t      *Tokenizer
	merger merger
	cache  map[string]span
	arena  []int32 // the tokens of cached pre-tokens
	word   []int32
}

// span is a part of the arena.
type span struct{ start, end int32 }

func newEncoder(t *Tokenizer) *encoder {
	return &encoder{t: t, merger: merger{table: t.merges}, cache: make(map[string]span)}
}

// append appends the tokens of text to dst, those of special tokens' names only if they are asked for.
func (e *encoder) append(dst []int32, text string, special bool) []int32 {
	if !special && e.t.reach == 0 {
		return e.appendPlain(dst, text)
	}
	start := 0
	for _, p := range e.t.parts(text, special) {
		if p.id == noToken {
			dst = e.appendPlain(dst, text[start:p.end])
		} else {
			dst = append(dst, p.id)
		}
		start = p.end
	}
	return dst
}

// appendPlain appends the tokens of text without added ones to dst.
func (e *encoder) appendPlain(dst []int32, text string) []int32 {
	for i := 0; i < len(text); {
		end := pretokenEnd(text, i)
		dst = e.appendWord(dst, text[i:end])
		i = end
	}
	return dst
}

// appendWord appends the tokens of one pre-token to dst.
func (e *encoder) appendWord(dst []int32, word string) []int32 {
	if len(word) == 1 {
		return append(dst, e.t.byteID[word[0]])
	}
	if len(word) > cachedWord {
		return append(dst, e.split(word)...)
	}
	if s, ok := e.cache[word]; ok {
		return append(dst, e.arena[s.start:s.end]...)
	}
	ids := e.split(word)
	if len(e.cache) >= cachedWords {
		clear(e.cache)
		e.arena = e.arena[:0]
	}
	start := int32(len(e.arena))
	e.arena = append(e.arena, ids...)
	e.cache[strings.Clone(word)] = span{start, int32(len(e.arena))} // a clone, not to keep the whole text alive
	return append(dst, ids...)
}

// split returns the tokens of one pre-token; they are valid until the next call.
func (e *encoder) split(word string) []int32 {
	if id, ok := e.t.whole[word]; ok {
		return append(e.word[:0], id)
	}
	ids := slices.Grow(e.word[:0], len(word))
	for i := range len(word) {
		ids = append(ids, e.t.byteID[word[i]])
	}
	if cap(ids) <= keepLong {
		e.word = ids
	}
	return e.merger.merge(ids)
}
