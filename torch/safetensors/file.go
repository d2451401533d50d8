package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"plasticity/record"
)

// chunkBytes is how much of a tensor is read or written at a time.
const chunkBytes = 1 << 18

// File is an open file, or the shards of a folder as if they were one file. Its methods may be called from several
// goroutines at once.
type File struct {
	path     string
	shards   []shard
	entries  []Entry
	byName   map[string]int
	metadata map[string]string // of the first file
}

// shard is one file on disk.
type shard struct {
	path string
	from io.ReaderAt
	file io.Closer
}

// Open opens a file and checks its header. A link is followed; what is not a regular file is refused unopened. The caller
// closes it.
func Open(path string) (*File, error) {
	f := &File{path: path, byName: map[string]int{}}
	if err := f.add(path); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return f, nil
}

// add opens one more shard.
func (f *File) add(path string) error {
	if err := refusePickle(path); err != nil {
		return err
	}
	file, size, err := openRegular(path)
	if err != nil {
		return err
	}
	f.shards = append(f.shards, shard{path, file, file})
	return f.parse(path, file, size)
}

// parse reads the header of the last shard and adds its tensors.
func (f *File) parse(path string, from io.ReaderAt, size int64) error {
	entries, metadata, err := parseHeader(path, from, size)
	if err != nil {
		return err
	}
	if f.metadata == nil {
		f.metadata = metadata
	}
	for _, e := range entries {
		if i, taken := f.byName[e.Name]; taken {
			return bad(path, "tensor %.120q is in %s as well", e.Name, filepath.Base(f.shards[f.entries[i].shard].path))
		}
		e.shard = len(f.shards) - 1
		f.byName[e.Name] = len(f.entries)
		f.entries = append(f.entries, e)
	}
	return nil
}

// openRegular opens a regular file, or a link to one, and returns its size.
func openRegular(path string) (*os.File, int64, error) {
	// Asked first, since to open some devices does something; and without blocking, for a pipe that takes the name meanwhile.
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, openError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, notRegular(path, info)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, openError(path, err)
	}
	info, err = file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		_ = file.Close() // only read
		return nil, 0, openError(path, err)
	}
	return file, info.Size(), nil
}

func notRegular(path string, info fs.FileInfo) error {
	return record.Fail(record.BadData, "%s: not a regular file (%s): name a .safetensors file", path, info.Mode().Type())
}

// openError gives an error of opening path its exit code.
func openError(path string, err error) error {
	var failure *record.Failure
	switch {
	case errors.As(err, &failure):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return record.Fail(record.BadData, "%w: check the path", err)
	default:
		return readError(path, err)
	}
}

// readError gives an error of reading path its exit code.
func readError(path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return bad(path, "it became shorter while it was read")
	}
	code := record.CodeOf(err)
	if code == record.Failed {
		code = record.IO
	}
	return record.Fail(code, "read %s: %w", path, err)
}

// refusePickle refuses PyTorch's own files by name: to read one means to run the program in it.
func refusePickle(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle":
		return record.Fail(record.BadData, "%s: a pickle file can run any program, so it is not opened: convert it where you trust it, in Python with "+
			"AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True), and use OUT", path)
	default:
		return nil
	}
}

// Close closes the files. Closing twice is harmless.
func (f *File) Close() error {
	var errs []error
	for i := range f.shards {
		if f.shards[i].file != nil {
			errs = append(errs, f.shards[i].file.Close())
			f.shards[i].file = nil
		}
	}
	return errors.Join(errs...)
}

// Path is the file or folder that was opened.
func (f *File) Path() string { return f.path }

// Metadata is the header's __metadata__; of several shards, the first one's.
func (f *File) Metadata() map[string]string { return f.metadata }

// Tensors lists the tensors in the order of their bytes, shard after shard. The list is the file's: do not change it.
func (f *File) Tensors() []Entry { return f.entries }

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (Entry, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Entry{}, false
	}
	return f.entries[i], true
}

// Float32 reads a tensor of type F32, BF16 or F16, row-major. NaN and infinity pass.
func (f *File) Float32(name string) ([]float32, error) {
	e, err := f.readable(name, "float32", DType.isFloat)
	if err != nil {
		return nil, err
	}
	out := make([]float32, e.Len())
	return out, f.chunks(e, func(first int64, raw []byte) {
		toFloat32(e.DType, raw, out[first:first+int64(len(raw))/e.DType.Size()])
	})
}

// ReadFloat32 is Float32 into a slice of the tensor's length.
func (f *File) ReadFloat32(name string, into []float32) error {
	e, err := f.readable(name, "float32", DType.isFloat)
	if err != nil {
		return err
	}
	if int64(len(into)) != e.Len() {
		return record.Fail(record.Mismatch, "%s: tensor %q has shape %v, %d elements, where %d are wanted", f.path, name, e.Shape, e.Len(), len(into))
	}
	return f.chunks(e, func(first int64, raw []byte) {
		toFloat32(e.DType, raw, into[first:first+int64(len(raw))/e.DType.Size()])
	})
}

// Int64 reads a tensor of type I64, I32 or U8, row-major.
func (f *File) Int64(name string) ([]int64, error) {
	e, err := f.readable(name, "integers", DType.isInt)
	if err != nil {
		return nil, err
	}
	out := make([]int64, e.Len())
	return out, f.chunks(e, func(first int64, raw []byte) {
		toInt64(e.DType, raw, out[first:first+int64(len(raw))/e.DType.Size()])
	})
}

// readable finds a tensor whose type allows to read it as what.
func (f *File) readable(name, what string, allowed func(DType) bool) (Entry, error) {
	e, ok := f.Tensor(name)
	if !ok {
		return Entry{}, record.Fail(record.BadData, "%s: there is no tensor %q among its %d", f.path, name, len(f.entries))
	}
	if !allowed(e.DType) {
		return Entry{}, record.Fail(record.BadData, "%s: tensor %q: dtype %s cannot be read as %s: convert it (F32, BF16 and F16 are read as float32, I64, I32 and U8 as integers)",
			f.path, name, e.DType, what)
	}
	return e, nil
}

// chunks reads a tensor's bytes piece by piece, whole elements at a time.
func (f *File) chunks(e Entry, use func(first int64, raw []byte)) error {
	from := f.shards[e.shard]
	width := e.DType.Size()
	buffer := make([]byte, min(chunkBytes, e.end-e.begin))
	for at := e.begin; at < e.end; {
		piece := buffer[:min(int64(len(buffer)), e.end-at)]
		if _, err := from.from.ReadAt(piece, at); err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, readError(from.path, err))
		}
		use((at-e.begin)/width, piece)
		at += int64(len(piece))
	}
	return nil
}
