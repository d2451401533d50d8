// Package data turns text into batches of tokens: it fetches named data sets, trains and reads byte-level BPE tokenizers,
// prepares token shards, and reads them in an order that is a pure function of a seed.
//
// It is a leaf of the pure side: it imports package record only and builds without cgo. It hands out slices, not tensors.
//
// # From text to batches
//
//	corpus, err := data.Fetch(ctx, "sotu", data.FetchOptions{Messages: os.Stderr})
//	summary, err := data.Prepare(ctx, data.PrepareOptions{
//		In: []string{corpus.Dir}, Tokenizer: "bpe:2048", Out: "shards", ValFraction: data.DefaultValFraction, Seed: 1,
//	})
//	set, err := data.Open("shards/train")
//	loader, err := data.NewLoader(set, data.LoaderOptions{Context: 128, Sequences: 16, Seed: 1, Order: data.Shuffled})
//	defer loader.Close()
//	batch, err := loader.Next(ctx)
//
// # A prepared folder
//
//	OUT/
//	  tokenizer.json  tokenizer_config.json  special_tokens_map.json
//	  train/  train-00000.bin …  manifest.json
//	  val/    val-00000.bin …    manifest.json
//
// A shard is a header of 64 bytes and then the tokens, little-endian, two bytes each, or four for vocabularies of 65,536
// tokens and more (shard.go has the table). Each document is followed by the tokenizer's end of text and lies in one
// split as a whole; which one is decided by a hash of the seed and its content, so copies of a document never stand on
// both sides. [Manifest] says what the shards hold; its digest is over all that a run reads.
//
// # Windows and order
//
// With a context of T tokens, window i of a split has the tokens i·T to i·T+T: T inputs and, shifted by one, T targets.
// There are n = (tokens−1)/T windows. Step s of B sequences takes the samples s·B to s·B+B−1; sample j is in epoch j/n and
// takes the window at place j mod n of that epoch's permutation. So the place in the data is a function of the step
// alone: resuming at step s needs nothing but s, and what was prepared ahead is not state.
//
// # What is refused
//
// Every file is taken for hostile. Sizes are checked before memory is asked for; links, pipes and devices are not read; a
// token outside its vocabulary is found while the batch is built, with file and offset. A tokenizer.json with anything
// that would make other ids than the Hugging Face library makes is refused by name. Errors are [record.Failure]s.
package data
