package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/internal/peek"
)

// ErrNotSent says that a request cannot have reached the node.
var ErrNotSent = errors.New("nothing was sent")

// ErrEnded says that the context of a request has ended; its error is wrapped too.
var ErrEnded = errors.New("the request was given up")

func endedBy(cause, err error) error { return fmt.Errorf("%w: %w: %w", ErrEnded, cause, err) }

// Options are the options of a Client. Only Dial has to be set.
type Options struct {
	// Dial makes a connection to the node, with TLS if it wants that.
	Dial func(ctx context.Context) (net.Conn, error)

	// MaxIdle bounds the connections that wait for a request. If zero, 512; if
	// negative, none waits.
	MaxIdle int
	// IdleTimeout is how long a connection waits for a request. If zero, 2 minutes; if
	// negative, for ever.
	IdleTimeout time.Duration

	// HeadTimeout bounds the wait for the head of an answer once the request is sent. If
	// zero, there is no limit but the request's context.
	HeadTimeout time.Duration

	// ReadBuffer is the size of a connection's buffer in bytes. If zero, 8 KiB.
	ReadBuffer int
}

// A Client sends requests to one node, each on a connection of its own while it
// runs. It is safe for concurrent use.
type Client struct {
	o Options

	mu     sync.Mutex
	idle   []*conn // the one that was used last at the end
	busy   []*conn // those with a request under way that was not cut
	reaper *time.Timer
	closed bool

	reaping bool // the reaper comes

	watch    *time.Timer // calls look
	watching bool
	came     bool // a request, since the last look

	running atomic.Int64

	sentWait time.Duration // the constant; tests change it
}

// New makes a Client. Nothing is dialled before the first request.
func New(o Options) *Client {
	o.MaxIdle = cmp.Or(o.MaxIdle, 512)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 2*time.Minute)
	o.ReadBuffer = cmp.Or(o.ReadBuffer, 8<<10)
	return &Client{o: o, sentWait: sentWait}
}

// Close closes the connections that are not in use. Others end with their request, also
// those of requests that come later.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	idle := c.idle
	c.idle = nil
	if c.reaper != nil {
		c.reaper.Stop()
	}
	c.mu.Unlock()
	closeAll(idle)
}

// Running is how many requests are under way; one ends with its answer's body, or soon
// after its context.
func (c *Client) Running() int64 { return c.running.Load() }

// lookEvery is how often it is looked whether the context of a request has ended: to have
// each of them tell it takes more than all else that is done here.
const lookEvery = 50 * time.Millisecond

// begin watches the context of a request, until end. The caller holds mu.
func (c *Client) begin(cn *conn, ctx context.Context, r *Request) {
	cn.ctx, cn.at = ctx, len(c.busy)
	if r.Stream != nil {
		cn.interrupt = r.Interrupt
	}
	c.busy = append(c.busy, cn)
	c.came = true
	if c.watching {
		return
	}
	c.watching = true
	if c.watch == nil {
		c.watch = time.AfterFunc(lookEvery, c.look)
	} else {
		c.watch.Reset(lookEvery)
	}
}

// end ends that, and closes the connection, or has it wait for the next request.
func (c *Client) end(cn *conn, again bool) {
	if again {
		again = cn.rest()
	}
	c.mu.Lock()
	if cn.at < 0 || c.closed || len(c.idle) >= c.o.MaxIdle {
		again = false // it was cut, or is one too many
	}
	c.leave(cn)
	if again {
		c.idle = append(c.idle, cn)
		if !c.reaping && c.o.IdleTimeout > 0 {
			c.wake()
		}
	}
	c.mu.Unlock()
	if !again {
		_ = cn.net.Close()
	}
}

// leave takes a connection from the busy ones, if it was not cut. The caller holds mu.
func (c *Client) leave(cn *conn) {
	if cn.at < 0 {
		return
	}
	last := len(c.busy) - 1
	c.busy[cn.at] = c.busy[last]
	c.busy[cn.at].at = cn.at
	c.busy[last] = nil
	c.busy = c.busy[:last]
	c.over(cn)
}

// over is called when a connection is busy no more. The caller holds mu.
func (c *Client) over(cn *conn) {
	cn.ctx, cn.interrupt = nil, nil
	c.running.Add(-1)
}

// look cuts the connections of requests whose context has ended. They are over then: the
// body of an answer may never be closed.
func (c *Client) look() {
	var cut []*conn
	c.mu.Lock()
	busy := c.busy[:0]
	for _, cn := range c.busy {
		if cn.ctx.Err() == nil {
			cn.at = len(busy)
			busy = append(busy, cn)
			continue
		}
		cut = append(cut, cn)
		if cn.interrupt != nil {
			cn.interrupt() // while the request cannot end, and its client's connection have another
		}
		cn.at = -1
		c.over(cn)
	}
	clear(c.busy[len(busy):])
	c.busy = busy
	if c.watching = c.came || len(c.busy) > 0; c.watching {
		c.watch.Reset(lookEvery)
	}
	c.came = false
	c.mu.Unlock()
	closeAll(cut)
}

func closeAll(idle []*conn) {
	for _, cn := range idle {
		_ = cn.net.Close()
	}
}

// Do sends a request and returns the head of its answer. The caller closes the
// body. When ctx ends, so does the connection, also while the body is read. A
// request is sent twice, on a connection that is new then, only if the first
// one had been idle and either took nothing of it, or ended before its answer
// began and the request may be repeated.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	// A write that nobody waits for must not come behind what its client does next.
	if err := ctx.Err(); err != nil || r.changes() && peek.Gone(ctx) {
		return nil, endedBy(cmp.Or(err, ctx.Err()), ErrNotSent)
	}
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	out, err := r.appendHead((*buf)[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if r.short() {
		out = append(out, r.Body...)
	}
	*buf = out // it may be larger now
	cn, err := c.take(ctx, r)
	if err != nil {
		return nil, err
	}
	res, unanswered, err := cn.exchange(ctx, r, out)
	if err == nil || !cn.used || ctx.Err() != nil || r.Stream != nil || errors.Is(err, errLate) ||
		!errors.Is(err, ErrNotSent) && !(unanswered && r.Repeatable) {
		return res, err
	}
	c.running.Add(1) // again
	if cn, err = c.dial(ctx, r); err != nil {
		return nil, err
	}
	res, _, err = cn.exchange(ctx, r, out)
	return res, err
}

// take returns a connection that waits, or a new one. The request runs from here on, until
// its connection is over or cannot be made.
func (c *Client) take(ctx context.Context, r *Request) (*conn, error) {
	for {
		c.running.Add(1)
		c.mu.Lock()
		n := len(c.idle)
		if n == 0 {
			c.mu.Unlock()
			return c.dial(ctx, r)
		}
		cn := c.idle[n-1]
		c.idle[n-1] = nil
		c.idle = c.idle[:n-1]
		c.begin(cn, ctx, r)
		c.mu.Unlock()
		if cn.usable() {
			return cn, nil
		}
		c.end(cn, false)
		if err := ctx.Err(); err != nil {
			return nil, endedBy(err, ErrNotSent)
		}
	}
}

func (c *Client) dial(ctx context.Context, r *Request) (*conn, error) {
	n, err := c.o.Dial(ctx)
	if err != nil && ctx.Err() != nil {
		err = endedBy(ctx.Err(), err)
	}
	if err != nil {
		c.running.Add(-1)
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	cn := newConn(c, n)
	c.mu.Lock()
	c.begin(cn, ctx, r)
	c.mu.Unlock()
	return cn, nil
}

// wake has reap called when the oldest connection has waited long enough, if it waits so
// long. The caller holds mu.
func (c *Client) wake() {
	c.reaping = true
	d := c.o.IdleTimeout - time.Since(c.idle[0].idleSince)
	if c.reaper == nil {
		c.reaper = time.AfterFunc(d, c.reap)
	} else {
		c.reaper.Reset(d)
	}
}

// reap closes the connections that have waited too long.
func (c *Client) reap() {
	c.mu.Lock()
	n := 0
	for n < len(c.idle) && time.Since(c.idle[n].idleSince) >= c.o.IdleTimeout {
		n++
	}
	old := slices.Clone(c.idle[:n])
	c.idle = slices.Delete(c.idle, 0, n)
	if c.reaping = false; len(c.idle) > 0 && !c.closed {
		c.wake()
	}
	c.mu.Unlock()
	closeAll(old)
}
