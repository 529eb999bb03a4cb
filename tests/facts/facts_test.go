package facts

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// A fact is what servers answer to one request. INDEX in it is an index of one
// document, {"k":"a","n":1}.
type fact struct {
	name         string
	method, path string
	body         string

	look string            // in the answer; "text" is all of it
	want map[string]string // by the majors that it holds for; "~x" is a text that has x, "!x" one that has not
}

// factList holds what specifications leave open, and what they say wrongly.
var factList = []fact{
	{"the sum of nothing", "POST", "/INDEX/_search", `{"size":0,"query":{"term":{"k":"none"}},"aggs":{"s":{"stats":{"field":"n"}}}}`,
		"aggregations.s.sum", map[string]string{"56": "", "78": "0"}},
	{"_source with include in the body", "POST", "/INDEX/_search", `{"_source":{"include":["k"]}}`, "hits.hits.0._source.n", map[string]string{"5678": ""}},
	{"_primary as a preference", "GET", "/INDEX/_search?preference=_primary", "", "error.reason", map[string]string{"56": "", "78": "~no Preference for [_primary]"}},
	{"indices at the top of field caps", "GET", "/INDEX/_field_caps?fields=k", "", "indices.#", map[string]string{"56": "", "78": "1"}},
	{"columns of cat indices", "GET", "/_cat/indices/INDEX?v", "", "text", map[string]string{"5678": "!dataset"}},
	{"columns of cat health", "GET", "/_cat/health?v", "", "text", map[string]string{"5678": "!unassign.pri"}},
	{"columns of cat allocation", "GET", "/_cat/allocation?v", "", "text", map[string]string{"5678": "!node.role"}},
	{"memory of segments is a column", "GET", "/_cat/segments/INDEX?v", "", "text", map[string]string{"5678": "~size.memory"}},
	{"the type of a recovery", "GET", "/INDEX/_recovery", "", "*.shards.0.type", map[string]string{"5678": "EMPTY_STORE"}},
	{"a reroute shows the state", "POST", "/_cluster/reroute", "", "state.master_node", map[string]string{"5678": "~"}},
	{"memory of segments in the statistics", "GET", "/_cluster/stats", "", "indices.segments.memory_in_bytes", map[string]string{"5678": "~"}},
	{"GET of aliases by name", "GET", "/_aliases/none", "", "text", map[string]string{"5": "~No endpoint or operation", "678": "~Incorrect HTTP method"}},
	{"GET of the aliases of an index", "GET", "/INDEX/_aliases", "", "text", map[string]string{"5": "!error", "678": "~Incorrect HTTP method"}},
	{"a type in the ratings of rank_eval", "POST", "/INDEX/_rank_eval", `{"requests":[{"id":"r","request":{},"ratings":[{"_index":"INDEX","_type":"t","_id":"1","rating":1}]}],"metric":{"precision":{}}}`,
		"text", map[string]string{"67": "~unknown field [_type]"}},
	{"a key that stands twice in a query", "POST", "/INDEX/_search", `{"size":1,"size":0}`, "text", map[string]string{"5": "!error", "678": "~Duplicate field 'size'"}},
	{"a number as the time zone of a range", "POST", "/INDEX/_search", `{"query":{"range":{"d":{"gte":"2020-01-01","time_zone":3}}}}`, "text", map[string]string{"5678": "~error"}},
	{"features of an index", "GET", "/INDEX?features=aliases", "", "text", map[string]string{"567": "~unrecognized parameter: [features]", "8": `~"mappings":{},"settings":{}`}},
	{"a name that does not exist, resolved", "GET", "/_resolve/index/INDEXnone", "", "status", map[string]string{"7": "", "8": "404"}},
	{"an aggregation of correlation", "POST", "/INDEX/_search", `{"size":0,"aggs":{"x":{"bucket_count_ks_test":{"buckets_path":"a"}}}}`, "text", map[string]string{"567": "~error"}},
	{"a version of an analyzer", "POST", "/INDEX/_analyze", `{"analyzer":"standard","text":"a b"}`, "tokens.#", map[string]string{"5678": "2"}},
}

// TestFacts asks each server.
func TestFacts(t *testing.T) {
	harness.Real(t)
	for _, major := range "5678" {
		c := harness.Elasticsearch(t, releases[byte(major)])
		index := c.Prefix(t) + "i"
		mappings, doc := `"properties":{"k":{"type":"keyword"},"n":{"type":"long"},"d":{"type":"date"}}`, "/_doc/1"
		if major < '7' {
			mappings, doc = `"t":{`+mappings+`}`, "/t/1"
		}
		for _, r := range [][3]string{
			// The parameter version of an analyzer is taken by all (ANA-17).
			{"PUT", "/" + index, `{"settings":{"number_of_shards":1,"number_of_replicas":0,"analysis":{"analyzer":{"a":{"type":"standard","version":"4.0"}}}},"mappings":{` + mappings + `}}`},
			{"PUT", "/" + index + doc + "?refresh=true", `{"k":"a","n":1}`},
		} {
			if status, answer := c.Do(t, r[0], r[1], r[2]); status >= 300 {
				t.Fatalf("%c: %s %s: %d %s", major, r[0], r[1], status, answer)
			}
		}
		for _, f := range factList {
			for majors, want := range f.want {
				if !strings.ContainsRune(majors, major) {
					continue
				}
				_, answer := c.Do(t, f.method, strings.ReplaceAll(f.path, "INDEX", index), strings.ReplaceAll(f.body, "INDEX", index))
				got := gjson.GetBytes(answer, f.look).String()
				if f.look == "text" {
					got = string(answer)
				}
				if !holds(got, want) {
					t.Errorf("%c: %s: %.300q, wanted %q", major, f.name, got, want)
				}
			}
		}
	}
}

func holds(got, want string) bool {
	if part, ok := strings.CutPrefix(want, "~"); ok {
		return got != "" && strings.Contains(got, part)
	}
	if part, ok := strings.CutPrefix(want, "!"); ok {
		return got != "" && !strings.Contains(got, part)
	}
	return got == want
}
