package sweeps

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"plasticity/record"
)

// spawner starts processes on one OS thread that lives as long as it does. The
// parent-death signal is sent when the thread that started a child ends, not
// when the process does; a thread of the Go scheduler may end at any time.
type spawner struct {
	requests chan spawnRequest
	gone     chan struct{}
}

type spawnRequest struct {
	cmd    *exec.Cmd
	result chan<- error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), gone: make(chan struct{})}
	go func() {
		defer close(s.gone)
		// Never unlocked: the thread ends with the goroutine, after close.
		runtime.LockOSThread()
		for request := range s.requests {
			request.result <- request.cmd.Start()
		}
	}()
	return s
}

// start starts cmd as a member.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = memberAttributes(cmd.SysProcAttr)
	result := make(chan error, 1)
	s.requests <- spawnRequest{cmd, result}
	return <-result
}

// close ends the thread. No member may be alive.
func (s *spawner) close() {
	close(s.requests)
	<-s.gone
}

// exited is the end of one attempt at a job.
type exited struct {
	job *job
	end ending
}

// await waits for a started process and says how it ended. A failure to wait
// that is not the exit status itself is one of this program.
func await(cmd *exec.Cmd) ending {
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && cmd.ProcessState == nil {
		return ending{code: record.Internal, what: "waiting for it failed: " + err.Error()}
	}
	return endingOf(cmd.ProcessState)
}

// terminate asks a member to save and stop.
func terminate(process *os.Process) {
	// The only failure is that it has ended already.
	_ = process.Signal(syscall.SIGTERM)
}

// kill ends a member and everything in its process group at once.
func kill(process *os.Process) {
	_ = syscall.Kill(-process.Pid, syscall.SIGKILL)
	_ = process.Kill()
}
