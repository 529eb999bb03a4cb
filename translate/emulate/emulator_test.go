package emulate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

const matchAll = `{"query":{"match_all":{}}}`

func TestDelete(t *testing.T) {
	r := newRig(t, 25)
	a := r.must("POST", "/i/_delete_by_query?scroll_size=10&refresh=true", matchAll)
	if a.Get("deleted").Int() != 25 || a.Get("batches").Int() != 3 || a.Get("total").Int() != 25 || len(r.docs) != 0 {
		t.Errorf("%s", a.Raw)
	}
	if r.opened != 1 || r.closed != 1 {
		t.Errorf("%d scrolls opened, %d closed", r.opened, r.closed)
	}
	if last := r.sent[len(r.sent)-1]; last != "POST /i/_refresh" {
		t.Errorf("last: %s", last)
	}
}

func TestUpdateKeepsTheBytesOfDocuments(t *testing.T) {
	r := newRig(t, 0)
	r.docs["001"] = &fakeDoc{4, "{\"a\" : 1.50,\n \"b\": \"<&>é\"}"}
	a := r.must("POST", "/i/_update_by_query", "")
	if a.Get("updated").Int() != 1 {
		t.Errorf("%s", a.Raw)
	}
	if want := `{"index":{"_index":"i","_id":"001","if_seq_no":14,"if_primary_term":1}}` + "\n" + `{"a":1.50,"b":"<&>é"}` + "\n"; r.bulks[0] != want {
		t.Errorf("sent %s", r.bulks[0])
	}
}

// Up to 6.6 a write is conditional on the version.
func TestConditions(t *testing.T) {
	for _, c := range []struct {
		dialect esapi.Version
		want    string
	}{
		{esapi.V(5, 6), `{"delete":{"_index":"i","_type":"_doc","_id":"000","version":1}}`},
		{esapi.V(6, 6), `{"delete":{"_index":"i","_type":"_doc","_id":"000","version":1}}`},
		{esapi.V(6, 8), `{"delete":{"_index":"i","_type":"_doc","_id":"000","if_seq_no":1,"if_primary_term":1}}`},
		{esapi.V(8, 7), `{"delete":{"_index":"i","_id":"000","if_seq_no":1,"if_primary_term":1}}`},
	} {
		r := newRig(t, 1)
		r.dialect = c.dialect
		r.must("POST", "/i/_delete_by_query", matchAll)
		if got := strings.TrimSpace(r.bulks[0]); got != c.want {
			t.Errorf("%s: %s", c.dialect, got)
		}
	}
}

// A document that changes between the search and the bulk is a conflict.
func TestConflicts(t *testing.T) {
	for _, proceed := range []bool{false, true} {
		r := newRig(t, 25)
		r.before = func(q *esapi.Request) (*esapi.Response, error) {
			if strings.HasSuffix(q.Path, "_bulk") && len(r.bulks) == 0 {
				r.docs["003"].version++
			}
			return nil, nil
		}
		target := "/i/_delete_by_query?scroll_size=10"
		if proceed {
			target += "&conflicts=proceed"
		}
		status, a := r.do("POST", target, matchAll)
		if proceed {
			if status != 200 || a.Get("deleted").Int() != 24 || a.Get("version_conflicts").Int() != 1 || a.Get("failures.#").Int() != 0 {
				t.Errorf("%d %s", status, a.Raw)
			}
		} else if status != 409 || a.Get("deleted").Int() != 9 || a.Get("failures.0.id").String() != "003" || a.Get("failures.0.type").String() != "_doc" {
			t.Errorf("%d %s", status, a.Raw)
		}
	}
}

// The sequence numbers of one cluster are not those of the other: when the
// master is moved between the search and the bulk, the documents are read again.
func TestMasterMoves(t *testing.T) {
	r := newRig(t, 25)
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if strings.HasSuffix(q.Path, "_bulk") && len(r.bulks) == 1 && r.master == "a" {
			r.master = "b"
			r.docs["012"].version++
			delete(r.docs, "013")
		}
		return nil, nil
	}
	a := r.must("POST", "/i/_delete_by_query?scroll_size=10&conflicts=proceed", matchAll)
	if a.Get("deleted").Int() != 23 || a.Get("version_conflicts").Int() != 2 || len(r.docs) != 1 || a.Get("retries.bulk").Int() != 0 {
		t.Errorf("%s; left %v", a.Raw, r.docs)
	}
	status, a := func() (int, gjson.Result) {
		r := newRig(t, 5)
		r.before = func(q *esapi.Request) (*esapi.Response, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if strings.HasSuffix(q.Path, "_bulk") {
				r.master = "b"
				r.docs["002"].version = 9
			}
			return nil, nil
		}
		return r.do("POST", "/i/_update_by_query", matchAll)
	}()
	if reason := a.Get("failures.0.cause.reason").String(); status != 409 || a.Get("updated").Int() != 4 || reason != "[002]: version conflict, current version [9] is different than the one provided [1]" {
		t.Errorf("%d %s", status, a.Raw)
	}
}

// An older cluster tells no sequence numbers in the pages of a scroll; they are
// read then.
func TestPagesWithoutSequenceNumbers(t *testing.T) {
	r := newRig(t, 3)
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		if !strings.HasSuffix(q.Path, "/_search") {
			return nil, nil
		}
		return esapi.NewResponse(200, []byte(`{"_scroll_id":"x","hits":{"total":2,"hits":[{"_index":"i","_id":"001","_version":1},{"_index":"i","_id":"002","_version":7}]}}`)), nil
	}
	a := r.must("POST", "/i/_delete_by_query?conflicts=proceed", matchAll)
	if a.Get("deleted").Int() != 1 || a.Get("version_conflicts").Int() != 1 || len(r.docs) != 2 {
		t.Errorf("%s", a.Raw)
	}
}

// What the cluster is too busy for is sent again, and counted.
func TestBusy(t *testing.T) {
	r := newRig(t, 3)
	refusals := map[string]int{}
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		kind := q.Path[strings.LastIndexByte(q.Path, '/'):]
		if refusals[kind]++; refusals[kind] > 1 {
			return nil, nil
		}
		switch kind {
		case "/_search":
			return esapi.NewResponse(429, []byte(`{"error":{"type":"es_rejected_execution_exception"},"status":429}`)), nil
		case "/_bulk":
			return esapi.NewResponse(200, []byte(`{"errors":true,"items":[{"delete":{"_index":"i","_id":"000","status":200,"result":"deleted"}},`+
				`{"delete":{"_index":"i","_id":"001","status":429,"error":{"type":"es_rejected_execution_exception"}}},`+
				`{"delete":{"_index":"i","_id":"002","status":429,"error":{"type":"es_rejected_execution_exception"}}}]}`)), nil
		}
		return nil, nil
	}
	a := r.must("POST", "/i/_delete_by_query", matchAll)
	if a.Get("retries.bulk").Int() != 1 || a.Get("retries.search").Int() != 1 || a.Get("deleted").Int() != 3 {
		t.Errorf("%s", a.Raw)
	}
	if strings.Contains(r.bulks[0], `"000"`) || strings.Count(r.bulks[0], "\n") != 2 {
		t.Errorf("sent again: %s", r.bulks[0])
	}
}

// An error of the search is the answer, without a job that changes anything.
func TestSearchFails(t *testing.T) {
	r := newRig(t, 3)
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(404, []byte(`{"error":{"type":"index_not_found_exception"},"status":404}`)), nil
	}
	if status, a := r.do("POST", "/none/_delete_by_query", matchAll); status != 404 || a.Get("error.type").String() != "index_not_found_exception" {
		t.Errorf("%d %s", status, a.Raw)
	}
	r.before = func(q *esapi.Request) (*esapi.Response, error) {
		if strings.HasSuffix(q.Path, "/_search") {
			return esapi.NewResponse(200, []byte(`{"_scroll_id":"x","timed_out":false,"_shards":{"failed":1,"failures":[{"shard":0,"index":"i","reason":{"type":"broken"}}]},"hits":{"total":3,"hits":[]}}`)), nil
		}
		return nil, nil
	}
	if status, a := r.do("POST", "/i/_delete_by_query", matchAll); status != 500 || a.Get("failures.0.reason.type").String() != "broken" || len(r.bulks) > 0 {
		t.Errorf("%d %s", status, a.Raw)
	}
	r.before = func(q *esapi.Request) (*esapi.Response, error) { return nil, errors.New("the line broke") }
	if status, a := r.do("POST", "/i/_delete_by_query", matchAll); status != 500 || !strings.Contains(a.Raw, "the line broke") {
		t.Errorf("%d %s", status, a.Raw)
	}
}

func TestPageTooLarge(t *testing.T) {
	r := newRig(t, 100)
	r.MaxPage = 1000
	if status, a := r.do("POST", "/i/_update_by_query", ""); status != 413 || !strings.Contains(a.Raw, "scroll_size") || len(r.bulks) > 0 {
		t.Errorf("%d %s", status, a.Raw)
	}
}

// A large page becomes several bulks.
func TestBulksAreBounded(t *testing.T) {
	r := newRig(t, 0)
	r.MaxPage = 64 << 20
	for i := range 5 {
		r.docs[fmt.Sprintf("%03d", i)] = &fakeDoc{1, `{"x":"` + strings.Repeat("y", 3<<20) + `"}`}
	}
	a := r.must("POST", "/i/_update_by_query", "")
	if a.Get("updated").Int() != 5 || len(r.bulks) != 2 {
		t.Errorf("%d bulks: %s", len(r.bulks), a.Raw)
	}
}

func TestSlices(t *testing.T) {
	r := newRig(t, 30)
	a := r.must("POST", "/i/_delete_by_query?slices=auto&scroll_size=5", matchAll)
	if a.Get("slices.#").Int() != 3 || a.Get("deleted").Int() != 30 || a.Get("slices.1.deleted").Int() != 10 || a.Get("slices.2.slice_id").Int() != 2 || a.Get("batches").Int() != 6 {
		t.Errorf("%s", a.Raw)
	}
	if r.opened != 3 || r.closed != 3 {
		t.Errorf("%d scrolls opened, %d closed", r.opened, r.closed)
	}
}

func TestTooManySlices(t *testing.T) {
	r := newRig(t, 3)
	if status, a := r.do("POST", "/i/_delete_by_query?slices=2000000000", matchAll); status != 400 || !strings.Contains(a.Raw, "too large") || len(r.sent) > 0 {
		t.Errorf("%d %s", status, a.Raw)
	}
}

func TestReindex(t *testing.T) {
	r := newRig(t, 3)
	r.must("POST", "/_reindex", `{"source":{"index":"i"},"max_docs":2,"dest":{"index":"new","routing":"=r","pipeline":"p"}}`)
	if got := strings.Split(r.bulks[0], "\n")[0]; got != `{"index":{"_index":"new","_id":"000","routing":"r"}}` || strings.Count(r.bulks[0], "\n") != 4 {
		t.Errorf("%s", r.bulks[0])
	}
	r.must("POST", "/_reindex", `{"source":{"index":"i"},"dest":{"index":"new","version_type":"external","op_type":"index"}}`)
	if got := strings.Split(r.bulks[1], "\n")[0]; got != `{"index":{"_index":"new","_id":"000","version":2,"version_type":"external"}}` {
		t.Errorf("%s", got)
	}
	r.must("POST", "/_reindex?require_alias=true&scroll=1m", `{"source":{"index":"i"},"dest":{"index":"new"}}`)
	for body, want := range map[string]string{
		`{"source":{"index":"i"},"dest":{"index":"new"},"script":{"source":"x"}}`:      "a reindex with a script: it is a test",
		`{"source":{"index":"i","remote":{"host":"http://x"}},"dest":{"index":"new"}}`: "a reindex from a remote cluster: it is a test",
		`{"source":{"index":"alias"},"dest":{"index":"i"}}`:                            "reindex cannot write into an index its reading from [i]",
		`{"source":`: "not JSON",
	} {
		if status, a := r.do("POST", "/_reindex", body); status != 400 || !strings.Contains(a.Get("error.reason").String(), want) {
			t.Errorf("%s: %d %s", body, status, a.Raw)
		}
	}
}

// Close ends what runs; nothing is left behind.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, 100)
	r.must("POST", "/i/_update_by_query?wait_for_completion=false&requests_per_second=1&scroll_size=10&slices=3&conflicts=proceed", matchAll)
	waiting := make(chan error, 1)
	go func() {
		_, err := r.Emulator.Send(context.Background(), r.dialect, esapi.NewRequest("POST", "/i/_update_by_query?requests_per_second=1&scroll_size=10&conflicts=proceed", []byte(matchAll)))
		waiting <- err
	}()
	for r.Tasks.running() < 2 {
		time.Sleep(time.Millisecond)
	}
	r.Tasks.Close()
	err := <-waiting
	if own := new(esapi.Error); !errors.As(err, &own) || own.Status != http.StatusServiceUnavailable {
		t.Errorf("who waited was told: %v", err)
	}
	if r.Tasks.running() != 0 || r.opened != r.closed {
		t.Errorf("%d jobs run, %d scrolls opened, %d closed", r.Tasks.running(), r.opened, r.closed)
	}
	if status, a := r.do("POST", "/i/_delete_by_query", matchAll); status != 503 {
		t.Errorf("after Close: %d %s", status, a.Raw)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before+1 {
			return
		}
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// A panic ends the job, not the process.
func TestPanic(t *testing.T) {
	r := newRig(t, 3)
	r.before = func(*esapi.Request) (*esapi.Response, error) { panic("oh") }
	if status, a := r.do("POST", "/i/_delete_by_query", matchAll); status != 500 || !strings.Contains(a.Raw, "internal error: oh") {
		t.Errorf("%d %s", status, a.Raw)
	}
}
