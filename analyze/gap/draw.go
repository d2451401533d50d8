package gap

import (
	"plasticity/data"
	"plasticity/record"
)

// Streams of the draws of one seed.
const (
	streamSeen = iota + 1
	streamUnseen
	streamHeldOut
	streamPlace
)

// Side is a number of windows of one set.
type Side struct {
	set       *data.Set
	context   int
	windows   []int64
	documents []int // of each window
}

// Windows is how many there are.
func (s *Side) Windows() int { return len(s.windows) }

// place notes the documents of the windows.
func (s *Side) place(d data.Documents) {
	s.documents = make([]int, len(s.windows))
	for i, w := range s.windows {
		s.documents[i] = d.Of(w * int64(s.context))
	}
}

// Text is a prepared split to draw windows from.
type Text struct {
	Set       *data.Set
	documents data.Documents
	context   int
	windows   int64
}

// NewText reads the set once, for its documents.
func NewText(set *data.Set, context int) (*Text, error) {
	t := &Text{Set: set, context: context, windows: set.WindowCount(context)}
	if t.windows == 0 {
		return nil, record.Fail(record.BadData, "%s: %d tokens have no window of the model's context, %d: give a folder with more text", set.Dir(), set.Tokens(), context)
	}
	var err error
	t.documents, err = set.DocumentPlaces()
	return t, err
}

// Windows is how many there are.
func (t *Text) Windows() int64 { return t.windows }

// Unpaired draws n windows that a run has read and as many of another text; n is what both have, at most.
func Unpaired(train *Text, h data.History, heldOut *Text, n, seed int64) (seen, unseen Side) {
	n = min(n, h.Read(), heldOut.windows)
	fromSeen, fromHeldOut := data.NewPermutation(h.Read(), seed, streamSeen), data.NewPermutation(heldOut.windows, seed, streamHeldOut)
	seen, unseen = Side{set: train.Set, context: train.context}, Side{set: heldOut.Set, context: heldOut.context}
	for i := range n {
		seen.windows = append(seen.windows, h.Window(fromSeen.At(i)))
		unseen.windows = append(unseen.windows, fromHeldOut.At(i))
	}
	seen.place(train.documents)
	unseen.place(heldOut.documents)
	return seen, unseen
}

// Paired draws windows that a run has not read, in an order made of the seed, and to each one that it has read and that begins in the same
// document, no window twice. There are n pairs at most, and fewer, or none, where documents have windows of one kind only.
func Paired(train *Text, h data.History, n, seed int64) (seen, unseen Side) {
	seen, unseen = Side{set: train.Set, context: train.context}, Side{set: train.Set, context: train.context}
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
	for i := int64(0); i < left && int64(len(seen.windows)) < n; i++ {
		w := h.Window(h.Read() + order.At(i))
		document := train.documents.Of(w * int64(train.context))
		if spent[document] {
			continue
		}
		first, end := train.documents.Windows(document, train.context, h.Windows())
		spent[document] = true
		for k := range end - first {
			candidate := first + (spread.At(w)+k)%(end-first)
			if free[candidate] {
				free[candidate], spent[document] = false, false
				seen.windows, unseen.windows = append(seen.windows, candidate), append(unseen.windows, w)
				break
			}
		}
	}
	seen.place(train.documents)
	unseen.place(train.documents)
	return seen, unseen
}
