// Package label reads texts with labels, for probes of what a model's hidden states tell apart.
//
// Public sets are read from a folder as they are published: SST-2 and IMDB (sentiment), AG News and DBpedia-14 (topic), as Parquet,
// JSON or JSON lines, and as the CSV, TSV and text files of their authors. For machines without them there are passages of the State
// of the Union addresses by decade or by party, passages of addresses beside Go source, and sentences about feelings that are made by
// a seed of templates: synthetic, and called so.
//
// A set has three splits. Test texts come from the files that the authors test on, the others from those that they train on; where
// there is one body of text it is split by document, so that no document is on two sides, and each text says which it is of. All are
// drawn by a seed.
//
// The package is pure: it imports data and record. Errors are record.Failures that name file, line and column.
package label
