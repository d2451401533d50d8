package task

import (
	"slices"
	"testing"
)

func TestKnownSize_OfEveryTask(t *testing.T) {
	kinds := make(map[string]string)
	for _, f := range Families() {
		kinds[f.Name] = f.Kind
	}
	for _, p := range publics() {
		kinds[p.name] = p.kind
	}
	for name, kind := range kinds {
		size, ok := KnownSize(name)
		if !ok || size.Kind != kind || size.Train < size.Test || size.Test < DefaultTest {
			t.Errorf("%s: %+v, %v; want kind %s", name, size, ok, kind)
		}
	}
	if _, ok := KnownSize("nonsense"); ok || !slices.Contains(PublicTasks(), "race") {
		t.Error("a name that is no task has a size")
	}
}
