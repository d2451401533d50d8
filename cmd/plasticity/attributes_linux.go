package main

import "syscall"

// childAttributes puts a worker into its own process group and lets it save and stop when this program dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
