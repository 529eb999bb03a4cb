package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// elasticsearch is a fake cluster behind HTTP.
type elasticsearch struct {
	*estest.Cluster
	address string
	server  *httptest.Server
}

func newElasticsearch(t *testing.T, major, minor int) *elasticsearch {
	t.Helper()
	es := &elasticsearch{Cluster: estest.New(esapi.V(major, minor))}
	es.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		res, err := es.Send(r.Context(), &esapi.Request{
			Method: r.Method, Path: r.URL.EscapedPath(), Params: esapi.ParseParams(r.URL.RawQuery), Header: r.Header, Body: body,
		})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.Status)
		io.Copy(w, res.Body)
	}))
	t.Cleanup(es.server.Close)
	es.address = es.server.URL
	return es
}

// process is Caddy in this process.
type process struct {
	t     *testing.T
	port  int
	admin int
}

// newProcess prepares ports and folders; load starts it.
func newProcess(t *testing.T) *process {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("XDG_DATA_HOME", folder)
	t.Setenv("XDG_CONFIG_HOME", folder)
	p := &process{t: t, port: freePort(t), admin: freePort(t)}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		n := 0
		waitFor(t, func() bool {
			n = 0
			gateways.Range(func(_, _ any) bool { n++; return true })
			return n == 0
		})
	})
	return p
}

var portsGiven sync.Map

// freePort is a port on which nobody listens, another one each time. It lies below those that the system gives to outgoing
// connections: one of them would take it meanwhile.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := 12000 + rand.IntN(20000)
		if _, given := portsGiven.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// load makes a Caddyfile work that has this in its esperanto directive and in
// its global option.
func (p *process) load(block, global string) error {
	p.t.Helper()
	caddyfile := fmt.Sprintf(`{
		admin localhost:%d
		persist_config off
		default_bind handover/127.0.0.1
		log {
			level ERROR
		}
		esperanto {
			%s
		}
	}
	http://127.0.0.1:%d {
		esperanto {
			%s
		}
	}`, p.admin, global, p.port, block)
	return loadFile(caddyfile)
}

func loadFile(caddyfile string) error {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(adapted, true)
}

func (p *process) mustLoad(block, global string) {
	p.t.Helper()
	if err := p.load(block, global); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) url() string { return fmt.Sprintf("http://127.0.0.1:%d", p.port) }

// ask sends a request to the gateway.
func (p *process) ask(method, path, body string) (int, string) {
	p.t.Helper()
	status, answer, err := request(method, p.url()+path, body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

// known waits until the master has said what version it is, for which a machine that stalls may leave it no time.
func (p *process) known() {
	p.t.Helper()
	for ends := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, answer := p.ask("GET", "/", ""); !strings.Contains(answer, "is not known yet") {
			return
		} else if time.Now().After(ends) {
			p.t.Fatal(answer)
		}
	}
}

// tell sends a request to the admin endpoint.
func (p *process) tell(method, path, body string) (int, string) {
	p.t.Helper()
	status, answer, err := request(method, fmt.Sprintf("http://localhost:%d%s", p.admin, path), body)
	// A reload makes a new admin endpoint, on the port of the old one, which may end a connection unread.
	ends := time.Now().Add(time.Minute)
	for op := new(net.OpError); errors.As(err, &op) && op.Op == "dial" || method == "GET" && errors.Is(err, io.EOF); {
		time.Sleep(20 * time.Millisecond)
		if p.t.Context().Err() != nil || time.Now().After(ends) {
			break
		}
		status, answer, err = request(method, fmt.Sprintf("http://localhost:%d%s", p.admin, path), body)
	}
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

// status is the answer of /esperanto/status.
func (p *process) status() map[string]any {
	p.t.Helper()
	code, answer := p.tell("GET", "/esperanto/status", "")
	s := map[string]any{}
	if err := json.Unmarshal([]byte(answer), &s); code != 200 || err != nil {
		p.t.Fatalf("status: %d %s", code, answer)
	}
	return s
}

// waitApplied waits until the follower has everything.
func (p *process) waitApplied() {
	p.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s := p.status(); s["backlog"].(float64) == 0 && s["open_intents"].(float64) == 0 {
			return
		}
	}
	p.t.Fatalf("the follower has not caught up: %v", p.status())
}

// client opens a connection for each request: when a server ends, it closes
// idle connections, and what is sent on one at that moment fails.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func request(method, url, body string) (int, string, error) {
	return requestBy(client, method, url, body)
}

func requestBy(client *http.Client, method, url, body string) (int, string, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, string(bytes.TrimSpace(answer)), err
}

// two is the block of a gateway with source and target.
func two(source, target *elasticsearch, more string) string {
	return fmt.Sprintf("cluster a {\nto %s\n}\ncluster b {\nto %s\n}\nsource a\ntarget b\n%s", source.address, target.address, more)
}
