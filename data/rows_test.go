package data

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"plasticity/record"
)

// nestedSchema is that of public data sets with lists in structures. Their writers name items in several ways.
func nestedSchema() *parquet.Schema {
	text := parquet.String
	return parquet.NewSchema("rows", parquet.Group{
		"id": parquet.Int(64), "score": parquet.Leaf(parquet.DoubleType), "question": parquet.Optional(text()),
		"options": parquet.Optional(parquet.List(parquet.Optional(text()))),
		"context": parquet.Optional(parquet.Group{"contexts": parquet.Optional(parquet.List(parquet.Optional(text())))}),
		"cots":    parquet.Optional(parquet.List(parquet.List(text()))),
	})
}

// nestedParquet returns a Parquet file of two rows, the second with no values but the numbers.
func nestedParquet(t testing.TB, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[map[string]any](&b, append(options, nestedSchema())...)
	rows := []map[string]any{
		{
			"id": int64(7), "score": 1.5, "question": "why?", "options": []string{"x", "y", "z"}, "context": map[string]any{"contexts": []string{"one", "two"}},
			"cots": [][]string{{"a", "b"}, {"c"}},
		},
		{"id": int64(8), "score": 2.0},
	}
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readRows reads all rows of a file.
func readRows(path string) ([]map[string]any, error) {
	var all []map[string]any
	err := ReadRows(context.Background(), path, func(r Row) error {
		all = append(all, r.Values)
		return nil
	})
	return all, err
}

func TestReadRows_NestedParquet(t *testing.T) {
	want := []map[string]any{
		{
			"id": int64(7), "score": 1.5, "question": "why?", "options": []any{"x", "y", "z"}, "context": map[string]any{"contexts": []any{"one", "two"}},
			"cots": []any{[]any{"a", "b"}, []any{"c"}},
		},
		{"id": int64(8), "score": 2.0, "question": nil, "options": nil, "context": nil, "cots": nil},
	}
	for name, options := range map[string][]parquet.WriterOption{
		"plain": nil, "snappy": {parquet.Compression(&parquet.Snappy)}, "zstd": {parquet.Compression(&parquet.Zstd)}, "version 1": {parquet.DataPageVersion(1)},
	} {
		got, err := readRows(put(t, t.TempDir(), "x.parquet", string(nestedParquet(t, options...))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadRows_JSON(t *testing.T) {
	const one, two = `{"q":"é\n","n":3,"l":["a",null]}`, `{"q":null,"o":{"x":"y"}}`
	for name, file := range map[string]string{
		"x.jsonl": one + "\n\n" + two + "\n", "y.ndjson": one + "\r\n" + two, "array.json": " [\n" + one + ",\n" + two + "]\n",
		"sequence.json": one + "\n" + two, "pretty.json": "{\n\"q\":\"é\\n\",\n\"n\":3,\"l\":[\"a\",null]}\n" + two,
	} {
		got, err := readRows(put(t, t.TempDir(), name, file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != 2 || got[0]["q"] != "é\n" || got[1]["q"] != nil || cmp.Diff([]any{"a", nil}, got[0]["l"]) != "" {
			t.Errorf("%s: %v", name, got)
		}
		if n, ok := got[0]["n"].(interface{ Int64() (int64, error) }); !ok {
			t.Errorf("%s: n is a %T", name, got[0]["n"])
		} else if i, err := n.Int64(); i != 3 || err != nil {
			t.Errorf("%s: n is %d, %v", name, i, err)
		}
	}
}

func TestReadRows_ErrorsNameTheRow(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"a.jsonl", "{}\n[1]\n", "a.jsonl:2: not a JSON object"},
		{"b.jsonl", "{}\n{\"a\":1,\"a\":2}\n", `b.jsonl:2: the key "a" comes twice`},
		{"c.jsonl", "{\"a\":\"\xff\"}\n", "c.jsonl:1: byte 6 is not UTF-8"},
		{"c.json", `[{"a":"\ud83d\ude00"},{"a":["\ud800 x"]}]`, "c.json: row 2: it has half of a surrogate pair"},
		{"d.json", `[{"a":1},3]`, "d.json: row 2: not a JSON object"},
		{"e.json", `[{"a":1}`, "e.json: after row 1"},
		{"f.json", `[{"a":1},{"a"`, "f.json: row 2"},
		{"g.json", "  \n", "an empty file"},
		{"h.json", `{"a":1} x`, "h.json: row 2"},
		{"i.csv", "a,b", "a table is .parquet, .jsonl or .json"},
		{"j.parquet", "PAR1 and nothing else", "not a Parquet file"},
	} {
		_, err := readRows(put(t, t.TempDir(), c.name, c.file))
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestReadRows_StopsWhenToldTo(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, file := range map[string]string{"x.jsonl": "{}\n", "x.json": "[{}]", "x.parquet": string(nestedParquet(t))} {
		err := ReadRows(ctx, put(t, dir, name, file), func(Row) error { return nil })
		if record.CodeOf(err) != record.Stopped {
			t.Errorf("%s: %v", name, err)
		}
		if err := ReadRows(context.Background(), dir+"/"+name, func(Row) error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: the error of emit came as %v", name, err)
		}
	}
}

// Whatever single byte of a file with nested columns is changed, reading ends in an error or in rows, not in a crash or in
// gigabytes.
func TestReadRows_EveryByteChanged(t *testing.T) {
	everyByteChanged(t, nestedParquet(t, parquet.Compression(&parquet.Snappy)), func(path string) error {
		_, err := readRows(path)
		return err
	})
}

func FuzzReadRows(f *testing.F) {
	f.Add(nestedParquet(f), uint8(0))
	f.Add([]byte(`[{"a":["b"]}]`), uint8(1))
	f.Add([]byte("{\"a\":1}\n{}"), uint8(2))
	f.Fuzz(func(t *testing.T, file []byte, kind uint8) {
		name := []string{"x.parquet", "x.json", "x.jsonl"}[kind%3]
		if _, err := readRows(put(t, t.TempDir(), name, string(file))); err != nil && record.CodeOf(err) != record.BadData {
			t.Fatalf("code %d: %v", record.CodeOf(err), err)
		}
	})
}
