package data

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// sampleTokens is how many tokens of a document a sample shows.
const sampleTokens = 256

// Inspection says what is in a prepared folder.
type Inspection struct {
	Dir    string            `json:"dir"`
	Splits []SplitInspection `json:"splits"`
}

// SplitInspection says what is in a split.
type SplitInspection struct {
	Dir           string   `json:"dir"`
	Manifest      Manifest `json:"manifest"`
	BytesPerToken float64  `json:"bytes_per_token"`
	// Samples are the beginnings of the first documents.
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is the beginning of a document.
type Sample struct {
	Tokens []int32 `json:"tokens"`
	Text   string  `json:"text"`
	Cut    bool    `json:"cut"` // whether the document goes on
}

// Inspect opens a prepared folder, or one split of it, and decodes the beginnings of the first show documents of each
// split.
func Inspect(dir string, show int) (Inspection, error) {
	in := Inspection{Dir: dir}
	dirs := []string{dir}
	if _, err := os.Stat(filepath.Join(dir, ManifestFile)); errors.Is(err, fs.ErrNotExist) {
		dirs = []string{filepath.Join(dir, splitName(0)), filepath.Join(dir, splitName(1))}
		if _, err := os.Stat(dirs[0]); errors.Is(err, fs.ErrNotExist) {
			return in, bad("%s: neither %s nor a folder %s in it: not made by `plasticity data prepare`", dir, ManifestFile, splitName(0))
		}
	}
	for _, d := range dirs {
		set, err := Open(d)
		if err != nil {
			return in, err
		}
		s := SplitInspection{Dir: d, Manifest: set.Manifest(), BytesPerToken: set.BytesPerToken()}
		if s.Samples, err = set.samples(show); err != nil {
			return in, err
		}
		in.Splits = append(in.Splits, s)
	}
	return in, nil
}

// samples decodes the beginnings of the first n documents.
func (s *Set) samples(n int) ([]Sample, error) {
	if n <= 0 || s.Tokens() == 0 {
		return nil, nil
	}
	t, err := s.Tokenizer()
	if err != nil {
		return nil, err
	}
	r := newReader(s)
	defer r.close() //nolint:errcheck // only read
	var samples []Sample
	var now Sample
	block := make([]int32, 1<<16)
	for start := int64(0); start < s.Tokens(); start += int64(len(block)) {
		block = block[:min(int64(len(block)), s.Tokens()-start)]
		if err := r.tokens(block, start); err != nil {
			return nil, err
		}
		for _, id := range block {
			switch {
			case id == s.EOS():
				now.Text = t.Decode(now.Tokens)
				if samples, now = append(samples, now), (Sample{}); len(samples) == n {
					return samples, nil
				}
			case len(now.Tokens) < sampleTokens:
				now.Tokens = append(now.Tokens, id)
			default:
				now.Cut = true
			}
		}
	}
	return samples, nil
}
