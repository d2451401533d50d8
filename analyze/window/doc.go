// Package window draws windows of prepared text by a seed, asks a model for the loss on each, and puts bootstrapped intervals around
// what is computed of the losses. The analyses that compare losses share it, so the same seed gives all of them the same windows.
//
// Intervals are percentiles of a bootstrap over windows, or over pairs of them. Windows of one document resemble each other, so beside
// each stands the interval over whole documents, which is the one to trust where there are few documents.
//
// The package is pure: it imports data and record.
package window
