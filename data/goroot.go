package data

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// Sizes of the data sets made of the Go distribution, in bytes.
const (
	goSourceBytes = 10 << 20
	goDocBytes    = 12 << 20
	minGoDoc      = 1000 // of a package's documentation
)

const goLicense = "BSD-3-Clause (The Go Authors)"

// goDistribution is the Go distribution of this machine.
type goDistribution struct{ root, version string }

// findGo asks the go command where its distribution is.
func findGo(ctx context.Context, f *fetcher) (goDistribution, error) {
	command, err := exec.LookPath("go")
	if err != nil {
		return goDistribution{}, bad("no Go distribution: the go command is not installed")
	}
	cmd := exec.CommandContext(ctx, command, "env", "GOROOT", "GOVERSION")
	cmd.Dir = os.TempDir() // no module there that could ask for another version
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 2 {
		return goDistribution{}, bad("no Go distribution: `go env GOROOT GOVERSION` did not answer: %v", err)
	}
	f.say("reading the sources of %s", lines[1])
	return goDistribution{lines[0], lines[1]}, nil
}

// fetchGoSource makes the data set goroot: Go source files of the standard library, drawn by the hashes of their paths
// so that all packages have their share.
func fetchGoSource(ctx context.Context, f *fetcher) (Corpus, error) {
	if c, ok := f.cached("goroot"); ok {
		return c, nil
	}
	g, err := findGo(ctx, f)
	if err != nil {
		return Corpus{}, err
	}
	paths, err := g.sources(ctx)
	if err != nil {
		return Corpus{}, err
	}
	slices.SortFunc(paths, func(a, b string) int {
		x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
		return cmp.Or(slices.Compare(x[:], y[:]), strings.Compare(a, b))
	})
	var texts []File
	size := 0
	for _, p := range paths {
		b, err := readSmall(filepath.Join(g.root, "src", filepath.FromSlash(p)), maxCorpusText)
		if err != nil {
			return Corpus{}, err
		}
		if size += len(b); size > goSourceBytes {
			break
		}
		texts = append(texts, File{textName(p), b})
	}
	if err := sortTexts(texts); err != nil {
		return Corpus{}, bad("Go sources: %w", err)
	}
	return f.store(f.dir("goroot"), Provenance{
		Name: "goroot", Source: fmt.Sprintf("Go source text of the Go distribution %s", g.version), Version: g.version, License: goLicense,
	}, texts)
}

// textName returns a flat file name for a path.
func textName(p string) string { return strings.ReplaceAll(p, "/", "__") + ".txt" }

// sources returns the paths, below src, of the Go files of the standard library, without tests and other people's code.
func (g goDistribution) sources(ctx context.Context) ([]string, error) {
	src := filepath.Join(g.root, "src")
	var paths []string
	err := filepath.WalkDir(src, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor") {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(src, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		generated := strings.HasPrefix(d.Name(), "z") || strings.HasPrefix(d.Name(), "tables") || strings.Contains(d.Name(), "rewrite")
		if d.Type().IsRegular() && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !generated && isShardName(textName(name)) {
			paths = append(paths, name)
		}
		return nil
	})
	if err != nil {
		return nil, record.FailIO(err, "read the sources of the Go distribution")
	}
	return paths, nil
}

// fetchGoDoc makes the data set that stands in when no other can be had: the documentation in the Go distribution, one
// document a package: real English prose about programs.
func fetchGoDoc(ctx context.Context, f *fetcher) (Corpus, error) {
	const name = "godoc"
	if c, ok := f.cached(name); ok {
		return c, nil
	}
	g, err := findGo(ctx, f)
	if err != nil {
		return Corpus{}, err
	}
	paths, err := g.sources(ctx)
	if err != nil {
		return Corpus{}, err
	}
	slices.SortStableFunc(paths, func(a, b string) int { return strings.Compare(path.Dir(a), path.Dir(b)) })
	var texts []File
	size := 0
	for i := 0; i < len(paths) && size < goDocBytes; {
		dir := path.Dir(paths[i])
		var b strings.Builder
		for ; i < len(paths) && path.Dir(paths[i]) == dir; i++ {
			source, err := readSmall(filepath.Join(g.root, "src", filepath.FromSlash(paths[i])), maxCorpusText)
			if err != nil {
				return Corpus{}, err
			}
			appendProse(&b, source)
		}
		if b.Len() >= minGoDoc {
			size += b.Len()
			texts = append(texts, File{textName(dir), []byte(b.String())})
		}
	}
	if err := sortTexts(texts); err != nil {
		return Corpus{}, bad("Go documentation: %w", err)
	}
	return f.store(f.dir(name), Provenance{
		Name: name, Source: fmt.Sprintf("documentation comments of the Go distribution %s", g.version), Version: g.version, License: goLicense,
	}, texts)
}

// appendProse appends the comments of a Go file that are sentences, without the licence and directives.
func appendProse(b *strings.Builder, source []byte) {
	var s scanner.Scanner
	files := token.NewFileSet()
	s.Init(files.AddFile("", files.Base(), len(source)), source, nil, scanner.ScanComments)
	last, licence := -1, false // the line where the comment before ended, and whether it belongs to the licence
	for {
		pos, kind, text := s.Scan()
		if kind == token.EOF {
			return
		}
		if kind != token.COMMENT {
			continue
		}
		line := files.Position(pos).Line
		follows := line == last+1
		last = line + strings.Count(text, "\n")
		prose := commentText(text)
		licence = licence && follows || strings.HasPrefix(prose, "Copyright ")
		if licence || prose == "" {
			continue
		}
		if !follows {
			b.WriteByte('\n')
		}
		b.WriteString(prose)
		b.WriteByte('\n')
	}
}

// commentText returns a comment without its marks; empty for directives.
func commentText(text string) string {
	if rest, ok := strings.CutPrefix(text, "//"); ok {
		prose, spaced := strings.CutPrefix(rest, " ")
		if !spaced && rest != "" && rest[0] != '\t' {
			return "" // a directive such as //go:build
		}
		return strings.TrimRight(prose, " \t\r")
	}
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(text, "/*"), "*/"))
}
