package main

import (
	"testing"

	"plasticity/data/task"
	"plasticity/eval/answer"
	"plasticity/record"
)

func TestTaskKinds_EachTaskHasOneKindThatIsKnown(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range task.Kinds() {
		if _, err := answer.ParseKind(k.Kind); err != nil {
			t.Error(err)
		}
		if seen[k.Task] {
			t.Errorf("%s has two kinds", k.Task)
		}
		seen[k.Task] = true
		if err := record.CheckName("task", k.Task); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"metamathqa", "pubmedqa", "race", "arithmetic", "judge", "gsm8k-platinum"} {
		if !seen[name] {
			t.Errorf("%s is not among the tasks", name)
		}
	}
}
