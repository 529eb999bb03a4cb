package caddymodule

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
)

// leanNode answers every request with one body, and allocates nothing for one.
func leanNode(t *testing.T, body string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	answer := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", len(body), body))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for from := bufio.NewReaderSize(c, 64<<10); ; {
					length := 0
					for {
						line, err := from.ReadSlice('\n')
						if err != nil {
							return
						}
						if len(line) == 2 {
							break
						}
						if digits := line[:len(line)-2]; len(line) > 16 && string(line[:16]) == "Content-Length: " {
							for _, d := range digits[16:] {
								length = 10*length + int(d-'0')
							}
						}
					}
					if _, err := from.Discard(length); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// quietWriter is an http.ResponseWriter that keeps nothing.
type quietWriter struct {
	header        http.Header
	status, bytes int
}

func (w *quietWriter) Header() http.Header         { return w.header }
func (w *quietWriter) WriteHeader(status int)      { w.status = status }
func (w *quietWriter) Write(b []byte) (int, error) { w.bytes += len(b); return len(b), nil }

// TestForwardedAllocations: what a request that is forwarded may allocate from the
// handler of the gateway to the connection and back, its node included.
func TestForwardedAllocations(t *testing.T) {
	document := `{"title":"` + strings.Repeat("x", 480) + `"}`
	for _, test := range []struct {
		name, method, path, body, answer string
		ceiling                          float64
	}{
		{"put", "PUT", "/books/_doc/1", document, `{"_index":"books","_id":"1","_version":1,"result":"created"}`, 5},
		{"get", "GET", "/books/_doc/1", "", `{"_index":"books","_id":"1","found":true,"_source":` + document + `}`, 5},
		{"search", "POST", "/books/_search", `{"query":{"match":{"title":"x"}}}`, `{"hits":{"hits":[` + strings.Repeat(document+",", 9) + document + `]}}`, 5},
	} {
		u := newTestUpstream(t, Cluster{}, "", leanNode(t, test.answer))
		c := cluster.New("c", u, cluster.Options{Version: esapi.V(8, 7)})
		t.Cleanup(c.Close)
		g := gateway.New(gateway.Config{
			Source: c, Logger: slog.New(slog.DiscardHandler), Forward: func(*cluster.Cluster) gateway.Forwarder { return u },
			Alone: func(*cluster.Cluster) bool { return true },
		})
		t.Cleanup(g.Close)
		to, err := url.ParseRequestURI(test.path)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
		ctx, cancel := context.WithCancel(t.Context()) // as that of a server's request
		t.Cleanup(cancel)
		body := strings.NewReader("")
		r := (&http.Request{Method: test.method, URL: to, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "localhost:9200",
			RemoteAddr: "127.0.0.1:2000", Header: header, ContentLength: int64(len(test.body)), Body: io.NopCloser(body)}).WithContext(ctx)
		w := &quietWriter{header: http.Header{}}
		do := func() {
			body.Reset(test.body)
			clear(w.header)
			*w = quietWriter{header: w.header}
			g.ServeHTTP(w, r)
			if w.status != 200 || w.bytes != len(test.answer) {
				t.Fatalf("%s: %d, %d bytes", test.name, w.status, w.bytes)
			}
		}
		do()
		got := testing.AllocsPerRun(100, do)
		for tries := 0; got > test.ceiling && tries < 20; tries++ { // those of the rest of the process are among them
			got = min(got, testing.AllocsPerRun(100, do))
		}
		if got > test.ceiling {
			t.Errorf("%s takes %.0f allocations, more than %.0f", test.name, got, test.ceiling)
		}
	}
}
