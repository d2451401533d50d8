package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// The names in a folder, as Hugging Face has them.
const (
	ModelFile = "model.safetensors"
	IndexFile = "model.safetensors.index.json"
)

// Limits of an index.
const (
	maxIndexBytes = 64 << 20
	maxShards     = 512
)

// OpenFolder opens the weights of a model folder: model.safetensors or, when there is none, the shards that
// model.safetensors.index.json names. Every shard lies in the folder itself; index and shards must agree on where every
// tensor is, each in exactly one shard. The caller closes it.
func OpenFolder(dir string) (*File, error) {
	single := filepath.Join(dir, ModelFile)
	switch _, err := os.Stat(single); {
	case err == nil:
		return Open(single)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, openError(single, err)
	}
	index := filepath.Join(dir, IndexFile)
	if _, err := os.Stat(index); errors.Is(err, fs.ErrNotExist) {
		return nil, noWeights(dir)
	}
	places, err := readIndex(index)
	if err != nil {
		return nil, err
	}
	f := &File{path: dir, byName: map[string]int{}}
	if err := f.openShards(dir, index, places); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return f, nil
}

// noWeights says what is missing, and what to do when only pickled weights are there.
func noWeights(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return openError(dir, err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".index.json")
		if name == "training_args.bin" || name == "optimizer.pt" || name == "scheduler.pt" {
			continue // of a trainer, not weights
		}
		if err := refusePickle(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return record.Fail(record.BadData, "%s: neither %s nor %s is there: name the folder of a model", dir, ModelFile, IndexFile)
}

// openShards opens every shard and compares it with the index: places gives the shard's name for each tensor.
func (f *File) openShards(dir, index string, places map[string]string) error {
	names := slices.Compact(slices.Sorted(maps.Values(places)))
	if len(names) > maxShards {
		return bad(index, "weight_map names %d files; at most %d are possible", len(names), maxShards)
	}
	for i, name := range names {
		if err := f.add(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%s: shard %d of %d: %w", index, i+1, len(names), err)
		}
	}
	for _, e := range f.entries {
		if place := places[e.Name]; place != names[e.shard] {
			return bad(index, "tensor %.120q lies in %s, weight_map says %q", e.Name, names[e.shard], place)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(places)) {
		if _, ok := f.byName[name]; !ok {
			return bad(index, "tensor %.120q: weight_map says %s, which does not have it", name, places[name])
		}
	}
	return nil
}

// readIndex reads the weight_map of an index.
func readIndex(path string) (map[string]string, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	if size > maxIndexBytes {
		return nil, bad(path, "%d bytes; an index has at most %d", size, maxIndexBytes)
	}
	return parseIndex(path, newScanner(file, size))
}

func parseIndex(path string, scan *scanner) (map[string]string, error) {
	var places map[string]string
	shards := map[string]string{} // one string a shard, however many tensors it has
	scan.members(func(key string) {
		if key != "weight_map" {
			scan.skip(1)
			return
		}
		if places != nil {
			scan.fail("weight_map comes twice")
		}
		places = map[string]string{}
		scan.members(func(tensor string) {
			name := scan.text(255)
			if _, twice := places[tensor]; twice {
				scan.fail("tensor %.120q comes twice in weight_map", tensor)
			}
			if len(places) == maxTensors {
				scan.fail("weight_map has more than %d tensors", maxTensors)
			}
			if filepath.Base(name) != name || strings.ContainsAny(name, "/\\\x00") || !strings.HasSuffix(name, ".safetensors") {
				scan.fail("tensor %.120q: %.120q is not the name of a .safetensors file in this folder", tensor, name)
			}
			if _, known := shards[name]; !known {
				shards[name] = name
			}
			places[tensor] = shards[name]
		})
	})
	scan.end()
	if scan.err == nil && len(places) == 0 {
		scan.fail("weight_map is missing or empty")
	}
	if scan.err != nil {
		return nil, bad(path, "%w", scan.err)
	}
	return places, nil
}
