// Package gap measures how much lower a model's loss is on text that it was trained on than on text that it was not: the
// train-validation gap of the paper's Figure 6.
//
// Both sides are equal numbers of whole windows, drawn by a seed from the same prepared text. There are two kinds of held-out text.
// Windows of the validation split come from documents of their own, so the two sides are not paired. A run that has not read all of
// its training text leaves windows of the training split unread; each of them is paired with a window that was read and begins in the
// same document, so that what makes a document hard cancels. A window that was not read may still touch what was: its neighbours in
// the document.
//
// Each gap has an interval over windows, or pairs of them, and one over whole documents (package window).
//
// The package is pure: it imports analyze/window, data and record.
package gap
