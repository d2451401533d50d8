package data

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// whole returns a permutation as a list.
func whole(p Permutation) []int64 {
	list := make([]int64, p.n)
	for i := range list {
		list[i] = p.At(int64(i))
	}
	return list
}

func TestPermutation_IsABijection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 3000).Draw(t, "n")
		seed, epoch := rapid.Int64().Draw(t, "seed"), rapid.Int64Range(0, 1<<40).Draw(t, "epoch")
		list := whole(NewPermutation(n, seed, epoch))
		if again := whole(NewPermutation(n, seed, epoch)); !slices.Equal(list, again) {
			t.Fatal("two permutations of the same seed and epoch differ")
		}
		slices.Sort(list)
		for i, v := range list {
			if v != int64(i) {
				t.Fatalf("%d comes instead of %d", v, i)
			}
		}
	})
}

func TestPermutation_LargeIndicesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, maxTokens).Draw(t, "n")
		p := NewPermutation(n, rapid.Int64().Draw(t, "seed"), 0)
		if got := p.At(rapid.Int64Range(0, n-1).Draw(t, "i")); got < 0 || got >= n {
			t.Fatalf("%d is not in [0, %d)", got, n)
		}
	})
}

func TestPermutation_EpochAndSeedChangeIt(t *testing.T) {
	const n = 1000
	base := whole(NewPermutation(n, 1, 0))
	for name, other := range map[string]Permutation{
		"epoch": NewPermutation(n, 1, 1), "seed": NewPermutation(n, 2, 0), "both swapped": NewPermutation(n, 0, 1),
		"negative seed": NewPermutation(n, -1, 0),
	} {
		same := 0
		for i, v := range whole(other) {
			if v == base[i] {
				same++
			}
		}
		if same > 10 { // one is expected of a random permutation
			t.Errorf("%s: %d of %d indices go to the same place", name, same, n)
		}
	}
}

// A shuffle must not leave neighbours together: the mean distance between the places of neighbours is n/3 for a random
// permutation.
func TestPermutation_SpreadsNeighbours(t *testing.T) {
	const n = 4097
	list := whole(NewPermutation(n, 7, 3))
	sum := int64(0)
	for i := 1; i < n; i++ {
		sum += max(list[i]-list[i-1], list[i-1]-list[i])
	}
	if mean := float64(sum) / (n - 1); mean < n/3.0*0.95 || mean > n/3.0*1.05 {
		t.Errorf("neighbours lie %.0f apart on average, want about %.0f", mean, n/3.0)
	}
}
