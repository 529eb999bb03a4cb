package caddymodule

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/wire"
)

// forwardLean is Forward by the short way.
func (u *upstream) forwardLean(n *nodes, w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	f := passages.Get().(*passage)
	defer f.end()
	req := &f.Request
	*req = wire.Request{Method: r.Method, Target: r.URL.RequestURI(), Header: r.Header, Into: h,
		Set: u.setCredentials(forwarded(f.fields[:0], r), r.Header), Repeatable: repeatable(r.Method, r.URL.Path, r.Body != nil && r.ContentLength != 0)}
	if r.Body != nil && r.ContentLength != 0 {
		req.Stream, req.Length = r.Body, r.ContentLength
	}
	var err error
	if f.buf, err = req.Take(f.buf); err != nil {
		return asUnsent(err)
	}
	if req.Stream != nil {
		req.Interrupt = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) }
	}
	own := h["Server"] // Caddy's
	delete(h, "Server")
	res, err := n.do(r.Context(), req, r.Host)
	if err != nil {
		if own != nil {
			h["Server"] = own
		}
		if ended(err) {
			w.WriteHeader(499) // as reverse_proxy does; nobody reads it
			return nil
		}
		return asUnsent(err)
	}
	defer res.Body.Close()
	w.WriteHeader(res.Status)
	if err := f.copyBody(w, res); err != nil {
		if !ended(err) {
			u.log.Error("an answer of the cluster broke off", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err))
		}
		panic(http.ErrAbortHandler) // so that the client sees it
	}
	return nil
}

// repeatable reports whether a request may be carried out twice. One with a body may hold
// what moves on by being asked for, as the page of a scroll does.
func repeatable(method, path string, body bool) bool {
	return (method == http.MethodGet || method == http.MethodHead) && !body && !strings.HasPrefix(path, "/_search/scroll")
}

func ended(err error) bool { return errors.Is(err, wire.ErrEnded) }

// copyBody hands a body on. The room that it was copied in is left alone if that has failed:
// net/http may still send what stands in it, on a stream of HTTP/2 that was reset.
func (f *passage) copyBody(w http.ResponseWriter, res *wire.Response) error {
	if res.Body == http.NoBody || res.Length == 0 {
		return nil
	}
	if res.Length > int64(cap(f.buf)) {
		large := larges.Get().(*[]byte)
		err := copyWith(w, res, *large)
		if err == nil {
			larges.Put(large)
		}
		return err
	}
	buf := f.buf
	f.buf = nil
	err := copyWith(w, res, buf)
	if err == nil {
		f.buf = buf
	}
	return err
}

// copyWith copies a body; one whose length is not known as it comes.
func copyWith(w http.ResponseWriter, res *wire.Response, buf []byte) error {
	buf = buf[:cap(buf)]
	flush := res.Length < 0
	if flush {
		_ = http.NewResponseController(w).Flush()
	}
	for {
		k, err := res.Body.Read(buf)
		if k > 0 {
			if _, err := w.Write(buf[:k]); err != nil {
				return wire.ErrEnded // the client has gone away
			}
			if flush && err == nil {
				_ = http.NewResponseController(w).Flush()
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// larges are for copying what is large: each piece costs two calls of the system, and wakes
// the client.
var larges = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// A passage is what forwarding one request takes. Others use it when it has ended.
type passage struct {
	wire.Request
	fields [4]wire.Field
	buf    []byte // for a short body of the request, and for copying; nil: it is not to be used again
}

var passages = sync.Pool{New: func() any { return &passage{buf: make([]byte, 32<<10)} }}

func (f *passage) end() {
	if f.buf == nil {
		return
	}
	if f.Stream != nil { // its sending may have been given up, and not have ended yet
		f = &passage{buf: f.buf}
	}
	f.Request, f.fields = wire.Request{}, [4]wire.Field{} // they hold the text of a request
	passages.Put(f)
}

// sendLean is Send by the short way.
func (u *upstream) sendLean(ctx context.Context, n *nodes, r *esapi.Request) (*esapi.Response, error) {
	target := r.Path
	if query := r.Params.Encode(); query != "" {
		target += "?" + query
	}
	both := &struct {
		wire.Request
		fields [2]wire.Field
	}{}
	req := &both.Request
	*req = wire.Request{Method: r.Method, Target: target, Header: r.Header,
		Set:        u.setCredentials(append(both.fields[:0], wire.Field{Key: "Accept-Encoding"}), r.Header), // answers are read here
		Repeatable: repeatable(r.Method, r.Path, r.HasBody())}
	if r.Stream == nil {
		req.Body, req.Interrupt = r.Body, func() {} // it is not read any more when the answer has ended, or failed
	} else if r.HasBody() {
		req.Stream, req.Length, req.Interrupt = r.Stream, r.Length, r.Interrupt
	}
	res, err := n.do(ctx, req, "")
	if err != nil {
		if ended(err) {
			return nil, ctx.Err()
		}
		return nil, asUnsent(err)
	}
	return plain(&esapi.Response{Status: res.Status, Header: res.Header, Body: res.Body}), nil
}

// setCredentials adds what takes the place of the client's credentials.
func (u *upstream) setCredentials(fields []wire.Field, h http.Header) []wire.Field {
	if u.passthrough && h["Authorization"] != nil {
		return fields
	}
	return append(fields, wire.Field{Key: "Authorization", Value: u.basic})
}

// forwarded adds what tells a cluster whose request it is, as reverse_proxy does: what
// the client says about that counts if it is a proxy that is trusted.
func forwarded(fields []wire.Field, r *http.Request) []wire.Field {
	proto := "https"
	if r.TLS == nil {
		proto = "http"
	}
	host, by := r.Host, ""
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		by, _, _ = strings.Cut(ip, "%")
		if _, err := netip.ParseAddr(by); err != nil {
			by = ""
		}
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if before := strings.Join(r.Header["X-Forwarded-For"], ", "); before != "" && by != "" {
			by = before + ", " + by
		} else if before != "" {
			by = before
		}
		proto = last(r.Header["X-Forwarded-Proto"], proto)
		host = last(r.Header["X-Forwarded-Host"], host)
	}
	return append(fields, wire.Field{Key: "X-Forwarded-For", Value: by}, wire.Field{Key: "X-Forwarded-Proto", Value: proto},
		wire.Field{Key: "X-Forwarded-Host", Value: host})
}

// setForwarded is forwarded for a request that is made anew.
func setForwarded(h http.Header, r *http.Request) {
	var fields [3]wire.Field
	values := new([len(fields)]string)
	for i, f := range forwarded(fields[:0], r) {
		if values[i] = f.Value; f.Value == "" {
			delete(h, f.Key)
		} else {
			h[f.Key] = values[i : i+1 : i+1]
		}
	}
}

func last(values []string, otherwise string) string {
	if n := len(values); n > 0 && values[n-1] != "" {
		return values[n-1]
	}
	return otherwise
}
