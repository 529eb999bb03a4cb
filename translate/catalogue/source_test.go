package catalogue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// majors are the versions whose twelve pairs the tests of this file go through.
var majors = []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 17)}

// eachPair calls f for every ordered pair of majors.
func eachPair(f func(client, cluster esapi.Version)) {
	for _, client := range majors {
		for _, cluster := range majors {
			if client != cluster {
				f(client, cluster)
			}
		}
	}
}

// documents are sources whose every byte has to arrive: they look like requests,
// like answers, and like nothing that an encoder would write.
var documents = []string{
	`{}`,
	`{ "a" : 1.0 , "b":-0.0,"c":1e400,"d":12345678901234567890123,"e":0.10,"f":1E+2}`,
	`{"a":1,"a":2,"":{"":""},"a.b":{"c.d":null}}`,
	`{"text":"\u00e9\/\ud83d\ude00\u2028 é 😀 \\\" \b\f","\u0061":"\u0000"}`,
	`{"_index":"i","_type":"t","_id":"1","_source":{"_type":"x"},"_version":7,"_seq_no":1,"_primary_term":1,"_routing":"r","_parent":"p"}`,
	`{"query":{"filtered":{"query":{"match":{"a":{"type":"phrase"}}}}},"aggs":{"x":{"date_histogram":{"interval":"1d"}}},"hits":{"total":5,"hits":[{"_type":"t"}]}}`,
	`{"doc":{"a":1},"script":{"inline":"x"},"upsert":{},"index":{"_type":"t","_index":"i"},"delete":{},"error":{"type":"x","root_cause":[]},"status":404}`,
	`{"mappings":{"t":{"properties":{"f":{"type":"string","index":"not_analyzed"}}}},"settings":{"index.mapper.dynamic":true},"properties":{},"template":"a*"}`,
	`{"hits":{"total":{"value":1,"relation":"eq"},"hits":[{"_id":"1","_source":{"a":1}}]},"items":[{"index":{"_id":"1"}}],"docs":[{"_type":"t"}],"responses":[{}],"took":1}`,
	`{"a":[[[]],[{}],[1,2.50,"x",true,false,null]],"deep":{"a":{"a":{"a":{"a":[{"a":{}}]}}}}}`,
}

// sentWith are requests that carry a document, as each major writes them; TYPE
// stands where clients before 7.0 name the type.
func sentWith(client esapi.Version, doc string) []*esapi.Request {
	kind, update, meta := "_doc", "/i/_update/1", ""
	if client.Before(esapi.V(7, 0)) {
		kind, update, meta = "t", "/i/t/1/_update", `"_type":"t",`
	}
	bulk := func(action, line string) string {
		return fmt.Sprintf("{\"%s\":{\"_index\":\"i\",%s\"_id\":\"1\"}}\n%s\n", action, meta, line)
	}
	lines := bulk("index", doc) + bulk("create", doc) + bulk("update", `{"doc":`+doc+`,"doc_as_upsert":true}`) + bulk("index", doc)
	return []*esapi.Request{
		esapi.NewRequest("PUT", "/i/"+kind+"/1?routing=r", []byte(doc)),
		esapi.NewRequest("POST", "/i/"+kind, []byte(doc)),
		esapi.NewRequest("POST", update, []byte(`{"doc":`+doc+`,"upsert":`+doc+`,"detect_noop":false}`)),
		esapi.NewRequest("POST", update, []byte(`{"script":{"source":"x","params":`+doc+`}}`)),
		esapi.NewRequest("POST", "/_bulk", []byte(lines)),
	}
}

// answersWith are requests for documents, each with the answer that a cluster
// gives.
func answersWith(client, cluster esapi.Version, doc string) (asked []*esapi.Request, answers []string) {
	kind, hitType, total := "_doc", "", `{"value":1,"relation":"eq"}`
	if client.Before(esapi.V(7, 0)) {
		kind = "t"
	}
	if cluster.Before(esapi.V(8, 0)) {
		hitType = `"_type":"_doc",`
	}
	if cluster.Before(esapi.V(7, 0)) {
		total = "1"
	}
	hit := `{"_index":"i",` + hitType + `"_id":"1","_score":1.0,"_source":` + doc + `}`
	inner := strings.TrimSuffix(hit, "}") + `,"inner_hits":{"x":{"hits":{"total":` + total + `,"max_score":1.0,"hits":[` + hit + `]}}}}`
	hits := func(hit string) string {
		return `"hits":{"total":` + total + `,"max_score":1.0,"hits":[` + hit + `]}`
	}
	shards := `"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},`
	add := func(method, target, body, answer string) {
		asked = append(asked, esapi.NewRequest(method, target, []byte(body)))
		answers = append(answers, answer)
	}
	get := `{"_index":"i",` + hitType + `"_id":"1","_version":1,"found":true,"_source":` + doc + `}`
	add("GET", "/i/"+kind+"/1", "", get)
	add("POST", "/_mget", `{"docs":[{"_index":"i","_type":"`+kind+`","_id":"1"}]}`, `{"docs":[`+get+`]}`)
	add("POST", "/i/_search", `{"query":{"match_all":{}}}`, `{`+shards+hits(inner)+`}`)
	add("POST", "/_msearch", "{\"index\":\"i\"}\n{}\n", `{"took":1,"responses":[{`+shards+hits(inner)+`,"status":200}]}`)
	add("POST", "/_search/scroll", `{"scroll_id":"x","scroll":"1m"}`, `{"_scroll_id":"x",`+shards+hits(hit)+`}`)
	add("POST", "/i/_search", `{"aggs":{"a":{"terms":{"field":"f"},"aggs":{"top":{"top_hits":{}}}}}}`,
		`{`+shards+hits("")+`,"aggregations":{"a":{"buckets":[{"key":"x","doc_count":1,"top":{`+hits(hit)+`}}]}}}`)
	return asked, answers
}

// count is how often a document's bytes stand in a body.
func count(body []byte, doc string) int { return bytes.Count(body, []byte(doc)) }

// checkSource takes a document through every pair, into the cluster and out of it.
func checkSource(t *testing.T, doc string) {
	t.Helper()
	ctx := context.Background()
	facts := newFakeFacts()
	facts.parse("i t f:keyword")
	eachPair(func(client, cluster esapi.Version) {
		for _, r := range sentWith(client, doc) {
			want, line := count(r.Body, doc), r.Method+" "+r.Path
			r.Header.Set("Content-Type", "application/json")
			stub := &stubCluster{t: t}
			a, err := translate.NewSender(client, cluster, facts, stub).Send(ctx, r)
			if err != nil {
				t.Errorf("%v on %v: %s with %q: %v", client, cluster, line, doc, err)
				continue
			}
			_ = a.Body.Close()
			sent := []byte(stub.sent[len(stub.sent)-1].body)
			if got := count(sent, doc); got != want {
				t.Errorf("%v on %v: %s: of %d documents %q arrive %d: %s", client, cluster, line, want, doc, got, sent)
			}
		}
		asked, answers := answersWith(client, cluster, doc)
		for i, r := range asked {
			line := r.Method + " " + r.Path
			r.Header.Set("Content-Type", "application/json")
			stub := &stubCluster{t: t, answers: []part{{"200", http.Header{"Content-Type": {"application/json"}}, answers[i]}}}
			a, err := translate.NewSender(client, cluster, facts, stub).Send(ctx, r)
			if err != nil {
				t.Errorf("%v on %v: %s: %v", client, cluster, line, err)
				continue
			}
			var got bytes.Buffer
			_, err = got.ReadFrom(a.Body)
			if want := count([]byte(answers[i]), doc); err != nil || count(got.Bytes(), doc) != want {
				t.Errorf("%v on %v: %s: of %d documents %q arrive %d (%v): %s", client, cluster, line, want, doc, count(got.Bytes(), doc), err, got.Bytes())
			}
		}
	})
}

// TestSourcesKeepTheirBytes: no byte of a document changes on its way, in any
// pair, by any API that carries documents.
func TestSourcesKeepTheirBytes(t *testing.T) {
	for _, doc := range documents {
		checkSource(t, doc)
	}
}

func FuzzSource(f *testing.F) {
	for _, doc := range documents {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		// An empty object stands in other parts of the bodies too; a line of a bulk
		// has no line ends.
		whole := strings.HasPrefix(doc, "{") && strings.HasSuffix(doc, "}")
		if whole && len(doc) > 2 && json.Valid([]byte(doc)) && !strings.ContainsAny(doc, "\r\n") {
			checkSource(t, doc)
		}
	})
}
