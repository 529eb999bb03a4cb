package caddymodule

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// An upstream carries requests to the nodes of one cluster through an embedded
// reverse_proxy handler, so that load balancing, health checks, TLS and headers
// are Caddy's. It implements esapi.Sender and gateway.Forwarder.
//
// Requests may outlive the configuration that made the upstream: it is taken
// apart when it was closed and the last request has left.
type upstream struct {
	ctx         caddy.Context
	raw         json.RawMessage // of reverse_proxy, as configured
	basic       string          // value of the Authorization header, or ""
	passthrough bool            // the client's own credentials come first
	log         *zap.Logger
	server      *caddyhttp.Server

	way     atomic.Pointer[way]
	checked bool // active health checks are configured

	*uses
}

// A way is how requests get to a cluster.
type way struct {
	proxy *reverseproxy.Handler
	nodes *nodes // the short way; nil if there is none
}

func (w *way) cleanup() error {
	if w.nodes != nil {
		w.nodes.close()
	}
	return w.proxy.Cleanup()
}

// newUpstream provisions a cluster's reverse_proxy. Nothing is sent: active
// health checks begin with start.
func newUpstream(ctx caddy.Context, c *Cluster) (*upstream, error) {
	u := &upstream{ctx: ctx, raw: c.ProxyRaw, passthrough: c.Passthrough, log: ctx.Logger(), server: new(caddyhttp.Server)}
	repl := caddy.NewReplacer()
	user, err := repl.ReplaceOrErr(c.User, true, true)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	password, err := repl.ReplaceOrErr(c.Password, true, true)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if user != "" {
		u.basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	way, err := u.build(false)
	if err != nil {
		return nil, err
	}
	u.way.Store(way)
	u.uses = newUses(func() { _ = u.way.Load().cleanup() })
	return u, nil
}

// build provisions a reverse_proxy handler, with the active health checks that
// are configured or without any.
func (u *upstream) build(checks bool) (*way, error) {
	proxy := new(reverseproxy.Handler)
	if err := caddy.StrictUnmarshalJSON(u.raw, proxy); err != nil {
		return nil, err
	}
	if len(proxy.Upstreams) == 0 && proxy.DynamicUpstreamsRaw == nil {
		return nil, errors.New(`no address of a node is given; add for example "to http://localhost:9200"`)
	}
	if proxy.LoadBalancing != nil && len(proxy.LoadBalancing.RetryMatchRaw) > 0 {
		return nil, errRetryMatch
	}
	if len(proxy.HandleResponse) > 0 {
		return nil, errHandleResponse
	}
	var err error
	if proxy.TransportRaw, err = transportDefaults(proxy.TransportRaw); err != nil {
		return nil, err
	}
	balanceByDefault(proxy)
	if h := proxy.HealthChecks; h != nil && h.Active != nil {
		u.checked = true
		if !checks {
			h.Active = nil
		} else if u.basic != "" && h.Active.Headers.Get("Authorization") == "" {
			// Health checks do not pass through what sets headers of requests.
			if h.Active.Headers == nil {
				h.Active.Headers = http.Header{}
			}
			h.Active.Headers.Set("Authorization", u.basic)
		}
	}
	if err := proxy.Provision(u.ctx); err != nil {
		_ = proxy.Cleanup()
		return nil, err
	}
	return &way{proxy, newNodes(proxy, u.raw)}, nil
}

var (
	errRetryMatch     = errors.New("lb_retry_match cannot be used: it would repeat writes that may have been carried out (a request is tried on another node by itself when no connection could be made)")
	errHandleResponse = errors.New("handle_response and replace_status cannot be used: the gateway has to see the cluster's own answers")
)

// transportDefaults sets what a user has not set of the HTTP transport.
// Compression costs more CPU than a local network costs time; and an
// application has many connections to the gateway, which needs as many.
func transportDefaults(raw json.RawMessage) (json.RawMessage, error) {
	t := map[string]json.RawMessage{"protocol": json.RawMessage(`"http"`)}
	if raw != nil {
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
	}
	if string(t["protocol"]) != `"http"` {
		return raw, nil
	}
	if t["compression"] == nil {
		t["compression"] = json.RawMessage(`false`)
	}
	alive := map[string]json.RawMessage{}
	if t["keep_alive"] != nil {
		if err := json.Unmarshal(t["keep_alive"], &alive); err != nil {
			return nil, fmt.Errorf("transport: keep_alive: %w", err)
		}
	}
	if alive["max_idle_conns_per_host"] == nil {
		alive["max_idle_conns_per_host"] = json.RawMessage(`512`)
	}
	var err error
	if t["keep_alive"], err = json.Marshal(alive); err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// balanceByDefault lets a request go to another node when one cannot be
// connected to, if the user has not said otherwise: a cluster with a node down
// is a working cluster. Nothing that may have reached a node is repeated but
// GETs.
func balanceByDefault(proxy *reverseproxy.Handler) {
	nodes := len(proxy.Upstreams)
	if nodes < 2 {
		return
	}
	if proxy.LoadBalancing == nil {
		proxy.LoadBalancing = new(reverseproxy.LoadBalancing)
	}
	if lb := proxy.LoadBalancing; lb.Retries == 0 && lb.TryDuration == 0 {
		lb.Retries = nodes - 1
		if lb.SelectionPolicyRaw == nil {
			// Random may choose the same node again.
			lb.SelectionPolicyRaw = json.RawMessage(`{"policy":"round_robin"}`)
		}
	}
	if proxy.HealthChecks == nil {
		proxy.HealthChecks = new(reverseproxy.HealthChecks)
	}
	if proxy.HealthChecks.Passive == nil {
		// More than one failure, as a single lost answer does not make a node a
		// dead one, and when all nodes count as dead nothing is sent at all.
		proxy.HealthChecks.Passive = &reverseproxy.PassiveHealthChecks{MaxFails: 3, FailDuration: caddy.Duration(5 * time.Second)}
	}
}

// start begins with the active health checks.
func (u *upstream) start() error {
	if !u.checked {
		return nil
	}
	way, err := u.build(true)
	if err != nil {
		return err
	}
	return u.way.Swap(way).cleanup()
}

// Forward carries a request of Caddy's server to the cluster and its answer
// back, untouched but for the credentials. An error says that nothing was
// written to w. It panics with http.ErrAbortHandler when an answer breaks off.
func (u *upstream) Forward(w http.ResponseWriter, r *http.Request) error {
	u.enter()
	defer u.leave()
	way := u.way.Load()
	if way.nodes != nil && r.Header["Upgrade"] == nil && r.Method != http.MethodConnect {
		return u.forwardLean(way.nodes, w, r)
	}

	// The request is the client's again for whoever logs it afterwards.
	own, had := r.Header["Authorization"]
	if u.authorize(r.Header); had {
		defer func() { r.Header["Authorization"] = own }()
	} else {
		defer r.Header.Del("Authorization")
	}
	if err := way.proxy.ServeHTTP(w, r, noHandler); err != nil {
		return u.explain(err, notSent(err))
	}
	return nil
}

// Send implements esapi.Sender.
func (u *upstream) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	u.enter()
	way := u.way.Load()
	if way.nodes != nil {
		defer u.leave()
		return u.sendLean(ctx, way.nodes, r)
	}
	ctx, cancel := context.WithCancel(ctx)
	rec := newRecorder(cancel)

	// Without a connection nothing can have been sent, whatever the error is.
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	held := &heldBody{bytes: r.Body}
	req := caddyhttp.PrepareRequest(u.request(traced, r, held), caddy.NewReplacer(), rec, u.server)

	failed := make(chan error, 1)
	go func() {
		defer u.leave()
		err := u.serve(way.proxy, rec, req)
		if err == nil && !rec.wrote {
			err = errors.New("no answer")
		}
		if err != nil && !rec.wrote {
			failed <- u.explain(err, !connected.Load() && notSent(err))
			return
		}
		if err == nil {
			err = io.EOF
		}
		rec.body.end(err)
	}()

	select {
	case res := <-rec.heads:
		if res.Status == 499 && ctx.Err() != nil { // reverse_proxy's word for a cancelled request
			held.end()
			rec.body.Close()
			return nil, ctx.Err()
		}
		return endsWith(plain(res), held), nil
	case err := <-failed:
		held.end()
		cancel()
		return nil, err
	case <-ctx.Done():
		held.end()
		rec.body.Close()
		return nil, ctx.Err()
	}
}

// serve turns the panics of reverse_proxy into errors: it gives up an answer
// that breaks off with http.ErrAbortHandler.
func (u *upstream) serve(proxy *reverseproxy.Handler, w *recorder, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			if err = r.Context().Err(); err == nil {
				err = io.ErrUnexpectedEOF
			}
		default:
			u.log.Error("panic while sending to a cluster", zap.Any("panic", p), zap.Stack("stack"))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return proxy.ServeHTTP(w, r, noHandler)
}

// request makes what reverse_proxy forwards; held is the body that is in memory.
func (u *upstream) request(ctx context.Context, r *esapi.Request, held *heldBody) *http.Request {
	path, err := url.PathUnescape(r.Path)
	if err != nil {
		path = r.Path
	}
	req := &http.Request{
		Method:     r.Method,
		URL:        &url.URL{Path: path, RawPath: r.Path, RawQuery: r.Params.Encode()},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     r.Header.Clone(),
		RequestURI: r.Path,
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Del("Accept-Encoding") // answers are read here
	req.Header.Del("Content-Length")
	u.authorize(req.Header)
	if r.HasBody() {
		req.ContentLength = r.ContentLength()
		if r.Stream != nil {
			req.Body = io.NopCloser(r.Stream)
		} else {
			req.Body = held.reader()
			req.GetBody = func() (io.ReadCloser, error) { return held.reader(), nil }
		}
	}
	return req.WithContext(ctx)
}

// authorize sets the cluster's credentials in place of the client's.
func (u *upstream) authorize(h http.Header) {
	switch {
	case u.passthrough && h["Authorization"] != nil:
	case u.basic != "":
		h["Authorization"] = []string{u.basic}
	default:
		delete(h, "Authorization")
	}
}

// explain makes an error that says what happened to the request.
func (u *upstream) explain(err error, unsent bool) error {
	var he caddyhttp.HandlerError
	if errors.As(err, &he) && he.Err != nil {
		err = he.Err // without Caddy's trace
	}
	if unsent {
		return fmt.Errorf("%w: %w", esapi.ErrNotSent, err)
	}
	return err
}

// notSent reports whether an error of reverse_proxy says that there was no
// connection to send on.
func notSent(err error) bool {
	var (
		dial   reverseproxy.DialError
		verify *tls.CertificateVerificationError
		op     *net.OpError
		he     caddyhttp.HandlerError
	)
	switch {
	case errors.As(err, &dial), errors.As(err, &verify):
		return true
	case errors.As(err, &op) && op.Op == "dial":
		return true
	}
	// The error for this is not exported.
	return errors.As(err, &he) && he.StatusCode == http.StatusServiceUnavailable &&
		he.Err != nil && he.Err.Error() == "no upstreams available"
}

// plain undoes a compression that nobody asked for.
func plain(res *esapi.Response) *esapi.Response {
	if !slices.Equal(res.Header["Content-Encoding"], []string{"gzip"}) {
		return res
	}
	res.Header.Del("Content-Encoding")
	res.Header.Del("Content-Length")
	res.Body = &unzipped{from: res.Body}
	return res
}

// unzipped reads a gzip body, beginning when it is first read, as the answer
// to a HEAD has none.
type unzipped struct {
	from io.ReadCloser
	zip  *gzip.Reader
}

func (z *unzipped) Read(b []byte) (int, error) {
	if z.zip == nil {
		r, err := gzip.NewReader(z.from)
		if err != nil {
			return 0, err
		}
		z.zip = r
	}
	return z.zip.Read(b)
}

func (z *unzipped) Close() error { return z.from.Close() }

// noHandler stands behind reverse_proxy, which never calls it here.
var noHandler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

var _ esapi.Sender = (*upstream)(nil)
