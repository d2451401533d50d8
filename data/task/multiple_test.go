package task

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"plasticity/record"
)

// layout is a public test as its files are laid out: columns, rows, and what becomes of the rows.
type layout struct {
	test, parquet, jsonl string // names of files
	columns              parquet.Group
	rows                 []map[string]any
	original             []map[string]any // the rows of the JSON lines, where those have another layout
	want                 []MultipleChoice
}

func integer() parquet.Node { return parquet.Int(64) }

// both makes pairs of one context.
func both(context string, continuations ...string) []Pair {
	var pairs []Pair
	for _, c := range continuations {
		pairs = append(pairs, Pair{context, c})
	}
	return pairs
}

func labelledColumns() parquet.Node {
	return parquet.Optional(parquet.Group{"text": texts(), "label": texts()})
}

func layouts() []layout {
	inColumns := func(texts, labels []string) map[string]any {
		return map[string]any{"text": texts, "label": labels}
	}
	inItems := func(texts, labels []string) []any {
		var items []any
		for i := range texts {
			items = append(items, map[string]any{"text": texts[i], "label": labels[i]})
		}
		return items
	}
	letters, digits := []string{"A", "B", "C"}, []string{"1", "2", "3"}
	return []layout{
		{
			test: "hellaswag", parquet: "data/validation-00000-of-00001.parquet", jsonl: "hellaswag_val.jsonl",
			columns: parquet.Group{"ind": integer(), "activity_label": text(), "ctx_a": text(), "ctx_b": parquet.String(), "ctx": text(), "endings": texts(), "label": text()},
			rows: []map[string]any{
				{
					"ind": 4, "activity_label": "Removing ice", "ctx_a": "A man [substeps] sits.", "ctx_b": "then HE", "ctx": "?", "label": "1",
					"endings": []string{" climbs [title] Now go.", "[header] is [step] gone  away. "},
				},
				{"ind": 5, "activity_label": "Ä", "ctx_a": "One.", "ctx_b": "", "ctx": "?", "label": "0", "endings": []string{"a", "b"}},
			},
			want: []MultipleChoice{
				{Target: 1, Gold: 1, Choices: []string{"climbs. Now go.", " is gone away."}, Pairs: both("Removing ice: A man sits. Then he", " climbs. Now go.", "  is gone away.")},
				{Target: 0, Gold: 0, Choices: []string{"a", "b"}, Pairs: both("Ä: One.", " a", " b")},
			},
		},
		{
			test: "winogrande", parquet: "winogrande_xl/validation-00000-of-00001.parquet", jsonl: "dev.jsonl",
			columns: parquet.Group{"sentence": text(), "option1": text(), "option2": text(), "answer": text()},
			rows:    []map[string]any{{"sentence": "Ann likes Bea since _  is kind _. ", "option1": "Ann", "option2": "Bea", "answer": "2"}},
			want: []MultipleChoice{{
				Target: "is kind _.", Gold: 1, Choices: []string{"Ann likes Bea since Ann", "Ann likes Bea since Bea"},
				Pairs: []Pair{{"Ann likes Bea since Ann", " is kind _."}, {"Ann likes Bea since Bea", " is kind _."}},
			}},
		},
		{
			test: "piqa", parquet: "plain_text/validation/0000.parquet", jsonl: "valid.jsonl",
			columns: parquet.Group{"goal": text(), "sol1": text(), "sol2": text(), "label": integer()},
			rows:    []map[string]any{{"goal": "To cut ", "sol1": "saw", "sol2": " bend", "label": 0}},
			want:    []MultipleChoice{{Target: 0, Gold: 0, Choices: []string{"saw", " bend"}, Pairs: both("Question: To cut \nAnswer:", " saw", "  bend")}},
		},
		{
			test: "openbookqa", parquet: "main/test-00000-of-00001.parquet", jsonl: "Data/Main/test.jsonl",
			columns:  parquet.Group{"id": text(), "question_stem": text(), "choices": labelledColumns(), "answerKey": text()},
			rows:     []map[string]any{{"id": "8", "question_stem": "Snow is ", "choices": inColumns([]string{"hot", "cold", "old"}, letters), "answerKey": " B"}},
			original: []map[string]any{{"id": "8", "question": map[string]any{"stem": "Snow is ", "choices": inItems([]string{"hot", "cold", "old"}, letters)}, "answerKey": "B"}},
			want:     []MultipleChoice{{Target: 1, Gold: 1, Choices: []string{"hot", "cold", "old"}, Pairs: both("Snow is ", " hot", " cold", " old")}},
		},
		{
			test: "arc_easy", parquet: "ARC-Easy/test-00000-of-00001.parquet", jsonl: "ARC-Easy/ARC-Easy-Test.jsonl",
			columns:  parquet.Group{"id": text(), "question": text(), "choices": labelledColumns(), "answerKey": text()},
			rows:     []map[string]any{{"id": "M", "question": "Why?", "choices": inColumns([]string{"x", "y", "z"}, digits), "answerKey": "3"}},
			original: []map[string]any{{"id": "M", "question": map[string]any{"stem": "Why?", "choices": inItems([]string{"x", "y", "z"}, digits)}, "answerKey": "3"}},
			want:     []MultipleChoice{{Target: 2, Gold: 2, Choices: []string{"x", "y", "z"}, Pairs: both("Question: Why?\nAnswer:", " x", " y", " z")}},
		},
		{
			test: "mathqa", parquet: "data/test-00000-of-00001.parquet", jsonl: "test.json",
			columns: parquet.Group{"Problem": text(), "options": text(), "correct": text()},
			rows: []map[string]any{
				{"Problem": "2 + 2 ?", "options": "a ) 38 , b ) 27.675 , c ) 4 , d ) 1 , 000 , e ) none of these", "correct": "c"},
				{"Problem": "lost ?", "options": "a ) 1 , e ) 2", "correct": "d"},
			},
			want: []MultipleChoice{
				{Target: 2, Gold: 2, Choices: []string{"38", "27.675", "4", "1", "none of these"}, Pairs: both("Question: 2 + 2 ?\nAnswer:", " 38", " 27.675", " 4", " 1", " none of these")},
				{Target: 3, Gold: -1, Choices: []string{"1", "2"}, Pairs: both("Question: lost ?\nAnswer:", " 1", " 2")},
			},
		},
	}
}

// loadMultiple loads a test.
func loadMultiple(name, from string, limit int) (*MultipleChoiceTest, error) {
	return LoadMultipleChoice(context.Background(), MultipleChoiceOptions{Name: name, From: from, Limit: limit})
}

// Each layout becomes the harness' contexts and continuations, from Parquet and from JSON lines, found in the folder of the data set,
// in the folder above, and as a file.
func TestLoadMultipleChoice_Layouts(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		base := filepath.Base(mustPublic(t, l.test).part.dataset)
		digests := map[string]bool{}
		for kind, name := range map[string]string{"parquet": l.parquet, "jsonl": l.jsonl} {
			above := t.TempDir()
			content := table(t, l.columns, l.rows...)
			if kind == "jsonl" {
				rows := l.rows
				if l.original != nil {
					rows = l.original
				}
				content = lines(t, rows...)
			}
			put(t, above, base+"/"+name, content)
			put(t, above, base+"/.cache/"+name, []byte("not read"))
			put(t, above, base+"/data/train-00000-of-00001.parquet", []byte("not read"))
			for _, from := range []string{above, filepath.Join(above, base), filepath.Join(above, base, filepath.FromSlash(name))} {
				got, err := loadMultiple(l.test, from, 0)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(l.want, got.Problems, cmpopts.IgnoreFields(MultipleChoice{}, "Doc")); diff != "" {
					t.Errorf("%s from %s (-want +got):\n%s", l.test, from, diff)
				}
				if got.Normalised != (l.test != "winogrande") || got.Total != len(l.want) || got.Data == "" {
					t.Errorf("%+v", got)
				}
				digest, err := got.Digest()
				if err != nil {
					t.Fatal(err)
				}
				digests[digest] = true
			}
		}
		if len(digests) != 1 {
			t.Errorf("%s: %d digests of the same problems", l.test, len(digests))
		}
	}
}

func mustPublic(t *testing.T, name string) publicMultipleChoice {
	t.Helper()
	p, ok := publicChoice(name)
	if !ok {
		t.Fatal(name)
	}
	return p
}

// Every column that is missing or wrong is refused with file, line, column and what to do.
func TestLoadMultipleChoice_RefusesWrongColumns(t *testing.T) {
	t.Parallel()
	wrong := map[string]map[string]any{
		"hellaswag":  {"activity_label": 3, "ctx_a": nil, "ctx_b": true, "endings": []string{}, "label": "2"},
		"winogrande": {"sentence": "no gap", "option1": 1, "option2": nil, "answer": ""},
		"piqa":       {"goal": nil, "sol1": 1, "sol2": []string{}, "label": -1},
		"openbookqa": {"question_stem": 1, "choices": map[string]any{"text": []string{"a"}, "label": []string{"A", "B"}}, "answerKey": "D"},
		"arc_easy":   {"question": 1, "choices": []any{map[string]any{"text": "a"}}, "answerKey": nil},
		"mathqa":     {"Problem": 1, "options": "1, 2", "correct": "f"},
	}
	for _, l := range layouts() {
		for column, value := range wrong[l.test] {
			for _, missing := range []bool{false, true} {
				row := maps.Clone(l.rows[0])
				if row[column] = value; missing {
					delete(row, column)
				}
				dir := t.TempDir()
				put(t, dir, "rows.jsonl", lines(t, l.rows[0], row))
				_, err := loadMultiple(l.test, filepath.Join(dir, "rows.jsonl"), 0)
				if record.CodeOf(err) != record.BadData {
					t.Fatalf("%s, %s %v: %v", l.test, column, value, err)
				}
				for _, word := range []string{"rows.jsonl:2: column ", "get the data set " + mustPublic(t, l.test).part.dataset} {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%s, %s %v: %v, want %q in it", l.test, column, value, err, word)
					}
				}
				inside := missing || l.test != "arc_easy" || column != "choices" // there a column of the structure is named
				if inside && !strings.Contains(err.Error(), fmt.Sprintf("column %q", column)) {
					t.Errorf("%s, %s: %v", l.test, column, err)
				}
			}
		}
	}
}

func TestLoadMultipleChoice_RefusesFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := layouts()[0]
	put(t, dir, "both/hellaswag_val.jsonl", lines(t, l.rows...))
	put(t, dir, "both/data/validation-00000-of-00001.parquet", table(t, l.columns, l.rows...))
	put(t, dir, "none/train.jsonl", lines(t, l.rows...))
	put(t, dir, "empty/val.jsonl", nil)
	put(t, dir, "torn/val.jsonl", []byte(`{"label": "1`))
	put(t, dir, "torn/val.parquet", []byte("PAR1"))
	put(t, dir, "notes.txt", []byte("x"))
	for from, c := range map[string]struct {
		code  record.Code
		words string
	}{
		"":                 {record.Usage, "the folder of its data is missing: get the data set Rowan/hellaswag"},
		"nowhere":          {record.BadData, "no such file or folder: get the data set"},
		"notes.txt":        {record.BadData, "a table is .parquet, .jsonl or .json"},
		"both":             {record.BadData, "are both there"},
		"none":             {record.BadData, "no file such as data/validation-00000-of-00001.parquet"},
		"empty":            {record.BadData, "no problem in"},
		"torn/val.jsonl":   {record.BadData, "val.jsonl:1"},
		"torn/val.parquet": {record.BadData, "not a Parquet file"},
	} {
		path := from
		if from != "" {
			path = filepath.Join(dir, from)
		}
		if _, err := loadMultiple("hellaswag", path, 0); record.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q: %d %v, want %d with %q", from, record.CodeOf(err), err, c.code, c.words)
		}
	}
	if _, err := loadMultiple("arithmetic", "", 0); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "there are hellaswag") {
		t.Error(err)
	}
	if _, err := loadMultiple("choice4", "", -1); record.CodeOf(err) != record.Usage {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := LoadMultipleChoice(ctx, MultipleChoiceOptions{Name: "hellaswag", From: filepath.Join(dir, "both", "hellaswag_val.jsonl")}); record.CodeOf(err) != record.Stopped {
		t.Error(err)
	}
}

// The synthetic tests need no data; the gold continuation is what the family's response ends with.
func TestLoadMultipleChoice_Synthetic(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"choice4", "choice10", "reading"} {
		made, err := Generate(name, syntheticSeed, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := loadMultiple(name, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Problems) != len(made.Test) {
			t.Fatalf("%s: %d problems", name, len(got.Problems))
		}
		for i, p := range got.Problems {
			e := made.Test[i]
			if want := map[string]int{"choice4": 4, "choice10": 10, "reading": 4}[name]; len(p.Pairs) != want || len(p.Choices) != want {
				t.Fatalf("%s: %d choices", e.ID, len(p.Pairs))
			}
			if gold := p.Pairs[p.Gold]; gold.Context != Prompt(e) || !strings.HasSuffix(e.Response, gold.Continuation) || name == "reading" && e.Response != gold.Continuation {
				t.Errorf("%s: gold %q of %q", e.ID, gold, e.Response)
			}
		}
	}
	// Of a prepared task it is the test set.
	dir := filepath.Join(t.TempDir(), "made")
	if _, err := Make(context.Background(), Options{Name: "reading", Out: dir, Seed: 7, Train: 4, Test: 9, Levels: []int{3}}); err != nil {
		t.Fatal(err)
	}
	got, err := loadMultiple("reading", dir, 5)
	if err != nil || len(got.Problems) != 5 || got.Total != 9 || got.Problems[0].Doc["level"] != "3" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := loadMultiple("choice4", dir, 0); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "the task in it is reading") {
		t.Error(err)
	}
	// A folder may have the name of a test, but its examples no letters.
	other := filepath.Join(t.TempDir(), "other")
	texts := []Example{{ID: "a", Response: "A corn B wool"}}
	if _, err := Write(&Task{Name: "choice4", Kind: Text, Train: texts, Test: []Example{{ID: "b", Response: "A wool B corn"}}}, other); err != nil {
		t.Fatal(err)
	}
	if _, err := loadMultiple("choice4", other, 0); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), `of the kind "", not`) {
		t.Error(err)
	}
}
