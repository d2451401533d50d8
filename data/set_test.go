package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plasticity/record"
)

// manyShardsOf keeps what manyShards has prepared: the same files are wanted many times.
var manyShardsOf sync.Map

// manyShards returns the train split, with at least three shards, of a prepared folder of its own.
func manyShards(t testing.TB) string {
	t.Helper()
	files, ok := manyShardsOf.Load("files")
	if !ok {
		out, _ := prepare(t, prose(40), func(o *PrepareOptions) { o.shardTokens = 200 })
		files, _ = manyShardsOf.LoadOrStore("files", tree(t, out))
	}
	dir := t.TempDir()
	for name, text := range files.(map[string]string) {
		put(t, dir, name, text)
	}
	return filepath.Join(dir, "train")
}

// changeFile replaces a file by what change makes of it.
func changeFile(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o644); err != nil {
		t.Fatal(err)
	}
}

// changeManifest changes a manifest; honest gives it the digest that fits.
func changeManifest(t testing.TB, dir string, honest bool, change func(*Manifest)) {
	t.Helper()
	changeFile(t, filepath.Join(dir, ManifestFile), func(b []byte) []byte {
		var m Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		if honest {
			m.Digest = m.contentDigest()
		}
		b, err := m.marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

// resealed puts a field into a shard's header and corrects the checksum.
func resealed(offset int, field any) func([]byte) []byte {
	return func(b []byte) []byte {
		var f bytes.Buffer
		if err := binary.Write(&f, binary.LittleEndian, field); err != nil {
			panic(err) // a mistake in the test itself
		}
		copy(b[offset:], f.Bytes())
		binary.LittleEndian.PutUint32(b[60:], crc32.ChecksumIEEE(b[:60]))
		return b
	}
}

const shard1 = "train-00001.bin"

// hostile is a change of a prepared split that Open must refuse, with a part of what it must say.
type hostile struct {
	change func(t *testing.T, dir string)
	want   string
}

// hostileShards are changes of shards.
func hostileShards() map[string]hostile {
	shard := func(change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { changeFile(t, filepath.Join(dir, shard1), change) }
	}
	remove := func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, shard1)); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(t *testing.T, dir, a, b string) {
		x, y, z := filepath.Join(dir, a), filepath.Join(dir, b), filepath.Join(dir, "x")
		for _, pair := range [][2]string{{x, z}, {y, x}, {z, y}} {
			if err := os.Rename(pair[0], pair[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return map[string]hostile{
		"shard missing":          {remove, shard1 + ": missing"},
		"shard empty":            {shard(func([]byte) []byte { return nil }), "cut off"},
		"shard of half a header": {shard(func(b []byte) []byte { return b[:30] }), "cut off"},
		"shard without tokens":   {shard(func(b []byte) []byte { return b[:64] }), "64 bytes, want"},
		"shard cut off":          {shard(func(b []byte) []byte { return b[:len(b)-2] }), "cut off"},
		"shard of odd length":    {shard(func(b []byte) []byte { return b[:len(b)-1] }), "cut off"},
		"shard with more":        {shard(func(b []byte) []byte { return append(b, 0, 0) }), "longer than it should be"},
		"magic":                  {shard(func(b []byte) []byte { b[0] = 'X'; return b }), "magic"},
		"line ends changed":      {shard(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }), "magic"},
		"header damaged":         {shard(func(b []byte) []byte { b[17] ^= 1; return b }), "checksum"},
		"version of the future":  {shard(resealed(8, uint32(2))), "version 2"},
		"width lies":             {shard(resealed(12, uint32(4))), "4 bytes a token"},
		"width zero":             {shard(resealed(12, uint32(0))), "0 bytes a token"},
		"count zero":             {shard(resealed(16, uint64(0))), "0 tokens"},
		"count lies":             {shard(resealed(16, uint64(199))), "the header says 199 tokens"},
		"count huge":             {shard(resealed(16, uint64(1<<63))), "9223372036854775808 tokens"},
		"vocab lies":             {shard(resealed(24, uint32(399))), "vocab 399"},
		"vocab huge":             {shard(resealed(24, ^uint32(0))), "vocab 4294967295"},
		"place lies":             {shard(resealed(28, uint32(2))), "renamed or reordered"},
		"other preparation":      {shard(resealed(32, uint64(1))), "belongs to preparation"},
		"other split":            {shard(resealed(48, uint32(1))), "split val"},
		"spare bytes used":       {shard(resealed(52, uint64(1))), "spare bytes"},
		"shards swapped":         {func(t *testing.T, dir string) { swap(t, dir, shard1, "train-00002.bin") }, "renamed or reordered"},
		"shard is a link": {func(t *testing.T, dir string) {
			remove(t, dir)
			check(t, os.Symlink("train-00002.bin", filepath.Join(dir, shard1)))
		}, "symbolic link"},
		"shard is a pipe": {func(t *testing.T, dir string) {
			remove(t, dir)
			check(t, syscall.Mkfifo(filepath.Join(dir, shard1), 0o644))
		}, "not a regular file"},
		"shard is a folder": {func(t *testing.T, dir string) { remove(t, dir); check(t, os.Mkdir(filepath.Join(dir, shard1), 0o755)) }, "not a regular file"},
	}
}

// hostileManifests are changes of the manifest.
func hostileManifests() map[string]hostile {
	manifest := func(honest bool, change func(*Manifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { changeManifest(t, dir, honest, change) }
	}
	text := func(old, replacement string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			changeFile(t, filepath.Join(dir, ManifestFile), func(b []byte) []byte { return edit(t, b, old, replacement) })
		}
	}
	return map[string]hostile{
		"manifest missing":         {func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, ManifestFile))) }, "no such file"},
		"manifest empty":           {text("{", ""), "JSON"},
		"manifest no JSON":         {text(`"tokens"`, `tokens`), "invalid"},
		"manifest goes on":         {text("\n}\n", "\n}\n{}"), "after the end"},
		"manifest not UTF-8":       {text(`"source": "`, "\"source\": \"\xff"), "UTF-8"},
		"manifest key twice":       {text(`"split":`, `"split": "train", "split":`), "twice"},
		"manifest unknown field":   {text(`"split":`, `"splits": 1, "split":`), "splits"},
		"manifest of the future":   {text(`"version": 1`, `"version": 2`), "version 2"},
		"manifest of another":      {text(manifestFormat, "other"), `format "other"`},
		"manifest digest":          {manifest(false, func(m *Manifest) { m.Bytes++ }), "edited or damaged"},
		"manifest shard digest":    {manifest(false, func(m *Manifest) { m.Shards[0].SHA256 = m.Shards[1].SHA256 }), "edited or damaged"},
		"manifest leads out":       {manifest(true, func(m *Manifest) { m.Shards[0].File = "../../etc/passwd" }), "not a plain file name"},
		"manifest hidden file":     {manifest(true, func(m *Manifest) { m.Shards[0].File = ".x" }), "not a plain file name"},
		"manifest file twice":      {manifest(true, func(m *Manifest) { m.Shards[0].File = m.Shards[1].File }), "comes twice"},
		"manifest count":           {manifest(true, func(m *Manifest) { m.Tokens++ }), "but the shards have"},
		"manifest count negative":  {manifest(true, func(m *Manifest) { m.Tokens = -1 }), "tokens -1"},
		"manifest shard count":     {manifest(true, func(m *Manifest) { m.Shards[0].Tokens--; m.Tokens-- }), "the header says 200 tokens, the manifest 199"},
		"manifest shard count big": {manifest(true, func(m *Manifest) { m.Shards[0].Tokens = 1 << 62 }), "shards[0].tokens"},
		"manifest shards swapped":  {manifest(true, func(m *Manifest) { m.Shards[0], m.Shards[1] = m.Shards[1], m.Shards[0] }), "renamed or reordered"},
		"manifest dtype":           {manifest(true, func(m *Manifest) { m.DType = "uint32" }), "dtype"},
		"manifest vocab":           {manifest(true, func(m *Manifest) { m.Vocab = 1 << 30 }), "vocab 1073741824"},
		"manifest eos":             {manifest(true, func(m *Manifest) { m.EOS = 400 }), "eos 400"},
		"manifest documents":       {manifest(true, func(m *Manifest) { m.Documents = 1 << 40 }), "documents"},
		"manifest split":           {manifest(true, func(m *Manifest) { m.Split = "test" }), "split"},
		"manifest tokenizer":       {manifest(true, func(m *Manifest) { m.Tokenizer = "/etc/passwd" }), "tokenizer"},
		"manifest digest form":     {manifest(true, func(m *Manifest) { m.Shards[0].SHA256 = "abc" }), "not a SHA-256"},
		"manifest tokens a string": {text(`"documents": `, `"documents": "x`), "invalid"},
	}
}

// check fails the test on an error of its own set-up.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen_Hostile(t *testing.T) {
	cases := hostileShards()
	maps.Copy(cases, hostileManifests())
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := manyShards(t)
			c.change(t, dir)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Open(dir)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if record.CodeOf(err) != record.BadData {
				t.Errorf("code %d, want %d", record.CodeOf(err), record.BadData)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); record.CodeOf(err) != record.BadData {
		t.Errorf("no folder: %v", err)
	}
}

// What Open cannot see without reading everything, Verify does.
func TestVerify_Content(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string)
		want   string
	}{
		"one bit": {func(dir string) {
			changeFile(t, filepath.Join(dir, shard1), func(b []byte) []byte { b[100] ^= 1; return b })
		}, shard1 + ": SHA-256"},
		"tokens moved": {func(dir string) {
			changeFile(t, filepath.Join(dir, shard1), func(b []byte) []byte { b[64], b[66] = b[66], b[64]; b[65], b[67] = b[67], b[65]; return b })
		}, shard1 + ": SHA-256"},
		"id too large": {func(dir string) {
			changeFile(t, filepath.Join(dir, shard1), func(b []byte) []byte { b[71] = 0xff; return b })
		}, "at byte 70"},
		"tokenizer": {func(dir string) {
			changeFile(t, filepath.Join(dir, "..", TokenizerFile), func(b []byte) []byte { return append(b, '\n') })
		}, "not the tokenizer"},
		"no tokenizer":  {func(dir string) { check(t, os.Remove(filepath.Join(dir, "..", TokenizerFile))) }, "no such file"},
		"shard is gone": {func(dir string) { check(t, os.Remove(filepath.Join(dir, shard1))) }, "missing"},
	} {
		dir := manyShards(t)
		set := open(t, dir)
		check(t, set.Verify(context.Background()))
		c.change(dir)
		err := set.Verify(context.Background())
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSet_Facts(t *testing.T) {
	out, s := prepare(t, prose(40), func(o *PrepareOptions) { o.Source = "made up" })
	set := open(t, filepath.Join(out, "train"))
	if set.Tokens() != s.Train.Tokens || set.Vocab() != goldenVocab || set.Digest() != s.Train.Digest || set.Source() != "made up" ||
		set.Split() != "train" || set.EOS() != 0 || set.TokenizerDigest() != s.TokenizerSHA256 {
		t.Errorf("%+v", set.Manifest())
	}
	if got, want := set.BytesPerToken(), float64(set.Bytes())/float64(set.Tokens()); got != want || got < 1 {
		t.Errorf("%g bytes a token, want %g", got, want)
	}
	if _, err := LoadTokenizer(set.TokenizerPath()); err != nil {
		t.Error(err)
	}
}

func TestBatches_FirstWindowsInFileOrder(t *testing.T) {
	set := open(t, manyShards(t))
	ids := make([]int32, set.Tokens())
	r := newReader(set)
	defer r.close()
	check(t, r.tokens(ids, 0))
	const context, sequences = 24, 5
	for _, limit := range []int64{0, 1, context, 7*context + 3, 1 << 40} {
		n := set.WindowCount(context)
		if limit > 0 {
			n = min(n, max(1, limit/context))
		}
		if got := set.Inputs(context, limit); got != n*context {
			t.Errorf("limit %d: %d tokens announced, want %d", limit, got, n*context)
		}
		var inputs, targets []int32
		for b, err := range set.Batches(context, sequences, limit) {
			check(t, err)
			if len(b.Inputs) > context*sequences || len(b.Inputs) != len(b.Targets) {
				t.Fatalf("%d inputs and %d targets", len(b.Inputs), len(b.Targets))
			}
			inputs, targets = append(inputs, b.Inputs...), append(targets, b.Targets...)
		}
		if diff := cmp.Diff(ids[:n*context], inputs); diff != "" {
			t.Errorf("limit %d: inputs differ", limit)
		}
		if diff := cmp.Diff(ids[1:n*context+1], targets); diff != "" {
			t.Errorf("limit %d: targets differ", limit)
		}
	}
	for _, err := range set.Batches(int(set.Tokens()), 1, 0) {
		if record.CodeOf(err) != record.BadData {
			t.Errorf("context longer than the set: %v", err)
		}
	}
	if got := set.Inputs(0, 7); got != 0 {
		t.Errorf("a context of 0: %d tokens", got)
	}
	for _, err := range set.Batches(0, 1, 0) {
		if record.CodeOf(err) != record.Usage {
			t.Errorf("context 0: %v", err)
		}
	}
}

func TestInspect_DecodesDocuments(t *testing.T) {
	texts := append(prose(5), strings.Repeat("long ", 1000))
	out, s := prepare(t, texts, nil)
	in, err := Inspect(out, 100)
	check(t, err)
	shown := 0
	for _, split := range in.Splits {
		for _, sample := range split.Samples {
			shown++
			found := false
			for _, text := range texts {
				found = found || text == sample.Text && !sample.Cut || sample.Cut && strings.HasPrefix(text, sample.Text)
			}
			if !found {
				t.Errorf("%q is no document", sample.Text)
			}
		}
	}
	if int64(shown) != s.Train.Documents+s.Val.Documents {
		t.Errorf("%d samples", shown)
	}
	one, err := Inspect(filepath.Join(out, "val"), 0)
	if err != nil || len(one.Splits) != 1 || one.Splits[0].Samples != nil {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := Inspect(t.TempDir(), 1); record.CodeOf(err) != record.BadData {
		t.Errorf("not a prepared folder: %v", err)
	}
}

func TestShardHeader_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vocab := rapid.IntRange(1, maxVocab).Draw(t, "vocab")
		h := shardHeader{
			tokenBytes(vocab), rapid.Int64Range(1, maxShardTokens).Draw(t, "tokens"), vocab, rapid.IntRange(0, maxShards-1).Draw(t, "index"),
			rapid.IntRange(0, 1).Draw(t, "split"), [prepareIDSize]byte(rapid.SliceOfN(rapid.Byte(), prepareIDSize, prepareIDSize).Draw(t, "id")),
		}
		got, err := parseHeader(h.marshal())
		if err != nil || got != h {
			t.Fatalf("%+v, %v, want %+v", got, err, h)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(shardHeader{width: 2, tokens: 5, vocab: 300}.marshal())
	f.Add(shardHeader{width: 4, tokens: 1 << 20, vocab: 1 << 17, index: 3, split: 1}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize { // else nearly all would fail at the checksum
			binary.LittleEndian.PutUint32(b[60:], crc32.ChecksumIEEE(b[:60]))
		}
		h, err := parseHeader(b)
		if err == nil && !bytes.Equal(h.marshal(), b[:headerSize]) {
			t.Fatalf("%x reads as %+v, which is written as %x", b, h, h.marshal())
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	m := Manifest{Format: manifestFormat, Version: 1, Split: "val", Vocab: 300, DType: "uint16", Shards: []Shard{}, Tokenizer: "../tokenizer.json"}
	b, err := m.marshal()
	check(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseManifest(b); err == nil && m.Digest != m.contentDigest() {
			t.Fatalf("accepted with a wrong digest: %s", b)
		}
	})
}
