package data

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"plasticity/record"
)

// A shard is a header of 64 bytes and then the tokens, little-endian. The header, little-endian as well:
//
//	 0  8 bytes  magic
//	 8  uint32   version of the format
//	12  uint32   bytes a token: 2, or 4 for vocabularies of 65,536 tokens and more
//	16  uint64   number of tokens
//	24  uint32   vocabulary; every token is below it
//	28  uint32   place of the shard in its split, from 0
//	32  16 bytes beginning of the preparation's digest: shards of different preparations do not mix
//	48  uint32   split: 0 train, 1 val
//	52  8 bytes  zero
//	60  uint32   CRC-32 (IEEE) of the bytes before
const (
	headerSize   = 64
	shardMagic   = "PLTK\r\n\x1a\n" // a change of line ends in transfer breaks it
	shardVersion = 1
	wideVocab    = 1 << 16
	// maxShardTokens is where a new shard begins: half a gigabyte of two-byte tokens.
	maxShardTokens = 1 << 28
	prepareIDSize  = 16
)

// tokenBytes returns the bytes a token takes in a shard.
func tokenBytes(vocab int) int {
	if vocab >= wideVocab {
		return 4
	}
	return 2
}

// shardHeader is the header of a shard.
type shardHeader struct {
	width   int // bytes a token
	tokens  int64
	vocab   int
	index   int
	split   int
	prepare [prepareIDSize]byte
}

// marshal returns the header as it stands in a file.
func (h shardHeader) marshal() []byte {
	b := make([]byte, headerSize)
	copy(b, shardMagic)
	binary.LittleEndian.PutUint32(b[8:], shardVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(h.width))
	binary.LittleEndian.PutUint64(b[16:], uint64(h.tokens))
	binary.LittleEndian.PutUint32(b[24:], uint32(h.vocab))
	binary.LittleEndian.PutUint32(b[28:], uint32(h.index))
	copy(b[32:], h.prepare[:])
	binary.LittleEndian.PutUint32(b[48:], uint32(h.split))
	binary.LittleEndian.PutUint32(b[60:], crc32.ChecksumIEEE(b[:60]))
	return b
}

// parseHeader reads a header and checks it in itself.
func parseHeader(b []byte) (shardHeader, error) {
	if len(b) < headerSize {
		return shardHeader{}, fmt.Errorf("%d bytes, a header alone has %d: cut off", len(b), headerSize)
	}
	b = b[:headerSize]
	if string(b[:8]) != shardMagic {
		return shardHeader{}, fmt.Errorf("magic %q, want %q: not a token shard, or changed in transfer", b[:8], shardMagic)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != shardVersion {
		return shardHeader{}, fmt.Errorf("version %d, this program knows %d", v, shardVersion)
	}
	if got, want := binary.LittleEndian.Uint32(b[60:]), crc32.ChecksumIEEE(b[:60]); got != want {
		return shardHeader{}, fmt.Errorf("header checksum %08x, want %08x: damaged", got, want)
	}
	width := binary.LittleEndian.Uint32(b[12:])
	tokens := binary.LittleEndian.Uint64(b[16:])
	vocab := binary.LittleEndian.Uint32(b[24:])
	index := binary.LittleEndian.Uint32(b[28:])
	split := binary.LittleEndian.Uint32(b[48:])
	switch {
	case vocab == 0 || vocab > maxVocab:
		return shardHeader{}, fmt.Errorf("vocab %d, want 1 to %d", vocab, maxVocab)
	case int(width) != tokenBytes(int(vocab)):
		return shardHeader{}, fmt.Errorf("%d bytes a token, want %d for a vocabulary of %d", width, tokenBytes(int(vocab)), vocab)
	case tokens == 0 || tokens > maxShardTokens:
		return shardHeader{}, fmt.Errorf("%d tokens, want 1 to %d", tokens, maxShardTokens)
	case index >= maxShards:
		return shardHeader{}, fmt.Errorf("place %d, want less than %d", index, maxShards)
	case split > 1:
		return shardHeader{}, fmt.Errorf("split %d, want 0 or 1", split)
	case binary.LittleEndian.Uint64(b[52:]) != 0:
		return shardHeader{}, errors.New("the spare bytes 52 to 59 are not zero: made by a newer program")
	}
	return shardHeader{int(width), int64(tokens), int(vocab), int(index), int(split), [prepareIDSize]byte(b[32:48])}, nil
}

// shardWriter writes the tokens of one split into shards of a new folder.
type shardWriter struct {
	dir    string
	header shardHeader
	limit  int64 // tokens a shard
	file   *os.File
	buf    *bufio.Writer
	raw    []byte
	shards []Shard
	tokens int64 // of finished shards
}

// write appends tokens.
func (w *shardWriter) write(ids []int32) error {
	for len(ids) > 0 {
		if w.file == nil {
			if err := w.begin(); err != nil {
				return err
			}
		}
		n := min(int64(len(ids)), w.limit-w.header.tokens)
		w.raw = appendTokenBytes(w.raw[:0], ids[:n], w.header.width)
		if _, err := w.buf.Write(w.raw); err != nil {
			return record.FailIO(err, "write %s", w.file.Name())
		}
		w.header.tokens += n
		ids = ids[n:]
		if w.header.tokens == w.limit {
			if err := w.end(); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendTokenBytes appends tokens in the form of a shard.
func appendTokenBytes(raw []byte, ids []int32, width int) []byte {
	if width == 2 {
		for _, id := range ids {
			raw = binary.LittleEndian.AppendUint16(raw, uint16(id))
		}
		return raw
	}
	for _, id := range ids {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
	}
	return raw
}

// begin opens the next shard.
func (w *shardWriter) begin() error {
	if len(w.shards) >= maxShards {
		return bad("more than %d shards of %d tokens: divide the input", maxShards, w.limit)
	}
	name := fmt.Sprintf("%s-%05d.bin", splitName(w.header.split), len(w.shards))
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return record.FailIO(err, "write shard")
	}
	w.file, w.buf = f, bufio.NewWriterSize(f, 1<<20)
	w.header.index, w.header.tokens = len(w.shards), 0
	if _, err := w.buf.Write(make([]byte, headerSize)); err != nil {
		return record.FailIO(err, "write %s", f.Name())
	}
	return nil
}

// end writes the header of the open shard, now that its tokens are counted, reads the file back for its digest and
// closes it.
func (w *shardWriter) end() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	err := w.buf.Flush()
	if err == nil {
		_, err = f.WriteAt(w.header.marshal(), 0)
	}
	sum := sha256.New()
	if err == nil {
		_, err = io.Copy(sum, io.NewSectionReader(f, 0, headerSize+w.header.tokens*int64(w.header.width)))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return record.FailIO(err, "write %s", f.Name())
	}
	w.shards = append(w.shards, Shard{filepath.Base(f.Name()), w.header.tokens, hex.EncodeToString(sum.Sum(nil))})
	w.tokens += w.header.tokens
	return nil
}

// abandon closes an open shard after a failure; its folder is removed by whoever made it.
func (w *shardWriter) abandon() {
	if w.file != nil {
		w.file.Close() //nolint:errcheck // its content does not matter any more
		w.file = nil
	}
}
