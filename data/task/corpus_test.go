package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"plasticity/data"
)

// encoded is a small task of arithmetic with its tokens, and the tokenizer.
func encoded(t *testing.T) (*Set, *Corpus, *data.Tokenizer) {
	t.Helper()
	tok := trained(t, 300, "Add 12 and 345. carry")
	dir := t.TempDir() + "/task"
	if _, err := Make(context.Background(), Options{Name: "arithmetic", Out: dir, Seed: 5, Train: 23, Test: 9, Levels: []int{1}}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Encode(tok, 256)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, tok
}

// rowTexts are, for each row of a batch, what it reads and what its loss is over.
func rowTexts(t *testing.T, b data.Batch, tok *data.Tokenizer) (inputs, learned []string) {
	t.Helper()
	eos, _ := tok.EOS()
	for i := range b.Sequences() {
		row, targets := b.Inputs[i*b.Time:(i+1)*b.Time], b.Targets[i*b.Time:(i+1)*b.Time]
		var counted []int32
		last := 0
		for k, target := range targets {
			if target < 0 {
				continue
			}
			// Each target is the token after its input.
			if k+1 < b.Time && targets[k] != eos && row[k+1] != target {
				t.Errorf("row %d: the target at %d is %d, the next input %d", i, k, target, row[k+1])
			}
			counted, last = append(counted, target), k
		}
		if counted[len(counted)-1] != eos {
			t.Errorf("row %d does not learn the end of text", i)
		}
		for k := last + 1; k < b.Time; k++ {
			if row[k] != 0 || targets[k] != -1 {
				t.Errorf("row %d: position %d is behind the end and holds %d, %d", i, k, row[k], targets[k])
			}
		}
		inputs = append(inputs, tok.Decode(row[:last+1]))
		learned = append(learned, tok.Decode(counted[:len(counted)-1]))
	}
	return inputs, learned
}

// An epoch has every example once, in an order of its own; the loss is over responses and their end alone; rows stand
// beside each other and nothing of one is in another; and where a loader starts does not matter.
func TestCorpus_Loader(t *testing.T) {
	s, c, tok := encoded(t)
	const sequences = 4
	perEpoch := StepsPerEpoch(len(s.Train()), sequences)
	if perEpoch != 6 {
		t.Fatalf("%d steps an epoch, want 6", perEpoch)
	}
	want := map[string]string{}
	for _, e := range s.Train() {
		want[Prompt(e)+Response(e)] = Response(e)
	}
	for _, order := range []string{data.Shuffled, data.Sequential} {
		l, err := c.Loader(LoaderOptions{Sequences: sequences, Seed: 3, Order: order})
		if err != nil {
			t.Fatal(err)
		}
		var epochs [2][]string
		var batches []data.Batch
		read := int64(0) // tokens that the loss was over
		for step := range 2 * perEpoch {
			b, err := l.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Read(LoaderOptions{Sequences: sequences, Seed: 3, Order: order}, step); got != read {
				t.Errorf("%s: %d tokens before step %d, want %d", order, got, step, read)
			}
			read += int64(b.Counted())
			batches = append(batches, b)
			if n := b.Sequences(); b.Step != step || b.Epoch != step/perEpoch || b.Time%32 != 0 || n > sequences || (n < sequences) != (step%perEpoch == perEpoch-1) {
				t.Errorf("%s: step %d, epoch %d, %d × %d tokens", order, b.Step, b.Epoch, n, b.Time)
			}
			inputs, learned := rowTexts(t, b, tok)
			for i, text := range inputs {
				if want[text] != learned[i] || learned[i] == "" {
					t.Errorf("%s: %q learns %q, want %q", order, text, learned[i], want[text])
				}
			}
			epochs[b.Epoch] = append(epochs[b.Epoch], inputs...)
		}
		if train, _ := c.Counted(); read != 2*train {
			t.Errorf("%s: the loss is over %d tokens in two epochs, want twice %d", order, read, train)
		}
		if same := slices.Equal(epochs[0], epochs[1]); same != (order == data.Sequential) {
			t.Errorf("%s: two epochs have the same order: %v", order, same)
		}
		for e, list := range epochs {
			if slices.Sort(list); len(slices.Compact(list)) != len(s.Train()) {
				t.Errorf("%s: epoch %d has not every example once", order, e)
			}
		}
		later, err := c.Loader(LoaderOptions{Sequences: sequences, Seed: 3, Order: order, Start: 5})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := later.Next(context.Background()); err != nil || fmt.Sprint(b) != fmt.Sprint(batches[5]) {
			t.Errorf("%s: from step 5 on comes something else (%v)", order, err)
		}
	}
}

// The longest example is the longest one that either side delivers.
func TestCorpus_Longest(t *testing.T) {
	s, c, tok := encoded(t)
	want := 0
	see := func(b data.Batch) {
		for k, target := range b.Targets {
			if target >= 0 {
				want = max(want, k+1)
			}
		}
	}
	l, err := c.Loader(LoaderOptions{Sequences: 1, Order: data.Sequential})
	if err != nil {
		t.Fatal(err)
	}
	for range s.Train() {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		see(b)
	}
	for b, err := range c.Batches(0, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		see(b)
	}
	if got := c.Longest(); got != want || want < 70 {
		t.Errorf("the longest of %d, want %d", got, want)
	}
	// A context that ends within it cuts it, and no batch is longer.
	cut := want - 1
	short, err := s.Encode(tok, cut)
	if err != nil {
		t.Fatal(err)
	}
	long := 0
	for b, err := range short.Batches(0, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		long = max(long, b.Time)
	}
	l, err = short.Loader(LoaderOptions{Sequences: len(s.Train()), Order: data.Sequential})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Next(context.Background())
	if got := short.Longest(); err != nil || got != cut || max(long, b.Time) != cut {
		t.Errorf("in a context of %d: the longest of %d, batches of %d and %d, %v", cut, got, long, b.Time, err)
	}
}

// The test set comes in its order, whole or up to a number of tokens that the loss is over, whatever the batch.
func TestCorpus_Batches(t *testing.T) {
	s, c, tok := encoded(t)
	_, all := c.Counted()
	for _, tc := range []struct {
		sequences, rows int
		most            int64
	}{{1, 9, 0}, {4, 9, 0}, {100, 9, all}, {3, 8, all - 1}, {2, 1, 1}} {
		var got []string
		counted := 0
		for b, err := range c.Batches(0, tc.sequences, tc.most) {
			if err != nil {
				t.Fatal(err)
			}
			_, learned := rowTexts(t, b, tok)
			got = append(got, learned...)
			counted += b.Counted()
		}
		if len(got) != tc.rows || (tc.rows == 9) != (int64(counted) == all) {
			t.Errorf("%+v: %d rows, %d tokens of %d", tc, len(got), counted, all)
		}
		for i, text := range got {
			if text != Response(s.Test()[i]) {
				t.Errorf("%+v: row %d learns %q, want %q", tc, i, text, Response(s.Test()[i]))
			}
		}
	}
	text, ends := 0, 0
	for _, e := range s.Test() {
		text += len(Response(e))
		ends++ // each has a token for its end, of no bytes
	}
	if _, tokens := c.Counted(); c.BytesPerToken() != float64(text)/float64(tokens) || tokens <= int64(ends) {
		t.Errorf("%v bytes a token, want %d bytes of %d", c.BytesPerToken(), text, tokens)
	}
	first, err := s.First(2)
	if err != nil || len(first.Test()) != 2 || first.Digest() == s.Digest() || !strings.HasPrefix(first.Digest(), s.Digest()) {
		t.Errorf("the first two: %d, %v", len(first.Test()), err)
	}
	if whole, err := s.First(99); err != nil || whole != s {
		t.Errorf("more than there are: %v", err)
	}
}
