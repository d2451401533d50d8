package data

import (
	"context"
	"crypto/sha256"
	"hash"

	"golang.org/x/sync/errgroup"

	"plasticity/record"
)

// Sizes of the jobs that documents are handed to the workers in.
const (
	jobBytes  = 256 << 10
	jobPieces = 512
)

// job is a part of the documents, in order, that one worker encodes.
type job struct {
	pieces []routed
	size   int     // bytes of text
	ids    []int32 // the result
	done   chan struct{}
}

// routed is a piece with the split it goes to.
type routed struct {
	text  string
	split int
	last  bool // the end of the document follows
	end   int  // where its tokens end in the job's ids
}

// encode reads all inputs once more and writes the tokens of their documents. Reading, encoding on all workers and writing
// overlap; what waits in between is bounded by the number of workers. Jobs are written in the order in which they were
// read, so the result does not depend on who is faster.
func (p *preparation) encode(ctx context.Context, w *splitWriters) error {
	group, ctx := errgroup.WithContext(ctx)
	work := make(chan *job)
	ordered := make(chan *job, 2*p.o.workers)
	group.Go(func() error {
		defer close(work)
		defer close(ordered)
		d := dispatcher{ctx: ctx, tokenizer: p.tokenizer, work: work, ordered: ordered}
		if err := p.replay(ctx, d.add); err != nil {
			return err
		}
		return d.flush()
	})
	for range p.o.workers {
		group.Go(func() error {
			e := newEncoder(p.tokenizer)
			for j := range work {
				j.encode(e)
			}
			return nil
		})
	}
	group.Go(func() error {
		for j := range ordered {
			select {
			case <-j.done:
			case <-ctx.Done():
				return ctx.Err() // not the first error, which the group returns
			}
			if err := j.write(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return record.FailIO(err, "prepare")
	}
	return nil
}

// encode does the job.
func (j *job) encode(e *encoder) {
	eos, _ := e.t.EOS()
	j.ids = make([]int32, 0, j.size/2)
	for i := range j.pieces {
		piece := &j.pieces[i]
		j.ids = e.append(j.ids, piece.text, false)
		if piece.last {
			j.ids = append(j.ids, eos)
		}
		piece.end = len(j.ids)
	}
	close(j.done)
}

// write hands the tokens to the writers.
func (j *job) write(w *splitWriters) error {
	start := 0
	for _, piece := range j.pieces {
		if err := w[piece.split].write(j.ids[start:piece.end]); err != nil {
			return err
		}
		start = piece.end
	}
	return nil
}

// dispatcher gathers pieces into jobs.
type dispatcher struct {
	ctx       context.Context //nolint:containedctx // lives as long as one call of encode
	tokenizer *Tokenizer
	work      chan<- *job
	ordered   chan<- *job
	job       *job
	rest      string // of the document that goes on, for its next piece
}

// add takes in a piece. Pieces end where pre-tokens of a text without added tokens do; where there are such, they are cut anew.
func (d *dispatcher) add(r routed) error {
	r.text, d.rest = d.rest+r.text, ""
	if !r.last && d.tokenizer.reach > 0 {
		if cut := d.tokenizer.lastCut(r.text); cut > 0 || len(r.text) < maxPiece {
			r.text, d.rest = r.text[:cut], r.text[cut:]
		}
	}
	if d.job == nil {
		d.job = &job{done: make(chan struct{})}
	}
	d.job.pieces = append(d.job.pieces, r)
	d.job.size += len(r.text)
	if d.job.size < jobBytes && len(d.job.pieces) < jobPieces {
		return nil
	}
	return d.flush()
}

// flush hands on the job that is being gathered.
func (d *dispatcher) flush() error {
	if d.job == nil {
		return nil
	}
	for _, to := range []chan<- *job{d.ordered, d.work} {
		select {
		case to <- d.job:
		case <-d.ctx.Done():
			return d.ctx.Err()
		}
	}
	d.job = nil
	return nil
}

// replay reads all inputs as the census found them and gives the pieces of every document with text to emit. It fails when
// an input is not what it was.
func (p *preparation) replay(ctx context.Context, emit func(routed) error) error {
	for i, in := range p.list.files {
		r := replayer{census: &p.census.files[i], all: sha256.New(), one: sha256.New(), path: in.path, emit: emit}
		report := p.progress.file()
		err := readDocuments(ctx, in, func(p piece) error {
			report(p.read)
			return r.add(p)
		})
		if err != nil {
			return err
		}
		report(in.size)
		if err := r.finish(); err != nil {
			return err
		}
	}
	return nil
}

// replayer follows one file for the second time.
type replayer struct {
	census   *fileCensus
	path     string
	document int64
	all, one hash.Hash
	emit     func(routed) error
}

func (r *replayer) add(p piece) error {
	if r.document >= r.census.marks.n {
		return r.changed()
	}
	if p.first {
		r.one.Reset()
	}
	r.one.Write([]byte(p.text))
	k := r.census.marks.at(r.document)
	if p.last {
		r.document++
		r.all.Write(r.one.Sum(nil))
	}
	if k == markEmpty {
		return nil
	}
	return r.emit(routed{text: p.text, split: int(k), last: p.last})
}

// finish compares what was read with the census.
func (r *replayer) finish() error {
	if r.document != r.census.marks.n || [sha256.Size]byte(r.all.Sum(nil)) != r.census.digest {
		return r.changed()
	}
	return nil
}

func (r *replayer) changed() error {
	return bad("input %s: it changed while it was read: try again when nobody writes to it", r.path)
}
