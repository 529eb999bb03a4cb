package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A second answer that TLS has read ahead is not the next request's.
func TestTLSReadsAhead(t *testing.T) {
	n := newNode(t, func(s *served) {
		held := &holder{Conn: s.TCPConn}
		c := tls.Server(held, &tls.Config{Certificates: certificates(t)})
		if c.Handshake() != nil {
			return
		}
		for b := make([]byte, 4096); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
			held.hold = s.number == 1
			_, _ = io.WriteString(c, okHello)
			if s.number == 1 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong") // a record of its own
				held.release()
			}
		}
	})
	c := New(Options{Dial: func(ctx context.Context) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, "tcp", n.listener.Addr().String())
		if err != nil {
			return nil, err
		}
		s := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		return s, s.HandshakeContext(ctx)
	}})
	t.Cleanup(c.Close)
	for range 5 {
		do(t, c, get("/")).want(t, 200, "hello")
	}
	if got := n.connections.Load(); got != 2 {
		t.Errorf("%d connections", got)
	}
}

func certificates(t *testing.T) []tls.Certificate {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.TLS.Certificates
}

// A holder sends what it holds at once.
type holder struct {
	net.Conn
	hold bool
	b    bytes.Buffer
}

func (h *holder) Write(p []byte) (int, error) {
	if h.hold {
		return h.b.Write(p)
	}
	return h.Conn.Write(p)
}

func (h *holder) release() {
	h.hold = false
	_, _ = h.Conn.Write(h.b.Bytes())
	h.b.Reset()
}

// What a node says before it is asked is not sent to it.
func TestNodeSpeaksFirst(t *testing.T) {
	n := newNode(t, func(s *served) {
		s.say("HTTP/1.1 503 " + strings.Repeat("Z", 3000) + "\r\nContent-Length: 0\r\n\r\n")
		b, _ := io.ReadAll(io.LimitReader(s.in, 100))
		if len(b) > 0 && !strings.HasPrefix(string(b), "POST /"[:min(len(b), 6)]) {
			t.Errorf("the node got %.60q", b)
		}
	})
	c := n.client(Options{})
	body := bytes.Repeat([]byte("x"), 2*inline)
	for range 50 {
		do(t, c, Request{Method: "POST", Target: "/", Stream: strings.NewReader("hello"), Length: -1})
		do(t, c, Request{Method: "POST", Target: "/", Body: body})
	}
}

// A slow upload is not a slow answer, and a connection that was idle for longer than
// an answer may take is still one.
func TestHeadTimeout(t *testing.T) {
	const timeout = 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c, dialled := piped(Options{HeadTimeout: timeout}, func(s net.Conn) {
			for in := bufio.NewReader(s); ; {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(s, okHello)
			}
		})
		defer c.Close()
		r, w := io.Pipe()
		go func() {
			for range 6 {
				time.Sleep(timeout / 4)
				_, _ = w.Write(bytes.Repeat([]byte("x"), 10<<10))
			}
			_ = w.Close()
		}()
		do(t, c, Request{Method: "POST", Target: "/_bulk", Stream: r, Length: -1}).want(t, 200, "hello")
		time.Sleep(timeout + 100*time.Millisecond)
		do(t, c, get("/")).want(t, 200, "hello")
		if got := dialled.Load(); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

// Neither the end of a request's time nor an early answer waits for a client that sends
// nothing more, also if it cannot be interrupted.
func TestStreamThatBlocks(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n"} {
		n := newNode(t, func(s *served) {
			s.say(answer)
			s.untilGone()
		})
		r, w := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if answer != "" {
			ctx = t.Context()
		}
		began := time.Now()
		o := doIn(ctx, n.client(Options{}), Request{Method: "POST", Target: "/", Stream: r, Length: -1})
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s", took)
		}
		if answer == "" && !errors.Is(o.err, context.DeadlineExceeded) || answer != "" && o.status != 413 {
			t.Errorf("%d %v", o.status, o.err)
		}
		_ = w.Close()
	}
}

// A node that breaks off while a client is slow is the one to blame.
func TestBlame(t *testing.T) {
	n := newNode(t, func(s *served) {
		_, _ = http.ReadRequest(s.in)
		s.say("garbage\r\n\r\n")
		s.untilGone()
	})
	r, w := io.Pipe()
	go func() { _, _ = w.Write(bytes.Repeat([]byte("x"), 100<<10)) }()
	o := do(t, n.client(Options{}), Request{Method: "POST", Target: "/_bulk", Stream: r, Length: 200 << 10,
		Interrupt: func() { _ = w.CloseWithError(errors.New("interrupted")) }})
	if !errors.Is(o.err, errHead) || errors.Is(o.err, ErrRequest) {
		t.Errorf("%v", o.err)
	}
}

// What a connection names is about it alone.
func TestFieldsOfTheConnection(t *testing.T) {
	n := newNode(t, always("HTTP/1.1 200 OK\r\nX-Hop: 1\r\nX-End: 2\r\nConnection: X-Hop\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"))
	if o := do(t, n.client(Options{}), get("/")); len(o.header) != 2 || o.header.Get("X-End") != "2" {
		t.Errorf("%v", o.header)
	}
}
