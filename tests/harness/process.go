package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a running child with all its descendants: they form one
// process group, and signals go to all of them.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
	err  error         // how it ended; valid once done is closed
}

// A command is what startProcess runs.
type command struct {
	args []string
	env  []string // the whole environment
	dir  string
	log  string // file that takes the output; appended to
	as   *account
}

// gated waits for a line, so that the watchdog knows the process group before
// the command runs; without that line it ends.
const gated = `read -r go && exec "$@" </dev/null`

// startProcess runs a command under the eyes of a watchdog.
func startProcess(c command, w *watchdog) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", gated, "sh"}, c.args...)...)
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.as.credential()}
	gate, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.args[0], err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the child
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := w.watch(p.group()); err != nil {
		gate.Close()
		p.kill()
		return nil, err
	}
	_, err = gate.Write([]byte("go\n"))
	if err := errors.Join(err, gate.Close()); err != nil {
		p.kill()
		return nil, fmt.Errorf("starting %s: %w", c.args[0], err)
	}
	return p, nil
}

// group returns the id of the process group, which is the child's own id.
func (p *process) group() int { return p.cmd.Process.Pid }

// running reports whether the child has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends a signal to the whole group.
func (p *process) signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.group(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sending %v to process group %d: %w", s, p.group(), err)
	}
	return nil
}

// stop asks the child to end and kills the group if it does not within grace.
func (p *process) stop(grace time.Duration) error {
	if p.running() {
		// The child alone: it ends its own children in order.
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-p.done:
		case <-time.After(grace):
		}
	}
	return p.kill()
}

// kill ends the whole group at once and returns when all of it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	limit := time.After(time.Minute)
	select {
	case <-p.done:
	case <-limit:
		return fmt.Errorf("process %d does not end after SIGKILL", p.group())
	}
	for groupAlive(p.group()) {
		select {
		case <-limit:
			return fmt.Errorf("process group %d does not end after SIGKILL", p.group())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// freeze stops the whole group for a while. It returns when none of its threads runs any
// more: on a busy machine some go on for a moment, and answer.
func (p *process) freeze() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for limit := time.Now().Add(time.Minute); !groupIs(p.group(), "T", "t", "Z", "X"); {
		if time.Now().After(limit) {
			return fmt.Errorf("process group %d does not stand still after SIGSTOP", p.group())
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// groupAlive reports whether a process of the group still runs. Zombies do
// not count: in a container nobody may be there to reap them.
func groupAlive(group int) bool {
	return !errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) && (!hasProc() || !groupIs(group, "Z", "X"))
}

// hasProc reports whether this system tells of its processes in /proc.
func hasProc() bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	return len(stats) > 0
}

// groupIs reports whether all threads of a group are in one of the states, as far as
// /proc tells: one that is not there any more is.
func groupIs(group int, states ...string) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		if state, of := stateOf(stat); of != group || state == "Z" || state == "X" {
			continue
		}
		threads, _ := filepath.Glob(filepath.Join(filepath.Dir(stat), "task", "*", "stat"))
		for _, thread := range threads {
			if state, of := stateOf(thread); of == group && !slices.Contains(states, state) {
				return false
			}
		}
	}
	return true
}

// stateOf reads the state of a process or thread and its group, 0 if it is gone.
func stateOf(stat string) (state string, group int) {
	data, err := os.ReadFile(stat)
	if err != nil {
		return "", 0
	}
	// pid (name) state parent group ...; the name may hold anything.
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 3 {
		return "", 0
	}
	group, _ = strconv.Atoi(f[2])
	return f[0], group
}
