package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// fake is a cluster that answers with f and remembers what it was sent.
type fake struct {
	version   string
	f         func(r *esapi.Request) (*esapi.Response, error)
	sent      []*esapi.Request
	forwarded int
}

func (c *fake) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	if (r.Path == "/" || r.Path == "/_nodes/_all/http") && c.version == "" {
		return nil, esapi.ErrNotSent
	}
	if r.Path == "/" {
		return esapi.NewResponse(200, []byte(`{"version":{"number":"`+c.version+`"}}`)), nil
	}
	if r.Stream != nil {
		body, err := io.ReadAll(r.Stream)
		if err != nil {
			return nil, fmt.Errorf("sending: %w", err)
		}
		r.Body, r.Stream = body, nil
	}
	c.sent = append(c.sent, r)
	if c.f == nil {
		return esapi.NewResponse(200, []byte(`{"sent":true}`)), nil
	}
	return c.f(r)
}

func (c *fake) Forward(w http.ResponseWriter, r *http.Request) error {
	c.forwarded++
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"forwarded":true}`)
	return nil
}

// rig is a gateway on one or two fake clusters.
type rig struct {
	*Gateway
	source, target *fake
	master         *cluster.Cluster
	enterErr       error

	mu       sync.Mutex // of those below
	entered  []bool     // write or not, of each lease
	left     int
	outcomes []Outcome
}

type lease struct{ r *rig }

func (l lease) Master() *cluster.Cluster { return l.r.master }
func (l lease) Epoch() uint64            { return 1 }
func (l lease) Sender() esapi.Sender     { return l.r.master }

func (l lease) Exit() {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.r.left++
}

func newRig(t *testing.T, dialect, source, target string) *rig {
	t.Helper()
	r := &rig{source: &fake{version: source}, target: &fake{version: target}}
	c := Config{MaxBody: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
	c.Source = cluster.New("source", r.source, cluster.Options{})
	t.Cleanup(c.Source.Close)
	if target != "" {
		c.Target = cluster.New("target", r.target, cluster.Options{})
		t.Cleanup(c.Target.Close)
	}
	if dialect != "" {
		v, err := esapi.ParseVersion(dialect)
		if err != nil {
			t.Fatal(err)
		}
		c.Dialect = v
	}
	r.master = c.Source
	c.Enter = func(_ context.Context, write bool) (Lease, error) {
		if r.enterErr != nil {
			return nil, r.enterErr
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.entered = append(r.entered, write)
		return lease{r}, nil
	}
	c.Forward = func(to *cluster.Cluster) Forwarder {
		if to == c.Source {
			return r.source
		}
		return r.target
	}
	c.Done = func(o Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.outcomes = append(r.outcomes, o)
	}
	r.Gateway = New(c)
	return r
}

func (r *rig) do(t *testing.T, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Host = "gateway:9200"
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if len(r.entered) != r.left {
		t.Errorf("%s %s: %d leases taken, %d given back", method, target, len(r.entered), r.left)
	}
	if w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
		t.Errorf("%s %s: X-Elastic-Product is missing: %v", method, target, w.Header())
	}
	if w.Code >= 400 && method != "HEAD" {
		if e := gjson.GetBytes(w.Body.Bytes(), "error.type"); w.Code >= 500 && e.String() == "" {
			t.Errorf("%s %s: not Elasticsearch's error shape: %s", method, target, w.Body)
		}
	}
	return w
}

// What nobody has to look into goes through untouched.
func TestForwarding(t *testing.T) {
	for _, c := range []struct {
		name                    string
		dialect, source, target string
		method, path            string
		forwarded               bool
	}{
		{"one cluster", "", "5.6.16", "", "PUT", "/i/t/1", true},
		{"one cluster whose version is not known", "", "", "", "PUT", "/i/t/1", true},
		{"one cluster of the clients' version", "7.17.1", "7.17.28", "", "POST", "/_bulk", true},
		{"one cluster of another version", "5.6.16", "7.17.28", "", "GET", "/i/_count", false},
		{"sniffing", "", "7.17.28", "", "GET", "/_nodes/http", false},
		{"a read with a target", "", "7.17.28", "8.7.1", "POST", "/i/_search", true},
		{"a write with a target", "", "7.17.28", "8.7.1", "PUT", "/i/_doc/1", false},
		{"what is not known counts as a write", "", "7.17.28", "8.7.1", "POST", "/_no/such/api", false},
		{"a scroll with a target", "", "7.17.28", "8.7.1", "POST", "/i/_search?scroll=1m", false},
	} {
		r := newRig(t, c.dialect, c.source, c.target)
		w := r.do(t, c.method, c.path, `{}`)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if got := r.source.forwarded == 1; got != c.forwarded {
			t.Errorf("%s: forwarded: %v", c.name, got)
		}
		if (len(r.source.sent) > 0) == c.forwarded {
			t.Errorf("%s: sent %d requests", c.name, len(r.source.sent))
		}
	}
}

func TestLeasesOfReadsAndWrites(t *testing.T) {
	r := newRig(t, "", "5.6.16", "8.7.1")
	for _, c := range []struct {
		method, path string
		write        bool
	}{
		{"GET", "/i/t/1", false}, {"PUT", "/i/t/1", true}, {"POST", "/i/t/_search", false}, {"POST", "/_msearch", false},
		{"POST", "/_bulk", true}, {"DELETE", "/_search/scroll", false}, {"DELETE", "/i", true},
		{"HEAD", "/i", false}, {"POST", "/i/_refresh", false}, {"POST", "/some/plugin/path/here", true},
	} {
		r.entered = nil
		r.left = 0
		r.do(t, c.method, c.path, "")
		if len(r.entered) != 1 || r.entered[0] != c.write {
			t.Errorf("%s %s: leases %v, wanted a write: %v", c.method, c.path, r.entered, c.write)
		}
	}
}

func TestReadsAreKnownAPIs(t *testing.T) {
	for api := range readAPIs {
		known := false
		for _, v := range []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 17)} {
			known = known || esapi.HasAPI(api, v)
		}
		if !known {
			t.Errorf("%s is no API of any version", api)
		}
	}
}

func TestCompressedAndLargeBodies(t *testing.T) {
	zipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.String()
	}
	large := strings.Repeat(" ", 1<<20)
	for _, c := range []struct {
		name, body, encoding string
		status               int
		sent                 string
	}{
		{"plain", `{"a":1}`, "", 200, `{"a":1}`},
		{"gzip", zipped(`{"a":1}`), "gzip", 200, `{"a":1}`},
		{"as large as allowed", large, "", 200, large},
		{"gzip, as large as allowed", zipped(large), "gzip", 200, large},
		{"too large", large + "x", "", 413, ""},
		{"gzip, too large when unpacked", zipped(large + "x"), "gzip", 413, ""},
		{"not gzip", `{"a":1}`, "gzip", 400, ""},
		{"unknown encoding", `{"a":1}`, "br", 400, ""},
		{"gzip that breaks off", zipped(`{"a":1}`)[:20], "gzip", 400, ""},
	} {
		for _, chunked := range []bool{false, true} {
			r := newRig(t, "", "7.17.28", "8.7.1")
			req := httptest.NewRequest("PUT", "/i/_doc/1", strings.NewReader(c.body))
			if chunked {
				req.ContentLength = -1
			}
			if c.encoding != "" {
				req.Header.Set("Content-Encoding", c.encoding)
			}
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if w.Code != c.status || c.status != 200 && gjson.GetBytes(w.Body.Bytes(), "error.reason").String() == "" {
				t.Errorf("%s, chunked %v: %d %.300s", c.name, chunked, w.Code, w.Body)
			}
			if c.status == 200 {
				if len(r.source.sent) != 1 || string(r.source.sent[0].Body) != c.sent || r.source.sent[0].Header.Get("Content-Encoding") != "" {
					t.Errorf("%s, chunked %v: sent %d requests", c.name, chunked, len(r.source.sent))
				}
			}
		}
	}
	r := newRig(t, "", "7.17.28", "")
	for _, length := range []int64{1<<20 + 1, -1} {
		req := httptest.NewRequest("PUT", "/i/_doc/1", strings.NewReader(large+"x"))
		req.ContentLength = length
		w := httptest.NewRecorder()
		if r.ServeHTTP(w, req); w.Code != 413 {
			t.Errorf("forwarded, length %d: %d %.300s", length, w.Code, w.Body)
		}
	}
}

func TestOutputOptions(t *testing.T) {
	answer := `{"took":1,"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0,"hits":[{"_index":"i","_id":"1","_score":1.0,"_source":{"a":1}}]}}`
	r := newRig(t, "5.6.16", "8.7.1", "")
	r.source.f = func(*esapi.Request) (*esapi.Response, error) { return esapi.NewResponse(200, []byte(answer)), nil }
	w := r.do(t, "GET", "/i/_search?filter_path=hits.total,hits.hits._source&pretty", "")
	if got, want := w.Body.String(), "{\n  \"hits\" : {\n    \"total\" : 1,\n    \"hits\" : [\n      {\n        \"_source\" : {\n          \"a\" : 1\n        }\n      }\n    ]\n  }\n}\n"; got != want {
		t.Errorf("pretty and filtered:\n%s", got)
	}
	if p := r.source.sent[len(r.source.sent)-1].Params; p.Has("filter_path") || p.Has("pretty") {
		t.Errorf("the cluster was asked for %s", p.Encode())
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json; charset=UTF-8" {
		t.Errorf("content type for a 5.x client: %s", ct)
	}
	w = r.do(t, "GET", "/i/_search?format=yaml", "")
	if !strings.HasPrefix(w.Body.String(), "---\n") || !strings.Contains(w.Body.String(), "total: 1") {
		t.Errorf("yaml:\n%s", w.Body)
	}

	// The text of the cat APIs is the cluster's.
	r.source.f = func(*esapi.Request) (*esapi.Response, error) {
		res := esapi.NewResponse(200, []byte("green open i\n"))
		res.Header.Set("Content-Type", "text/plain; charset=UTF-8")
		return res, nil
	}
	w = r.do(t, "GET", "/_cat/indices?format=json&pretty", "")
	if p := r.source.sent[len(r.source.sent)-1].Params; !p.Has("format") || w.Body.String() != "green open i\n" {
		t.Errorf("cat: sent %s, got %s", p.Encode(), w.Body)
	}
}

func TestVendoredMediaTypes(t *testing.T) {
	const vendored = "application/vnd.elasticsearch+json; compatible-with=8"
	r := newRig(t, "8.7.1", "7.17.28", "")
	w := r.do(t, "POST", "/i/_search", "{}", "Accept", vendored, "Content-Type", vendored)
	sent := r.source.sent[len(r.source.sent)-1].Header
	if sent.Get("Accept") != "application/json" || sent.Get("Content-Type") != "application/json" {
		t.Errorf("sent: %v", sent)
	}
	if got := w.Header().Get("Content-Type"); got != "application/vnd.elasticsearch+json;compatible-with=8" {
		t.Errorf("got: %s", got)
	}
}

func TestHead(t *testing.T) {
	r := newRig(t, "5.6.16", "7.17.28", "")
	r.source.f = func(*esapi.Request) (*esapi.Response, error) {
		res := esapi.NewResponse(404, nil)
		res.Header.Set("Content-Length", "345")
		return res, nil
	}
	w := r.do(t, "HEAD", "/i", "")
	if w.Code != 404 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "345" {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		typ    string
	}{
		{fmt.Errorf("%w: dial tcp: connection refused", esapi.ErrNotSent), 503, esapi.UnavailableType},
		{context.DeadlineExceeded, 504, esapi.UnavailableType},
		{errors.New("connection reset"), 502, esapi.UnavailableType},
		{esapi.Unsupported("no"), 400, esapi.UnsupportedType},
		{fmt.Errorf("wrapped: %w", esapi.IndexNotFound("i", esapi.V(8, 7))), 404, "index_not_found_exception"},
	} {
		r := newRig(t, "", "7.17.28", "8.7.1")
		r.source.f = func(*esapi.Request) (*esapi.Response, error) { return nil, c.err }
		w := r.do(t, "PUT", "/i/_doc/1", "{}")
		if w.Code != c.status || gjson.GetBytes(w.Body.Bytes(), "error.type").String() != c.typ || gjson.GetBytes(w.Body.Bytes(), "status").Int() != int64(c.status) {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
	r := newRig(t, "", "7.17.28", "8.7.1")
	r.enterErr = esapi.Unavailable("the journal is full")
	if w := r.do(t, "PUT", "/i/_doc/1", "{}"); w.Code != 503 || !strings.Contains(w.Body.String(), "the journal is full") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r = newRig(t, "", "", "8.7.1")
	r.source.f = func(*esapi.Request) (*esapi.Response, error) { return nil, esapi.ErrNotSent }
	if w := r.do(t, "GET", "/", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "not known yet") {
		t.Errorf("a source that is down: %d %s", w.Code, w.Body)
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	r := newRig(t, "", "7.17.28", "8.7.1")
	r.source.f = func(*esapi.Request) (*esapi.Response, error) { panic("a mistake") }
	if w := r.do(t, "PUT", "/i/_doc/1", "{}"); w.Code != 500 || r.outcomes[0].Status != 500 {
		t.Errorf("%d %s %+v", w.Code, w.Body, r.outcomes)
	}
}

// An answer that breaks off on its way must not look like a whole one.
func TestBrokenOffAnswer(t *testing.T) {
	r := newRig(t, "", "7.17.28", "8.7.1")
	r.source.f = func(*esapi.Request) (*esapi.Response, error) {
		res := esapi.NewResponse(200, nil)
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"took":`), broken{}))
		return res, nil
	}
	s := httptest.NewServer(r)
	defer s.Close()
	res, err := http.Post(s.URL+"/_bulk", "application/json", strings.NewReader("{}"))
	if err == nil {
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
	}
	if err == nil {
		t.Error("the client took it for whole")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSniffingIsToldTheGatewaysAddress(t *testing.T) {
	r := newRig(t, "", "7.17.28", "")
	r.source.f = func(*esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(200, []byte(`{"nodes":{"n1":{"name":"a","http":{"bound_address":["10.0.0.1:9200"],"publish_address":"10.0.0.1:9200"}}}}`)), nil
	}
	w := r.do(t, "GET", "/_nodes/http", "")
	if strings.Contains(w.Body.String(), "10.0.0.1") || !strings.Contains(w.Body.String(), "gateway:9200") {
		t.Errorf("%s", w.Body)
	}
}

func FuzzServe(f *testing.F) {
	f.Add("PUT", "/i/t/1?pretty", []byte(`{"a":1}`), []byte(`{"_index":"i"}`), true)
	f.Add("POST", "/_bulk", []byte("{\"index\":{}}\n{}\n"), []byte(`{"items":[{}]}`), false)
	f.Add("GET", "/_search/scroll?scroll_id=esperanto.c291cmNl.x", []byte(``), []byte(`{"_scroll_id":"x"}`), true)
	f.Add("GET", "/i/_search?scroll=1m&filter_path=a.**,-b&format=yaml", []byte(`{`), []byte(`{"_scroll_id":`), false)
	f.Fuzz(func(t *testing.T, method, target string, body, answer []byte, same bool) {
		if _, err := url.ParseRequestURI(target); err != nil || !strings.HasPrefix(target, "/") || strings.ContainsAny(method+target, " \r\n") || method == "" {
			return
		}
		version := "8.7.1"
		if same {
			version = "5.6.16"
		}
		r := newRig(t, "5.6.16", version, "7.17.28")
		r.source.f = func(*esapi.Request) (*esapi.Response, error) { return esapi.NewResponse(200, answer), nil }
		req, err := http.NewRequest(method, "http://g"+target, bytes.NewReader(body))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
			if w.Code == 500 && strings.Contains(w.Body.String(), "internal error") {
				t.Errorf("%s", w.Body)
			}
		}()
		r.ServeHTTP(w, req)
	})
}

// A client that sends slowly must not keep the master from being moved: a write
// is let in when its body is there.
func TestWritesAreLetInWithTheirBodies(t *testing.T) {
	for _, length := range []int{100, 3 << 20} {
		g := newRig(t, "", "7.17.28", "8.7.1")
		g.MaxBody = 10 << 20
		body := &watched{Reader: strings.NewReader(`{"t":"` + strings.Repeat("x", length) + `"}`), ended: func() {
			if len(g.entered) > 0 {
				t.Errorf("%d bytes: it was let in before", length)
			}
		}}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest("PUT", "/books/_doc/1", body))
		if w.Code != 200 || len(g.source.sent) != 1 || len(g.source.sent[0].Body) != length+8 || len(g.entered) != 1 || g.left != 1 {
			t.Errorf("%d bytes: %d %s, %v", length, w.Code, w.Body, g.entered)
		}
	}
}

// watched tells when it was read to its end.
type watched struct {
	io.Reader
	ended func()
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.ended()
	}
	return n, err
}
