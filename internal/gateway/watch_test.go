package gateway

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

type watcher struct {
	unwanted string
	seen     []Sight
}

func (w *watcher) Wants(api string) Purpose {
	if api == w.unwanted {
		return 0
	}
	return 7
}

func (w *watcher) Seen(s Sight) { w.seen = append(w.seen, s) }

func (w *watcher) last(t *testing.T) Sight {
	t.Helper()
	if len(w.seen) != 1 {
		t.Fatalf("%d requests were seen, want one", len(w.seen))
	}
	s := w.seen[0]
	w.seen = nil
	if s.For != 7 {
		t.Errorf("seen for %d", s.For)
	}
	return s
}

// TestWatching: what is forwarded, captured or translated is seen as the client
// sent it, without its credentials.
func TestWatching(t *testing.T) {
	large := `{"x":"` + strings.Repeat("x", seenBody) + `"}`
	for _, c := range []struct {
		name, dialect, master string
		method, target, body  string
		whole                 bool
		fired                 string
	}{
		{"forwarded", "", "source", "POST", "/i/_search?size=1", `{"query":{"match_all":{}}}`, true, ""},
		{"forwarded without a body", "", "source", "GET", "/i/_search", "", true, ""},
		{"forwarded and large", "", "source", "POST", "/i/_search", large, false, ""},
		{"captured", "", "source", "PUT", "/i/t/1", `{"n":1}`, true, ""},
		{"captured and large", "", "source", "PUT", "/i/t/1", large, false, ""},
		{"translated", "", "target", "POST", "/i/_search", `{"aggs":{"a":{"terms":{"field":"f","order":{"_term":"asc"}}}}}`, true, "TermsOrderBecameKey"},
		{"a bulk translated", "", "target", "POST", "/_bulk", strings.Repeat(`{"index":{"_index":"i","_type":"t","_id":"1"}}`+"\n"+`{"n":1}`+"\n", 9), true, "BulkItemsLostTheirType"},
		{"refused", "", "target", "POST", "/i/_search", `{"query":{"template":{"inline":"x"}}}`, true, "TemplateAndGeoQueriesWereRemoved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.dialect, "5.6.16", "8.7.1")
			w := &watcher{}
			r.Watch = w
			if c.master == "target" {
				r.master = r.Target
			}
			answer := r.do(t, c.method, c.target, c.body, "Authorization", "Basic secret", "Cookie", "secret")
			s := w.last(t)
			path, _, _ := strings.Cut(c.target, "?")
			if s.Request.Method != c.method || s.Request.Path != path || s.Dialect != esapi.V(5, 6) && s.Dialect.Short() != "5.6" || s.By != r.master || s.Status != 0 && s.Status != answer.Code {
				t.Errorf("seen as %+v %+v", s, s.Request)
			}
			if s.Whole != c.whole || s.Whole && string(s.Request.Body) != c.body {
				t.Errorf("whole %v, body %.50q", s.Whole, s.Request.Body)
			}
			for name := range s.Request.Header {
				if name == "Authorization" || name == "Cookie" {
					t.Errorf("the header %s is seen", name)
				}
			}
			if c.fired == "" {
				if s.Fired != nil {
					t.Errorf("fired %+v", s.Fired)
				}
			} else if s.Fired == nil || !slices.ContainsFunc(s.Fired.Request, func(ch *translate.Change) bool { return ch.Name == c.fired }) {
				t.Errorf("fired %+v", s.Fired)
			}
		})
	}
}

// TestWatchingOnlyWhatIsWanted, and a body of unknown length.
func TestWatchingOnlyWhatIsWanted(t *testing.T) {
	r := newRig(t, "", "5.6.16", "8.7.1")
	w := &watcher{unwanted: "search"}
	r.Watch = w
	r.do(t, "GET", "/i/_search", "")
	if len(w.seen) > 0 {
		t.Error("seen what is not wanted")
	}
	for _, c := range []struct {
		body  string
		whole bool
	}{{`{"query":{}}`, true}, {strings.Repeat("x", seenBody+1), false}} {
		req := httptest.NewRequest("POST", "/i/_count", bytes.NewReader([]byte(c.body)))
		req.ContentLength = -1
		r.ServeHTTP(httptest.NewRecorder(), req)
		if s := w.last(t); s.Whole != c.whole || c.whole && string(s.Request.Body) != c.body {
			t.Errorf("whole %v, body %.50q", s.Whole, s.Request.Body)
		}
	}
}

// TestWatchingBrokenAnswers: what is told at an answer's end is seen, also if the
// answer breaks off.
func TestWatchingBrokenAnswers(t *testing.T) {
	r := newRig(t, "", "5.6.16", "8.7.1")
	w := &watcher{}
	r.Watch = w
	r.master = r.Target
	hit := `{"_index":"i","_id":"1","_score":1.0,"_ignored":["f"],"_source":{}},`
	r.target.f = func(*esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(200, []byte(`{"took":1,"hits":{"total":{"value":1,"relation":"eq"},"hits":[`+strings.Repeat(hit, 10_000))), nil
	}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("panic %v", p)
			}
		}()
		req := httptest.NewRequest("GET", "/i/_search", nil)
		r.ServeHTTP(httptest.NewRecorder(), req)
	}()
	s := w.last(t)
	if s.Fired == nil || !slices.ContainsFunc(s.Fired.Answer, func(ch *translate.Change) bool { return ch.Name == "IgnoredFieldsAppearedInHits" }) {
		t.Errorf("fired %+v", s.Fired)
	}
}
