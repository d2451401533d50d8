package plots

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"plasticity/record"
)

// Sample is text that a model wrote.
type Sample struct {
	Run    string // id of the run; empty: not said
	Prompt string
	Text   string // what followed the prompt
	File   string // where it was found; may be empty
}

const (
	samplesDir    = "samples"
	maxSamples    = 8
	maxSampleFile = 1 << 20
	maxSampleText = 4000 // runes
)

// readSamples reads the samples of a run: files in its folder samples/, .json or .jsonl with {"prompt", "text"} a line as
// `generate --json` writes, or plain .txt.
func readSamples(root string, m *member) ([]Sample, []record.Problem) {
	dir := filepath.Join(root, filepath.FromSlash(m.Folder), samplesDir)
	entries, err := record.OS().ReadDir(dir)
	if err != nil {
		return nil, nil // most runs have none
	}
	var samples []Sample
	var problems []record.Problem
	for _, e := range entries {
		kind := filepath.Ext(e.Name())
		if kind != ".txt" && kind != ".json" && kind != ".jsonl" || len(samples) >= maxSamples {
			continue
		}
		name := path.Join(m.Folder, samplesDir, e.Name())
		text, err := record.ReadFile(record.OS(), filepath.Join(dir, e.Name()), maxSampleFile)
		if err != nil {
			problems = append(problems, record.Problem{Path: name, What: "cannot be read, or is too large for a sample"})
			continue
		}
		if kind == ".txt" {
			samples = append(samples, Sample{Run: m.Info.ID, Text: string(text), File: name})
			continue
		}
		found, ok := parseSamples(text)
		if !ok {
			problems = append(problems, record.Problem{Path: name, What: `want lines of {"prompt": …, "text": …}`})
		}
		for _, s := range found {
			s.Run, s.File = m.Info.ID, name
			samples = append(samples, s)
		}
	}
	return samples[:min(len(samples), maxSamples)], problems
}

// parseSamples reads JSON lines.
func parseSamples(text []byte) (samples []Sample, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxSampleFile+1)
	ok = true
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var s struct {
			Prompt string `json:"prompt"`
			Text   string `json:"text"`
		}
		if json.Unmarshal(lines.Bytes(), &s) != nil {
			ok = false
			continue
		}
		samples = append(samples, Sample{Prompt: s.Prompt, Text: s.Text})
	}
	return samples, ok && lines.Err() == nil
}

// cleanText makes text of a model fit for a page: valid, without control and direction marks, at most limit runes. Line
// ends stay.
func cleanText(text string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(text, string(utf8.RuneError)) {
		if r != '\n' && !unicode.IsPrint(r) {
			if !unicode.IsSpace(r) {
				continue
			}
			r = ' '
		}
		if n == limit {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
