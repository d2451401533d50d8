//go:build unix && !linux

package sweeps

import "syscall"

// memberAttributes puts a member into a process group of its own. These systems
// have no parent-death signal: after a runner was killed its members go on to
// their end, and the next runner waits for the locks they hold.
func memberAttributes(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setpgid = true
	return attr
}
