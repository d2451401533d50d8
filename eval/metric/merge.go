package metric

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"plasticity/record"
)

// maxResults bounds a results.json that is read.
const maxResults = 64 << 20

// section is a part of results.json.
type section struct {
	name string
	each bool // it has an entry for each task
}

// sections lists the parts in the order of a document.
func sections() []section {
	return []section{
		{"results", true},
		{"group_subtasks", true},
		{"configs", true},
		{"versions", true},
		{"n-shot", false},
		{"higher_is_better", true},
		{"n-samples", true},
		{"config", false},
		{"task_hashes", true},
	}
}

// Merge writes the results of several tasks, which lie in dir/TASK each, as the results.json of dir: what Write makes of all of them, by name.
// The samples stay where they are. Another result in dir is not replaced, as with Write; results of different models or seeds are Mismatch.
func Merge(fsys record.FS, dir string, tasks []string) (unchanged bool, err error) {
	tasks = slices.Sorted(slices.Values(tasks))
	documents := make([]map[string]json.RawMessage, len(tasks))
	for i, task := range tasks {
		if documents[i], err = readResults(fsys, filepath.Join(dir, task)); err != nil {
			return false, err
		}
	}
	var merged object
	for _, s := range sections() {
		first := documents[0][s.name]
		if s.each {
			entries, err := entriesOf(dir, s.name, tasks, documents)
			if err != nil {
				return false, err
			}
			merged = append(merged, member{s.name, entries})
			continue
		}
		for i, d := range documents {
			if !bytes.Equal(d[s.name], first) {
				return false, record.Fail(record.Mismatch, "%s and %s differ in %q: they are of different models or seeds", filepath.Join(dir, tasks[0], ResultsFile),
					filepath.Join(dir, tasks[i], ResultsFile), s.name)
			}
		}
		merged = append(merged, member{s.name, first})
	}
	var b bytes.Buffer
	if err := encoder(&b, "  ").Encode(merged); err != nil {
		return false, record.Fail(record.Internal, "write %s: %w", ResultsFile, err)
	}
	return record.WriteResult(fsys, dir, record.ResultFile{Name: ResultsFile, Data: b.Bytes()})
}

// entriesOf takes the entry of each task from its own document.
func entriesOf(dir, name string, tasks []string, documents []map[string]json.RawMessage) (object, error) {
	var out object
	for i, task := range tasks {
		var entries map[string]json.RawMessage
		if err := json.Unmarshal(documents[i][name], &entries); err != nil || entries[task] == nil {
			return nil, bad("%s: %q has nothing of the task: evaluate it again, into another folder", filepath.Join(dir, task, ResultsFile), name)
		}
		out = append(out, member{task, entries[task]})
	}
	return out, nil
}

// readResults reads the results.json of a folder, part by part.
func readResults(fsys record.FS, dir string) (map[string]json.RawMessage, error) {
	path := filepath.Join(dir, ResultsFile)
	text, err := record.ReadFile(fsys, path, maxResults)
	if err != nil {
		return nil, err
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, bad("%s: %w: remove the file", path, err)
	}
	for name, part := range document {
		var compact bytes.Buffer
		if err := json.Compact(&compact, part); err != nil {
			return nil, bad("%s: %w: remove the file", path, err)
		}
		document[name] = compact.Bytes()
	}
	return document, nil
}

// CheckMerge refuses with NotPermitted a folder whose results.json is of other tasks than these, before anything is evaluated.
func CheckMerge(fsys record.FS, dir string, tasks []string) error {
	document, err := readResults(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(document["results"], &entries); err != nil {
		return bad("%s: %w: remove the file", filepath.Join(dir, ResultsFile), err)
	}
	if slices.Equal(slices.Sorted(maps.Keys(entries)), slices.Sorted(slices.Values(tasks))) {
		return nil
	}
	return record.Fail(record.NotPermitted, "%s is of other tasks (%s): choose another folder with --out, or remove this file to have all results in its place",
		filepath.Join(dir, ResultsFile), fmt.Sprint(slices.Sorted(maps.Keys(entries))))
}
