package task

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"plasticity/data"
	"plasticity/record"
)

// Pair is a context and what a model is asked to find likely behind it.
type Pair struct{ Context, Continuation string }

// MultipleChoice is a problem whose choices a model ranks by how likely it finds them.
type MultipleChoice struct {
	// Doc has what the file says of the problem, by column.
	Doc map[string]any
	// Target is the gold answer as the lm-evaluation-harness records it: the index of a choice, or, where the choices are in the
	// contexts, the text behind all of them.
	Target any
	// Pairs has a context and a continuation for each choice, Choices the texts whose lengths normalise.
	Pairs   []Pair
	Choices []string
	// Gold is the index of the right choice; −1 where the file lists none that is right, so that every answer is wrong.
	Gold int
}

// MultipleChoiceTest is a set of such problems.
type MultipleChoiceTest struct {
	Name     string
	Data     string // the data set or family it is from
	Problems []MultipleChoice
	Total    int // problems before the limit
	// Normalised says that accuracy by length-normalised likelihood is a metric of the test, as in the harness.
	Normalised bool
}

// MultipleChoiceOptions say which test to load.
type MultipleChoiceOptions struct {
	Name string
	// From is the folder the data were downloaded into, or one file of them; for a synthetic family a folder made by Make, or empty.
	From  string
	Limit int // problems, from the first on; 0: all
}

// MultipleChoiceTests lists the names of the tests: those of public data, then the synthetic ones.
func MultipleChoiceTests() []string {
	var names []string
	for _, p := range publicChoices() {
		names = append(names, p.name)
	}
	for _, f := range Families() {
		if f.Kind == Letter {
			names = append(names, f.Name)
		}
	}
	return names
}

// NeedsData reports whether a test is of public data, which the user has downloaded.
func NeedsData(name string) bool {
	_, ok := publicChoice(name)
	return ok
}

// LoadMultipleChoice loads a test, its problems in the order of the files' names and rows. Errors are Failures that name file,
// row, column and what to do. A test without a problem is refused.
func LoadMultipleChoice(ctx context.Context, o MultipleChoiceOptions) (*MultipleChoiceTest, error) {
	if o.Limit < 0 {
		return nil, usage("the first %d problems: at least 1, or 0 for all", o.Limit)
	}
	t := &MultipleChoiceTest{Name: o.Name}
	p, public := publicChoice(o.Name)
	var err error
	if public {
		t.Data, t.Normalised = p.part.dataset, p.normalised
		t.Problems, err = p.load(ctx, o)
	} else {
		t.Data, t.Normalised = o.Name, true
		t.Problems, err = synthetic(o)
	}
	if err != nil {
		return nil, err
	}
	if t.Total = len(t.Problems); t.Total == 0 {
		return nil, bad("test %s: no problem in %s: get the data again", o.Name, o.From)
	}
	if o.Limit > 0 {
		t.Problems = t.Problems[:min(o.Limit, t.Total)]
	}
	return t, nil
}

// Digest is over all that decides the scores: contexts, continuations, lengths and gold answers in their order. It does not
// depend on the kind of file.
func (t *MultipleChoiceTest) Digest() (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, p := range t.Problems {
		if err := enc.Encode([]any{p.Pairs, p.Choices, p.Gold}); err != nil {
			return "", record.Fail(record.Internal, "digest of test %s: %w", t.Name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// publicMultipleChoice is a test of public data.
type publicMultipleChoice struct {
	name       string
	part       part // its match is of the folder's name, a slash and the path of a file below it
	normalised bool
	read       func(r row) (MultipleChoice, error)
}

// load reads the problems of all files of a test.
func (p *publicMultipleChoice) load(ctx context.Context, o MultipleChoiceOptions) ([]MultipleChoice, error) {
	files, err := p.files(o.From)
	if err != nil {
		return nil, err
	}
	var problems []MultipleChoice
	for _, f := range files {
		err := data.ReadRows(ctx, f, func(r data.Row) error {
			problem, err := p.read(row{r, p.part.dataset})
			problems = append(problems, problem)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return problems, nil
}

// files lists the files of a test in from, which is one of them, their folder, or the folder of several data sets.
func (p *publicMultipleChoice) files(from string) ([]string, error) {
	get := fmt.Sprintf("get the data set %s from the hub (%s)", p.part.dataset, p.part.like)
	info, err := os.Stat(from)
	switch {
	case from == "":
		return nil, usage("test %s: the folder of its data is missing: %s", p.name, get)
	case err != nil:
		return nil, bad("test %s: %s: no such file or folder: %s", p.name, from, get)
	case !info.IsDir() && !data.IsTable(from):
		return nil, bad("test %s: %s: a table is .parquet, .jsonl or .json: %s", p.name, from, get)
	case !info.IsDir():
		return []string{from}, nil
	}
	root := from
	for _, name := range []string{p.part.dataset, p.part.base()} {
		if dir := filepath.Join(from, filepath.FromSlash(name)); exists(dir) {
			root = dir
			break
		}
	}
	files, err := p.walk(root)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, bad("test %s: folder %s: no file such as %s: get the data set %s from the hub into it", p.name, root, p.part.like, p.part.dataset)
	}
	for _, f := range files[1:] {
		if filepath.Ext(f) != filepath.Ext(files[0]) {
			return nil, bad("test %s: %s and %s are both there, perhaps the same problems twice: give one of them as --data", p.name, files[0], f)
		}
	}
	return files, nil
}

// walk lists the files below root that match. Those of hidden folders are notes of download tools.
func (p *publicMultipleChoice) walk(root string) ([]string, error) {
	absolute, err := filepath.Abs(root)
	if err != nil {
		return nil, record.FailIO(err, "folder %s", root)
	}
	var files []string
	err = filepath.WalkDir(root+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return record.FailIO(err, "read the data set %s", p.part.dataset)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := filepath.Base(absolute) + "/" + filepath.ToSlash(rel)
		if !d.IsDir() && data.IsTable(path) && p.part.match.MatchString(name) && !infoFile(d.Name()) && !strings.Contains("/"+filepath.ToSlash(rel), "/.") {
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// syntheticSeed is that of the problems of a family where no folder is given.
const syntheticSeed = 1

// synthetic makes a test of a family whose answers are letters: of the test set of a prepared task, or of a seed. A context is
// the template with the instruction; the continuations are what the response ends with for each option, without steps before it.
func synthetic(o MultipleChoiceOptions) ([]MultipleChoice, error) {
	f, err := family(o.Name)
	if err != nil || f.Kind != Letter {
		return nil, usage("test %.80q: not known; there are %s", o.Name, strings.Join(MultipleChoiceTests(), ", "))
	}
	var examples []Example
	if o.From == "" {
		t, err := Generate(o.Name, syntheticSeed, 1, 0, nil)
		if err != nil {
			return nil, err
		}
		examples = t.Test
	} else {
		s, err := Open(o.From)
		if err != nil {
			return nil, err
		}
		if s.Name() != o.Name || s.Kind() != f.Kind {
			return nil, bad("%s: the task in it is %s, with answers of the kind %q, not %s with %q: give the folder of the one that is meant", o.From, s.Name(), s.Kind(), o.Name, f.Kind)
		}
		examples = s.Test()
	}
	problems := make([]MultipleChoice, len(examples))
	for i, e := range examples {
		words := lastOptions(e.Instruction)
		gold := int(e.Answer[0] - 'A')
		if gold >= len(words) {
			return nil, bad("example %.80q: its instruction does not end with options that have %s among them: %s", e.ID, e.Answer, remedy)
		}
		p := MultipleChoice{
			Doc:    map[string]any{"id": e.ID, "instruction": e.Instruction, "answer": e.Answer, "level": e.Level},
			Target: gold, Gold: gold,
		}
		for k, word := range words {
			text := withLetter("", letterOf(k))
			if o.Name == "reading" { // its responses are the text of the option and the letter
				text = word + "\nTherefore, the answer is " + letterOf(k) + "."
			}
			p.Choices = append(p.Choices, text)
			p.Pairs = append(p.Pairs, Pair{Prompt(e), text})
		}
		problems[i] = p
	}
	return problems, nil
}

// lastOptions returns the words of the options at the end of a family's instruction: "… A corn B wool".
func lastOptions(instruction string) []string {
	fields := strings.Fields(instruction)
options:
	for n := 2; 2*n <= len(fields); n++ {
		tail := fields[len(fields)-2*n:]
		words := make([]string, n)
		for i := range words {
			if tail[2*i] != letterOf(i) {
				continue options
			}
			words[i] = tail[2*i+1]
		}
		return words
	}
	return nil
}
