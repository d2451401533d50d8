package data

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"
)

// debBounds bound the files of a Debian package, in bytes unpacked.
type debBounds struct{ all, file int64 }

func defaultDebBounds() debBounds { return debBounds{all: 128 << 20, file: maxArchive} }

// debPackage is a data set that a Debian package carries.
type debPackage struct {
	name         string // of the data set
	pkg, version string
	file         string // name of its archive
	sha256       string // of that archive
	license      string
}

func (p debPackage) what() string { return p.pkg + "=" + p.version }

// fetchDeb takes a package from the archive that the user has put into the cache, or fetches it with apt-get, which finds it by the
// user's own settings. An error that is no Failure means that neither could get it.
func (f *fetcher) fetchDeb(ctx context.Context, p debPackage) ([]byte, error) {
	fetch := func() ([]byte, error) { return readSmall(f.dir(p.file), maxArchive) }
	if _, err := os.Stat(f.dir(p.file)); errors.Is(err, fs.ErrNotExist) {
		f.say("%s: fetching the Debian package %s", p.name, p.what())
		fetch = func() ([]byte, error) {
			return client{"apt-get", []string{"download", "-qq", p.what()}, p.what(), ".deb"}.fetch(ctx)
		}
	}
	archive, err := fetch()
	if err != nil {
		return nil, err
	}
	return archive, checkArchive(p.name, p.what(), archive, p.sha256)
}

// unpack returns files of a Debian package by their paths in it, all of which must be there. The window that xz asks for is not bounded here: by
// its digest the archive is known to be the right one.
func (most debBounds) unpack(archive []byte, paths ...string) (map[string][]byte, error) {
	packed, err := arMember(archive, "data.tar.xz")
	if err != nil {
		return nil, err
	}
	z, err := xz.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("data.tar.xz: %w", err)
	}
	r := tar.NewReader(io.LimitReader(z, most.all))
	out := make(map[string][]byte)
	for len(out) < len(paths) {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("data.tar.xz: no %q in it", slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return out[p] != nil }))
		}
		if err != nil {
			return nil, fmt.Errorf("data.tar.xz: %w", err)
		}
		name := path.Clean(h.Name)
		if !slices.Contains(paths, name) {
			continue
		}
		if h.Typeflag != tar.TypeReg || out[name] != nil {
			return nil, fmt.Errorf("data.tar.xz: entry %.80q is no regular file, or comes twice", h.Name)
		}
		b, err := readAtMost(r, most.file)
		if err != nil {
			return nil, fmt.Errorf("data.tar.xz: entry %.80q: %w", h.Name, err)
		}
		out[name] = b
	}
	return out, nil
}

// The layout of an ar archive.
const (
	arMagic  = "!<arch>\n"
	arHeader = 60 // bytes: a name of 16, then from 48 on a size of 10 and two bytes of an end
	arEnd    = "`\n"
)

// arMember returns a member of an ar archive, which is what a Debian package is.
func arMember(archive []byte, name string) ([]byte, error) {
	rest, ok := bytes.CutPrefix(archive, []byte(arMagic))
	if !ok {
		return nil, errors.New("not a Debian package: it does not begin as an ar archive")
	}
	var names []string
	for len(rest) > 0 {
		if len(rest) < arHeader || string(rest[58:arHeader]) != arEnd {
			return nil, fmt.Errorf("cut off or damaged behind the members %.200q", names)
		}
		member := strings.TrimSuffix(strings.TrimRight(string(rest[:16]), " "), "/")
		size, err := strconv.ParseUint(strings.TrimRight(string(rest[48:58]), " "), 10, 32)
		rest = rest[arHeader:]
		if err != nil || size > uint64(len(rest)) {
			return nil, fmt.Errorf("member %.16q: cut off or damaged", member)
		}
		if member == name {
			return rest[:size], nil
		}
		names = append(names, member)
		rest = rest[min(uint64(len(rest)), size+size%2):]
	}
	return nil, fmt.Errorf("no %s in it, only %.200q", name, names)
}
