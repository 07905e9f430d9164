package dbtest

import (
	"os/exec"
	"runtime"
)

// Start starts a process that the kernel ends with the test binary, also where that is killed. ended is closed once it has gone.
func Start(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	endWithParent(cmd)
	started, gone := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel ties the process' life to the thread that started it, so this one stays until it has gone.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(gone)
		}
	}()
	return gone, <-started
}
