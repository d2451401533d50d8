//go:build !linux

package main

import "syscall"

// childAttributes puts a worker into its own process group; a death signal exists on Linux only.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
