package handover

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// served is a server whose connections are looked at. Each of its handlers tells its context.
func served(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	return servedOn(t, listen(t), handler)
}

func listen(t *testing.T) *listener {
	t.Helper()
	l, err := Listen(t.Context(), "tcp", "127.0.0.1:0", net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return l.(*listener)
}

// nobodyLooks has the connections of a listener looked at by nobody but the test.
func nobodyLooks(l *listener) { l.watch.timer = time.AfterFunc(time.Hour, func() {}) }

func servedOn(t *testing.T, l *listener, handler http.HandlerFunc) (address string) {
	t.Helper()
	s := &http.Server{IdleTimeout: time.Minute, Handler: handler, ConnContext: Context}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c.(*net.TCPConn)
}

// connected is a connection that no server serves.
func connected(t *testing.T) (client *net.TCPConn, c *conn) {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	client = dial(t, l.Addr().String())
	n, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return client, n.(*conn)
}

const (
	get  = "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
	post = "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
)

// TestClientGone: the context of a request ends with its client, on the first request of a
// connection and on later ones, and on no other connection.
func TestClientGone(t *testing.T) {
	began, gone := make(chan string, 10), make(chan string, 10)
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/0" {
			return
		}
		began <- r.URL.Path
		<-r.Context().Done()
		gone <- r.URL.Path
	})
	stays := dial(t, address)
	fmt.Fprintf(stays, get, 1)
	<-began
	for name, leave := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { c.Close() },
		"half":   func(c *net.TCPConn) { c.CloseWrite() },
		"reset":  func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		for _, text := range []string{get, post} {
			for _, before := range []int{0, 3} {
				c := dial(t, address)
				from := bufio.NewReader(c)
				for range before {
					fmt.Fprintf(c, text, 0)
					if res, err := http.ReadResponse(from, nil); err != nil || res.StatusCode != 200 {
						t.Fatal(err)
					}
				}
				fmt.Fprintf(c, text, 2)
				<-began
				leave(c)
				select {
				case path := <-gone:
					if path != "/2" {
						t.Fatalf("%s: the context of another request has ended", name)
					}
				case <-time.After(time.Minute):
					t.Fatalf("%s, %d requests before, %q: nobody has noticed", name, before, text)
				}
			}
		}
	}
	select {
	case path := <-gone:
		t.Errorf("the context of %s has ended, too", path)
	case <-time.After(4 * lookEvery):
	}
}

// TestRequestBehindAnother: a client that sends its next request before it has its answer
// gets both, however long the first takes.
func TestRequestBehindAnother(t *testing.T) {
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(4 * lookEvery):
		case <-r.Context().Done():
			t.Error("the context of a request has ended")
		}
		io.WriteString(w, r.URL.Path)
	})
	c := dial(t, address)
	fmt.Fprintf(c, post+post+get, 1, 2, 3)
	from := bufio.NewReader(c)
	for i := range 3 {
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != fmt.Sprintf("/%d", i+1) || err != nil {
			t.Fatalf("%q %v", body, err)
		}
	}
}

// TestContextEnds: the context of a connection ends with it, and nothing is kept of it.
func TestContextEnds(t *testing.T) {
	_, c := connected(t)
	nobodyLooks(c.of)
	ctx := Context(t.Context(), c)
	if again := Context(ctx, c); again != ctx {
		t.Error("it has two contexts")
	}
	c.http1 = true
	c.Read(make([]byte, 1)) // beside a handler
	c.Close()
	if ctx.Err() == nil {
		t.Error("it has not ended")
	}
	w := &c.of.watch
	w.look()
	if n := w.len(); n > 0 {
		t.Errorf("%d connections are looked at", n)
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	if Context(t.Context(), ours) != t.Context() {
		t.Error("a connection of somebody else has a context of its own")
	}
}

func (w *watch) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// TestLooks: a connection is looked at rarely while its request takes long, and not at all
// without one.
func TestLooks(t *testing.T) {
	began, stop := make(chan *conn, 1), make(chan bool)
	l := listen(t)
	nobodyLooks(l)
	w := &l.watch
	s := &http.Server{IdleTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/1" {
			began <- r.Context().Value(connKey{}).(*conn)
			<-stop
		}
	}), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(Context(ctx, c), connKey{}, c)
	}}
	go s.Serve(l)
	defer s.Close()
	client := dial(t, l.Addr().String())
	from := bufio.NewReader(client)
	ask := func(i int) {
		fmt.Fprintf(client, get, i)
		if _, err := http.ReadResponse(from, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		ask(0)
	}
	if n := w.len(); n != 1 {
		t.Errorf("%d connections are looked at", n)
	}
	for end := time.Now().Add(time.Minute); w.len() > 0; w.look() { // the server may not be through
		if time.Now().After(end) {
			t.Fatal("an idle connection is looked at")
		}
		time.Sleep(time.Millisecond)
	}

	fmt.Fprintf(client, get, 1)
	c := <-began
	for w.len() == 0 { // net/http reads beside the handler
		time.Sleep(time.Millisecond)
	}
	var looks, last, longest int
	for i := range int(time.Minute / lookEvery) {
		before := c.next
		if w.look(); c.next != before {
			longest = max(longest, i-last)
			looks, last = looks+1, i
		}
	}
	if looks < 60 || looks > 70 || longest > maxPause {
		t.Errorf("%d looks in a minute, one after %d", looks, longest)
	}
	close(stop)
	if _, err := http.ReadResponse(from, nil); err != nil {
		t.Fatal(err)
	}
}

type connKey struct{}

// TestLargeAnswer: one that has a length arrives, whatever its size.
func TestLargeAnswer(t *testing.T) {
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		var n, less int
		fmt.Sscanf(r.URL.Path, "/%d/%d", &n, &less)
		w.Header().Set("Content-Length", fmt.Sprint(n+less))
		for n > 0 {
			k, err := w.Write(bytes.Repeat([]byte("x"), min(n, 32<<10)))
			if err != nil {
				t.Error(err)
			}
			n -= k
		}
		w.(http.Flusher).Flush()
	})
	c := dial(t, address)
	from := bufio.NewReaderSize(c, 1<<20)
	sizes := []int{0, 10, 6000, 100_000, 1_000_000}
	for n := 3800; n < 4100; n++ { // about the size of net/http's buffer, with the head
		sizes = append(sizes, n, n+4096)
	}
	for _, n := range sizes {
		fmt.Fprintf(c, "GET /%d/0 HTTP/1.1\r\nHost: a\r\n\r\n", n)
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); len(body) != n || err != nil {
			t.Fatalf("%d bytes: %d %v", n, len(body), err)
		}
	}
	// One that is shorter than it says reaches the client as far as there is one.
	for _, n := range sizes {
		c := dial(t, address)
		fmt.Fprintf(c, "GET /%d/1 HTTP/1.1\r\nHost: a\r\n\r\n", n)
		all, err := io.ReadAll(c)
		if _, body, _ := bytes.Cut(all, emptyLine); len(body) != n || err != nil {
			t.Fatalf("%d bytes that should be one more: %d %v", n, len(body), err)
		}
	}
}

// TestDeadlines: however often they are put off, the last one counts.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	client, c := connected(t)
	in := func(ms int) time.Time { return time.Now().Add(time.Duration(ms) * time.Millisecond) }
	var began time.Time // before the last deadline was set
	set := func(ms int) {
		began = time.Now()
		c.SetReadDeadline(in(ms))
	}
	read := func() (time.Duration, error) {
		_, err := c.Read(make([]byte, 10))
		return time.Since(began), err
	}
	for _, times := range [][]int{{100}, {50, 100}, {20, 40, 100}, {60_000, 100}, {20, 60_000, 100}, {-1, 100}} {
		for _, ms := range times {
			set(ms)
		}
		if took, err := read(); took < 90*time.Millisecond || took > 50*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: %v after %s", times, err, took)
		}
	}
	set(20)
	c.SetReadDeadline(time.Time{})
	time.AfterFunc(100*time.Millisecond, func() { io.WriteString(client, "x") })
	if took, err := read(); took < 90*time.Millisecond || err != nil {
		t.Errorf("without one: %v after %s", err, took)
	}
	for tries := 0; ; tries++ {
		late := make(chan bool, 1)
		set(3000)
		time.AfterFunc(10*time.Millisecond, func() {
			c.SetReadDeadline(in(3200))
			late <- time.Since(began) > 2*time.Second
		})
		took, err := read()
		if <-late && tries < 10 {
			continue // it may have ended before it was put off
		}
		if took < 3200*time.Millisecond || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("put off meanwhile: %v after %s", err, took)
		}
		break
	}
	set(60_000)
	time.AfterFunc(50*time.Millisecond, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	if took, err := read(); took > 50*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("given up meanwhile: %v after %s", err, took)
	}

	// Until the client reads, no more goes out at some time; then all of it must.
	large := strings.Repeat("0123456789", 2<<20)
	c.SetWriteDeadline(in(20))
	c.SetWriteDeadline(in(60_000))
	received := make(chan bool, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		got := make([]byte, len(large))
		_, err := io.ReadFull(client, got)
		received <- err == nil && string(got) == large
	}()
	if n, err := io.WriteString(c, large); n != len(large) || err != nil {
		t.Fatalf("%d bytes written, %v", n, err)
	}
	if !<-received {
		t.Error("something else has come")
	}
	c.SetWriteDeadline(in(100))
	if n, err := io.WriteString(c, large+large); n == 2*len(large) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads: %d bytes, %v", n, err)
	}
}

// BenchmarkRequest is what a request costs that is answered at once.
func BenchmarkRequest(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched=%v", watched), func(b *testing.B) {
			l, err := Listen(b.Context(), "tcp", "127.0.0.1:0", net.ListenConfig{})
			if err != nil {
				b.Fatal(err)
			}
			s := &http.Server{IdleTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
			if watched {
				s.ConnContext = Context
			}
			go s.Serve(l)
			defer s.Shutdown(context.Background())
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			p := make([]byte, 4096)
			for b.Loop() {
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if _, err := c.Read(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
