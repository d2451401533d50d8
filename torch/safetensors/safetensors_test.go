package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plasticity/record"
	"plasticity/torch/safetensors"
)

func source(name string, dtype safetensors.DType, values []float32, shape ...int) safetensors.Source {
	return safetensors.Source{Name: name, DType: dtype, Shape: shape, Float32: func() ([]float32, error) { return values, nil }}
}

func sources() []safetensors.Source {
	return []safetensors.Source{
		source("norm", safetensors.BF16, []float32{1, -2.5, 3}, 3),
		source("layer.weight", safetensors.F32, []float32{1, 2, 3, 4, 5, float32(math.Inf(1))}, 2, 3),
		source("empty", safetensors.F32, nil, 0, 4),
		source("half", safetensors.F16, []float32{0.5}),
	}
}

// sample is a small file with every writable type.
func sample(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, safetensors.PyTorch(), sources()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWrite_Bytes(t *testing.T) {
	file := sample(t)
	header := `{"__metadata__":{"format":"pt"},"empty":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},` +
		`"layer.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"norm":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},` +
		`"half":{"dtype":"F16","shape":[],"data_offsets":[30,32]}}`
	length := binary.LittleEndian.Uint64(file)
	if length%8 != 0 || strings.TrimRight(string(file[8:8+length]), " ") != header {
		t.Errorf("header of %d bytes: %s", length, file[8:8+length])
	}
	reversed := sources()
	slices.Reverse(reversed)
	var b bytes.Buffer
	if err := safetensors.Write(&b, safetensors.PyTorch(), reversed); err != nil || !bytes.Equal(b.Bytes(), file) {
		t.Errorf("another order gives other bytes (%v)", err)
	}
	if size, err := safetensors.Size(safetensors.PyTorch(), reversed); err != nil || size != int64(len(file)) {
		t.Errorf("Size says %d (%v), the file has %d", size, err, len(file))
	}
}

func TestFile_ReadsWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	write(t, path, sample(t))
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if diff := cmp.Diff(map[string]string{"format": "pt"}, f.Metadata()); diff != "" {
		t.Error(diff)
	}
	for _, s := range sources() {
		want, _ := s.Float32()
		e, ok := f.Tensor(s.Name)
		if !ok || e.DType != s.DType || !slices.Equal(e.Shape, s.Shape) {
			t.Errorf("%s: entry %v", s.Name, e)
		}
		got, err := f.Float32(s.Name)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", s.Name, got, err, want)
		}
		if err := f.ReadFloat32(s.Name, make([]float32, len(want)+1)); record.CodeOf(err) != record.Mismatch {
			t.Errorf("%s into a wrong length: %v", s.Name, err)
		}
	}
	if _, err := f.Float32("absent"); record.CodeOf(err) != record.BadData {
		t.Errorf("absent: %v", err)
	}
	if _, err := f.Int64("norm"); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "BF16") {
		t.Errorf("floats as integers: %v", err)
	}
}

func TestFile_Integers(t *testing.T) {
	header := `{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"b":{"dtype":"I32","shape":[1],"data_offsets":[16,20]},` +
		`"c":{"dtype":"U8","shape":[2],"data_offsets":[20,22]},"d":{"dtype":"F64","shape":[1],"data_offsets":[22,30]}}`
	file := raw(header, 0)
	file = binary.LittleEndian.AppendUint64(file, 1<<40)
	file = binary.LittleEndian.AppendUint64(file, math.MaxUint64-6)
	file = binary.LittleEndian.AppendUint32(file, math.MaxUint32)
	file = append(file, 7, 255)
	file = append(file, make([]byte, 8)...)
	f, err := safetensors.Parse(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int64{"a": {1 << 40, -7}, "b": {-1}, "c": {7, 255}} {
		if got, err := f.Int64(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	if _, err := f.Float32("d"); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "F64") {
		t.Errorf("F64: %v", err)
	}
}

func TestWrite_RefusesMisuse(t *testing.T) {
	for name, list := range map[string][]safetensors.Source{
		"taken":    {source("a", safetensors.F32, []float32{1}, 1), source("a", safetensors.BF16, []float32{1}, 1)},
		"dtype":    {source("a", safetensors.I64, []float32{1}, 1)},
		"length":   {source("a", safetensors.F32, []float32{1}, 2)},
		"negative": {source("a", safetensors.F32, nil, -1)},
		"metadata": {source("__metadata__", safetensors.F32, []float32{1}, 1)},
	} {
		if err := safetensors.Write(&bytes.Buffer{}, nil, list); record.CodeOf(err) != record.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFloat16_EveryValueSurvives(t *testing.T) {
	for _, dtype := range []safetensors.DType{safetensors.F16, safetensors.BF16} {
		file := raw(`{"a":{"dtype":"`+string(dtype)+`","shape":[65536],"data_offsets":[0,131072]}}`, 0)
		for i := range 1 << 16 {
			file = binary.LittleEndian.AppendUint16(file, uint16(i))
		}
		f, err := safetensors.Parse(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		values, err := f.Float32("a")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := safetensors.Write(&b, nil, []safetensors.Source{source("a", dtype, values, 65536)}); err != nil {
			t.Fatal(err)
		}
		got := b.Bytes()[b.Len()-131072:]
		for i := range 1 << 16 {
			if bits := binary.LittleEndian.Uint16(got[2*i:]); int(bits) != i && !math.IsNaN(float64(values[i])) {
				t.Fatalf("%s %#04x became %v and then %#04x", dtype, i, values[i], bits)
			} else if math.IsNaN(float64(values[i])) && bits&0x7fff <= map[safetensors.DType]uint16{safetensors.F16: 0x7c00, safetensors.BF16: 0x7f80}[dtype] {
				t.Fatalf("%s NaN %#04x became %#04x", dtype, i, bits)
			}
		}
	}
}

func TestFloat16_RoundsToNearest(t *testing.T) {
	for _, c := range []struct {
		dtype    safetensors.DType
		in, want float32
	}{
		{safetensors.BF16, 1 + 0x1p-8, 1}, // a tie goes to the even one
		{safetensors.BF16, 1 + 3*0x1p-8, 1 + 0x1p-6},
		{safetensors.BF16, 1 + 0x1p-8 + 0x1p-20, 1 + 0x1p-7},
		{safetensors.BF16, math.MaxFloat32, float32(math.Inf(1))},
		{safetensors.F16, 1 + 0x1p-11, 1},
		{safetensors.F16, 1 + 3*0x1p-11, 1 + 0x1p-9},
		{safetensors.F16, 65519, 65504},
		{safetensors.F16, -65520, float32(math.Inf(-1))},
		{safetensors.F16, 0x1p-25, 0},
		{safetensors.F16, 3 * 0x1p-25, 0x1p-23},
		{safetensors.F16, 0x1p-14 - 0x1p-26, 0x1p-14},
	} {
		var b bytes.Buffer
		if err := safetensors.Write(&b, nil, []safetensors.Source{source("a", c.dtype, []float32{c.in}, 1)}); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := f.Float32("a"); got[0] != c.want {
			t.Errorf("%v as %s is %v, want %v", c.in, c.dtype, got[0], c.want)
		}
	}
}

func TestWrite_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringN(1, 20, 60), 0, 6, rapid.ID[string]).Draw(t, "names")
		var list []safetensors.Source
		want := map[string][]float32{}
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
			n := 1
			for _, d := range shape {
				n *= d
			}
			values := rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "values")
			list = append(list, source(name, safetensors.F32, values, shape...))
			want[name] = values
		}
		var b bytes.Buffer
		if err := safetensors.Write(&b, map[string]string{"k\"\\\n": "é\u2028"}, list); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range want {
			got, err := f.Float32(name)
			if err != nil || !slices.Equal(got, values) {
				t.Fatalf("%q: %v, %v; want %v", name, got, err, values)
			}
		}
	})
}

// folder writes shards a and b and an index.
func folder(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	for name, list := range map[string][]safetensors.Source{
		"a.safetensors": {source("x", safetensors.F32, []float32{1}, 1), source("y", safetensors.BF16, []float32{2}, 1)},
		"b.safetensors": {source("z", safetensors.F32, []float32{3}, 1)},
		"c.safetensors": {source("z", safetensors.F32, []float32{4}, 1)},
	} {
		var b bytes.Buffer
		if err := safetensors.Write(&b, safetensors.PyTorch(), list); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), b.Bytes())
	}
	write(t, filepath.Join(dir, safetensors.IndexFile), []byte(index))
	return dir
}

func TestOpenFolder_Shards(t *testing.T) {
	f, err := safetensors.OpenFolder(folder(t, `{"metadata": {"total_size": 10, "x": [1, {"a": null}], "y": "é"},
		"weight_map": {"x": "a.safetensors", "z": "b.safetensors", "y": "a.safetensors"}}`+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]float32{"x": 1, "y": 2, "z": 3} {
		if got, err := f.Float32(name); err != nil || got[0] != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestOpenFolder_HostileIndex(t *testing.T) {
	for name, c := range map[string]struct{ index, want string }{
		"escape":        {`{"weight_map":{"x":"../a.safetensors"}}`, "not the name of a .safetensors file in this folder"},
		"absolute":      {`{"weight_map":{"x":"/etc/a.safetensors"}}`, "not the name"},
		"subfolder":     {`{"weight_map":{"x":"a/a.safetensors"}}`, "not the name"},
		"backslash":     {`{"weight_map":{"x":"..\\a.safetensors"}}`, "not the name"},
		"pickle":        {`{"weight_map":{"x":"a.bin"}}`, "not the name"},
		"absent shard":  {`{"weight_map":{"x":"q.safetensors"}}`, "q.safetensors: no such file"},
		"absent tensor": {`{"weight_map":{"x":"a.safetensors","y":"a.safetensors","q":"a.safetensors"}}`, `tensor "q"`},
		"wrong shard":   {`{"weight_map":{"x":"a.safetensors","y":"b.safetensors","z":"b.safetensors"}}`, `tensor "y" lies in a.safetensors`},
		"unlisted":      {`{"weight_map":{"x":"a.safetensors"}}`, `tensor "y" lies in a.safetensors`},
		"in two shards": {`{"weight_map":{"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors","w":"c.safetensors"}}`, `tensor "z" is in b.safetensors as well`},
		"twice":         {`{"weight_map":{"x":"a.safetensors","x":"a.safetensors"}}`, "comes twice"},
		"no map":        {`{"metadata":{}}`, "weight_map is missing"},
		"list":          {`[]`, "where '{'"},
		"nested":        {`{"metadata":` + strings.Repeat(`[`, 1<<20), "nested more than 16 deep"},
		"numbers":       {`{"weight_map":{"x":1}}`, `where '"'`},
		"empty":         {``, "ends in the middle"},
		"long value":    {`{"metadata":` + strings.Repeat("1", 1<<20), "without an end"},
	} {
		_, err := safetensors.OpenFolder(folder(t, c.index))
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want bad data with %q", name, err, c.want)
		}
	}
}

func TestOpenFolder_NoWeights(t *testing.T) {
	dir := t.TempDir()
	if _, err := safetensors.OpenFolder(dir); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "neither model.safetensors") {
		t.Errorf("an empty folder: %v", err)
	}
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, name), []byte("\x80\x02"))
		if _, err := safetensors.OpenFolder(dir); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "safe_serialization=True") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := safetensors.OpenFolder(filepath.Join(dir, "absent")); record.CodeOf(err) != record.BadData {
		t.Errorf("an absent folder: %v", err)
	}
}
