// Package probe measures how well a linear classifier tells labels apart by a model's hidden states: the linear probes of the paper's
// Figure 4.
//
// Features are standardised by the mean and the standard deviation of the texts to learn from. The classifier is a logistic regression,
// binary or multinomial, that minimises
//
//	½‖W‖² + C·Σ_i loss_i
//
// without a penalty on the intercepts, by L-BFGS: what scikit-learn's LogisticRegression minimises. C is the one of a grid with the highest accuracy
// on the texts to choose by, the smallest of equal ones; the classifier is that of the texts to learn from alone. The layer that is called the best is the best
// on the texts to choose by, so that its accuracy on the test texts is not flattered by the choice.
//
// Beside each probe stands a control task: the same with the labels of each split shuffled, so that there is nothing to find. It reaches what
// the shares of the labels give, which checks the way of measuring; how much a probe could have learned by heart it does not show. The
// difference of the two accuracies is called the selectivity.
//
// Intervals of 95 % are over documents. Where each test text is one, accuracies have Wilson's interval, and the mean over layers, whose
// errors on one text go together, a bootstrapped one over texts. Passages of one document resemble each other: where there are several of
// one, all intervals are bootstrapped over whole documents (package window, which says what they are worth where those are few).
//
// The package is pure: it imports analyze/window, eval/metric and record.
package probe
