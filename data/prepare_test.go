package data

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

// prose returns n different documents.
func prose(n int) []string {
	var texts []string
	for i := range n {
		texts = append(texts, fmt.Sprintf("Document %d of %d.\nThe congress of the states has %d members and don't forget it.\n", i, n, i*i))
	}
	return texts
}

// jsonLines returns documents as JSON lines.
func jsonLines(t testing.TB, texts []string) string {
	t.Helper()
	var b strings.Builder
	for _, text := range texts {
		line, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// prepare prepares documents in a new folder and returns it.
func prepare(t testing.TB, texts []string, change func(*PrepareOptions)) (string, Summary) {
	t.Helper()
	dir := t.TempDir()
	o := PrepareOptions{
		In: []string{put(t, dir, "in.jsonl", jsonLines(t, texts))}, Tokenizer: "testdata/tokenizer.json", Out: filepath.Join(dir, "out"),
		ValFraction: 0.2, Seed: 1,
	}
	if change != nil {
		change(&o)
	}
	s, err := Prepare(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return o.Out, s
}

// open opens a split.
func open(t testing.TB, dir string) *Set {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// splitTexts decodes the documents of a split.
func splitTexts(t testing.TB, dir string) []string {
	t.Helper()
	s := open(t, dir)
	tokenizer, err := s.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int32, s.Tokens())
	r := newReader(s)
	defer r.close()
	if err := r.tokens(ids, 0); err != nil {
		t.Fatal(err)
	}
	texts := strings.SplitAfter(tokenizer.Decode(ids), EndOfText)
	for i := range texts {
		texts[i] = strings.TrimSuffix(texts[i], EndOfText)
	}
	if last := len(texts) - 1; texts[last] != "" {
		t.Errorf("%s does not end with an end of text", dir)
	}
	return texts[:len(texts)-1]
}

// tree returns all files below dir by name.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPrepare_EveryDocumentInOneSplitInOrder(t *testing.T) {
	texts := append(prose(300), "", " \n\t", "final")
	out, s := prepare(t, texts, nil)
	train, val := splitTexts(t, filepath.Join(out, "train")), splitTexts(t, filepath.Join(out, "val"))
	if s.Empty != 2 || len(train)+len(val) != 301 || int64(len(train)) != s.Train.Documents || int64(len(val)) != s.Val.Documents {
		t.Errorf("%d + %d documents, summary %+v", len(train), len(val), s)
	}
	if len(val) < 40 || len(val) > 80 {
		t.Errorf("%d of 301 documents in val, want about 60", len(val))
	}
	inVal := make(map[string]bool)
	for _, text := range val {
		inVal[text] = true
	}
	var wantTrain, wantVal []string
	for _, text := range texts {
		switch {
		case strings.TrimSpace(text) == "":
		case inVal[text]:
			wantVal = append(wantVal, text)
		default:
			wantTrain = append(wantTrain, text)
		}
	}
	if diff := cmp.Diff(wantTrain, train); diff != "" {
		t.Errorf("train (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantVal, val); diff != "" {
		t.Errorf("val (-want +got):\n%s", diff)
	}
	if want := int64(len(strings.Join(train, ""))); s.Train.Bytes != want {
		t.Errorf("%d bytes in train, want %d", s.Train.Bytes, want)
	}
	for _, split := range []string{"train", "val"} {
		if err := open(t, filepath.Join(out, split)).Verify(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestPrepare_CopiesGoTheSameWay(t *testing.T) {
	out, _ := prepare(t, slices.Repeat(prose(60), 3), nil)
	train, val := splitTexts(t, filepath.Join(out, "train")), splitTexts(t, filepath.Join(out, "val"))
	for _, text := range val {
		if slices.Contains(train, text) {
			t.Errorf("%q is in both splits", text)
		}
	}
	if len(val)%3 != 0 || len(val) == 0 {
		t.Errorf("%d documents in val, of which each has three copies", len(val))
	}
}

func TestPrepare_BothSplitsHaveADocument(t *testing.T) {
	for seed := range int64(4) {
		for _, fraction := range []float64{1e-9, 0.5, 0.999999} {
			n := 2 + seed
			out, s := prepare(t, append(prose(int(n)), ""), func(o *PrepareOptions) { o.Seed, o.ValFraction = seed, fraction })
			if s.Train.Documents < 1 || s.Val.Documents < 1 || s.Train.Documents+s.Val.Documents != n || s.Val.Bytes < 1 {
				t.Errorf("seed %d, fraction %g: %+v", seed, fraction, s)
			}
			if got := int64(len(strings.Join(splitTexts(t, filepath.Join(out, "train")), ""))); got != s.Train.Bytes {
				t.Errorf("seed %d, fraction %g: %d bytes in train, summary says %d", seed, fraction, got, s.Train.Bytes)
			}
		}
	}
}

// Where chance leaves a side empty, a document moves there with all of its copies, or train would have the text of val.
func TestPrepare_CopiesMoveTogether(t *testing.T) {
	texts := prose(3)
	for seed := range int64(8) {
		for _, fraction := range []float64{1e-9, 0.999999} {
			out, s := prepare(t, []string{texts[0], texts[1], texts[0], texts[2], texts[1], texts[2], texts[0]}, func(o *PrepareOptions) { o.Seed, o.ValFraction = seed, fraction })
			train, val := splitTexts(t, filepath.Join(out, "train")), splitTexts(t, filepath.Join(out, "val"))
			if len(train) == 0 || len(val) == 0 || len(train)+len(val) != 7 || s.Train.Bytes != int64(len(strings.Join(train, ""))) {
				t.Errorf("seed %d, fraction %g: %d and %d documents, %d bytes of train", seed, fraction, len(train), len(val), s.Train.Bytes)
			}
			for _, text := range val {
				if slices.Contains(train, text) {
					t.Errorf("seed %d, fraction %g: a document of val is in train, too", seed, fraction)
				}
			}
		}
	}
}

// The only text there is is trained on, whatever its lot.
func TestPrepare_OneTextIsTrainedOn(t *testing.T) {
	text := prose(1)[0]
	for _, copies := range []int{1, 3} {
		for _, fraction := range []float64{1e-9, 0.999999} {
			_, s := prepare(t, slices.Repeat([]string{text}, copies), func(o *PrepareOptions) {
				o.In, o.ValFraction = append(o.In, o.In[0]), fraction // the same file twice
			})
			if s.Train.Documents != int64(2*copies) || s.Val.Documents != 0 || s.Val.Bytes != 0 || len(s.Warnings) != 1 {
				t.Errorf("%d copies in each of two files, fraction %g: %+v", copies, fraction, s)
			}
		}
	}
}

func TestPrepare_OneDocumentIsNotSplit(t *testing.T) {
	out, s := prepare(t, prose(1), nil)
	if s.Train.Documents != 1 || s.Val.Documents != 0 || len(s.Warnings) != 1 {
		t.Errorf("%+v", s)
	}
	val := open(t, filepath.Join(out, "val"))
	if _, err := NewLoader(val, LoaderOptions{Context: 4, Sequences: 1, Order: Sequential}); record.CodeOf(err) != record.BadData {
		t.Errorf("loader of an empty split: %v", err)
	}
	if in, err := Inspect(out, 2); err != nil || len(in.Splits) != 2 || len(in.Splits[0].Samples) != 1 || in.Splits[0].Samples[0].Text != prose(1)[0] {
		t.Errorf("%+v, %v", in, err)
	}
}

func TestPrepare_SameBytesWithAnyWorkersAndPieces(t *testing.T) {
	texts := append(prose(2000), strings.Repeat(prose(1)[0], 20_000)) // many small documents and one of many pieces
	var first map[string]string
	for _, workers := range []int{1, 2, 5} {
		out, _ := prepare(t, texts, func(o *PrepareOptions) { o.workers, o.Tokenizer = workers, "bpe:500" })
		files := tree(t, out)
		if first == nil {
			first = files
		}
		if !maps.Equal(first, files) {
			t.Errorf("%d workers made other files than one", workers)
		}
	}
}

func TestPrepare_SameFromAnyFormat(t *testing.T) {
	texts := prose(40)
	var first map[string]string
	for name, write := range map[string]func(dir string) string{
		"jsonl":   func(dir string) string { return put(t, dir, "x.jsonl", jsonLines(t, texts)) },
		"parquet": func(dir string) string { return put(t, dir, "x.parquet", string(parquetBytes(t, texts))) },
	} {
		out, _ := prepare(t, texts, func(o *PrepareOptions) { o.In, o.Source = []string{write(t.TempDir())}, "the same" })
		if files := tree(t, out); first == nil {
			first = files
		} else if !maps.Equal(first, files) {
			t.Errorf("%s: other files than from another format", name)
		}
	}
	dir := t.TempDir()
	for i, text := range texts {
		put(t, dir, fmt.Sprintf("%03d.txt", i), text)
	}
	out, _ := prepare(t, texts, func(o *PrepareOptions) { o.In, o.Source = []string{dir}, "the same" })
	if files := tree(t, out); files["train/train-00000.bin"][headerSize:] != first["train/train-00000.bin"][headerSize:] {
		t.Error("text files give other tokens than JSON lines")
	}
}

func TestPrepare_FreshTokenizerSeesTrainOnly(t *testing.T) {
	texts := prose(50)
	out, s := prepare(t, texts, func(o *PrepareOptions) { o.Tokenizer = "bpe:320" })
	if s.Vocab != 320 {
		t.Errorf("vocabulary of %d", s.Vocab)
	}
	dir := t.TempDir()
	for i, text := range splitTexts(t, filepath.Join(out, "train")) {
		put(t, dir, fmt.Sprintf("%03d.txt", i), text)
	}
	want, err := TrainTokenizer(context.Background(), []string{dir}, 320, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want.Digest() != s.TokenizerSHA256 {
		t.Error("the tokenizer is not the one of the train documents")
	}
}

func TestPrepare_SecondTimeReturnsAtOnce(t *testing.T) {
	texts := prose(30)
	var o PrepareOptions
	out, s := prepare(t, texts, func(p *PrepareOptions) { o = *p })
	before, err := os.Stat(filepath.Join(out, "train", ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Prepare(context.Background(), o)
	if err != nil || !again.Unchanged || s.Unchanged || again.Train != s.Train {
		t.Errorf("%+v, %v", again, err)
	}
	if after, err := os.Stat(filepath.Join(out, "train", ManifestFile)); err != nil || !os.SameFile(before, after) {
		t.Errorf("the files were written again (%v)", err)
	}
	for name, change := range map[string]func(*PrepareOptions){
		"seed": func(o *PrepareOptions) { o.Seed++ }, "fraction": func(o *PrepareOptions) { o.ValFraction = 0.3 },
		"tokenizer": func(o *PrepareOptions) { o.Tokenizer = "bpe:300" },
		"input":     func(o *PrepareOptions) { o.In = []string{put(t, t.TempDir(), "y.jsonl", jsonLines(t, prose(29)))} },
	} {
		other := o
		change(&other)
		files := tree(t, out)
		if _, err := Prepare(context.Background(), other); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), out) {
			t.Errorf("other %s: %v", name, err)
		}
		if !maps.Equal(files, tree(t, out)) {
			t.Errorf("other %s: the folder was changed", name)
		}
	}
}

func TestPrepare_Refusals(t *testing.T) {
	dir := t.TempDir()
	good := put(t, dir, "good.jsonl", jsonLines(t, prose(5)))
	noEOS := put(t, dir, "noeos.json", string(edit(t, trainProse(t, 300).JSON(), EndOfText, "<stop>")))
	secret := put(t, dir, "secret.txt", "x")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	foreign := put(t, dir, "foreign/letter.txt", "x")
	for name, c := range map[string]struct {
		change func(*PrepareOptions)
		code   record.Code
	}{
		"no input":           {func(o *PrepareOptions) { o.In = nil }, record.Usage},
		"missing input":      {func(o *PrepareOptions) { o.In = []string{filepath.Join(dir, "none")} }, record.Usage},
		"no text":            {func(o *PrepareOptions) { o.In = []string{put(t, dir, "e.jsonl", `{"text":" "}`)} }, record.BadData},
		"no output":          {func(o *PrepareOptions) { o.Out = "" }, record.Usage},
		"foreign output":     {func(o *PrepareOptions) { o.Out = filepath.Dir(foreign) }, record.Usage},
		"output is a file":   {func(o *PrepareOptions) { o.Out = foreign }, record.Usage},
		"fraction 0":         {func(o *PrepareOptions) { o.ValFraction = 0 }, record.Usage},
		"fraction 1":         {func(o *PrepareOptions) { o.ValFraction = 1 }, record.Usage},
		"no tokenizer":       {func(o *PrepareOptions) { o.Tokenizer = "" }, record.Usage},
		"tokenizer bpe:x":    {func(o *PrepareOptions) { o.Tokenizer = "bpe:x" }, record.Usage},
		"tokenizer bpe:3":    {func(o *PrepareOptions) { o.Tokenizer = "bpe:3" }, record.Usage},
		"tokenizer missing":  {func(o *PrepareOptions) { o.Tokenizer = filepath.Join(dir, "none.json") }, record.BadData},
		"tokenizer, no end":  {func(o *PrepareOptions) { o.Tokenizer = noEOS }, record.BadData},
		"line that is wrong": {func(o *PrepareOptions) { o.In = []string{put(t, dir, "w.jsonl", "{\"text\":\"x\"}\n{")} }, record.BadData},
	} {
		o := PrepareOptions{In: []string{good}, Tokenizer: "testdata/tokenizer.json", Out: filepath.Join(dir, "out"), ValFraction: 0.5}
		c.change(&o)
		_, err := Prepare(context.Background(), o)
		if record.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%d), want code %d", name, err, record.CodeOf(err), c.code)
		}
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Fatalf("%s: left an output folder", name)
		}
	}
	if os.Getuid() != 0 { // root may read all
		_, err := Prepare(context.Background(), PrepareOptions{In: []string{secret}, Tokenizer: "bpe:300", Out: filepath.Join(dir, "out"), ValFraction: 0.5})
		if record.CodeOf(err) != record.NotPermitted {
			t.Errorf("unreadable: %v", err)
		}
	}
}

func TestPrepare_ChangeOfInputIsSeen(t *testing.T) {
	dir := t.TempDir()
	in := put(t, dir, "in.jsonl", jsonLines(t, prose(50)))
	total := int64(0)
	o := PrepareOptions{In: []string{in}, Tokenizer: "testdata/tokenizer.json", Out: filepath.Join(dir, "out"), ValFraction: 0.2}
	o.Progress = func(done, all int64) {
		if total = all; done == all/2 { // the first reading is over
			put(t, dir, "in.jsonl", jsonLines(t, prose(51)))
		}
	}
	if _, err := Prepare(context.Background(), o); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "changed") {
		t.Errorf("%v after %d bytes", err, total)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestPrepare_CancelLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	o := PrepareOptions{
		In: []string{put(t, dir, "in.jsonl", jsonLines(t, prose(20_000)))}, Tokenizer: "testdata/tokenizer.json", Out: filepath.Join(dir, "out"), ValFraction: 0.2,
		Progress: func(done, all int64) {
			if done > all*3/4 {
				cancel()
			}
		},
	}
	if _, err := Prepare(ctx, o); record.CodeOf(err) != record.Stopped {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestPrepare_ProgressReachesItsTotal(t *testing.T) {
	var done, total int64
	_, _ = prepare(t, prose(500), func(o *PrepareOptions) {
		o.Tokenizer = "bpe:300"
		o.Progress = func(d, all int64) {
			if d <= done {
				t.Errorf("progress went from %d to %d", done, d)
			}
			done, total = d, all
		}
	})
	if done != total || total == 0 {
		t.Errorf("%d of %d", done, total)
	}
}

func TestPrepare_ManyShards(t *testing.T) {
	texts := prose(100)
	one, s := prepare(t, texts, nil)
	many, m := prepare(t, texts, func(o *PrepareOptions) { o.shardTokens = 97 })
	if !slices.Equal(splitTexts(t, filepath.Join(one, "train")), splitTexts(t, filepath.Join(many, "train"))) {
		t.Error("other documents from many shards than from one")
	}
	set := open(t, filepath.Join(many, "train"))
	if n := len(set.Manifest().Shards); n < 10 || m.Train.Tokens != s.Train.Tokens {
		t.Errorf("%d shards, %d tokens, want %d", n, m.Train.Tokens, s.Train.Tokens)
	}
	if err := set.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	a, b := allWindows(t, open(t, filepath.Join(one, "train"))), allWindows(t, set)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("other windows from many shards than from one:\n%.500s", diff)
	}
}

// allWindows reads all windows of context 32.
func allWindows(t testing.TB, s *Set) [][]int32 {
	t.Helper()
	var all [][]int32
	for b, err := range s.Windows(32, 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, append(b.Inputs, b.Targets...))
	}
	return all
}
