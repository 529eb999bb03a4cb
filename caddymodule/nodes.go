package caddymodule

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/wire"
)

// nodes is the short way to the nodes of a cluster: reverse_proxy, as it was
// provisioned, gives the choice of a node, active health checks, dialling and
// TLS; requests go out on connections of our own. What they learn about a node
// is counted here, as reverse_proxy does not let others count.
type nodes struct {
	proxy *reverseproxy.Handler
	all   []*cnode
	least bool // lb_policy least_conn
	turn  atomic.Uint32

	passive reverseproxy.PassiveHealthChecks
	failing atomic.Int32 // failures of all nodes that count now
}

// A cnode is one node of a cluster.
type cnode struct {
	upstream *reverseproxy.Upstream
	address  string // host:port
	host     string // for the field Host; "": the client's
	client   *wire.Client
	fails    atomic.Int64 // that count now
}

// newNodes makes the short way, nil if the configuration asks for what only
// reverse_proxy does.
func newNodes(proxy *reverseproxy.Handler, raw json.RawMessage) *nodes {
	transport, ok := proxy.Transport.(*reverseproxy.HTTPTransport)
	policy, simple := lean(raw)
	if !ok || !simple {
		return nil
	}
	n := &nodes{proxy: proxy, least: policy == "least_conn"}
	if h := proxy.HealthChecks; h != nil && h.Passive != nil {
		n.passive = *h.Passive
	}
	for _, u := range proxy.Upstreams {
		node := newNode(transport, u)
		if node == nil {
			return nil
		}
		n.all = append(n.all, node)
	}
	return n
}

// newNode makes one node, nil if it is reached by a proxy.
func newNode(t *reverseproxy.HTTPTransport, u *reverseproxy.Upstream) *cnode {
	address, err := caddy.ParseNetworkAddress(u.Dial)
	if err != nil || address.PortRangeSize() != 1 || !strings.HasPrefix(address.Network, "tcp") {
		return nil // reverse_proxy can do more, and says what is wrong
	}
	n := &cnode{upstream: u, address: address.JoinHostPort(0)}
	scheme := "http"
	var secure *tls.Config
	if t.TLSEnabled() {
		scheme, n.host = "https", n.address
		secure = t.Transport.TLSClientConfig.Clone()
		secure.NextProtos = []string{"http/1.1"}
		if secure.ServerName == "" {
			secure.ServerName = address.Host
		}
	}
	if by, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: n.address}}); by != nil || err != nil {
		return nil
	}
	network, dial := address.Network, t.Transport.DialContext
	limit := t.Transport.TLSHandshakeTimeout
	o := wire.Options{
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx, network, n.address)
			if err != nil || secure == nil {
				return c, err
			}
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			s := tls.Client(c, secure)
			if err := s.HandshakeContext(ctx); err != nil {
				_ = c.Close()
				return nil, err
			}
			return s, nil
		},
		MaxIdle:     t.Transport.MaxIdleConnsPerHost,
		IdleTimeout: t.Transport.IdleConnTimeout,
		HeadTimeout: t.Transport.ResponseHeaderTimeout,
		ReadBuffer:  t.Transport.ReadBufferSize,
	}
	if t.Transport.DisableKeepAlives {
		o.MaxIdle = -1
	}
	n.client = wire.New(o)
	return n
}

func (n *nodes) close() {
	for _, node := range n.all {
		node.client.Close()
	}
}

// do sends a request to one of the nodes, to another one if nothing can have
// reached the first, or if it may be repeated, as often as is configured. host is
// for the field Host, "" to name the node.
func (n *nodes) do(ctx context.Context, r *wire.Request, host string) (*wire.Response, error) {
	var began time.Time
	if n.proxy.LoadBalancing.TryDuration > 0 {
		began = time.Now()
	}
	var failed []*cnode
	for tries := 0; ; tries++ {
		node := n.choose(failed)
		if node == nil && len(failed) > 0 {
			failed = nil // all of them; one may be back
			node = n.choose(nil)
		}
		if node == nil && cluster.IsProbing(ctx) { // what is known of the nodes may be out of date
			node = n.all[int(n.turn.Add(1)%uint32(len(n.all)))]
		}
		res, err := n.try(ctx, node, r, host)
		if err == nil || ended(err) || !n.again(ctx, r, err, began, tries) {
			return res, err
		}
		if node != nil {
			failed = append(failed, node)
		}
	}
}

var errNoNode = fmt.Errorf("%w: no upstreams available", wire.ErrNotSent)

// try sends a request to one node, nil if there is none.
func (n *nodes) try(ctx context.Context, node *cnode, r *wire.Request, host string) (*wire.Response, error) {
	if node == nil {
		return nil, errNoNode
	}
	if r.Host = node.host; r.Host == "" {
		if r.Host = host; r.Host == "" {
			r.Host = node.address
		}
	}
	var sent time.Time
	if n.passive.UnhealthyLatency > 0 {
		sent = time.Now()
	}
	res, err := node.client.Do(ctx, r)
	if err != nil {
		if !ended(err) && !errors.Is(err, wire.ErrRequest) {
			n.failed(node)
		}
		return nil, err
	}
	n.judge(node, res.Status, sent)
	return res, nil
}

// again reports whether a request that failed is to be sent to a node again, after
// the pause that is configured.
func (n *nodes) again(ctx context.Context, r *wire.Request, err error, began time.Time, tries int) bool {
	lb := n.proxy.LoadBalancing
	switch {
	case lb.TryDuration == 0 && lb.Retries == 0,
		lb.TryDuration > 0 && time.Since(began) >= time.Duration(lb.TryDuration),
		lb.Retries > 0 && tries >= lb.Retries,
		!errors.Is(err, wire.ErrNotSent) && (!r.Repeatable || r.Stream != nil),
		errors.Is(err, wire.ErrRequest):
		return false
	}
	if lb.TryInterval > 0 {
		select {
		case <-time.After(time.Duration(lb.TryInterval)):
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// choose chooses a node among those that are not known to be down and have not failed
// this request, nil if there is none.
func (n *nodes) choose(failed []*cnode) *cnode {
	if len(n.all) == 1 {
		if len(failed) > 0 || !n.available(n.all[0]) {
			return nil
		}
		return n.all[0]
	}
	if n.least {
		return n.leastBusy(failed)
	}
	pool := n.proxy.Upstreams
	if n.failing.Load() > 0 || len(failed) > 0 {
		pool = nil
		for _, node := range n.all {
			if n.available(node) && !slices.Contains(failed, node) {
				pool = append(pool, node.upstream)
			}
		}
	}
	chosen := n.proxy.LoadBalancing.SelectionPolicy.Select(pool, nil, nil)
	for _, node := range n.all {
		if node.upstream == chosen {
			return node
		}
	}
	return nil
}

func (n *nodes) leastBusy(failed []*cnode) *cnode {
	var best *cnode
	first := int(n.turn.Add(1)) // equals take turns
	for i := range n.all {
		node := n.all[(first+i)%len(n.all)]
		if n.available(node) && !slices.Contains(failed, node) && (best == nil || node.client.Running() < best.client.Running()) {
			best = node
		}
	}
	return best
}

func (n *nodes) available(node *cnode) bool {
	if fails := node.fails.Load(); fails > 0 && n.passive.FailDuration > 0 && fails >= int64(max(1, n.passive.MaxFails)) {
		return false
	}
	return node.upstream.Available()
}

// judge looks at an answer as passive health checks do.
func (n *nodes) judge(node *cnode, status int, sent time.Time) {
	for _, bad := range n.passive.UnhealthyStatus {
		if caddyhttp.StatusCodeMatches(status, bad) {
			n.failed(node)
		}
	}
	if limit := time.Duration(n.passive.UnhealthyLatency); limit > 0 && time.Since(sent) >= limit {
		n.failed(node)
	}
}

// failed counts a failure of a node, for as long as is configured.
func (n *nodes) failed(node *cnode) {
	d := time.Duration(n.passive.FailDuration)
	if d <= 0 {
		return
	}
	n.failing.Add(1)
	node.fails.Add(1)
	time.AfterFunc(d, func() {
		node.fails.Add(-1)
		n.failing.Add(-1)
	})
}

// What the short way does of reverse_proxy's options. All others are left to
// reverse_proxy.
var (
	leanOptions   = []string{"upstreams", "transport", "load_balancing", "health_checks"}
	leanTransport = []string{"protocol", "tls", "keep_alive", "compression", "resolver", "dial_timeout", "dial_fallback_delay", "local_address",
		"response_header_timeout", "read_timeout", "write_timeout", "read_buffer_size", "write_buffer_size"}
	leanPolicies = []string{"", "random", "round_robin", "first", "least_conn"}
)

// lean reports whether a configuration of reverse_proxy has nothing but what the short
// way does too, and its lb_policy.
func lean(raw json.RawMessage) (policy string, ok bool) {
	var c struct {
		Transport struct {
			Protocol  string
			KeepAlive struct {
				MaxIdleConns int `json:"max_idle_conns"`
			} `json:"keep_alive"`
			Compression *bool
			TLS         *struct {
				ServerName  string   `json:"server_name"`
				ExceptPorts []string `json:"except_ports"`
			}
		}
		Upstreams     []map[string]json.RawMessage
		LoadBalancing struct {
			SelectionPolicy struct{ Policy string } `json:"selection_policy"`
		} `json:"load_balancing"`
		HealthChecks struct {
			Passive struct {
				UnhealthyRequestCount int `json:"unhealthy_request_count"`
			}
		} `json:"health_checks"`
	}
	var options struct {
		All       map[string]json.RawMessage
		Transport map[string]json.RawMessage
	}
	if json.Unmarshal(raw, &c) != nil || json.Unmarshal(raw, &options) != nil || json.Unmarshal(raw, &options.All) != nil ||
		!only(options.All, leanOptions) || !only(options.Transport, leanTransport) || !slices.Contains(leanPolicies, c.LoadBalancing.SelectionPolicy.Policy) {
		return "", false
	}
	for _, u := range c.Upstreams {
		if !only(u, []string{"dial"}) || strings.Contains(string(u["dial"]), "{") {
			return "", false
		}
	}
	t := c.Transport
	return c.LoadBalancing.SelectionPolicy.Policy, len(c.Upstreams) > 0 && (t.Protocol == "" || t.Protocol == "http") && (t.Compression == nil || !*t.Compression) &&
		(t.TLS == nil || len(t.TLS.ExceptPorts) == 0 && !strings.Contains(t.TLS.ServerName, "{")) && c.HealthChecks.Passive.UnhealthyRequestCount == 0 && t.KeepAlive.MaxIdleConns == 0
}

// only reports whether a map has no keys but some.
func only(m map[string]json.RawMessage, keys []string) bool {
	for key := range m {
		if !slices.Contains(keys, key) {
			return false
		}
	}
	return true
}

// asUnsent makes an error of wire one of esapi's.
func asUnsent(err error) error {
	if errors.Is(err, wire.ErrRequest) {
		return esapi.IllegalArgument(err.Error())
	}
	if errors.Is(err, wire.ErrNotSent) {
		return fmt.Errorf("%w: %w", esapi.ErrNotSent, err)
	}
	return err
}
