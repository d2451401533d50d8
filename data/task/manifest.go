package task

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"

	"plasticity/record"
)

// Names and limits of a prepared task.
const (
	ManifestFile    = "task.json"
	TrainFile       = "train.jsonl"
	TestFile        = "test.jsonl"
	manifestFormat  = "plasticity-task"
	manifestVersion = 1
	maxManifest     = 1 << 20 // bytes
)

// Manifest is the task.json of a prepared task.
type Manifest struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`     // of answers
	Template string `json:"template"` // what stands around an instruction
	Seed     int64  `json:"seed"`
	Train    int    `json:"train"` // examples
	Test     int    `json:"test"`
	// Levels counts the examples of each, in the order of their names.
	Levels []LevelCount `json:"levels"`
	// Sources are the data sets that the examples were made from; none for a synthetic family.
	Sources []Source `json:"sources"`
	// Filters says how many rows each left out, in the order in which they are applied.
	Filters     []Filter `json:"filters"`
	TrainSHA256 string   `json:"train_sha256"`
	TestSHA256  string   `json:"test_sha256"`
	// Digest is over what a run reads: the examples and what is made of them, not where they come from.
	Digest string `json:"digest"`
}

// LevelCount counts the examples of a level.
type LevelCount struct {
	Level string `json:"level"`
	Train int    `json:"train"`
	Test  int    `json:"test"`
}

// Source is a data set that examples were made from.
type Source struct {
	Dataset string `json:"dataset"` // its name on the hub, or in words
	Files   int    `json:"files"`   // of it that were read
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // over the names, sizes and digests of the files, in the order of their names
}

// Filter says how many rows were left out for a reason.
type Filter struct {
	Reason  string `json:"reason"`
	Dropped int    `json:"dropped"`
}

// contentDigest returns what Digest must be.
func (m *Manifest) contentDigest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %q %q %s %d %d %s %s\n", m.Format, m.Version, m.Name, m.Kind, m.Template, m.Train, m.Test, m.TrainSHA256, m.TestSHA256)
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

// readManifest reads a task.json and checks it in itself.
func readManifest(path string) (*Manifest, error) {
	b, err := record.ReadFile(record.OS(), path, maxManifest)
	if err != nil {
		return nil, missing(err, path)
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, bad("%s: %w: %s", path, err, remedy)
	}
	return m, nil
}

// manifestFields lists the fields of a task.json.
func manifestFields() []string {
	t := reflect.TypeFor[Manifest]()
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("json"))
	}
	return names
}

// parseManifest reads a task.json strictly: all fields, each once, no other, and written as marshal writes them.
func parseManifest(b []byte) (*Manifest, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	if head.Format != manifestFormat || head.Version != manifestVersion {
		return nil, fmt.Errorf("field \"format\" %.40q version %d, this program knows %q version %d", head.Format, head.Version, manifestFormat, manifestVersion)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	for _, name := range manifestFields() {
		if _, ok := raw[name]; !ok {
			return nil, fmt.Errorf("field %q is missing", name)
		}
	}
	m := new(Manifest)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text behind the JSON object")
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	again, err := m.marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("a field comes twice or is not as this program writes it")
	}
	return m, nil
}

// namePattern is what names of tasks look like.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// check checks all fields.
func (m *Manifest) check() error {
	digest := func(s string) bool {
		b, err := hex.DecodeString(s)
		return err == nil && len(b) == sha256.Size && s == hex.EncodeToString(b)
	}
	switch {
	case !namePattern.MatchString(m.Name):
		return fmt.Errorf("field \"name\" %.80q: want lower-case letters, digits and dashes", m.Name)
	case !slices.Contains([]string{Math, Letter, Word, Text}, m.Kind):
		return fmt.Errorf("field \"kind\" %.40q: want %q, %q, %q or %q", m.Kind, Math, Letter, Word, Text)
	case m.Template != template:
		return fmt.Errorf("field \"template\" %.40q: this program knows %q", m.Template, template)
	case m.Train < 1:
		return fmt.Errorf("field \"train\" %d: no example to learn from", m.Train)
	case m.Test < 1:
		return fmt.Errorf("field \"test\" %d: an empty test set", m.Test)
	case !digest(m.TrainSHA256):
		return fmt.Errorf("field \"train_sha256\" %.80q: not a SHA-256 in hexadecimal", m.TrainSHA256)
	case !digest(m.TestSHA256):
		return fmt.Errorf("field \"test_sha256\" %.80q: not a SHA-256 in hexadecimal", m.TestSHA256)
	}
	if want := m.contentDigest(); m.Digest != want {
		return fmt.Errorf("field \"digest\" %.80q, but its content gives %s: edited or damaged", m.Digest, want)
	}
	return nil
}
