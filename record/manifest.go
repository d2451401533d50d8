package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// ManifestFile is the name of the manifest in a checkpoint.
const ManifestFile = "manifest.json"

// CheckpointSchema is the version of the manifest that this program writes; it reads older ones too.
const CheckpointSchema = 1

const (
	maxManifestBytes = 1 << 20
	maxFiles         = 4096 // in one checkpoint
)

// CheckpointMeta says what a checkpoint belongs to.
type CheckpointMeta struct {
	RunID           string `json:"run_id"`
	ConfigDigest    string `json:"config_digest"`
	DataDigest      string `json:"data_digest"`
	TokenizerDigest string `json:"tokenizer_digest"`
	Program         string `json:"program"`
	Shim            string `json:"shim"`
	Libtorch        string `json:"libtorch"`
	CPU             string `json:"cpu"`  // instruction set of the kernels: bits agree only between equal ones
	Step            string `json:"step"` // reference | engine | graph: which implementation of the step trained it
	Tokens          int64  `json:"tokens"`

	// Bytes is the expected size of the files, 0 when unknown; the save is refused before its start when less is free.
	Bytes int64 `json:"-"`
	// Lock, when set, is checked just before the checkpoint gets its name, and its owner is recorded.
	Lock *Lock `json:"-"`
}

// CheckpointFile is one file of a checkpoint: its size in bytes and SHA-256 in hexadecimal.
type CheckpointFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// manifest is the content of manifest.json. Digest is the SHA-256 of the file itself with zeros in Digest's place, so
// that a flipped bit anywhere in it shows, whatever version wrote it.
type manifest struct {
	Schema int              `json:"schema"`
	Step   int64            `json:"step"`
	Meta   CheckpointMeta   `json:"meta"`
	Owner  Owner            `json:"owner"`
	Files  []CheckpointFile `json:"files"`
	Digest string           `json:"digest"`
}

// noDigest stands in Digest's place while it is computed.
func noDigest() string { return strings.Repeat("0", 2*sha256.Size) }

// encode returns the manifest's file.
func (m manifest) encode() ([]byte, error) {
	m.Digest = noDigest()
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, Fail(Internal, "encode the manifest: %w", err)
	}
	text = append(text, '\n')
	if len(text) > maxManifestBytes {
		return nil, Fail(Internal, "the manifest has %d bytes, the limit is %d", len(text), maxManifestBytes)
	}
	sum := sha256.Sum256(text)
	at := bytes.LastIndex(text, []byte(m.Digest))
	hex.Encode(text[at:at+len(m.Digest)], sum[:])
	return text, nil
}

// parseManifest decodes and checks a manifest's file. Errors are Failures: Mismatch for a future version, else BadData.
func parseManifest(text []byte) (manifest, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return manifest{}, Fail(BadData, "not a manifest: %w", err)
	}
	if version.Schema > CheckpointSchema {
		return manifest{}, Fail(Mismatch, "checkpoint format %d is newer than this program, which reads up to %d: use a newer program",
			version.Schema, CheckpointSchema)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return manifest{}, Fail(BadData, "not a manifest: %w", err)
	}
	if m.Schema < 1 {
		return manifest{}, Fail(BadData, "schema %d: want 1 to %d", m.Schema, CheckpointSchema)
	}
	if err := checkDigest(text, m.Digest); err != nil {
		return manifest{}, err
	}
	return m, m.check()
}

// checkDigest verifies that digest is the manifest's own.
func checkDigest(text []byte, digest string) error {
	at := bytes.LastIndex(text, []byte(digest))
	if len(digest) != 2*sha256.Size || at < 0 {
		return Fail(BadData, "digest %.80q: want 64 hexadecimal digits", digest)
	}
	h := sha256.New()
	h.Write(text[:at])
	io.WriteString(h, noDigest()) //nolint:errcheck // a hash does not fail
	h.Write(text[at+len(digest):])
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		return Fail(BadData, "the manifest is damaged: its digest is %s and should be %s", got, digest)
	}
	return nil
}

// check verifies names, sizes and digests for form.
func (m manifest) check() error {
	if m.Step < 0 {
		return Fail(BadData, "step %d: want 0 or more", m.Step)
	}
	if len(m.Files) == 0 || len(m.Files) > maxFiles {
		return Fail(BadData, "%d files: want 1 to %d", len(m.Files), maxFiles)
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case checkFileName(f.Name) != nil:
			return Fail(BadData, "file name %.80q is not allowed", f.Name)
		case seen[f.Name]:
			return Fail(BadData, "file %s is listed twice", f.Name)
		case f.Size < 0:
			return Fail(BadData, "file %s: size %d", f.Name, f.Size)
		case err != nil || len(sum) != sha256.Size:
			return Fail(BadData, "file %s: sha256 %.80q: want 64 hexadecimal digits", f.Name, f.SHA256)
		}
		seen[f.Name] = true
	}
	return nil
}

// checkFileName refuses names that are unsafe or taken by the manifest.
func checkFileName(name string) error {
	if name == ManifestFile {
		return Fail(Internal, "checkpoint file %s: the name is taken", name)
	}
	if !nameRule.MatchString(name) {
		return Fail(Internal, "checkpoint file %.80q: not a safe name", name)
	}
	return nil
}

// stepDir is the name of the folder of a checkpoint.
func stepDir(step int64) string { return fmt.Sprintf("step-%08d", step) }
