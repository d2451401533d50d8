package gap

import (
	"plasticity/analyze/window"
	"plasticity/data"
)

// Streams of the draws of one seed; window.Text.Draw has another.
const (
	streamSeen   = 1
	streamUnseen = 2
	streamPlace  = 4
)

// Unpaired draws n windows that a run has read and as many of another text; n is what both have, at most.
func Unpaired(train *window.Text, h data.History, heldOut *window.Text, n, seed int64) (seen, unseen window.Sample) {
	n = min(n, h.Read(), heldOut.Windows)
	fromSeen := data.NewPermutation(h.Read(), seed, streamSeen)
	seen = window.Sample{Text: train}
	for i := range n {
		seen.Add(h.Window(fromSeen.At(i)))
	}
	return seen, heldOut.Draw(n, seed)
}

// Paired draws windows that a run has not read, in an order made of the seed, and to each one that it has read and that begins in the same
// document, no window twice. There are n pairs at most, and fewer, or none, where documents have windows of one kind only.
func Paired(train *window.Text, h data.History, n, seed int64) (seen, unseen window.Sample) {
	seen, unseen = window.Sample{Text: train}, window.Sample{Text: train}
	left := h.Windows() - h.Read()
	if left == 0 {
		return seen, unseen
	}
	free := make([]bool, h.Windows()) // read and in no pair
	for i := range h.Read() {
		free[h.Window(i)] = true
	}
	order, spread := data.NewPermutation(left, seed, streamUnseen), data.NewPermutation(h.Windows(), seed, streamPlace)
	spent := make(map[int]bool) // documents without a free window: a long one is not searched again for each window of it
	for i := int64(0); i < left && int64(seen.Len()) < n; i++ {
		w := h.Window(h.Read() + order.At(i))
		document := train.DocumentOf(w)
		if spent[document] {
			continue
		}
		first, end := train.Documents.Windows(document, train.Context, h.Windows())
		spent[document] = true
		for k := range end - first {
			candidate := first + (spread.At(w)+k)%(end-first)
			if free[candidate] {
				free[candidate], spent[document] = false, false
				seen.Add(candidate)
				unseen.Add(w)
				break
			}
		}
	}
	return seen, unseen
}
