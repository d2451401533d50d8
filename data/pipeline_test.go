package data

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPrepare_ShardFormat(t *testing.T) {
	out, s := prepare(t, prose(10), nil)
	file, err := os.ReadFile(filepath.Join(out, "train", "train-00000.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(file) != headerSize+2*int(s.Train.Tokens) {
		t.Errorf("%d bytes for %d tokens", len(file), s.Train.Tokens)
	}
	tokenizer, err := LoadTokenizer(filepath.Join(out, TokenizerFile))
	if err != nil {
		t.Fatal(err)
	}
	var want []int32
	for _, text := range splitTexts(t, filepath.Join(out, "train")) {
		want = append(append(want, tokenizer.Encode(text)...), 0)
	}
	for i, id := range want {
		if got := binary.LittleEndian.Uint16(file[headerSize+2*i:]); int32(got) != id {
			t.Fatalf("token %d is %d, want %d", i, got, id)
		}
	}
}

// A long document has the tokens that it has in one piece, added ones too, whatever is where a piece ends.
func TestPrepare_PiecesKeepAddedTokens(t *testing.T) {
	tokenizer := withAdded(t)
	dir := t.TempDir()
	put(t, dir, TokenizerFile, string(tokenizer.JSON()))
	for name, unit := range map[string]string{"words": "reading the senate  ", "address": " |||IP_ADDRESS|||", "blanks": "  ", "one token": "ing the"} {
		text := "x" + strings.Repeat(unit, (5*pieceSize+1000)/len(unit))
		out, s := prepare(t, []string{text, "other"}, func(o *PrepareOptions) { o.Tokenizer, o.ValFraction = dir, 1e-9 })
		side := "train"
		if s.Val.Bytes > s.Train.Bytes {
			side = "val"
		}
		set := open(t, filepath.Join(out, side))
		got := make([]int32, set.Tokens())
		r := newReader(set)
		if err := errors.Join(r.tokens(got, 0), r.close()); err != nil {
			t.Fatal(err)
		}
		if want := append(tokenizer.Encode(text), set.EOS()); !slices.Equal(got, want) {
			t.Errorf("%s: %d tokens, want %d", name, len(got), len(want))
		}
	}
}

func TestShardWriter_WideTokens(t *testing.T) {
	for _, c := range []struct{ vocab, width int }{{65535, 2}, {65536, 4}, {100_352, 4}} {
		w := shardWriter{dir: t.TempDir(), header: shardHeader{vocab: c.vocab, width: tokenBytes(c.vocab)}, limit: 1000}
		ids := []int32{0, 1, int32(c.vocab - 1)}
		if err := w.write(ids); err != nil {
			t.Fatal(err)
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(filepath.Join(w.dir, w.shards[0].File))
		if err != nil {
			t.Fatal(err)
		}
		h, err := parseHeader(file)
		if err != nil || h.width != c.width || h.tokens != 3 || len(file) != headerSize+3*c.width {
			t.Errorf("%d: %+v, %d bytes, %v", c.vocab, h, len(file), err)
		}
		if got := tokenAt(file[headerSize+2*c.width:], c.width); got != uint32(c.vocab-1) {
			t.Errorf("%d: last token %d", c.vocab, got)
		}
	}
}

// A corpus of 40 MB must not need memory in proportion: what waits between reading and writing is bounded.
func TestPrepare_MemoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "in.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := jsonLines(t, prose(1000))
	for size := 0; size < 40<<20; size += len(lines) {
		if _, err := io.WriteString(f, lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var start runtime.MemStats
	runtime.ReadMemStats(&start)
	peak := watchHeap(t)
	_, err = Prepare(context.Background(), PrepareOptions{
		In: []string{f.Name()}, Tokenizer: "testdata/tokenizer.json", Out: filepath.Join(dir, "out"), ValFraction: 0.1, workers: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak()) - int64(start.HeapInuse); grown > 24<<20 {
		t.Errorf("the heap grew by %d MB for a file of 40 MB", grown>>20)
	}
}

// watchHeap samples the heap until the returned function is called, which gives the largest sample.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	stop, peak := make(chan struct{}), uint64(0)
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	})
	return func() uint64 {
		close(stop)
		wait.Wait()
		return peak
	}
}
