package data

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"plasticity/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// batches returns n batches from step start on.
func batches(t testing.TB, set *Set, o LoaderOptions, n int) []Batch {
	t.Helper()
	l, err := NewLoader(set, o)
	check(t, err)
	var all []Batch
	for range n {
		b, err := l.Next(context.Background())
		check(t, err)
		all = append(all, b)
	}
	check(t, l.Close())
	return all
}

func TestLoader_BatchesFollowTheDefinition(t *testing.T) {
	set := open(t, manyShards(t))
	windows := allWindows(t, set)
	n := int64(len(windows))
	for _, order := range []string{Shuffled, Sequential} {
		o := LoaderOptions{Context: 32, Sequences: 3, Seed: 5, Order: order}
		for s, b := range batches(t, set, o, int(n)) { // three epochs
			if b.Step != int64(s) || b.Epoch != int64(s)*3/n {
				t.Fatalf("step %d has step %d of epoch %d", s, b.Step, b.Epoch)
			}
			for row := range 3 {
				sample := int64(s*3 + row)
				window := sample % n
				if order == Shuffled {
					p := NewPermutation(n, 5, sample/n)
					window = p.At(window)
				}
				got := slices.Concat(b.Inputs[row*32:(row+1)*32], b.Targets[row*32:(row+1)*32])
				if diff := cmp.Diff(windows[window], got); diff != "" {
					t.Fatalf("%s step %d row %d (-want +got):\n%s", order, s, row, diff)
				}
			}
		}
	}
}

// Resuming anywhere, several times within an epoch, gives what an uninterrupted run gets.
func TestLoader_ResumeEqualsSkipping(t *testing.T) {
	set := open(t, manyShards(t))
	rapid.Check(t, func(r *rapid.T) {
		o := LoaderOptions{
			Context: rapid.IntRange(1, 64).Draw(r, "context"), Sequences: rapid.IntRange(1, 5).Draw(r, "sequences"), Seed: rapid.Int64().Draw(r, "seed"),
			Order: rapid.SampledFrom([]string{Shuffled, Sequential}).Draw(r, "order"),
		}
		want := batches(t, set, o, 12)
		var got []Batch
		for len(got) < len(want) {
			o.Start = int64(len(got))
			got = append(got, batches(t, set, o, rapid.IntRange(1, len(want)-len(got)).Draw(r, "steps"))...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.Fatal(diff)
		}
	})
}

func TestLoader_EpochReadsEveryWindowOnce(t *testing.T) {
	set := open(t, manyShards(t))
	n := int(set.WindowCount(32))
	o := LoaderOptions{Context: 32, Sequences: 1, Seed: 3, Order: Shuffled}
	all := batches(t, set, o, 2*n)
	first, second := make([]string, n), make([]string, n)
	for i := range n {
		first[i], second[i] = key(all[i]), key(all[n+i])
	}
	if slices.Equal(first, second) {
		t.Error("the second epoch has the order of the first")
	}
	slices.Sort(first)
	slices.Sort(second)
	if !slices.Equal(first, second) {
		t.Error("the second epoch has other windows than the first")
	}
}

// key returns a batch as a string.
func key(b Batch) string {
	var s strings.Builder
	for _, id := range append(b.Inputs, b.Targets...) {
		s.WriteRune(rune(id))
	}
	return s.String()
}

func TestNewLoader_Refusals(t *testing.T) {
	set := open(t, manyShards(t))
	for name, c := range map[string]struct {
		o    LoaderOptions
		code record.Code
	}{
		"context":        {LoaderOptions{Context: 0, Sequences: 1, Order: Shuffled}, record.Usage},
		"sequences":      {LoaderOptions{Context: 1, Sequences: 0, Order: Shuffled}, record.Usage},
		"huge":           {LoaderOptions{Context: 1 << 40, Sequences: 1, Order: Shuffled}, record.Usage},
		"order":          {LoaderOptions{Context: 1, Sequences: 1, Order: "random"}, record.Usage},
		"start":          {LoaderOptions{Context: 1, Sequences: 1, Order: Shuffled, Start: -1}, record.Usage},
		"start too late": {LoaderOptions{Context: 1, Sequences: 1 << 20, Order: Shuffled, Start: 1 << 40}, record.Usage},
		"small vocab":    {LoaderOptions{Context: 1, Sequences: 1, Order: Shuffled, Vocab: goldenVocab - 1}, record.Mismatch},
		"long context":   {LoaderOptions{Context: 1 << 20, Sequences: 1, Order: Shuffled}, record.BadData},
	} {
		if _, err := NewLoader(set, c.o); record.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%d), want code %d", name, err, record.CodeOf(err), c.code)
		}
	}
	l, err := NewLoader(set, LoaderOptions{Context: 8, Sequences: 1, Order: Shuffled, Vocab: 1 << 20})
	check(t, err)
	check(t, l.Close())
}

// A token outside the vocabulary, first or last of a shard, ends the batches at the step that reads it, not before.
func TestLoader_TokenOutsideVocabulary(t *testing.T) {
	for name, offset := range map[string]int{"first": headerSize, "last": headerSize + 199*2} {
		dir := manyShards(t)
		changeFile(t, filepath.Join(dir, shard1), func(b []byte) []byte { b[offset], b[offset+1] = 400&0xff, 400>>8; return b })
		l, err := NewLoader(open(t, dir), LoaderOptions{Context: 10, Sequences: 2, Order: Sequential})
		check(t, err)
		good := 0
		for {
			if _, err = l.Next(context.Background()); err != nil {
				break
			}
			good++
		}
		if want := 200 / 20; name == "first" && good != want-1 { // the last target of the tenth batch is the bad one
			t.Errorf("%s: %d good batches, want %d", name, good, want-1)
		}
		for _, want := range []string{shard1, "token 400", "at byte", "vocabulary of 400"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if _, again := l.Next(context.Background()); record.CodeOf(err) != record.BadData || !errors.Is(again, err) {
			t.Errorf("%s: then %v", name, again)
		}
		check(t, l.Close())
	}
}

func TestLoader_ShardsChangedSinceOpen(t *testing.T) {
	for name, change := range map[string]func(path string){
		"cut off":  func(path string) { check(t, os.Truncate(path, 100)) },
		"gone":     func(path string) { check(t, os.Remove(path)) },
		"touched":  func(path string) { check(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0))) },
		"replaced": func(path string) { changeFile(t, path, func(b []byte) []byte { check(t, os.Remove(path)); return b }) },
	} {
		dir := manyShards(t)
		set := open(t, dir)
		change(filepath.Join(dir, shard1))
		l, err := NewLoader(set, LoaderOptions{Context: 10, Sequences: 2, Order: Shuffled})
		check(t, err)
		if _, err := l.Next(context.Background()); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), shard1) {
			t.Errorf("%s: %v", name, err)
		}
		check(t, l.Close())
	}
}

// bare returns a loader whose goroutine is not started, for tests of build.
func bare(t *testing.T, read func(io.ReaderAt, []byte, int64) error) *Loader {
	t.Helper()
	set := open(t, manyShards(t))
	l := &Loader{set: set, o: LoaderOptions{Context: 8, Sequences: 1, Order: Sequential}, windows: set.WindowCount(8), read: newReader(set), epoch: -1}
	l.batches, l.stop = make(chan delivery, ahead), make(chan struct{})
	l.read.read = read
	return l
}

func TestLoader_PanicSurfacesAtTheNextBatch(t *testing.T) {
	l := bare(t, func(io.ReaderAt, []byte, int64) error { panic("planted") })
	go l.run()
	if _, err := l.Next(context.Background()); record.CodeOf(err) != record.Internal || !strings.Contains(err.Error(), "planted") {
		t.Errorf("%v", err)
	}
	check(t, l.Close())
}

func TestLoader_ReadErrorsAreTriedAgainThenEndInIO(t *testing.T) {
	failures := 2
	l := bare(t, func(r io.ReaderAt, b []byte, offset int64) error {
		if failures > 0 {
			failures--
			return syscall.EIO
		}
		return readFull(r, b, offset)
	})
	if _, err := l.build(0); err != nil {
		t.Errorf("after two failures: %v", err)
	}
	failures = 1 << 30
	if _, err := l.build(1); record.CodeOf(err) != record.IO || !strings.Contains(err.Error(), "train-0000") {
		t.Errorf("%v", err)
	}
	check(t, l.read.close())
}

func TestLoader_CloseAndCancelAtAnyTime(t *testing.T) {
	set := open(t, manyShards(t))
	for n := range 5 {
		l, err := NewLoader(set, LoaderOptions{Context: 8, Sequences: 1, Order: Shuffled})
		check(t, err)
		for range n {
			_, err := l.Next(context.Background())
			check(t, err)
		}
		check(t, l.Close())
		check(t, l.Close())
		if _, err := l.Next(context.Background()); record.CodeOf(err) != record.Internal {
			t.Errorf("after Close: %v", err)
		}
	}
	block := make(chan struct{})
	l := bare(t, func(io.ReaderAt, []byte, int64) error { <-block; return io.EOF })
	go l.run()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Next(ctx); record.CodeOf(err) != record.Stopped {
		t.Errorf("cancelled: %v", err)
	}
	close(block)
	check(t, l.Close())
}

func BenchmarkLoader(b *testing.B) {
	set := open(b, manyShards(b))
	l, err := NewLoader(set, LoaderOptions{Context: 128, Sequences: 16, Seed: 1, Order: Shuffled})
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Next(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	check(b, l.Close())
}
