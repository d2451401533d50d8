package task

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/data"
	"plasticity/record"
)

// prose is the English text that tests of package data use, too.
const prose = "../testdata/prose.txt"

// trained trains a tokenizer on texts and the prose.
func trained(t testing.TB, vocab int, texts ...string) *data.Tokenizer {
	t.Helper()
	in := []string{prose}
	for i, text := range texts {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		in = append(in, path)
	}
	tok, err := data.TrainTokenizer(context.Background(), in, vocab, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestEncode_TheLossIsOverTheResponse(t *testing.T) {
	tok := trained(t, 400)
	eos, _ := tok.EOS()
	for _, e := range []Example{
		{ID: "a", Instruction: "Add 2 and 3.", Response: "The answer is 5."},
		{ID: "b", Instruction: "two\nlines ", Response: " begins with a space"},
		{ID: "c", Response: "a text"},
		{ID: "d", Instruction: data.EndOfText, Response: data.EndOfText + " is text"},
	} {
		ids, start, err := Encode(tok, e, 1000)
		if err != nil {
			t.Fatal(err)
		}
		last := len(ids) - 1
		if got := tok.Decode(ids[:start]); got != Prompt(e) {
			t.Errorf("%s: prompt %q, want %q", e.ID, got, Prompt(e))
		}
		if got := tok.Decode(ids[start:last]); got != e.Response || Response(e) != e.Response {
			t.Errorf("%s: response %q, want %q", e.ID, got, e.Response)
		}
		if n := slices.Index(ids, eos); n != last {
			t.Errorf("%s: the first end of text is at %d of %d", e.ID, n, last)
		}
	}
	if got := Prompt(Example{Instruction: "x"}); got != "Human: x\nAssistant:" {
		t.Errorf("prompt %q", got)
	}
}

func TestEncode_LongOnes(t *testing.T) {
	tok := trained(t, 300)
	e := Example{ID: "train-17", Instruction: "short", Response: strings.Repeat("long ", 100)}
	prompt := len(tok.Encode(Prompt(e)))
	whole, _, err := Encode(tok, e, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{prompt + 1, prompt + 20, len(whole) - 1, len(whole), len(whole) + 1} {
		ids, start, err := Encode(tok, e, n)
		if err != nil || start != prompt || !slices.Equal(ids, whole[:min(n, len(whole))]) {
			t.Errorf("context %d: %d tokens from %d, %v", n, len(ids), start, err)
		}
	}
	_, _, err = Encode(tok, e, prompt)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), `example "train-17"`) {
		t.Errorf("a prompt as long as the context: %v", err)
	}
}

// The lower levels fit a context of 128 tokens with a tokenizer of 512 that was trained on English and the family.
func TestFamilies_LowerLevelsFitASmallContext(t *testing.T) {
	for _, name := range drawn() {
		made := generated(t, name, 9, 400, 100)
		var text strings.Builder
		for _, e := range made.Train {
			text.WriteString(Prompt(e) + Response(e) + "\n")
		}
		tok := trained(t, 512, text.String())
		if tok.Vocab() != 512 {
			t.Fatalf("%d tokens", tok.Vocab())
		}
		for _, e := range slices.Concat(made.Train, made.Test) {
			if ids, _, err := Encode(tok, e, 10_000); err != nil || len(ids) > 128 {
				t.Errorf("%s, level %s: %d tokens, %v\n%s%s", e.ID, e.Level, len(ids), err, Prompt(e), Response(e))
				break
			}
		}
	}
}
