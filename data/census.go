package data

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// mark says what becomes of a document.
type mark uint8

const (
	markTrain mark = iota
	markVal
	markEmpty
)

// marks is a list of marks, two bits each, for corpora of hundreds of millions of documents.
type marks struct {
	bits []uint8
	n    int64
}

func (m *marks) add(k mark) {
	if m.n%4 == 0 {
		m.bits = append(m.bits, 0)
	}
	m.n++
	m.set(m.n-1, k)
}

func (m *marks) set(i int64, k mark) {
	shift := i % 4 * 2
	m.bits[i/4] = m.bits[i/4]&^(3<<shift) | uint8(k)<<shift
}

func (m *marks) at(i int64) mark { return mark(m.bits[i/4] >> (i % 4 * 2) & 3) }

// fileCensus is what the first reading of a file found.
type fileCensus struct {
	marks       marks
	trainBytes  int64
	bytes       int64
	count       [3]int64 // documents by mark
	digest      [sha256.Size]byte
	least, most draw // the documents nearest to going to val, and farthest from it
}

// draw is the lot of a document: below the fraction for val it goes there. Copies have one lot.
type draw struct {
	value uint64
	bytes int64   // of the document
	at    []int64 // where it stands in its file; empty: there is none
}

// take makes d the lot of a document if that is better, or notes another copy.
func (d *draw) take(value uint64, bytes, document int64, better func(a, b uint64) bool) {
	switch {
	case len(d.at) == 0 || better(value, d.value):
		*d = draw{value, bytes, []int64{document}}
	case value == d.value:
		d.at = append(d.at, document)
	}
}

func less(a, b uint64) bool { return a < b }
func more(a, b uint64) bool { return a > b }

// census is what the first reading of all inputs found: which documents there are and where each goes.
type census struct {
	files      []fileCensus
	count      [3]int64 // documents by mark
	bytes      int64    // of all documents
	trainBytes int64
	digest     string // of all documents in order
}

// takeCensus reads all inputs, several at a time, and decides where each document goes: by a hash of the seed and its
// content, so that a document and its copies go the same way on every machine and whatever stands beside them.
func takeCensus(ctx context.Context, list inputs, fraction float64, seed int64, progress *progress) (*census, error) {
	c := &census{files: make([]fileCensus, len(list.files))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, in := range list.files {
		group.Go(func() error {
			counter := newCounter(&c.files[i], fraction, seed)
			report := progress.file()
			err := readDocuments(ctx, in, func(p piece) error {
				report(p.read)
				counter.add(p)
				return nil
			})
			report(in.size)
			c.files[i].digest = [sha256.Size]byte(counter.all.Sum(nil))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	c.total()
	c.force(fraction)
	return c, nil
}

// total adds up the files.
func (c *census) total() {
	all := sha256.New()
	for i := range c.files {
		f := &c.files[i]
		for k, n := range f.count {
			c.count[k] += n
		}
		c.bytes += f.bytes
		c.trainBytes += f.trainBytes
		all.Write(f.digest[:])
	}
	c.digest = hex.EncodeToString(all.Sum(nil))
}

// force moves one document, with its copies, when chance left train without any, or val and there is another one.
func (c *census) force(fraction float64) {
	if fraction <= 0 {
		return
	}
	switch {
	case c.count[markVal] == 0:
		c.moveFirst(func(f *fileCensus) *draw { return &f.least }, less, markTrain, markVal)
	case c.count[markTrain] == 0:
		c.moveFirst(func(f *fileCensus) *draw { return &f.most }, more, markVal, markTrain)
	}
}

// moveFirst moves the document whose lot is the best of all files. Where every document is a copy of it, they are all in train.
func (c *census) moveFirst(of func(*fileCensus) *draw, better func(a, b uint64) bool, from, to mark) {
	var chosen draw
	copies := 0
	for i := range c.files {
		switch d := of(&c.files[i]); {
		case len(d.at) == 0:
		case copies == 0 || better(d.value, chosen.value):
			chosen, copies = *d, len(d.at)
		case d.value == chosen.value:
			copies += len(d.at)
		}
	}
	if from == markTrain && int64(copies) == c.count[from] {
		return
	}
	for i := range c.files {
		if d := of(&c.files[i]); d.value == chosen.value {
			for _, document := range d.at {
				c.move(&c.files[i], document, d.bytes, from, to)
			}
		}
	}
}

// move changes the mark of one document.
func (c *census) move(f *fileCensus, document, bytes int64, from, to mark) {
	f.marks.set(document, to)
	f.count[from]--
	f.count[to]++
	c.count[from]--
	c.count[to]++
	if to == markVal {
		bytes = -bytes
	}
	f.trainBytes += bytes
	c.trainBytes += bytes
}

// counter takes the census of one file.
type counter struct {
	to        *fileCensus
	threshold uint64
	seed      [8]byte
	all       hash.Hash // over the digests of the documents
	one       hash.Hash // over the document that is being read
	bytes     int64
	blank     bool
}

func newCounter(to *fileCensus, fraction float64, seed int64) *counter {
	c := &counter{to: to, all: sha256.New(), one: sha256.New()}
	c.threshold = uint64(fraction * (1 << 63)) // in units of 2⁻⁶³, exact enough and without overflow
	binary.LittleEndian.PutUint64(c.seed[:], uint64(seed))
	return c
}

// add takes in a piece.
func (c *counter) add(p piece) {
	if p.first {
		c.one.Reset()
		c.bytes, c.blank = 0, true
	}
	c.one.Write([]byte(p.text))
	c.bytes += int64(len(p.text))
	c.blank = c.blank && isBlank(p.text)
	if p.last {
		c.document()
	}
}

// document takes in the end of a document.
func (c *counter) document() {
	digest := c.one.Sum(nil)
	c.all.Write(digest)
	k := markEmpty
	if !c.blank {
		lot := sha256.Sum256(append(c.seed[:], digest...))
		value := binary.LittleEndian.Uint64(lot[:]) >> 1
		k = markTrain
		if value < c.threshold {
			k = markVal
		} else {
			c.to.trainBytes += c.bytes
		}
		c.to.least.take(value, c.bytes, c.to.marks.n, less)
		c.to.most.take(value, c.bytes, c.to.marks.n, more)
		c.to.bytes += c.bytes
	}
	c.to.marks.add(k)
	c.to.count[k]++
}

// progress adds up what several readings have read and reports it, one call at a time.
type progress struct {
	mu     sync.Mutex
	report func(done, total int64)
	done   int64
	total  int64
}

// file returns a function to be called with the bytes of one file read so far.
func (p *progress) file() func(read int64) {
	last := int64(0)
	return func(read int64) {
		if read <= last || p.report == nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done += read - last
		last = read
		p.report(p.done, p.total)
	}
}
