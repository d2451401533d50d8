package data_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"plasticity/data"
)

// From a text to the first batch.
func Example() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	summary, err := data.Prepare(ctx, data.PrepareOptions{
		In: []string{"testdata/prose.txt", "testdata/parity.txt"}, Tokenizer: "bpe:300", Out: filepath.Join(dir, "shards"),
		ValFraction: data.DefaultValFraction, Seed: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := data.Open(summary.Train.Dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	loader, err := data.NewLoader(set, data.LoaderOptions{Context: 16, Sequences: 4, Seed: 1, Order: data.Shuffled})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loader.Close()
	batch, err := loader.Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Vocab(), set.Documents(), len(batch.Inputs), batch.Inputs[1] == batch.Targets[0])
	// Output: 300 1 64 true
}
