package label

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"plasticity/record"
)

const (
	// passageBytes is about the length of a passage: a paragraph of a speech.
	passageBytes = 400
	// Of a hundred documents of a label, so many are tested on and so many are chosen by; at least one of each.
	testPercent, valPercent = 25, 15
)

var (
	// address is the name of a file of an address: year, president and party.
	address = regexp.MustCompile(`^(\d{3})\d_[a-z_]+_([a-z]+)\.txt$`)
	// sample is the name of a file of the Brown corpus: genre, and its place in the corpus.
	sample = regexp.MustCompile(`^([a-z_]+)_c[a-r]\d\d\.txt$`)
)

// document is a file with its label.
type document struct{ path, label string }

// passagesWanted says what the folder of a task must have.
func passagesWanted(task string) string {
	switch task {
	case Kind:
		return "the folders sotu and goroot: the parent of what `plasticity data fetch` prints for both"
	case Genre:
		return "the Brown corpus: what `plasticity data fetch brown` prints"
	}
	return "the State of the Union addresses: what `plasticity data fetch sotu` prints"
}

// passagesAre says what the texts of a task are.
func passagesAre(task string) string {
	switch task {
	case Kind:
		return "passages of State of the Union addresses and of Go source"
	case Genre:
		return "passages of the Brown corpus"
	}
	return "passages of State of the Union addresses"
}

// passages cuts passages out of documents whose names or folders say what they are.
func passages(ctx context.Context, o Options) (*Set, error) {
	documents, err := find(o)
	if err != nil {
		return nil, err
	}
	by := make(map[string][]document)
	for _, d := range documents {
		by[d.label] = append(by[d.label], d)
	}
	maps.DeleteFunc(by, func(_ string, d []document) bool { return len(d) < 3 }) // one for each split
	s := &Set{Task: o.Task, Data: passagesAre(o.Task), Labels: slices.Sorted(maps.Keys(by))}
	if len(by) < 2 {
		return nil, record.Fail(record.BadData, "folder %s: %d labels with three documents, at least 2 are needed; it must have %s", o.From, len(by), passagesWanted(o.Task))
	}
	train, val := newReservoir(o.Train, o.Seed, streamRest), newReservoir(o.Val, o.Seed, streamVal)
	test := newReservoir(o.Test, o.Seed, streamTest)
	random := rand.New(rand.NewPCG(uint64(o.Seed), streamMake))
	number := 0
	for i, label := range s.Labels {
		list := by[label]
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		tested, chosen := max(1, len(list)*testPercent/100), max(1, len(list)*valPercent/100)
		for k, d := range list {
			if err := ctx.Err(); err != nil {
				return nil, record.FailIO(err, "read %s", d.path)
			}
			into := train
			if k < tested {
				into = test
			} else if k < tested+chosen {
				into = val
			}
			text, err := readText(d.path)
			if err != nil {
				return nil, err
			}
			number++
			for _, p := range cut(text) {
				into.add(Text{p, i, number})
			}
		}
	}
	s.Train, s.Val, s.Test = train.shuffled(), val.shuffled(), test.shuffled()
	return s, nil
}

// find lists the documents of a task, by name.
func find(o Options) ([]document, error) {
	if o.Task == Kind {
		var all []document
		for _, kind := range []string{"goroot", "sotu"} {
			files, err := texts(filepath.Join(o.From, kind))
			if err != nil {
				return nil, err
			}
			for _, path := range files {
				all = append(all, document{path, kind})
			}
		}
		return all, nil
	}
	files, err := texts(o.From)
	if err != nil {
		return nil, err
	}
	var all []document
	for _, path := range files {
		label, names := labelOf(o.Task, filepath.Base(path))
		switch {
		case names != "":
			return nil, record.Fail(record.BadData, "%s: the name is not %s; the folder must have %s", path, names, passagesWanted(o.Task))
		case label != "":
			all = append(all, document{path, label})
		}
	}
	return all, nil
}

// labelOf is the label of a document by the name of its file, empty for one that has none. A name unlike those of the task's documents gives
// how they are named.
func labelOf(task, name string) (label, names string) {
	if task == Genre {
		parts := sample.FindStringSubmatch(name)
		if parts == nil {
			return "", "genre_place.txt"
		}
		return parts[1], ""
	}
	parts := address.FindStringSubmatch(name)
	switch {
	case parts == nil:
		return "", "year_president_party.txt"
	case task == Decade:
		return parts[1] + "0s", ""
	case parts[2] == "d":
		return "Democratic", ""
	case parts[2] == "r":
		return "Republican", ""
	}
	return "", ""
}

// texts lists the text files of a folder.
func texts(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, record.FailIO(err, "read the texts")
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".txt" {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, record.Fail(record.BadData, "folder %s has no text files", dir)
	}
	return out, nil
}

// cut makes passages of whole words, line breaks as blanks, all about as long; what is left at the end is left out.
func cut(text string) []string {
	var out []string
	var b strings.Builder
	for word := range strings.FieldsSeq(text) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(short(word))
		if b.Len() >= passageBytes {
			out = append(out, b.String())
			b.Reset()
		}
	}
	return out
}

// short cuts what is no word, such as a table of bytes in a source file.
func short(word string) string {
	if len(word) <= passageBytes {
		return word
	}
	end := passageBytes
	for !utf8.RuneStart(word[end]) {
		end--
	}
	return word[:end]
}
