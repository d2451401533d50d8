package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"plasticity/data"
	"plasticity/data/task"
	"plasticity/record"
)

func newData(a *app) *cobra.Command {
	return group("data", "Fetch text, train tokenizers, make token shards and fine-tuning tasks", `  plasticity data fetch sotu
  plasticity data prepare --in "$(plasticity data fetch sotu)" --tokenizer bpe:512 --out data/sotu-512
  plasticity data task arithmetic --out data/arithmetic
  plasticity data inspect data/sotu-512 --show 2`,
		newDataFetch(a), newDataTokenizer(a), newDataPrepare(a), newDataTask(a), newDataInspect(a))
}

// addInputs defines --in. Words behind it count, too, so that --in *.txt works.
func addInputs(cmd *cobra.Command, in *[]string) {
	cmd.Flags().StringArrayVarP(in, "in", "i", nil, "files or folders: text, .jsonl with a field text, .parquet with a column text; may be repeated")
}

func newDataTokenizer(a *app) *cobra.Command {
	var in []string
	var vocab int
	var out string
	cmd := &cobra.Command{
		Use: "tokenizer --in PATH… --vocab N --out FILE", Short: "Train a byte-level BPE and write a Hugging Face tokenizer.json",
		Example: `  plasticity data tokenizer --in texts --vocab 4096 --out tokenizer.json`,
		RunE: func(cmd *cobra.Command, more []string) error {
			in = append(in, more...)
			if err := required(cmd, "in", "out", "vocab"); err != nil {
				return err
			}
			report, finish := a.bytesProgress("tokenizer")
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			tokenizer, err := data.TrainTokenizer(ctx, in, vocab, report)
			finish()
			if err != nil {
				return interrupted(err)
			}
			if err := record.WriteFileAtomic(record.OS(), out, tokenizer.JSON()); err != nil {
				return err
			}
			a.say("%d tokens, digest %.12s", tokenizer.Vocab(), tokenizer.Digest())
			return a.print(out)
		},
	}
	addInputs(cmd, &in)
	cmd.Flags().IntVar(&vocab, "vocab", 0, "size of the vocabulary, from 257 on")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write")
	return cmd
}

func newDataPrepare(a *app) *cobra.Command {
	var o data.PrepareOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "prepare --in PATH… --tokenizer SPEC --out DIR", Short: "Turn text into token shards for training and validation",
		Long: `Turn text into token shards: OUT/train and OUT/val, each with a manifest.json, and OUT/tokenizer.json.
Documents are never split between the two. The result depends on texts and flags only, not on the machine; done again,
nothing is written.`,
		Example: `  plasticity data prepare --in texts --tokenizer bpe:512 --out data/mine
  plasticity data prepare --in corpus.jsonl --tokenizer tokenizer.json --out data/mine --val-fraction 0.02 --seed 7`,
		RunE: func(cmd *cobra.Command, more []string) error {
			o.In = append(o.In, more...)
			if err := required(cmd, "in", "tokenizer", "out"); err != nil {
				return err
			}
			report, finish := a.bytesProgress("prepare")
			o.Progress = report
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			summary, err := data.Prepare(ctx, o)
			finish()
			if err != nil {
				return interrupted(err)
			}
			if asJSON {
				return a.printJSON(summary)
			}
			return a.print(describePrepared(summary))
		},
	}
	addInputs(cmd, &o.In)
	cmd.Flags().StringVarP(&o.Tokenizer, "tokenizer", "t", "", "a tokenizer.json, a Hugging Face folder, or bpe:N for a fresh one of N tokens")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "", "folder to make")
	cmd.Flags().Float64Var(&o.ValFraction, "val-fraction", data.DefaultValFraction, "part of the documents to hold out, above 0 and below 1")
	cmd.Flags().Int64Var(&o.Seed, "seed", 1, "decides which documents are held out")
	cmd.Flags().StringVar(&o.Source, "source", "", "where the text comes from, for the record (default: what fetch noted, else the names)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return cmd
}

// interruptible ends the context at a signal, so that what was begun is cleaned up.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// interrupted says what an end by a signal means.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return record.Fail(record.Stopped, "stopped by a signal; nothing unfinished is left behind: start it again")
	}
	return err
}

func describePrepared(s data.Summary) string {
	var b strings.Builder
	if s.Unchanged {
		fmt.Fprintf(&b, "%s holds this already\n", s.Out)
	}
	for _, split := range []data.SplitSummary{s.Train, s.Val} {
		fmt.Fprintf(&b, "%s: %d tokens of %d documents, %d bytes, digest %.12s\n", split.Dir, split.Tokens, split.Documents, split.Bytes, split.Digest)
	}
	fmt.Fprintf(&b, "vocabulary %d, source: %s", s.Vocab, s.Source)
	if s.Empty+s.Skipped > 0 {
		fmt.Fprintf(&b, "\nleft out: %d documents without text, %d hidden or special files", s.Empty, s.Skipped)
	}
	for _, w := range s.Warnings {
		b.WriteString("\nwarning: " + w)
	}
	return b.String()
}

func newDataInspect(a *app) *cobra.Command {
	var show int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "inspect DIR", Short: "Show counts, digests and samples of prepared data or of a prepared task",
		Example: `  plasticity data inspect data/sotu-512 --show 2
  plasticity data inspect data/arithmetic --show 2`,
		Args: exactly("a folder made by data prepare or data task"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if show < 0 || show > 1000 {
				return misuse(cmd, errors.New("--show: want 0 to 1000"))
			}
			if task.Inspectable(args[0]) {
				return a.inspectTask(args[0], show, asJSON)
			}
			inspection, err := data.Inspect(args[0], show)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(inspection)
			}
			return a.print(describeInspection(inspection))
		},
	}
	cmd.Flags().IntVar(&show, "show", 0, "documents of each split to decode the beginning of, or examples of each side to print")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return cmd
}

func describeInspection(in data.Inspection) string {
	var b strings.Builder
	for i, s := range in.Splits {
		if i > 0 {
			b.WriteByte('\n')
		}
		m := s.Manifest
		fmt.Fprintf(&b, "%s: %d tokens of %d documents in %d shards, %.3f bytes a token\n", s.Dir, m.Tokens, m.Documents, len(m.Shards), s.BytesPerToken)
		fmt.Fprintf(&b, "  vocabulary %d, digest %s\n  source: %s", m.Vocab, m.Digest, m.Source)
		for _, sample := range s.Samples {
			more := ""
			if sample.Cut {
				more = " …"
			}
			fmt.Fprintf(&b, "\n  %v\n  %q%s", sample.Tokens[:min(16, len(sample.Tokens))], sample.Text, more)
		}
	}
	return b.String()
}
