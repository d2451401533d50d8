// Package forgetting says what a fine-tuned model has forgotten of the text that its base model was pretrained for: its loss on
// held-out text of that kind less the base model's, on the same windows.
//
// The two models see the same windows, so what makes a window hard cancels in the differences, which the intervals are of (package window).
// The training of either model is not repeated: the intervals say nothing of other seeds.
//
// The package is pure: it imports analyze/window and record.
package forgetting
