package caddymodule

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// newTestUpstream makes an upstream for nodes with the JSON of reverse_proxy's
// other options, "" for none.
func newTestUpstream(t *testing.T, c Cluster, options string, nodes ...string) *upstream {
	t.Helper()
	var dials []string
	for _, n := range nodes {
		dials = append(dials, fmt.Sprintf(`{"dial":%q}`, strings.TrimPrefix(n, "http://")))
	}
	if options != "" {
		options = "," + options
	}
	if long {
		options += `,"verbose_logs":true`
	}
	c.ProxyRaw = json.RawMessage(`{"upstreams":[` + strings.Join(dials, ",") + `]` + options + `}`)
	u, err := newUpstream(testContext(t), &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.give)
	return u
}

// testContext is a context of a configuration that has nothing in it.
func testContext(t *testing.T) caddy.Context {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func node(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// deadNode is an address that refuses connections.
func deadNode(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
}

func send(t *testing.T, u *upstream, r *esapi.Request) (*esapi.Response, string) {
	t.Helper()
	res, err := u.Send(t.Context(), r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", r.Method, r.Path, err)
	}
	return res, string(body)
}

// long has upstreams go the long way, through reverse_proxy.
var long bool

// TestBothWays has what is true of the short way and of reverse_proxy.
func TestBothWays(t *testing.T) {
	for _, long = range []bool{false, true} {
		name := map[bool]string{false: "short", true: "long"}[long]
		for what, test := range map[string]func(t *testing.T){
			"SendCarriesRequestAndAnswer":       testSendCarriesRequestAndAnswer,
			"SendWithoutBodies":                 testSendWithoutBodies,
			"SendStreamsLargeBodies":            testSendStreamsLargeBodies,
			"SendTellsWhenNothingWasSent":       testSendTellsWhenNothingWasSent,
			"SendTriesTheNextNodeWhenOneIsDown": testSendTriesTheNextNodeWhenOneIsDown,
			"SendIsCancelled":                   testSendIsCancelled,
			"SendTellsABrokenOffAnswer":         testSendTellsABrokenOffAnswer,
			"Credentials":                       testCredentials,
			"AnAnswerThatIsCompressedAnyway":    testAnAnswerThatIsCompressedAnyway,
			"UpstreamOutlivesItsConfiguration":  testUpstreamOutlivesItsConfiguration,
			"ForwardStreamsBothWays":            testForwardStreamsBothWays,
			"ForwardBreaksOffWithTheAnswer":     testForwardBreaksOffWithTheAnswer,
			"ForwardTellsWhenNoNodeIsThere":     testForwardTellsWhenNoNodeIsThere,
		} {
			t.Run(name+"/"+what, test)
		}
	}
	long = false
}

func testSendCarriesRequestAndAnswer(t *testing.T) {
	var got *http.Request
	var gotBody string
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, gotBody = r.Clone(context.Background()), string(b)
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.Header().Set("Warning", "299 Elasticsearch")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"result":"created"}`)
	}))
	r := esapi.NewRequest("PUT", "/a%2Fb/%3Clogs-%7Bnow%2Fd%7D%3E/1?refresh&routing=x%20y", []byte(`{"a":1}`))
	r.Header.Set("X-Opaque-Id", "77")
	res, body := send(t, u, r)

	if res.Status != 201 || body != `{"result":"created"}` || res.Header.Get("Warning") == "" {
		t.Errorf("answer: %d %v %s", res.Status, res.Header, body)
	}
	if via := res.Header.Get("Via"); via != "" {
		t.Errorf("the answer names the proxy: Via: %s", via)
	}
	if got.RequestURI != "/a%2Fb/%3Clogs-%7Bnow%2Fd%7D%3E/1?refresh&routing=x+y" {
		t.Errorf("request: %s", got.RequestURI)
	}
	if gotBody != `{"a":1}` || got.ContentLength != 7 || got.Header.Get("X-Opaque-Id") != "77" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("request: %d %v %s", got.ContentLength, got.Header, gotBody)
	}
	if e := got.Header.Get("Accept-Encoding"); e != "" {
		t.Errorf("the cluster was asked to compress: %s", e)
	}
}

func testSendWithoutBodies(t *testing.T) {
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("Content-Length", "1234")
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		}
	}))
	for _, c := range []struct {
		method, path string
		status       int
		length       string
	}{{"HEAD", "/head", 200, "1234"}, {"GET", "/204", 204, ""}, {"GET", "/304", 304, ""}, {"HEAD", "/304", 304, ""}} {
		res, body := send(t, u, esapi.NewRequest(c.method, c.path, nil))
		if res.Status != c.status || body != "" || res.Header.Get("Content-Length") != c.length {
			t.Errorf("%s %s: %d %q, length %q", c.method, c.path, res.Status, body, res.Header.Get("Content-Length"))
		}
	}
}

func testSendStreamsLargeBodies(t *testing.T) {
	const size = 20 << 20
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	for _, length := range []int64{size, -1} {
		r := esapi.NewRequest("POST", "/_bulk", nil)
		r.Stream, r.Length = &pattern{left: size}, length
		res, err := u.Send(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		want := &pattern{left: size}
		buf, expected := make([]byte, 32<<10), make([]byte, 32<<10)
		var total int
		for {
			n, err := res.Body.Read(buf)
			_, _ = io.ReadFull(want, expected[:n])
			if !bytes.Equal(buf[:n], expected[:n]) {
				t.Fatalf("length %d: the answer differs at %d", length, total)
			}
			total += n
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if total != size {
			t.Errorf("length %d: got %d bytes", length, total)
		}
		res.Body.Close()
	}
}

// pattern is a body of bytes that tell their position.
type pattern struct {
	at   int
	left int
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left)
	for i := range b[:n] {
		b[i] = byte((p.at + i) >> 8 * 31)
	}
	p.at, p.left = p.at+n, p.left-n
	return n, nil
}

func testSendTellsWhenNothingWasSent(t *testing.T) {
	dead := newTestUpstream(t, Cluster{}, "", deadNode(t))
	_, err := dead.Send(t.Context(), esapi.NewRequest("POST", "/i/_doc", []byte(`{}`)))
	if !errors.Is(err, esapi.ErrNotSent) {
		t.Errorf("a refused connection: %v", err)
	}
	if strings.Contains(err.Error(), "id=") || strings.Contains(err.Error(), ".go:") {
		t.Errorf("the error has Caddy's trace: %v", err)
	}

	// A node that takes the request and closes the connection may have carried
	// it out, and must not get it a second time.
	var posts atomic.Int32
	closing := func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		_, _ = io.ReadAll(r.Body)
		panic(http.ErrAbortHandler)
	}
	for _, options := range []string{"", `"load_balancing":{"try_duration":2000000000,"try_interval":10000000}`, `"load_balancing":{"retries":5}`} {
		posts.Store(0)
		u := newTestUpstream(t, Cluster{}, options, node(t, closing), node(t, closing))
		_, err = u.Send(t.Context(), esapi.NewRequest("POST", "/i/_doc", []byte(`{}`)))
		if err == nil || errors.Is(err, esapi.ErrNotSent) {
			t.Errorf("a lost answer: %v", err)
		}
		if n := posts.Load(); n != 1 {
			t.Errorf("options %q: the write was sent %d times", options, n)
		}
	}
}

func testSendTriesTheNextNodeWhenOneIsDown(t *testing.T) {
	alive := node(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	u := newTestUpstream(t, Cluster{}, "", deadNode(t), alive, deadNode(t))
	for i := range 12 {
		if _, body := send(t, u, esapi.NewRequest("POST", "/i/_doc", []byte(`{"i":1}`))); body != `{"i":1}` {
			t.Errorf("request %d: %q", i, body)
		}
	}
}

func testSendIsCancelled(t *testing.T) {
	gone := make(chan struct{}, 100)
	var heads atomic.Int64 // requests that have come to the node
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.Write(make([]byte, 4<<20))
			w.(http.Flusher).Flush()
		} else {
			heads.Add(1)
		}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	for limit := time.Second; heads.Load() == 0; limit *= 2 { // as long as it takes to be at the node
		if limit > 2*time.Minute {
			t.Fatal("nothing comes to the node")
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if _, err := u.Send(ctx, esapi.NewRequest("GET", "/head", nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("cancelled before the head: %v", err)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	res, err := u.Send(ctx, esapi.NewRequest("GET", "/body", nil))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("an answer that was cancelled ended like a whole one")
	}
	res.Body.Close()
	// Closing early cancels too.
	res, err = u.Send(t.Context(), esapi.NewRequest("GET", "/body", nil))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for range heads.Load() + 2 {
		select {
		case <-gone:
		case <-time.After(time.Minute):
			t.Fatal("the node still works on a request that nobody waits for")
		}
	}
	waitFor(t, func() bool { return u.n.Load() == 1 })
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("did not happen within a minute")
}

func testSendTellsABrokenOffAnswer(t *testing.T) {
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100")
		}
		io.WriteString(w, `{"took":1,`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	for _, path := range []string{"/length", "/chunked"} {
		res, err := u.Send(t.Context(), esapi.NewRequest("GET", path, nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if string(body) != `{"took":1,` || err == nil {
			t.Errorf("%s: %q, %v", path, body, err)
		}
		res.Body.Close()
	}
}

func testCredentials(t *testing.T) {
	var got atomic.Value
	address := node(t, func(w http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Authorization")) })
	t.Setenv("ESPERANTO_TEST_PASSWORD", "from the environment")
	client := "Basic " + "Y2xpZW50OmNsaWVudA=="
	own := "Basic dTpmcm9tIHRoZSBlbnZpcm9ubWVudA=="
	account := Cluster{User: "u", Password: "{env.ESPERANTO_TEST_PASSWORD}"}
	both := account
	both.Passthrough = true
	for _, c := range []struct {
		name    string
		cluster Cluster
		client  string
		want    string
	}{
		{"no credentials: the client's are not handed on", Cluster{}, client, ""},
		{"the cluster's replace the client's", account, client, own},
		{"the cluster's", account, "", own},
		{"a brace that is no placeholder", Cluster{User: "u", Password: literal("a{b}")}, "", "Basic dTphe2J9"},
		{"passthrough", Cluster{Passthrough: true}, client, client},
		{"passthrough, the client first", both, client, client},
		{"passthrough, without a client's", both, "", own},
	} {
		u := newTestUpstream(t, c.cluster, "", address)
		r := esapi.NewRequest("GET", "/", nil)
		if c.client != "" {
			r.Header.Set("Authorization", c.client)
		}
		send(t, u, r)
		if got.Load() != c.want {
			t.Errorf("%s: Send sent %q, not %q", c.name, got.Load(), c.want)
		}
		if c.client != r.Header.Get("Authorization") {
			t.Errorf("%s: Send changed the caller's request", c.name)
		}

		w, hr := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		if c.client != "" {
			hr.Header.Set("Authorization", c.client)
		}
		if err := forward(u, w, hr); err != nil {
			t.Fatal(err)
		}
		if got.Load() != c.want {
			t.Errorf("%s: Forward sent %q, not %q", c.name, got.Load(), c.want)
		}
		if c.client != hr.Header.Get("Authorization") {
			t.Errorf("%s: Forward changed the client's request", c.name)
		}
	}

	_, err := newUpstream(testContext(t), &Cluster{User: "u", Password: "{env.ESPERANTO_NO_SUCH}", ProxyRaw: json.RawMessage(`{"upstreams":[{"dial":"localhost:1"}]}`)})
	if err == nil || !strings.Contains(err.Error(), "auth") {
		t.Errorf("a placeholder without a value: %v", err)
	}
}

func TestHealthChecksHaveCredentialsAndBeginWithStart(t *testing.T) {
	checks := make(chan string, 10)
	address := node(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case checks <- r.URL.Path + " " + r.Header.Get("Authorization"):
		default:
		}
	})
	u := newTestUpstream(t, Cluster{User: "u", Password: "p"}, `"health_checks":{"active":{"uri":"/_cluster/health","interval":20000000}}`, address)
	select {
	case c := <-checks:
		t.Fatalf("checked before the start: %s", c)
	case <-time.After(100 * time.Millisecond):
	}
	if err := u.start(); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-checks:
		if c != "/_cluster/health Basic dTpw" {
			t.Errorf("check: %s", c)
		}
	case <-time.After(time.Minute):
		t.Fatal("no check")
	}
}

func testAnAnswerThatIsCompressedAnyway(t *testing.T) {
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, "plain")
		z.Close()
	}))
	res, body := send(t, u, esapi.NewRequest("GET", "/", nil))
	if body != "plain" || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Content-Length") != "" {
		t.Errorf("%v %q", res.Header, body)
	}
}

func TestWhatCannotBeConfigured(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`:               "no address",
		`{"upstreams":[]}`: "no address",
		`{"upstreams":[{"dial":"a:1"}],"load_balancing":{"retry_match":[{"method":["POST"]}]}}`: "repeat writes",
		`{"upstreams":[{"dial":"a:1"}],"handle_response":[{}]}`:                                 "own answers",
		`{"upstreams":[{"dial":"a:1"}],"no_such":1}`:                                            "no_such",
		`{"upstreams":[{"dial":"a:1"}],"transport":{"protocol":"http","keep_alive":5}}`:         "keep_alive",
	} {
		if _, err := newUpstream(testContext(t), &Cluster{ProxyRaw: json.RawMessage(raw)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// A request that began before its configuration was replaced is carried out.
func testUpstreamOutlivesItsConfiguration(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	u := newTestUpstream(t, Cluster{}, "", node(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-goOn
		}
		io.WriteString(w, "done")
	}))
	done := make(chan string)
	go func() {
		_, body := send(t, u, esapi.NewRequest("GET", "/slow", nil))
		done <- body
	}()
	<-arrived
	u.give()
	u.give()
	if n := u.n.Load(); n != 1 {
		t.Errorf("%d users while a request is under way", n)
	}
	close(goOn)
	if body := <-done; body != "done" {
		t.Errorf("answer: %s", body)
	}
	waitFor(t, func() bool { return u.n.Load() < 0 })
	if _, body := send(t, u, esapi.NewRequest("GET", "/late", nil)); body != "done" {
		t.Errorf("a late request: %s", body)
	}
}
