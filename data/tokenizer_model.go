package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// model reads the section "model" of a tokenizer.json.
func (p *parser) model(raw []byte) error {
	list, err := members(raw)
	if err != nil {
		return err
	}
	for _, m := range list {
		if err := p.modelField(m); err != nil {
			return fmt.Errorf("%s: %w", m.key, err)
		}
	}
	return nil
}

// modelField reads one field of the model.
func (p *parser) modelField(m member) error {
	switch m.key {
	case "type":
		var kind string
		if err := json.Unmarshal(m.value, &kind); err != nil || kind != "BPE" {
			return fmt.Errorf("%.40s is not supported: only \"BPE\" is", m.value)
		}
	case "dropout":
		if s := string(m.value); s != "null" && s != "0" && s != "0.0" {
			return fmt.Errorf("%.40s: must be null, or the tokens would be random", m.value)
		}
	case "unk_token", "continuing_subword_prefix", "end_of_word_suffix":
		var s *string
		if err := json.Unmarshal(m.value, &s); err != nil {
			return err
		}
		if m.key != "unk_token" && s != nil && *s != "" { // with all bytes present nothing is unknown
			return fmt.Errorf("%.40q: must be null or empty", *s)
		}
	case "fuse_unk":
		var b bool
		return json.Unmarshal(m.value, &b)
	case "byte_fallback":
		if string(m.value) != "false" {
			return fmt.Errorf("%.40s: must be false", m.value)
		}
	case "ignore_merges":
		return json.Unmarshal(m.value, &p.ignoreMerges)
	case "vocab":
		return p.vocab(m.value)
	case "merges":
		if err := json.Unmarshal(m.value, &p.merges); err != nil {
			return err
		}
		if len(p.merges) > maxVocab {
			return fmt.Errorf("%d merges, at most %d are read", len(p.merges), maxVocab)
		}
	default:
		return errors.New("unknown field")
	}
	return nil
}

// vocab reads the vocabulary: token → id.
func (p *parser) vocab(raw []byte) error {
	list, err := members(raw)
	if err != nil {
		return err
	}
	if len(list) > maxVocab {
		return fmt.Errorf("%d tokens, at most %d are read", len(list), maxVocab)
	}
	p.ids = make(map[string]int32, len(list))
	for _, m := range list {
		if m.key == "" || len(m.key) > 2*maxTokenBytes {
			return fmt.Errorf("token %.80q of %d bytes: 1 to %d are allowed", m.key, len(m.key), 2*maxTokenBytes)
		}
		id, err := strconv.ParseInt(string(m.value), 10, 64)
		if err != nil || id < 0 || id >= maxVocab {
			return fmt.Errorf("token %.80q: id %.40s is not a whole number in [0, %d)", m.key, m.value, maxVocab)
		}
		p.ids[m.key] = int32(id)
	}
	return nil
}

// assemble checks the parts against each other and builds the tables.
func (p *parser) assemble() error {
	switch {
	case !p.seenModel || p.ids == nil:
		return errors.New("model.vocab: missing")
	case p.merges == nil:
		return errors.New("model.merges: missing")
	case !p.seenPre:
		return errors.New("pre_tokenizer: missing: \"ByteLevel\" is needed")
	case !p.seenDecoder:
		return errors.New("decoder: missing: \"ByteLevel\" is needed")
	}
	visible, err := p.places()
	if err != nil {
		return err
	}
	if err := p.spell(visible); err != nil {
		return err
	}
	if err := p.bytes(); err != nil {
		return err
	}
	return p.rules()
}

// places returns the tokens of the model by id, empty where an id belongs to an added token only, and checks that the ids
// have neither holes nor doubles. It puts the added tokens into their places.
func (p *parser) places() ([]string, error) {
	n := len(p.ids)
	for _, a := range p.t.added {
		if id, ok := p.ids[a.content]; !ok {
			n++
		} else if id != a.id {
			return nil, fmt.Errorf("added_tokens: %.80q has id %d there and %d in model.vocab", a.content, a.id, id)
		}
	}
	visible := make([]string, n)
	p.t.tokens = make([]string, n)
	for token, id := range p.ids {
		if int(id) >= n {
			return nil, fmt.Errorf("model.vocab: id %d of %.80q, but there are only %d tokens: ids must be 0 to %d without a hole", id, token, n, n-1)
		}
		if visible[id] != "" {
			return nil, fmt.Errorf("model.vocab: id %d belongs to two tokens, %.80q and %.80q", id, min(token, visible[id]), max(token, visible[id]))
		}
		visible[id] = token
	}
	for _, a := range p.t.added {
		switch {
		case int(a.id) >= n:
			return nil, fmt.Errorf("added_tokens: id %d of %.80q, but there are only %d tokens: ids must be 0 to %d without a hole", a.id, a.content, n, n-1)
		case p.t.tokens[a.id] != "" || visible[a.id] != "" && visible[a.id] != a.content:
			return nil, fmt.Errorf("added_tokens: id %d of %.80q belongs to another token as well", a.id, a.content)
		}
		p.t.tokens[a.id] = a.content
	}
	return visible, nil
}

// spell fills in the bytes of the model's own tokens.
func (p *parser) spell(visible []string) error {
	for id, token := range visible {
		if p.t.tokens[id] != "" {
			continue // an added token is spelled as it is
		}
		text, ok := p.alphabet.decode(token)
		if !ok {
			return fmt.Errorf("model.vocab: token %.80q (id %d) has a character that stands for no byte: this is not a byte-level vocabulary", token, id)
		}
		if len(text) == 0 || len(text) > maxTokenBytes {
			return fmt.Errorf("model.vocab: token %d has %d bytes: 1 to %d are allowed", id, len(text), maxTokenBytes)
		}
		p.t.tokens[id] = text
	}
	return nil
}

// bytes finds the token of every byte.
func (p *parser) bytes() error {
	for b := range 256 {
		id, ok := p.ids[string(p.alphabet.runes[b])]
		if !ok {
			return fmt.Errorf("model.vocab: the byte %#02x (written %q) has no token: all 256 bytes need one", b, p.alphabet.runes[b])
		}
		if p.t.tokens[id] != string([]byte{byte(b)}) {
			return fmt.Errorf("added_tokens: id %d is the token of the byte %#02x and cannot be an added token", id, b)
		}
		p.t.byteID[b] = id
	}
	return nil
}

// rules builds the merge table.
func (p *parser) rules() error {
	p.t.merges = newMergeTable(len(p.merges))
	for rank, raw := range p.merges {
		left, right, err := mergeParts(raw)
		if err != nil {
			return fmt.Errorf("model.merges[%d]: %w", rank, err)
		}
		a, okA := p.ids[left]
		b, okB := p.ids[right]
		id, ok := p.ids[left+right]
		if !okA || !okB || !ok {
			missing := left + right
			if !okA {
				missing = left
			} else if !okB {
				missing = right
			}
			return fmt.Errorf("model.merges[%d]: %.80q is not in model.vocab", rank, missing)
		}
		if p.t.tokens[id] != p.t.tokens[a]+p.t.tokens[b] {
			return fmt.Errorf("model.merges[%d]: %.80q and %.80q: an added token that is not spelled like its parts", rank, left, right)
		}
		if !p.t.merges.add(a, b, mergeRule{int32(rank), id}) {
			return fmt.Errorf("model.merges[%d]: %.80q and %.80q are merged by an earlier entry already", rank, left, right)
		}
	}
	if p.ignoreMerges {
		p.wholeTokens()
	}
	return nil
}

// wholeTokens lists the tokens that a piece of text may become without merges.
func (p *parser) wholeTokens() {
	p.t.whole = make(map[string]int32, len(p.ids))
	for token, id := range p.ids {
		if text, ok := p.alphabet.decode(token); ok && p.t.tokens[id] == text {
			p.t.whole[text] = id
		}
	}
}

// mergeParts reads one merge: "a b", or ["a", "b"] in newer files.
func mergeParts(raw []byte) (left, right string, err error) {
	var parts []string
	if len(raw) > 0 && raw[0] == '[' {
		err = json.Unmarshal(raw, &parts)
	} else {
		var s string
		err = json.Unmarshal(raw, &s)
		parts = strings.Split(s, " ")
	}
	if err != nil {
		return "", "", err
	}
	if len(parts) != 2 || slices.Contains(parts, "") {
		return "", "", fmt.Errorf("%.80s: two tokens are needed", raw)
	}
	return parts[0], parts[1], nil
}
