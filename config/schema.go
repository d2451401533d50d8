package config

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/invopop/jsonschema"

	"plasticity/record"
)

// SchemaID names the schema of Run.
const SchemaID = "https://plasticity.invalid/schema/run.json"

// Schema returns the JSON schema of a run's YAML, for editors and checks. Its structure comes from Run, its limits,
// defaults and words from the same table that loading uses; what only the whole can tell (divisors, exclusions between
// layers) is left to `config check`.
func Schema() ([]byte, error) { return schemaWith(func(f field) any { return f.def }) }

// Schema is the function Schema with the values of r as the defaults, presets and other layers merged, and none for keys that have no value.
func (r Run) Schema() ([]byte, error) { return schemaWith(func(f field) any { return f.value(&r) }) }

func schemaWith(def func(field) any) ([]byte, error) {
	reflector := &jsonschema.Reflector{
		FieldNameTag: "yaml", DoNotReference: true, RequiredFromJSONSchemaTags: true, Anonymous: true,
	}
	schema := reflector.Reflect(&Run{})
	schema.ID, schema.Title = SchemaID, "plasticity run"
	for _, f := range newTable() {
		at := schema
		for name := range strings.SplitSeq(f.path, ".") {
			below, ok := at.Properties.Get(name)
			if !ok {
				return nil, record.Fail(record.Internal, "the schema has no %s", f.path)
			}
			at = below
		}
		f.describe(at, def(f))
	}
	excludeInSchema(schema)
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, record.Fail(record.Internal, "write the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// describe puts what the table knows of a field into its schema.
func (f field) describe(s *jsonschema.Schema, def any) {
	s.Description = f.doc
	if def != nil {
		s.Default = def
	}
	switch f.kind {
	case text:
		for _, word := range f.oneOf {
			s.Enum = append(s.Enum, word)
		}
	case integer, number:
		f.bound(s)
	case pair:
		two := uint64(2)
		s.MinItems, s.MaxItems = &two, &two
		f.bound(s.Items)
	case texts:
		most := uint64(maxList)
		s.MaxItems, s.UniqueItems = &most, true
	case groups:
		most := uint64(maxList)
		s.MaxItems = &most
		s.Items.Required = []string{"match", "weight_decay"}
		if decay, ok := s.Items.Properties.Get("weight_decay"); ok {
			f.bound(decay)
		}
	case boolean:
	}
	if f.path == "name" {
		s.Pattern = "^" + NamePattern + "$"
	}
}

// bound writes the limits of a number.
func (f field) bound(s *jsonschema.Schema) {
	low, high := jsonNumber(f.min), jsonNumber(f.max)
	if f.above {
		s.ExclusiveMinimum = low
	} else {
		s.Minimum = low
	}
	if f.below {
		s.ExclusiveMaximum = high
	} else {
		s.Maximum = high
	}
}

func jsonNumber(v float64) json.Number {
	if v >= math.MaxInt64 {
		return json.Number("9223372036854775807")
	}
	return json.Number(short(v))
}

// excludeInSchema says which keys exclude each other within a file.
func excludeInSchema(schema *jsonschema.Schema) {
	for _, keys := range exclusive() {
		section, _, _ := strings.Cut(keys[0], ".")
		at, ok := schema.Properties.Get(section)
		if !ok {
			continue
		}
		for i, a := range keys {
			for _, b := range keys[i+1:] {
				_, first, _ := strings.Cut(a, ".")
				_, second, _ := strings.Cut(b, ".")
				at.AllOf = append(at.AllOf, &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{first, second}}})
			}
		}
	}
}
