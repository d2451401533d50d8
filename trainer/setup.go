package trainer

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"plasticity/config"
	"plasticity/data"
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
	return runtime.NumCPU()
}

// precision is the type that products run in.
func precision(c config.Run) torch.DType {
	if c.Precision == "bf16" {
		return torch.BFloat16
	}
	return torch.Float32
}

// checkDevice refuses what this program was not built for.
func checkDevice(device string) error {
	if strings.HasPrefix(device, "cuda") {
		return record.Fail(record.DeviceLost, "device %s: this build computes on the CPU only; set device: cpu or auto", device)
	}
	return nil
}

// modelName is what people call a model.
func modelName(m config.Model) string {
	if m.Preset != "" {
		return m.Preset
	}
	return fmt.Sprintf("%s-%dx%d", m.Family, m.Layers, m.Width)
}

// instructionSet names the instructions that decide the bits of a run: ATen's kernels and the best
// bfloat16 product of this CPU.
func instructionSet(i torch.Info) string {
	product := ""
	switch {
	case i.AMX:
		product = "+AMX"
	case i.AVX512BF16:
		product = "+AVX512_BF16"
	}
	return i.CPUCapability + product
}

// openData opens the shards of a config and says what it needs to know of them.
func openData(c config.Run) (config.DataFacts, *data.Set, *data.Set, error) {
	train, err := data.Open(c.Data.Train)
	if err != nil {
		return config.DataFacts{}, nil, nil, err
	}
	facts := config.DataFacts{
		Vocab: train.Vocab(), TrainTokens: train.Tokens(), TrainDigest: train.Digest(),
		TokenizerDigest: train.TokenizerDigest(), Source: train.Source(),
	}
	if c.Data.Val == "" {
		return facts, train, nil, nil
	}
	val, err := data.Open(c.Data.Val)
	if err != nil {
		return config.DataFacts{}, nil, nil, err
	}
	if val.TokenizerDigest() != train.TokenizerDigest() {
		return config.DataFacts{}, nil, nil, record.Fail(record.Mismatch, "%s and %s were made with different tokenizers: prepare both with one", c.Data.Train, c.Data.Val)
	}
	facts.ValTokens, facts.ValDigest = val.Tokens(), val.Digest()
	return facts, train, val, nil
}

// parentOf is the id of the run that weights start from; "" for fresh weights or a folder that is
// not a run.
func parentOf(init string) (string, error) {
	if init == "" {
		return "", nil
	}
	parent, err := record.Open(init)
	if err != nil {
		return "hf", nil //nolint:nilerr // a Hugging Face folder has no run id; model.LoadWeights checks it
	}
	return parent.Info.ID, nil
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

// maxTokenizer bounds a tokenizer.json.
const maxTokenizer = 64 << 20

// keepTokenizer copies the tokenizer into the run's folder once, so that the run can be used without
// the data it was trained on.
func keepTokenizer(fsys record.FS, r *record.Run, path string) error {
	if _, err := fsys.Stat(r.Path(data.TokenizerFile)); err == nil {
		return nil
	}
	text, err := record.ReadFile(record.OS(), path, maxTokenizer)
	if err != nil {
		return err
	}
	return record.WriteFileAtomic(fsys, r.Path(data.TokenizerFile), text)
}
