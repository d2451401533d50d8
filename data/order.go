package data

import "math/bits"

// feistelRounds is how often the halves of an index are mixed; four make a permutation that looks random, more cost little.
const feistelRounds = 6

// Permutation is a bijection of [0, n) that is a pure function of a seed and an epoch. It needs no memory for the order:
// a Feistel network permutes the next power of four, and indices that fall outside are sent through it again until they
// fall inside.
type Permutation struct {
	n    uint64
	half int // bits
	keys [feistelRounds]uint64
}

// NewPermutation returns the permutation of [0, n) for an epoch.
func NewPermutation(n, seed, epoch int64) Permutation {
	p := Permutation{n: uint64(n), half: (bits.Len64(uint64(max(n, 2)-1)) + 1) / 2}
	state := mix(uint64(seed)) ^ mix(uint64(epoch)+0x9e3779b97f4a7c15)
	for i := range p.keys {
		state += 0x9e3779b97f4a7c15
		p.keys[i] = mix(state)
	}
	return p
}

// At returns where index i, in [0, n), goes.
func (p *Permutation) At(i int64) int64 {
	x := uint64(i)
	for {
		x = p.once(x)
		if x < p.n {
			return int64(x)
		}
	}
}

// once sends x through the network.
func (p *Permutation) once(x uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	left, right := x>>p.half, x&mask
	for _, key := range p.keys {
		left, right = right, left^mix(right^key)&mask
	}
	return left<<p.half | right
}

// mix spreads every bit of x over all bits, as the generator SplitMix64 does.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
