package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/data"
)

func newDataFetch(a *app) *cobra.Command {
	var asJSON bool
	var known, names strings.Builder
	for _, d := range data.Datasets() {
		fmt.Fprintf(&known, "\n  %-8s %s", d.Name, d.Description)
		names.WriteString(" " + d.Name)
	}
	cmd := &cobra.Command{
		Use: "fetch NAME", Short: "Bring a public text into the cache, checked by its digest, and print where it is",
		Long: "Bring a public text into the cache, checked by its digest, and print where it is. Known are:" + known.String(),
		Example: `  plasticity data fetch sotu
  plasticity data prepare --in "$(plasticity data fetch sotu)" --tokenizer bpe:512 --out data/sotu-512`,
		Args:      exactly("one of" + names.String()),
		ValidArgs: strings.Fields(names.String()),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			corpus, err := data.Fetch(ctx, args[0], data.FetchOptions{
				Cache: filepath.Join(a.cacheDir(), "data"), Messages: a.console(),
			})
			if err != nil {
				return interrupted(err)
			}
			if asJSON {
				return a.printJSON(corpus)
			}
			word := ""
			if corpus.Fallback {
				word = ", which stands in for " + corpus.Name
			}
			a.say("%s: %d documents, %d bytes, %s%s", corpus.Source, corpus.Documents, corpus.Bytes, corpus.License, word)
			return a.print(corpus.Dir)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return cmd
}
