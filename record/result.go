package record

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
)

// maxResultBytes bounds what is read of a result that is there already.
const maxResultBytes = 64 << 20

// ResultFile is a file of a result: its name and bytes.
type ResultFile struct {
	Name string
	Data []byte
}

// WriteResult writes the files of a result, which follow from its inputs alone, into dir, which it makes. Each file appears
// whole or not at all, the last one last, so where that is everything is. Unchanged is true when all are there already. Another
// result, that is a last file with other bytes, is not replaced: the error is NotPermitted.
func WriteResult(fsys FS, dir string, files ...ResultFile) (unchanged bool, err error) {
	if err := MkdirAll(fsys, dir); err != nil {
		return false, err
	}
	last := files[len(files)-1]
	there, err := compareResult(fsys, dir, last)
	if err != nil {
		return false, err
	}
	if there == resultDiffers {
		return false, Fail(NotPermitted, "%s holds another result, which is not replaced: choose another folder with --out, or remove this file "+
			"to have the new result in its place", filepath.Join(dir, last.Name))
	}
	unchanged = true
	for _, f := range files {
		there, err := compareResult(fsys, dir, f)
		if err != nil {
			return false, err
		}
		if there == resultEqual {
			continue
		}
		unchanged = false
		if err := WriteFileAtomic(fsys, filepath.Join(dir, f.Name), f.Data); err != nil {
			return false, err
		}
	}
	return unchanged, nil
}

// resultPresence says what is in the place of a file.
type resultPresence int

const (
	resultAbsent resultPresence = iota
	resultEqual
	resultDiffers
)

// compareResult compares a file with what is in its place.
func compareResult(fsys FS, dir string, f ResultFile) (resultPresence, error) {
	path := filepath.Join(dir, f.Name)
	text, err := ReadFile(fsys, path, max(maxResultBytes, int64(len(f.Data))))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return resultAbsent, nil
	case err != nil && CodeOf(err) == BadData: // too long, or no regular file
		return resultDiffers, nil
	case err != nil:
		return resultDiffers, FailIO(err, "read %s", path)
	case bytes.Equal(text, f.Data):
		return resultEqual, nil
	default:
		return resultDiffers, nil
	}
}

// WriteTabled writes the result that v is into dir, as WriteResult does: a table as name.csv, its columns first, then v as name.json. v has the
// fields schema and settings that FindResult looks for.
func WriteTabled(fsys FS, dir, name string, table [][]string, v any) error {
	var rows bytes.Buffer
	if err := csv.NewWriter(&rows).WriteAll(table); err != nil {
		return Fail(Internal, "write %s.csv: %w", name, err)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return Fail(Internal, "write %s.json: %w", name, err)
	}
	_, err = WriteResult(fsys, dir, ResultFile{name + ".csv", rows.Bytes()}, ResultFile{name + ".json", append(text, '\n')})
	return err
}

// FindResult reads the file of a result, if it is there, into v. What has another schema is BadData, a result of other settings Mismatch.
func FindResult[S any](fsys FS, path string, schema int, settings S, v any) (found bool, err error) {
	text, err := ReadFile(fsys, path, maxResultBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var head struct {
		Schema   int `json:"schema"`
		Settings S   `json:"settings"`
	}
	if json.Unmarshal(text, &head) != nil || head.Schema != schema || json.Unmarshal(text, v) != nil {
		return false, Fail(BadData, "%s is no result of this version: remove it, or choose another folder with --out", path)
	}
	if !reflect.DeepEqual(head.Settings, settings) {
		return false, Fail(Mismatch, "%s is about another model or other text than this, or has other settings: choose another folder with --out, or "+
			"remove it to have the new result in its place", path)
	}
	return true, nil
}
