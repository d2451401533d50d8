package data

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// writeTokenizer returns the tokenizer.json of a vocabulary trained here: EndOfText, then the 256 bytes, then one token a
// merge. tokens has the visible form of all of them by id; merges the ids of each pair.
func writeTokenizer(tokens []string, merges [][2]int32) []byte {
	var b bytes.Buffer
	b.WriteString(`{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
    {
      "id": 0,
      "content": "` + EndOfText + `",
      "single_word": false,
      "lstrip": false,
      "rstrip": false,
      "normalized": false,
      "special": true
    }
  ],
  "normalizer": null,
  "pre_tokenizer": {
    "type": "ByteLevel",
    "add_prefix_space": false,
    "trim_offsets": true,
    "use_regex": true
  },
  "post_processor": null,
  "decoder": {
    "type": "ByteLevel",
    "add_prefix_space": true,
    "trim_offsets": true,
    "use_regex": true
  },
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {`)
	for id, token := range tokens {
		fmt.Fprintf(&b, "%s\n      %s: %d", comma(id), quote(token), id)
	}
	b.WriteString("\n    },\n    \"merges\": [")
	for i, m := range merges {
		// "a b", which every version of the library reads, not ["a", "b"]; no visible form has a blank.
		fmt.Fprintf(&b, "%s\n      %s", comma(i), quote(tokens[m[0]]+" "+tokens[m[1]]))
	}
	if len(merges) > 0 {
		b.WriteString("\n    ")
	}
	b.WriteString("]\n  }\n}\n")
	return b.Bytes()
}

// comma returns what stands between entry i of a list and the one before it.
func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// quote returns s as a JSON string, with no more escapes than needed.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string in memory cannot fail
	return string(bytes.TrimRight(b.Bytes(), "\n"))
}

// File is a small file by name.
type File struct {
	Name string
	Data []byte
}

// tokenizerConfig is a tokenizer_config.json.
type tokenizerConfig struct {
	Class     string  `json:"tokenizer_class"`
	MaxLength int     `json:"model_max_length"`
	CleanUp   bool    `json:"clean_up_tokenization_spaces"`
	PrefixSp  bool    `json:"add_prefix_space"`
	BOS       *string `json:"bos_token"`
	EOS       *string `json:"eos_token"`
	PAD       *string `json:"pad_token"`
	UNK       *string `json:"unk_token"`
}

// HFFiles returns the files that let AutoTokenizer.from_pretrained load the tokenizer from a Hugging Face folder:
// tokenizer.json, tokenizer_config.json and special_tokens_map.json. maxLength is the longest context in tokens.
func (t *Tokenizer) HFFiles(maxLength int) ([]File, error) {
	config := tokenizerConfig{Class: "PreTrainedTokenizerFast", MaxLength: maxLength}
	special := make(map[string]string)
	if t.eos >= 0 {
		name := t.EOSText()
		config.EOS = &name
		special["eos_token"] = name
	}
	configText, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", tokenizerConfigFile, err)
	}
	specialText, err := json.MarshalIndent(special, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", specialTokensFile, err)
	}
	return []File{
		{TokenizerFile, t.JSON()},
		{tokenizerConfigFile, append(configText, '\n')},
		{specialTokensFile, append(specialText, '\n')},
	}, nil
}
