package task

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"plasticity/data"
	"plasticity/record"
)

// maxTextFile is the largest text that chunks are made of, in bytes.
const maxTextFile = 4 << 20

// chunkBytes returns the most bytes of a chunk of a level. No token is less than a byte, so chunks fit contexts of 128, 256
// and 1,024 tokens with the end of text, whatever the tokenizer.
func chunkBytes(level int) int { return []int{127, 255, 1023}[level-1] }

// Reasons why texts are left out.
const (
	dropNotText  = "not UTF-8"
	dropLongLine = "a line longer than a chunk"
	dropRepeated = "the same chunk again"
)

// generateText makes the task of texts: chunks of whole lines of program source. A file is on one side as a whole, chosen
// by its content, and has one level.
func generateText(ctx context.Context, o Options) (*Task, error) {
	f, err := family(o.Name)
	if err != nil {
		return nil, err
	}
	levels, err := f.checkLevels(o.Levels)
	if err != nil {
		return nil, err
	}
	source := "texts of the folder " + filepath.Base(o.From)
	if o.From == "" {
		corpus, err := data.Fetch(ctx, "goroot", data.FetchOptions{Cache: o.Cache})
		if err != nil {
			return nil, err
		}
		o.From, source = corpus.Dir, corpus.Source
	}
	c := chunker{levels: levels, sides: map[bool]map[int][]string{true: {}, false: {}}, seen: make(map[string]bool)}
	s, err := c.walk(ctx, o)
	if err != nil {
		return nil, err
	}
	s.Dataset = source
	t := &Task{Name: o.Name, Kind: f.Kind, Seed: o.Seed, Sources: []Source{s}, Filters: []Filter{
		{dropNotText, c.notText}, {dropLongLine, c.longLine}, {dropRepeated, c.repeated},
	}}
	if t.Test, err = c.side(o, true); err != nil {
		return nil, err
	}
	t.Train, err = c.side(o, false)
	return t, err
}

// chunker cuts files into chunks.
type chunker struct {
	levels                      []int
	sides                       map[bool]map[int][]string // by side (true: test) and level
	seen                        map[string]bool
	notText, longLine, repeated int
}

// walk cuts all files below a folder and returns what they are.
func (c *chunker) walk(ctx context.Context, o Options) (Source, error) {
	sums := newSums()
	err := filepath.WalkDir(o.From+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return record.FailIO(err, "read the texts")
		case ctx.Err() != nil:
			return record.FailIO(ctx.Err(), "read the texts")
		case d.IsDir() || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") || d.Name() == data.SourceFile:
			return nil
		}
		b, err := record.ReadFile(record.OS(), path, maxTextFile)
		if err != nil {
			return record.FailIO(err, "read text")
		}
		rel, err := filepath.Rel(o.From, path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		sums.add(filepath.ToSlash(rel), int64(len(b)), hex.EncodeToString(sum[:]))
		if o.Progress != nil {
			o.Progress(sums.source.Bytes, sums.source.Bytes)
		}
		if !utf8.Valid(b) {
			c.notText++
			return nil
		}
		c.cut(string(b), sum)
		return nil
	})
	if err != nil {
		return Source{}, err
	}
	if sums.source.Files == 0 {
		return Source{}, bad("folder %s: no text in it", o.From)
	}
	return sums.sum(), nil
}

// cut cuts a text, whose digest decides on its side and level.
func (c *chunker) cut(text string, sum [32]byte) {
	level := c.levels[int(sum[1])%len(c.levels)]
	size := chunkBytes(level)
	var chunk strings.Builder
	for line := range strings.Lines(text) {
		if len(line) > size {
			c.longLine++
			c.keep(&chunk, level, isTest(sum))
			continue
		}
		if chunk.Len()+len(line) > size {
			c.keep(&chunk, level, isTest(sum))
		}
		if chunk.Len() > 0 || strings.TrimSpace(line) != "" {
			chunk.WriteString(line)
		}
	}
	c.keep(&chunk, level, isTest(sum))
}

// keep takes a chunk if it is new and long enough to be worth it.
func (c *chunker) keep(chunk *strings.Builder, level int, test bool) {
	text := strings.TrimRight(chunk.String(), " \t\r\n")
	chunk.Reset()
	if len(text) < chunkBytes(level)/2 {
		return
	}
	k := key(Example{Response: text})
	if c.seen[k] {
		c.repeated++
		return
	}
	c.seen[k] = true
	c.sides[test][level] = append(c.sides[test][level], text)
}

// side draws the examples of a side, the levels in turn.
func (c *chunker) side(o Options, test bool) ([]Example, error) {
	n, name := o.Train, sideName(test)
	if test {
		n = o.Test
	}
	switch {
	case n == 0 && test:
		n = DefaultTest
	case n == 0:
		n = DefaultTrain
	}
	orders := make(map[int][]int)
	for _, level := range c.levels {
		orders[level] = newDice(o.Seed, fmt.Sprint(goSource, " ", name, " ", level)).order(len(c.sides[test][level]))
	}
	examples := make([]Example, 0, n)
	for i := range n {
		level := c.levels[i%len(c.levels)]
		chunks, j := c.sides[test][level], i/len(c.levels)
		if j >= len(chunks) {
			return nil, usage("task %s: %d chunks of level %d for the %s set, which are too few for %d examples: ask for fewer, or give more text",
				goSource, len(chunks), level, name, n)
		}
		examples = append(examples, Example{
			ID: fmt.Sprintf("%s-%s-%06d", goSource, name, i), Response: chunks[orders[level][j]], Level: fmt.Sprint(level), Source: goSource,
		})
	}
	return examples, nil
}

// sums is a digest of the files of a data set.
type sums struct {
	source Source
	lines  strings.Builder
}

func newSums() *sums { return &sums{} }

// add takes a file in.
func (s *sums) add(name string, size int64, digest string) {
	s.source.Files++
	s.source.Bytes += size
	fmt.Fprintf(&s.lines, "%q %d %s\n", name, size, digest)
}

// sum returns the data set.
func (s *sums) sum() Source {
	digest := sha256.Sum256([]byte(s.lines.String()))
	s.source.SHA256 = hex.EncodeToString(digest[:])
	return s.source
}

// exists reports whether there is something of a name.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
