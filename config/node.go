package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

const (
	maxBytes = 1 << 20 // of a file
	maxDepth = 12      // of nesting
	maxNodes = 10_000
)

// readFile reads a configuration file of at most maxBytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close() //nolint:errcheck // nothing is written
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(data) > maxBytes {
		return nil, record.Fail(record.Usage, "%s: larger than %d bytes: not a configuration", path, maxBytes)
	}
	return data, nil
}

func unreadable(path string, err error) error {
	var reason *os.PathError
	if errors.As(err, &reason) {
		err = reason.Err
	}
	code := record.Usage
	if record.CodeOf(err) == record.NotPermitted || record.CodeOf(err) == record.IO {
		code = record.CodeOf(err)
	}
	return record.Fail(code, "cannot read the configuration %s: %w", filepath.Clean(path), err)
}

var yamlLine = regexp.MustCompile(`line ([0-9]+): `)

// document parses one YAML document whose top is a mapping; nil when it is empty or wrong.
func (r *reader) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.syntax(err)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		r.report(&second, "", "a second document begins here", "one YAML document in a file")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
		return nil
	}
	if len(doc.Content) != 1 {
		return nil
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" && top.Value == "" && top.Anchor == "" {
		return nil
	}
	if !r.tame(top) {
		return nil
	}
	if top.Kind != yaml.MappingNode {
		r.report(top, "", "stands where keys should be", "key: value lines")
		return nil
	}
	return top
}

// syntax reports an error of the YAML parser at its line.
func (r *reader) syntax(err error) {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	at := origin{source: r.source}
	if m := yamlLine.FindStringSubmatchIndex(what); m != nil {
		if line, err := strconv.Atoi(what[m[2]:m[3]]); err == nil && r.inFile {
			at.line = line
		}
		what = what[:m[0]] + what[m[1]:]
	}
	r.problems.add(at.problem("", "", "not YAML: "+what, "UTF-8, `key: value` lines, spaces for indentation"))
}

// tame refuses what a configuration does not need and an attacker likes: anchors, aliases, merges, tags, depth, size.
func (r *reader) tame(top *yaml.Node) bool {
	count, before := 0, len(*r.problems)
	var walk func(n *yaml.Node, depth int)
	walk = func(n *yaml.Node, depth int) {
		count++
		if count > maxNodes || len(*r.problems) > before+20 {
			return
		}
		switch {
		case depth > maxDepth:
			r.problems.add(r.at(n).problem("", "", fmt.Sprintf("nested deeper than %d levels", maxDepth), ""))
			return
		case n.Kind == yaml.AliasNode:
			r.problems.add(r.at(n).problem("", quoted("*"+n.Value), "is an alias", "the value itself"))
			return
		case n.Anchor != "":
			r.problems.add(r.at(n).problem("", quoted("&"+n.Anchor), "is an anchor", "the value itself"))
		case n.Tag == "!!merge":
			r.problems.add(r.at(n).problem("", quoted(n.Value), "is a merge key", "the keys themselves"))
		case n.Style&yaml.TaggedStyle != 0:
			r.problems.add(r.at(n).problem("", quoted(n.Tag), "is a tag", "the value itself"))
		}
		for _, child := range n.Content {
			walk(child, depth+1)
		}
	}
	walk(top, 0)
	if count > maxNodes {
		r.problems.add(r.at(top).problem("", "", fmt.Sprintf("more than %d values", maxNodes), "a configuration"))
	}
	return len(*r.problems) == before
}

// twice begins the message about a key that a mapping has twice.
const twice = "is there twice"

// unique reports keys that are not plain words and keys that come twice.
func (r *reader) unique(n *yaml.Node, path string) bool {
	good, first := true, make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.report(key, path, "stands where a key should be", "a key")
			good = false
			continue
		}
		if line, seen := first[key.Value]; seen {
			what := twice
			if r.inFile {
				what = fmt.Sprintf(twice+", first in line %d", line)
			}
			r.problems.add(r.at(key).problem(join(path, plain(key.Value)), "", what, "each key once"))
			good = false
			continue
		}
		first[key.Value] = key.Line
	}
	return good
}

// unknown reports a key that nobody knows, with the nearest of the names that could stand there or anywhere.
func (r *reader) unknown(key *yaml.Node, path string, names []string) {
	problem := r.at(key).problem(join(path, plain(key.Value)), "", "unknown key", "")
	if len(*r.problems) > 100 { // not a configuration at all: do not search on and on
		r.problems.add(problem)
		return
	}
	if near := nearest(key.Value, names); near != "" {
		problem.Near = join(path, near)
	} else if near := nearestPath(join(path, key.Value), r.table.paths()); near != "" {
		problem.Near = near
	} else {
		problem.Allowed = strings.Join(names, ", ")
	}
	r.problems.add(problem)
}

// nearestPath finds the key that path was meant to be: the same last word in another section, or a small slip.
func nearestPath(path string, known []string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	if len(last) > 1 {
		for _, k := range known {
			if strings.HasSuffix(k, "."+last) || k == last {
				return k
			}
		}
	}
	return nearest(path, known)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
