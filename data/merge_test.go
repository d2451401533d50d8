package data

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naiveMerge applies the merge of the lowest rank, leftmost first, until there is none.
func naiveMerge(table *mergeTable, ids []int32) []int32 {
	ids = slices.Clone(ids)
	for {
		best, at := mergeRule{rank: noRank}, -1
		for i := 0; i+1 < len(ids); i++ {
			if r := table.get(ids[i], ids[i+1]); r.rank < best.rank {
				best, at = r, i
			}
		}
		if at < 0 {
			return ids
		}
		ids[at] = best.id
		ids = slices.Delete(ids, at+1, at+2)
	}
}

// Ranks are drawn without regard to which token needs which, so pairs of lower rank appear in the middle of others.
func TestMerge_EqualsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const letters = 3
		n := rapid.IntRange(0, 30).Draw(t, "merges")
		ranks := rapid.Permutation(sequence(n)).Draw(t, "ranks")
		table := newMergeTable(n)
		for i := range n {
			id := int32(letters + i)
			a := rapid.Int32Range(0, id-1).Draw(t, "a")
			b := rapid.Int32Range(0, id-1).Draw(t, "b")
			table.add(a, b, mergeRule{ranks[i], id})
		}
		ids := rapid.SliceOfN(rapid.Int32Range(0, letters-1), 1, smallWord).Draw(t, "ids")
		want := naiveMerge(table, ids)
		m := merger{table: table}
		if got := m.merge(slices.Clone(ids)); !slices.Equal(got, want) {
			t.Fatalf("short: %v, want %v", got, want)
		}
		for range 2 { // the second time with used memory
			if got := m.long.merge(table, slices.Clone(ids)); !slices.Equal(got, want) {
				t.Fatalf("long: %v, want %v", got, want)
			}
		}
	})
}

// sequence returns 0 to n−1.
func sequence(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = int32(i)
	}
	return s
}
