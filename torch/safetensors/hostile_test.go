package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"plasticity/record"
	"plasticity/torch/safetensors"
)

// raw is a file with the given header and n bytes of data.
func raw(header string, n int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, n)...)
}

// lying is a file whose first 8 bytes claim another header length.
func lying(length uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, length), rest...)
}

func one(entry string) string { return `{"a":` + entry + `}` }

func TestParse_HostileFile(t *testing.T) {
	many := func(n int, entry func(i int) string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(entry(i))
		}
		return "{" + b.String() + "}"
	}
	good := `{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	cases := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "0 bytes, too few"},
		{"seven bytes", make([]byte, 7), "7 bytes, too few"},
		{"header of 0", lying(0, "{}"), "said to have 0 bytes"},
		{"header of 2^63", lying(1<<63, "{}"), "9223372036854775808"},
		{"header of 2^64-1", lying(1<<64-1, "{}"), "18446744073709551615"},
		{"header one byte too long", lying(3, "{}"), "said to have 3 bytes"},
		{"header above 100 MB", append(lying(100_000_001, ""), make([]byte, 100_000_100)...), "from 2 to 100000000"},
		{"header too short", lying(20, one(good)+"        "), "ends in the middle"},
		{"zip archive", append([]byte("PK\x03\x04"), make([]byte, 100)...), "header"},
		{"zeros", make([]byte, 64), "said to have 0 bytes"},
		{"not an object", raw(`[]`, 0), `'[' where '{'`},
		{"no JSON", raw(`xxxxxxxx`, 0), `'x' where '{'`},
		{"leading garbage", raw(`  x{}`, 0), `where '{'`},
		{"text behind the object", raw(`{} {}`, 0), "behind the end"},
		{"not UTF-8", raw("{\"\xff\":1}", 0), "not UTF-8"},
		{"control character", raw("{\"a\nb\":1}", 0), "control character"},
		{"half a surrogate", raw(`{"\ud800x":1}`, 0), "surrogate"},
		{"unknown escape", raw(`{"\x41":1}`, 0), "unknown escape"},
		{"nested bomb of arrays", raw(`{"a":`+strings.Repeat("[", 1<<20), 0), `'[' where '{'`},
		{"nested bomb of objects", raw(strings.Repeat(`{"a":`, 1<<20), 0), `unknown field "a"`},
		{"nested shape", raw(one(`{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}`), 8), "where a number"},
		{"duplicate tensor", raw(`{"a":`+good+`,"a":`+good+`}`, 8), `tensor "a": it comes twice`},
		{"duplicate by escape", raw(`{"a":`+good+`,"\u0061":`+good+`}`, 8), `tensor "a": it comes twice`},
		{"duplicate field", raw(one(`{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}`), 8), "dtype comes twice"},
		{"unknown field", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}`), 8), `unknown field "x"`},
		{"missing field", raw(one(`{"dtype":"F32","shape":[2]}`), 8), "needs dtype, shape and data_offsets"},
		{"unknown dtype", raw(one(`{"dtype":"F33","shape":[2],"data_offsets":[0,8]}`), 8), `dtype "F33"`},
		{"dtype of no string", raw(one(`{"dtype":5,"shape":[2],"data_offsets":[0,8]}`), 8), `where '"'`},
		{"long dtype", raw(one(`{"dtype":"`+strings.Repeat("F", 1<<20)+`"}`), 8), "longer than 16"},
		{"negative dimension", raw(one(`{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}`), 8), "where a number"},
		{"fractional dimension", raw(one(`{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}`), 8), `'.'`},
		{"dimension with exponent", raw(one(`{"dtype":"F32","shape":[1e9],"data_offsets":[0,8]}`), 8), `'e'`},
		{"dimension of 2^63", raw(one(`{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}`), 8), "above 2⁶³"},
		{"dimension of many digits", raw(one(`{"dtype":"F32","shape":[`+strings.Repeat("9", 1<<20)+`]}`), 8), "above 2⁶³"},
		{"shape overflows to fit", raw(one(`{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}`), 8), "more elements than any file"},
		{"shape overflows by type", raw(one(`{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}`), 8), "more elements than any file"},
		{"shape asks for TiB", raw(one(`{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}`), 8), "needs 4398046511104"},
		{"rank of a million", raw(one(`{"dtype":"F32","shape":[`+strings.Repeat("1,", 1<<20)+`1]}`), 8), "more than 8 numbers"},
		{"three offsets", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}`), 8), "more than 2 numbers"},
		{"one offset", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[0]}`), 8), "data_offsets [begin, end]"},
		{"offsets reversed", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[8,0]}`), 8), "[8, 0] do not lie"},
		{"offsets beyond the file", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[8,16]}`), 8), "[8, 16] do not lie in the 8 bytes"},
		{"offsets at 2^63", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775799,9223372036854775807]}`), 8), "do not lie"},
		{"size and shape differ", raw(one(`{"dtype":"F32","shape":[3],"data_offsets":[0,8]}`), 8), "shape [3] of F32 needs 12"},
		{"hole", raw(`{"a":`+good+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}`, 16), "a hole"},
		{"hole in front", raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[8,16]}`), 16), "a hole"},
		{"overlap", raw(`{"a":`+good+`,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), "an overlap"},
		{"same bytes twice", raw(`{"a":`+good+`,"b":`+good+`}`, 8), "an overlap"},
		{"trailing bytes", raw(one(good), 9), "1 bytes behind the last tensor"},
		{"truncated data", raw(one(good), 7), "do not lie in the 7 bytes"},
		{"metadata of numbers", raw(`{"__metadata__":{"a":1}}`, 0), `where '"'`},
		{"metadata twice", raw(`{"__metadata__":{},"__metadata__":{}}`, 0), "it comes twice"},
		{"metadata key twice", raw(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `key "a" comes twice`},
		{"metadata of 10 MB", raw(`{"__metadata__":{"a":"`+strings.Repeat("x", 10<<20)+`"}}`, 0), "longer than"},
		{"a million metadata pairs", raw(many(1, func(int) string {
			return `"__metadata__":` + many(1<<18, func(i int) string { return fmt.Sprintf(`"%d":""`, i) })
		}), 0), "bytes of metadata"},
		{"long name", raw(`{"`+strings.Repeat("n", 1<<20)+`":{}}`, 0), "longer than 1024"},
		{"a million tensors", raw(many(1<<18, func(i int) string {
			return fmt.Sprintf(`"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
		}), 0), "more than 16384 tensors"},
		{"comma behind the last", raw(`{"a":`+good+`,}`, 8), `where '"'`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { refused(t, c.file, c.want) })
	}
	t.Logf("%d hostile files", len(cases))
}

// refused checks that a file is refused as bad data with a text, and without taking more memory than it is long.
func refused(t *testing.T, file []byte, want string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := safetensors.Parse(bytes.NewReader(file), int64(len(file)))
	runtime.ReadMemStats(&after)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v; want bad data with %q", err, want)
	}
	if err != nil && (!strings.HasPrefix(err.Error(), "test.safetensors: ") || !strings.Contains(err.Error(), "copy it again")) {
		t.Errorf("the error names no file or remedy: %v", err)
	}
	// 1 MiB for buffers and messages.
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(file))+1<<20 {
		t.Errorf("a file of %d bytes took %d bytes of memory", len(file), took)
	}
}

// spaces is a file whose header is a brace and then blanks, without lying in memory.
type spaces struct{ size int64 }

func (s spaces) ReadAt(p []byte, at int64) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	if at == 0 {
		copy(p, lying(uint64(s.size-8), "{"))
	} else if at == 8 {
		p[0] = '{'
	}
	if at+int64(len(p)) > s.size {
		return int(s.size - at), io.EOF
	}
	return len(p), nil
}

func TestParse_HundredMegabytesOfSpaces(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := safetensors.Parse(spaces{100_000_008}, 100_000_008)
	runtime.ReadMemStats(&after)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "ends in the middle") {
		t.Errorf("got %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("the header is read as a stream, and yet took %d bytes of memory", took)
	}
}

func TestParse_EveryTruncationAndBitFlip(t *testing.T) {
	file := sample(t)
	for n := range len(file) {
		if _, err := safetensors.Parse(bytes.NewReader(file[:n]), int64(n)); record.CodeOf(err) != record.BadData {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	refusals := 0
	for i := range len(file) {
		for bit := range 8 {
			broken := bytes.Clone(file)
			broken[i] ^= 1 << bit
			f, err := safetensors.Parse(bytes.NewReader(broken), int64(len(broken)))
			if err != nil {
				refusals++
				continue
			}
			for _, e := range f.Tensors() {
				_, _ = f.Float32(e.Name) // must not panic
				_, _ = f.Int64(e.Name)
			}
		}
	}
	if refusals < 4*len(file)/8 {
		t.Errorf("only %d of %d flips were refused", refusals, 8*len(file))
	}
}

func TestOpen_NotARegularFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(path("pipe.safetensors"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"loop.safetensors": "loop.safetensors", "dangling.safetensors": "nowhere", "topipe.safetensors": "pipe.safetensors"} {
		if err := os.Symlink(to, path(from)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path("file"), sample(t))
	for name, want := range map[string]string{
		"pipe.safetensors": "not a regular file", "topipe.safetensors": "not a regular file", ".": "not a regular file",
		"loop.safetensors": "loop", "dangling.safetensors": "no such file", "absent": "no such file", "file/x": "not a directory",
		"pytorch_model.bin": "save_pretrained", "x.PT": "save_pretrained", "model.pth": "save_pretrained",
	} {
		_, err := safetensors.Open(path(name))
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want bad data with %q", name, err, want)
		}
	}
	f, err := safetensors.Open("/dev/null")
	if record.CodeOf(err) != record.BadData {
		t.Errorf("/dev/null: %v %v", f, err)
	}
}

func TestOpen_FollowsALink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "blob"), sample(t))
	link := filepath.Join(dir, "model.safetensors") // as in Hugging Face's cache
	if err := os.Symlink("blob", link); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(link)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors()) != 4 {
		t.Errorf("%d tensors", len(f.Tensors()))
	}
}

func TestFloat32_FileShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	write(t, path, sample(t))
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 300); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Float32("layer.weight"); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "became shorter") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	f.Add(raw(`{"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}  `, 4))
	f.Add(raw(`{"\u00e9\ud83d\ude00":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1))
	f.Add(lying(1<<62, "{}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := safetensors.Parse(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			if record.CodeOf(err) != record.BadData {
				t.Fatalf("not bad data: %v", err)
			}
			return
		}
		total := int64(0)
		for _, e := range got.Tensors() {
			total += e.Len() * e.DType.Size()
			if values, err := got.Float32(e.Name); err == nil && int64(len(values)) != e.Len() {
				t.Fatalf("%d values for %v", len(values), e)
			}
		}
		if total > int64(len(file)) {
			t.Fatalf("tensors of %d bytes in a file of %d", total, len(file))
		}
	})
}
