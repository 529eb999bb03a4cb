package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// page answers a search with one document, and the next page with none.
func page(r *esapi.Request) (*esapi.Response, error) {
	switch {
	case strings.HasSuffix(r.Path, "/_search"):
		return esapi.NewResponse(200, []byte(`{"_scroll_id":"abc","hits":{"total":1,"hits":[{"_index":"i","_type":"t","_id":"1","_version":3,"_seq_no":7,"_primary_term":1,"_source":{}}]}}`)), nil
	case strings.HasSuffix(r.Path, "/_bulk"):
		return esapi.NewResponse(200, []byte(`{"items":[{"delete":{"_index":"i","_type":"t","_id":"1","result":"deleted","status":200}}]}`)), nil
	}
	return esapi.NewResponse(200, []byte(`{"_scroll_id":"abc","hits":{"total":1,"hits":[]}}`)), nil
}

func paths(sent []*esapi.Request) string {
	var list []string
	for _, r := range sent {
		list = append(list, r.Path)
	}
	return strings.Join(list, " ")
}

// With a second cluster a deletion by query is a search and bulks, each with a
// lease of its own.
func TestByQueryWithATarget(t *testing.T) {
	r := newRig(t, "", "6.8.23", "8.7.1")
	r.source.f = page
	w := r.do(t, "POST", "/i/_delete_by_query", `{"query":{"match_all":{}}}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"deleted":1,"batches":1`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := paths(r.source.sent); got != "/i/_search /_bulk /_search/scroll /_search/scroll" {
		t.Errorf("sent: %s", got)
	}
	if got := string(r.source.sent[1].Body); got != `{"delete":{"_index":"i","_type":"t","_id":"1","if_seq_no":7,"if_primary_term":1}}`+"\n" {
		t.Errorf("bulk: %s", got)
	}
	if body := string(r.source.sent[2].Body); !strings.Contains(body, `"scroll_id":"abc"`) {
		t.Errorf("the scroll's id comes back without the cluster's name: %s", body)
	}
	if len(r.entered) != 4 || r.entered[0] || !r.entered[1] {
		t.Errorf("leases: %v", r.entered)
	}
	if o := r.outcomes[0]; o.API != "delete_by_query" || o.Status != 200 {
		t.Errorf("%+v", o)
	}
}

// One cluster is asked first, and not again for a while if it lacks the module.
func TestByQueryWithoutTheModule(t *testing.T) {
	for _, lacks := range []string{
		`{"error":"no handler found for uri [/i/_delete_by_query] and method [POST]"}`,
		`{"error":"Incorrect HTTP method for uri [/_reindex] and method [POST], allowed: [PUT]","status":405}`,
	} {
		r := newRig(t, "7.10.2", "8.7.1", "")
		r.source.f = func(q *esapi.Request) (*esapi.Response, error) {
			if strings.HasSuffix(q.Path, "_delete_by_query") {
				return esapi.NewResponse(400, []byte(lacks)), nil
			}
			return page(q)
		}
		for _, want := range []string{
			"/i/_delete_by_query /i/_search /_bulk /_search/scroll /_search/scroll",
			"/i/_search /_bulk /_search/scroll /_search/scroll",
		} {
			r.source.sent = nil
			w := r.do(t, "POST", "/i/_delete_by_query", `{"query":{"match_all":{}}}`)
			if w.Code != 200 || !strings.Contains(w.Body.String(), `"deleted":1,"batches":1`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if got := paths(r.source.sent); got != want {
				t.Errorf("sent: %s", got)
			}
		}
		r.module.until = time.Now()
		r.source.sent = nil
		r.do(t, "POST", "/i/_delete_by_query", `{"query":{"match_all":{}}}`)
		if got := paths(r.source.sent); !strings.HasPrefix(got, "/i/_delete_by_query ") {
			t.Errorf("after a while the cluster is not asked again: %s", got)
		}
	}
}

// A cluster with the module does the work itself.
func TestByQueryWithTheModule(t *testing.T) {
	r := newRig(t, "7.10.2", "8.7.1", "")
	r.source.f = func(q *esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(400, []byte(`{"error":{"type":"parsing_exception","reason":"no such query"},"status":400}`)), nil
	}
	w := r.do(t, "POST", "/i/_delete_by_query", `{"query":{"match_all":{}}}`)
	if w.Code != 400 || paths(r.source.sent) != "/i/_delete_by_query" {
		t.Errorf("%d %s; sent %s", w.Code, w.Body, paths(r.source.sent))
	}
}

// The answer of a job takes the form that the client asks for.
func TestByQueryOutput(t *testing.T) {
	r := newRig(t, "", "6.8.23", "8.7.1")
	r.source.f = page
	w := r.do(t, "POST", "/i/_delete_by_query?filter_path=deleted", `{"query":{"match_all":{}}}`)
	if got := strings.TrimSpace(w.Body.String()); got != `{"deleted":1}` {
		t.Errorf("%s", got)
	}
	w = r.do(t, "POST", "/_reindex", `{"source":{"index":"i"},"dest":{"index":"j"},"script":{"source":"ctx._source.n=1"}}`)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "a reindex with a script") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// What the client's search loses on its way is told with the answer.
func TestByQueryTellsWhatIsLost(t *testing.T) {
	r := newRig(t, "", "5.6.16", "8.7.1")
	r.master = r.Target
	r.target.f = func(*esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(200, []byte(`{"_scroll_id":"abc","hits":{"total":{"value":0},"hits":[]}}`)), nil
	}
	w := r.do(t, "POST", "/i/_delete_by_query", `{"query":{"match":{"n":{"query":"x","cutoff_frequency":0.1}}}}`)
	if w.Code != 200 || w.Header().Get("X-Esperanto-Lossy") == "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A part of a job that panics gives its lease back.
func TestByQueryPanics(t *testing.T) {
	r := newRig(t, "", "6.8.23", "8.7.1")
	r.source.f = func(q *esapi.Request) (*esapi.Response, error) {
		if strings.HasSuffix(q.Path, "/_bulk") {
			panic("a bug")
		}
		return page(q)
	}
	if w := r.do(t, "POST", "/i/_delete_by_query", `{"query":{"match_all":{}}}`); w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
