package config

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

// YAML returns the complete configuration in the order of the documentation. Loading it gives the same Run.
func (r Run) YAML() ([]byte, error) {
	top, err := r.tree(func(f field) bool { return !f.idle(&r) })
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top); err != nil {
		return nil, record.Fail(record.Internal, "write the configuration: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, record.Fail(record.Internal, "write the configuration: %w", err)
	}
	return out.Bytes(), nil
}

// tree builds the YAML of the fields that keep accepts.
func (r Run) tree(keep func(field) bool) (*yaml.Node, error) {
	top := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range newTable() {
		v := f.value(&r)
		if v == nil || !keep(f) {
			continue
		}
		var leaf yaml.Node
		if err := leaf.Encode(v); err != nil {
			return nil, record.Fail(record.Internal, "write %s: %w", f.path, err)
		}
		flow(&leaf)
		names := strings.Split(f.path, ".")
		at := top
		for _, name := range names[:len(names)-1] {
			at = below(at, name)
		}
		at.Content = append(at.Content, word(names[len(names)-1]), &leaf)
	}
	return top, nil
}

// below finds or adds a section.
func below(at *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(at.Content); i += 2 {
		if at.Content[i].Value == name {
			return at.Content[i+1]
		}
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	at.Content = append(at.Content, word(name), section)
	return section
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// flow writes lists on one line.
func flow(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		n.Style |= yaml.FlowStyle
	}
	for _, child := range n.Content {
		flow(child)
	}
}

// JSON returns the complete configuration as one JSON object, keys in the order of the documentation.
func (r Run) JSON() ([]byte, error) {
	var out bytes.Buffer
	err := r.writeJSON(&out, func(f field) bool { return !f.idle(&r) })
	return out.Bytes(), err
}

// writeJSON writes the fields that keep accepts; it relies on the table having its sections in one piece each.
func (r Run) writeJSON(out *bytes.Buffer, keep func(field) bool) error {
	section, first := "", true
	out.WriteByte('{')
	for _, f := range newTable() {
		v := f.value(&r)
		if v == nil || !keep(f) {
			continue
		}
		head, name, nested := strings.Cut(f.path, ".")
		if !nested {
			head, name = "", f.path
		}
		if head != section && section != "" {
			out.WriteByte('}')
		}
		if !first {
			out.WriteByte(',')
		}
		if head != section && head != "" {
			out.WriteString(`"` + head + `":{`)
		}
		section, first = head, false
		text, err := json.Marshal(v)
		if err != nil {
			return record.Fail(record.Internal, "write %s: %w", f.path, err)
		}
		out.WriteString(`"` + name + `":`)
		out.Write(text)
	}
	if section != "" {
		out.WriteByte('}')
	}
	out.WriteByte('}')
	return nil
}
