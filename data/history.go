package data

import (
	"errors"
	"iter"
	"sort"

	"plasticity/record"
)

// History says which windows of a set a run has read. Of a run that has not read all of them it lists those it has read first,
// in the order in which it read them, and then the others.
type History struct {
	windows, read int64
	order         Permutation
	sequential    bool
}

// NewHistory is the history of a run after so many samples of a set with so many windows, read in the order that a Loader with
// the same seed delivers.
func NewHistory(windows, samples, seed int64, order string) History {
	return History{windows: windows, read: samples, order: NewPermutation(windows, seed, 0), sequential: order == Sequential}
}

// Windows returns how many there are.
func (h *History) Windows() int64 { return h.windows }

// Read returns how many different windows the run has read.
func (h *History) Read() int64 { return min(h.read, h.windows) }

// Passes returns how often the set was read, on average over its windows.
func (h *History) Passes() float64 { return float64(h.read) / float64(h.windows) }

// Window returns the i-th window of the list: one that the run has read where i < Read().
func (h *History) Window(i int64) int64 {
	if h.sequential {
		return i
	}
	// After a whole pass all windows have been read, whatever the order of the passes after it.
	return h.order.At(i)
}

// Pick returns the given windows of context tokens, each as a batch of its own. An error ends the sequence.
func (s *Set) Pick(context int, windows []int64) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		r := newReader(s)
		defer r.close() //nolint:errcheck // only read
		n := s.WindowCount(context)
		for k, i := range windows {
			b := NewBatch(1, context)
			b.Step = int64(k)
			var err error
			if i < 0 || i >= n {
				err = record.Fail(record.Internal, "%s: window %d of %d asked for", s.dir, i, n)
			} else {
				err = r.window(&b, 0, context, i)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// Documents are the places where the documents of a set begin.
type Documents struct{ starts []int64 }

// DocumentPlaces reads all tokens once and finds where each document begins.
func (s *Set) DocumentPlaces() (d Documents, err error) {
	r := newReader(s)
	defer func() { err = errors.Join(err, r.close()) }()
	buf := make([]int32, 1<<16)
	begins := true
	for start := int64(0); start < s.Tokens(); start += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), s.Tokens()-start)]
		if err := r.tokens(buf, start); err != nil {
			return Documents{}, err
		}
		for k, id := range buf {
			if begins {
				d.starts = append(d.starts, start+int64(k))
			}
			begins = id == s.EOS()
		}
	}
	return d, nil
}

// Of returns which document, from 0, the token at a place of the set belongs to.
func (d Documents) Of(place int64) int {
	return sort.Search(len(d.starts), func(i int) bool { return d.starts[i] > place }) - 1
}

// Windows returns the windows of context tokens, from first to below end, that begin in a document. It may have none.
func (d Documents) Windows(document, context int, count int64) (first, end int64) {
	upTo := func(place int64) int64 { return min(count, (place+int64(context)-1)/int64(context)) }
	end = count
	if document+1 < len(d.starts) {
		end = upTo(d.starts[document+1])
	}
	return upTo(d.starts[document]), end
}
