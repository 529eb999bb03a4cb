package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/esperanto-es/esperanto/tests/harness"
)

const (
	sourceName = "source-es5"
	targetName = "target-es8"
)

// A gateway is the running product: the binary with a Caddyfile.
type gateway struct {
	binary string
	url    string // for clients
	admin  string // host:port of the admin endpoint
	folder string
	cmd    *exec.Cmd
	ended  chan struct{}
}

const caddyfile = `{
	admin %s
	log {
		output file %s
	}
}
:%d {
	esperanto {
		cluster %s {
			to %s
		}
		cluster %s {
			to %s
		}
		source %[4]s
		target %[6]s
		master %[4]s
	}
}
`

func startGateway(ctx context.Context, binary string, source, target *harness.Cluster) (*gateway, error) {
	folder, err := os.MkdirTemp("", "esperanto-demo-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	g := &gateway{
		binary: binary,
		url:    fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		admin:  fmt.Sprintf("127.0.0.1:%d", ports[1]),
		folder: folder,
		ended:  make(chan struct{}),
	}
	config := fmt.Sprintf(caddyfile, g.admin, filepath.Join(folder, "gateway.log"), ports[0], sourceName, source.URL(), targetName, target.URL())
	file := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	fmt.Println(indent(config))
	g.cmd = exec.Command(binary, "run", "--config", file, "--adapter", "caddyfile")
	g.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo, which then ends it
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the gateway: %w; build it with make build", err)
	}
	go func() {
		defer close(g.ended)
		_ = g.cmd.Wait()
	}()
	if err := g.waitReady(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	say("the gateway answers at %s, its admin endpoint at %s", g.url, g.admin)
	return g, nil
}

// readyLimit is how long the gateway may take to answer for its master.
const readyLimit = 30 * time.Second

func (g *gateway) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url, nil)
		if err != nil {
			return err
		}
		if a, err := http.DefaultClient.Do(req); err == nil {
			_ = a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-g.ended:
			return fmt.Errorf("the gateway ended: %s", g.log())
		case <-ctx.Done():
			return fmt.Errorf("the gateway does not answer: %s", g.log())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (g *gateway) log() string {
	b, _ := os.ReadFile(filepath.Join(g.folder, "gateway.log"))
	if len(b) > 4096 {
		b = b[len(b)-4096:]
	}
	return string(b)
}

// status is what GET /esperanto/status tells, as far as the demo needs it.
type status struct {
	Master  string `json:"master"`
	Backlog int64  `json:"backlog"`
}

func (g *gateway) status(ctx context.Context) (s status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/esperanto/status", nil)
	if err != nil {
		return s, err
	}
	a, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer a.Body.Close()
	return s, json.NewDecoder(a.Body).Decode(&s)
}

// switchMaster runs "esperanto switch" and returns what it printed.
func (g *gateway) switchMaster(ctx context.Context, to string) (string, error) {
	cmd := exec.CommandContext(ctx, g.binary, "switch", to, "--address", g.admin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("esperanto switch %s: %w: %s", to, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (g *gateway) close() error {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.ended:
	case <-time.After(15 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.ended
	}
	return os.RemoveAll(g.folder)
}

// freePorts finds ports that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(s, "\t", "  ")), "\n", "\n    ")
}
