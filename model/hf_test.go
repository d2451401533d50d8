package model_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/record/recordtest"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
	"plasticity/torch/torchtest"
)

func tokenizer(t testing.TB) *data.Tokenizer {
	t.Helper()
	tok, err := data.LoadTokenizer(filepath.Join("testdata", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// export writes a model of the given shape into a new folder.
func export(t testing.TB, cfg config.Model, o model.ExportOptions) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hf")
	if err := model.SaveHF(record.OS(), dir, build(t, cfg, torch.Float32), o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// values reads all parameters.
func values(t testing.TB, m *model.Transformer) []float32 {
	t.Helper()
	all := make([]float32, m.Registry().NumParams())
	if err := m.Registry().Flat(nn.Params).Read(0, all); err != nil {
		t.Fatal(err)
	}
	return all
}

// folder reads all files of a folder.
func folder(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestSaveHF_ImportedAndExportedAgainIsTheSame(t *testing.T) {
	for name, cfg := range shapes() {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.BF16, safetensors.F16} {
				dir := export(t, cfg, model.ExportOptions{Tokenizer: tokenizer(t), DType: dtype})
				m, source, err := model.Open(dir, torch.Float32)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				if source.Config != cfg || source.RunID != "" {
					t.Errorf("read %+v, written %+v", source, cfg)
				}
				tok, err := source.Tokenizer()
				if err != nil {
					t.Fatal(err)
				}
				again := filepath.Join(t.TempDir(), "again")
				if err := model.SaveHF(record.OS(), again, m, model.ExportOptions{Tokenizer: tok, EOS: source.EOS, DType: dtype}); err != nil {
					t.Fatal(err)
				}
				first, second := folder(t, dir), folder(t, again)
				if len(first) != 6 || len(second) != 6 {
					t.Errorf("%d and %d files", len(first), len(second))
				}
				for name, want := range first {
					if !bytes.Equal(second[name], want) {
						t.Errorf("%s: %s differs", dtype, name)
					}
				}
			}
		})
	}
}

func TestSaveHF_ConfigInBothSpellings(t *testing.T) {
	cfg := shapes()["olmo2"]
	var got map[string]any
	if err := json.Unmarshal(folder(t, export(t, cfg, model.ExportOptions{DType: safetensors.BF16, EOS: []int32{3, 5}}))["config.json"], &got); err != nil {
		t.Fatal(err)
	}
	rope, _ := got["rope_parameters"].(map[string]any)
	if got["rope_theta"] != 500_000.0 || rope["rope_theta"] != 500_000.0 || rope["rope_type"] != "default" {
		t.Errorf("rotary base %v, %v", got["rope_theta"], rope)
	}
	if got["dtype"] != "bfloat16" || got["torch_dtype"] != "bfloat16" || got["model_type"] != "olmo2" {
		t.Errorf("%v", got)
	}
	if eos, _ := json.Marshal(got["eos_token_id"]); string(eos) != "[3,5]" {
		t.Errorf("eos %s", eos)
	}
}

func TestSaveHF_KeepsWhatIsNotItsOwn(t *testing.T) {
	m := build(t, shapes()["llama2-grouped"], torch.Float32)
	dir := t.TempDir()
	if err := model.SaveHF(record.OS(), dir, m, model.ExportOptions{}); err != nil {
		t.Fatalf("into an empty folder: %v", err)
	}
	if err := model.SaveHF(record.OS(), dir, m, model.ExportOptions{DType: safetensors.BF16}); err != nil {
		t.Fatalf("over an export: %v", err)
	}
	// A folder that transformers wrote has files of the same names.
	theirs := t.TempDir()
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"exported_by": "plasticity"`), []byte(`"transformers_version": "5.0.0"`), 1)
	if err := errors.Join(os.WriteFile(filepath.Join(theirs, "config.json"), text, 0o600), os.WriteFile(filepath.Join(theirs, "model.safetensors"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := model.SaveHF(record.OS(), theirs, m, model.ExportOptions{}); record.CodeOf(err) != record.NotPermitted || len(folder(t, theirs)) != 2 {
		t.Errorf("over somebody's model: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := model.SaveHF(record.OS(), dir, m, model.ExportOptions{}); record.CodeOf(err) != record.NotPermitted || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("got %v", err)
	}
	slash := filepath.Join(t.TempDir(), "new") + "/"
	if err := model.SaveHF(record.OS(), slash, m, model.ExportOptions{}); err != nil || len(folder(t, slash)) != 3 {
		t.Errorf("with a slash at the end: %v", err)
	}
	file := filepath.Join(dir, "thesis.tex")
	if err := model.SaveHF(record.OS(), file, m, model.ExportOptions{}); record.CodeOf(err) != record.NotPermitted {
		t.Errorf("onto a file: %v", err)
	}
}

func TestSaveHF_FullDiskLeavesNothingHalf(t *testing.T) {
	m := build(t, shapes()["llama2-least"], torch.Float32)
	for at := 1; ; at++ {
		fsys := recordtest.NewMemFS()
		fsys.FailAt(at, syscall.ENOSPC)
		err := model.SaveHF(fsys, "/out/hf", m, model.ExportOptions{Tokenizer: tokenizer(t)})
		if err == nil && at > fsys.Ops() {
			t.Logf("%d operations failed one after the other", at-1)
			return
		}
		if err != nil && record.CodeOf(err) != record.IO && record.CodeOf(err) != record.NotPermitted {
			t.Errorf("operation %d (%s): %v", at, fsys.OpName(at), err)
		}
		if files, readErr := fsys.ReadDir("/out/hf"); readErr == nil && len(files) != 6 {
			t.Errorf("operation %d (%s) failed: %v; the folder has %d files", at, fsys.OpName(at), err, len(files))
		}
	}
}

func TestSaveHF_TokenizerLargerThanTheModel(t *testing.T) {
	cfg := shapes()["llama2-grouped"]
	cfg.Vocab = 200
	err := model.SaveHF(record.OS(), filepath.Join(t.TempDir(), "x"), build(t, cfg, torch.Float32), model.ExportOptions{Tokenizer: tokenizer(t)})
	if record.CodeOf(err) != record.Mismatch {
		t.Errorf("got %v", err)
	}
}
