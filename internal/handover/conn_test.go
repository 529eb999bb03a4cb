package handover

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// pair is a server and the one that follows it, with one handler.
type pair struct {
	t       *testing.T
	handler http.Handler
	first   *http.Server
	l       *listener
}

func newPair(t *testing.T, handler http.HandlerFunc) *pair {
	t.Helper()
	l, err := Listen(t.Context(), "tcp", "127.0.0.1:0", net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, handler: handler, l: l.(*listener)}
	p.first = p.serve(l)
	return p
}

func (p *pair) serve(l net.Listener) *http.Server {
	s := &http.Server{IdleTimeout: time.Minute, Handler: p.handler, ConnContext: Context}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(l)
	}()
	p.t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return s
}

// follow starts the second server and shuts the first one down, which takes as long as
// its handlers.
func (p *pair) follow() {
	p.serve(p.l.socket.add())
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	p.t.Cleanup(cancel)
	go p.first.Shutdown(ctx)
	<-p.l.closed
	time.Sleep(20 * time.Millisecond) // it has closed what is idle
}

// TestServedOnce: a request that a handler has been given is no other server's, however its
// connection ends while the server shuts down.
func TestServedOnce(t *testing.T) {
	abort := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	read := func(r *http.Request) { io.ReadAll(r.Body) }
	unread := func(*http.Request) {}
	const (
		get        = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
		continues  = "POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
		chunked    = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
		lines      = "POST /1 HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}"
		mixedLines = "POST /1 HTTP/1.1\nHost: a\nContent-Length: 2\r\n\r\n{}"
	)
	post := fmt.Sprintf(post, 1)
	for _, c := range []struct {
		name    string
		request string
		read    func(*http.Request)
		end     func(http.ResponseWriter)
		before  int // requests on the connection
		force   bool
	}{
		{"aborted", post, read, abort, 0, false},
		{"aborted behind another", post, read, abort, 1, false},
		{"aborted without a body", get, read, abort, 1, false},
		{"aborted with a beginning", post, read, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "abc")
			panic(http.ErrAbortHandler)
		}, 1, false},
		{"aborted with what was flushed", post, read, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 1, false},
		{"unread", post, unread, abort, 0, false},
		{"unread behind another", post, unread, abort, 1, false},
		{"unread by one that exits", post, unread, func(http.ResponseWriter) { runtime.Goexit() }, 1, false},
		{"unread chunks", chunked, unread, abort, 0, false},
		{"unread behind bare line ends", lines, unread, abort, 0, false},
		{"unread behind some bare line ends", mixedLines, unread, abort, 0, false},
		{"not asked for", continues, unread, abort, 0, false},
		{"asked for", continues + "{}", read, abort, 0, false},
		{"closed by force", "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{}", unread, abort, 1, true},
	} {
		var given atomic.Int64
		began, shut, over := make(chan bool, 9), make(chan bool), make(chan bool, 9)
		p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/0" {
				return
			}
			if given.Add(1) > 1 {
				over <- true
				return
			}
			c.read(r)
			began <- true
			<-shut
			c.end(w)
		})
		client := dial(t, p.l.Addr().String())
		from := bufio.NewReader(client)
		for range c.before {
			fmt.Fprintf(client, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n")
			if _, err := http.ReadResponse(from, nil); err != nil {
				t.Fatal(err)
			}
		}
		io.WriteString(client, c.request)
		<-began
		p.follow()
		if c.force {
			p.first.Close()
		}
		close(shut)
		client.CloseWrite() // else net/http waits for the rest of some
		select {            // it is closed, or served again
		case <-over:
			t.Errorf("%s: two handlers were given the request", c.name)
		case <-ends(from):
		case <-time.After(time.Minute):
			t.Errorf("%s: the connection does not end", c.name)
		}
		if n := given.Load(); n != 1 {
			t.Errorf("%s: %d handlers were given the request", c.name, n)
		}
	}
}

// ends is closed when nothing more comes.
func ends(from io.Reader) chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, from)
	}()
	return ended
}

// TestRequestMeanwhile: a request that has not come, or in part, when the server shuts down
// is served by the one that follows.
func TestRequestMeanwhile(t *testing.T) {
	post := fmt.Sprintf(post, 1)
	for _, before := range []int{0, 1} {
		for at := range len(post) - len("\r\n{}") {
			if at == 1 || at == 2 {
				continue // "P" may become HTTP/2
			}
			var given atomic.Int64
			p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if r.URL.Path == "/1" && string(body) == "{}" && err == nil {
					given.Add(1)
				}
			})
			client := dial(t, p.l.Addr().String())
			from := bufio.NewReader(client)
			for range before {
				fmt.Fprintf(client, get, 0)
				if _, err := http.ReadResponse(from, nil); err != nil {
					t.Fatal(err)
				}
			}
			io.WriteString(client, post[:at])
			time.Sleep(5 * time.Millisecond)
			p.follow()
			io.WriteString(client, post[at:])
			if res, err := http.ReadResponse(from, nil); err != nil || res.StatusCode != 200 || given.Load() != 1 {
				t.Fatalf("behind %q: %v, %d handlers were given the request", post[:at], err, given.Load())
			}
		}
	}
}

// TestRestOfARequest: what comes of a request behind its answer is not taken for another one.
func TestRestOfARequest(t *testing.T) {
	var other atomic.Int64
	answered := make(chan bool, 1)
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/0":
			rc := http.NewResponseController(w)
			rc.EnableFullDuplex()
			w.Header().Set("Content-Length", "0")
			rc.Flush()
			answered <- true
			io.ReadAll(r.Body)
		case "/other":
			other.Add(1)
		}
	})
	client := dial(t, p.l.Addr().String())
	rest := "POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
	fmt.Fprintf(client, "POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(rest))
	<-answered
	time.Sleep(20 * time.Millisecond)
	io.WriteString(client, rest)
	time.Sleep(50 * time.Millisecond)
	p.follow()
	client.CloseWrite()
	<-ends(client)
	if other.Load() > 0 {
		t.Error("a body was served as a request")
	}
}

// TestContinueMoves: a connection on which a body was asked for goes to the next server when
// it is idle.
func TestContinueMoves(t *testing.T) {
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	client := dial(t, p.l.Addr().String())
	from := bufio.NewReader(client)
	for i := range 2 {
		io.WriteString(client, "POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		if line, err := from.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("request %d: %q %v", i, line, err)
		}
		from.ReadString('\n')
		io.WriteString(client, "{}")
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "{}" || err != nil {
			t.Fatalf("%q %v", body, err)
		}
		time.Sleep(20 * time.Millisecond)
		if i == 0 {
			p.follow()
		}
	}
}

// TestHijackedStays: a connection that a handler has taken over is no other server's.
func TestHijackedStays(t *testing.T) {
	taken := make(chan net.Conn, 1)
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- c
	})
	client := dial(t, p.l.Addr().String())
	fmt.Fprintf(client, get, 1)
	c := <-taken
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	io.WriteString(c, "something")
	c.SetReadDeadline(time.Now().Add(time.Minute))
	p.follow()
	c.Close()
	select {
	case <-ends(client):
	case <-time.After(time.Minute):
		t.Error("the connection is open")
	}
}

// TestHijackedReadsAByte: who has taken a connection over reads what comes, also one byte at a time.
func TestHijackedReadsAByte(t *testing.T) {
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		for range 3 {
			c.SetDeadline(time.Now().Add(time.Minute))
			b := make([]byte, 1)
			if n, err := c.Read(b); n != 1 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
			c.Write(b)
		}
	})
	client := dial(t, address)
	fmt.Fprintf(client, get, 1)
	from := bufio.NewReader(client)
	if _, err := from.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	from.ReadString('\n')
	io.WriteString(client, "abc")
	if back, err := io.ReadAll(from); string(back) != "abc" || err != nil {
		t.Errorf("%q %v", back, err)
	}
}

// TestFlush: what is flushed arrives, whatever its size.
func TestFlush(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nContent-Type: x\r\n\r\n"
	stop := make(chan bool)
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		w.Header().Set("Content-Length", "100000")
		w.Header().Set("Content-Type", "x")
		w.Header()["Date"] = nil
		w.Write(make([]byte, n-len(head)))
		w.(http.Flusher).Flush()
		<-stop
	})
	defer close(stop)
	for _, n := range []int{100, 4095, 4096, 4097, 8192, 12288} {
		c := dial(t, address)
		c.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(c, get, n)
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestCopyFrom: whoever copies from a connection gets what came at the server before it, too.
func TestCopyFrom(t *testing.T) {
	client, c := connected(t)
	c.unread = []byte("before ")
	io.WriteString(client, "behind")
	client.CloseWrite()
	var got bytes.Buffer
	if _, err := io.Copy(&got, c); err != nil || got.String() != "before behind" {
		t.Errorf("%q %v", got.String(), err)
	}
}
