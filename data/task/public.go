package task

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plasticity/data"
	"plasticity/record"
)

// maxCharacters is where the authors' filters for over-long examples cut.
const maxCharacters = 6144

// dropInTest is the filter that all public tasks have.
const dropInTest = "the instruction is in the test set"

// public is a task made of public data sets.
type public struct {
	name, kind string
	parts      []part
	filters    []string // in the order in which they are applied
	load       func(l *loader) error
}

// part is the files of a data set that are one side of a task.
type part struct {
	dataset string         // its name on the hub
	folders []string       // other names its folder may have
	match   *regexp.Regexp // of the path of a file below its folder
	like    string         // how such a file is called where it is published
}

// publics lists the tasks made of public data.
func publics() []public {
	math := mathTests()
	return []public{
		{
			"metamathqa", Math,
			append([]part{{dataset: "meta-math/MetaMathQA", match: regexp.MustCompile(`(?i)395K|train`), like: "MetaMathQA-395K.json"}}, math...),
			[]string{dropEmpty, dropNoGold, dropLevel},
			loadMetaMath,
		},
		{
			"simplescaling", Math,
			append([]part{{
				dataset: "simplescaling/data_ablation_full59K", match: regexp.MustCompile(`(?i)train`), like: "data/train-00000-of-00008.parquet",
			}}, math...),
			[]string{dropEmpty, dropNoBox, dropNoGold, dropLevel},
			loadSimpleScaling,
		},
		{
			"medmcqa", Letter,
			[]part{
				{dataset: "HPAI-BSC/medmcqa-cot-llama31", match: regexp.MustCompile(`.`), like: "the JSON lines or Parquet file"},
				{dataset: "openlifescienceai/medmcqa", match: regexp.MustCompile(`(?i)validation|dev`), like: "data/validation-00000-of-00001.parquet"},
			},
			[]string{dropEmpty, dropNoLetter, dropLong},
			loadMedMCQA,
		},
		{
			"pubmedqa", Word,
			[]part{
				{dataset: "qiaojin/PubMedQA", match: regexp.MustCompile(`pqa_artificial`), like: "pqa_artificial/train-00000-of-00001.parquet"},
				{dataset: "qiaojin/PubMedQA", match: regexp.MustCompile(`pqa_labeled`), like: "pqa_labeled/train-00000-of-00001.parquet"},
			},
			[]string{dropEmpty, dropNoDecision},
			loadPubMedQA,
		},
		{
			"mmluprocot", Letter,
			[]part{
				{dataset: "dongboklee/MMLU-Pro-Llama-3.1-70B-Instruct-CoT", match: regexp.MustCompile(`(?i)test`), like: "data/test-00000-of-00001.parquet"},
				{dataset: "TIGER-Lab/MMLU-Pro", match: regexp.MustCompile(`(?i)validation`), like: "data/validation-00000-of-00001.parquet"},
			},
			[]string{dropEmpty, dropNoLetter, dropWrong, dropLong, dropTwice, dropHeldOut},
			loadMMLUPro,
		},
		{
			"race", Letter,
			[]part{
				{
					dataset: "ehovy/race", match: regexp.MustCompile(`(?i)(high|middle)[/_-](train|validation|dev)`),
					like: "high/train-00000-of-00001.parquet, middle/validation-00000-of-00001.parquet and the like",
				},
				{dataset: "ehovy/race", match: regexp.MustCompile(`(?i)(high|middle)[/_-]test`), like: "high/test-00000-of-00001.parquet"},
			},
			[]string{dropEmpty, dropOptions, dropLong},
			loadRACE,
		},
	}
}

// mathTests lists the test sets of both tasks of mathematics.
func mathTests() []part {
	return []part{
		{dataset: "madrylab/gsm8k-platinum", match: regexp.MustCompile(`(?i)test`), like: "main/test-00000-of-00001.parquet"},
		{
			dataset: "EleutherAI/hendrycks_math", folders: []string{"MATH", "competition_math"}, match: regexp.MustCompile(`(?i)(^|/)test`),
			like: "algebra/test-00000-of-00001.parquet or test/algebra/1.json",
		},
	}
}

// PublicTasks lists the names of the tasks that are made of public data.
func PublicTasks() []string {
	var names []string
	for _, p := range publics() {
		names = append(names, p.name)
	}
	return names
}

// Datasets lists the data sets, by their names on the hub, that a task is made of.
func Datasets(name string) []string {
	p, _ := publicTask(name)
	var datasets []string
	for _, part := range p.parts {
		if !slices.Contains(datasets, part.dataset) {
			datasets = append(datasets, part.dataset)
		}
	}
	return datasets
}

// publicTask returns the task of a name.
func publicTask(name string) (public, bool) {
	for _, p := range publics() {
		if p.name == name {
			return p, true
		}
	}
	return public{}, false
}

// base returns the last part of the data set's name, which its folder has.
func (p *part) base() string { return p.dataset[strings.IndexByte(p.dataset, '/')+1:] }

// wanted says which data sets a task is made of.
func wanted(name string) string {
	p, _ := publicTask(name)
	var lines []string
	for _, part := range p.parts {
		lines = append(lines, fmt.Sprintf("  %s from the hub, in a folder %s: %s", part.dataset, part.base(), part.like))
	}
	return strings.Join(lines, "\n")
}

// Load makes a task of public data that were downloaded into the folders of o.From. Errors are Failures that name file,
// row, column and data set.
func Load(ctx context.Context, o Options) (*Task, error) {
	p, ok := publicTask(o.Name)
	if !ok {
		if _, err := family(o.Name); err != nil {
			return nil, err
		}
		return nil, usage("task %s is made by a seed alone: leave the folder of data away", o.Name)
	}
	if info, err := os.Stat(o.From); err != nil || !info.IsDir() {
		return nil, usage("folder %s: no such folder; it must have\n%s", o.From, wanted(o.Name))
	}
	l := &loader{ctx: ctx, o: o, public: p, heldOut: heldOutQuestions, dropped: make(map[string]int), next: make(map[string]int)}
	for i := range p.parts {
		if err := l.find(&p.parts[i]); err != nil {
			return nil, err
		}
	}
	if err := p.load(l); err != nil {
		return nil, err
	}
	return l.finish()
}

// loader makes the examples of a public task.
type loader struct {
	ctx         context.Context
	o           Options
	public      public
	heldOut     int        // questions of mmluprocot that become test examples
	files       [][]string // of each part
	total, done int64      // bytes of all files, and of those read
	sources     []Source
	train, test []Example
	dropped     map[string]int
	next        map[string]int // number of the next example, by the beginning of its id
}

// find lists the files of a part and computes their digest.
func (l *loader) find(p *part) error {
	root := ""
	for _, name := range slices.Concat([]string{p.base(), p.dataset}, p.folders) {
		if dir := filepath.Join(l.o.From, filepath.FromSlash(name)); exists(dir) {
			root = dir
			break
		}
	}
	if root == "" {
		return bad("folder %s: no folder %s: get the data set %s from the hub into it (%s)", l.o.From, p.base(), p.dataset, p.like)
	}
	var files []string
	sums := newSums()
	err := filepath.WalkDir(root+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return record.FailIO(err, "read the data set %s", p.dataset)
		}
		hidden := strings.HasPrefix(d.Name(), ".") && filepath.Clean(path) != root
		if d.IsDir() && hidden {
			return filepath.SkipDir // download tools keep their notes there
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() || hidden || !data.IsTable(path) || !p.match.MatchString(rel) || infoFile(d.Name()) {
			return nil
		}
		size, digest, err := hashFile(path)
		if err != nil {
			return err
		}
		sums.add(rel, size, digest)
		l.total += size
		files = append(files, path)
		return nil
	})
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return bad("folder %s: no file such as %s: get the data set %s from the hub into it", root, p.like, p.dataset)
	}
	source := sums.sum()
	source.Dataset = p.dataset
	l.files, l.sources = append(l.files, files), append(l.sources, source)
	return nil
}

// infoFile reports whether a file of a data set describes it.
func infoFile(name string) bool {
	return slices.Contains([]string{"dataset_info.json", "dataset_infos.json", "state.json", data.SourceFile}, name)
}

// hashFile returns the size and the SHA-256 of a file.
func hashFile(path string) (size int64, digest string, err error) {
	f, err := openRegular(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return 0, "", record.FailIO(err, "read %s", path)
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// each gives the rows of a part to use.
func (l *loader) each(i int, use func(r row) error) error {
	p := &l.public.parts[i]
	for _, path := range l.files[i] {
		before, read := l.done, int64(0)
		err := data.ReadRows(l.ctx, path, func(r data.Row) error {
			if read = r.Read; l.o.Progress != nil {
				l.o.Progress(before+read, l.total)
			}
			return use(row{r, p.dataset})
		})
		if err != nil {
			return err
		}
		l.done += read
	}
	return nil
}

// drop counts a row that a filter leaves out.
func (l *loader) drop(reason string) { l.dropped[reason]++ }

// id returns the next id of a source.
func (l *loader) id(source string) string {
	l.next[source]++
	return fmt.Sprintf("%s-%06d", source, l.next[source]-1)
}

// finish applies what all public tasks have in common and returns the task.
func (l *loader) finish() (*Task, error) {
	t := &Task{Name: l.public.name, Kind: l.public.kind, Seed: l.o.Seed, Sources: l.sources}
	inTest := make(map[string]bool, len(l.test))
	for _, e := range l.test {
		inTest[key(e)] = true
	}
	train := slices.DeleteFunc(l.train, func(e Example) bool {
		same := inTest[key(e)]
		if same {
			l.drop(dropInTest)
		}
		return same
	})
	var err error
	if t.Train, err = l.take(train, l.o.Train, false); err != nil {
		return nil, err
	}
	if t.Test, err = l.take(l.test, l.o.Test, true); err != nil {
		return nil, err
	}
	for _, reason := range append(slices.Clone(l.public.filters), dropInTest) {
		t.Filters = append(t.Filters, Filter{reason, l.dropped[reason]})
	}
	return t, nil
}

// take draws n of the examples by the seed, and keeps their order; 0 means all.
func (l *loader) take(examples []Example, n int, test bool) ([]Example, error) {
	switch {
	case n == 0:
		return examples, nil
	case n > len(examples):
		return nil, usage("task %s: %d %s examples were asked for, the data have %d", l.public.name, n, sideName(test), len(examples))
	}
	places := newDice(l.o.Seed, l.public.name+" "+sideName(test)).order(len(examples))[:n]
	slices.Sort(places)
	taken := make([]Example, n)
	for i, place := range places {
		taken[i] = examples[place]
	}
	return taken, nil
}

// row is a row of a public data set.
type row struct {
	data.Row
	dataset string
}

// wrong is the error for a column that is not as it is published.
func (r row) wrong(column, what string) error {
	return bad("%s:%d: column %q %s: get the data set %s from the hub as it is published", r.Path, r.Number, column, what, r.dataset)
}

// value returns a column's value.
func (r row) value(column string) (any, error) {
	v, ok := r.Values[column]
	if !ok {
		var names []string
		for name := range r.Values {
			names = append(names, name)
		}
		return nil, r.wrong(column, "is missing, there are "+strings.Join(sorted(names...), ", "))
	}
	return v, nil
}

// text returns a column that has text; empty when it has no value.
func (r row) text(column string) (string, error) {
	v, err := r.value(column)
	if err != nil || v == nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", r.wrong(column, "is not text")
	}
	return normalize(s), nil
}

// texts returns columns that have text.
func (r row) texts(columns ...string) ([]string, error) {
	values := make([]string, len(columns))
	for i, column := range columns {
		var err error
		if values[i], err = r.text(column); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// list returns a column that has a list of texts.
func (r row) list(column string) ([]string, error) {
	v, err := r.value(column)
	if err != nil {
		return nil, err
	}
	list, ok := stringList(v)
	if !ok {
		return nil, r.wrong(column, "is not a list of texts")
	}
	return list, nil
}

// stringList makes a list of texts of a value; an item without a value is an empty text, so that places stay what they are.
func stringList(v any) ([]string, bool) {
	items, ok := v.([]any)
	if !ok {
		return nil, v == nil
	}
	list := make([]string, 0, len(items))
	for _, item := range items {
		s, ok := item.(string)
		if !ok && item != nil {
			return nil, false
		}
		list = append(list, normalize(s))
	}
	return list, true
}
