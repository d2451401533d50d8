package data

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"plasticity/record"
)

// inputKind is how documents lie in a file.
type inputKind int

const (
	textFile    inputKind = iota // the file is one document
	jsonlFile                    // one document a line
	parquetFile                  // one document a row
)

// input is a file with documents.
type input struct {
	path string
	kind inputKind
	size int64 // bytes on disk
}

// inputs is what a list of paths leads to.
type inputs struct {
	files   []input
	skipped int64  // things in folders that are not regular files, or hidden
	size    int64  // bytes of all files on disk
	source  string // what the SOURCE.json beside the files says, if they agree
}

// kindOf returns how documents lie in the file of a name.
func kindOf(path string) inputKind {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return jsonlFile
	case ".parquet":
		return parquetFile
	default:
		return textFile
	}
}

// listInputs returns the files that paths name: a file itself, and of a folder, in sorted order, every regular file below
// it that is not hidden. Links that are given are followed; links and special files in folders are left out and counted. A
// SOURCE.json, as Fetch leaves it beside the texts, is not a text: it says where the others come from.
func listInputs(paths []string) (inputs, error) {
	if len(paths) == 0 {
		return inputs{}, usage("no input: name at least one file or folder with text, JSON lines or Parquet")
	}
	var list inputs
	sources := make(map[string]bool)
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return inputs{}, usage("input %s: no such file or folder", path)
		}
		if err != nil {
			return inputs{}, record.FailIO(err, "read input")
		}
		switch {
		case info.IsDir():
			err = list.walk(path, sources)
		case info.Mode().IsRegular():
			list.add(path, info.Size())
		default:
			err = bad("input %s: not a regular file or folder (%s)", path, info.Mode().Type())
		}
		if err != nil {
			return inputs{}, err
		}
	}
	if len(list.files) == 0 {
		return inputs{}, bad("input %s: no file in it", strings.Join(paths, ", "))
	}
	if len(sources) == 1 {
		for source := range sources {
			list.source = source
		}
	}
	return list, nil
}

func (l *inputs) add(path string, size int64) {
	l.files = append(l.files, input{path, kindOf(path), size})
	l.size += size
}

// walk adds the files below a folder. filepath.WalkDir goes in lexical order and follows no links.
func (l *inputs) walk(root string, sources map[string]bool) error {
	// With a separator at its end a root that is a link, which was given and so is meant, is followed.
	return filepath.WalkDir(root+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return record.FailIO(err, "read input")
		}
		hidden := strings.HasPrefix(d.Name(), ".") && filepath.Clean(path) != filepath.Clean(root)
		switch {
		case d.IsDir() && hidden:
			l.skipped++
			return filepath.SkipDir
		case d.IsDir():
			return nil
		case hidden || !d.Type().IsRegular():
			l.skipped++
			return nil
		case d.Name() == SourceFile:
			p, err := readProvenance(path)
			if err != nil {
				return err
			}
			sources[p.Source] = true
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return record.FailIO(err, "read input")
		}
		l.add(path, info.Size())
		return nil
	})
}

// piece is a part of a document. Documents are handed on in pieces, so that the largest needs no more memory than others.
type piece struct {
	text        string
	first, last bool  // whether the document begins and ends with this piece
	read        int64 // bytes of the file read so far, for progress
}

// Sizes of pieces, in bytes.
const (
	pieceSize = 256 << 10
	// maxPiece is where a piece is cut even within a pre-token, which then becomes other tokens than uncut: a bound on
	// memory for texts that no language has.
	maxPiece = 4 << 20
	// maxLine is the longest line of JSON and the largest row of Parquet.
	maxLine = 256 << 20
)

// readDocuments gives all documents of a file to emit, in order, piece by piece.
func readDocuments(ctx context.Context, in input, emit func(piece) error) error {
	switch in.kind {
	case jsonlFile:
		return readJSONL(ctx, in, emit)
	case parquetFile:
		return readParquet(ctx, in, emit)
	default:
		return readText(ctx, in, emit)
	}
}

// openInput opens a regular file for reading; one that has become something else since it was listed is refused.
func openInput(in input) (*os.File, error) {
	info, err := os.Stat(in.path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, bad("input %s: not a regular file (%s)", in.path, info.Mode().Type())
	}
	if err != nil {
		return nil, record.FailIO(err, "read input")
	}
	f, err := os.Open(in.path)
	if err != nil {
		return nil, record.FailIO(err, "read input")
	}
	return f, nil
}

// emitText gives one document, which is in memory already, to emit, in pieces cut where tokens end.
func emitText(text string, read int64, emit func(piece) error) error {
	first := true
	for len(text) > pieceSize {
		cut := cutPoint(text[:pieceSize])
		for size := 2 * pieceSize; cut == 0; size *= 2 {
			switch {
			case size >= maxPiece && len(text) > maxPiece:
				cut = forcedCut(text[:maxPiece])
			case size >= len(text):
				cut = len(text)
			default:
				cut = cutPoint(text[:size])
			}
		}
		if cut == len(text) {
			break
		}
		if err := emit(piece{text: text[:cut], first: first, read: read}); err != nil {
			return err
		}
		first, text = false, text[cut:]
	}
	return emit(piece{text: text, first: first, last: true, read: read})
}

// cutPoint returns where s, which goes on, can be cut without a change to its tokens; 0 when nowhere.
func cutPoint(s string) int { return lastBoundary(s) }

// forcedCut returns where s is cut when it can be cut nowhere without a change to its tokens.
func forcedCut(s string) int {
	if cut := cutPoint(s); cut > 0 {
		return cut
	}
	return lastRune(s)
}

// isBlank reports whether s is nothing but ASCII white space.
func isBlank(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || asciiClass[s[i]] != classSpace {
			return false
		}
	}
	return true
}

// packed returns the name of the format when a file that should be text begins like one that is packed or binary.
func packed(head []byte) string {
	for _, format := range []struct{ magic, name string }{
		{"\x1f\x8b", "gzip"},
		{"\x28\xb5\x2f\xfd", "zstd"},
		{"BZh", "bzip2"},
		{"\xfd7zXZ\x00", "xz"},
		{"PK\x03\x04", "zip"},
		{"PAR1", "Parquet"},
		{"\x80\x02", "pickle"},
		{"%PDF-", "PDF"},
	} {
		if bytes.HasPrefix(head, []byte(format.magic)) {
			return format.name
		}
	}
	return ""
}
