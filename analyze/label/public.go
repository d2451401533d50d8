package label

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"plasticity/data"
	"plasticity/record"
)

// layout is how a public data set is published.
type layout struct {
	name, dataset, like string
	fetched             string   // its name in `plasticity data fetch`; empty: it is published on the hub
	labels              []string // by their number in tables
	text                []string // columns, joined by a blank
	label               string   // column
	cells               []string // columns of a CSV file, in order
	first               int      // number of the first label in CSV files; those of tables count from 0
	test                *regexp.Regexp
	sides               []string // folders of text files, one for each label; nil: there are none
}

func layouts() []layout {
	test := regexp.MustCompile(`(?i)^test`)
	sentiment := []string{"negative", "positive"}
	return []layout{
		{
			name: "sst2", dataset: "stanfordnlp/sst2", like: "data/train-00000-of-00001.parquet and data/validation-00000-of-00001.parquet, or train.tsv and dev.tsv",
			labels: sentiment, text: []string{"sentence"}, label: "label", cells: []string{"sentence", "label"},
			test: regexp.MustCompile(`(?i)^(validation|dev)`), // the labels of its test file are secret
		},
		{
			name: "imdb", dataset: "stanfordnlp/imdb", like: "plain_text/train-00000-of-00001.parquet and plain_text/test-00000-of-00001.parquet, or train/pos/0_9.txt and the like",
			labels: sentiment, text: []string{"text"}, label: "label", cells: []string{"text", "label"}, test: test, sides: []string{"neg", "pos"},
		},
		{
			name: "agnews", dataset: "fancyzhx/ag_news", like: "data/train-00000-of-00001.parquet and data/test-00000-of-00001.parquet, or train.csv and test.csv",
			labels: []string{"World", "Sports", "Business", "Sci/Tech"}, text: []string{"text"}, label: "label",
			cells: []string{"label", "text", "text"}, first: 1, test: test,
		},
		{
			name: "dbpedia", dataset: "fancyzhx/dbpedia_14", like: "dbpedia_14/train-00000-of-00001.parquet and dbpedia_14/test-00000-of-00001.parquet, or train.csv and test.csv",
			labels: []string{
				"Company", "EducationalInstitution", "Artist", "Athlete", "OfficeHolder", "MeanOfTransportation", "Building", "NaturalPlace",
				"Village", "Animal", "Plant", "Album", "Film", "WrittenWork",
			},
			text: []string{"title", "content"}, label: "label", cells: []string{"label", "title", "content"}, first: 1, test: test,
		},
		{
			name: "reviews", dataset: "reviews of food (modeldata's small_fine_foods)", fetched: "reviews", like: "train.jsonl and test.jsonl",
			labels: []string{"other", "great"}, text: []string{"text"}, label: "label", cells: []string{"text", "label"}, test: test,
		},
	}
}

// wanted says what the folder of the data must have.
func (l layout) wanted() string {
	if l.fetched != "" {
		return fmt.Sprintf("what `plasticity data fetch %s` prints (%s)", l.fetched, l.like)
	}
	return fmt.Sprintf("the data set %s from the hub (%s)", l.dataset, l.like)
}

// trainFile is the name of a file to learn from.
var trainFile = regexp.MustCompile(`(?i)^train`)

// load reads the files of a data set.
func (l layout) load(ctx context.Context, o Options) (*Set, error) {
	rest, test := newReservoir(o.Train+o.Val, o.Seed, streamRest), newReservoir(o.Test, o.Seed, streamTest)
	files, err := l.files(o.From)
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		into := rest
		if l.test.MatchString(l.part(path)) {
			into = test
		}
		if err := l.read(ctx, path, into.add); err != nil {
			return nil, err
		}
	}
	if rest.seen == 0 || test.seen == 0 {
		return nil, record.Fail(record.BadData, "folder %s: %d texts to learn from and %d to test on: it must have all files of %s", o.From, rest.seen, test.seen, l.wanted())
	}
	s := &Set{Task: l.name, Data: l.dataset, Labels: l.labels, Test: test.shuffled()}
	s.Train, s.Val = split(rest.shuffled(), o.Train, o.Val)
	return s, nil
}

// part is what says which split a file is of: its name, or the folder of text files.
func (l layout) part(path string) string {
	if filepath.Ext(path) == ".txt" {
		return filepath.Base(filepath.Dir(filepath.Dir(path)))
	}
	return filepath.Base(path)
}

// files lists the files to learn from and to test on, in the order of their names.
func (l layout) files(root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return record.FailIO(err, "read the data set %s", l.dataset)
		}
		hidden := strings.HasPrefix(d.Name(), ".") && filepath.Clean(path) != filepath.Clean(root)
		switch {
		case hidden && d.IsDir():
			return filepath.SkipDir // download tools keep their notes there
		case d.IsDir() || hidden || !l.readable(path):
			return nil
		}
		if part := l.part(path); trainFile.MatchString(part) || l.test.MatchString(part) {
			out = append(out, path)
		}
		return nil
	})
	return out, err
}

// readable reports whether a file may be one of the data set.
func (l layout) readable(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv", ".tsv":
		return true
	case ".txt":
		return slices.Contains(l.sides, filepath.Base(filepath.Dir(path)))
	}
	return data.IsTable(path)
}

// read gives the texts of a file.
func (l layout) read(ctx context.Context, path string, emit func(Text)) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".txt":
		text, err := readText(path)
		if err != nil {
			return err
		}
		side := filepath.Base(filepath.Dir(path))
		return l.emit(path, text, slices.Index(l.sides, side), true, side, emit)
	case ".csv", ".tsv":
		return l.readCells(ctx, path, emit)
	}
	return data.ReadRows(ctx, path, func(r data.Row) error {
		var words []string
		for _, column := range l.text {
			text, ok := r.Values[column].(string)
			if !ok {
				return l.wrong(fmt.Sprintf("%s:%d", path, r.Number), column, "a text", r.Values[column])
			}
			words = append(words, text)
		}
		n, ok := number(r.Values[l.label])
		return l.emit(fmt.Sprintf("%s:%d", path, r.Number), strings.Join(words, " "), n, ok, r.Values[l.label], emit)
	})
}

// emit gives a text with the label of a number.
func (l layout) emit(place, text string, n int, ok bool, value any, emit func(Text)) error {
	if !ok || n < 0 || n >= len(l.labels) {
		return l.wrong(place, l.label, fmt.Sprintf("the number of one of the %d labels", len(l.labels)), value)
	}
	if text = strings.TrimSpace(text); text == "" {
		return record.Fail(record.BadData, "%s: the text is empty: remove it", place)
	}
	emit(Text{Text: text, Label: n})
	return nil
}

// wrong is the error for a value that is not what its column has.
func (l layout) wrong(place, column, want string, value any) error {
	if value == nil {
		return record.Fail(record.BadData, "%s: column %q is missing, want %s: give %s, unchanged", place, column, want, l.wanted())
	}
	return record.Fail(record.BadData, "%s: column %q is %.60q, want %s: give %s, unchanged", place, column, fmt.Sprint(value), want, l.wanted())
}

// number is a whole number of a table.
func number(value any) (int, bool) {
	switch v := value.(type) {
	case int32:
		return int(v), true
	case int64:
		return int(v), true
	case json.Number:
		n, err := v.Int64()
		return int(n), err == nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil
	}
	return 0, false
}

// maxText bounds a text file, in bytes.
const maxText = 16 << 20

// readText reads a file that is one text.
func readText(path string) (string, error) {
	if err := regular(path, maxText); err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", record.FailIO(err, "read %s", path)
	}
	return strings.ToValidUTF8(string(text), "\uFFFD"), nil
}

// regular refuses what is no regular file of at most so many bytes, before it is opened: a named pipe would be waited for.
func regular(path string, most int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return record.FailIO(err, "read %s", path)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return record.Fail(record.BadData, "%s: a regular file of at most %d bytes is expected: give it as it is published, or remove it", path, most)
	}
	return nil
}
