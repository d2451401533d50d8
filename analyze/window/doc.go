// Package window draws windows of prepared text by a seed, asks a model for the loss on each, and puts bootstrapped intervals around
// what is computed of the losses. The analyses that compare losses share it, so the same seed gives all of them the same windows; probes
// have their intervals from it, too.
//
// Intervals are percentiles of a bootstrap over windows, or over pairs of them. Windows of one document resemble each other, so the interval
// over windows is too narrow to speak of other documents, and beside it stands the one over whole documents. With one document there is
// none, and with a handful it covers less than its 95 %: percentiles of so few resampled documents are too narrow as well.
//
// The package is pure: it imports data and record.
package window
