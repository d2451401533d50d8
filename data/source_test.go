package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"plasticity/record"
)

// put writes a file below dir and returns its path.
func put(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// documents reads all documents of a file.
func documents(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var all []string
	var one strings.Builder
	err = readDocuments(context.Background(), input{path, kindOf(path), info.Size()}, func(p piece) error {
		if p.first {
			one.Reset()
		}
		one.WriteString(p.text)
		if p.last {
			all = append(all, one.String())
		}
		return nil
	})
	return all, err
}

func TestListInputs_SortedRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.txt", "a/z.jsonl", "a/y.md", "c.parquet", ".hidden", ".git/config"} {
		put(t, dir, name, "x")
	}
	if err := os.Symlink(filepath.Join(dir, "b.txt"), filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, dir, SourceFile, `{"format":1,"name":"x","source":"a book","version":"1","license":"","documents":0,"bytes":0,"text_sha256":""}`)
	list, err := listInputs([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list.files {
		rel, err := filepath.Rel(dir, f.path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rel)
	}
	if diff := cmp.Diff([]string{"a/y.md", "a/z.jsonl", "b.txt", "c.parquet"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if list.skipped != 5 || list.source != "a book" || list.size != 4 {
		t.Errorf("skipped %d, source %q, size %d", list.skipped, list.source, list.size)
	}
	link := filepath.Join(t.TempDir(), "given")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if list, err := listInputs([]string{link}); err != nil || len(list.files) != 4 {
		t.Errorf("a link to a folder that was given: %d files, %v", len(list.files), err)
	}
	if _, err := listInputs([]string{filepath.Join(dir, "pipe")}); record.CodeOf(err) != record.BadData {
		t.Errorf("pipe: %v", err)
	}
}

func TestReadText_AnyBytesSurvive(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		unit := rapid.SampledFrom([]string{"word ", "中文字", "\xff\x00", "a", "\n\n", "don't\r\n", "\ufeffx"}).Draw(r, "unit")
		text := strings.Repeat(unit, rapid.IntRange(0, 3*pieceSize/len(unit)).Draw(r, "n"))
		got, err := documents(put(t, dir, "x.txt", text))
		if err != nil {
			r.Fatal(err)
		}
		if len(got) != 1 || got[0] != text {
			r.Fatalf("%d documents, want one of %d bytes", len(got), len(text))
		}
	})
}

// However a text is cut into pieces, its tokens are the same.
func TestPieces_KeepTheTokens(t *testing.T) {
	tokenizer := trainProse(t, goldenVocab)
	prose, err := os.ReadFile("testdata/parity.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"words": strings.Repeat(string(prose), 200), "no blanks": strings.Repeat("中文", 200_000), "one word": strings.Repeat("a", 3*pieceSize),
		"blanks": strings.Repeat(" ", 3*pieceSize) + "x",
	} {
		want := tokenizer.Encode(text)
		for kind, read := range map[string]func(func(piece) error) error{
			"file": func(emit func(piece) error) error {
				return readText(context.Background(), input{path: put(t, t.TempDir(), "x", text)}, emit)
			},
			"memory": func(emit func(piece) error) error { return emitText(text, 0, emit) },
		} {
			var got []int32
			if err := read(func(p piece) error {
				got = append(got, tokenizer.Encode(p.text)...)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(want, got) {
				t.Errorf("%s from %s: other tokens in pieces than in one", name, kind)
			}
		}
	}
}

func TestEmitText_PiecesAreBounded(t *testing.T) {
	longest, total := 0, 0
	err := emitText(strings.Repeat("\u3000", 10<<20), 0, func(p piece) error {
		longest, total = max(longest, len(p.text)), total+len(p.text)
		return nil
	})
	if err != nil || longest > maxPiece || total != 30<<20 {
		t.Errorf("longest piece %d of %d bytes, %v", longest, total, err)
	}
}

func TestReadText_RefusesPackedFiles(t *testing.T) {
	dir := t.TempDir()
	for name, head := range map[string]string{"a.jsonl.gz": "\x1f\x8b\x08", "b.zst": "\x28\xb5\x2f\xfd", "c.zip": "PK\x03\x04", "d": "PAR1"} {
		if _, err := documents(put(t, dir, name, head+"xxxx")); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadJSONL_Lines(t *testing.T) {
	lines := []string{
		`{"text":"one"}`, ``, `  {"id": {"text": "no"}, "x": [1, {"a": "}"}, "\"]"], "text" : "two\nlines \u00e9 \ud83d\ude00 \/"}  `, "\t\r",
		`{"text":""}`, `{"t\u0065xt":"escaped key","n":-1.5e3,"b":true,"z":null}`, "{\"text\":\"bytes \xff kept\"}", `{"a":{},"b":[],"text":"last"}`,
	}
	want := []string{"one", "two\nlines é 😀 /", "", "escaped key", "bytes \xff kept", "last"}
	dir := t.TempDir()
	for name, text := range map[string]string{"lf": strings.Join(lines, "\n"), "crlf": strings.Join(lines, "\r\n") + "\r\n", "end": strings.Join(lines, "\n") + "\n"} {
		got, err := documents(put(t, dir, "x.jsonl", text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadJSONL_ErrorsNameTheLine(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		`{"text":"cut`:                  "not JSON",
		`{"text":1}`:                    "not a string",
		`{"text":null}`:                 "not a string",
		`{"txt":"x"}`:                   "no field",
		`["text"]`:                      "not a JSON object",
		`"text"`:                        "not a JSON object",
		`{"text":"a","text":"b"}`:       "twice",
		`{"text":"a"}{"text":"b"}`:      "not JSON",
		`{"text":"\ud800 x"}`:           "surrogate",
		`{"text":"\ud800\u0041"}`:       "surrogate",
		"{\"text\":\"raw\ttab\"}":       "not JSON",
		strings.Repeat(`[`, 100_000):    "not JSON",
		strings.Repeat(`{"a":`, 50_000): "not JSON",
	} {
		_, err := documents(put(t, dir, "x.jsonl", `{"text":"good"}`+"\n\n"+line+"\n"))
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "x.jsonl:3: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %.200v", line, err)
		}
	}
}

func TestReadLine_Bound(t *testing.T) {
	for _, c := range []struct {
		text string
		want error
	}{{strings.Repeat("x", 99) + "\n", nil}, {strings.Repeat("x", 100), io.EOF}, {strings.Repeat("x", 100) + "\n", errLongLine}, {strings.Repeat("x", 1000), errLongLine}} {
		line, n, err := readLine(bufio.NewReaderSize(strings.NewReader(c.text), 16), nil, 100)
		if !errors.Is(err, c.want) || err == nil && (n != len(c.text) || len(line) != n-1) {
			t.Errorf("line of %d bytes: %d, %v", len(c.text), n, err)
		}
	}
	if err := lineError(errLongLine, "x.jsonl", 7); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "x.jsonl:7: a line longer") {
		t.Errorf("%v", err)
	}
	if err := lineError(syscall.EIO, "x.jsonl", 7); record.CodeOf(err) != record.IO || !strings.Contains(err.Error(), "x.jsonl:7") {
		t.Errorf("%v", err)
	}
}

func FuzzTextOf(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"}"}],"text":"x\u00e9\n"}`))
	f.Add([]byte(`{"text":"\ud83d\ude00","text":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(bytes.TrimSpace(line)) == 0 {
			return
		}
		got, err := textOf(line)
		if err != nil {
			return
		}
		var want struct {
			Text *string `json:"text"`
		}
		if json.Unmarshal(line, &want) != nil || want.Text == nil {
			return // keys that encoding/json folds
		}
		if strings.ToValidUTF8(got, "") == got && !strings.Contains(strings.ToLower(string(line)), `"text":`) && got != *want.Text {
			t.Fatalf("%q, want %q", got, *want.Text)
		}
	})
}

type parquetRow struct {
	ID   int64   `parquet:"id"`
	Text *string `parquet:"text,optional"`
}

// parquetBytes returns a Parquet file of texts.
func parquetBytes(t testing.TB, texts []string, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[parquetRow](&b, options...)
	for i, text := range texts {
		row := parquetRow{ID: int64(i), Text: &text}
		if text == "NULL" {
			row.Text = nil
		}
		if _, err := w.Write([]parquetRow{row}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			if err := w.Flush(); err != nil { // another row group
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadParquet_Rows(t *testing.T) {
	var texts, want []string
	for i := range 250 {
		text := strings.Repeat("row ", i%7) + "é\n"
		switch i % 5 {
		case 3:
			text = "NULL"
		case 4:
			text = ""
		}
		texts = append(texts, text)
		want = append(want, strings.TrimPrefix(text, "NULL"))
	}
	for name, options := range map[string][]parquet.WriterOption{
		"plain": nil, "snappy": {parquet.Compression(&parquet.Snappy)}, "zstd": {parquet.Compression(&parquet.Zstd)},
		"gzip": {parquet.Compression(&parquet.Gzip)}, "small pages": {parquet.PageBufferSize(64)}, "version 1": {parquet.DataPageVersion(1), parquet.Compression(&parquet.Snappy)},
	} {
		got, err := documents(put(t, t.TempDir(), "x.parquet", string(parquetBytes(t, texts, options...))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadParquet_Hostile(t *testing.T) {
	good := parquetBytes(t, []string{"one", "two"}, parquet.Compression(&parquet.Zstd))
	type other struct {
		Content string `parquet:"content"`
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []other{{"x"}}); err != nil {
		t.Fatal(err)
	}
	noText := b.Bytes()
	type numbers struct {
		Text int64 `parquet:"text"`
	}
	var n bytes.Buffer
	if err := parquet.Write(&n, []numbers{{1}}); err != nil {
		t.Fatal(err)
	}
	bigFooter := bytes.Clone(good)
	copy(bigFooter[len(bigFooter)-8:], "\xff\xff\xff\x7f")
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":          {nil, "only 0 bytes"},
		"cut off":        {good[:len(good)-3], "PAR1"},
		"other magic":    {append([]byte("RAP1"), good[4:]...), "magic"},
		"no column":      {noText, `no column "text"`},
		"column numbers": {n.Bytes(), `no column "text"`},
		"big footer":     {bigFooter, "metadata claim"},
		"lz4":            {parquetBytes(t, []string{"x"}, parquet.Compression(&parquet.Lz4Raw)), "only snappy"},
		// A list of 2²⁷ row groups in a handful of bytes.
		"list bomb": {[]byte("PAR1" + "\x15\x02\x49\xfc\xff\xff\xff\x3f\x00" + "\x09\x00\x00\x00PAR1"), "broken metadata"},
	} {
		_, err := documents(put(t, t.TempDir(), "x.parquet", string(c.file)))
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whatever single byte of a file is changed, reading ends in an error or in texts, not in a crash or in gigabytes.
func TestReadParquet_EveryByteChanged(t *testing.T) {
	everyByteChanged(t, parquetBytes(t, []string{"one", "two", "NULL", "three three three"}, parquet.Compression(&parquet.Snappy)), func(path string) error {
		_, err := documents(path)
		return err
	})
}

// everyByteChanged reads a Parquet file with each of its bytes changed in turn.
func everyByteChanged(t *testing.T, good []byte, read func(path string) error) {
	t.Helper()
	dir := t.TempDir()
	for i := range good {
		file := bytes.Clone(good)
		file[i] ^= []byte{0x01, 0x80, 0xff, 0x10}[i%4]
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := read(put(t, dir, "x.parquet", string(file))); err != nil && record.CodeOf(err) != record.BadData {
			t.Fatalf("byte %d changed: code %d: %v", i, record.CodeOf(err), err)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
			t.Errorf("byte %d changed: %d MB were allocated for a file of %d bytes", i, grown>>20, len(file))
		}
	}
}

func FuzzReadParquet(f *testing.F) {
	f.Add(parquetBytes(f, []string{"one", "two"}))
	f.Add(parquetBytes(f, []string{"one", "two", "NULL"}, parquet.Compression(&parquet.Gzip)))
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, err := documents(put(t, t.TempDir(), "x.parquet", string(file))); err != nil && record.CodeOf(err) != record.BadData {
			t.Fatalf("code %d: %v", record.CodeOf(err), err)
		}
	})
}
