package task

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// dice draws numbers that depend on the seed and a name alone. Only the generator is the library's, because its stream is
// specified; how numbers are made of it is fixed here, so that a later Go makes the same examples.
type dice struct{ pcg *rand.PCG }

// newDice returns the dice for a purpose.
func newDice(seed int64, purpose string) dice {
	sum := sha256.Sum256([]byte(purpose))
	return dice{rand.NewPCG(uint64(seed), binary.LittleEndian.Uint64(sum[:]))}
}

// below returns a number from 0 to n−1, all equally likely (Lemire's multiplication with rejection).
func (d dice) below(n int) int {
	limit := uint64(n)
	for {
		hi, lo := bits.Mul64(d.pcg.Uint64(), limit)
		if lo >= -limit%limit {
			return int(hi)
		}
	}
}

// between returns a number from low to high.
func (d dice) between(low, high int) int { return low + d.below(high-low+1) }

// pick returns one of the words.
func (d dice) pick(words []string) string { return words[d.below(len(words))] }

// some returns n different ones of the words, in random order.
func (d dice) some(words []string, n int) []string {
	all := append([]string(nil), words...)
	for i := range n {
		j := i + d.below(len(all)-i)
		all[i], all[j] = all[j], all[i]
	}
	return all[:n]
}

// shuffle returns the words in random order.
func (d dice) shuffle(words []string) []string { return d.some(words, len(words)) }

// order returns the numbers 0 to n−1 in random order.
func (d dice) order(n int) []int {
	all := make([]int, n)
	for i := range all {
		j := d.below(i + 1)
		all[i], all[j] = all[j], i
	}
	return all
}
