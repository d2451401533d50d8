package data

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"plasticity/record"
)

// Set is a prepared split that was opened: its manifest and what its shards looked like then. It holds no file open and
// is safe for concurrent use.
type Set struct {
	dir      string
	manifest Manifest
	shards   []shardFile
}

// shardFile is a shard as it was when the set was opened.
type shardFile struct {
	path  string
	start int64 // place of its first token in the split
	info  fs.FileInfo
}

// Open opens a prepared split (OUT/train or OUT/val). It checks the manifest, that every shard is there as a regular file
// of the right size, and the headers; Verify checks the content too. Errors are Failures that name file, field and
// value.
func Open(dir string) (*Set, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	s := &Set{dir: dir, manifest: *m}
	start := int64(0)
	for i := range m.Shards {
		info, err := s.checkShard(i)
		if err != nil {
			return nil, err
		}
		s.shards = append(s.shards, shardFile{filepath.Join(dir, m.Shards[i].File), start, info})
		start += m.Shards[i].Tokens
	}
	return s, nil
}

// checkShard checks the file and header of shard i.
func (s *Set) checkShard(i int) (fs.FileInfo, error) {
	path := filepath.Join(s.dir, s.manifest.Shards[i].File)
	f, info, err := openShard(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	head := make([]byte, headerSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, record.FailIO(err, "read shard %s", path)
	}
	h, err := parseHeader(head[:n])
	if err != nil {
		return nil, bad("shard %s: %w: prepare the data again", path, err)
	}
	m := &s.manifest
	id, err := m.prepareID()
	if err != nil {
		return nil, err
	}
	want := shardHeader{tokenBytes(m.Vocab), m.Shards[i].Tokens, m.Vocab, i, 0, id}
	if m.Split == splitName(1) {
		want.split = 1
	}
	switch {
	case h.tokens != want.tokens:
		err = bad("shard %s: the header says %d tokens, the manifest %d", path, h.tokens, want.tokens)
	case h.vocab != want.vocab:
		err = bad("shard %s: the header says vocab %d, the manifest %d", path, h.vocab, want.vocab)
	case h.index != want.index:
		err = bad("shard %s: the header says place %d, the manifest %d: shards were renamed or reordered", path, h.index, want.index)
	case h.split != want.split:
		err = bad("shard %s: the header says split %s, the manifest %s", path, splitName(h.split), m.Split)
	case h.prepare != want.prepare:
		err = bad("shard %s: it belongs to preparation %x…, the manifest to %x…: put the right shard back", path, h.prepare, want.prepare)
	case info.Size() != headerSize+h.tokens*int64(h.width):
		err = bad("shard %s: %d bytes, want %d for %d tokens of %d bytes: cut off or longer than it should be",
			path, info.Size(), headerSize+h.tokens*int64(h.width), h.tokens, h.width)
	}
	return info, err
}

// openShard opens a regular file, never through a link and never waiting for a pipe.
func openShard(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, nil, bad("shard %s: a symbolic link, not a regular file: put the file itself there", path)
	case errors.Is(err, unix.ENXIO):
		return nil, nil, bad("shard %s: not a regular file: put the shard back", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, bad("shard %s: missing: put it back or prepare the data again", path)
	case err != nil:
		return nil, nil, record.FailIO(err, "read shard")
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = bad("shard %s: not a regular file (%s): put the shard back", path, info.Mode().Type())
	} else if err != nil {
		err = record.FailIO(err, "read shard %s", path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Verify reads every shard and the tokenizer and compares them with their digests; it also checks that no token is
// outside the vocabulary. It reads all data once.
func (s *Set) Verify(ctx context.Context) error {
	for i := range s.shards {
		if err := s.verifyShard(ctx, i); err != nil {
			return err
		}
	}
	file, err := readSmall(s.TokenizerPath(), maxTokenizerFile)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != s.manifest.TokenizerSHA256 {
		return bad("%s: SHA-256 %x, the manifest says %s: not the tokenizer that made these shards", s.TokenizerPath(), sum, s.manifest.TokenizerSHA256)
	}
	return nil
}

func (s *Set) verifyShard(ctx context.Context, i int) error {
	path := s.shards[i].path
	f, _, err := openShard(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	width := tokenBytes(s.manifest.Vocab)
	for offset := int64(0); ; {
		if ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "verify %s", path)
		}
		n, err := io.ReadFull(f, buf)
		sum.Write(buf[:n])
		first := int64(0)
		if offset == 0 {
			first = min(headerSize, int64(n))
		}
		if k := outside(buf[first:n], width, s.manifest.Vocab); k >= 0 {
			return s.outsideError(path, buf[first+k:], offset+first+k)
		}
		offset += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return record.FailIO(err, "read shard %s at byte %d", path, offset)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.manifest.Shards[i].SHA256 {
		return bad("shard %s: SHA-256 %s, the manifest says %s: its content was changed; put the right file back or prepare the data again",
			path, got, s.manifest.Shards[i].SHA256)
	}
	return nil
}

// outside returns where in raw the first token stands that is not below vocab; −1 when there is none.
func outside(raw []byte, width, vocab int) int64 {
	for k := 0; k+width <= len(raw); k += width {
		if tokenAt(raw[k:], width) >= uint32(vocab) {
			return int64(k)
		}
	}
	return -1
}

// outsideError is the error for a token, at the beginning of raw and at offset in the file, that is not in the vocabulary.
func (s *Set) outsideError(path string, raw []byte, offset int64) error {
	return bad("shard %s: token %d at byte %d is not below the vocabulary of %d: put the right file back or prepare the data again",
		path, tokenAt(raw, tokenBytes(s.manifest.Vocab)), offset, s.manifest.Vocab)
}

// tokenAt returns the token that raw begins with.
func tokenAt(raw []byte, width int) uint32 {
	if width == 2 {
		return uint32(binary.LittleEndian.Uint16(raw))
	}
	return binary.LittleEndian.Uint32(raw)
}

// Dir returns the folder.
func (s *Set) Dir() string { return s.dir }

// Manifest returns a copy of the manifest.
func (s *Set) Manifest() Manifest { return s.manifest }

// Split returns "train" or "val".
func (s *Set) Split() string { return s.manifest.Split }

// Tokens returns the number of tokens, ends of documents included.
func (s *Set) Tokens() int64 { return s.manifest.Tokens }

// Documents returns the number of documents.
func (s *Set) Documents() int64 { return s.manifest.Documents }

// Bytes returns the bytes of text, as UTF-8.
func (s *Set) Bytes() int64 { return s.manifest.Bytes }

// Vocab returns the size of the vocabulary; every token is below it.
func (s *Set) Vocab() int { return s.manifest.Vocab }

// EOS returns the token that ends each document.
func (s *Set) EOS() int32 { return s.manifest.EOS }

// Digest returns the digest of what a run reads from the set.
func (s *Set) Digest() string { return s.manifest.Digest }

// TokenizerDigest returns the SHA-256 of the tokenizer.json.
func (s *Set) TokenizerDigest() string { return s.manifest.TokenizerSHA256 }

// Source says in words where the text comes from.
func (s *Set) Source() string { return s.manifest.Source }

// BytesPerToken returns the mean bytes of text a token stands for; 0 when there are no tokens. Bits per byte are the loss
// in nats per token divided by ln 2 and by it.
func (s *Set) BytesPerToken() float64 {
	if s.manifest.Tokens == 0 {
		return 0
	}
	return float64(s.manifest.Bytes) / float64(s.manifest.Tokens)
}

// TokenizerPath returns where the tokenizer.json lies.
func (s *Set) TokenizerPath() string {
	return filepath.Join(s.dir, filepath.FromSlash(s.manifest.Tokenizer))
}

// Tokenizer loads the tokenizer that made the shards and checks its digest.
func (s *Set) Tokenizer() (*Tokenizer, error) {
	t, err := LoadTokenizer(s.TokenizerPath())
	if err != nil {
		return nil, err
	}
	if t.Digest() != s.TokenizerDigest() {
		return nil, bad("%s: SHA-256 %s, the manifest says %s: not the tokenizer that made these shards", s.TokenizerPath(), t.Digest(), s.TokenizerDigest())
	}
	if t.Vocab() != s.Vocab() {
		return nil, bad("%s: %d tokens, the manifest says %d", s.TokenizerPath(), t.Vocab(), s.Vocab())
	}
	if eos, _ := t.EOS(); eos != s.EOS() {
		return nil, bad("%s: its end of text is token %d, the manifest says %d", s.TokenizerPath(), eos, s.EOS())
	}
	return t, nil
}
