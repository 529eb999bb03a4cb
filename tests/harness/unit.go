package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A unit is one server process with the folder it runs in, whether it runs or
// not, and the watchdog over both.
type unit struct {
	label   string // for messages: "elasticsearch 8.7.1"
	runDir  string // configuration, log, temporary files; removed by close
	timeout time.Duration
	dog     *watchdog

	mu   sync.Mutex // held while something starts or ends
	proc *process   // nil if it does not run
}

// newUnit makes the folder of a unit in base, with folders in it.
func newUnit(base, label string, timeout time.Duration, folders ...string) (*unit, error) {
	dir, err := makeRunDir(base, strings.ReplaceAll(label, " ", "-"))
	if err != nil {
		return nil, err
	}
	dog, err := newWatchdog(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	u := &unit{label: label, runDir: dir, timeout: timeout, dog: dog}
	for _, name := range folders {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, errors.Join(err, u.close())
		}
	}
	return u, nil
}

func (u *unit) logFile() string { return filepath.Join(u.runDir, "log") }

// errPortTaken means that somebody else took a port after we had found it free.
var errPortTaken = errors.New("a port is taken")

// start runs c and returns once ready says so. The caller holds u.mu.
func (u *unit) start(ctx context.Context, c command, ready func(context.Context) bool) error {
	if u.proc != nil && u.proc.running() {
		return errors.New("it runs already")
	}
	c.dir, c.log, c.as = u.runDir, u.logFile(), unprivileged()
	if err := c.as.own(u.runDir); err != nil {
		return err
	}
	logged := fileSize(c.log)
	proc, err := startProcess(c, u.dog)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, u.timeout, fmt.Errorf("not ready within %v", u.timeout))
	defer cancel()
	if err := await(ctx, proc, ready); err != nil {
		err = errors.Join(err, proc.kill(), u.dog.watch(0))
		if text := readFrom(c.log, logged); strings.Contains(text, "BindException") || strings.Contains(text, "Address already in use") {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return err
	}
	u.proc = proc
	return nil
}

// await returns when ready says yes, or with the reason why it never will.
func await(ctx context.Context, proc *process, ready func(context.Context) bool) error {
	for {
		once, cancel := context.WithTimeout(ctx, 10*time.Second)
		ok := ready(once)
		cancel()
		if ok {
			return nil
		}
		select {
		case <-proc.done:
			return fmt.Errorf("the process ended: %v", proc.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// explain adds the end of the log, if there is one, to an error of start.
func (u *unit) explain(err error) error {
	err = fmt.Errorf("%s did not start: %w", u.label, err)
	if log := readEnd(u.logFile(), 64<<10); log != "" {
		err = fmt.Errorf("%w; the end of its log:\n%s", err, tail(log, 40))
	}
	return err
}

// stop ends the process in order, or by force after 30 seconds.
func (u *unit) stop() error {
	return u.end(func(p *process) error {
		if err := p.signal(syscall.SIGCONT); err != nil { // one that is frozen would not hear
			return err
		}
		return p.stop(30 * time.Second)
	})
}

func (u *unit) kill() error { return u.end((*process).kill) }

func (u *unit) pause() error { return u.tell((*process).freeze) }

func (u *unit) resume() error {
	return u.tell(func(p *process) error { return p.signal(syscall.SIGCONT) })
}

// end ends the process, if there is one, and tells the watchdog.
func (u *unit) end(how func(*process) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.proc == nil {
		return nil
	}
	if err := how(u.proc); err != nil {
		return fmt.Errorf("ending %s: %w", u.label, err)
	}
	u.proc = nil
	return u.dog.watch(0)
}

// tell does something to the process if it runs.
func (u *unit) tell(how func(*process) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.proc == nil || !u.proc.running() {
		return fmt.Errorf("%s does not run", u.label)
	}
	return how(u.proc)
}

// close kills the process and removes the folder. It may be called twice.
func (u *unit) close() error {
	return errors.Join(u.kill(), u.dog.end())
}
