package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"plasticity/record"
)

// DefaultValFraction is the part of the documents that is held out when the user does not say.
const DefaultValFraction = 0.05

// bpePrefix begins a tokenizer specification that asks for a fresh one: bpe:N.
const bpePrefix = "bpe:"

// PrepareOptions says what Prepare makes of what.
type PrepareOptions struct {
	// In are files and folders: .jsonl and .ndjson (field "text"), .parquet (column "text"), all else text.
	In []string
	// Tokenizer is a tokenizer.json, a Hugging Face folder, or bpe:N for a fresh one of N tokens trained on the train split.
	Tokenizer string
	// Out is the folder to make.
	Out string
	// ValFraction, above 0 and below 1, is the part of the documents that goes to val.
	ValFraction float64
	// Seed decides which documents go to val.
	Seed int64
	// Source says in words where the text comes from; empty: what Fetch left beside the texts, else the names of the inputs.
	Source string
	// Progress, if not nil, is told the bytes read and to be read, one call at a time.
	Progress func(done, total int64)

	workers     int   // 0: one a core
	shardTokens int64 // 0: maxShardTokens
}

// SplitSummary says what is in a split.
type SplitSummary struct {
	Dir       string `json:"dir"`
	Documents int64  `json:"documents"`
	Tokens    int64  `json:"tokens"`
	Bytes     int64  `json:"bytes"`
	Digest    string `json:"digest"`
}

// Summary says what Prepare made.
type Summary struct {
	Out             string       `json:"out"`
	Train           SplitSummary `json:"train"`
	Val             SplitSummary `json:"val"`
	Vocab           int          `json:"vocab"`
	TokenizerSHA256 string       `json:"tokenizer_sha256"`
	Empty           int64        `json:"empty"`   // documents left out because they had no text
	Skipped         int64        `json:"skipped"` // hidden or special files left out
	Source          string       `json:"source"`
	// Unchanged is true when Out held the same preparation already and nothing was written.
	Unchanged bool     `json:"unchanged"`
	Warnings  []string `json:"warnings,omitempty"`
}

// Prepare turns text into token shards: OUT/train, OUT/val and OUT/tokenizer.json. Each document is followed by the
// tokenizer's end of text and goes as a whole to one split, chosen by a hash of the seed and its content; with two
// documents or more neither split is empty. The result depends on the documents and options only, not on the number of
// cores. Inputs are read twice (three times for a fresh tokenizer), in memory bounded by the largest line. OUT appears
// complete or not at all; when it holds the same preparation already, Prepare returns at once, and when it holds anything
// else, it refuses. Errors are Failures.
func Prepare(ctx context.Context, o PrepareOptions) (Summary, error) {
	p, err := newPreparation(o)
	if err != nil {
		return Summary{}, err
	}
	if p.census, err = takeCensus(ctx, p.list, o.ValFraction, o.Seed, p.progress); err != nil {
		return Summary{}, err
	}
	if p.census.count[markTrain] == 0 {
		return Summary{}, bad("input %s: %d documents and none of them has text: nothing is left to prepare",
			strings.Join(o.In, ", "), p.census.count[markEmpty])
	}
	p.identify()
	if summary, done, err := p.existing(); done || err != nil {
		return summary, err
	}
	if p.tokenizer == nil {
		if p.tokenizer, err = p.train(ctx); err != nil {
			return Summary{}, err
		}
	}
	err = record.WriteDirAtomic(record.OS(), o.Out, func(temp string) error { return p.write(ctx, temp) })
	if err != nil {
		return Summary{}, err
	}
	return p.summary(false)
}

// preparation is the state of Prepare.
type preparation struct {
	o         PrepareOptions
	list      inputs
	tokenizer *Tokenizer // nil: to be trained
	vocab     int        // of the tokenizer to be trained
	census    *census
	progress  *progress
	source    string
	id        string // digest of documents and options
}

// newPreparation checks the options and lists the inputs.
func newPreparation(o PrepareOptions) (*preparation, error) {
	if o.workers == 0 {
		o.workers = runtime.GOMAXPROCS(0)
	}
	if o.shardTokens == 0 {
		o.shardTokens = maxShardTokens
	}
	if o.Out == "" {
		return nil, usage("no output folder: give one")
	}
	if !(o.ValFraction > 0 && o.ValFraction < 1) { // also refuses NaN
		return nil, usage("val fraction %g: must be above 0 and below 1", o.ValFraction)
	}
	p := &preparation{o: o}
	readings := int64(2)
	var err error
	if size, ok := strings.CutPrefix(o.Tokenizer, bpePrefix); ok {
		p.vocab, err = strconv.Atoi(size)
		if err != nil || p.vocab < MinVocab || p.vocab > MaxVocab {
			return nil, usage("tokenizer %q: after %s a number of tokens from %d to %d is needed", o.Tokenizer, bpePrefix, MinVocab, MaxVocab)
		}
		readings++
	} else if p.tokenizer, err = loadForPrepare(o.Tokenizer); err != nil {
		return nil, err
	}
	if p.list, err = listInputs(o.In); err != nil {
		return nil, err
	}
	p.source = o.Source
	if p.source == "" {
		p.source = p.list.source
	}
	if p.source == "" {
		p.source = baseNames(o.In)
	}
	p.progress = &progress{report: o.Progress, total: readings * p.list.size}
	return p, nil
}

// loadForPrepare loads a tokenizer that must have an end of text.
func loadForPrepare(path string) (*Tokenizer, error) {
	if path == "" {
		return nil, usage("no tokenizer: give a tokenizer.json, a Hugging Face folder, or %sN to train one of N tokens", bpePrefix)
	}
	t, err := LoadTokenizer(path)
	if err != nil {
		return nil, err
	}
	if _, ok := t.EOS(); !ok {
		return nil, bad("tokenizer %s: no end-of-text token: put a tokenizer_config.json with eos_token beside it", path)
	}
	return t, nil
}

// baseNames returns the last parts of paths: manifests hold nothing of the machine they were made on.
func baseNames(paths []string) string {
	names := make([]string, len(paths))
	for i, path := range paths {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		names[i] = filepath.Base(path)
	}
	return strings.Join(names, ", ")
}

// identify computes the digest of documents and options.
func (p *preparation) identify() {
	tokenizer := p.o.Tokenizer // bpe:N
	if p.tokenizer != nil {
		tokenizer = p.tokenizer.Digest() + " " + p.tokenizer.EOSText()
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\n%s\n%q\n%d %v %d\n", manifestFormat, manifestVersion, p.census.digest, tokenizer, p.o.Seed,
		p.o.ValFraction, p.o.shardTokens)
	p.id = hex.EncodeToString(h.Sum(nil))
}

// existing looks at what is in the way of the output. done is true when it is this very preparation.
func (p *preparation) existing() (summary Summary, done bool, err error) {
	if info, err := os.Stat(p.o.Out); err == nil && !info.IsDir() {
		return Summary{}, false, usage("output %s: there is a file of that name: choose another folder or remove it", p.o.Out)
	}
	entries, err := os.ReadDir(p.o.Out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return Summary{}, false, nil
	}
	if err != nil {
		return Summary{}, false, record.FailIO(err, "read output folder")
	}
	m, err := readManifest(filepath.Join(p.o.Out, splitName(0)))
	if err != nil || m.Preparation != p.id {
		return Summary{}, false, usage("output %s: there is something else already, which is not overwritten: choose another folder or remove it", p.o.Out)
	}
	summary, err = p.summary(true)
	if err != nil {
		return Summary{}, false, fmt.Errorf("output %s holds this preparation, but damaged; remove it and try again: %w", p.o.Out, err)
	}
	return summary, true, nil
}

// summary says what is in the output folder, checking it on the way.
func (p *preparation) summary(unchanged bool) (Summary, error) {
	s := Summary{
		Out: p.o.Out, Empty: p.census.count[markEmpty], Skipped: p.list.skipped, Source: p.source, Unchanged: unchanged,
	}
	for split, to := range []*SplitSummary{&s.Train, &s.Val} {
		set, err := Open(filepath.Join(p.o.Out, splitName(split)))
		if err != nil {
			return Summary{}, err
		}
		*to = SplitSummary{set.Dir(), set.Documents(), set.Tokens(), set.Bytes(), set.Digest()}
		s.Vocab, s.TokenizerSHA256 = set.Vocab(), set.TokenizerDigest()
	}
	if s.Val.Documents == 0 {
		s.Warnings = append(s.Warnings, "there is only one document, or only copies of one, and documents are never split: val is empty, so nothing can be evaluated on it; give more files, or one document a line as JSON")
	}
	if p.vocab > s.Vocab {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the train documents have only enough pairs seen twice for a vocabulary of %d, not %d", s.Vocab, p.vocab))
	}
	return s, nil
}

// write makes the content of the output folder in temp.
func (p *preparation) write(ctx context.Context, temp string) error {
	files, err := p.tokenizer.HFFiles(noMaxLength)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(temp, f.Name), f.Data, 0o644); err != nil {
			return record.FailIO(err, "write %s", f.Name)
		}
	}
	var w splitWriters
	for split := range w {
		dir := filepath.Join(temp, splitName(split))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return record.FailIO(err, "write output")
		}
		w[split] = p.shardWriter(dir, split)
		defer w[split].abandon()
	}
	if err := p.encode(ctx, &w); err != nil {
		return err
	}
	for split := range w {
		if err := p.writeManifest(w[split], split); err != nil {
			return err
		}
	}
	return nil
}

// noMaxLength is what a tokenizer_config.json has for a tokenizer that sets no limit to the length of a text.
const noMaxLength = 1 << 40

// splitWriters are the writers of train and val.
type splitWriters [2]*shardWriter

// shardWriter returns the writer of a split.
func (p *preparation) shardWriter(dir string, split int) *shardWriter {
	h := shardHeader{vocab: p.tokenizer.Vocab(), width: tokenBytes(p.tokenizer.Vocab()), split: split}
	id, _ := hex.DecodeString(p.id) // made above
	copy(h.prepare[:], id)
	return &shardWriter{dir: dir, header: h, limit: p.o.shardTokens}
}

// writeManifest ends a split.
func (p *preparation) writeManifest(w *shardWriter, split int) error {
	if err := w.end(); err != nil {
		return err
	}
	eos, _ := p.tokenizer.EOS()
	m := Manifest{
		Format: manifestFormat, Version: manifestVersion, Split: splitName(split), Vocab: p.tokenizer.Vocab(),
		DType: dtype(w.header.width), EOS: eos, Tokens: w.tokens, Documents: p.census.count[split], Empty: p.census.count[markEmpty],
		Bytes: p.census.trainBytes, Shards: w.shards, Tokenizer: "../" + TokenizerFile, TokenizerSHA256: p.tokenizer.Digest(),
		Source: p.source, Seed: p.o.Seed, ValFraction: p.o.ValFraction, Preparation: p.id,
	}
	if split == 1 {
		m.Bytes = p.census.bytes - p.census.trainBytes
	}
	if m.Shards == nil {
		m.Shards = []Shard{}
	}
	m.Digest = m.contentDigest()
	b, err := m.marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.dir, ManifestFile), b, 0o644); err != nil {
		return record.FailIO(err, "write %s", ManifestFile)
	}
	return nil
}
