package data

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"plasticity/record"
)

// maxTrainBytes is how much text a tokenizer is trained on; of more, documents are drawn evenly. The frequencies of
// pairs do not become better by more, but memory larger.
const maxTrainBytes = 512 << 20

// TrainTokenizer trains a byte-level BPE of vocab tokens, EndOfText among them, on all documents of files and folders as
// Prepare reads them. The result depends on the documents only. It has fewer tokens when the text has too few pairs.
// progress, if not nil, is told the bytes read and to be read. Errors are Failures.
func TrainTokenizer(ctx context.Context, paths []string, vocab int, report func(done, total int64)) (*Tokenizer, error) {
	if vocab < MinVocab || vocab > MaxVocab {
		return nil, usage("a vocabulary of %d tokens: choose %d (every byte and the end of text) to %d", vocab, MinVocab, MaxVocab)
	}
	list, err := listInputs(paths)
	if err != nil {
		return nil, err
	}
	progress := &progress{report: report, total: list.size}
	sum := make(wordCounts)
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	draw := newSampler(list.size)
	for i, in := range list.files {
		group.Go(func() error {
			counts, document := make(wordCounts), int64(0)
			report := progress.file()
			err := readDocuments(groupCtx, in, func(p piece) error {
				report(p.read)
				if draw.take(i, document) {
					counts.add(p.text)
				}
				if p.last {
					document++
				}
				return nil
			})
			report(in.size)
			mu.Lock()
			defer mu.Unlock()
			sum.merge(counts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if len(sum) == 0 {
		return nil, bad("input: no document with text to train a tokenizer on")
	}
	return trainBPE(ctx, sum, vocab)
}

// train trains the tokenizer on the train documents.
func (p *preparation) train(ctx context.Context) (*Tokenizer, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	work := make(chan string, p.o.workers)
	parts := make([]wordCounts, p.o.workers)
	for i := range parts {
		group.Go(func() error {
			parts[i] = make(wordCounts)
			for text := range work {
				parts[i].add(text)
			}
			return nil
		})
	}
	draw, document := newSampler(p.census.trainBytes), int64(0)
	group.Go(func() error {
		defer close(work)
		return p.replay(groupCtx, func(r routed) error {
			take := r.split == int(markTrain) && draw.take(0, document)
			if r.last {
				document++
			}
			if !take {
				return nil
			}
			select {
			case work <- r.text:
				return nil
			case <-groupCtx.Done():
				return groupCtx.Err()
			}
		})
	})
	if err := group.Wait(); err != nil {
		return nil, record.FailIO(err, "train tokenizer")
	}
	sum := make(wordCounts)
	for _, part := range parts {
		sum.merge(part)
	}
	t, err := trainBPE(ctx, sum, p.vocab)
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: %w", p.o.Tokenizer, err)
	}
	return t, nil
}

// sampler draws documents by their place so that about maxTrainBytes are drawn.
type sampler struct{ threshold uint64 }

func newSampler(bytes int64) sampler {
	if bytes <= maxTrainBytes {
		return sampler{math.MaxUint64}
	}
	threshold, _ := bits.Div64(maxTrainBytes, 0, uint64(bytes))
	return sampler{threshold}
}

// take reports whether a document is drawn.
func (s sampler) take(file int, document int64) bool {
	return s.threshold == math.MaxUint64 || mix(mix(uint64(file))^uint64(document)) < s.threshold
}
