package main

import (
	"testing"

	"plasticity/eval/answer"
	"plasticity/record"
)

func TestTaskKinds_EachTaskHasOneKindThatIsKnown(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range taskKinds() {
		if _, err := answer.ParseKind(k.kind); err != nil {
			t.Error(err)
		}
		for _, task := range k.tasks {
			if seen[task] {
				t.Errorf("%s has two kinds", task)
			}
			seen[task] = true
			if err := record.CheckName("task", task); err != nil {
				t.Error(err)
			}
		}
	}
}
