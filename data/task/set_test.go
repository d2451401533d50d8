package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

// made writes a small task and returns its folder.
func made(t testing.TB) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "task")
	if _, err := Write(generated(t, "reading", 1, 20, 10), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpen_ReadsWhatWasWritten(t *testing.T) {
	want := generated(t, "reading", 1, 20, 10)
	dir := filepath.Join(t.TempDir(), "deep", "task")
	summary, err := Write(want, dir)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Train, set.Train()) + cmp.Diff(want.Test, set.Test()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if set.Name() != "reading" || set.Kind() != Letter || set.Dir() != dir || set.Digest() != summary.Manifest.Digest || summary.Unchanged {
		t.Errorf("%+v, %+v", set.Manifest(), summary)
	}
	if diff := cmp.Diff([]LevelCount{{"1", 10, 5}, {"2", 10, 5}}, set.Manifest().Levels); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
	if !Inspectable(dir) || Inspectable(filepath.Dir(dir)) {
		t.Error("Inspectable")
	}
}

func TestWrite_OnceAndNeverOverSomethingElse(t *testing.T) {
	dir := made(t)
	again, err := Write(generated(t, "reading", 1, 20, 10), dir)
	if err != nil || !again.Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}
	_, err = Write(generated(t, "reading", 2, 20, 10), dir)
	if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("other content: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(generated(t, "reading", 2, 20, 10), file); record.CodeOf(err) != record.Usage {
		t.Errorf("over a file: %v", err)
	}
	damage(t, dir, TrainFile, func(s string) string { return strings.Replace(s, "Where", "where", 1) })
	_, err = Write(generated(t, "reading", 1, 20, 10), dir)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// damage changes a file of a task.
func damage(t testing.TB, dir, name string, change func(string) string) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := change(string(b))
	if after == string(b) {
		t.Fatal("nothing was changed")
	}
	if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sealed corrects the manifest after a change to the files, so that only the change itself can be found.
func sealed(t testing.TB, dir string) {
	t.Helper()
	m := new(Manifest)
	b, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	for name, digest := range map[string]*string{TrainFile: &m.TrainSHA256, TestFile: &m.TestSHA256} {
		if _, *digest, err = hashFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.Digest = m.contentDigest()
	if b, err = m.marshal(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ManifestFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// line changes one line of a file.
func line(n int, change func(string) string) func(string) string {
	return func(s string) string {
		lines := strings.SplitAfter(s, "\n")
		lines[n-1] = change(lines[n-1])
		return strings.Join(lines, "")
	}
}

func replace(from, to string) func(string) string {
	return func(s string) string { return strings.Replace(s, from, to, 1) }
}

func TestOpen_RefusesWhatIsNotAsItWasWritten(t *testing.T) {
	sample := generated(t, "reading", 1, 20, 10)
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for name, c := range map[string]struct {
		file   string
		change func(string) string
		want   string
	}{
		"unknown field":     {TrainFile, line(3, replace(`"level"`, `"hint":"x","level"`)), `train.jsonl:3: field "hint" is not known`},
		"missing field":     {TestFile, line(2, replace(`,"source":"reading"`, ``)), `test.jsonl:2: field "source" is missing`},
		"field twice":       {TestFile, line(2, replace(`"level"`, `"id":"x","level"`)), `test.jsonl:2: field "id" comes twice`},
		"other type":        {TestFile, line(1, replace(`"level":"1"`, `"level":1`)), `test.jsonl:1: field "level" is not a string`},
		"no object":         {TestFile, line(1, func(string) string { return "[]\n" }), `test.jsonl:1: it is not a JSON object`},
		"empty line":        {TrainFile, line(2, func(s string) string { return "\n" + s }), `train.jsonl:2: it is not a JSON object`},
		"two objects":       {TrainFile, line(2, func(s string) string { return strings.TrimSpace(s) + " {}\n" }), `train.jsonl:2: it has more behind`},
		"cut off":           {TrainFile, line(20, func(s string) string { return s[:20] }), `train.jsonl:20: `},
		"not UTF-8":         {TrainFile, line(4, replace(`"On `, "\"\xff ")), `train.jsonl:4: it is not UTF-8`},
		"half a pair":       {TrainFile, line(4, replace(`"On `, `"\ud800 `)), `train.jsonl:4: it has half of a surrogate pair`},
		"same id":           {TrainFile, line(5, replace("000004", "000003")), `train.jsonl:5: field "id" "reading-train-000003" is that of train.jsonl:4, too`},
		"id of the test":    {TrainFile, line(5, replace("train-000004", "test-000003")), `is that of test.jsonl:4, too`},
		"in the test":       {TrainFile, line(6, replace(quoted(sample.Train[5].Instruction), quoted("  "+strings.ToUpper(sample.Test[2].Instruction)))), `train.jsonl:6: field "instruction" is that of test.jsonl:3, too`},
		"empty instruction": {TrainFile, line(6, replace(quoted(sample.Train[5].Instruction), `" "`)), `train.jsonl:6: field "instruction" is empty`},
		"empty response":    {TrainFile, line(6, replace(quoted(sample.Train[5].Response), `""`)), `train.jsonl:6: field "response" is empty`},
		"no letter":         {TestFile, line(1, replace(`"answer":"`+sample.Test[0].Answer, `"answer":"`+"yes")), `test.jsonl:1: field "answer" is not a letter`},
		"a line less":       {TrainFile, line(20, func(string) string { return "" }), `train.jsonl: 19 examples, field "train" of task.json says 20`},
		"empty test set":    {TestFile, func(string) string { return "" }, `test.jsonl: 0 examples, field "test" of task.json says 10`},
		"other level":       {TestFile, line(1, replace(`"level":"1"`, `"level":"2"`)), `field "levels" does not count`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := made(t)
			damage(t, dir, c.file, c.change)
			sealed(t, dir)
			_, err := Open(dir)
			if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), remedy) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestOpen_RefusesAChangedContent(t *testing.T) {
	for file, want := range map[string]string{TrainFile: `field "train_sha256"`, TestFile: `field "test_sha256"`} {
		dir := made(t)
		damage(t, dir, file, replace("went", "came"))
		if _, err := Open(dir); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

func TestOpen_RefusesManifests(t *testing.T) {
	for name, c := range map[string]struct {
		change func(string) string
		want   string
	}{
		"other format":  {replace("plasticity-task", "something"), `"format"`},
		"other version": {replace(`"version": 1`, `"version": 2`), "version 2"},
		"unknown field": {replace(`"name"`, `"names": 1, "name"`), `"names"`},
		"missing field": {replace(`"seed": 1,`, ``), `field "seed" is missing`},
		"field twice":   {replace(`"seed": 1,`, `"seed": 1, "seed": 1,`), "comes twice"},
		"kind":          {replace(`"kind": "letter"`, `"kind": "word"`), `field "digest"`},
		"no kind":       {replace(`"kind": "letter"`, `"kind": "number"`), `field "kind"`},
		"template":      {replace("human-assistant-1", "chatml"), `field "template"`},
		"count":         {replace(`"train": 20,`, `"train": 21,`), `field "digest"`},
		"no test":       {replace(`"test": 10,`, `"test": 0,`), `field "test" 0: an empty test set`},
		"digest":        {replace(`"digest": "`, `"digest": "0`), `field "digest"`},
		"not JSON":      {func(s string) string { return s[:50] }, ManifestFile},
		"more":          {func(s string) string { return s + "{}" }, ManifestFile},
	} {
		dir := made(t)
		damage(t, dir, ManifestFile, c.change)
		if _, err := Open(dir); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestOpen_RefusesWhatIsNoRegularFile(t *testing.T) {
	for _, name := range []string{TrainFile, TestFile, ManifestFile} {
		dir := made(t)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), name+": no such file") {
			t.Errorf("%s missing: %v", name, err)
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%s is a folder: opened", name)
		}
	}
	dir := made(t)
	path := filepath.Join(dir, TestFile)
	if err := errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "a symbolic link") {
		t.Errorf("a link: %v", err)
	}
}

func TestWrite_RefusesWhatOpenWould(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *Task)
		want   string
	}{
		"overlap":    {func(t *Task) { t.Train[0].Instruction = t.Test[0].Instruction }, "what was learned"},
		"same id":    {func(t *Task) { t.Train[0].ID = t.Train[1].ID }, `field "id"`},
		"no test":    {func(t *Task) { t.Test = nil }, "an empty test set"},
		"no train":   {func(t *Task) { t.Train = nil }, "no example to learn from"},
		"bad answer": {func(t *Task) { t.Test[0].Answer = "" }, `field "answer" is empty`},
		"bad name":   {func(t *Task) { t.Name = "../x" }, `field "name"`},
	} {
		task := generated(t, "reading", 1, 20, 10)
		c.change(task)
		out := filepath.Join(t.TempDir(), "out")
		if _, err := Write(task, out); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if exists(out) {
			t.Errorf("%s: something was written", name)
		}
	}
}

// The digest is over what a run reads, and not over where it comes from.
func TestDigest(t *testing.T) {
	base := Manifest{Format: "f", Version: 1, Name: "n", Kind: Math, Template: template, Train: 2, Test: 1, TrainSHA256: "a", TestSHA256: "b"}
	for name, change := range map[string]func(m *Manifest){
		"name": func(m *Manifest) { m.Name = "o" }, "kind": func(m *Manifest) { m.Kind = Word }, "template": func(m *Manifest) { m.Template = "t" },
		"train": func(m *Manifest) { m.TrainSHA256 = "c" }, "test": func(m *Manifest) { m.TestSHA256 = "c" },
	} {
		other := base
		change(&other)
		if other.contentDigest() == base.contentDigest() {
			t.Errorf("%s makes no difference", name)
		}
	}
	other := base
	other.Seed, other.Sources, other.Filters = 9, []Source{{Dataset: "x"}}, []Filter{{Reason: "y"}}
	if other.contentDigest() != base.contentDigest() {
		t.Error("the origin makes a difference")
	}
}

func TestMake_Texts(t *testing.T) {
	from := t.TempDir()
	for i := range 60 {
		var text strings.Builder
		text.WriteString("// a licence " + strings.Repeat("x", 109) + "\n\n") // a chunk of its own, in every file
		for j := range 40 {
			text.WriteString("\tline " + strings.Repeat(string(rune('a'+(i+j)%26)), 1+(i*j)%30) + letterOf(i%26) + letterOf(i/26) + letterOf(j%26) + "\n")
		}
		if err := os.WriteFile(filepath.Join(from, letterOf(i%26)+letterOf(i/26)+".txt"), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(from, "binary"), []byte("\xff\xfe"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	o := Options{Name: goSource, From: from, Out: out, Seed: 1, Train: 100, Test: 20}
	summary, err := Make(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	licences := 0
	for _, e := range slices.Concat(set.Train(), set.Test()) {
		if e.Instruction != "" || e.Answer != "" || len(e.Response) > chunkBytes(1) || strings.TrimRight(e.Response, "\n") != e.Response {
			t.Errorf("%+v", e)
		}
		if strings.Contains(e.Response, "licence") {
			licences++
		}
	}
	if licences > 1 {
		t.Errorf("the licence comes %d times", licences)
	}
	if f := summary.Manifest.Filters; f[0].Dropped != 1 || summary.Manifest.Sources[0].Files != 61 {
		t.Errorf("%+v", summary.Manifest)
	}
	o.Train, o.Out = 100_000, out+"2"
	if _, err := Make(context.Background(), o); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "too few") {
		t.Errorf("more than there is: %v", err)
	}
	o.From = t.TempDir()
	if _, err := Make(context.Background(), o); record.CodeOf(err) != record.BadData {
		t.Errorf("an empty folder: %v", err)
	}
}

func FuzzReadLines(f *testing.F) {
	var b bytes.Buffer
	if err := writeLines(&b, []Example{{ID: "a", Instruction: "é\u2028<>", Response: "\\u \"", Answer: "5", Level: "1", Source: "s"}, {}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"id":"\ud83d\ude00","instruction":"","response":"\\ud800","answer":"","level":"","source":""}`))
	f.Add([]byte(`{"id":"\ud800\u0041","instruction":"","response":"","answer":"","level":"","source":""}`))
	f.Add([]byte("{\"id\":1}\n[]\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		var examples []Example
		err := readLines(bytes.NewReader(file), func(_ int, e Example) error {
			examples = append(examples, e)
			return nil
		})
		var wrong *lineError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		// What was read is written and read again as it is.
		var again bytes.Buffer
		if err := writeLines(&again, examples); err != nil {
			t.Fatal(err)
		}
		i := 0
		if err := readLines(&again, func(_ int, e Example) error {
			if e != examples[i] {
				t.Fatalf("%+v became %+v", examples[i], e)
			}
			i++
			return nil
		}); err != nil || i != len(examples) {
			t.Fatal(i, err)
		}
	})
}
