package trainer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// Import makes a run of a Hugging Face folder: its weights as the checkpoint of step 0, its tokenizer,
// and a config with its shape. The run can be evaluated, generated from, exported and used as init.
func Import(fsys record.FS, hf, out string, p Program) error {
	m, source, err := model.Open(hf, torch.Float32)
	if err != nil {
		return err
	}
	defer m.Close()
	if source.RunID != "" {
		return record.Fail(record.Usage, "%s is a run already: give a Hugging Face folder", hf)
	}
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return err
	}
	c := config.Defaults()
	c.Name, c.Model = "imported", m.Config()
	resolved, err := c.YAML()
	if err != nil {
		return err
	}
	sum := sha256.New() // over all that the folder's model is
	if err := m.Save(sum); err != nil {
		return err
	}
	fmt.Fprintf(sum, "%s\x00%s", resolved, tokenizer.Digest())
	id := hex.EncodeToString(sum.Sum(nil))[:16]
	if err := record.MkdirAll(fsys, out); err != nil {
		return err
	}
	lock, err := record.Acquire(out)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the process ends soon and the kernel lets go
	info := record.Info{
		ID: id, Name: c.Name, Kind: "import", Commit: p.Commit, Dirty: p.Dirty, Program: p.Version, Shim: torch.Stamp, Device: "cpu",
		Precision: "f32", Started: time.Now().UTC().Format(time.RFC3339), Model: modelName(c.Model),
		Parameters: c.Model.Parameters(), TokenizerDigest: tokenizer.Digest(), DataSource: "imported weights",
	}
	r, err := record.Create(fsys, out, info, nil, resolved)
	if err != nil {
		return err
	}
	if err := keepTokenizer(fsys, r, func() (*data.Tokenizer, error) { return tokenizer, nil }, c.Model.Context); err != nil {
		return err
	}
	meta := record.CheckpointMeta{RunID: id, TokenizerDigest: tokenizer.Digest(), Program: p.Version, Shim: torch.Stamp, Lock: lock}
	if meta.Bytes, err = m.SavedBytes(); err != nil {
		return err
	}
	err = record.SaveCheckpoint(fsys, out, 0, meta, func(d *record.CheckpointDir) error {
		return d.WriteFile(modelFile, func(w io.Writer) error { return m.Save(w) })
	})
	if err != nil {
		return err
	}
	return r.Finish()
}
