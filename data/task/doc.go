// Package task makes, reads and encodes fine-tuning tasks: instructions with worked responses and gold answers, in a
// training and a test set that share no instruction.
//
// It builds on package data and imports no tensors. Its tasks are of two origins: seven synthetic families that need
// nothing but a seed, sized for models of a fraction of a million parameters, and six public data sets that the user has
// downloaded.
//
// # A prepared task
//
//	DIR/
//	  train.jsonl  test.jsonl   one [Example] a line, all six fields
//	  task.json                 what they hold: counts, sources with digests, what filters dropped ([Manifest])
//
// [Make] writes such a folder, complete or not at all; [Open] reads it and refuses what is not as it was written: a field
// too many or too few, an id that comes twice, an instruction on both sides, a digest that does not hold. [Set.Digest] is
// over all that a run reads. Everything is refused with exit code 65, by file, line and field.
//
// # Template and loss
//
// A dialogue is "Human: " + instruction + "\nAssistant:" and, right behind the colon, the response and the end of text
// ([Prompt], [Response]). That is the template "default" of LLaMA-Factory as it stood when it had no end of text behind
// the instruction, without a system prompt. [Encode] tokenises prompt and response apart, so no token lies on both sides
// of the border, and says where the response begins: the loss is over the tokens from there on, the end of text
// included. A text without an instruction has no template; all of it is response.
//
// With a context of N tokens a response that goes beyond is cut at N, as a cut-off length does, and has no end of text
// then. A prompt that leaves no room for a response is an error that names the example, where LLaMA-Factory would cut it:
// a question without its end teaches nothing.
//
// # Multiple choice
//
// [LoadMultipleChoice] reads the tests that the paper's models are compared on before and after fine-tuning (HellaSwag, WinoGrande,
// PIQA, OpenBookQA, ARC, MathQA) and makes the contexts and continuations of the lm-evaluation-harness of them; three synthetic
// families can be had as such tests without any file. docs/multiple-choice.md has the layouts.
//
// # Which side an example is on
//
// In the synthetic families the side is a function of the problem alone: a hash of its content, in an order of its parts
// that does not depend on how it is put, says train or test. So no problem is on both sides, whatever the seeds, and the
// test set of one seed has nothing of the training set of another.
package task
