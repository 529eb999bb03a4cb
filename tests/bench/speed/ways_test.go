package speed

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
)

// A way leads to a cluster.
type way struct {
	key     string
	newer   bool     // it leads to the cluster of the newer version
	dialect dialect  // empty: that of the cluster
	only    []string // the modes that are measured; nil: all
	gather  string   // empty: as it is by default
	applies bool     // the follower is brought up to date, after each turn at the latest; stubs are none
	start   func(t *testing.T, w *way, b *backend) door
}

var (
	writes  = []string{"document", "bulk", "offered"} // reads are the same without a journal
	singles = []string{"document", "offered"}         // nothing else is gathered
)

// ways are in the order of the table; those to the newer cluster are compared with
// its own direct way.
var ways = []*way{
	{key: "direct", start: direct},
	{key: "nginx", start: nginx},
	{key: "caddy", start: plainCaddy},
	{key: "esperanto", start: one},
	{key: "single", only: singles, gather: "off", start: one},
	{key: "journal", only: writes, start: two("paused")},
	{key: "journal-single", only: singles, gather: "off", start: two("paused")},
	{key: "applying", only: writes, applies: true, start: two("on")},
	{key: "newer", newer: true, start: direct},
	{key: "8to8", newer: true, start: one},
	{key: "5to8", newer: true, dialect: "5.6.16", start: one},
}

// title is what the table calls a way.
func (w *way) title(b *backend) string {
	speaks := func() string { return major(string(w.speaks(b))) + " -> " + major(b.newer.version) }
	return map[string]string{
		"direct":         "direct",
		"nginx":          "nginx",
		"caddy":          "plain Caddy",
		"esperanto":      "esperanto",
		"single":         "esperanto, gather off",
		"journal":        "esperanto, journal",
		"journal-single": "esperanto, journal, gather off",
		"applying":       "esperanto, journal and applier",
		"newer":          "direct to " + b.newer.version,
		"8to8":           "esperanto, " + speaks(),
		"5to8":           "esperanto, " + speaks(),
	}[w.key]
}

func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}

// plain is the way that w is compared with.
func (w *way) plain() string {
	if w.newer {
		return "newer"
	}
	return "direct"
}

// to is the cluster that a way leads to.
func (w *way) to(b *backend) cluster {
	if w.newer {
		return b.newer
	}
	return b.older
}

// speaks is what is spoken on a way.
func (w *way) speaks(b *backend) dialect {
	if w.dialect != "" {
		return w.dialect
	}
	return dialect(w.to(b).version)
}

// A door is where a way begins.
type door struct {
	url string
	pid int // 0: there is nothing in between
	g   *gateway.Gateway
}

// addr is host and port.
func (d door) addr() string { return strings.TrimPrefix(d.url, "http://") }

func direct(_ *testing.T, w *way, b *backend) door { return door{url: w.to(b).url} }

// one is a gateway of one cluster.
func one(t *testing.T, w *way, b *backend) door {
	block := w.block("only", w.to(b))
	if w.dialect != "" {
		block += "\ndialect " + string(w.dialect)
	}
	return opened(gateway.Run(t, gateway.Options{Binary: *binary, Block: block}))
}

// two is a gateway with a journal and a follower, which is the newer cluster.
func two(apply string) func(*testing.T, *way, *backend) door {
	return func(t *testing.T, w *way, b *backend) door {
		block := w.block("source", b.older) + w.block("target", b.newer) + "source source\ntarget target\nmaster source\napply " + apply
		return opened(gateway.Run(t, gateway.Options{Binary: *binary, Block: block}))
	}
}

// block is what a gateway knows of a cluster.
func (w *way) block(name string, c cluster) string {
	more := ""
	if w.gather != "" {
		more = "\ngather " + w.gather
	}
	return fmt.Sprintf("cluster %s {\nto %s%s\n}\n", name, c.url, more)
}

// plainCaddy is reverse_proxy in the same binary, as it is best for this: it leaves
// answers uncompressed, and keeps as many connections as there are clients.
func plainCaddy(t *testing.T, w *way, b *backend) door {
	return opened(gateway.Run(t, gateway.Options{Binary: *binary, Adapter: "caddyfile", Config: fmt.Sprintf(`{
	admin {admin}
}
:{port} {
	reverse_proxy %s {
		transport http {
			compression off
			keepalive_idle_conns_per_host 512
		}
	}
}
`, strings.TrimPrefix(w.to(b).url, "http://"))}))
}

func opened(g *gateway.Gateway) door {
	interrupted.add(func() { _ = g.Close() })
	return door{url: g.URL(), pid: g.PID(), g: g}
}

// interrupted is what is left to do when somebody has enough of waiting for the end.
var interrupted leftovers

type leftovers struct {
	mu  sync.Mutex
	all []func()
}

func (l *leftovers) add(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, f)
}

// watch does it, and ends this process.
func (l *leftovers) watch() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		l.mu.Lock()
		var ends sync.WaitGroup
		for _, end := range l.all {
			ends.Go(end)
		}
		ends.Wait()
		os.Exit(130)
	}()
}

// nginx is one with connections that are kept, and no access log.
func nginx(t *testing.T, w *way, b *backend) door {
	folder := t.TempDir()
	port := freePort(t)
	user := ""
	if os.Getuid() == 0 {
		user = "user root root;" // its workers would not get into the folder
	}
	config := fmt.Sprintf(`%s
daemon off;
worker_processes auto;
pid nginx.pid;
error_log error.log;
events { worker_connections 2048; }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	client_max_body_size 0;
	client_body_buffer_size 1m;
	keepalive_requests 1000000000;
	upstream cluster {
		server %s;
		keepalive 512;
		keepalive_requests 1000000000;
	}
	server {
		listen 127.0.0.1:%d;
		location / {
			proxy_pass http://cluster;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
	}
}
`, user, strings.TrimPrefix(w.to(b).url, "http://"), port)
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginxPath(), "-p", folder, "-c", file, "-e", "error.log")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	interrupted.add(func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	d := door{url: fmt.Sprintf("http://127.0.0.1:%d", port), pid: cmd.Process.Pid}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _, err := gateway.Send(t.Context(), "GET", d.url, ""); err == nil && status == http.StatusOK {
			return d
		} else if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(folder, "error.log"))
			t.Fatalf("nginx does not answer: %d %v\n%s", status, err, log)
		}
	}
}

// nginxPath is where nginx is; empty if there is none.
func nginxPath() string {
	path, err := exec.LookPath(*nginxFlag)
	if err != nil {
		return ""
	}
	return path
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A cluster is one that is asked, or a stub of one.
type cluster struct {
	url, version string
	pid          int
}

// A backend is a pair of clusters of two versions.
type backend struct {
	name         string
	stubs        bool // they know nothing of indices
	older, newer cluster
	prefix       string // of the names of indices
}

// send sends a request that must succeed.
// A cluster that has more to do than memory for it says so for a while.
func send(t *testing.T, method, to, path, body string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		status, answer, err := gateway.Send(ctx, method, to+path, body)
		if status == http.StatusTooManyRequests {
			wait(ctx, time.Second)
			continue
		}
		if err != nil || status >= 300 {
			t.Fatalf("%s %s: %d %.1000s %v", method, path, status, answer, err)
		}
		return answer
	}
}

// stubEnv makes this binary a stub of that version.
const stubEnv = "ESPERANTO_SPEED_STUB"

// runStub serves until its standard input ends, and says where.
func runStub(version string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	go func() { // ends with the process
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	return newStub(version).serve(l)
}

// startStub runs a stub as a process of its own, so that its work is its own, too.
func startStub(t *testing.T, version string) cluster {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), stubEnv+"="+version)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	var at string
	if _, err := fmt.Fscanln(out, &at); err != nil {
		t.Fatal(err)
	}
	if _, err := url.Parse(at); err != nil {
		t.Fatal(err)
	}
	return cluster{at, version, cmd.Process.Pid}
}
