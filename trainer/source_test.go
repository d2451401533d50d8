package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
)

// A run knows which token ends a text though its data is gone, also where only tokenizer_config.json beside the tokenizer had said so.
func TestTrain_KeepsTheEndOfText(t *testing.T) {
	prepared := corpus(t, 1)
	tokenizer, err := data.LoadTokenizer(filepath.Join(prepared, data.TokenizerFile))
	if err != nil {
		t.Fatal(err)
	}
	// A token with another name than those that are known for an end.
	renamed := bytes.ReplaceAll(tokenizer.JSON(), []byte(tokenizer.EOSText()), []byte("<stop>"))
	hf, texts, out := folder(t), folder(t), filepath.Join(folder(t), "data")
	err = errors.Join(
		os.WriteFile(filepath.Join(hf, data.TokenizerFile), renamed, 0o644),
		os.WriteFile(filepath.Join(hf, "tokenizer_config.json"), []byte(`{"eos_token":"<stop>"}`), 0o644),
		os.WriteFile(filepath.Join(texts, "a.txt"), []byte("the state of our union is strong and people of this nation ask for peace"), 0o644),
		os.WriteFile(filepath.Join(texts, "b.txt"), []byte("congress to act for peace work and fair taxes is the state of the union"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := data.Prepare(context.Background(), data.PrepareOptions{In: []string{texts}, Tokenizer: hf, Out: out, ValFraction: 0.5, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(folder(t), "run")
	if _, err := train(t, dir, settings(out, "budget.steps=2")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(out), os.RemoveAll(hf)); err != nil {
		t.Fatal(err)
	}
	kept, err := data.LoadTokenizer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if kept.EOSText() != "<stop>" || string(kept.JSON()) != string(renamed) {
		t.Errorf("the run's end of text is %q", kept.EOSText())
	}
}

// Text that is trained on is no validation.
func TestTrain_RefusesToValidateOnWhatItReads(t *testing.T) {
	prepared := corpus(t, 1)
	if _, err := train(t, filepath.Join(folder(t), "run"), settings(prepared, "data.val="+prepared+"/train")); record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), "data.val") {
		t.Errorf("%v (code %d)", err, record.CodeOf(err))
	}
}

// A run that starts from another names the checkpoint that it read, and says when a newer one is damaged.
func TestTrain_NamesTheCheckpointItStartsFrom(t *testing.T) {
	prepared := corpus(t, 1)
	base, out := filepath.Join(folder(t), "base"), filepath.Join(folder(t), "run")
	if _, err := train(t, base, settings(prepared)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(record.CheckpointPath(base, 30), modelFile), 100); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	if _, err := train(t, out, settings(prepared, "init="+base, "budget.steps=2"), func(o *Options) { o.Console = &console }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(console.String(), "step 25 is used instead") {
		t.Errorf("nothing of the damaged checkpoint in\n%s", console.String())
	}
	resolved, err := config.Load(config.LoadOptions{File: filepath.Join(out, record.ResolvedFile)})
	if err != nil || resolved.Init != record.CheckpointPath(base, 25) {
		t.Errorf("init is %q, %v", resolved.Init, err)
	}
}

// Names of folders are no patterns, and a folder without weights has no identity.
func TestFolderIdentity_AnyName(t *testing.T) {
	root := folder(t)
	put := func(dir, text string) string {
		dir = filepath.Join(root, dir)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		id, err := FolderIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if a, b, c := put("a1", "one"), put("a[1]", "two"), put("b[1]", "three"); a == b || b == c || c == a {
		t.Errorf("equal identities: %s %s %s", a, b, c)
	}
	if _, err := FolderIdentity(root); record.CodeOf(err) != record.BadData {
		t.Errorf("a folder without weights: %v", err)
	}
}

// What the loader refuses is told as it is.
func TestTrain_RefusedBatch(t *testing.T) {
	_, err := train(t, filepath.Join(folder(t), "run"), settings(corpus(t, 1), "model.context=512", "batch.sequences=1048576", "batch.micro_sequences=16"))
	if record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), "are supported") {
		t.Errorf("%v (code %d)", err, record.CodeOf(err))
	}
}
