package data

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

const reviewsFolder = "usr/lib/R/site-library/modeldata/data/"

// reviewsPackage is the package that carries the reviews.
func reviewsPackage() debPackage {
	return debPackage{
		name: "reviews", pkg: "r-cran-modeldata", version: "1.1.0-1", file: "r-cran-modeldata_1.1.0-1_all.deb",
		sha256:  "66c2e08bb4bf695d972b1e72ea44d5af9ada3c42841793d3871017f7b896bf95",
		license: "the package modeldata: MIT; the reviews, by customers of Amazon, were collected for research and have no licence of their own: for research only",
	}
}

// review is a line of the files train.jsonl and test.jsonl of the data set.
type review struct {
	Text    string `json:"text"`
	Label   int    `json:"label"` // 1: great, the best of five scores; 0: another
	Product string `json:"product"`
}

// fetchReviews fetches reviews of food with their sentiment, in the split of those who published them.
func fetchReviews(ctx context.Context, f *fetcher) (Corpus, error) {
	return f.reviews(ctx, reviewsPackage())
}

// reviews is fetchReviews from a package.
func (f *fetcher) reviews(ctx context.Context, p debPackage) (Corpus, error) {
	if c, ok := f.cached(p.name); ok {
		return c, nil
	}
	archive, err := f.fetchDeb(ctx, p)
	if err != nil {
		return Corpus{}, orNothing(ctx, p.name, err, fmt.Sprintf("allow apt-get of Debian 12 its archive, or put %s, from anywhere, into %s", p.file, f.o.Cache))
	}
	texts, err := reviewsOf(archive)
	if err != nil {
		return Corpus{}, bad("data set %s: the archive of %s: %w", p.name, p.what(), err)
	}
	return f.store(f.dir(p.name), Provenance{
		Name: p.name, Source: fmt.Sprintf("%s (Debian %s, small_fine_foods)", p.name, p.what()), Package: "deb:" + p.pkg, Version: p.version,
		ArchiveSHA256: p.sha256, License: p.license,
	}, texts)
}

// reviewsOf returns the two files of the data set that a package has.
func reviewsOf(archive []byte) ([]File, error) {
	const index, store = reviewsFolder + "Rdata.rdx", reviewsFolder + "Rdata.rdb"
	files, err := defaultDebBounds().unpack(archive, index, store)
	if err != nil {
		return nil, err
	}
	s, err := openRStore(files[index], files[store])
	if err != nil {
		return nil, err
	}
	var out []File
	for _, split := range []struct{ file, frame string }{{"test.jsonl", "testing_data"}, {"train.jsonl", "training_data"}} {
		frame, err := s.value(split.frame)
		if err != nil {
			return nil, err
		}
		lines, err := reviewLines(frame)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", split.frame, err)
		}
		out = append(out, File{split.file, lines})
	}
	return out, nil
}

// reviewLines returns the rows of a data frame of reviews as JSON lines.
func reviewLines(frame rValue) ([]byte, error) {
	texts, err := frame.column("review")
	if err != nil {
		return nil, err
	}
	products, err := frame.column("product")
	if err != nil {
		return nil, err
	}
	levels, of, err := frame.factor("score")
	if err != nil {
		return nil, err
	}
	label := map[string]int{"other": 0, "great": 1}
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	lines.SetEscapeHTML(false)
	for i, text := range texts {
		n, ok := label[levels[of[i]]]
		if text = strings.TrimSpace(text); text == "" || !ok {
			return nil, fmt.Errorf("row %d: a text of %d bytes with the label %.40q, want great or other", i+1, len(text), levels[of[i]])
		}
		if err := lines.Encode(review{text, n, products[i]}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
