// Package gateway runs the esperanto binary, for tests and the demo. It promises
// that the process ends with Close, that it can be killed and started again on
// the same ports and the same journal, and that its log is at hand when something
// fails.
package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Options say how a gateway is run.
type Options struct {
	// Binary is the esperanto binary; see Build.
	Binary string

	// Block is what stands in the esperanto directive of the Caddyfile.
	Block string

	// Site is put in front of the directive, such as a basic_auth block.
	Site string

	// Global is put into the global options, such as an esperanto block with the
	// settings of the journal.
	Global string

	// Config and Adapter replace the Caddyfile by another file; "{port}" and
	// "{admin}" in it are filled in.
	Config, Adapter string
}

// A Gateway is a process with its folder, which holds configuration, journal and
// log.
type Gateway struct {
	options Options
	folder  string
	port    int
	admin   string

	cmd   *exec.Cmd
	ended chan struct{}
}

// readyLimit is how long a gateway may take until it answers.
const readyLimit = 3 * time.Minute

// Build compiles the binary into a folder and returns its path. root is the
// folder of the module.
func Build(ctx context.Context, root, folder string) (string, error) {
	binary := filepath.Join(folder, "esperanto")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/esperanto")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w: %s", err, out)
	}
	return binary, nil
}

// Start runs a gateway and waits until it answers.
func Start(ctx context.Context, o Options) (*Gateway, error) {
	folder, err := os.MkdirTemp("", "esperanto-gateway-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	g := &Gateway{options: o, folder: folder, port: ports[0], admin: fmt.Sprintf("127.0.0.1:%d", ports[1])}
	if err := g.Configure(o); err != nil {
		return nil, err
	}
	if err := g.Restart(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Configure writes the configuration anew; Reload or Restart make it work.
func (g *Gateway) Configure(o Options) error {
	g.options = o
	config := o.Config
	if config == "" {
		config = fmt.Sprintf("{\n\tadmin {admin}\n\tdefault_bind handover/\n\tlog {\n\t\tlevel INFO\n\t\texclude admin.api\n\t}\n%s\n}\n\n:{port} {\n%s\n\tesperanto {\n%s\n\t}\n}\n", o.Global, o.Site, o.Block)
	}
	return os.WriteFile(g.file(), []byte(g.fill(config)), 0o600)
}

// fill puts the ports in.
func (g *Gateway) fill(config string) string {
	return strings.NewReplacer("{admin}", g.admin, "{port}", fmt.Sprint(g.port)).Replace(config)
}

func (g *Gateway) file() string { return filepath.Join(g.folder, "config") }

func (g *Gateway) adapter() string {
	if g.options.Adapter != "" {
		return g.options.Adapter
	}
	return "caddyfile"
}

// Config is the configuration as it was written.
func (g *Gateway) Config() string {
	b, _ := os.ReadFile(g.file())
	return string(b)
}

// URL is where clients reach the gateway.
func (g *Gateway) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", g.port) }

// Admin is host and port of the admin endpoint.
func (g *Gateway) Admin() string { return g.admin }

// PID is the process's id, until it is killed or stopped.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Restart starts the process again after Kill or Stop, on the same ports and
// journal.
func (g *Gateway) Restart(ctx context.Context) error {
	if g.cmd != nil {
		select {
		case <-g.ended:
		default:
			return errors.New("the gateway still runs: stop or kill it first")
		}
	}
	log, err := os.OpenFile(g.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(g.options.Binary, "run", "--config", g.file(), "--adapter", g.adapter())
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+g.folder, "XDG_CONFIG_HOME="+g.folder)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for the gateway alone to answer
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the gateway: %w", err)
	}
	g.cmd, g.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(g.ended)
	return g.waitReady(ctx)
}

// waitReady waits until the gateway answers at all; its clusters may be down.
func (g *Gateway) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL(), nil)
		if err != nil {
			return err
		}
		if a, err := http.DefaultClient.Do(r); err == nil {
			_ = a.Body.Close()
			return nil
		}
		select {
		case <-g.ended:
			return fmt.Errorf("the gateway ended:\n%s", g.Log())
		case <-ctx.Done():
			return fmt.Errorf("the gateway does not answer:\n%s", g.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill ends the process with SIGKILL.
func (g *Gateway) Kill() error {
	err := g.cmd.Process.Kill()
	<-g.ended
	return err
}

// Pause freezes the process with SIGSTOP: connections stay open, nothing is
// answered.
func (g *Gateway) Pause() error { return g.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume wakes a process that is paused.
func (g *Gateway) Resume() error { return g.cmd.Process.Signal(syscall.SIGCONT) }

// Signal sends a signal to the process, such as SIGSTOP and SIGCONT.
func (g *Gateway) Signal(s syscall.Signal) error { return g.cmd.Process.Signal(s) }

// Stop ends the process in order, or kills it after a minute.
func (g *Gateway) Stop() error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil // it has ended
	}
	select {
	case <-g.ended:
		return nil
	case <-time.After(time.Minute):
		return errors.Join(errors.New("the gateway had to be killed"), g.Kill())
	}
}

// Close stops the process and removes its folder.
func (g *Gateway) Close() error {
	var err error
	if g.cmd != nil {
		err = g.Stop()
	}
	return errors.Join(err, os.RemoveAll(g.folder))
}

func (g *Gateway) logFile() string { return filepath.Join(g.folder, "log") }

// Log is the end of the log, at most 16 KiB.
func (g *Gateway) Log() string {
	const most = 16 << 10
	b, _ := os.ReadFile(g.logFile())
	return string(b[max(0, len(b)-most):])
}

// Command runs a sub-command of the binary, such as "switch", against this
// gateway's admin endpoint, and returns what it printed.
func (g *Gateway) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, g.options.Binary, append(args, "--address", g.admin)...)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+g.folder, "XDG_CONFIG_HOME="+g.folder)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("esperanto %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Reload makes a configuration written by Configure work, with "reload".
func (g *Gateway) Reload(ctx context.Context) (string, error) {
	return g.Command(ctx, "reload", "--config", g.file(), "--adapter", g.adapter())
}

// Status is what GET /esperanto/status tells, as far as tests need it.
type Status struct {
	Master      string  `json:"master"`
	Epoch       uint64  `json:"epoch"`
	Phase       string  `json:"phase"`
	Backlog     int64   `json:"backlog"`
	OpenIntents int64   `json:"open_intents"`
	DeadLetters int64   `json:"dead_letters"`
	LagSeconds  float64 `json:"lag_seconds"`
}

// Status asks the admin endpoint.
func (g *Gateway) Status(ctx context.Context) (s Status, err error) {
	status, body, err := g.AdminRequest(ctx, http.MethodGet, "/esperanto/status", "")
	if err != nil {
		return s, err
	}
	if status != http.StatusOK {
		return s, fmt.Errorf("asking for the status: %d %s", status, body)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("reading the status %s: %w", body, err)
	}
	return s, nil
}

// WaitApplied waits until the follower has all that the journal holds.
func (g *Gateway) WaitApplied(ctx context.Context) error {
	for {
		s, err := g.Status(ctx)
		if err == nil && s.Backlog == 0 && s.OpenIntents == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the follower has not caught up: %+v, %v\n%s", s, err, g.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// AdminRequest sends a request to the admin endpoint.
func (g *Gateway) AdminRequest(ctx context.Context, method, path, body string) (int, []byte, error) {
	return Send(ctx, method, "http://"+g.admin+path, body)
}

// Request sends a request to the gateway, a body as JSON.
func (g *Gateway) Request(ctx context.Context, method, path, body string) (int, []byte, error) {
	return Send(ctx, method, g.URL()+path, body)
}

// Send sends a request to a URL, which may hold user and password; a body as
// JSON.
func Send(ctx context.Context, method, url, body string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	// A reload closes idle connections; with this key, which is not sent, the
	// client sends a request again that it sent on one of them.
	r.Header["Idempotency-Key"] = nil
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	return a.StatusCode, answer, err
}

// freePorts finds ports that nobody listens on. They lie below the range that systems hand
// out to outgoing connections, so that a gateway that was killed finds its own free when it
// starts again.
func freePorts(n int) ([]int, error) {
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000)))
		if err != nil && tries > 1000 {
			return nil, err
		} else if err != nil {
			continue
		}
		defer l.Close() // held until all are found: no port twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
