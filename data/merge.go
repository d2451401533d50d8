package data

import (
	"math/bits"
	"slices"
)

// noRank is the rank of a pair that does not merge.
const noRank = int32(1<<31 - 1)

// pairKey packs a pair of ids.
func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// mergeRule says that a pair becomes the token id, before all pairs of higher rank.
type mergeRule struct{ rank, id int32 }

// mergeTable finds the rule of a pair: open addressing, at most half full, never changed after it was built.
type mergeTable struct {
	keys  []uint64 // pairKey + 1; 0 is an empty slot
	rules []mergeRule
	shift int
}

// newMergeTable returns a table with room for n rules.
func newMergeTable(n int) *mergeTable {
	size := max(2, 2*n)
	size = 1 << bits.Len(uint(size-1))
	return &mergeTable{keys: make([]uint64, size), rules: make([]mergeRule, size), shift: 64 - bits.TrailingZeros(uint(size))}
}

// slot returns where the pair is, or the empty slot where it would go.
func (m *mergeTable) slot(a, b int32) int {
	key := pairKey(a, b) + 1
	i := int(key * 0x9e3779b97f4a7c15 >> m.shift)
	for m.keys[i] != 0 && m.keys[i] != key {
		i = (i + 1) & (len(m.keys) - 1)
	}
	return i
}

// add adds a rule and reports whether the pair had none before.
func (m *mergeTable) add(a, b int32, r mergeRule) bool {
	i := m.slot(a, b)
	if m.keys[i] != 0 {
		return false
	}
	m.keys[i], m.rules[i] = pairKey(a, b)+1, r
	return true
}

// get returns the rule of a pair; its rank is noRank when there is none.
func (m *mergeTable) get(a, b int32) mergeRule {
	i := m.slot(a, b)
	if m.keys[i] == 0 {
		return mergeRule{rank: noRank}
	}
	return m.rules[i]
}

// smallWord is the longest word, in symbols, for which scanning for the lowest rank is faster than keeping lists.
const smallWord = 64

// merger applies merges to one word after the other, reusing its memory.
type merger struct {
	table *mergeTable
	rules [smallWord]mergeRule
	long  longMerger
}

// merge applies all merges to ids in place, lowest rank first and from left to right among equals, and returns what is
// left.
func (m *merger) merge(ids []int32) []int32 {
	if len(ids) > smallWord {
		return m.long.merge(m.table, ids)
	}
	for i := 0; i+1 < len(ids); i++ {
		m.rules[i] = m.table.get(ids[i], ids[i+1])
	}
	for len(ids) > 1 {
		best := 0
		rules := m.rules[:len(ids)-1]
		for i := range rules {
			if rules[i].rank < rules[best].rank {
				best = i
			}
		}
		if rules[best].rank == noRank {
			break
		}
		ids[best] = rules[best].id
		ids = slices.Delete(ids, best+1, best+2)
		copy(rules[best:], rules[best+1:])
		if best+1 < len(ids) {
			m.rules[best] = m.table.get(ids[best], ids[best+1])
		}
		if best > 0 {
			m.rules[best-1] = m.table.get(ids[best-1], ids[best])
		}
	}
	return ids
}

// longMerger merges long words. It keeps, for every rank, the list of places where the rank may apply, and takes rank
// after rank: nearly linear in the length of the word, also when that is 10 MB of one character.
type longMerger struct {
	table      *mergeTable
	ids        []int32
	prev, next []int32
	places     map[int32][]int32 // by rank
	ranks      []int32           // heap of the keys of places
	free       [][]int32
}

// dead is the id of a symbol that was merged into the one before it.
const dead = int32(-1)

// keepLong is the longest word, in symbols, whose memory is kept for the next one.
const keepLong = 1 << 20

func (l *longMerger) merge(table *mergeTable, ids []int32) []int32 {
	l.reset(table, ids)
	for i := range len(ids) - 1 {
		l.note(int32(i))
	}
	for len(l.ranks) > 0 {
		l.apply(l.pop())
	}
	out := ids[:0]
	for i := int32(0); i >= 0; i = l.next[i] {
		out = append(out, ids[i])
	}
	l.ids = nil
	if cap(l.prev) > keepLong {
		*l = longMerger{}
	}
	return out
}

func (l *longMerger) reset(table *mergeTable, ids []int32) {
	n := len(ids)
	l.table, l.ids = table, ids
	l.prev, l.next = slices.Grow(l.prev[:0], n)[:n], slices.Grow(l.next[:0], n)[:n]
	for i := range n {
		l.prev[i], l.next[i] = int32(i-1), int32(i+1)
	}
	l.next[n-1] = -1
	if l.places == nil {
		l.places = make(map[int32][]int32)
	}
}

// rule returns the rule of the pair that begins at i.
func (l *longMerger) rule(i int32) mergeRule {
	if i < 0 || l.ids[i] == dead || l.next[i] < 0 {
		return mergeRule{rank: noRank}
	}
	return l.table.get(l.ids[i], l.ids[l.next[i]])
}

// note puts the pair that begins at i on its list and returns its rank.
func (l *longMerger) note(i int32) int32 {
	rank := l.rule(i).rank
	if rank == noRank {
		return rank
	}
	list, ok := l.places[rank]
	if !ok {
		l.push(rank)
		if n := len(l.free); n > 0 {
			list, l.free = l.free[n-1][:0], l.free[:n-1]
		}
	}
	l.places[rank] = append(list, i)
	return rank
}

// apply merges at all places of a rank, from left to right. When a merge makes a pair of a lower rank possible, which only
// a vocabulary made by hand does, it stops, so that this pair comes first.
func (l *longMerger) apply(rank int32) {
	list := l.places[rank]
	delete(l.places, rank)
	if !slices.IsSorted(list) {
		slices.Sort(list)
	}
	for k, i := range list {
		r := l.rule(i)
		if r.rank != rank {
			continue // overtaken by another merge
		}
		gone := l.next[i]
		l.ids[i], l.ids[gone] = r.id, dead
		l.next[i] = l.next[gone]
		if l.next[i] >= 0 {
			l.prev[l.next[i]] = i
		}
		if lowest := min(l.note(l.prev[i]), l.note(i)); lowest < rank && k+1 < len(list) {
			l.places[rank] = list[k+1:]
			l.push(rank)
			return
		}
	}
	l.free = append(l.free, list)
}

// push and pop keep ranks a binary heap.
func (l *longMerger) push(rank int32) {
	h := append(l.ranks, rank)
	for i := len(h) - 1; i > 0 && h[i] < h[(i-1)/2]; i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
	l.ranks = h
}

func (l *longMerger) pop() int32 {
	h := l.ranks
	top, n := h[0], len(h)-1
	h[0] = h[n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			break
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
	l.ranks = h[:n]
	return top
}
