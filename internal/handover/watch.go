package handover

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/peek"
)

// net/http reads a byte beside each handler to see whether the client has gone: a goroutine
// that mostly waits until it is sent away again. Where somebody takes the context of a
// connection (Context), that read returns nothing at once, which net/http takes for the end
// of it, and the connections of requests that take long are looked at from time to time.
//
// So http.CloseNotifier's channel never tells anything there; the context does.

// lookEvery is how often connections are looked at. That a client has gone is seen at the
// second look, or, when its request has lasted longer, after as long again, and within
// maxPause looks at the latest.
const (
	lookEvery = 50 * time.Millisecond
	maxPause  = 20
)

// Context returns a context for the requests on a connection that ends when the client has
// gone, or the connection is closed. It is for http.Server's ConnContext; connections of
// other listeners keep their context.
func Context(ctx context.Context, n net.Conn) context.Context {
	c, ok := n.(*conn)
	if !ok || c.gone != nil {
		return ctx
	}
	if c.peek = peek.At(c.TCPConn); c.peek == nil {
		return ctx
	}
	ctx, c.gone = context.WithCancel(ctx)
	return peek.With(ctx, c)
}

// watched is what is known of a connection that is looked at.
type watched struct {
	gone   context.CancelFunc // nil: it is not looked at
	peek   *peek.Peek
	looked bool   // at, while the request that is under way lasts
	listed bool   // in the watch
	turn   uint64 // counts the requests
	seen   uint64 // the turn at the last look
	looks  int    // since that turn
	next   int    // which of them is one at the socket
}

// watch has the connection looked at until its request is answered. It reports false if
// that cannot be, or is done already. The lock is held.
func (c *conn) watch() bool {
	if c.gone == nil || !c.http1 || c.looked {
		return false
	}
	c.looked = true
	c.turn++
	if !c.listed {
		c.listed = true
		c.of.watch.add(c)
	}
	return true
}

// look looks whether the client is there. It reports whether the connection is to be looked
// at again.
func (c *conn) look() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = c.looked && c.stays()
	return c.listed
}

// stays reports whether the client is there, as far as that was looked at. The lock is held.
func (c *conn) stays() bool {
	if c.seen != c.turn { // most have ended at the next look
		c.seen, c.looks, c.next = c.turn, 0, 1
		return true
	}
	if c.looks++; c.looks < c.next {
		return true
	}
	c.next += min(c.looks, maxPause)
	switch c.peek.Look() {
	case peek.Quiet:
		return true
	case peek.Ended:
		c.gone()
	}
	return false // after bytes nobody sees its end
}

// LookNow implements peek.Looker. It may be asked while a request is under way.
func (c *conn) LookNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peek.Look() == peek.Ended {
		c.gone()
	}
}

// forget is called when the connection is closed.
func (c *conn) forget() {
	if c.gone != nil {
		c.gone()
	}
}

// A watch looks at connections of a listener while requests are under way on them.
type watch struct {
	mu    sync.Mutex
	conns []*conn
	timer *time.Timer // calls look while there are any
}

// add adds a connection, whose lock is held.
func (w *watch) add(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	switch {
	case w.timer == nil:
		w.timer = time.AfterFunc(lookEvery, w.look)
	case len(w.conns) == 1:
		w.timer.Reset(lookEvery)
	}
}

// look looks at the connections. Others are added meanwhile.
func (w *watch) look() {
	w.mu.Lock()
	now := w.conns[:len(w.conns):len(w.conns)]
	w.mu.Unlock()
	stay := slices.DeleteFunc(slices.Clone(now), func(c *conn) bool { return !c.look() })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(stay, w.conns[len(now):]...)
	if len(w.conns) > 0 {
		w.timer.Reset(lookEvery)
	}
}
