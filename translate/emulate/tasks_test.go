package emulate

import (
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// begin starts a job that is slow, and waits until it has done its first batch.
func (r *rig) begin(target string) string {
	r.t.Helper()
	id := r.must("POST", target, matchAll).Get("task").String()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		a := r.must("GET", "/_tasks/"+id, "")
		if a.Get("task.status.throttled_until_millis").Int() > 0 {
			return id
		}
	}
	r.t.Fatal("the job does not begin")
	return ""
}

func TestTask(t *testing.T) {
	r := newRig(t, 20)
	id := r.begin("/i/_delete_by_query?wait_for_completion=false&scroll_size=5&requests_per_second=1")

	a := r.must("GET", "/_tasks/"+id, "")
	if a.Get("completed").Bool() || a.Get("task.status.deleted").Int() != 5 || a.Get("task.status.total").Int() != 20 ||
		a.Get("task.action").String() != "indices:data/write/delete/byquery" || a.Get("task.description").String() != "delete-by-query [i]" ||
		a.Get("task.status.requests_per_second").Raw != "1.0" || a.Get("task.running_time_in_nanos").Int() <= 0 || a.Get("task.start_time_in_millis").Int() <= 0 || !a.Get("task.headers").Exists() {
		t.Errorf("%s", a.Raw)
	}
	if status, a := r.do("GET", "/_tasks/"+id+"?wait_for_completion=true&timeout=20ms", ""); status != 500 || a.Get("error.type").String() != "timeout_exception" {
		t.Errorf("%d %s", status, a.Raw)
	}
	if status, a := r.do("POST", "/_delete_by_query/"+id+"/_rethrottle", ""); status != 400 || a.Get("error.reason").String() != "requests_per_second is a required parameter" {
		t.Errorf("%d %s", status, a.Raw)
	}
	a = r.must("POST", "/_delete_by_query/"+id+"/_rethrottle?requests_per_second=-1", "")
	if a.Get("nodes.*.tasks.*.status.requests_per_second").Raw != "-1.0" {
		t.Errorf("%s", a.Raw)
	}
	a = r.must("GET", "/_tasks/"+id+"?wait_for_completion=true", "")
	if !a.Get("completed").Bool() || a.Get("response.deleted").Int() != 20 || a.Get("response.throttled").String() == "" || a.Get("response.updated").Raw != "0" {
		t.Errorf("%s", a.Raw)
	}
	if a := r.must("POST", "/_delete_by_query/"+id+"/_rethrottle?requests_per_second=5", ""); !strings.Contains(a.Raw, "is missing") {
		t.Errorf("%s", a.Raw)
	}
	if a := r.must("POST", "/_tasks/"+id+"/_cancel", ""); !strings.Contains(a.Raw, "is not found") {
		t.Errorf("%s", a.Raw)
	}
	if status, a := r.do("GET", "/_tasks/"+strings.Split(id, ":")[0]+":99", ""); status != 404 || a.Get("error.type").String() != "resource_not_found_exception" {
		t.Errorf("%d %s", status, a.Raw)
	}
}

func TestCancel(t *testing.T) {
	r := newRig(t, 20)
	id := r.begin("/i/_delete_by_query?wait_for_completion=false&scroll_size=5&requests_per_second=1&refresh=true")
	if a := r.must("POST", "/_tasks/"+id+"/_cancel", ""); !strings.Contains(a.Get("nodes").Raw, id) {
		t.Errorf("%s", a.Raw)
	}
	a := r.must("GET", "/_tasks/"+id+"?wait_for_completion=true", "")
	if a.Get("response.canceled").String() != "by user request" || a.Get("response.deleted").Int() != 5 || len(r.docs) != 15 {
		t.Errorf("%s", a.Raw)
	}
	if r.closed != 1 {
		t.Errorf("%d scrolls closed", r.closed)
	}
}

// A job that fails has its error as result.
func TestTaskFails(t *testing.T) {
	r := newRig(t, 20)
	r.before = func(*esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(404, []byte(`{"error":{"root_cause":[],"type":"index_not_found_exception","reason":"no such index"},"status":404}`)), nil
	}
	id := r.must("POST", "/i/_update_by_query?wait_for_completion=false", "").Get("task").String()
	a := r.must("GET", "/_tasks/"+id+"?wait_for_completion=true", "")
	if a.Get("error").Raw != `{"type":"index_not_found_exception","reason":"no such index"}` || a.Get("response").Exists() {
		t.Errorf("%s", a.Raw)
	}
}

// Validation errors come before there is a task.
func TestNoTaskForWhatIsInvalid(t *testing.T) {
	r := newRig(t, 1)
	if status, _ := r.do("POST", "/i/_delete_by_query?wait_for_completion=false&conflicts=x", matchAll); status != 400 || r.Tasks.running() > 0 {
		t.Error(status)
	}
}

func TestLists(t *testing.T) {
	r := newRig(t, 20)
	list := func() esapi.Endpoint { return esapi.ParseEndpoint("GET", "/_tasks", r.dialect) }
	if r.TakesTask(list()) {
		t.Error("the cluster's tasks are nobody else's business while no job runs")
	}
	id := r.begin("/i/_update_by_query?wait_for_completion=false&scroll_size=5&requests_per_second=1")
	if !r.TakesTask(list()) {
		t.Error("lists are not merged")
	}
	for target, path := range map[string]string{
		"/_tasks?actions=*byquery&detailed": "nodes." + r.Tasks.node + ".tasks",
		"/_tasks?group_by=parents":          "tasks",
		"/_tasks?group_by=none":             "tasks",
	} {
		a := r.must("GET", target, "")
		if !strings.Contains(a.Get(path).Raw, `"action":"indices:data/write/update/byquery"`) || !strings.Contains(a.Raw, `"id":1`) {
			t.Errorf("%s: %s", target, a.Raw)
		}
		if detailed := strings.Contains(target, "detailed"); strings.Contains(a.Raw, `"status":{`) != detailed {
			t.Errorf("%s: %s", target, a.Raw)
		}
	}
	for _, target := range []string{"/_tasks?actions=*reindex", "/_tasks?parent_task_id=x:1", "/_tasks?nodes=other"} {
		if a := r.must("GET", target, ""); strings.Contains(a.Raw, r.Tasks.node) {
			t.Errorf("%s: %s", target, a.Raw)
		}
	}
	if a := r.must("POST", "/_tasks/_cancel?actions=*byquery", ""); !strings.Contains(a.Raw, id) {
		t.Errorf("%s", a.Raw)
	}
	if a := r.must("GET", "/_tasks/"+id+"?wait_for_completion=true", ""); a.Get("response.canceled").String() == "" {
		t.Errorf("%s", a.Raw)
	}
}

// Results are kept for a while, not for ever.
func TestResultsAreBounded(t *testing.T) {
	r := newRig(t, 0)
	var first, last string
	for i := range maxKept + 10 {
		last = r.must("POST", "/i/_update_by_query?wait_for_completion=false", "").Get("task").String()
		if i == 0 {
			first = last
		}
		r.must("GET", "/_tasks/"+last+"?wait_for_completion=true", "")
	}
	for deadline := time.Now().Add(time.Minute); r.Tasks.running() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if len(r.Tasks.kept) != maxKept || r.Tasks.find(first) != nil || r.Tasks.find(last) == nil {
		t.Errorf("%d kept, the first: %v, the last: %v", len(r.Tasks.kept), r.Tasks.find(first), r.Tasks.find(last))
	}
	size := 0
	for _, task := range r.Tasks.kept {
		size += len(task.stored)
		task.began = task.began.Add(-2 * maxKeptTime)
	}
	if size != r.Tasks.size {
		t.Errorf("%d bytes counted, %d held", r.Tasks.size, size)
	}
	if r.Tasks.find(last) != nil || r.Tasks.size != 0 {
		t.Errorf("old results are kept: %d", len(r.Tasks.kept))
	}
}

// Who asks for less per second waits for it.
func TestThrottle(t *testing.T) {
	r := newRig(t, 12)
	began := time.Now()
	a := r.must("POST", "/i/_delete_by_query?scroll_size=5&requests_per_second=100", matchAll)
	if took := time.Since(began); took < 120*time.Millisecond || a.Get("throttled_millis").Int() != 120 || a.Get("requests_per_second").Raw != "100.0" {
		t.Errorf("after %s: %s", took, a.Raw)
	}
}

func FuzzBodies(f *testing.F) {
	for _, body := range []string{matchAll, `{}`, ``, `[]`, `{"source":{"index":["i"],"type":3},"dest":{"index":"new","routing":"=x","version_type":"external"}}`, `{"script":3,"size":-3,"slice":{"id":"x"}}`, "{\"source\":\n{", `{"conflicts":{},"max_docs":1e99}`} {
		f.Add(body, "slices=2&size=3", uint8(0))
		f.Add(body, "", uint8(1))
		f.Add(body, "slices=auto&requests_per_second=1e30", uint8(2))
	}
	f.Fuzz(func(t *testing.T, body, query string, api uint8) {
		r := newRig(t, 4)
		path := []string{"/i/_delete_by_query", "/i/_update_by_query", "/_reindex"}[api%3]
		for _, v := range []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 10), esapi.V(8, 7)} {
			ep := esapi.ParseEndpoint("POST", path, v)
			j, err := r.parse(v, ep, esapi.NewRequest("POST", path+"?"+query, []byte(body)))
			if err != nil {
				if e := esapi.AsError(err); !gjson.ValidBytes(e.JSON()) {
					t.Errorf("%s", e.JSON())
				}
				continue
			}
			w := &worker{Emulator: r.Emulator, job: j, of: j.slices}
			if b := w.searchBody(); gjson.Valid(body) && !gjson.ValidBytes(b) {
				t.Errorf("%q became %q", body, b)
			}
		}
	})
}
