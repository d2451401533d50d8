package request

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

func TestEncode_DecodeGivesTheSame(t *testing.T) {
	want := Train{
		Config: "run \"x\".yaml", Sets: []string{"a=b"}, Env: []string{"PLASTICITY_SEED=1"}, Out: "o", Resume: "auto", Listen: ":0", Init: "i",
		DryRun: true, JSON: true, Quiet: true, Grid: "g", ID: "0123456789abcdef", Axes: []record.Axis{{Name: "n", Value: "v"}},
	}
	text, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[Train](text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecode_Refuses(t *testing.T) {
	for _, text := range []string{"", "{", `{"nonsense": 1}`, `{"config": 3}`, `{} {}`, `[]`} {
		if _, err := Decode[Train](text); record.CodeOf(err) != record.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestEncode_RefusesWhatAnArgumentCannotHold(t *testing.T) {
	if _, err := Encode(Generate{Prompt: strings.Repeat("x", MaxBytes)}); record.CodeOf(err) != record.Usage {
		t.Error(err)
	}
}
