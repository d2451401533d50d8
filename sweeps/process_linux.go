package sweeps

import "syscall"

// memberAttributes puts a member into a process group of its own, so that
// Ctrl-C in a terminal reaches the runner alone and members get exactly one
// signal, from it; and has the kernel end the member with SIGTERM when the
// runner dies without a word. The latter is tied to the thread that starts the
// member, see spawner.
func memberAttributes(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setpgid = true
	attr.Pdeathsig = syscall.SIGTERM
	return attr
}
