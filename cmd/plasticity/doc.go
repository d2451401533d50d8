// Command plasticity studies what weight decay in pretraining does to the model that comes after fine-tuning.
//
// This is the user's program: it parses flags, checks configurations, plans and runs sweeps, prepares data and draws
// reports, in pure Go. What needs libtorch it leaves to plasticity-worker, which it starts as a child: one process for a
// run, with the same standard streams, and passes on its signals and its exit code.
//
//	plasticity --help
package main
