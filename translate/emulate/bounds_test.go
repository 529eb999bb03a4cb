package emulate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A limit that does not reach for all slices is an error, also if the indices
// decide how many there are: a slice without a share of it would have no limit.
func TestFewerDocumentsThanAutomaticSlices(t *testing.T) {
	for _, dialect := range []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 10), esapi.V(8, 7)} {
		r := newRig(t, 12)
		r.dialect = dialect
		status, a := r.do("POST", "/i/_delete_by_query?slices=auto&size=2", matchAll)
		if status != http.StatusBadRequest || len(r.docs) != 12 {
			t.Errorf("%v: %d %s, %d documents left", dialect, status, a.Raw, len(r.docs))
		}
	}
}

// The scroll of a page that is too large is closed like any other.
func TestTooLargeAFirstPageLeavesNoScroll(t *testing.T) {
	r := newRig(t, 40)
	r.MaxPage = 2000
	status, a := r.do("POST", "/i/_update_by_query", "")
	if status != http.StatusRequestEntityTooLarge || r.opened != 1 || r.closed != 1 {
		t.Errorf("%d %s: %d scrolls opened, %d closed", status, a.Raw, r.opened, r.closed)
	}
}

// What a client sent, its credentials too, is kept no longer than the job runs.
func TestResultsAreKeptWithoutTheRequest(t *testing.T) {
	r := newRig(t, 3)
	id := r.must("POST", "/i/_update_by_query?wait_for_completion=false", `{"script":{"source":"x"}}`).Get("task").String()
	if a := r.must("GET", "/_tasks/"+id+"?wait_for_completion=true", ""); !a.Get("completed").Bool() {
		t.Fatalf("%s", a.Raw)
	}
	r.Tasks.Close() // the result is kept by now
	kept := r.Tasks.find(id)
	if kept == nil || kept.job.header != nil || kept.job.script != "" || kept.job.search.body != nil || kept.result.failures != nil || kept.progress.parts != nil {
		t.Errorf("%+v", kept)
	}
	if a := r.must("GET", "/_tasks/"+id, ""); !a.Get("completed").Bool() || a.Get("response.updated").Int() != 3 {
		t.Errorf("%s", a.Raw)
	}
}

// A document that could not be read again is no conflict, which a job might be
// told to pass over.
func TestReadingAgainFails(t *testing.T) {
	r := newRig(t, 2)
	moved := false
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		switch {
		case strings.HasSuffix(q.Path, "/_bulk") && !moved:
			moved, r.master = true, "b"
		case q.Path == "/_mget":
			return esapi.NewResponse(200, []byte(`{"docs":[{"_index":"i","_type":"_doc","_id":"000","error":{"type":"no_shard_available_action_exception","reason":"gone"}},`+
				`{"_index":"i","_id":"001","found":true,"_version":1,"_seq_no":100011,"_primary_term":1}]}`)), nil
		}
		return nil, nil
	}
	_, a := r.do("POST", "/i/_delete_by_query?conflicts=proceed", matchAll)
	if a.Get("version_conflicts").Int() != 0 || a.Get("deleted").Int() != 1 || a.Get("failures.0.cause.reason").String() != "gone" || a.Get("failures.0.status").Int() != 503 {
		t.Errorf("%s", a.Raw)
	}
}

// A panic before the search begins ends the job, not the process.
func TestPanicBeforeTheSearch(t *testing.T) {
	r := newRig(t, 2)
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		if strings.HasSuffix(q.Path, "/_search_shards") {
			panic("a bug")
		}
		return nil, nil
	}
	if status, a := r.do("POST", "/_reindex", `{"source":{"index":"i"},"dest":{"index":"new"}}`); status != 500 {
		t.Errorf("%d %s", status, a.Raw)
	}
	if n := r.Tasks.running(); n > 1 { // it may not have been taken off the list yet
		t.Errorf("%d run", n)
	}
}
