package safetensors

import "io"

// Parse reads a file from memory, for the tests.
func Parse(from io.ReaderAt, size int64) (*File, error) {
	f := &File{path: "test.safetensors", byName: map[string]int{}}
	f.shards = append(f.shards, shard{path: f.path, from: from})
	if err := f.parse(f.path, from, size); err != nil {
		return nil, err
	}
	return f, nil
}
