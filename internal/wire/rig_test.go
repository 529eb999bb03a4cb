package wire

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/peek"
)

// A node is a server that does what a test says with each connection.
type node struct {
	t           *testing.T
	listener    net.Listener
	connections atomic.Int32
	serving     sync.WaitGroup
}

func newNode(t *testing.T, serve func(c *served)) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, listener: l}
	n.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := &served{TCPConn: c.(*net.TCPConn), in: bufio.NewReader(c), number: int(n.connections.Add(1))}
			n.serving.Go(func() {
				defer c.Close()
				serve(s)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.serving.Wait()
	})
	return n
}

func (n *node) client(o Options) *Client {
	o.Dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", n.listener.Addr().String())
	}
	c := New(o)
	n.t.Cleanup(c.Close)
	return c
}

// noticed waits until something has come on the connection that waits, or its end: the
// system may hand over a little later what the node has sent.
func (c *Client) noticed(t *testing.T) {
	t.Helper()
	quiet := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.idle) > 0 && c.idle[0].peek != nil && c.idle[0].peek.Look() == peek.Quiet
	}
	for limit := time.Now().Add(time.Minute); quiet(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("nothing has come")
		}
	}
}

// A served is a connection at the node's end.
type served struct {
	*net.TCPConn
	in     *bufio.Reader
	number int // of the connection, from 1
}

// request reads a request with its body; nil at the end of the connection.
func (s *served) request() (r *http.Request, body string) {
	r, err := http.ReadRequest(s.in)
	if err != nil {
		return nil, ""
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, ""
	}
	return r, string(b)
}

func (s *served) say(text string) bool {
	_, err := io.WriteString(s, text)
	return err == nil
}

// reset ends the connection without a word.
func (s *served) reset() {
	_ = s.SetLinger(0)
	_ = s.Close()
}

// untilGone waits until the other end has closed the connection.
func (s *served) untilGone() {
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = io.Copy(io.Discard, s.in)
}

// An outcome is what came of a request.
type outcome struct {
	status int
	body   string
	header http.Header
	err    error // of Do, or of reading the body
}

func do(t *testing.T, c *Client, r Request) (o outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return doIn(ctx, c, r)
}

func doIn(ctx context.Context, c *Client, r Request) (o outcome) {
	if r.Host == "" {
		r.Host = "node"
	}
	if _, err := r.Take(nil); err != nil {
		return outcome{err: err}
	}
	res, err := c.Do(ctx, &r)
	if err != nil {
		return outcome{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return outcome{res.Status, string(body), res.Header, err}
}

func get(target string) Request { return Request{Method: "GET", Target: target, Repeatable: true} }

func put(target, body string) Request {
	return Request{Method: "PUT", Target: target, Body: []byte(body)}
}

func (o outcome) want(t *testing.T, status int, body string) {
	t.Helper()
	if o.err != nil || o.status != status || o.body != body {
		t.Fatalf("%d %.200q %v, want %d %.200q", o.status, o.body, o.err, status, body)
	}
}

const okHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// always answers each request alike.
func always(text string) func(s *served) {
	return func(s *served) {
		for {
			if r, _ := s.request(); r == nil || !s.say(text) {
				return
			}
		}
	}
}

// repeated is a text of some size that differs from place to place.
func repeated(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		b.WriteString("line of text ")
		b.WriteString(strings.Repeat("x", i%70))
	}
	return b.String()[:size]
}
