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
