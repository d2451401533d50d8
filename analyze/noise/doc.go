// Package noise measures how a model's loss answers to noise on its weights: how sharp the place is that training has found. Of models
// with the same loss the one that noise hurts less is, by the argument of Springer and others (Overtrained language models are harder to
// fine-tune, arXiv 2503.19206), the one that fine-tuning changes with less loss of what it knew.
//
// For each relative size σ, every matrix W of the model, embedding and head included, becomes W + σ · rms(W) · ε with ε drawn from the
// standard normal distribution, element by element; rms(W) is the root of the mean square of its elements. The gains of norms stay as they
// are. A draw has the same ε at every σ, so its losses differ by the size of the noise alone. The loss at each σ is the mean over draws, on
// the same windows of text; its interval is Student's over draws, and says nothing of other text.
//
// The package is pure: it imports record.
package noise
