package byquery

import (
	"encoding/json"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// A step is a request whose answer and outcome have to be those of the cluster.
type step struct {
	method, path, body string
	stale              bool // two documents have changed since they were indexed
	since, before      int  // majors
}

const all = `{"query":{"match_all":{}}}`

var steps = []step{
	{path: "/PREa/_delete_by_query?refresh=true", body: `{"query":{"term":{"k":"a"}}}`},
	{path: "/PREa/_delete_by_query"},
	{path: "/PREa/_delete_by_query", body: `{}`},
	{path: "/PREa/_delete_by_query", body: `[]`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"max_docs":3}`},
	{path: "/PREa/_delete_by_query?max_docs=3", body: all},
	{path: "/PREa/_delete_by_query?max_docs=3", body: `{"query":{"match_all":{}},"max_docs":4}`, since: 7}, // before, neither is known: the gateway names another of the two
	{path: "/PREa/_delete_by_query?size=0", body: all},
	{path: "/PREa/_delete_by_query?size=-1", body: all},
	{path: "/PREa/_delete_by_query?size=-2", body: all},
	{path: "/PREa/_delete_by_query?size=3&sort=n:desc", body: all},
	{path: "/PREa/_delete_by_query?scroll_size=5", body: all},
	{path: "/PREa/_delete_by_query?scroll_size=0", body: all},
	{path: "/PREa/_delete_by_query?scroll_size=-1", body: all},
	{path: "/PREa/_delete_by_query?scroll_size=x", body: all},
	{path: "/PREa/_delete_by_query?scroll_size=20000", body: all},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"size":5}`},
	{path: "/PREa/_delete_by_query?slices=2", body: all},
	{path: "/PREa/_delete_by_query?slices=auto", body: all},
	{path: "/PREa/_delete_by_query?slices=0", body: all},
	{path: "/PREa/_delete_by_query?slices=-3", body: all},
	{path: "/PREa/_delete_by_query?slices=x", body: all},
	{path: "/PREa/_delete_by_query?slices=2&size=1", body: all, since: 7},
	{path: "/PREa/_delete_by_query?slices=2&size=4", body: all},
	{path: "/PREa/_delete_by_query?requests_per_second=0", body: all},
	{path: "/PREa/_delete_by_query?requests_per_second=-2", body: all},
	{path: "/PREa/_delete_by_query?requests_per_second=x", body: all},
	{path: "/PREa/_delete_by_query?requests_per_second=unlimited", body: all},
	{path: "/PREa/_delete_by_query?requests_per_second=100.5&scroll_size=5", body: all},
	{path: "/PREa/_delete_by_query?requests_per_second=100&scroll_size=5&slices=2", body: all},
	{path: "/PREa/_delete_by_query?conflicts=x", body: all},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"conflicts":"x"}`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"foo":{}}}`},
	{path: "/PREa/_delete_by_query", body: `{"foo":{}}`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"script":{"inline":"ctx.op=0"}}`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"aggs":{"x":{"terms":{"field":"k"}}}}`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"from":3}`},
	{path: "/PREa/_delete_by_query?from=3", body: all},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"_source":false}`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"fields":["k"]}`},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"stored_fields":["k"]}`},
	{path: "/PREa/_delete_by_query?q=k:a"},
	{path: "/PREa/_delete_by_query?q=k:a", body: `{"query":{"term":{"k":"b"}}}`},
	{path: "/PREa/_delete_by_query?foo=3", body: all},
	{path: "/PREa/_delete_by_query?foo=3&bar=4&scroll_siz=3", body: all},
	{path: "/PREmissing/_delete_by_query", body: all},
	{path: "/PREmissing/_delete_by_query?ignore_unavailable=true", body: all},
	{path: "/PREmissing*/_delete_by_query", body: all},
	{path: "/PREmissing*/_delete_by_query?allow_no_indices=false", body: all},
	{path: "/PREa,PREb/_delete_by_query?refresh", body: all},
	{path: "/PREa/TYPE/_delete_by_query", body: all},
	{path: "/PREa/other/_delete_by_query", body: all},
	{path: "/PREa/_delete_by_query?timeout=x", body: all},
	{path: "/PREa/_delete_by_query?timeout=1ms", body: all},
	{path: "/PREa/_delete_by_query?scroll=x", body: all},
	{path: "/PREa/_delete_by_query?scroll=1s&scroll_size=3", body: all},
	{path: "/PREa/_delete_by_query?search_timeout=x", body: all},
	{path: "/PREa/_delete_by_query?search_timeout=1s", body: all},
	{path: "/PREa/_delete_by_query?wait_for_active_shards=x", body: all},
	{path: "/PREa/_delete_by_query?refresh=x", body: all},
	{path: "/PREa/_delete_by_query?wait_for_completion=x", body: all},
	{path: "/PREa/_delete_by_query?search_type=dfs_query_then_fetch&stats=a,b&preference=_local", body: all},
	{path: "/PREa/_delete_by_query?routing=r0", body: all},
	{path: "/PREa/_delete_by_query?_source=k&version=true", body: all},
	{path: "/PREa/_delete_by_query?request_cache=true", body: all},
	{path: "/PREa/_delete_by_query?pipeline=x", body: all},
	{path: "/PREa/_delete_by_query?filter_path=total,deleted", body: all},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"slice":{"id":0,"max":2}}`},
	{path: "/PREa/_delete_by_query?slices=2", body: `{"query":{"match_all":{}},"slice":{"id":0,"max":2}}`},
	{path: "/_all/_delete_by_query?size=1", body: `{"query":{"match_none":{}}}`},
	{path: "/PREa/_delete_by_query", body: all, stale: true},
	{path: "/PREa/_delete_by_query?conflicts=proceed&scroll_size=5", body: all, stale: true},
	{path: "/PREa/_delete_by_query", body: `{"query":{"match_all":{}},"conflicts":"proceed"}`, stale: true},
	{path: "/PREa/_delete_by_query?slices=2&conflicts=proceed", body: all, stale: true},

	{path: "/PREa/_update_by_query?refresh=true", body: `{"query":{"term":{"k":"a"}}}`},
	{path: "/PREa/_update_by_query"},
	{path: "/PREa/_update_by_query", body: `{}`},
	{path: "/PREa/_update_by_query", body: `{"script":{"inline":"ctx._source.z=1","lang":"painless"}}`},
	{path: "/PREa/_update_by_query", body: `{"script":{"source":"ctx._source.z=params.a","params":{"a":1}}}`},
	{path: "/PREa/_update_by_query", body: `{"script":"ctx._source.z=1"}`, since: 6},
	{path: "/PREa/_update_by_query", body: `{"script":{"source":"if (ctx._source.n < 3) ctx.op='delete'; else if (ctx._source.n<7) ctx.op='noop'; else ctx._source.z=1"}}`},
	{path: "/PREa/_update_by_query", body: `{"script":{"source":"ctx.op='index'"}}`},
	{path: "/PREa/_update_by_query", body: `{"script":{"source":"ctx._source.z="}}`},
	{path: "/PREa/_update_by_query", body: `{"script":{"source":"throw new IllegalArgumentException('x')"}}`},
	{path: "/PREa/_update_by_query?slices=2"},
	{path: "/PREa/_update_by_query?slices=2&size=4"},
	{path: "/PREa/_update_by_query?conflicts=proceed&scroll_size=5"},
	{path: "/PREa/_update_by_query?routing=r0"},
	{path: "/PREa/_update_by_query?_source=n"},
	{path: "/PREa/_update_by_query", body: `{"_source":["n"]}`},
	{path: "/PREa/_update_by_query", body: `{"_source":false,"sort":["n"]}`},
	{path: "/PREa/_update_by_query?stored_fields=k"},
	{path: "/PREa/_update_by_query?script=x"},
	{path: "/PREa/_update_by_query", body: `{"size":5}`},
	{path: "/PREmissing/_update_by_query"},
	{path: "/PREa/_update_by_query?pipeline=PREnone&sort=n&size=2"},
	{path: "/PREa/_update_by_query?sort=n:asc&size=3", body: all},
	{path: "/PREa/_update_by_query?sort=n", stale: true},
	{path: "/PREa/_update_by_query?size=4&conflicts=proceed&scroll_size=5&sort=n", stale: true},
	{path: "/PREa/_update_by_query?sort=n", body: `{"script":{"source":"ctx._source.x=1"}}`, stale: true},
	{path: "/PREa/_update_by_query?slices=2&conflicts=proceed&scroll_size=5", body: `{"script":{"source":"ctx._source.x=1"}}`, stale: true},

	{path: "/_reindex"},
	{path: "/_reindex", body: `{}`},
	{path: "/_reindex", body: `{"source":{}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"}}`},
	{path: "/_reindex", body: `{"dest":{"index":"PREa"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREa"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex?refresh", body: `{"source":{"index":"PREa"},"dest":{"index":"PREb"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","type":"TYPE"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","type":"TYPE"},"dest":{"index":"PREb"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","type":"none"},"dest":{"index":"PREb"}}`},
	{path: "/_reindex", body: `{"source":{"index":["PREa","PREb"],"type":["TYPE"],"query":{"term":{"k":"a"}}},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa,PREmissing"},"dest":{"index":"PREc"}}`, before: 7},
	{path: "/_reindex", body: `{"source":{"index":"PREa,PREb","query":{"term":{"k":"a"}}},"dest":{"index":"PREc"}}`, since: 7},
	{path: "/_reindex", body: `{"source":{"index":"PRE*"},"dest":{"index":"PREb"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREmissing"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","size":5},"size":7,"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","size":5},"max_docs":7,"dest":{"index":"PREc"}}`},
	{path: "/_reindex?size=3", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex?max_docs=3", body: `{"source":{"index":"PREa","sort":"n"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREb","version_type":"internal"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREb","version_type":"external"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREb","version_type":"external_gte"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","version_type":"junk"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREb","op_type":"create"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","size":5},"dest":{"index":"PREb","op_type":"create"},"conflicts":"proceed"}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","op_type":"junk"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","routing":"keep"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","routing":"discard"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","routing":"=cat"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","routing":"junk"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","sort":"n"},"size":2,"dest":{"index":"PREc","pipeline":"PREnone"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","query":{"term":{"k":"a"}},"_source":["n"],"sort":{"n":"desc"}},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","_source":false},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","slice":{"id":0,"max":2}},"dest":{"index":"PREc"}}`},
	{path: "/_reindex?slices=2", body: `{"source":{"index":"PREa","slice":{"id":0,"max":2}},"dest":{"index":"PREc"}}`},
	{path: "/_reindex?slices=2", body: `{"source":{"index":"PREa"},"dest":{"index":"PREb"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc"},"junk":1}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","junk":1},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc","junk":1}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","from":3},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"conflicts":"junk","source":{"index":"PREa"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex?conflicts=proceed", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex?scroll_size=5", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc"}}`},
	{path: "/_reindex", body: `{"source":{"index":"PREa","sort":"n"},"size":1,"dest":{"index":"PREC"}}`},
}

// changing are the values of an answer that are never the same twice.
var changing = map[string]bool{"took": true, "index_uuid": true, "node": true}

var times = regexp.MustCompile(`@[0-9a-f]+`)

// shape is an answer without what changes from one time to the other.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			switch {
			case key == "throttled_millis" && value != float64(0):
				out[key] = int(value.(float64)+25) / 50 // a little more or less
			case !changing[key]:
				out[key] = shape(value)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = shape(e)
		}
		// The order of failures is that of the shards.
		sort.SliceStable(out, func(a, b int) bool {
			x, _ := json.Marshal(out[a])
			y, _ := json.Marshal(out[b])
			return string(x) < string(y)
		})
		return out
	case string:
		return times.ReplaceAllString(v, "")
	}
	return v
}

func parsed(t *testing.T, answer string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		return answer
	}
	return shape(v)
}

// keys are the names in an answer in their order.
func keys(answer string) []string { return names.FindAllString(answer, -1) }

var names = regexp.MustCompile(`"[a-z_.]+":`)

func TestLikeTheCluster(t *testing.T) {
	harness.Real(t)
	for _, version := range []string{"5.6.16", "6.8.23", "7.10.2"} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t, version, version, true)
			for _, s := range steps {
				if s.since > r.dialect.Major || s.before != 0 && r.dialect.Major >= s.before {
					continue
				}
				r.compare(s)
			}
		})
	}
}

// sorted puts the members of documents in order: a script may leave them in any.
func sorted(docs map[string]check.Document) map[string]check.Document {
	for id, d := range docs {
		var v any
		if json.Unmarshal([]byte(d.Source), &v) == nil {
			b, _ := json.Marshal(v)
			d.Source = string(b)
			docs[id] = d
		}
	}
	return docs
}

// A state is what the three indices hold; one that is not there has no entry.
type state map[string]map[string]check.Document

var letters = []string{"a", "b", "c"}

// state reads the three indices of a rig.
func (r *rig) state() state {
	r.t.Helper()
	now := state{}
	for _, name := range strings.Fields(r.must(r.native, "GET", "/_cat/indices/PRE*?h=index", "")) {
		now[strings.TrimPrefix(name, r.prefix)] = map[string]check.Document{}
	}
	r.must(r.native, "POST", "/PRE*/_refresh", "")
	answer := gjson.Parse(r.must(r.native, "POST", "/PRE*/_search", `{"size":1000,"version":true}`))
	if answer.Get("_shards.failed").Int() != 0 || answer.Get("timed_out").Bool() {
		r.t.Fatalf("%s", answer.Raw)
	}
	for _, h := range answer.Get("hits.hits").Array() {
		name := strings.TrimPrefix(h.Get("_index").String(), r.prefix)
		now[name][h.Get("_id").String()] = check.Document{Version: h.Get("_version").Int(), Routing: h.Get("_routing").String(), Source: h.Get("_source").Raw}
	}
	for _, docs := range now {
		sorted(docs)
	}
	return now
}

// restore makes those indices again that are not as documents makes them.
func (r *rig) restore() {
	r.t.Helper()
	if r.pristine == nil {
		r.documents(r.native, 13, false)
		r.pristine = r.state()
		r.now = r.pristine
		return
	}
	var changed []string
	for _, name := range letters {
		if !reflect.DeepEqual(r.now[name], r.pristine[name]) {
			changed = append(changed, name)
		}
	}
	r.make(r.native, 13, changed)
	r.now = r.pristine
}

// compare does a step on the cluster itself and through the gateway.
func (r *rig) compare(s step) {
	r.t.Helper()
	type outcome struct {
		status    int
		answer    string
		documents state
	}
	var got [2]outcome
	for i, send := range []func(string, string, string) (int, string){r.native, r.asked} {
		r.restore()
		if s.stale {
			r.outdate(r.native)
		}
		got[i].status, got[i].answer = send("POST", s.path, s.body)
		r.now = r.state()
		got[i].documents = r.now
	}
	native, own := got[0], got[1]
	if native.status != own.status || !reflect.DeepEqual(parsed(r.t, native.answer), parsed(r.t, own.answer)) || !reflect.DeepEqual(keys(native.answer), keys(own.answer)) {
		r.t.Errorf("POST %s %s\ncluster: %d %s\ngateway: %d %s", s.path, s.body, native.status, native.answer, own.status, own.answer)
	}
	for _, name := range letters {
		if !reflect.DeepEqual(native.documents[name], own.documents[name]) {
			r.t.Errorf("POST %s %s: index %s\ncluster: %v\ngateway: %v", s.path, s.body, name, native.documents[name], own.documents[name])
		}
	}
}
