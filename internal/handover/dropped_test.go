package handover

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// held is a conn whose Read says what it has read only when it is told to.
type held struct {
	*conn
	hold *atomic.Pointer[gate]
}

// A gate is come to, and opened.
type gate struct{ come, open chan bool }

func (g *gate) pass() {
	if g != nil {
		g.come <- true
		<-g.open
	}
}

func (h held) Read(p []byte) (int, error) {
	n, err := h.conn.Read(p)
	if len(p) > 1 { // else it is beside a handler
		h.hold.Load().pass()
	}
	return n, err
}

type holding struct {
	net.Listener
	hold *atomic.Pointer[gate]
}

func (l holding) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return held{c.(*conn), l.hold}, nil
}

// TestDropped: a request that a server has read and will not serve, as it shuts down, is served by
// the one that follows. It is held at either place where net/http may be with it by then: if this
// fails with a new version of Go, isDropped has to say who closes such a connection there.
func TestDropped(t *testing.T) {
	for _, at := range []string{"read", "active"} {
		var hold struct{ read, active atomic.Pointer[gate] }
		var given atomic.Int64
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/1" {
				given.Add(1)
			}
		})
		l, err := Listen(t.Context(), "tcp", "127.0.0.1:0", net.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		p := &pair{t: t, handler: handler, l: l.(*listener)}
		p.first = &http.Server{IdleTimeout: time.Minute, Handler: handler,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context { return Context(ctx, c.(held).conn) },
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateActive {
					hold.active.Load().pass()
				}
			}}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.first.Serve(holding{l, &hold.read})
		}()
		client := dial(t, l.Addr().String())
		from := bufio.NewReader(client)
		fmt.Fprintf(client, get, 0)
		if _, err := http.ReadResponse(from, nil); err != nil {
			t.Fatal(err)
		}
		g := &gate{make(chan bool, 1), make(chan bool)}
		if at == "read" {
			hold.read.Store(g)
		} else {
			hold.active.Store(g)
		}
		fmt.Fprintf(client, post, 1)
		<-g.come
		hold.read.Store(nil)
		p.follow()
		close(g.open)
		if res, err := http.ReadResponse(from, nil); err != nil || res.StatusCode != 200 || given.Load() != 1 {
			t.Errorf("%s: %v, %d handlers were given the request", at, err, given.Load())
		}
		p.first.Shutdown(context.Background())
		<-ended
	}
}
