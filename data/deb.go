package data

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	pool         string // where its file is, below a mirror
	sha256       string // of that file
	license      string
	mirrors      []string // asked in this order where apt-get cannot help
}

func (p debPackage) what() string { return p.pkg + "=" + p.version }

// fetchDeb fetches a package with apt-get, which finds the archive by the user's own settings, or, where there is none or it does
// not have that version, from a mirror. An error that is no Failure means that neither could get it.
func (f *fetcher) fetchDeb(ctx context.Context, p debPackage) ([]byte, error) {
	f.say("%s: fetching the Debian package %s", p.name, p.what())
	archive, err := client{"apt-get", []string{"download", "-qq", p.what()}, p.what(), ".deb"}.fetch(ctx)
	failed := []error{err}
	for i := 0; err != nil && i < len(p.mirrors) && ctx.Err() == nil; i++ {
		archive, err = get(ctx, p.mirrors[i]+p.pool)
		failed = append(failed, err)
	}
	if err != nil {
		return nil, join(failed)
	}
	return archive, checkArchive(p.name, p.what(), archive, p.sha256)
}

// join puts errors into one line; one that is a Failure does not make the whole one.
func join(all []error) error {
	var b strings.Builder
	for i, err := range all {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	return errors.New(b.String())
}

// get fetches a file. Proxies are those that the environment names.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, response.Status)
	}
	b, err := readAtMost(response.Body, maxArchive)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	return b, nil
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
