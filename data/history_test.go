package data

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The windows that the history calls read are those that a loader delivered, in both orders, within a pass and beyond it.
func TestHistory_ListsWhatALoaderDelivered(t *testing.T) {
	set := open(t, manyShards(t))
	windows := allWindows(t, set)
	n := int64(len(windows))
	for _, order := range []string{Shuffled, Sequential} {
		for _, steps := range []int64{1, n / 6, n / 2} { // of three windows
			var want [][]int32
			for _, b := range batches(t, set, LoaderOptions{Context: 32, Sequences: 3, Seed: 5, Order: order}, int(steps)) {
				for row := range 3 {
					want = append(want, slices.Concat(b.Inputs[row*32:(row+1)*32], b.Targets[row*32:(row+1)*32]))
				}
			}
			h := NewHistory(n, steps*3, 5, order)
			if h.Read() != min(n, steps*3) || h.Windows() != n || h.Passes() != float64(steps*3)/float64(n) {
				t.Fatalf("%d steps: %d of %d windows read, %v times", steps, h.Read(), h.Windows(), h.Passes())
			}
			for i := range h.Read() {
				if diff := cmp.Diff(want[i], windows[h.Window(i)]); diff != "" {
					t.Fatalf("%s, %d steps, window %d (-delivered +history):\n%s", order, steps, i, diff)
				}
			}
			all := make(map[int64]bool)
			for i := range n {
				all[h.Window(i)] = true
			}
			if int64(len(all)) != n {
				t.Errorf("%s, %d steps: the list has %d different windows of %d", order, steps, len(all), n)
			}
		}
	}
}

func TestPick_GivesTheWindowsAskedFor(t *testing.T) {
	set := open(t, manyShards(t))
	windows := allWindows(t, set)
	asked := []int64{int64(len(windows)) - 1, 0, 3, 3}
	var got [][]int32
	for b, err := range set.Pick(32, asked) {
		check(t, err)
		got = append(got, slices.Concat(b.Inputs, b.Targets))
	}
	for k, i := range asked {
		if diff := cmp.Diff(windows[i], got[k]); diff != "" {
			t.Errorf("window %d (-want +got):\n%s", i, diff)
		}
	}
	failed := false
	for _, err := range set.Pick(32, []int64{int64(len(windows))}) {
		failed = err != nil
	}
	if !failed {
		t.Error("a window behind the last was delivered")
	}
}

func TestDocumentPlaces_AreBehindEndsOfText(t *testing.T) {
	set := open(t, manyShards(t))
	d, err := set.DocumentPlaces()
	check(t, err)
	if got := int64(len(d.starts)); got != set.Documents() {
		t.Errorf("%d documents found, the set has %d", got, set.Documents())
	}
	document := 0
	tokens := make([]int32, set.Tokens())
	r := newReader(set)
	check(t, r.tokens(tokens, 0))
	check(t, r.close())
	for place, id := range tokens {
		if got := d.Of(int64(place)); got != document {
			t.Fatalf("token %d is of document %d, want %d", place, got, document)
		}
		if id == set.EOS() {
			document++
		}
	}
	// Each window begins in exactly one document.
	const context = 32
	n := set.WindowCount(context)
	next := int64(0)
	for document := range d.starts {
		first, end := d.Windows(document, context, n)
		for w := first; w < end; w++ {
			if w != next || d.Of(w*context) != document {
				t.Fatalf("window %d is said to begin in document %d, which is %d", w, document, d.Of(w*context))
			}
			next++
		}
	}
	if next != n {
		t.Errorf("%d windows begin in documents, there are %d", next, n)
	}
}
