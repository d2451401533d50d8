package label

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"plasticity/record"
)

// Text is a text with its label.
type Text struct {
	Text  string
	Label int // index of Set.Labels
	// Document is the number of the document, from 1 on, that the text was cut out of; 0: the text is one itself.
	Document int
}

// Set is texts to learn from, to choose by and to test on.
type Set struct {
	Task      string
	Data      string // where the texts are from, in words
	Synthetic bool
	Labels    []string
	Train     []Text
	Val       []Text
	Test      []Text
}

// Options says what Load returns.
type Options struct {
	Task             string
	From             string // folder of the data
	Train, Val, Test int    // texts of each split, at most
	Seed             int64  // of what is drawn
}

// The tasks that are not public data sets.
const (
	Decade    = "sotu-decade"
	Party     = "sotu-party"
	Kind      = "kind"
	Genre     = "brown-genre"
	Synthetic = "synthetic-sentiment"
)

// Tasks lists the names that Load knows.
func Tasks() []string {
	var names []string
	for _, l := range layouts() {
		names = append(names, l.name)
	}
	return append(names, Decade, Party, Kind, Genre, Synthetic)
}

// streams of the draws of one seed.
const (
	streamRest = iota + 1
	streamTest
	streamMake
	streamVal
)

// Load reads the texts of a task.
func Load(ctx context.Context, o Options) (*Set, error) {
	if o.Train < 1 || o.Val < 1 || o.Test < 1 {
		return nil, record.Fail(record.Usage, "%d, %d and %d texts to learn from, to choose by and to test on: at least 1 of each", o.Train, o.Val, o.Test)
	}
	var s *Set
	var err error
	switch o.Task {
	case Synthetic:
		if o.From != "" {
			return nil, record.Fail(record.Usage, "task %s is made by a seed alone: leave the folder of data away", o.Task)
		}
		s, err = templates(o)
	case Decade, Party, Kind, Genre:
		if err = folder(o.From, passagesWanted(o.Task)); err == nil {
			s, err = passages(ctx, o)
		}
	default:
		i := slices.IndexFunc(layouts(), func(l layout) bool { return l.name == o.Task })
		if i < 0 {
			return nil, record.Fail(record.Usage, "task %.40q is not known: there are %s", o.Task, strings.Join(Tasks(), ", "))
		}
		l := layouts()[i]
		if err = folder(o.From, l.wanted()); err == nil {
			s, err = l.load(ctx, o)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, s.check()
}

// folder refuses what is no folder.
func folder(path, wanted string) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return record.Fail(record.Usage, "folder %q: no such folder; it must have %s", path, wanted)
	}
	return nil
}

// check refuses a set that no classifier can learn from or be tested on.
func (s *Set) check() error {
	for _, split := range []struct {
		name  string
		texts []Text
	}{{"learn from", s.Train}, {"choose by", s.Val}, {"test on", s.Test}} {
		seen := make(map[int]bool)
		for _, t := range split.texts {
			seen[t.Label] = true
		}
		if len(seen) < 2 {
			return record.Fail(record.BadData, "task %s: the %d texts to %s have %d labels, at least 2 are needed: get all files of the data, or take more texts", s.Task, len(split.texts), split.name, len(seen))
		}
	}
	return nil
}

// Digest is a digest of all texts with their labels.
func (s *Set) Digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", s.Labels)
	for _, split := range [][]Text{s.Train, s.Val, s.Test} {
		fmt.Fprintf(h, "%d\n", len(split))
		for _, t := range split {
			fmt.Fprintf(h, "%d %q\n", t.Label, t.Text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// reservoir draws n of a stream of texts, each with the same probability.
type reservoir struct {
	n, seen int
	random  *rand.Rand
	texts   []Text
}

func newReservoir(n int, seed int64, stream uint64) *reservoir {
	return &reservoir{n: n, random: rand.New(rand.NewPCG(uint64(seed), stream))}
}

func (r *reservoir) add(t Text) {
	r.seen++
	if len(r.texts) < r.n {
		r.texts = append(r.texts, t)
	} else if k := r.random.IntN(r.seen); k < r.n {
		r.texts[k] = t
	}
}

// shuffled returns what was drawn, in an order made of the seed.
func (r *reservoir) shuffled() []Text {
	r.random.Shuffle(len(r.texts), func(i, j int) { r.texts[i], r.texts[j] = r.texts[j], r.texts[i] })
	return r.texts
}

// split divides texts into those to learn from and those to choose by, in the proportion that was asked for where there are too few.
func split(texts []Text, train, val int) (a, b []Text) {
	if len(texts) < train+val {
		val = max(1, len(texts)*val/(train+val))
	}
	val = min(val, len(texts))
	return texts[val:], texts[:val]
}
