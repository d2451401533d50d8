package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// With a configuration the schema has its values for defaults, and in all else it is the same.
func TestSchema_OfARun(t *testing.T) {
	run := load(t, "model.preset=llama2-1m", "name=mine", "optimizer.tau=0.5", "budget.steps=7")
	text, err := run.Schema()
	if err != nil {
		t.Fatal(err)
	}
	program, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var mine, plain any
	if err := errors.Join(json.Unmarshal(text, &mine), json.Unmarshal(program, &plain)); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	takeDefaults(mine, "", values)
	for path, want := range map[string]string{"name": `"mine"`, "model.width": fmt.Sprint(run.Model.Width), "optimizer.tau": "0.5", "budget.steps": "7", "seed": "1"} {
		if values[path] != want {
			t.Errorf("%s: default %q, want %s", path, values[path], want)
		}
	}
	for _, path := range []string{"optimizer.weight_decay", "budget.tpp"} {
		if values[path] != "" {
			t.Errorf("%s has no value, and its default is %s", path, values[path])
		}
	}
	takeDefaults(plain, "", map[string]string{})
	if diff := cmp.Diff(plain, mine); diff != "" {
		t.Errorf("besides defaults (-program +run):\n%s", diff)
	}
}

// takeDefaults moves the defaults of a schema into a map by key.
func takeDefaults(schema any, path string, into map[string]string) {
	object, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if def, there := object["default"]; there {
		text, _ := json.Marshal(def) // came from JSON
		into[path] = string(text)
		delete(object, "default")
	}
	properties, _ := object["properties"].(map[string]any)
	for name, below := range properties {
		takeDefaults(below, strings.TrimPrefix(path+"."+name, "."), into)
	}
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
