package model

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"plasticity/data"
	"plasticity/model/source"
	"plasticity/record"
	"plasticity/torch/safetensors"
)

// ExportOptions is what goes into a Hugging Face folder besides the model.
type ExportOptions struct {
	DType     safetensors.DType // F32 (also the zero value), BF16 or F16
	Tokenizer *data.Tokenizer   // nil: the folder has none
	EOS       []int32           // tokens that end a text; empty: the tokenizer's
}

// SaveHF writes the folder dir, which transformers loads with plain from_pretrained: config.json, generation_config.json,
// model.safetensors, and the tokenizer's files. The folder appears complete or not at all. One that is there is replaced only
// when it holds nothing but an earlier export, else the error is NotPermitted. The same model gives the same bytes.
func SaveHF(fsys record.FS, dir string, m *Transformer, o ExportOptions) error {
	if o.DType == "" {
		o.DType = safetensors.F32
	}
	small, err := hfFiles(m, o)
	if err != nil {
		return err
	}
	return saveFolder(fsys, dir, small, m.sources(o.DType))
}

// saveFolder writes small files and weights into a folder that appears complete or not at all.
func saveFolder(fsys record.FS, dir string, small []data.File, weights []safetensors.Source) error {
	dir = filepath.Clean(dir) // a slash at the end would put the temporary folder inside
	if err := Replaceable(fsys, dir); err != nil {
		return err
	}
	bytes, err := safetensors.Size(safetensors.PyTorch(), weights)
	if err != nil {
		return err
	}
	for _, f := range small {
		bytes += int64(len(f.Data))
	}
	if err := record.Need(fsys, filepath.Dir(dir), bytes, "the export"); err != nil {
		return err
	}
	return record.WriteDirAtomic(fsys, dir, func(temp string) error {
		for _, f := range small {
			if err := writeFile(fsys, filepath.Join(temp, f.Name), func(w io.Writer) error {
				_, err := w.Write(f.Data)
				return err
			}); err != nil {
				return err
			}
		}
		return writeFile(fsys, filepath.Join(temp, safetensors.ModelFile), func(w io.Writer) error {
			return safetensors.Write(w, safetensors.PyTorch(), weights)
		})
	})
}

// hfFiles makes the files that are not weights.
func hfFiles(m *Transformer, o ExportOptions) ([]data.File, error) {
	files, eos, err := o.tokenizer(m)
	if err != nil {
		return nil, err
	}
	names := map[safetensors.DType]string{safetensors.F32: "float32", safetensors.BF16: "bfloat16", safetensors.F16: "float16"}
	generation := source.HFGeneration{EOS: eos}
	if len(eos) > 0 {
		generation.PAD = &eos[0]
	}
	settings, err := jsonFile(source.HFConfigFile, source.NewHFConfig(m.config, names[o.DType], eos))
	if err != nil {
		return nil, err
	}
	making, err := jsonFile(source.HFGenerationFile, generation)
	return append(files, settings, making), err
}

// tokenizer makes the tokenizer's files and says which tokens end a text.
func (o ExportOptions) tokenizer(m *Transformer) (files []data.File, eos []int32, err error) {
	eos = o.EOS
	if o.Tokenizer == nil {
		return nil, eos, nil
	}
	if o.Tokenizer.Vocab() > m.config.Vocab {
		return nil, nil, record.Fail(record.Mismatch, "the tokenizer has %d tokens and the model %d: export with the tokenizer it was trained with", o.Tokenizer.Vocab(), m.config.Vocab)
	}
	if files, err = o.Tokenizer.HFFiles(m.config.Context); err != nil {
		return nil, nil, err
	}
	if id, ok := o.Tokenizer.EOS(); ok && len(eos) == 0 {
		eos = []int32{id}
	}
	return files, eos, nil
}

// jsonFile is a value as a small file.
func jsonFile(name string, value any) (data.File, error) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return data.File{}, record.Fail(record.Internal, "write %s: %w", name, err)
	}
	return data.File{Name: name, Data: append(text, '\n')}, nil
}

// Replaceable refuses a folder that holds anything but an export, which is replaced as a whole: the error is NotPermitted.
func Replaceable(fsys record.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return record.Fail(record.NotPermitted, "%w: choose another folder", err)
	}
	ours := []string{
		source.HFConfigFile, source.HFGenerationFile, safetensors.ModelFile, data.TokenizerFile, "tokenizer_config.json", "special_tokens_map.json",
		VerifierFile,
	}
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) {
			return record.Fail(record.NotPermitted, "%s holds %s, which is not of an export, and would be replaced as a whole: choose another folder", dir, e.Name())
		}
	}
	if len(entries) > 0 && !source.Exported(fsys, dir) {
		return record.Fail(record.NotPermitted, "%s holds a model that was not exported by this program, and would be replaced as a whole: choose another folder, or remove it", dir)
	}
	return nil
}

// writeFile makes a new file; WriteDirAtomic syncs it.
func writeFile(fsys record.FS, path string, write func(io.Writer) error) error {
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, record.FileMode)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	return errors.Join(err, f.Close())
}
