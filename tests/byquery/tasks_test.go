package byquery

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// What is told of a task is what the cluster tells of its own.
func TestTasksLikeTheCluster(t *testing.T) {
	harness.Real(t)
	for _, version := range []string{"5.6.16", "6.8.23", "7.10.2"} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t, version, version, true)
			t.Cleanup(func() { r.real.Do(t, "DELETE", "/.tasks", "") }) // where clusters keep results
			var told [2][]string
			for i, send := range []func(string, string, string) (int, string){r.native, r.asked} {
				note := func(method, path string) {
					status, answer := send(method, path, "")
					if i == 0 {
						answer = r.ownTasks(answer)
					}
					told[i] = append(told[i], method+" "+ownIDs.ReplaceAllString(path, "ID")+" "+plain(answer, r.prefix, status))
				}
				finished := func(path, body string) {
					id := gjson.Get(r.must(send, "POST", path, body), "task").String()
					note("GET", "/_tasks/"+id+"?wait_for_completion=true&timeout=30s")
					note("POST", "/_tasks/"+id+"/_cancel")
					note("POST", "/_delete_by_query/"+id+"/_rethrottle?requests_per_second=4")
				}
				r.documents(r.native, 12, false)
				finished("/PREa/_update_by_query?wait_for_completion=false&refresh=true", all)
				finished("/PREa/_update_by_query?wait_for_completion=false&slices=2&refresh=true", `{"script":{"source":"ctx._source.z=1"}}`)
				finished("/_reindex?wait_for_completion=false", `{"source":{"index":"PREa"},"dest":{"index":"PREb"}}`)
				finished("/_reindex?wait_for_completion=false", `{"source":{"index":"PREmissing"},"dest":{"index":"PREb"}}`)
				finished("/PREa/_update_by_query?wait_for_completion=false", `{"script":{"source":"ctx._source.z="}}`)

				id := gjson.Get(r.must(send, "POST", "/PREa/_delete_by_query?wait_for_completion=false&scroll_size=5&requests_per_second=0.125", all), "task").String()
				for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
					_, answer := send("GET", "/_tasks/"+id, "")
					if gjson.Get(answer, "task.status.throttled_until_millis").Int() > 0 && gjson.Get(answer, "task.status.deleted").Int() == 5 {
						break
					}
					if time.Now().After(deadline) {
						t.Fatal(answer)
					}
				}
				note("GET", "/_tasks/"+id)
				note("GET", "/_tasks?actions=*byquery&detailed&nodes="+strings.Split(id, ":")[0])
				note("GET", "/_tasks/"+id+"?wait_for_completion=true&timeout=100ms")
				note("POST", "/_delete_by_query/"+id+"/_rethrottle")
				note("POST", "/_delete_by_query/"+id+"/_rethrottle?requests_per_second=x")
				note("POST", "/_delete_by_query/"+id+"/_rethrottle?requests_per_second=0.25")
				note("POST", "/_tasks/"+id+"/_cancel")
				note("GET", "/_tasks/"+id+"?wait_for_completion=true&timeout=30s")
			}
			for n := range told[0] {
				if !reflect.DeepEqual(told[0][n], told[1][n]) {
					t.Errorf("cluster: %s\ngateway: %s", told[0][n], told[1][n])
				}
			}
		})
	}
}

// ownTasks takes out of a list of the cluster's tasks those of other tests, with which it is shared.
func (r *rig) ownTasks(answer string) string {
	gjson.Get(answer, "nodes").ForEach(func(node, n gjson.Result) bool {
		n.Get("tasks").ForEach(func(id, task gjson.Result) bool {
			if text := task.Get("description"); !text.Exists() || strings.Contains(text.Str, r.prefix) {
				return true
			}
			var err error
			if answer, err = sjson.Delete(answer, "nodes."+gjson.Escape(node.Str)+".tasks."+gjson.Escape(id.Str)); err != nil {
				r.t.Error(err)
			}
			return true
		})
		return true
	})
	return answer
}

var (
	ownIDs   = regexp.MustCompile(`[A-Za-z0-9_-]{22}(:\d+)?`)
	blanks   = regexp.MustCompile(`\s+`)
	moments  = regexp.MustCompile(`"(id|took|start_time_in_millis|running_time_in_nanos|throttled_until_millis|throttled_millis)":\d+`)
	lengths  = regexp.MustCompile(`"(throttled|throttled_until)":"[^"]*"`)
	nodeHead = regexp.MustCompile(`"name":.*?"tasks":`)
	waits    = regexp.MustCompile(`completionof[^"]*`)
)

// plain is an answer about tasks without what is never the same: ids, times, and
// what the node is like.
func plain(answer, prefix string, status int) string {
	answer = strings.ReplaceAll(answer, prefix, "PRE")
	answer = blanks.ReplaceAllString(answer, "")
	for _, cut := range []*regexp.Regexp{moments, lengths} {
		answer = cut.ReplaceAllString(answer, `"$1":0`)
	}
	answer = nodeHead.ReplaceAllString(answer, `"tasks":`)
	answer = waits.ReplaceAllString(answer, "")
	return ownIDs.ReplaceAllString(answer, "ID") + " " + string(rune('0'+status/100))
}

// Documents without a source cannot be changed, only deleted.
func TestWithoutSource(t *testing.T) {
	harness.Real(t)
	for _, version := range []string{"5.6.16", "7.10.2"} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t, version, version, true)
			r.must(r.native, "PUT", "/PREa", `{"mappings":`+r.mapping(`"_source":{"enabled":false}`)+`}`)
			r.must(r.native, "PUT", "/PREa/TYPE/1?refresh=true", `{"k":"x"}`)
			for _, s := range []step{
				{path: "/PREa/_update_by_query"},
				{path: "/PREa/_update_by_query", body: `{"script":{"source":"ctx._source.x=1"}}`},
				{path: "/_reindex", body: `{"source":{"index":"PREa"},"dest":{"index":"PREc"}}`},
			} {
				nativeStatus, native := r.native("POST", s.path, s.body)
				status, own := r.asked("POST", s.path, s.body)
				if status != nativeStatus || own != native {
					t.Errorf("POST %s %s\ncluster: %d %s\ngateway: %d %s", s.path, s.body, nativeStatus, native, status, own)
				}
			}
			if status, own := r.asked("POST", "/PREa/_delete_by_query", all); status != 200 || gjson.Get(own, "deleted").Int() != 1 {
				t.Errorf("%d %s", status, own)
			}
		})
	}
}
