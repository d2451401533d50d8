package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"plasticity/record"
)

// Source is a tensor to write. Float32 is called once, when its turn comes, so that only one tensor is in memory at a time.
type Source struct {
	Name    string
	DType   DType // F32, BF16 or F16: values are rounded to nearest
	Shape   []int
	Float32 func() ([]float32, error) // row-major
}

// bytes is the size of the tensor's data.
func (s Source) bytes() int64 {
	n := s.DType.Size()
	for _, d := range s.Shape {
		n *= int64(d)
	}
	return n
}

// PyTorch is the metadata of a file for Hugging Face's libraries, which refuse one without it.
func PyTorch() map[string]string { return map[string]string{"format": "pt"} }

// Size is the length of the file in bytes that Write will produce, without asking for any values.
func Size(metadata map[string]string, sources []Source) (int64, error) {
	ordered, head, err := plan(metadata, sources)
	if err != nil {
		return 0, err
	}
	size := int64(len(head))
	for _, s := range ordered {
		size += s.bytes()
	}
	return size, nil
}

// Write writes a file: the same bytes for the same tensors in any order. metadata may be nil. Errors of w and of the
// sources pass through.
func Write(w io.Writer, metadata map[string]string, sources []Source) error {
	ordered, head, err := plan(metadata, sources)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	buffer := make([]byte, 0, chunkBytes)
	for _, s := range ordered {
		values, err := s.Float32()
		if err != nil {
			return fmt.Errorf("tensor %s: %w", s.Name, err)
		}
		if int64(len(values)) != s.bytes()/s.DType.Size() {
			return record.Fail(record.Internal, "safetensors: %d values for tensor %s of shape %v", len(values), s.Name, s.Shape)
		}
		for piece := range slices.Chunk(values, chunkBytes/4) {
			buffer = fromFloat32(s.DType, piece, buffer[:0])
			if _, err := w.Write(buffer); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan orders the tensors and makes the header with its length in front.
func plan(metadata map[string]string, sources []Source) ([]Source, []byte, error) {
	ordered := slices.Clone(sources)
	slices.SortFunc(ordered, func(a, b Source) int {
		return cmp.Or(cmp.Compare(a.DType.rank(), b.DType.rank()), cmp.Compare(a.Name, b.Name))
	})
	if err := check(ordered); err != nil {
		return nil, nil, record.Fail(record.Internal, "safetensors: %w", err)
	}
	head := bytes.NewBuffer(make([]byte, 8, 8+128*len(sources)))
	head.WriteByte('{')
	if len(metadata) > 0 {
		head.WriteString(quote(metadataKey) + ":{")
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			fmt.Fprintf(head, "%s%s:%s", comma(i), quote(key), quote(metadata[key]))
		}
		head.WriteByte('}')
	}
	at := int64(0)
	for i, s := range ordered {
		shape, err := json.Marshal(append([]int{}, s.Shape...)) // never null
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintf(head, `%s%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`,
			comma(i+len(metadata)), quote(s.Name), s.DType, shape, at, at+s.bytes())
		at += s.bytes()
	}
	head.WriteByte('}')
	for head.Len()%8 != 0 {
		head.WriteByte(' ') // the data starts aligned
	}
	binary.LittleEndian.PutUint64(head.Bytes(), uint64(head.Len()-8))
	return ordered, head.Bytes(), nil
}

// check refuses what a reader would.
func check(ordered []Source) error {
	if len(ordered) > maxTensors {
		return fmt.Errorf("%d tensors, at most %d are possible", len(ordered), maxTensors)
	}
	names := make(map[string]bool, len(ordered))
	for _, s := range ordered {
		switch {
		case names[s.Name] || s.Name == metadataKey || s.Name == "" || len(s.Name) > maxName:
			return fmt.Errorf("tensor name %.120q is taken or not possible", s.Name)
		case !s.DType.isFloat():
			return fmt.Errorf("tensor %s: dtype %q is not written", s.Name, s.DType)
		case s.Float32 == nil:
			return errors.New("tensor " + s.Name + " has no values")
		case len(s.Shape) > maxRank || slices.ContainsFunc(s.Shape, func(d int) bool { return d < 0 || d > 1<<40 }):
			return fmt.Errorf("tensor %s: shape %v is not possible", s.Name, s.Shape)
		}
		names[s.Name] = true
	}
	return nil
}

// quote returns text as a JSON string with no more escapes than needed.
func quote(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string in memory cannot fail
	return string(bytes.TrimRight(b.Bytes(), "\n"))
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}
