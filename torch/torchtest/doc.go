// Package torchtest holds checks for tests of native code: that nothing leaks, that gradients are
// those of finite differences, that numbers are close.
package torchtest
