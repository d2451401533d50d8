// Package metric scores responses to problems: how often a model is right, by one greedy response and by N sampled ones.
//
// It is a leaf of the pure side: it imports package record only and builds without cgo. How an answer is read out of
// a response, and when two answers are the same, it does not know: a [Judge] does.
//
// # The six metrics
//
// Let problem i have N responses, c_ij be 1 when the answer of response j is the gold answer and else 0 (a response
// without an answer, too), and r_ij be the reward that a model of rewards gives it.
//
//	greedy         mean of c_i of the one response at temperature 0, also called Pass@1
//	maj@N          mean of c_ij of the response that stands for the largest cluster of equal answers
//	rm@N           mean of c_ij of the response with the highest reward
//	pass@N         mean of [any c_ij = 1]
//	correct_ratio  mean of (1/N) Σ_j c_ij, over all problems
//	orm            mean of (1/N) Σ_j r_ij: a raw score without bounds, not a share
//
// A vote reads answers in the tail of a response only ([Judge].ExtractTail). It goes through the responses in order and
// compares each with the first member of each cluster; responses without an answer there stay alone, every one of them. Of
// clusters of the same size the one that was made first wins, as does the first of equal rewards. Whether the winner is
// right is c_ij of its first member, which is judged on the whole response, as everywhere else. There are [MaxResponses] at most.
//
// The scripts of the paper's authors print as correct ratio the mean over those problems only that have a correct
// response; that is correct_ratio / pass@N.
//
// Beside them stands, where it is given, loss_nats_per_token: the cross-entropy of the reference responses, all tokens
// counting the same.
//
// # Multiple choice
//
// A [ChoiceTask] has the log-likelihoods of the choices of problems instead of responses. acc is the share of problems whose
// likeliest choice is the gold one, acc_norm the same by log-likelihood over the characters of the choice; [WriteChoices] writes
// them as the lm-evaluation-harness does, "acc,none" with "acc_stderr,none", and Wilson's interval beside them.
//
// # Intervals
//
// All are of 95 %, over problems. Means of zeros and ones have Wilson's interval, also a correct_ratio of 0 or 1, where all resamples would
// be the same; the others are bootstrapped with 10,000 resamples of the problems, ordered by id, from a seed. So a result does not depend
// on the order of the problems.
//
// # From a file to a file
//
//	scorer := metric.NewScorer(judge, 1)
//	for problem, err := range metric.Read(file, "responses.jsonl", nil) {
//		…
//		err = scorer.Add(problem)
//	}
//	result, err := scorer.Result()
//	unchanged, err := metric.Write(record.OS(), "out", metric.Report{Tasks: []metric.Task{{Name: "race", Result: result}}})
//
// [Merge] makes one results.json of those of several tasks, each in a folder of its own. Only the extracted answers stay in memory. Errors are [record.Failure]s.
package metric
