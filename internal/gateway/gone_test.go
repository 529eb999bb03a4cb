package gateway

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A client that leaves while its body is read is counted as one that has gone, and what it
// has sent of a write goes nowhere. One whose body is broken is told so.
func TestClientLeavesWithinItsBody(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprintf(z, `{"text":"%s"}`, strings.Repeat("long ", 100))
	_ = z.Close()
	half := packed.String()[:packed.Len()/2]
	chunk := func(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
	for _, c := range []struct {
		name, header, body string
		status             int
	}{
		{"of a length", "Content-Length: 100", `{"text":`, statusClientGone},
		{"without a byte", "Content-Length: 100", "", statusClientGone},
		{"chunked", "Transfer-Encoding: chunked", chunk(`{"text":`), statusClientGone},
		{"long", "Content-Length: 1000000", strings.Repeat(" ", 70000), statusClientGone},
		{"gzip", "Content-Encoding: gzip\r\nContent-Length: 10000", half, statusClientGone},
		{"gzip, chunked", "Content-Encoding: gzip\r\nTransfer-Encoding: chunked", chunk(half), statusClientGone},
		{"half of gzip", fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d", len(half)), half, 400},
		{"bad chunks", "Transfer-Encoding: chunked", "x\r\n", 400},
	} {
		for _, target := range []string{"", "8.7.1"} { // with one, the whole body is held
			t.Run(c.name+target, func(t *testing.T) {
				if c.status == statusClientGone {
					patiently(t)
				}
				r := newRig(t, "7.17.28", "8.7.1", target)
				done := make(chan Outcome, 1)
				r.Done = func(o Outcome) { done <- o }
				s := httptest.NewServer(r)
				defer s.Close()
				conn, err := net.Dial("tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprintf(conn, "PUT /books/_doc/1 HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n%s\r\n\r\n%s", c.header, c.body)
				if c.status == statusClientGone {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
				if o := <-done; o.Status != c.status {
					t.Errorf("counted as %d", o.Status)
				}
				// It may have closed its own end alone.
				if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != c.status {
					t.Errorf("it was told %v %v", res, err)
				}
				for _, sent := range r.source.sent {
					if sent.Method != "GET" {
						t.Errorf("%s %s %s was sent", sent.Method, sent.Path, sent.Body)
					}
				}
			})
		}
	}
}

// patiently has the gateway wait for as long as a slow machine may take to tell that a client has left.
func patiently(t *testing.T) {
	before := goneWait
	goneWait = time.Minute
	t.Cleanup(func() { goneWait = before })
}

// The end of a connection may be told to the body first, and to the context soon after.
func TestClientIsGoneSoon(t *testing.T) {
	patiently(t)
	for _, target := range []string{"", "8.7.1"} {
		r := newRig(t, "7.17.28", "8.7.1", target)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req := httptest.NewRequestWithContext(ctx, "PUT", "/books/_doc/1", leaving{cancel})
		r.ServeHTTP(httptest.NewRecorder(), req)
		if o := r.outcomes[0]; o.Status != statusClientGone {
			t.Errorf("counted as %d", o.Status)
		}
	}
}

// leaving is the body of a client that leaves.
type leaving struct{ gone func() }

func (l leaving) Read([]byte) (int, error) {
	time.AfterFunc(5*time.Millisecond, l.gone)
	return 0, errors.New("client disconnected")
}
