package data

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sort"
	"syscall"
	"time"

	"plasticity/record"
)

// maxOpenShards is how many shards a reader keeps open.
const maxOpenShards = 16

// reader reads tokens of a set by their place. It is not safe for concurrent use.
type reader struct {
	set  *Set
	open map[int]io.ReaderAt
	raw  []byte
	read func(r io.ReaderAt, b []byte, offset int64) error
}

// newReader returns a reader; close it.
func newReader(set *Set) *reader {
	return &reader{set: set, open: make(map[int]io.ReaderAt), read: readFull}
}

// readFull fills b from offset on.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	return err
}

// close closes what is open.
func (r *reader) close() error {
	var err error
	for i, f := range r.open {
		if c, ok := f.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		delete(r.open, i)
	}
	return err
}

// tokens fills ids with the tokens from place start on.
func (r *reader) tokens(ids []int32, start int64) error {
	shards := r.set.shards
	i := sort.Search(len(shards), func(i int) bool { return shards[i].start > start }) - 1
	for len(ids) > 0 {
		if i < 0 || i >= len(shards) {
			return record.Fail(record.Internal, "%s: token %d of %d asked for", r.set.dir, start, r.set.Tokens())
		}
		n := min(int64(len(ids)), shards[i].start+r.set.manifest.Shards[i].Tokens-start)
		if err := r.shardTokens(ids[:n], i, start-shards[i].start); err != nil {
			return err
		}
		ids, start, i = ids[n:], start+n, i+1
	}
	return nil
}

// shardTokens fills ids with the tokens of shard i from its token start on.
func (r *reader) shardTokens(ids []int32, i int, start int64) error {
	f, err := r.shard(i)
	if err != nil {
		return err
	}
	width, vocab, path := tokenBytes(r.set.Vocab()), r.set.Vocab(), r.set.shards[i].path
	if need := len(ids) * width; cap(r.raw) < need {
		r.raw = make([]byte, need)
	}
	raw := r.raw[:len(ids)*width]
	offset := headerSize + start*int64(width)
	if err := r.retry(f, raw, offset); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return bad("shard %s: it ends before byte %d: it was cut off since it was opened", path, offset+int64(len(raw)))
		}
		return record.FailIO(err, "read shard %s at byte %d", path, offset)
	}
	if k := outside(raw, width, vocab); k >= 0 {
		return r.set.outsideError(path, raw[k:], offset+k)
	}
	for k := range ids {
		ids[k] = int32(tokenAt(raw[k*width:], width))
	}
	return nil
}

// readAttempts is how often a read that failed in the device or the network is tried.
const readAttempts = 3

// retry reads, and reads again after errors that may pass.
func (r *reader) retry(f io.ReaderAt, raw []byte, offset int64) error {
	var err error
	for attempt := range readAttempts {
		if err = r.read(f, raw, offset); err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.EAGAIN) {
			return err
		}
		time.Sleep(time.Duration(attempt+1) * 20 * time.Millisecond) // pacing towards a device, not synchronisation
	}
	return fmt.Errorf("%d attempts: %w", readAttempts, err)
}

// shard returns shard i, open.
func (r *reader) shard(i int) (io.ReaderAt, error) {
	if f, ok := r.open[i]; ok {
		return f, nil
	}
	if len(r.open) >= maxOpenShards {
		if err := r.close(); err != nil {
			return nil, record.FailIO(err, "close shard")
		}
	}
	f, info, err := openShard(r.set.shards[i].path)
	if err != nil {
		return nil, err
	}
	if err := r.set.same(i, info); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.open[i] = f
	return f, nil
}

// same returns an error when shard i is not the file it was when the set was opened.
func (s *Set) same(i int, info os.FileInfo) error {
	was := s.shards[i].info
	if info.Size() != was.Size() || !info.ModTime().Equal(was.ModTime()) || !os.SameFile(info, was) {
		return bad("shard %s: it was changed since it was opened (%d bytes of %s, then %d of %s): put the right file back and start again",
			s.shards[i].path, was.Size(), was.ModTime().UTC().Format(time.RFC3339Nano), info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// unchanged checks all shards.
func (s *Set) unchanged() error {
	for i := range s.shards {
		info, err := os.Lstat(s.shards[i].path)
		if errors.Is(err, os.ErrNotExist) {
			return bad("shard %s: it disappeared since it was opened: put it back and start again", s.shards[i].path)
		}
		if err != nil {
			return record.FailIO(err, "read shard")
		}
		if err := s.same(i, info); err != nil {
			return err
		}
	}
	return nil
}

// WindowCount returns how many windows of context tokens the set has: (tokens−1)/context, since every window needs one
// token more for its last target.
func (s *Set) WindowCount(context int) int64 {
	if context < 1 {
		return 0
	}
	return max(0, (s.Tokens()-1)/int64(context))
}

// Inputs returns how many tokens the windows of Batches have together.
func (s *Set) Inputs(context int, maxTokens int64) int64 {
	n := s.WindowCount(context)
	if n > 0 && maxTokens > 0 {
		n = min(n, max(1, maxTokens/int64(context)))
	}
	return n * int64(context)
}

// Batches returns the first windows of the set in file order, the same every time, for evaluation: at least one, at most
// as many as have maxTokens inputs (0: all), sequences to a batch; the last batch may have fewer. Step counts batches. The
// slices of a batch are its own. An error ends the sequence.
func (s *Set) Batches(context, sequences int, maxTokens int64) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if context < 1 || sequences < 1 {
			yield(Batch{}, usage("windows of %d tokens, %d to a batch: both must be positive", context, sequences))
			return
		}
		n := s.Inputs(context, maxTokens) / int64(context)
		if n == 0 {
			yield(Batch{}, s.tooShort(context))
			return
		}
		r := newReader(s)
		defer r.close() //nolint:errcheck // only read
		for first := int64(0); first < n; first += int64(sequences) {
			b := NewBatch(int(min(int64(sequences), n-first)), context)
			b.Step = first / int64(sequences)
			for row := range b.Sequences() {
				if err := r.window(&b, row, context, first+int64(row)); err != nil {
					yield(Batch{}, err)
					return
				}
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}

// Windows is Batches with one window a batch.
func (s *Set) Windows(context int, maxTokens int64) iter.Seq2[Batch, error] {
	return s.Batches(context, 1, maxTokens)
}

// tooShort is the error for a set without a single window.
func (s *Set) tooShort(context int) error {
	return bad("%s: %d tokens, a single window of context %d needs %d: prepare more text or choose a shorter context",
		s.dir, s.Tokens(), context, context+1)
}
