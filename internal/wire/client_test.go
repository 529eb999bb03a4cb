package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esperanto-es/esperanto/internal/peek"
)

// What a node may say, and what a client gets.
func TestAnswers(t *testing.T) {
	big := repeated(300_000)
	for _, c := range []struct {
		name, answer string
		method       string
		status       int
		body         string
		reused       bool
	}{
		{"length", okHello, "GET", 200, "hello", true},
		{"empty", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "PUT", 200, "", true},
		{"large", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big), "GET", 200, big, true},
		{"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "GET", 200, "hello", true},
		{"no reason", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", "GET", 404, "", true},
		{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "GET", 200, "hello", true},
		{"chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "GET", 200, "hello", true},
		{"chunks and a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", "GET", 200, "hello", true},
		{"to the end", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "GET", 200, "hello", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET", 200, "hello", false},
		{"the last one", "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello", "GET", 200, "hello", false},
		{"100 before", "HTTP/1.1 100 Continue\r\n\r\n" + okHello, "PUT", 200, "hello", true},
		{"103 before", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + okHello, "GET", 200, "hello", true},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "HEAD", 200, "", true},
		{"HEAD, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 200, "", true},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, "", true},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "GET", 304, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, func(s *served) {
				for {
					if r, _ := s.request(); r == nil || !s.say(c.answer) {
						return
					}
					if !c.reused {
						return
					}
				}
			})
			client := n.client(Options{})
			for range 3 {
				do(t, client, Request{Method: c.method, Target: "/"}).want(t, c.status, c.body)
			}
			if got := n.connections.Load(); (got == 1) != c.reused {
				t.Errorf("%d connections", got)
			}
		})
	}
}

// Answers that are none, or that could be taken for another one's.
func TestBadAnswers(t *testing.T) {
	for _, answer := range []string{
		"garbage\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.1 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 +20 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA : 1\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: 1\r\n", maxTrailer),
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim+1) + okHello,
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", maxHead/1000),
		"",
	} {
		t.Run(fmt.Sprintf("%.60q", answer), func(t *testing.T) {
			n := newNode(t, func(s *served) {
				if s.number > 1 {
					always(okHello)(s)
				}
				if r, _ := s.request(); r != nil {
					s.say(answer)
				}
			})
			c := n.client(Options{})
			if o := do(t, c, put("/", "x")); o.err == nil {
				t.Errorf("%d %q %v", o.status, o.body, o.header)
			} else if errors.Is(o.err, ErrNotSent) {
				t.Errorf("it was sent: %v", o.err)
			}
			do(t, c, get("/")).want(t, 200, "hello")
		})
	}
}

// An answer that ends, or is reset, at any byte is an error, and the next
// request gets its own answer.
func TestCutAtEachByte(t *testing.T) {
	for _, answer := range []string{
		okHello,
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 201 Created\r\nContent-Type: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
	} {
		for _, reset := range []bool{false, true} {
			for at := range len(answer) {
				n := newNode(t, func(s *served) {
					for i := 0; ; i++ {
						r, _ := s.request()
						switch {
						case r == nil:
							return
						case r.URL.Path == "/cut":
							s.say(answer[:at])
							if reset {
								s.reset()
							}
							return
						}
						s.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")
					}
				})
				c := n.client(Options{})
				do(t, c, get("/")).want(t, 200, "own")
				if o := do(t, c, put("/cut", "x")); o.err == nil || errors.Is(o.err, ErrNotSent) {
					t.Fatalf("cut at %d of %q: %d %q %v", at, answer, o.status, o.body, o.err)
				}
				do(t, c, get("/")).want(t, 200, "own")
			}
		}
	}
}

// What a node says without being asked is no answer.
func TestBytesThatNobodyAskedFor(t *testing.T) {
	said := make(chan bool)
	n := newNode(t, func(s *served) {
		if s.number == 2 {
			always(okHello)(s)
		}
		for r, _ := s.request(); r != nil; r, _ = s.request() {
			switch r.URL.Path {
			case "/more":
				s.say(okHello + "HTTP/1.1 500 Wrong\r\nContent-Length: 0\r\n\r\n")
			case "/later":
				s.say(okHello)
				time.Sleep(20 * time.Millisecond)
				s.say("HTTP/1.1 500 Wrong\r\nContent-Length: 0\r\n\r\n")
				close(said)
			}
		}
	})
	c := n.client(Options{})
	do(t, c, get("/more")).want(t, 200, "hello")
	do(t, c, get("/")).want(t, 200, "hello")

	n2 := newNode(t, func(s *served) {
		if s.number > 1 {
			always(okHello)(s)
			return
		}
		s.request()
		s.say(okHello)
		time.Sleep(20 * time.Millisecond)
		s.say("HTTP/1.1 500 Wrong\r\nContent-Length: 0\r\n\r\n")
		close(said)
		s.untilGone()
	})
	c = n2.client(Options{})
	do(t, c, get("/later")).want(t, 200, "hello")
	<-said
	c.noticed(t)
	do(t, c, get("/")).want(t, 200, "hello")
}

// A connection that was idle and has ended is not used; one that ends just then
// has a write fail rather than sent twice.
func TestStaleConnections(t *testing.T) {
	var mu sync.Mutex
	seen, closed := map[string]int{}, make(chan bool)
	n := newNode(t, func(s *served) {
		for i := 0; ; i++ {
			r, _ := s.request()
			if r == nil {
				return
			}
			mu.Lock()
			seen[r.URL.Path]++
			mu.Unlock()
			switch {
			case r.URL.Path == "/closes":
				s.say(okHello)
				_ = s.Close()
				close(closed)
				return
			case i > 0 && strings.HasPrefix(r.URL.Path, "/dies"):
				return // it may have been carried out
			}
			s.say(okHello)
		}
	})
	c := n.client(Options{})
	do(t, c, get("/closes")).want(t, 200, "hello")
	<-closed
	c.noticed(t)
	do(t, c, put("/1", "x")).want(t, 200, "hello")
	if o := do(t, c, put("/dies/write", "x")); o.err == nil || errors.Is(o.err, ErrNotSent) {
		t.Errorf("%d %v", o.status, o.err)
	}
	do(t, c, put("/2", "x")).want(t, 200, "hello")
	do(t, c, get("/dies/read")).want(t, 200, "hello")
	mu.Lock()
	defer mu.Unlock()
	if seen["/1"] != 1 || seen["/2"] != 1 || seen["/dies/write"] != 1 || seen["/dies/read"] != 2 {
		t.Errorf("%v", seen)
	}
}

// A request that comes after the end has a connection of its own.
func TestAfterClose(t *testing.T) {
	gone := make(chan bool, 2)
	n := newNode(t, func(s *served) {
		always(okHello)(s)
		gone <- true
	})
	c := n.client(Options{})
	do(t, c, get("/")).want(t, 200, "hello")
	c.Close()
	<-gone
	do(t, c, get("/")).want(t, 200, "hello")
	<-gone
}

// A request that could not be sent says so.
func TestNotSent(t *testing.T) {
	n := newNode(t, always(okHello))
	c := n.client(Options{})
	_ = n.listener.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, o := range map[string]outcome{
		"no node":         do(t, c, put("/", "x")),
		"context ended":   doIn(ended, c, put("/", "x")),
		"bad target":      do(t, c, put("/a b", "x")),
		"target injects":  do(t, c, put("/ HTTP/1.1\r\nX: 1", "x")),
		"bad method":      do(t, c, Request{Method: "G T", Target: "/"}),
		"header injects":  do(t, c, Request{Method: "GET", Target: "/", Header: http.Header{"A": {"1\r\nB: 2"}}}),
		"bad header name": do(t, c, Request{Method: "GET", Target: "/", Header: http.Header{"A B": {"1"}}}),
		"body too short":  do(t, c, Request{Method: "PUT", Target: "/", Stream: strings.NewReader("x"), Length: 2}),
	} {
		if !errors.Is(o.err, ErrNotSent) {
			t.Errorf("%s: %d %v", name, o.status, o.err)
		}
	}
}

// A write is not sent if its client has gone, also if nobody has noticed yet.
func TestNotSentForNobody(t *testing.T) {
	n := newNode(t, always(okHello))
	c := n.client(Options{})
	for _, r := range []Request{put("/", "x"), {Method: "POST", Target: "/"}, {Method: "DELETE", Target: "/"}} {
		ctx, cancel := context.WithCancel(t.Context())
		if o := doIn(peek.With(ctx, goneClient{cancel}), c, r); !errors.Is(o.err, ErrNotSent) || !errors.Is(o.err, ErrEnded) {
			t.Errorf("%s: %d %v", r.Method, o.status, o.err)
		}
	}
}

type goneClient struct{ cancel context.CancelFunc }

func (c goneClient) LookNow() { c.cancel() }

// Bodies of all kinds arrive as they are.
func TestBodies(t *testing.T) {
	n := newNode(t, func(s *served) {
		for r, body := s.request(); r != nil; r, body = s.request() {
			s.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Length: %d\r\nX-Encoding: %s\r\n\r\n%s", len(body), r.ContentLength, strings.Join(r.TransferEncoding, ","), body))
		}
	})
	c := n.client(Options{})
	c.sentWait = time.Minute // a machine that stalls costs no connection here
	for _, size := range []int{0, 1, 1000, inline, inline + 1, 5 << 20} {
		text := repeated(size)
		for _, r := range []Request{
			{Method: "POST", Target: "/", Body: []byte(text)},
			{Method: "POST", Target: "/", Stream: strings.NewReader(text), Length: int64(size)},
			{Method: "POST", Target: "/", Stream: strings.NewReader(text), Length: -1},
			{Method: "GET", Target: "/", Body: []byte(text)},
		} {
			o := do(t, c, r)
			o.want(t, 200, text)
			if encoding := o.header.Get("X-Encoding"); (encoding == "chunked") != (r.Stream != nil && r.Length < 0) {
				t.Errorf("encoding %q, length %d", encoding, r.Length)
			}
		}
	}
	if got := n.connections.Load(); got != 1 {
		t.Errorf("%d connections", got)
	}
}

// The header goes through but for what is about a connection.
func TestHeader(t *testing.T) {
	got := make(chan *http.Request, 1)
	n := newNode(t, func(s *served) {
		r, _ := s.request()
		got <- r
		s.say("HTTP/1.1 200 OK\r\nx-one: 1\r\nWarning: a\r\nwarning:b \r\nConnection: keep-alive, x\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n")
		s.untilGone()
	})
	o := do(t, n.client(Options{}), Request{Method: "GET", Target: "/a%20b?c=d", Host: "cluster:9200", Header: http.Header{
		"Accept": {"a", "b"}, "Connection": {"keep-alive, X-Hop"}, "X-Hop": {"1"}, "Te": {"trailers"}, "Transfer-Encoding": {"chunked"},
		"Content-Length": {"77"}, "Expect": {"100-continue"}, "Upgrade": {"h2c"}, "X-Kept": {"2"},
	}})
	o.want(t, 200, "")
	want := http.Header{"X-One": {"1"}, "Warning": {"a", "b"}, "Content-Length": {"0"}}
	if fmt.Sprint(o.header) != fmt.Sprint(want) {
		t.Errorf("%v", o.header)
	}
	r := <-got
	if r.RequestURI != "/a%20b?c=d" || r.Host != "cluster:9200" || fmt.Sprint(r.Header) != fmt.Sprint(http.Header{"Accept": {"a", "b"}, "X-Kept": {"2"}}) {
		t.Errorf("%s %s %v", r.RequestURI, r.Host, r.Header)
	}
	if values := o.header["X-One"]; cap(values) != 1 {
		t.Error("values share memory")
	}
}

// A client that goes away ends the work of the node, at any time.
func TestClientGone(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer":      "",
		"within a head":  "HTTP/1.1 200 OK\r\nContent-Le",
		"within a body":  "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
		"within a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan bool)
			ctx, cancel := context.WithCancel(t.Context())
			n := newNode(t, func(s *served) {
				s.request()
				s.say(answer)
				time.AfterFunc(30*time.Millisecond, cancel) // it has come that far
				s.untilGone()
				close(gone)
			})
			o := doIn(ctx, n.client(Options{}), get("/"))
			if !errors.Is(o.err, context.Canceled) {
				t.Errorf("%v", o.err)
			}
			<-gone
		})
	}
}

// A body that is not read to its end takes its connection with it.
func TestUnreadBody(t *testing.T) {
	big := repeated(1 << 20)
	n := newNode(t, always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big)))
	c := n.client(Options{})
	for range 3 {
		r := get("/")
		r.Host = "node"
		res, err := c.Do(t.Context(), &r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(res.Body, make([]byte, 10))
		_ = res.Body.Close()
		if _, err := res.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed body is read")
		}
	}
	do(t, c, get("/")).want(t, 200, big)
}

// A body may be closed while it is read: the reader's client is gone.
func TestCloseWhileRead(t *testing.T) {
	endless := repeated(64 << 10)
	n := newNode(t, func(s *served) {
		s.request()
		s.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
		for s.say(endless) {
		}
	})
	c := n.client(Options{})
	r := get("/")
	r.Host = "node"
	for range 20 {
		res, err := c.Do(t.Context(), &r)
		if err != nil {
			t.Fatal(err)
		}
		begun, ended := make(chan bool), make(chan error)
		go func() {
			b := make([]byte, 100)
			_, err := res.Body.Read(b)
			for close(begun); err == nil; {
				_, err = res.Body.Read(b)
			}
			ended <- err
		}()
		<-begun
		_ = res.Body.Close()
		if err := <-ended; !errors.Is(err, errBodyClosed) {
			t.Errorf("it was read until %v", err)
		}
	}
}

// Of a request that was given up nothing is left, also if nobody closes the body of its answer.
func TestBodyThatNobodyCloses(t *testing.T) {
	n := newNode(t, func(s *served) {
		s.request()
		s.say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello")
		s.untilGone()
	})
	c := n.client(Options{})
	r := get("/")
	r.Host = "node"
	ctx, cancel := context.WithCancel(t.Context())
	bodies := make([]io.ReadCloser, 5)
	for i := range bodies {
		res, err := c.Do(ctx, &r)
		if err != nil {
			t.Fatal(err)
		}
		bodies[i] = res.Body
	}
	if running := c.Running(); running != 5 {
		t.Errorf("%d are running", running)
	}
	cancel()
	state := func() (busy int, watching bool, running int64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.busy), c.watching, c.Running()
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		busy, watching, running := state()
		if busy == 0 && !watching && running == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d are busy, %d running, watched: %v", busy, running, watching)
		}
	}
	for _, body := range bodies { // late
		_ = body.Close()
	}
	if busy, _, running := state(); busy != 0 || running != 0 {
		t.Errorf("%d are busy, %d running", busy, running)
	}
}

// A connection that waits does not hold the head of the last answer.
func TestHeadIsNotKept(t *testing.T) {
	for name, fields := range map[string]int{"few fields": 3, "many": 500} {
		t.Run(name, func(t *testing.T) {
			answer := strings.Replace(okHello, "\r\n", "\r\n"+strings.Repeat("X-Large: "+repeated(1000)+"\r\n", fields), 1)
			c := newNode(t, always(answer)).client(Options{})
			do(t, c, get("/")).want(t, 200, "hello")
			c.mu.Lock()
			defer c.mu.Unlock()
			kept := c.idle[0].fields
			for _, f := range kept[:cap(kept)] {
				if f != (Field{}) {
					t.Fatalf("%s of %d bytes is kept", f.Key, len(f.Value))
				}
			}
			if cap(kept) > 100 {
				t.Errorf("room for %d fields is kept", cap(kept))
			}
		})
	}
}

// A node that answers before it has the whole request is heard.
func TestEarlyAnswer(t *testing.T) {
	n := newNode(t, func(s *served) {
		_, _ = http.ReadRequest(s.in)
		s.say("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
		s.untilGone()
	})
	c := n.client(Options{})
	for _, length := range []int64{1 << 40, -1} {
		interrupted := make(chan bool)
		o := do(t, c, Request{Method: "POST", Target: "/", Stream: &endless{stop: interrupted}, Length: length, Interrupt: func() { close(interrupted) }})
		o.want(t, 413, "large")
		<-interrupted
	}
}

// endless gives bytes for a while and then blocks, as a slow client does.
type endless struct {
	n    int
	stop chan bool
}

func (e *endless) Read(b []byte) (int, error) {
	if e.n += len(b); e.n < 1<<20 {
		return len(b), nil
	}
	<-e.stop
	return 0, errors.New("interrupted")
}

// A client whose body breaks off does not have half of it taken for the whole.
func TestBrokenBody(t *testing.T) {
	whole := make(chan bool, 2)
	n := newNode(t, func(s *served) {
		r, _ := s.request()
		whole <- r != nil
	})
	c := n.client(Options{})
	for _, length := range []int64{2 * inline, -1} {
		broken := io.MultiReader(strings.NewReader(repeated(inline)), brokenReader{})
		if o := do(t, c, Request{Method: "POST", Target: "/", Stream: broken, Length: length}); !errors.Is(o.err, errBroken) {
			t.Errorf("%d %v", o.status, o.err)
		}
		if <-whole {
			t.Error("the node has a whole request")
		}
	}
}

// That a client's body broke off is said also if it takes long to end the connection.
func TestBrokenBodySlowlyClosed(t *testing.T) {
	n := newNode(t, func(s *served) { s.untilGone() })
	c := n.client(Options{})
	dial := c.o.Dial
	c.o.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return &slowlyClosed{Conn: conn}, err
	}
	for _, length := range []int64{2 * inline, -1} {
		if o := do(t, c, Request{Method: "POST", Target: "/", Stream: brokenReader{}, Length: length}); !errors.Is(o.err, errBroken) || !errors.Is(o.err, ErrRequest) {
			t.Errorf("%d %v", o.status, o.err)
		}
	}
}

// slowlyClosed is a connection whose first Close ends it, and returns later.
type slowlyClosed struct {
	net.Conn
	closed atomic.Bool
}

func (c *slowlyClosed) Close() error {
	first := !c.closed.Swap(true)
	err := c.Conn.Close()
	if first {
		time.Sleep(3 * sentWait)
	}
	return err
}

type brokenReader struct{}

var errBroken = errors.New("broken")

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

func TestTimeouts(t *testing.T) {
	n := newNode(t, func(s *served) {
		s.request()
		s.say("HTTP/1.1 200 OK\r\nA: 1\r\n")
		s.untilGone()
	})
	for _, r := range []Request{get("/"), put("/", repeated(1<<20)), {Method: "PUT", Target: "/", Stream: strings.NewReader("a"), Length: -1}} {
		o := do(t, n.client(Options{HeadTimeout: 30 * time.Millisecond}), r)
		if !isTimeout(o.err) || errors.Is(o.err, ErrNotSent) || errors.Is(o.err, ErrRequest) {
			t.Errorf("%v", o.err)
		}
	}
}

// A limit for the head is none for the body.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(Options{HeadTimeout: time.Second}, func(s net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(s)); err != nil {
				return
			}
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
			time.Sleep(time.Minute / 2)
			_, _ = io.WriteString(s, "lo")
		})
		defer c.Close()
		do(t, c, get("/")).want(t, 200, "hello")
	})
}

// piped makes a client whose connections are pipes: there the time can be that of a bubble.
func piped(o Options, serve func(s net.Conn)) (c *Client, dialled *atomic.Int32) {
	dialled = new(atomic.Int32)
	o.Dial = func(context.Context) (net.Conn, error) {
		dialled.Add(1)
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			serve(theirs)
		}()
		return ours, nil
	}
	return New(o), dialled
}

func TestIdleConnectionsEnd(t *testing.T) {
	gone := make(chan bool)
	n := newNode(t, func(s *served) {
		always(okHello)(s)
		close(gone)
	})
	c := n.client(Options{IdleTimeout: 20 * time.Millisecond})
	do(t, c, get("/")).want(t, 200, "hello")
	<-gone
}

// Whatever the node does, an answer is that to the request it is returned for,
// and no write is seen twice. (But for a second answer that comes when the next
// request is under way already: nothing in HTTP/1.1 tells whose that is.)
func TestAnswersAreNotMixedUp(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	n := newNode(t, func(s *served) {
		for {
			r, body := s.request()
			if r == nil {
				return
			}
			mu.Lock()
			seen[r.URL.Path]++
			mu.Unlock()
			text := r.URL.Path + body
			whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
			chunked := fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text), text)
			switch rand.N(14) {
			case 0:
				s.say(whole[:rand.N(len(whole))])
				return
			case 1:
				s.say(whole[:rand.N(len(whole))])
				s.reset()
				return
			case 2:
				s.say(whole + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
			case 4:
				s.say("HTTP/1.1 103 Early\r\n\r\n" + whole)
			case 5:
				s.say(chunked + "5\r\nwrong\r\n0\r\n\r\n")
			case 6:
				s.say(whole)
				return
			case 7:
				time.Sleep(rand.N(3 * time.Millisecond))
				s.say(whole)
			case 8:
				s.say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + text)
				return
			case 9:
				return
			default:
				s.say(slices.Clone([]string{whole, chunked})[rand.N(2)])
			}
		}
	})
	c := n.client(Options{MaxIdle: 4})
	var running sync.WaitGroup
	answered := make([]int, 8)
	for w := range answered {
		running.Go(func() {
			for i := range 400 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if rand.N(10) == 0 {
					time.AfterFunc(rand.N(3*time.Millisecond), cancel)
				}
				path := fmt.Sprintf("/%d/%d", w, i)
				r, want := put(path, "body"), path+"body"
				if i%3 == 0 {
					r, want = get(path), path
				}
				if o := doIn(ctx, c, r); o.err == nil {
					answered[w]++
					if o.body != want {
						t.Errorf("%s was answered %q", path, o.body)
					}
				}
				cancel()
			}
		})
	}
	running.Wait()
	mu.Lock()
	defer mu.Unlock()
	for w, count := range answered {
		if count < 100 {
			t.Errorf("only %d of 400 were answered", count)
		}
		for i := range 400 {
			if n := seen[fmt.Sprintf("/%d/%d", w, i)]; i%3 != 0 && n > 1 {
				t.Errorf("write %d/%d was seen %d times", w, i, n)
			}
		}
	}
}
