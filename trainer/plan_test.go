package trainer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch/torchtest"
)

// A plan says what a run would be and cost, and writes nothing.
func TestMakePlan(t *testing.T) {
	torchtest.NoLeaks(t)
	prepared := corpus(t, 1)
	sets := settings(prepared, "optimizer.weight_decay=0.3")
	around := filepath.Dir(prepared)
	before := listing(t, around)
	p, err := MakePlan(load(t, sets), filepath.Join(around, "runs", "new"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, listing(t, around)); diff != "" {
		t.Errorf("something was written:\n%s", diff)
	}
	result, err := train(t, filepath.Join(folder(t), "run"), sets)
	if err != nil {
		t.Fatal(err)
	}
	if p.ID != result.ID || p.Steps != 30 || p.Tokens != 30*4*16 || p.Tokens != result.Tokens {
		t.Errorf("planned run %s of %d steps, %d tokens; trained %s of %d, %d", p.ID, p.Steps, p.Tokens, result.ID, result.Steps, result.Tokens)
	}
	var elements, names int64
	for _, g := range p.DecayGroups {
		elements += g.Elements
		names += int64(len(g.Parameters))
		for _, name := range g.Parameters {
			if gain := strings.Contains(name, "norm"); gain != (g.WeightDecay == 0) {
				t.Errorf("%s is in the group %s with decay %v", name, g.Name, g.WeightDecay)
			}
		}
	}
	if elements != p.Parameters || names != 2*9+3 {
		t.Errorf("groups have %d elements in %d parameters, the model %d in %d", elements, names, p.Parameters, 2*9+3)
	}
	if p.FLOPsFull <= p.FLOPsCausal || p.Memory.State != 12*p.Parameters || p.Step != "engine" || p.ISA == "" || p.Disk < 36*p.Parameters || !(p.Seconds > 0) || p.Estimate != "measured" {
		t.Errorf("plan %+v", p)
	}
	var text strings.Builder
	if err := p.Write(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text.String())
	for _, want := range []string{"30 steps", "no_decay", "causal", "free", "steps timed now"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}

// A config that says its vocabulary can be planned before its data is there; it cannot be trained.
func TestMakePlan_WithoutData(t *testing.T) {
	sets := settings("/does/not/exist", "model.vocab=300")
	p, err := MakePlan(load(t, sets), "")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := p.Write(&text); err != nil {
		t.Fatal(err)
	}
	if p.ID != "unknown" || p.Steps != 30 || len(p.DecayGroups) != 2 || strings.Contains(text.String(), "passes") || !strings.Contains(text.String(), "/does/not/exist/train, which is not there yet") {
		t.Errorf("%+v\n%s", p, text.String())
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
	if _, err := train(t, filepath.Join(folder(t), "run"), sets); record.CodeOf(err) != record.BadData {
		t.Errorf("training: %v", err)
	}
}

func TestMakePlan_Refuses(t *testing.T) {
	prepared := corpus(t, 1)
	for _, c := range []struct {
		name string
		sets []string
		want record.Code
	}{
		{"glob without a match", settings(prepared, `optimizer.no_decay=["*nothing*"]`), record.Usage},
		{"no data", settings(prepared, "data.train=/does/not/exist"), record.BadData},
		{"vocabulary", settings(prepared, "model.vocab=100"), record.Usage},
		{"context", settings(prepared, "model.context=32768"), record.Usage},
		{"precision on a GPU", settings(prepared, "device=cuda"), record.Usage},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, err := config.Load(config.LoadOptions{Sets: c.sets})
			if err == nil {
				_, err = MakePlan(run, "")
			}
			if record.CodeOf(err) != c.want {
				t.Errorf("error %v (code %d), want code %d", err, record.CodeOf(err), c.want)
			}
			dir := filepath.Join(folder(t), "run")
			if run.Name != "" {
				if _, err := Train(t.Context(), Options{Config: run, Out: dir}); record.CodeOf(err) != c.want {
					t.Errorf("training: error %v (code %d), want code %d", err, record.CodeOf(err), c.want)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, record.InfoFile)); err == nil {
				t.Error("a run was made")
			}
		})
	}
}
