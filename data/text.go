package data

import (
	"context"
	"errors"
	"io"

	"plasticity/record"
)

// readText reads a file that is one document, whatever bytes it has.
func readText(ctx context.Context, in input, emit func(piece) error) error {
	f, err := openInput(in)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	t := textReader{in: in, r: f, emit: emit}
	for !t.last {
		if ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "read input %s", in.path)
		}
		if err := t.block(); err != nil {
			return err
		}
	}
	return nil
}

// textReader cuts a file into pieces as it is read.
type textReader struct {
	in    input
	r     io.Reader
	emit  func(piece) error
	buf   []byte // read but not handed on
	read  int64
	begun bool
	last  bool // all is handed on
}

// block reads on and hands on what is certain.
func (t *textReader) block() error {
	have := len(t.buf)
	if cap(t.buf) < have+pieceSize {
		t.buf = append(make([]byte, 0, max(2*pieceSize, 2*have)), t.buf...)
	}
	n, err := io.ReadFull(t.r, t.buf[have:have+pieceSize])
	t.buf = t.buf[:have+n]
	t.read += int64(n)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		t.last = true
	case err != nil:
		return record.FailIO(err, "read input %s at byte %d", t.in.path, t.read)
	}
	if t.read == int64(n) {
		if format := packed(t.buf); format != "" {
			return bad("input %s: a %s file where text is expected: unpack or convert it first", t.in.path, format)
		}
	}
	text := string(t.buf)
	cut := len(text)
	if !t.last {
		cut = cutPoint(text)
		if cut == 0 && len(text) >= maxPiece {
			cut = forcedCut(text)
		}
		if cut == 0 {
			return nil
		}
	}
	p := piece{text: text[:cut], first: !t.begun, last: t.last, read: t.read}
	t.begun = true
	t.buf = t.buf[:copy(t.buf, t.buf[cut:])]
	return t.emit(p)
}
