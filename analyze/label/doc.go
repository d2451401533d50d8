// Package label reads texts with labels, for probes of what a model's hidden states tell apart.
//
// Public sets are read from a folder as they are published: SST-2 and IMDB (sentiment), AG News and DBpedia-14 (topic), as Parquet,
// JSON or JSON lines, and as the CSV, TSV and text files of their authors. What `plasticity data fetch` brings are reviews of food
// (sentiment), passages of the Brown corpus by genre, passages of the State of the Union addresses by decade or by party, and passages
// of addresses beside Go source. Sentences about feelings are made by a seed of templates: synthetic, and called so.
//
// Of the 1,000 reviews to test on, seven stand among the 4,000 others, too, word for word but of another product: so they are published.
//
// A set has three splits. Test texts come from the files that the authors test on, the others from those that they train on; where
// there is one body of text it is split by document, so that no document is on two sides, and each text says which it is of. All are
// drawn by a seed.
//
// The package is pure: it imports data and record. Errors are record.Failures that name file, line and column.
package label
