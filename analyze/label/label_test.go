package label

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"plasticity/record"
)

// folderOf writes files.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, task, from string) *Set {
	t.Helper()
	s, err := Load(context.Background(), Options{Task: task, From: from, Train: 20, Val: 5, Test: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// repeat makes n lines.
func repeat(n int, line func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i))
	}
	return b.String()
}

// parquetOf makes a Parquet file.
func parquetOf[T any](t *testing.T, rows []T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.parquet")
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sentence is a row of SST-2.
type sentence struct {
	Index    int32  `parquet:"idx"`
	Sentence string `parquet:"sentence"`
	Label    int64  `parquet:"label"`
}

func sentences(n int, prefix string) []sentence {
	var out []sentence
	for i := range n {
		out = append(out, sentence{int32(i), fmt.Sprintf("%s %d,\t%d", prefix, i, i%2), int64(i % 2)})
	}
	return out
}

// Every layout in which the sets are published; each text names its split and says its label.
func layoutsOnDisk(t *testing.T) map[string][2]any {
	t.Helper()
	csv := func(prefix string, n, classes int) string {
		return repeat(n, func(i int) string {
			return fmt.Sprintf("\"%d\",\"%s, said \"\"he\"\"\",\"%d\n%d\"\n", i%classes+1, prefix, i, i%classes)
		})
	}
	lines := func(prefix string, n, classes int) string {
		return repeat(n, func(i int) string {
			return fmt.Sprintf(`{"text":"%s","label":%d,"title":"%s","content":"%d %d"}`+"\n", fmt.Sprint(prefix, " ", i, " ", i%classes), i%classes, prefix, i, i%classes)
		})
	}
	reviews := map[string]string{}
	for i := range 30 {
		for k, side := range []string{"neg", "pos"} {
			reviews[fmt.Sprintf("aclImdb/train/%s/%d_9.txt", side, i)] = fmt.Sprintf("train %d %d", i, k)
			reviews[fmt.Sprintf("aclImdb/test/%s/%d_9.txt", side, i)] = fmt.Sprintf("test %d %d", i, k)
			reviews[fmt.Sprintf("aclImdb/train/unsup/%d_0.txt", i)] = "unsup"
		}
	}
	reviews["aclImdb/README"], reviews["aclImdb/train/urls_pos.txt"] = "read me", "urls"
	return map[string][2]any{
		"sst2 parquet": {"sst2", map[string]string{
			"data/train-00000-of-00001.parquet": parquetOf(t, sentences(60, "train")), "data/validation-00000-of-00001.parquet": parquetOf(t, sentences(30, "test")),
			"data/test-00000-of-00001.parquet": parquetOf(t, []sentence{{1, "secret", -1}}),
		}},
		"sst2 tsv": {"sst2", map[string]string{
			"train.tsv": "sentence\tlabel\n" + repeat(60, func(i int) string { return fmt.Sprintf("\"train %d %d\t%d\n", i, i%2, i%2) }),
			"dev.tsv":   "sentence\tlabel\n" + repeat(30, func(i int) string { return fmt.Sprintf("test \" %d %d\t%d\n", i, i%2, i%2) }),
			"test.tsv":  "index\tsentence\n0\tsecret\n",
		}},
		"imdb jsonl":    {"imdb", map[string]string{"plain_text/train.jsonl": lines("train", 60, 2), "plain_text/test.jsonl": lines("test", 30, 2), "plain_text/unsupervised.jsonl": lines("unsup", 9, 2)}},
		"imdb files":    {"imdb", reviews},
		"agnews csv":    {"agnews", map[string]string{"train.csv": csv("train", 60, 4), "test.csv": "Class Index,Title,Description\n" + csv("test", 30, 4)}},
		"agnews jsonl":  {"agnews", map[string]string{"train.jsonl": lines("train", 60, 4), "test.jsonl": lines("test", 30, 4)}},
		"reviews":       {"reviews", map[string]string{"train.jsonl": lines("train", 60, 2), "test.jsonl": lines("test", 30, 2), "SOURCE.json": "{}"}},
		"dbpedia csv":   {"dbpedia", map[string]string{"dbpedia_csv/train.csv": csv("train", 60, 14), "dbpedia_csv/test.csv": csv("test", 30, 14)}},
		"dbpedia jsonl": {"dbpedia", map[string]string{"dbpedia_14/train-0.jsonl": lines("train", 60, 14), "dbpedia_14/test-0.jsonl": lines("test", 30, 14)}},
	}
}

func TestLoad_EveryLayout(t *testing.T) {
	for name, c := range layoutsOnDisk(t) {
		s := load(t, c[0].(string), folderOf(t, c[1].(map[string]string)))
		if len(s.Train) != 20 || len(s.Val) != 5 || len(s.Test) != 10 || s.Synthetic {
			t.Errorf("%s: %d, %d and %d texts", name, len(s.Train), len(s.Val), len(s.Test))
		}
		seen := make(map[string]bool)
		for k, texts := range [][]Text{s.Train, s.Val, s.Test} {
			for _, x := range texts {
				split := "train"
				if k == 2 {
					split = "test"
				}
				if fields := strings.Fields(x.Text); fields[len(fields)-1] != fmt.Sprint(x.Label) || !strings.Contains(x.Text, split) || seen[x.Text] {
					t.Errorf("%s: %q has label %d, in split %d", name, x.Text, x.Label, k)
				}
				seen[x.Text] = true
			}
		}
	}
}

func TestLoad_IsAFunctionOfItsSeed(t *testing.T) {
	c := layoutsOnDisk(t)["agnews csv"]
	dir := folderOf(t, c[1].(map[string]string))
	a, b := load(t, "agnews", dir), load(t, "agnews", dir)
	if diff := cmp.Diff(a, b); diff != "" || a.Digest() != b.Digest() {
		t.Error(diff)
	}
	other, err := Load(context.Background(), Options{Task: "agnews", From: dir, Train: 20, Val: 5, Test: 10, Seed: 2})
	if err != nil || other.Digest() == a.Digest() {
		t.Errorf("another seed drew the same texts (%v)", err)
	}
}

func TestLoad_NamesWhatIsWrong(t *testing.T) {
	good := "1,\"t\",\"d\"\n"
	for name, c := range map[string]struct {
		task  string
		files map[string]string
		code  record.Code
		want  []string
	}{
		"label too large":  {"agnews", map[string]string{"train.csv": "1,a,b\n5,c,d\n", "test.csv": good}, record.BadData, []string{"train.csv:2", "label", "4 labels"}},
		"line too long":    {"sst2", map[string]string{"train.tsv": "a\t1\nb\t0\n" + strings.Repeat("a", maxCellLine) + "\t1\n", "dev.tsv": "a\t1\nb\t0\n"}, record.BadData, []string{"train.tsv:3", "too long"}},
		"label no number":  {"agnews", map[string]string{"train.csv": "1,a,b\nx,c,d\n", "test.csv": good}, record.BadData, []string{"train.csv:2", `"x"`}},
		"columns":          {"agnews", map[string]string{"train.csv": "1,a,b\n2,c\n"}, record.BadData, []string{"train.csv:2", "2 columns", "want 3"}},
		"quote":            {"agnews", map[string]string{"train.csv": "1,a,b\n2,\"c,d\n"}, record.BadData, []string{"train.csv:", "as it is published"}},
		"column missing":   {"sst2", map[string]string{"train.jsonl": `{"sentence":"a","label":1}` + "\n" + `{"text":"a","label":1}` + "\n"}, record.BadData, []string{"train.jsonl:2", "sentence", "missing"}},
		"label is a word":  {"sst2", map[string]string{"train.jsonl": `{"sentence":"a","label":"good"}` + "\n"}, record.BadData, []string{"train.jsonl:1", `"good"`}},
		"empty text":       {"sst2", map[string]string{"train.jsonl": `{"sentence":" ","label":1}` + "\n"}, record.BadData, []string{"train.jsonl:1", "empty"}},
		"empty file":       {"imdb", map[string]string{"train/neg/0_1.txt": "a", "train/neg/1_1.txt": "\n"}, record.BadData, []string{"1_1.txt", "empty"}},
		"no test files":    {"imdb", map[string]string{"train.jsonl": `{"text":"a","label":1}` + "\n"}, record.BadData, []string{"0 to test on", "stanfordnlp/imdb"}},
		"nothing there":    {"dbpedia", map[string]string{"notes.md": "x"}, record.BadData, []string{"fancyzhx/dbpedia_14"}},
		"one label":        {"imdb", map[string]string{"train.jsonl": `{"text":"a","label":1}` + "\n", "test.jsonl": `{"text":"b","label":1}` + "\n"}, record.BadData, []string{"labels"}},
		"names of files":   {Decade, map[string]string{"speech.txt": "x"}, record.BadData, []string{"speech.txt", "data fetch sotu"}},
		"names of samples": {Genre, map[string]string{"news_ca01.txt": "x", "ca02.txt": "x"}, record.BadData, []string{"ca02.txt", "genre_place", "data fetch brown"}},
		"other reviews":    {"reviews", map[string]string{"train.jsonl": `{"text":"a","label":2}` + "\n"}, record.BadData, []string{"train.jsonl:1", "2 labels", "data fetch reviews"}},
		"reviews cut off":  {"reviews", map[string]string{"train.jsonl": `{"text":"a","label":1}` + "\n"}, record.BadData, []string{"0 to test on", "data fetch reviews"}},
		"unknown":          {"yelp", nil, record.Usage, []string{"yelp", "agnews"}},
		"data of no need":  {Synthetic, nil, record.Usage, []string{"leave"}},
		"one kind is gone": {Kind, map[string]string{"sotu/a.txt": "x"}, record.IO, []string{"goroot"}},
	} {
		_, err := Load(context.Background(), Options{Task: c.task, From: folderOf(t, c.files), Train: 20, Val: 5, Test: 10, Seed: 1})
		if record.CodeOf(err) != c.code {
			t.Errorf("%s: %d, want %d: %v", name, record.CodeOf(err), c.code, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in: %v", name, want, err)
			}
		}
	}
	if _, err := Load(context.Background(), Options{Task: "sst2", From: "/nowhere", Train: 2, Val: 2, Test: 2}); record.CodeOf(err) != record.Usage {
		t.Error(err)
	}
	pipe := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(pipe, "train.csv"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(context.Background(), Options{Task: "agnews", From: pipe, Train: 2, Val: 2, Test: 2}); record.CodeOf(err) != record.BadData {
		t.Error("a named pipe:", err)
	}
}

// addresses writes speeches of two parties over three decades whose every word names its file.
func addresses(t *testing.T) string {
	files := map[string]string{}
	for year := 1950; year < 1980; year++ {
		party := []string{"d", "r"}[year/2%2]
		files[fmt.Sprintf("sotu/%d_a_president_%s.txt", year, party)] = strings.Repeat(fmt.Sprintf("word%d%s ", year, party), 300)
		files[fmt.Sprintf("goroot/%d.go.txt", year)] = strings.Repeat(fmt.Sprintf("word%dg ", year), 300)
		genre, letter := []string{"news", "science_fiction"}[year%2], []string{"a", "m"}[year%2]
		files[fmt.Sprintf("brown/%s_c%s%d.txt", genre, letter, year-1900)] = strings.Repeat(fmt.Sprintf("word%d%s ", year, letter), 300)
	}
	return folderOf(t, files)
}

// No document is on two sides, and each passage has the label of its document.
func TestPassages_SplitByDocument(t *testing.T) {
	dir := addresses(t)
	for task, c := range map[string]struct {
		from   string
		labels []string
		of     func(year, mark string) string
	}{
		Decade: {dir + "/sotu", []string{"1950s", "1960s", "1970s"}, func(year, _ string) string { return year[:3] + "0s" }},
		Party:  {dir + "/sotu", []string{"Democratic", "Republican"}, func(_, mark string) string { return map[string]string{"d": "Democratic", "r": "Republican"}[mark] }},
		Genre:  {dir + "/brown", []string{"news", "science_fiction"}, func(_, mark string) string { return map[string]string{"a": "news", "m": "science_fiction"}[mark] }},
		Kind:   {dir, []string{"goroot", "sotu"}, func(_, mark string) string { return map[string]string{"d": "sotu", "r": "sotu", "g": "goroot"}[mark] }},
	} {
		s, err := Load(context.Background(), Options{Task: task, From: c.from, Train: 60, Val: 20, Test: 40, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(s.Labels, c.labels) || len(s.Train) != 60 || len(s.Val) == 0 || len(s.Test) == 0 {
			t.Errorf("%s: labels %v, %d, %d and %d texts", task, s.Labels, len(s.Train), len(s.Val), len(s.Test))
		}
		side, document := make(map[string]int), make(map[string]int)
		for k, texts := range [][]Text{s.Train, s.Val, s.Test} {
			for _, x := range texts {
				word := strings.Fields(x.Text)[0]
				if before, ok := side[word]; ok && before != k {
					t.Errorf("%s: document %s is in splits %d and %d", task, word, before, k)
				}
				side[word] = k
				if before, ok := document[word]; ok && before != x.Document || x.Document == 0 {
					t.Errorf("%s: document %s has numbers %d and %d", task, word, before, x.Document)
				}
				document[word] = x.Document
				if want := c.of(word[4:8], word[8:]); s.Labels[x.Label] != want || len(x.Text) < passageBytes || len(x.Text) > passageBytes+10 {
					t.Errorf("%s: %.12q of %d bytes has label %s", task, x.Text, len(x.Text), s.Labels[x.Label])
				}
			}
		}
		if numbers := slices.Sorted(maps.Values(document)); len(slices.Compact(numbers)) != len(document) {
			t.Errorf("%s: documents share numbers: %v", task, document)
		}
	}
}

// The made-up sentences are called synthetic, differ from each other, and are good or bad about equally often; single words do not
// decide.
func TestTemplates_AreDifferentSentences(t *testing.T) {
	s, err := Load(context.Background(), Options{Task: Synthetic, Train: 2000, Val: 500, Test: 1000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Synthetic || !strings.Contains(s.Data, "synthetic") {
		t.Errorf("%+v", s.Data)
	}
	seen, good, excellent := make(map[string]bool), 0, [2]int{}
	for _, x := range slices.Concat(s.Train, s.Val, s.Test) {
		if seen[x.Text] || strings.ContainsAny(x.Text, "{}") {
			t.Errorf("%q", x.Text)
		}
		seen[x.Text] = true
		good += x.Label
		if strings.Contains(x.Text, "excellent") {
			excellent[x.Label]++
		}
	}
	if good < 1600 || good > 1900 || excellent[0] < 20 || excellent[1] < 2*excellent[0]/2 {
		t.Errorf("%d of %d are good; excellent is bad %d times, good %d times", good, len(seen), excellent[0], excellent[1])
	}
	if _, err := Load(context.Background(), Options{Task: Synthetic, Train: 1 << 22, Val: 2, Test: 2, Seed: 1}); record.CodeOf(err) != record.Usage {
		t.Error("more sentences than there are:", err)
	}
}
