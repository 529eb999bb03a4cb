package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// What the short way cannot do goes through reverse_proxy.
func TestShortWay(t *testing.T) {
	for options, want := range map[string]bool{
		``:                                true,
		`"transport":{"protocol":"http"}`: true,
		`"transport":{"protocol":"http","tls":{"server_name":"es","insecure_skip_verify":true},"read_timeout":5,"response_header_timeout":7}`: true,
		`"transport":{"protocol":"http","keep_alive":{"max_idle_conns_per_host":3}}`:                                                          true,
		`"load_balancing":{"selection_policy":{"policy":"least_conn"},"retries":3}`:                                                           true,
		`"health_checks":{"active":{"uri":"/"},"passive":{"max_fails":1,"fail_duration":5}}`:                                                  true,
		`"transport":{"protocol":"http","compression":true}`:                                                                                  false,
		`"transport":{"protocol":"http","versions":["h2c"]}`:                                                                                  false,
		`"transport":{"protocol":"http","proxy_protocol":"v1"}`:                                                                               false,
		`"transport":{"protocol":"http","max_conns_per_host":3}`:                                                                              false,
		`"transport":{"protocol":"http","tls":{"server_name":"{http.request.host}"}}`:                                                         false,
		`"transport":{"protocol":"http","tls":{"except_ports":["9200"]}}`:                                                                     false,
		`"transport":{"protocol":"fastcgi"}`:                                                                                                  false,
		`"load_balancing":{"selection_policy":{"policy":"ip_hash"}}`:                                                                          false,
		`"health_checks":{"passive":{"unhealthy_request_count":3}}`:                                                                           false,
		`"headers":{"request":{"set":{"A":["b"]}}}`:                                                                                           false,
		`"rewrite":{"strip_path_prefix":"/a"}`:                                                                                                false,
		`"transport":{"protocol":"http","keep_alive":{"max_idle_conns":3}}`:                                                                   false,
		`"flush_interval":-1`:            false,
		`"circuit_breaker":{"type":"x"}`: false,
		`"something_new":1`:              false,
	} {
		raw := `{"upstreams":[{"dial":"a:9200"}]`
		if options != "" {
			raw += "," + options
		}
		if _, got := lean(json.RawMessage(raw + "}")); got != want {
			t.Errorf("%s: %v", options, got)
		}
	}
	for _, raw := range []string{`{}`, `{"upstreams":[]}`, `{"upstreams":[{"dial":"{env.A}:9200"}]}`, `{"upstreams":[{"dial":"a:9200","max_requests":4}]}`, `[`} {
		if _, got := lean(json.RawMessage(raw)); got {
			t.Errorf("%s", raw)
		}
	}
}

// A node that fails is left alone for a while, and asked again after it.
func TestFailingNodeIsLeftAlone(t *testing.T) {
	var asked, dead *atomic.Int32
	var u *upstream
	for began, tries := time.Now(), 0; tries == 0 || time.Since(began) > 2*time.Second && tries < 20; tries++ { // all within fail_duration
		began, asked, dead = time.Now(), new(atomic.Int32), new(atomic.Int32)
		good, bad := asked, dead
		u = newTestUpstream(t, Cluster{}, `"health_checks":{"passive":{"max_fails":2,"fail_duration":3000000000,"unhealthy_status":[5]}}`,
			node(t, func(w http.ResponseWriter, r *http.Request) {
				bad.Add(1)
				w.WriteHeader(http.StatusInternalServerError)
			}),
			node(t, func(w http.ResponseWriter, r *http.Request) { good.Add(1) }))
		if u.way.Load().nodes == nil {
			t.Fatal("not the short way")
		}
		for range 20 {
			send(t, u, esapi.NewRequest("GET", "/", nil))
		}
	}
	if asked.Load() != 18 || dead.Load() != 2 {
		t.Errorf("%d and %d", asked.Load(), dead.Load())
	}
	for end := time.Now().Add(time.Minute); dead.Load() == 2 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		send(t, u, esapi.NewRequest("GET", "/", nil))
	}
	if dead.Load() == 2 {
		t.Error("it is never asked again")
	}
}

// A node that is down costs no request, and no node is asked twice to write.
func TestDeadNodes(t *testing.T) {
	for _, policy := range []string{"", `"load_balancing":{"selection_policy":{"policy":"least_conn"},"retries":2}`, `"load_balancing":{"selection_policy":{"policy":"first"},"retries":2}`} {
		var asked atomic.Int32
		good := node(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1) })
		u := newTestUpstream(t, Cluster{}, policy, deadNode(t), good, deadNode(t))
		for range 12 {
			send(t, u, esapi.NewRequest("POST", "/a/_doc", []byte("{}")))
		}
		if asked.Load() != 12 {
			t.Errorf("%s: %d", policy, asked.Load())
		}
	}
}

func TestLeastConn(t *testing.T) {
	release := make(chan bool)
	var asked [2]atomic.Int32
	at := func(i int) string {
		return node(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				asked[i].Add(100)
				w.WriteHeader(200)
				_ = http.NewResponseController(w).Flush()
				<-release
			}
			asked[i].Add(1)
		})
	}
	u := newTestUpstream(t, Cluster{}, `"load_balancing":{"selection_policy":{"policy":"least_conn"}}`, at(0), at(1))
	slow, err := u.Send(t.Context(), esapi.NewRequest("GET", "/slow", nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		send(t, u, esapi.NewRequest("GET", "/", nil))
	}
	a, b := asked[0].Load(), asked[1].Load()
	if max(a, b) != 100 || min(a, b) != 5 {
		t.Errorf("%d and %d", a, b)
	}
	close(release)
	_ = slow.Body.Close()
	for range 10 {
		send(t, u, esapi.NewRequest("GET", "/", nil))
	}
	if a, b := asked[0].Load()%100, asked[1].Load()%100; min(a, b) < 4 {
		t.Errorf("nodes that have as much to do do not take turns: %d and %d", a, b)
	}
}

func TestForwardedFields(t *testing.T) {
	for _, c := range []struct {
		trusted         bool
		remote, before  string
		by, proto, host string
	}{
		{false, "10.1.2.3:99", "1.1.1.1", "10.1.2.3", "http", "es"},
		{true, "10.1.2.3:99", "", "10.1.2.3", "http", "es"},
		{true, "10.1.2.3:99", "1.1.1.1", "1.1.1.1, 10.1.2.3", "https", "front"},
		{true, "@", "1.1.1.1", "1.1.1.1", "https", "front"},
		{false, "@", "1.1.1.1", "", "http", "es"},
		{false, "[fe80::1%eth0]:99", "", "fe80::1", "http", "es"},
	} {
		r, _ := http.NewRequest("GET", "http://es/", nil)
		r.RemoteAddr = c.remote
		if c.before != "" {
			r.Header = http.Header{"X-Forwarded-For": {c.before}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"front"}}
		}
		r = r.WithContext(contextWithVars(t, map[string]any{caddyhttp.TrustedProxyVarKey: c.trusted}))
		var got []string
		for _, f := range forwarded(nil, r) {
			got = append(got, f.Value)
		}
		if want := strings.Join([]string{c.by, c.proto, c.host}, "|"); strings.Join(got, "|") != want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func contextWithVars(t *testing.T, vars map[string]any) context.Context {
	return context.WithValue(t.Context(), caddyhttp.VarsCtxKey, vars)
}

// Whether a cluster answers is asked of its nodes also while health checks hold them to be
// down: it must not seem to be down for longer than it is.
func TestProbeOfNodesThatWereDown(t *testing.T) {
	var down atomic.Bool
	h := func(http.ResponseWriter, *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
	}
	u := newTestUpstream(t, Cluster{}, `"load_balancing":{"retries":1,"selection_policy":{"policy":"round_robin"}},"health_checks":{"passive":{"max_fails":3,"fail_duration":60000000000}}`, node(t, h), node(t, h))
	ping := func(ctx context.Context) error {
		_, err := u.Send(ctx, esapi.NewRequest("GET", "/", nil))
		return err
	}
	down.Store(true)
	for range 10 {
		if ping(t.Context()) == nil {
			t.Fatal("there was an answer")
		}
	}
	if err := ping(cluster.Probing(t.Context())); err == nil {
		t.Error("there was an answer")
	}
	down.Store(false)
	if err := ping(t.Context()); err == nil || !strings.Contains(err.Error(), "no upstreams") {
		t.Errorf("a request of a client: %v", err)
	}
	if err := ping(cluster.Probing(t.Context())); err != nil {
		t.Error(err)
	}
}
