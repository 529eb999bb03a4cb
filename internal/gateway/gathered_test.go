package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A write that may go together with others reaches the cluster with the client's headers, but for
// those of its connection, and with those that say who it is.
func TestHeadersOfGatheredWrites(t *testing.T) {
	for connection, gathered := range map[string]bool{"": true, "keep-alive": true, "Close": true, "X-Secret": false, "close, X-Secret": false} {
		r := newRig(t, "", "7.17.28", "")
		if _, err := r.Source.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.Forwarded = func(h http.Header, _ *http.Request) { h["X-Forwarded-For"] = []string{"10.0.0.1"} }
		req := httptest.NewRequest("PUT", "/books/_doc/1", strings.NewReader(`{"n":1}`))
		req.Header = http.Header{"Content-Type": {"application/json"}, "Accept-Encoding": {"gzip"}, "X-Secret": {"s"}, "X-Opaque-Id": {"o"}}
		if connection != "" {
			req.Header.Set("Connection", connection)
		}
		before := len(r.source.sent)
		r.ServeHTTP(httptest.NewRecorder(), req)
		if !gathered {
			if len(r.source.sent) != before {
				t.Errorf("Connection %q: it went together with others", connection)
			}
			continue
		}
		if len(r.source.sent) != before+1 {
			t.Fatalf("Connection %q: %d requests", connection, len(r.source.sent)-before)
		}
		sent := r.source.sent[before]
		if sent.Header.Get("X-Forwarded-For") != "10.0.0.1" || sent.Header.Get("X-Opaque-Id") != "o" || sent.Header.Get("Accept-Encoding") != "" || sent.Header.Get("Connection") != "" || string(sent.Body) != `{"n":1}` {
			t.Errorf("Connection %q: sent %v %s", connection, sent.Header, sent.Body)
		}
		if req.Header.Get("X-Forwarded-For") != "" || req.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("the client's own headers are %v", req.Header)
		}
	}
}
