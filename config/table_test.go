package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// leaves lists the dotted keys of a struct.
func leaves(t reflect.Type, prefix string) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		path := join(prefix, f.Tag.Get("yaml"))
		if f.Type.Kind() == reflect.Struct {
			out = append(out, leaves(f.Type, path)...)
			continue
		}
		out = append(out, path)
	}
	return out
}

func TestTable_HasEveryFieldOfRun(t *testing.T) {
	in := make(map[string]bool)
	for _, path := range newTable().paths() {
		if in[path] {
			t.Errorf("%s twice", path)
		}
		in[path] = true
	}
	for _, path := range leaves(reflect.TypeFor[Run](), "") {
		if !in[path] {
			t.Errorf("%s is in Run and not in the table", path)
		}
		delete(in, path)
	}
	for path := range in {
		t.Errorf("%s is in the table and not in Run", path)
	}
}

func TestTable_VariablesAreDistinct(t *testing.T) {
	seen := make(map[string]string)
	for _, name := range OtherVariables() {
		seen[name] = "another purpose"
	}
	for _, path := range newTable().paths() {
		name := EnvName(path)
		if other, ok := seen[name]; ok {
			t.Errorf("%s stands for %s and %s", name, path, other)
		}
		seen[name] = path
	}
}

func TestTable_DefaultsAreAllowed(t *testing.T) {
	for _, f := range newTable() {
		if f.doc == "" || f.wanted() == "" {
			t.Errorf("%s: no words", f.path)
		}
		switch def := f.def.(type) {
		case int64:
			if !f.inRange(float64(def)) {
				t.Errorf("%s: default %d", f.path, def)
			}
		case float64:
			if !f.inRange(def) {
				t.Errorf("%s: default %v", f.path, def)
			}
		}
	}
	roundTrip(t, Defaults())
}

func TestSchema_DescribesEveryKey(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Description          string
		AdditionalProperties *bool
		Properties           map[string]*node
	}
	var schema node
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for _, path := range newTable().paths() {
		at := &schema
		for name := range strings.SplitSeq(path, ".") {
			if at.AdditionalProperties == nil || *at.AdditionalProperties {
				t.Errorf("%s: a section takes unknown keys", path)
			}
			if at = at.Properties[name]; at == nil {
				t.Fatalf("%s is not in the schema", path)
			}
		}
		if at.Description == "" {
			t.Errorf("%s has no description", path)
		}
	}
	golden(t, "schema.golden", string(text))
}

func TestRun_JSONIsValid(t *testing.T) {
	for _, o := range []LoadOptions{{}, {Sets: []string{"schedule.kind=wsd", "optimizer.tau=1", "decay_schedule.kind=window", `optimizer.groups=[{match: "*", weight_decay: 0.5}]`}}} {
		run, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		text, err := run.JSON()
		if err != nil || !json.Valid(text) {
			t.Fatalf("%v: %s", err, text)
		}
		// JSON is YAML: it must load to the same value.
		again, err := Load(LoadOptions{Base: text})
		if err != nil || !reflect.DeepEqual(run, again) {
			t.Errorf("%v\n%+v\n%+v", err, run, again)
		}
	}
}
