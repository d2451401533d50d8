package data

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
)

// Names and limits of a prepared folder.
const (
	ManifestFile    = "manifest.json"
	manifestFormat  = "plasticity-tokens"
	manifestVersion = 1
	maxManifest     = 16 << 20 // bytes
	maxShards       = 1 << 16
	maxTokens       = 1 << 50 // of a split
)

// Manifest is the manifest.json of a split: what its shards hold and where that comes from.
type Manifest struct {
	Format    string `json:"format"`
	Version   int    `json:"version"`
	Split     string `json:"split"` // train or val
	Vocab     int    `json:"vocab"`
	DType     string `json:"dtype"`     // uint16 or uint32, little-endian
	EOS       int32  `json:"eos"`       // the token that ends each document
	Tokens    int64  `json:"tokens"`    // ends of documents included
	Documents int64  `json:"documents"` // none of them empty
	Empty     int64  `json:"empty"`     // documents of all inputs left out because they had no text
	Bytes     int64  `json:"bytes"`     // of text, as UTF-8
	// Shards in the order in which they are read.
	Shards          []Shard `json:"shards"`
	Tokenizer       string  `json:"tokenizer"` // path relative to the manifest
	TokenizerSHA256 string  `json:"tokenizer_sha256"`
	Source          string  `json:"source"` // in words
	Seed            int64   `json:"seed"`
	ValFraction     float64 `json:"val_fraction"`
	// Preparation is a digest of the input documents and of all options: equal ones make equal shards.
	Preparation string `json:"preparation"`
	// Digest is over what a run reads: tokens, their meaning and their order, not where they come from.
	Digest string `json:"digest"`
}

// Shard is one file of tokens.
type Shard struct {
	File   string `json:"file"`
	Tokens int64  `json:"tokens"`
	SHA256 string `json:"sha256"` // of the whole file
}

// splitName returns the name of a split by its number in a shard's header.
func splitName(split int) string {
	if split == 1 {
		return "val"
	}
	return "train"
}

// dtype returns the name of the type of tokens of a width in bytes.
func dtype(width int) string {
	if width == 4 {
		return "uint32"
	}
	return "uint16"
}

// contentDigest returns what Digest must be.
func (m *Manifest) contentDigest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %s %d %s %d %d %d %d %s\n", m.Format, m.Version, m.Split, m.Vocab, m.DType, m.EOS, m.Tokens,
		m.Documents, m.Bytes, m.TokenizerSHA256)
	for _, s := range m.Shards {
		fmt.Fprintf(h, "%d %s\n", s.Tokens, s.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// marshal returns the file.
func (m *Manifest) marshal() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", ManifestFile, err)
	}
	return append(b, '\n'), nil
}

// readManifest reads and checks the manifest of a split in dir.
func readManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, ManifestFile)
	b, err := readSmall(path, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, bad("%s: %w: prepare the data again with `plasticity data prepare`", path, err)
	}
	return m, nil
}

// parseManifest reads a manifest and checks it in itself.
func parseManifest(b []byte) (*Manifest, error) {
	if err := checkText(b); err != nil {
		return nil, err
	}
	if _, err := members(b); err != nil { // keys that come twice
		return nil, err
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	if head.Format != manifestFormat || head.Version != manifestVersion {
		return nil, fmt.Errorf("format %.40q version %d, this program knows %q version %d", head.Format, head.Version, manifestFormat, manifestVersion)
	}
	m := new(Manifest)
	if err := decodeInto(b, m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if want := m.contentDigest(); m.Digest != want {
		return nil, fmt.Errorf("digest %.80q, but its content gives %s: edited or damaged", m.Digest, want)
	}
	return m, nil
}

// check checks all fields but the digest.
func (m *Manifest) check() error {
	switch {
	case m.Split != "train" && m.Split != "val":
		return fmt.Errorf("split %.40q, want train or val", m.Split)
	case m.Vocab < 1 || m.Vocab > maxVocab:
		return fmt.Errorf("vocab %d, want 1 to %d", m.Vocab, maxVocab)
	case m.DType != dtype(tokenBytes(m.Vocab)):
		return fmt.Errorf("dtype %.40q, want %s for a vocabulary of %d", m.DType, dtype(tokenBytes(m.Vocab)), m.Vocab)
	case m.EOS < 0 || int(m.EOS) >= m.Vocab:
		return fmt.Errorf("eos %d, want 0 to %d", m.EOS, m.Vocab-1)
	case m.Tokens < 0 || m.Tokens > maxTokens:
		return fmt.Errorf("tokens %d, want 0 to %d", m.Tokens, int64(maxTokens))
	case m.Documents < 0 || m.Documents > m.Tokens:
		return fmt.Errorf("documents %d, but there are %d tokens", m.Documents, m.Tokens)
	case m.Bytes < 0 || m.Empty < 0:
		return fmt.Errorf("bytes %d and empty %d must not be negative", m.Bytes, m.Empty)
	case len(m.Shards) > maxShards:
		return fmt.Errorf("%d shards, at most %d are allowed", len(m.Shards), maxShards)
	case !filepath.IsLocal(m.Tokenizer) && m.Tokenizer != "../"+TokenizerFile:
		return fmt.Errorf("tokenizer %.80q: must be ../%s or a path below the folder", m.Tokenizer, TokenizerFile)
	}
	if !isDigest(m.TokenizerSHA256) {
		return fmt.Errorf("tokenizer_sha256 %.80q: not a SHA-256 in hexadecimal", m.TokenizerSHA256)
	}
	if !isDigest(m.Preparation) {
		return fmt.Errorf("preparation %.80q: not a SHA-256 in hexadecimal", m.Preparation)
	}
	return m.checkShards()
}

// checkShards checks the list of shards.
func (m *Manifest) checkShards() error {
	sum := int64(0)
	seen := make(map[string]bool, len(m.Shards))
	for i, s := range m.Shards {
		switch {
		case !isShardName(s.File):
			return fmt.Errorf("shards[%d].file %.80q: not a plain file name", i, s.File)
		case seen[s.File]:
			return fmt.Errorf("shards[%d].file %q comes twice", i, s.File)
		case s.Tokens < 1 || s.Tokens > maxShardTokens:
			return fmt.Errorf("shards[%d].tokens %d, want 1 to %d", i, s.Tokens, maxShardTokens)
		case !isDigest(s.SHA256):
			return fmt.Errorf("shards[%d].sha256 %.80q: not a SHA-256 in hexadecimal", i, s.SHA256)
		}
		seen[s.File] = true
		sum += s.Tokens
	}
	if sum != m.Tokens {
		return fmt.Errorf("tokens %d, but the shards have %d", m.Tokens, sum)
	}
	return nil
}

// isShardName reports whether name is a plain file name.
func isShardName(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= 100 && name[0] != '.' && name[0] != '-'
}

// isDigest reports whether s is a SHA-256 in lower-case hexadecimal.
func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == hex.EncodeToString(b)
}

// prepareID returns the beginning of the preparation's digest, as shards have it.
func (m *Manifest) prepareID() ([prepareIDSize]byte, error) {
	b, err := hex.DecodeString(m.Preparation)
	if err != nil || len(b) < prepareIDSize {
		return [prepareIDSize]byte{}, errors.New("preparation: not a SHA-256 in hexadecimal")
	}
	return [prepareIDSize]byte(b[:prepareIDSize]), nil
}
