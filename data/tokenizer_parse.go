package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// Limits of a tokenizer.json. The largest public ones have about 200,000 tokens and 20 MB.
const (
	maxTokenizerFile = 64 << 20 // bytes
	maxVocab         = 1 << 20  // tokens
	maxTokenBytes    = 4096     // bytes of one token
	maxAddedTokens   = 4096
)

// Names of the files of a Hugging Face tokenizer.
const (
	TokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
	specialTokensFile   = "special_tokens_map.json"
)

// LoadTokenizer reads a tokenizer.json, or the one in a Hugging Face folder. When a tokenizer_config.json lies beside it,
// its eos_token names the end of a document. Errors are Failures.
func LoadTokenizer(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bad("tokenizer %s: no such file or folder: give a tokenizer.json, a Hugging Face folder, or make one with `plasticity data tokenizer`", path)
	}
	if err != nil {
		return nil, record.FailIO(err, "read tokenizer")
	}
	if info.IsDir() {
		path = filepath.Join(path, TokenizerFile)
	}
	file, err := readSmall(path, maxTokenizerFile)
	if err != nil {
		return nil, err
	}
	t, err := ParseTokenizer(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	name, err := eosOfConfig(filepath.Join(filepath.Dir(path), tokenizerConfigFile))
	if err != nil {
		return nil, err
	}
	if name != "" {
		t.findEOS(name)
		if t.eos < 0 {
			return nil, bad("%s: eos_token %.80q is not among the added tokens of %s", tokenizerConfigFile, name, path)
		}
	}
	return t, nil
}

// readSmall reads a regular file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	b, err := record.ReadFile(record.OS(), path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bad("%s: no such file", path)
	}
	if err != nil {
		var failure *record.Failure
		if errors.As(err, &failure) {
			return nil, err
		}
		return nil, record.FailIO(err, "read %s", path)
	}
	return b, nil
}

// eosOfConfig returns the eos_token of a tokenizer_config.json; empty when there is no such file or entry.
func eosOfConfig(path string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	b, err := readSmall(path, maxTokenizerFile)
	if err != nil {
		return "", err
	}
	var config struct {
		EOS json.RawMessage `json:"eos_token"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return "", bad("%s: %w", path, err)
	}
	if len(config.EOS) == 0 || isNull(config.EOS) {
		return "", nil
	}
	var name string
	if json.Unmarshal(config.EOS, &name) == nil {
		return name, nil
	}
	var token struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal(config.EOS, &token); err != nil {
		return "", bad("%s: eos_token: %w", path, err)
	}
	return token.Content, nil
}

// ParseTokenizer reads the text of a tokenizer.json of the byte-level BPE family. It is strict: what it does not know, or
// what would make other ids than the Hugging Face library makes, is refused with a Failure that names it.
func ParseTokenizer(file []byte) (*Tokenizer, error) {
	if len(file) > maxTokenizerFile {
		return nil, bad("%d bytes: a tokenizer.json of at most %d is read", len(file), maxTokenizerFile)
	}
	if err := checkText(file); err != nil {
		return nil, bad("not a tokenizer.json: %w", err)
	}
	top, err := members(file)
	if err != nil {
		return nil, bad("not a tokenizer.json: %w", err)
	}
	p := parser{t: new(Tokenizer), alphabet: newAlphabet()}
	for _, m := range top {
		if err := p.section(m); err != nil {
			return nil, bad("%s: %w", m.key, err)
		}
	}
	if err := p.assemble(); err != nil {
		return nil, &record.Failure{Code: record.BadData, Err: err}
	}
	p.t.finish(append([]byte(nil), file...))
	p.t.findEOS("")
	return p.t, nil
}

// parser collects the parts of a tokenizer.json until they can be put together.
type parser struct {
	t            *Tokenizer
	alphabet     *alphabet
	ids          map[string]int32 // of the model's vocabulary, in visible form
	merges       []json.RawMessage
	ignoreMerges bool
	seenModel    bool
	seenPre      bool
	seenDecoder  bool
}

// section reads one top-level member.
func (p *parser) section(m member) error {
	switch m.key {
	case "version":
		var v string
		if err := json.Unmarshal(m.value, &v); err != nil || v != "1.0" {
			return fmt.Errorf("%.40s is not known, only \"1.0\" is", m.value)
		}
		return nil
	case "truncation", "padding", "normalizer":
		if !isNull(m.value) {
			return errors.New("must be null: it would change the tokens in a way that is not supported")
		}
		return nil
	case "added_tokens":
		return p.addedTokens(m.value)
	case "pre_tokenizer":
		p.seenPre = true
		return preTokenizer(m.value)
	case "post_processor":
		if isNull(m.value) {
			return nil
		}
		return byteLevel(m.value, nil)
	case "decoder":
		p.seenDecoder = true
		return byteLevel(m.value, nil)
	case "model":
		p.seenModel = true
		return p.model(m.value)
	default:
		return errors.New("unknown field")
	}
}

// addedTokens reads the list of added tokens.
func (p *parser) addedTokens(raw []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	if len(list) > maxAddedTokens {
		return fmt.Errorf("%d tokens, at most %d are read", len(list), maxAddedTokens)
	}
	for i, entry := range list {
		a, err := readAdded(entry)
		switch {
		case err != nil:
			return fmt.Errorf("entry %d: %w", i, err)
		case a.id == nil:
			return fmt.Errorf("entry %d: no id", i)
		case *a.id < 0 || *a.id >= maxVocab:
			return fmt.Errorf("entry %d: id %d is not in [0, %d)", i, *a.id, maxVocab)
		case a.content == "" || len(a.content) > maxTokenBytes || strings.ContainsRune(a.content, '\uFFFD'):
			return fmt.Errorf("entry %d (id %d): content must be 1 to %d bytes of Unicode text", i, *a.id, maxTokenBytes)
		case a.singleWord || a.lstrip || a.rstrip:
			return fmt.Errorf("entry %d (%.80q): single_word, lstrip and rstrip must be false: nothing else is supported", i, a.content)
		}
		p.t.added = append(p.t.added, addedToken{a.content, int32(*a.id), a.special, a.normalized})
	}
	return nil
}

// addedEntry is an added token as it stands in the file.
type addedEntry struct {
	id                                              *int64
	content                                         string
	singleWord, lstrip, rstrip, normalized, special bool
}

// readAdded reads an added token: unlike encoding/json alone, no key twice or in another case.
func readAdded(raw []byte) (a addedEntry, err error) {
	list, err := members(raw)
	if err != nil {
		return a, err
	}
	fields := map[string]any{
		"id": &a.id, "content": &a.content, "single_word": &a.singleWord, "lstrip": &a.lstrip, "rstrip": &a.rstrip,
		"normalized": &a.normalized, "special": &a.special,
	}
	for _, m := range list {
		field, ok := fields[m.key]
		if !ok {
			return a, fmt.Errorf("%.80s: unknown field", m.key)
		}
		if err := json.Unmarshal(m.value, field); err != nil {
			return a, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	return a, nil
}

// preTokenizer reads the pre-tokenizer, of which only ByteLevel with the pattern of GPT-2 is known.
func preTokenizer(raw []byte) error {
	return byteLevel(raw, func(addPrefixSpace, useRegex bool) error {
		if addPrefixSpace {
			return errors.New("add_prefix_space must be false: adding a blank before the text is not supported")
		}
		if !useRegex {
			return errors.New("use_regex must be true: only the pattern of GPT-2 is supported")
		}
		return nil
	})
}

// byteLevel reads a part of type ByteLevel and gives its options, of which the defaults are true, to check.
func byteLevel(raw []byte, check func(addPrefixSpace, useRegex bool) error) error {
	list, err := members(raw)
	if err != nil {
		return err
	}
	if err := checkType(list); err != nil {
		return err
	}
	addPrefixSpace, useRegex, trimOffsets := true, true, true
	for _, m := range list {
		switch m.key {
		case "type":
		case "add_prefix_space":
			err = json.Unmarshal(m.value, &addPrefixSpace)
		case "use_regex":
			err = json.Unmarshal(m.value, &useRegex)
		case "trim_offsets":
			err = json.Unmarshal(m.value, &trimOffsets)
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.key, err)
		}
	}
	if check != nil {
		return check(addPrefixSpace, useRegex)
	}
	return nil
}

// checkType returns an error unless a part of a tokenizer.json is of type ByteLevel.
func checkType(list []member) error {
	i := slices.IndexFunc(list, func(m member) bool { return m.key == "type" })
	if i < 0 {
		return errors.New("no type: \"ByteLevel\" is needed")
	}
	if string(list[i].value) != `"ByteLevel"` {
		return fmt.Errorf("type %.40s is not supported: only byte-level BPE with the pattern of GPT-2 is, whose type is \"ByteLevel\"", list[i].value)
	}
	return nil
}
