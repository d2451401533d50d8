package trainer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// Threads is how many threads a run computes with: what the config says, or the cores this process
// may use.
func Threads(c config.Run) int { return ThreadsOr(c.Threads) }

// ThreadsOr is n, or the cores this process may use when n is 0.
func ThreadsOr(n int) int {
	if n > 0 {
		return n
	}
	return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) // the latter knows of cgroup limits
}

// precision is the type that products run in.
func precision(c config.Run) torch.DType {
	if c.Precision == "bf16" {
		return torch.BFloat16
	}
	return torch.Float32
}

// modelName is what people call a model.
func modelName(m config.Model) string {
	if m.Preset != "" {
		return m.Preset
	}
	return fmt.Sprintf("%s-%dx%d", m.Family, m.Layers, m.Width)
}

// nativeInfo is what decides the bits of a run besides its config.
type nativeInfo struct{ Shim, Libtorch, CPU, Device string }

func describe(s Stepper) (nativeInfo, error) {
	i, err := torch.Describe()
	info := nativeInfo{Shim: torch.Stamp, Libtorch: i.TorchVersion, CPU: InstructionSet(i), Device: "cpu"}
	if g, ok := s.(*graph); ok {
		// The device's kernels decide the bits; those of the CPU compute nothing.
		info.CPU, info.Device = g.hardware, g.deviceName()
	}
	return info, err
}

// InstructionSet names the instructions that decide the bits of a run: ATen's kernels and the best
// bfloat16 product of this CPU.
func InstructionSet(i torch.Info) string {
	switch {
	case i.AMX:
		return i.CPUCapability + "+AMX"
	case i.AVX512BF16:
		return i.CPUCapability + "+AVX512_BF16"
	default:
		return i.CPUCapability
	}
}

// parent is what weights start from; the zero value stands for fresh weights.
type parent struct {
	run      string // id of the run, or hf- and a digest for a Hugging Face folder
	identity string // what of it decides this run's numbers: for a run its id and the checkpoint's step
}

// locateInit finds the model that config.init names, nil when it names none, and replaces a run by its newest checkpoint of this moment: the
// run may be training on, and the id of this one is of those weights. The notes are about newer checkpoints that are damaged.
func locateInit(c *config.Run) (base *model.Source, notes []string, err error) {
	if c.Init == "" {
		return nil, nil, nil
	}
	source, err := model.Locate(c.Init)
	if err != nil {
		return nil, nil, fmt.Errorf("init: %w", err)
	}
	for _, p := range source.LeftOut {
		notes = append(notes, fmt.Sprintf("init: %s: step %d is used instead", p, source.Step))
	}
	if source.RunID != "" && source.RunDir == source.Path {
		c.Init = record.CheckpointPath(source.RunDir, source.Step)
	}
	return &source, notes, nil
}

// parentOf identifies a model, or no model, which stands for fresh weights.
func parentOf(base *model.Source) (parent, error) {
	switch {
	case base == nil:
		return parent{}, nil
	case base.RunID != "":
		return parent{base.RunID, fmt.Sprintf("%s@%d", base.RunID, base.Step)}, nil
	}
	identity, err := FolderIdentity(base.Path)
	if err != nil {
		return parent{}, err
	}
	return parent{identity[:len("hf-")+16], identity}, nil
}

// Identity says which weights lie at a path: the run's id and the checkpoint's step, or a digest of a Hugging Face folder's.
func Identity(path string) (string, error) {
	source, err := model.Locate(path)
	if err != nil {
		return "", err
	}
	p, err := parentOf(&source)
	return p.identity, err
}

// FolderIdentity is a digest of the weights in a Hugging Face folder, whatever they are for.
func FolderIdentity(dir string) (string, error) {
	digest, err := weightsDigest(dir)
	return "hf-" + digest, err
}

// weightsDigest is the SHA-256 over the weight files of a Hugging Face folder, in the order of their names.
func weightsDigest(dir string) (string, error) {
	entries, err := os.ReadDir(dir) // in the order of their names
	if err != nil {
		return "", record.FailIO(err, "init: read %s", dir)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) != ".safetensors" })
	if len(entries) == 0 {
		return "", record.Fail(record.BadData, "init: %s has no weights: no file in it ends in .safetensors", dir)
	}
	sum := sha256.New()
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if i, err := os.Stat(name); err != nil || !i.Mode().IsRegular() {
			return "", record.Fail(record.BadData, "init: %s is not a regular file: give a folder with the weights themselves", name)
		}
		f, err := os.Open(name)
		if err != nil {
			return "", record.Fail(record.BadData, "init: %w", err)
		}
		fmt.Fprintf(sum, "%s\x00", filepath.Base(name))
		_, err = io.Copy(sum, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", record.Fail(record.IO, "init: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// existing is the nearest folder of a path that is there.
func existing(path string) string {
	if path == "" {
		return "."
	}
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(path)
		if parent == path {
			return "."
		}
		path = parent
	}
}

// keepTokenizer writes the tokenizer into the run's folder once, with the name of its end of text, so that the run can be used without the
// data it was trained on.
func keepTokenizer(fsys record.FS, r *record.Run, load func() (*data.Tokenizer, error), context int) error {
	if _, err := fsys.Stat(r.Path(data.TokenizerFile)); err == nil {
		return nil
	}
	t, err := load()
	if err != nil {
		return err
	}
	files, err := t.HFFiles(context)
	if err != nil {
		return record.Fail(record.Internal, "%w", err)
	}
	for _, f := range slices.Backward(files) { // tokenizer.json, which says that all are there, last
		if err := record.WriteFileAtomic(fsys, r.Path(f.Name), f.Data); err != nil {
			return err
		}
	}
	return nil
}
