// Package recordtest has the file system with which everything durable is tested: [MemFS] keeps files in memory, forgets
// what was not synced when the power is cut, dies or fails at the n-th operation, tears writes at any byte and runs
// full. A test that writes through record.FS repeats its work with every n until the work succeeds, and
// checks after each what a reader sees. [CheckMetricList] holds what a program exposes to what monitoring/ asks for.
//
// For tests only; it imports record and the standard library.
package recordtest
