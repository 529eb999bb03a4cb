package readiness

import (
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	hit := func(id, score, rest string) string {
		return `{"_index":"b","_id":"` + id + `","_score":` + score + rest + `}`
	}
	search := func(total string, hits ...string) string {
		return `{"took":3,"timed_out":false,"_shards":{"total":5},"hits":{"total":` + total + `,"max_score":1,"hits":[` + strings.Join(hits, ",") + `]}}`
	}
	for _, c := range []struct {
		name, a, b string
		unordered  bool
		want       string // the pointers
	}{
		{"equal but for timings and shards", search("1", hit("1", "2.2", "")), strings.Replace(search("1", hit("1", "1.0", "")), `"took":3`, `"took":99`, 1), false, ""},
		{"total", search("1"), search("2"), false, "/hits/total"},
		{"source", search("1", hit("1", "1", `,"_source":{"t":"x"}`)), search("1", hit("1", "1", `,"_source":{"t":"y"}`)), false, "/hits/hits/0/_source/t"},
		{"source: what is not compared outside of it", search("1", hit("1", "1", `,"_source":{"took":1}`)), search("1", hit("1", "1", `,"_source":{"took":2}`)), false, "/hits/hits/0/_source/took"},
		{"source: large numbers", search("1", hit("1", "1", `,"_source":{"n":9007199254740993}`)), search("1", hit("1", "1", `,"_source":{"n":9007199254740992}`)), false, "/hits/hits/0/_source/n"},
		{"source: the same number", search("1", hit("1", "1", `,"_source":{"n":1.0}`)), search("1", hit("1", "1", `,"_source":{"n":1}`)), false, ""},
		{"equal scores in another order", search("2", hit("1", "1", ""), hit("2", "1", "")), search("2", hit("2", "1", ""), hit("1", "1", "")), false, ""},
		{"scores of another kind", search("2", hit("1", "4.4", ""), hit("2", "2.2", "")), search("2", hit("1", "2", ""), hit("2", "1.1", "")), false, ""},
		{"scores", search("2", hit("1", "4", ""), hit("2", "1", "")), search("2", hit("1", "4", ""), hit("2", "3", "")), false, "/hits/hits/1/_score"},
		{"another hit on a whole page", search("1", hit("1", "1", "")), search("1", hit("2", "1", "")), false, "/hits/hits/0 /hits/hits/0"},
		{"another hit at the end of a page", search("9", hit("1", "1", "")), search("9", hit("2", "1", "")), false, ""},
		{"another hit at the top of a page", search("9", hit("1", "9", ""), hit("3", "1", "")), search("9", hit("2", "9", ""), hit("3", "1", "")), false, "/hits/hits/0 /hits/hits/0"},
		{"sorted", search("2", hit("1", "null", `,"sort":[1]`), hit("2", "null", `,"sort":[2]`)), search("2", hit("1", "null", `,"sort":[1]`), hit("2", "null", `,"sort":[3]`)), false, "/hits/hits/1/sort/0"},
		{"equal ones in another order", search("2", hit("1", "null", `,"sort":[1]`), hit("2", "null", `,"sort":[1]`)), search("2", hit("2", "null", `,"sort":[1]`), hit("1", "null", `,"sort":[1]`)), false, ""},
		{"in the order of the index", search("2", hit("1", "null", `,"sort":[7]`)), search("2", hit("1", "null", `,"sort":[1]`)), true, ""},
		{"buckets in another order", `{"aggregations":{"a":{"buckets":[{"key":"x","doc_count":1},{"key":"y","doc_count":1}]}}}`, `{"aggregations":{"a":{"buckets":[{"key":"y","doc_count":1},{"key":"x","doc_count":1}]}}}`, false, ""},
		{"buckets", `{"aggregations":{"a":{"buckets":[{"key":"x","doc_count":1}]}}}`, `{"aggregations":{"a":{"buckets":[{"key":"x","doc_count":2}]}}}`, false, "/aggregations/a/buckets/0/doc_count"},
		{"a bucket that is missing", `{"aggregations":{"a":{"sum_other_doc_count":0,"buckets":[{"key":"x","doc_count":1}]}}}`, `{"aggregations":{"a":{"sum_other_doc_count":0,"buckets":[]}}}`, false, "/aggregations/a/buckets/0"},
		{"one as small as the last", `{"aggregations":{"a":{"sum_other_doc_count":5,"buckets":[{"key":"x","doc_count":1}]}}}`, `{"aggregations":{"a":{"sum_other_doc_count":5,"buckets":[{"key":"y","doc_count":1}]}}}`, false, ""},
		{"percentiles", `{"aggregations":{"a":{"values":{"50.0":100}}}}`, `{"aggregations":{"a":{"values":{"50.0":102}}}}`, false, ""},
		{"sums", `{"aggregations":{"a":{"value":100}}}`, `{"aggregations":{"a":{"value":102}}}`, false, "/aggregations/a/value"},
		{"a document that is missing", `{"_index":"b","_id":"1","found":true,"_source":{}}`, `{"_index":"b","_id":"1","found":false}`, false, "/_source /found"},
		{"mget", `{"docs":[{"_id":"1","_version":3}]}`, `{"docs":[{"_id":"1","_version":4}]}`, false, "/docs/0/_version"},
		{"keys with slashes", `{"_source":{"a/b~":1}}`, `{"_source":{"a/b~":2}}`, false, "/_source/a~1b~0"},
		{"kinds", `{"a":[1]}`, `{"a":{"b":1}}`, false, "/a"},
		{"errors by their type", `{"error":{"type":"x","reason":"1"},"status":200}`, `{"error":{"type":"x","reason":"2"},"status":200}`, false, "/error/reason"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, turn := range []bool{false, true} {
				a, b := c.a, c.b
				if turn {
					a, b = b, a
				}
				found, ok := differences(readAnswer{200, []byte(a)}, readAnswer{200, []byte(b)}, c.unordered)
				var at []string
				for _, d := range found {
					at = append(at, d.At)
					if strings.Contains(d.Master+d.Follower, "x") {
						t.Errorf("values are shown: %+v", d)
					}
				}
				if got := strings.Join(at, " "); got != c.want || !ok {
					t.Errorf("differ at %q, want %q (%v)", got, c.want, ok)
				}
			}
		})
	}
	if found, _ := differences(readAnswer{200, nil}, readAnswer{404, nil}, false); len(found) != 1 || found[0].At != "status" {
		t.Errorf("another status is %+v", found)
	}
	e := func(typ, reason string) readAnswer {
		return readAnswer{404, []byte(`{"error":{"type":"` + typ + `","reason":"` + reason + `"}}`)}
	}
	if found, _ := differences(e("a", "1"), e("a", "2"), false); len(found) != 0 {
		t.Errorf("an error in other words is %+v", found)
	}
	if found, _ := differences(e("a", "1"), e("b", "1"), false); len(found) != 1 {
		t.Errorf("another error is %+v", found)
	}
	if _, ok := differences(readAnswer{200, []byte("text")}, readAnswer{200, []byte("text")}, false); ok {
		t.Error("text was compared")
	}
}
