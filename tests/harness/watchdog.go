package harness

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A watchdog is a small process that outlives ours: when we end, in whatever
// way, its standard input ends too, and it kills the process group that it was
// told of last and removes a folder.
type watchdog struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	dir string
}

const watchdogScript = `group=0
while read -r line; do group=$line; done
[ "$group" = 0 ] || kill -s KILL -- "-$group" 2>/dev/null
for try in 1 2 3 4 5; do rm -rf -- "$1" 2>/dev/null && exit; sleep 0.2; done`

// newWatchdog starts a watchdog that removes dir at the end.
func newWatchdog(dir string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "esperanto-watchdog", dir)
	cmd.Dir = "/"
	// A group of its own: an interrupt at the terminal is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	return &watchdog{cmd, in, dir}, nil
}

// watch makes the watchdog kill group, and no other, when we end; 0 is none.
func (w *watchdog) watch(group int) error {
	if _, err := fmt.Fprintln(w.in, group); err != nil {
		return fmt.Errorf("the watchdog of %s is gone: %w", w.dir, err)
	}
	return nil
}

// end lets the watchdog do its work now and waits for it.
func (w *watchdog) end() error {
	w.in.Close()
	limit := time.AfterFunc(20*time.Second, func() { w.cmd.Process.Kill() })
	defer limit.Stop()
	w.cmd.Wait()
	return os.RemoveAll(w.dir) // if it could not
}
