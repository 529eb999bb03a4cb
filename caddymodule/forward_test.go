package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// forward calls Forward as Caddy's server would.
func forward(u *upstream, w http.ResponseWriter, r *http.Request) error {
	return u.Forward(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, u.server))
}

func testForwardStreamsBothWays(t *testing.T) {
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := forward(u, w, r); err != nil {
			t.Error(err)
		}
	}))
	defer front.Close()
	var want bytes.Buffer
	io.Copy(&want, &pattern{left: 20 << 20})
	res, err := http.Post(front.URL+"/_bulk", "application/x-ndjson", io.NopCloser(bytes.NewReader(want.Bytes()))) // chunked
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func testForwardBreaksOffWithTheAnswer(t *testing.T) {
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = forward(u, w, r) }))
	defer front.Close()
	res, err := http.Get(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("the client took %q for the whole answer", body)
	}
}

func testForwardTellsWhenNoNodeIsThere(t *testing.T) {
	u := newTestUpstream(t, Cluster{}, "", deadNode(t))
	w := httptest.NewRecorder()
	if err := forward(u, w, httptest.NewRequest("GET", "/", nil)); !errors.Is(err, esapi.ErrNotSent) {
		t.Error(err)
	}
	if w.Body.Len() > 0 {
		t.Errorf("something was written: %s", w.Body)
	}
}

// TestClientGoes: the node of a request learns that its client has gone.
func TestClientGoes(t *testing.T) {
	began, gone := make(chan struct{}), make(chan struct{})
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/i/_search" {
			close(began)
			<-r.Context().Done()
			close(gone)
		}
	}))
	defer node.Close()
	p := newProcess(t)
	p.mustLoad("cluster only {\nto "+node.URL+"\nversion 8.7.1\n}", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", p.url()+"/i/_search", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-began
		cancel()
	}()
	if res, err := http.DefaultClient.Do(r); err == nil {
		res.Body.Close()
		t.Fatalf("it was answered %d", res.StatusCode)
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the node still works for it")
	}
}
