package task_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"plasticity/data"
	"plasticity/data/task"
)

// From a seed to the tokens of an example.
func Example() {
	made, err := task.Generate("arithmetic", 42, 1000, 100, []int{1})
	if err != nil {
		fmt.Println(err)
		return
	}
	tok, err := data.LoadTokenizer("../testdata/tokenizer.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	e := made.Train[0]
	ids, responseStart, err := task.Encode(tok, e, 128)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(task.Prompt(e))
	fmt.Println(tok.Decode(ids[responseStart:]))
	// Output:
	// Human: Add 41 and 119.
	// Assistant:
	// 41+119: 1+9=10, carry 1, 4+1+1=6, 0+1=1, so 160. The answer is 160.<|endoftext|>
}

// A prepared task is a folder that says whether it is still what it was.
func ExampleMake() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "judge")
	if _, err := task.Make(context.Background(), task.Options{Name: "judge", Out: out, Seed: 1, Train: 90, Test: 30, Levels: []int{1}}); err != nil {
		fmt.Println(err)
		return
	}
	set, err := task.Open(out)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Name(), set.Kind(), len(set.Train()), len(set.Test()))
	// Output: judge word 90 30
}
