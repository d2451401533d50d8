package data

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"plasticity/record"
)

// Limits of a vocabulary that is trained here.
const (
	MinVocab = 257     // every byte and the end of document
	MaxVocab = 1 << 18 // tokens; larger ones need other data structures
)

const (
	// minPairCount is how often a pair must be seen to become a token: what was seen once is chance.
	minPairCount = 2
	// maxTrainWord is the longest pre-token that is trained on, in bytes; longer ones count as several.
	maxTrainWord = 256
)

// wordCounts says how often each pre-token was seen.
type wordCounts map[string]int64

// add counts the pre-tokens of text.
func (c wordCounts) add(text string) {
	for i := 0; i < len(text); {
		end := pretokenEnd(text, i)
		for ; end-i > maxTrainWord; i += maxTrainWord {
			c.addWord(text[i : i+maxTrainWord])
		}
		c.addWord(text[i:end])
		i = end
	}
}

// merge adds the counts of another part of the text.
func (c wordCounts) merge(part wordCounts) {
	for word, n := range part {
		c[word] += n
	}
}

// addWord counts one pre-token. A new one is cloned, not to keep the whole text alive.
func (c wordCounts) addWord(word string) {
	if _, ok := c[word]; !ok {
		word = strings.Clone(word)
	}
	c[word]++
}

// trainBPE returns the tokenizer of at most vocab tokens that merges the most frequent pair again and again. Among
// pairs equally frequent the one with the smaller ids wins, so that the result depends on the counts only. It has fewer
// tokens when no pair is left that was seen twice.
func trainBPE(ctx context.Context, counts wordCounts, vocab int) (*Tokenizer, error) {
	if vocab < MinVocab || vocab > MaxVocab {
		return nil, usage("a vocabulary of %d tokens: choose %d (every byte and the end of document) to %d", vocab, MinVocab, MaxVocab)
	}
	tr := newTrainer(counts, vocab)
	for len(tr.tokens) < vocab {
		pair, ok := tr.pop()
		if !ok {
			break
		}
		tr.merge(pair)
		if len(tr.merges)%64 == 0 && ctx.Err() != nil {
			return nil, record.FailIO(ctx.Err(), "train tokenizer")
		}
	}
	return ParseTokenizer(writeTokenizer(tr.tokens, tr.merges))
}

// trainWord is a distinct pre-token: its symbols so far and how often it was seen.
type trainWord struct {
	ids   []int32
	count int64
	stamp int // the last merge that visited it, so that each visits it once
}

// pairInfo says how often a pair is seen and in which words; words may be stale or come twice.
type pairInfo struct {
	count int64
	words []int32
}

// candidate is an entry of the heap: a pair with the count it had when it was put there.
type candidate struct {
	count int64
	pair  uint64
}

// before is the order of the heap.
func (c candidate) before(d candidate) bool {
	if c.count != d.count {
		return c.count > d.count
	}
	return c.pair < d.pair
}

// trainer keeps the counts of all pairs up to date from merge to merge.
type trainer struct {
	tokens  []string // visible form by id
	merges  [][2]int32
	words   []trainWord
	pairs   map[uint64]*pairInfo
	heap    []candidate
	changed []uint64 // pairs whose count grew by the current merge
}

// newTrainer starts from single bytes. Ids are those that the Hugging Face trainer gives: the special token, then the
// bytes in the order of their visible characters.
func newTrainer(counts wordCounts, vocab int) *trainer {
	a := newAlphabet()
	tr := &trainer{tokens: make([]string, 1, vocab), pairs: make(map[uint64]*pairInfo)}
	tr.tokens[0] = EndOfText
	var byteID [256]int32
	for r := range rune(alphabetEnd) {
		if b := a.bytes[r]; b >= 0 {
			byteID[b] = int32(len(tr.tokens))
			tr.tokens = append(tr.tokens, string(r))
		}
	}
	texts := slices.Sorted(maps.Keys(counts))
	tr.words = make([]trainWord, len(texts))
	for i, text := range texts {
		ids := make([]int32, len(text))
		for k := range len(text) {
			ids[k] = byteID[text[k]]
		}
		tr.words[i] = trainWord{ids: ids, count: counts[text], stamp: -1}
		tr.count(int32(i), 1, anyID)
	}
	tr.changed = tr.changed[:0]
	for pair, info := range tr.pairs {
		tr.heap = append(tr.heap, candidate{info.count, pair})
	}
	// A sorted list is a heap.
	slices.SortFunc(tr.heap, func(c, d candidate) int {
		return cmp.Or(cmp.Compare(d.count, c.count), cmp.Compare(c.pair, d.pair))
	})
	return tr
}

// anyID stands for every id in trainer.count.
const anyID = int32(-1)

// count adds (sign 1) or takes away (sign −1) the pairs of a word. Pairs with the id fresh, which no count has seen in this
// word before, are noted with the word and as changed.
func (tr *trainer) count(word int32, sign int64, fresh int32) {
	w := &tr.words[word]
	for i := 0; i+1 < len(w.ids); i++ {
		a, b := w.ids[i], w.ids[i+1]
		key := pairKey(a, b)
		info := tr.pairs[key]
		if info == nil {
			info = new(pairInfo)
			tr.pairs[key] = info
		}
		info.count += sign * w.count
		if sign > 0 && (fresh == anyID || fresh == a || fresh == b) {
			if n := len(info.words); n == 0 || info.words[n-1] != word {
				info.words = append(info.words, word)
			}
			tr.changed = append(tr.changed, key)
		}
	}
}

// pop returns the most frequent pair; ok is false when none is frequent enough. Entries whose count has changed since are
// put back with the true one.
func (tr *trainer) pop() (pair uint64, ok bool) {
	for len(tr.heap) > 0 {
		top := tr.heap[0]
		now := int64(0)
		if info := tr.pairs[top.pair]; info != nil {
			now = info.count
		}
		if now == top.count {
			return top.pair, now >= minPairCount
		}
		last := len(tr.heap) - 1
		if now >= minPairCount {
			tr.heap[0].count = now
		} else {
			tr.heap[0] = tr.heap[last]
			tr.heap = tr.heap[:last]
		}
		tr.down()
	}
	return 0, false
}

// merge makes a token of the pair in all words.
func (tr *trainer) merge(pair uint64) {
	a, b := int32(pair>>32), int32(uint32(pair))
	id := int32(len(tr.tokens))
	tr.tokens = append(tr.tokens, tr.tokens[a]+tr.tokens[b])
	tr.merges = append(tr.merges, [2]int32{a, b})
	tr.changed = tr.changed[:0]
	stamp := len(tr.merges)
	for _, word := range tr.pairs[pair].words {
		w := &tr.words[word]
		if w.stamp == stamp {
			continue
		}
		w.stamp = stamp
		tr.mergeWord(word, a, b, id)
	}
	delete(tr.pairs, pair)
	slices.Sort(tr.changed)
	for _, key := range slices.Compact(tr.changed) {
		tr.push(candidate{tr.pairs[key].count, key})
	}
}

// mergeWord replaces the pair in one word and updates the counts.
func (tr *trainer) mergeWord(word, a, b, id int32) {
	w := &tr.words[word]
	first := 0
	for first+1 < len(w.ids) && (w.ids[first] != a || w.ids[first+1] != b) {
		first++
	}
	if first+1 >= len(w.ids) {
		return // another merge took the pair away
	}
	tr.count(word, -1, anyID)
	out := w.ids[:first]
	for i := first; i < len(w.ids); i++ {
		if i+1 < len(w.ids) && w.ids[i] == a && w.ids[i+1] == b {
			out = append(out, id)
			i++
			continue
		}
		out = append(out, w.ids[i])
	}
	w.ids = out
	tr.count(word, 1, id)
}

// push adds a candidate to the heap.
func (tr *trainer) push(c candidate) {
	h := append(tr.heap, c)
	for i := len(h) - 1; i > 0 && h[i].before(h[(i-1)/2]); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
	tr.heap = h
}

// down restores the heap after its top has changed.
func (tr *trainer) down() {
	h := tr.heap
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
