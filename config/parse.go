package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// reader turns YAML nodes and text into typed values and collects what is wrong.
type reader struct {
	table    table
	problems *problemList
	source   string // of the nodes: the name of the file, the flag or the variable
	inFile   bool   // nodes have lines worth telling
}

func (r *reader) at(n *yaml.Node) origin {
	if !r.inFile || n == nil {
		return origin{source: r.source}
	}
	return origin{r.source, n.Line}
}

func (r *reader) report(n *yaml.Node, path, what, allowed string) {
	r.problems.add(r.at(n).problem(path, show(n), what, allowed))
}

// show gives a node as it may be printed.
func show(n *yaml.Node) string {
	switch {
	case n == nil:
		return ""
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return quoted(n.Value)
	}
	return plain(n.Value)
}

// value reads the value of a field; ok is false after a problem.
func (r *reader) value(f field, n *yaml.Node) (value any, ok bool) {
	switch f.kind {
	case text:
		value, ok = r.text(f, f.path, n)
	case integer:
		value, ok = r.integer(f, n)
	case number:
		value, ok = r.number(f, f.path, n)
	case boolean:
		value, ok = r.boolean(f, n)
	case texts:
		value, ok = r.texts(f, n)
	case pair:
		value, ok = r.pair(f, n)
	case groups:
		value, ok = r.groups(f, n)
	}
	return value, ok
}

// fromText reads a value that came without YAML around it: text is taken as it is, everything else as YAML would.
func (r *reader) fromText(f field, value string) (any, bool) {
	if !utf8.ValidString(value) {
		r.problems.add(origin{source: r.source}.problem(f.path, quoted(value), "is not UTF-8", f.wanted()))
		return nil, false
	}
	if f.kind == text {
		return r.value(f, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value})
	}
	trimmed := strings.TrimSpace(value)
	if f.kind == integer || f.kind == number || f.kind == boolean {
		return r.value(f, &yaml.Node{Kind: yaml.ScalarNode, Value: trimmed})
	}
	var doc yaml.Node
	err := yaml.Unmarshal([]byte(trimmed), &doc)
	if err != nil || len(doc.Content) != 1 || len(trimmed) > maxBytes {
		r.problems.add(origin{source: r.source}.problem(f.path, quoted(value), "cannot be read", f.wanted()))
		return nil, false
	}
	if !r.tame(doc.Content[0]) {
		return nil, false
	}
	return r.value(f, doc.Content[0])
}

func isPlain(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style == 0 }

func (r *reader) text(f field, path string, n *yaml.Node) (string, bool) {
	allowed := f.wanted()
	if f.kind != text {
		allowed = f.allowed
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		r.report(n, path, "is not text", allowed)
		return "", false
	case n.Tag == "!!null":
		r.report(n, path, `is nothing: remove the key, or write "" for an empty value`, allowed)
		return "", false
	case n.Tag != "!!str":
		r.report(n, path, "is not text: put it in quotes", allowed)
		return "", false
	}
	if f.oneOf != nil && !slices.Contains(f.oneOf, n.Value) {
		problem := r.at(n).problem(path, quoted(n.Value), "is not known", allowed)
		problem.Near = nearest(n.Value, f.oneOf)
		r.problems.add(problem)
		return "", false
	}
	if f.valid != nil && !f.valid(n.Value) {
		r.problems.add(r.at(n).problem(path, quoted(n.Value), "cannot be used", allowed))
		return "", false
	}
	return n.Value, true
}

// number reads a decimal number within the limits of f.
func (r *reader) number(f field, path string, n *yaml.Node) (float64, bool) {
	allowed := f.wanted()
	if f.kind != number {
		allowed = "a number " + f.limits()
	}
	v, what := parseNumber(n)
	if what == "" && !f.inRange(v) {
		what = "is out of range"
	}
	if what != "" {
		r.report(n, path, what, allowed)
		return 0, false
	}
	return v, true
}

var (
	decimal     = regexp.MustCompile(`\A[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\z`)
	digits      = regexp.MustCompile(`[1-9]`)
	whole       = regexp.MustCompile(`\A[-+]?(0|[1-9][0-9]*)\z`)
	scientific  = regexp.MustCompile(`\A[-+]?[0-9]+(\.[0-9]+)?[eE]\+?[0-9]+\z`)
	otherNumber = regexp.MustCompile(`(?i)\A[-+]?(0[xob][0-9a-f_]+|0[0-9_]+|[0-9_]+)\z`)
	notFinite   = regexp.MustCompile(`(?i)\A[-+]?\.?(inf|infinity|nan)\z`)
)

// parseNumber reads a finite decimal number, or says what is wrong. The sign of zero is dropped: -0 is 0.
func parseNumber(n *yaml.Node) (v float64, what string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return 0, "is not a number"
	case !isPlain(n):
		if decimal.MatchString(n.Value) {
			return 0, "is text: remove the quotes"
		}
		return 0, "is not a number"
	case n.Value == "":
		return 0, "is nothing: remove the key or give it a value"
	case notFinite.MatchString(n.Value):
		return 0, "is not finite"
	case !decimal.MatchString(n.Value) && otherNumber.MatchString(n.Value):
		return 0, "is not a decimal number: no leading zeros, 0x, 0o or underscores"
	case !decimal.MatchString(n.Value):
		return 0, "is not a number"
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, "is too large for a number"
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(n.Value), "e")
	if v == 0 && digits.MatchString(mantissa) {
		return 0, "is too close to zero for a number"
	}
	return v + 0, "" // -0 + 0 is 0
}

func (r *reader) integer(f field, n *yaml.Node) (int64, bool) {
	v, what := parseInteger(n)
	if what == "" && !f.inRange(float64(v)) {
		what = "is out of range"
	}
	if what != "" {
		r.report(n, f.path, what, f.wanted())
		return 0, false
	}
	return v, true
}

// parseInteger reads a whole number, with an exponent or without, or says what is wrong.
func parseInteger(n *yaml.Node) (v int64, what string) {
	number, what := parseNumber(n)
	if what != "" {
		return 0, what
	}
	if whole.MatchString(n.Value) {
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			return 0, "is out of range"
		}
		return v, ""
	}
	if !scientific.MatchString(n.Value) || number != math.Trunc(number) {
		return 0, "is not a whole number"
	}
	if math.Abs(number) > 1<<53 {
		return 0, "is out of range"
	}
	return int64(number), ""
}

func (r *reader) boolean(f field, n *yaml.Node) (bool, bool) {
	if isPlain(n) && (n.Value == "true" || n.Value == "false") {
		return n.Value == "true", true
	}
	r.report(n, f.path, "is neither true nor false", f.wanted())
	return false, false
}

// list checks that n is a list that is not too long.
func (r *reader) list(f field, n *yaml.Node) bool {
	if n.Kind != yaml.SequenceNode {
		r.report(n, f.path, "is not a list", f.wanted())
		return false
	}
	if len(n.Content) > maxList {
		r.report(n, f.path, fmt.Sprintf("has %d elements", len(n.Content)), fmt.Sprintf("at most %d", maxList))
		return false
	}
	return true
}

func (r *reader) texts(f field, n *yaml.Node) ([]string, bool) {
	if !r.list(f, n) {
		return nil, false
	}
	good, out := true, make([]string, 0, len(n.Content))
	for i, element := range n.Content {
		path := fmt.Sprintf("%s[%d]", f.path, i)
		v, ok := r.text(f, path, element)
		if !ok {
			good = false
			continue
		}
		if slices.Contains(out, v) {
			r.report(element, path, "is in the list twice", "")
			good = false
		}
		out = append(out, v)
	}
	return out, good
}

func (r *reader) pair(f field, n *yaml.Node) ([2]float64, bool) {
	if !r.list(f, n) {
		return [2]float64{}, false
	}
	if len(n.Content) != 2 {
		r.report(n, f.path, fmt.Sprintf("has %d elements", len(n.Content)), f.wanted())
		return [2]float64{}, false
	}
	good, out := true, [2]float64{}
	for i, element := range n.Content {
		v, ok := r.number(f, fmt.Sprintf("%s[%d]", f.path, i), element)
		if !ok {
			good = false
			continue
		}
		out[i] = v
	}
	return out, good
}

func (r *reader) groups(f field, n *yaml.Node) ([]DecayGroup, bool) {
	if !r.list(f, n) {
		return nil, false
	}
	good, out := true, make([]DecayGroup, 0, len(n.Content))
	for i, element := range n.Content {
		group, ok := r.group(f, fmt.Sprintf("%s[%d]", f.path, i), element)
		if ok && slices.ContainsFunc(out, func(g DecayGroup) bool { return g.Match == group.Match }) {
			r.report(element, fmt.Sprintf("%s[%d].match", f.path, i), "has the same glob as an earlier group", "")
			ok = false
		}
		good = good && ok
		out = append(out, group)
	}
	return out, good
}

func (r *reader) group(f field, path string, n *yaml.Node) (group DecayGroup, ok bool) {
	if n.Kind != yaml.MappingNode {
		r.report(n, path, "is not a group", f.wanted())
		return group, false
	}
	ok = r.unique(n, path)
	seenMatch, seenDecay := false, false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "match":
			v, good := r.text(f, path+".match", value)
			if good {
				group.Match = v
			}
			seenMatch, ok = true, ok && good
		case "weight_decay":
			v, good := r.number(f, path+".weight_decay", value)
			if good {
				group.WeightDecay = v
			}
			seenDecay, ok = true, ok && good
		default:
			r.unknown(key, path, []string{"match", "weight_decay"})
			ok = false
		}
	}
	if !seenMatch || !seenDecay {
		r.report(n, path, "needs match and weight_decay", f.wanted())
		return group, false
	}
	return group, ok
}
