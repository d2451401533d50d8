package data

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plasticity/record"
)

var update = flag.Bool("update", false, "write the golden files anew (parity ids need PLASTICITY_ORACLE as well)")

// goldenVocab is the size of the golden tokenizer, which is trained on testdata/prose.txt.
const goldenVocab = 400

// trainProse trains the golden tokenizer.
func trainProse(t testing.TB, vocab int) *Tokenizer {
	t.Helper()
	tokenizer, err := TrainTokenizer(context.Background(), []string{"testdata/prose.txt"}, vocab, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

// golden compares got with a golden file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./data -run %s -update", err, t.Name())
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if that is meant: go test ./data -run %s -update\n%s", path, t.Name(), cmp.Diff(string(want), string(got)))
	}
}

func TestTrainTokenizer_Golden(t *testing.T) {
	golden(t, "tokenizer.json", trainProse(t, goldenVocab).JSON())
}

// testdata/tokenizer.hf.json was made by the trainer of the Hugging Face library from the same text: vocabulary, ids and
// merges must be the same.
func TestTrainTokenizer_EqualsHuggingFaceTrainer(t *testing.T) {
	file, err := os.ReadFile("testdata/tokenizer.hf.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ParseTokenizer(file)
	if err != nil {
		t.Fatal(err)
	}
	got := trainProse(t, goldenVocab)
	if diff := cmp.Diff(want.tokens, got.tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.merges.rules, got.merges.rules, cmp.AllowUnexported(mergeRule{})); diff != "" {
		t.Errorf("merges (-want +got):\n%s", diff)
	}
}

// withAdded returns the golden tokenizer with added tokens that are not special, some of which are found only in what the
// others leave.
func withAdded(t testing.TB) *Tokenizer {
	t.Helper()
	var list strings.Builder
	for i, a := range []struct {
		content       string
		special, late bool
	}{
		{"|||IP_ADDRESS|||", false, false},
		{"<|pad|>", true, false},
		{"|>a", false, false}, // begins in the names of special ones
		{"n'", false, false},
		{"ing the", false, false},
		{"the s", false, true},
		{"text", false, true}, // in the name of a special one
		{"  ", false, true},
		{"     ", false, true},
		{"é中", false, true},
	} {
		fmt.Fprintf(&list, `"content": %q, "special": %v, "normalized": %v, "id": %d, "single_word": false, "lstrip": false, "rstrip": false}, {`,
			a.content, a.special, a.late, goldenVocab+i)
	}
	tokenizer, err := ParseTokenizer(edit(t, trainProse(t, goldenVocab).JSON(), `"id": 0,`, list.String()+`"id": 0,`))
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

// The ids of the Hugging Face library are computed now when PLASTICITY_ORACLE names a Python that has it, else they are
// those that it gave when the golden file was made.
func TestTokenizer_EqualsHuggingFaceIDs(t *testing.T) {
	for name, tokenizer := range map[string]*Tokenizer{"parity": trainProse(t, goldenVocab), "parity-added": withAdded(t)} {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for flag, encode := range map[string]func(string) []int32{"--plain": tokenizer.Encode, "--special": tokenizer.EncodeSpecial} {
			var want [][]int32
			if err := json.Unmarshal(parityIDs(t, name, tokenizer, flag), &want); err != nil {
				t.Fatal(err)
			}
			if len(want) != len(lines) {
				t.Fatalf("%s%s: %d lines of ids, want %d", name, flag, len(want), len(lines))
			}
			for i, line := range lines {
				if got := encode(line); !slices.Equal(got, want[i]) {
					t.Errorf("%s%s line %d %q: %v, want %v", name, flag, i+1, line, got, want[i])
				}
			}
		}
	}
}

// parityIDs returns the ids that the Hugging Face library gives for the lines of a text in testdata.
func parityIDs(t *testing.T, text string, tokenizer *Tokenizer, flag string) []byte {
	t.Helper()
	name := "testdata/" + text + flag + ".json"
	python := os.Getenv("PLASTICITY_ORACLE")
	if python == "" {
		ids, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	file := filepath.Join(t.TempDir(), TokenizerFile)
	if err := os.WriteFile(file, tokenizer.JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	ids, err := exec.Command(python, "../oracle/tokenizer_parity.py", file, "testdata/"+text+".txt", "--lines", flag).Output()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, ids, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// Where a text may be cut, no added token is cut and no other appears.
func TestTokenizer_LastCutChangesNothing(t *testing.T) {
	tokenizer := withAdded(t)
	parts := rapid.SampledFrom([]string{
		"|||IP_ADDRESS|||", "<|pad|>", EndOfText, "|>a", "n'", "ing the", "the s", " the", "text", "  ", " ", "é中", "é", "it", "'s", "9", "!", "|", "n", "\n",
	})
	cuts := 0
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(parts, 0, 24).Draw(t, "parts"), "")
		end := rapid.IntRange(0, len(text)).Draw(t, "end")
		cut := tokenizer.lastCut(text[:end])
		want := tokenizer.Encode(text)
		if got := append(tokenizer.Encode(text[:cut]), tokenizer.Encode(text[cut:])...); !slices.Equal(got, want) {
			t.Fatalf("cut %q at %d: %v, want %v", text, cut, got, want)
		}
		cuts += min(cut, 1)
	})
	if cuts == 0 {
		t.Error("no text was cut")
	}
}

func TestTokenizer_RoundTripOfAllBytes(t *testing.T) {
	tokenizer := trainProse(t, 600)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }), hostileText(), rapid.String(),
		).Draw(t, "text")
		for name, ids := range map[string][]int32{"plain": tokenizer.Encode(text), "special": tokenizer.EncodeSpecial(text)} {
			if got := tokenizer.Decode(ids); got != text {
				t.Fatalf("%s: %q became %q", name, text, got)
			}
			var streamed []byte
			for _, id := range ids {
				streamed = append(streamed, tokenizer.Bytes(id)...)
			}
			if string(streamed) != text {
				t.Fatalf("%s: %q became %q token by token", name, text, streamed)
			}
		}
	})
}

// An end of text that its file does not call special is one all the same: a document cannot end itself.
func TestTokenizer_EndOfTextIsSpecial(t *testing.T) {
	tokenizer, err := ParseTokenizer(edit(t, trainProse(t, goldenVocab).JSON(), `"special": true`, `"special": false`))
	if err != nil {
		t.Fatal(err)
	}
	eos, _ := tokenizer.EOS()
	if ids := tokenizer.Encode("a" + EndOfText); slices.Contains(ids, eos) || !tokenizer.IsSpecial(eos) {
		t.Errorf("a text ended itself: %v", ids)
	}
}

func TestTokenizer_SpecialTokens(t *testing.T) {
	tokenizer := trainProse(t, goldenVocab)
	eos, ok := tokenizer.EOS()
	if !ok || eos != 0 || tokenizer.EOSText() != EndOfText || !tokenizer.IsSpecial(eos) || tokenizer.IsSpecial(1) {
		t.Errorf("end of text %d %v %q", eos, ok, tokenizer.EOSText())
	}
	text := "a" + EndOfText + EndOfText + "b"
	if ids := tokenizer.Encode(text); slices.Contains(ids, eos) {
		t.Errorf("a text ended itself: %v", ids)
	}
	want := append(append(tokenizer.Encode("a"), eos, eos), tokenizer.Encode("b")...)
	if got := tokenizer.EncodeSpecial(text); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if tokenizer.Bytes(-1) != nil || tokenizer.Bytes(goldenVocab) != nil || tokenizer.Decode([]int32{-5, 1 << 30}) != "" {
		t.Error("ids without a token have bytes")
	}
}

// Texts that make other tokenizers quadratic: 10 MB each must take about as long as any text, so a second is far more than
// needed and far less than quadratic time.
func TestTokenizer_HostileTextTakesLinearTime(t *testing.T) {
	tokenizer := trainProse(t, 1000)
	const size = 10 << 20
	for name, unit := range map[string]string{"one letter": "a", "blanks": " ", "line ends": "\n", "words without blanks": "thecongress", "apostrophes": "'", "not UTF-8": "\xff"} {
		text := strings.Repeat(unit, size/len(unit))
		start := time.Now()
		ids := tokenizer.Encode(text)
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: %v", name, d)
		}
		if tokenizer.Decode(ids) != text {
			t.Errorf("%s: not the same text", name)
		}
	}
}

func TestTokenizer_ForgettingWordsChangesNothing(t *testing.T) {
	tokenizer := trainProse(t, goldenVocab)
	var b strings.Builder
	for i := range cachedWords + 1000 {
		fmt.Fprintf(&b, " %d", i*7919)
	}
	e := newEncoder(tokenizer)
	ids := e.append(e.append(nil, b.String(), false), b.String(), false)
	if got := tokenizer.Decode(ids); got != b.String()+b.String() {
		t.Error("not the same text after the memory of words was full")
	}
	if !slices.Equal(ids[:len(ids)/2], ids[len(ids)/2:]) {
		t.Error("the same text gave other tokens the second time")
	}
}

func TestTrainTokenizer_Limits(t *testing.T) {
	dir := t.TempDir()
	blank := filepath.Join(dir, "empty.txt")
	if err := os.WriteFile(blank, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		paths []string
		vocab int
		code  record.Code
	}{
		"too small":    {[]string{"testdata/prose.txt"}, MinVocab - 1, record.Usage},
		"too large":    {[]string{"testdata/prose.txt"}, MaxVocab + 1, record.Usage},
		"no text":      {[]string{blank}, 300, record.BadData},
		"no file":      {[]string{filepath.Join(dir, "none")}, 300, record.Usage},
		"no paths":     {nil, 300, record.Usage},
		"empty folder": {[]string{t.TempDir()}, 300, record.BadData},
	} {
		_, err := TrainTokenizer(context.Background(), c.paths, c.vocab, nil)
		if record.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%d), want code %d", name, err, record.CodeOf(err), c.code)
		}
	}
	if got := trainProse(t, 8000).Vocab(); got >= 8000 || got < 500 {
		t.Errorf("a short text gave a vocabulary of %d", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := TrainTokenizer(ctx, []string{"testdata/prose.txt"}, 300, nil); record.CodeOf(err) != record.Stopped {
		t.Errorf("cancelled: %v", err)
	}
}

func TestLoadTokenizer_FolderWithConfig(t *testing.T) {
	dir := t.TempDir()
	file := edit(t, trainProse(t, goldenVocab).JSON(), EndOfText, "<stop>")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(TokenizerFile, string(file))
	if tokenizer, err := LoadTokenizer(dir); err != nil {
		t.Fatal(err)
	} else if _, ok := tokenizer.EOS(); ok {
		t.Error("<stop> was taken for the end of text without being told")
	}
	for _, config := range []string{`{"eos_token":"<stop>","x":1}`, `{"eos_token":{"content":"<stop>","lstrip":false}}`} {
		write(tokenizerConfigFile, config)
		tokenizer, err := LoadTokenizer(filepath.Join(dir, TokenizerFile))
		if err != nil {
			t.Fatal(err)
		}
		if tokenizer.EOSText() != "<stop>" {
			t.Errorf("%s: end of text %q", config, tokenizer.EOSText())
		}
	}
	for _, config := range []string{`{"eos_token":"<none>"}`, `{"eos_token":3}`, `{`} {
		write(tokenizerConfigFile, config)
		if _, err := LoadTokenizer(dir); record.CodeOf(err) != record.BadData {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err := LoadTokenizer(filepath.Join(dir, "none")); record.CodeOf(err) != record.BadData {
		t.Errorf("no file: %v", err)
	}
}

func TestHFFiles_LoadAgain(t *testing.T) {
	tokenizer := trainProse(t, goldenVocab)
	files, err := tokenizer.HFFiles(128)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range files {
		if !json.Valid(f.Data) {
			t.Errorf("%s is not JSON", f.Name)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := LoadTokenizer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != tokenizer.Digest() || again.EOSText() != EndOfText {
		t.Errorf("digest %s with end of text %q", again.Digest(), again.EOSText())
	}
}

// edit replaces text that must be there.
func edit(t testing.TB, file []byte, old, replacement string) []byte {
	t.Helper()
	if !bytes.Contains(file, []byte(old)) {
		t.Fatalf("%q is not in the file", old)
	}
	return bytes.ReplaceAll(file, []byte(old), []byte(replacement))
}

// hostileTokenizer is a change of a tokenizer.json that must be refused, with a part of what the error must say.
type hostileTokenizer struct{ old, new, want string }

// hostileTokenizers are changes of a good file.
func hostileTokenizers(good string) map[string]hostileTokenizer {
	return map[string]hostileTokenizer{
		"empty":                   {good, "", "JSON"},
		"cut off":                 {`"merges": [`, `"merges": `, "invalid"},
		"not UTF-8":               {EndOfText, "\xff", "not UTF-8"},
		"more after the end":      {"  }\n}\n", "  }\n}\n{}", "after the end"},
		"key twice":               {`"normalizer": null`, `"normalizer": null, "padding": null`, "twice"},
		"unknown section":         {`"normalizer": null`, `"normaliser": null`, "normaliser: unknown field"},
		"other version":           {`"version": "1.0"`, `"version": "2.0"`, "version"},
		"normalizer":              {`"normalizer": null`, `"normalizer": {"type":"NFC"}`, "normalizer: must be null"},
		"truncation":              {`"truncation": null`, `"truncation": {"max_length":3}`, "truncation: must be null"},
		"template":                {`"post_processor": null`, `"post_processor": {"type":"TemplateProcessing"}`, `"TemplateProcessing" is not supported`},
		"other pattern":           {`"type": "ByteLevel",` + "\n    \"add_prefix_space\": false", `"type": "Sequence", "add_prefix_space": false`, "pre_tokenizer: type \"Sequence\" is not supported"},
		"prefix blank":            {`"add_prefix_space": false`, `"add_prefix_space": true`, "add_prefix_space must be false"},
		"unknown option":          {`"add_prefix_space": false`, `"add_prefix_spaces": false`, "add_prefix_spaces: unknown field"},
		"no pattern":              {`"use_regex": true` + "\n  },\n  \"post_processor\"", `"use_regex": false}, "post_processor"`, "use_regex must be true"},
		"word pieces":             {`"type": "BPE"`, `"type": "WordPiece"`, "WordPiece"},
		"dropout":                 {`"dropout": null`, `"dropout": 0.1`, "model: dropout"},
		"prefix of words":         {`"continuing_subword_prefix": null`, `"continuing_subword_prefix": "##"`, "continuing_subword_prefix"},
		"byte fallback":           {`"byte_fallback": false`, `"byte_fallback": true`, "byte_fallback"},
		"unknown field of model":  {`"fuse_unk": false`, `"fuse": false`, "fuse: unknown field"},
		"id 2^31":                 {`"!": 1,`, `"!": 2147483648,`, "2147483648"},
		"id negative":             {`"!": 1,`, `"!": -1,`, "id -1"},
		"id with a point":         {`"!": 1,`, `"!": 1.0,`, "id 1.0"},
		"id of no number":         {`"!": 1,`, `"!": "1",`, `id "1"`},
		"id twice":                {`"!": 1,`, `"!": 2,`, "belongs to two tokens"},
		"hole":                    {`"!": 1,`, `"!": 260,`, "without a hole"},
		"token twice":             {`"!": 1,`, `"!": 1, "!": 1,`, "twice"},
		"byte missing":            {`"!": 1,`, `"Zzz": 1,`, "all 256 bytes"},
		"not byte-level":          {`"!": 1,`, `"!": 1, "▁the": 260,`, "stands for no byte"},
		"empty token":             {`"!": 1,`, `"!": 1, "": 260,`, `token ""`},
		"added id elsewhere":      {`"id": 0`, `"id": 3`, "added_tokens"},
		"added id too large":      {`"id": 0`, `"id": 99999999999`, "not in [0"},
		"added without id":        {`"id": 0,`, ``, "no id"},
		"added without content":   {`"content": "` + EndOfText + `"`, `"content": ""`, "content"},
		"added strips":            {`"lstrip": false`, `"lstrip": true`, "lstrip"},
		"added key twice":         {`"id": 0,`, `"id": 0, "id": 5,`, `entry 0: the key "id" comes twice`},
		"added key in capitals":   {`"id": 0,`, `"id": 0, "ID": 5,`, "entry 0: ID: unknown field"},
		"added of no object":      {`"added_tokens": [`, `"added_tokens": [3,`, "entry 0: not a JSON object"},
		"added id of no number":   {`"id": 0,`, `"id": "0",`, "entry 0: id: "},
		"added unknown field":     {`"lstrip": false`, `"lstripped": false`, "lstripped"},
		"added is a byte":         {`"id": 0,` + "\n      \"content\": \"" + EndOfText, `"id": 166, "content": "é"}, {"id": 0, "content": "` + EndOfText, "cannot be an added token"},
		"merge of unknown":        {`"merges": [`, `"merges": ["zzzz q",`, "is not in model.vocab"},
		"merge to unknown":        {`"merges": [`, `"merges": ["! !",`, `"!!" is not in model.vocab`},
		"merge longer than token": {`"merges": [`, `"merges": ["` + strings.Repeat("a", 9000) + ` b",`, "is not in model.vocab"},
		"merge of three":          {`"merges": [`, `"merges": ["a b c",`, "two tokens"},
		"merge of one":            {`"merges": [`, `"merges": [["a"],`, "two tokens"},
		"merge of numbers":        {`"merges": [`, `"merges": [[1,2],`, "merges[0]"},
		"merge no list":           {`"merges": [`, `"merges": [{},`, "merges[0]"},
	}
}

func TestParseTokenizer_Hostile(t *testing.T) {
	good := trainProse(t, 260).JSON() // three merges
	for name, c := range hostileTokenizers(string(good)) {
		t.Run(name, func(t *testing.T) {
			file := edit(t, good, c.old, c.new)
			_, err := ParseTokenizer(file)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if record.CodeOf(err) != record.BadData {
				t.Errorf("code %d, want %d", record.CodeOf(err), record.BadData)
			}
		})
	}
	if _, err := ParseTokenizer(make([]byte, maxTokenizerFile+1)); record.CodeOf(err) != record.BadData {
		t.Errorf("too large: %v", err)
	}
	if _, err := ParseTokenizer(bytes.Repeat([]byte(`{"version":`), 100_000)); record.CodeOf(err) != record.BadData {
		t.Errorf("too deep: %v", err)
	}
}

// Files of other programs may differ in form: merges as pairs, no type, no options.
func TestParseTokenizer_OtherForms(t *testing.T) {
	ours := trainProse(t, goldenVocab)
	var file struct {
		Model struct {
			Vocab  map[string]int32 `json:"vocab"`
			Merges []string         `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(ours.JSON(), &file); err != nil {
		t.Fatal(err)
	}
	var pairs [][]string
	for _, m := range file.Model.Merges {
		pairs = append(pairs, strings.Split(m, " "))
	}
	delete(file.Model.Vocab, EndOfText) // only among the added tokens
	model, err := json.Marshal(map[string]any{"vocab": file.Model.Vocab, "merges": pairs, "unk_token": "", "ignore_merges": true})
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseTokenizer(fmt.Appendf(nil, `{"model":%s,"decoder":{"type":"ByteLevel"},"post_processor":{"trim_offsets":false,"type":"ByteLevel"},
		"pre_tokenizer":{"add_prefix_space":false,"type":"ByteLevel"},"added_tokens":[{"id":0,"content":%q,"special":true,"normalized":true}]}`, model, EndOfText))
	if err != nil {
		t.Fatal(err)
	}
	prose, err := os.ReadFile("testdata/prose.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ours.Encode(string(prose)), other.Encode(string(prose))) {
		t.Error("the same tokenizer in another form gives other tokens")
	}
}

func FuzzParseTokenizer(f *testing.F) {
	f.Add(trainProse(f, 260).JSON())
	f.Add([]byte(`{"model":{"vocab":{"a":0},"merges":["a a"]}}`))
	f.Add([]byte(`{"added_tokens":[{"id":4,"content":"x"}]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		tokenizer, err := ParseTokenizer(file)
		if err != nil {
			if record.CodeOf(err) != record.BadData {
				t.Fatalf("code %d: %v", record.CodeOf(err), err)
			}
			return
		}
		text := "Hello, wörld " + string(file[:min(len(file), 100)])
		if got := tokenizer.Decode(tokenizer.Encode(text)); got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tokenizer := trainProse(b, 2000)
	prose, err := os.ReadFile("testdata/prose.txt")
	if err != nil {
		b.Fatal(err)
	}
	text := string(prose)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tokenizer.Encode(text)
	}
}
