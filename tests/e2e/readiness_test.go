package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/readiness"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// A call is one request of an application, and the status that it may get.
type call struct {
	method, path, body string
	status             []int
}

// oldApplication is what an application of 5.x sends; %[1]s is the prefix of its
// indices.
var oldApplication = []call{
	{"PUT", "/%[1]sshelf", `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"book":{"properties":
		{"title":{"type":"string"},"isbn":{"type":"string","index":"not_analyzed"},"year":{"type":"integer"},"sold":{"type":"date"}}}}}`, nil},
	{"PUT", "/%[1]sshelf/book/1?refresh=true", `{"title":"alices dune","isbn":"alice-1","year":1965,"sold":"2020-01-02"}`, nil},
	{"POST", "/_bulk?refresh=true", `{"index":{"_index":"%[1]sshelf","_type":"book","_id":"2"}}` + "\n" + `{"title":"emma","isbn":"alice-2","year":1815,"sold":"2020-02-03"}` + "\n", nil},
	{"GET", "/%[1]sshelf/book/1?_source_include=title", "", nil},
	{"POST", "/%[1]sshelf/book/_search", `{"query":{"match":{"title":{"query":"alices dune","type":"phrase"}}}}`, nil},
	{"POST", "/%[1]sshelf/_search", `{"size":0,"aggs":{"years":{"terms":{"field":"year","order":{"_term":"asc"}}},"months":{"date_histogram":{"field":"sold","interval":"month"}}}}`, nil},
	{"POST", "/%[1]sshelf/_search", `{"query":{"indices":{"indices":["%[1]sshelf"],"query":{"match_all":{}},"no_match_query":"none"}}}`, nil},
	{"POST", "/%[1]sshelf/_search", `{"query":{"range":{"year":{"ge":1900}}},"sort":[{"year":{"order":"asc","unmapped_type":"string"}}]}`, nil},
	{"POST", "/_mget", `{"docs":[{"_index":"%[1]sshelf","_type":"book","_id":"1"}]}`, nil},
	{"POST", "/%[1]sshelf/_search", `{"query":{"template":{"inline":{"match_all":{}}}}}`, []int{200, 400, 500}},
	{"GET", "/%[1]sshelf/_count", "", nil},
}

func (c call) send(t *testing.T, g *gateway.Gateway, prefix string) {
	t.Helper()
	path := strings.ReplaceAll(c.path, "%[1]s", prefix)
	status, answer, err := g.Request(testContext(t), c.method, path, strings.ReplaceAll(c.body, "%[1]s", prefix))
	if err != nil || c.status == nil && status >= 300 || c.status != nil && !slices.Contains(c.status, status) {
		t.Errorf("%s %s: %d %s %v", c.method, path, status, answer, err)
	}
}

func report(t *testing.T, g *gateway.Gateway) (r readiness.Report, text string) {
	t.Helper()
	status, answer, err := g.AdminRequest(testContext(t), "GET", "/esperanto/readiness", "")
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	if err != nil || status != 200 {
		t.Fatalf("the report: %d %s %v", status, answer, err)
	}
	return r, string(answer)
}

func reportOf(t *testing.T, g *gateway.Gateway, requests int) (r readiness.Report, text string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if r, text = report(t, g); r.Requests.LookedAt >= uint64(requests) {
			return r, text
		}
	}
	t.Fatalf("%d requests were sent, the report knows of %+v", requests, r.Requests)
	return r, text
}

func changesIn(list []readiness.Need) (names []string) {
	for _, n := range list {
		names = append(names, n.ID+" "+n.Name)
	}
	slices.Sort(names)
	return names
}

// TestReadiness: a report from before the switchover names the changes of the
// requests that one from after it names; a client of the new version needs none.
func TestReadiness(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t)
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source)})

	for _, c := range oldApplication {
		c.send(t, g, prefix)
	}
	before, text := reportOf(t, g, len(oldApplication))
	t.Logf("application: %v\nlibrary: %v\nnext: %q", changesIn(before.Application), changesIn(before.Library), before.NextSteps)
	for _, want := range []string{
		"FLD-01 StringBecameTextAndKeyword", "IDX-01 MappingsBecameTypeless", "DOC-06 SourceIncludeBecamePlural", "QRY-02 MatchLostItsType",
		"AGG-01 TermsOrderBecameKey", "AGG-03 IntervalWasSplit", "QRY-01 IndicesQueryWasRemoved", "QRY-12 RangeSynonymsWereRemoved",
		"SORT-04 UnmappedTypeStringWasRemoved", "QRY-01 TemplateAndGeoQueriesWereRemoved",
	} {
		if !slices.Contains(changesIn(before.Application), want) {
			t.Errorf("%s is not in the report", want)
		}
	}
	if strings.Contains(text, "alice") {
		t.Errorf("the report shows a user's value: %s", text)
	}
	waitApplied(t, g)
	if status, answer, err := g.AdminRequest(ctx, "POST", "/esperanto/readiness/reset", ""); err != nil || status != 200 {
		t.Fatalf("reset: %d %s %v", status, answer, err)
	}
	if out, err := g.Command(ctx, "switch", target); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	again := slices.Clone(oldApplication)
	again[0] = call{"PUT", "/%[1]sother", strings.ReplaceAll(again[0].body, "shelf", "other"), nil}
	for _, c := range again {
		c.send(t, g, prefix)
	}
	after, _ := reportOf(t, g, len(again))
	if b, a := changesIn(before.Application), changesIn(after.Application); !slices.Equal(a, b) {
		t.Errorf("for the application, before %v\nafter %v", b, a)
	}
	if b, a := changesIn(before.Library), changesIn(after.Library); !slices.Equal(b, a) {
		t.Errorf("for the library, before %v\nafter %v", b, a)
	}
	if len(after.Answers) <= len(before.Answers) {
		t.Errorf("answers: before %v, after %v", changesIn(before.Answers), changesIn(after.Answers))
	}
	out, err := g.Command(ctx, "readiness")
	t.Logf("esperanto readiness:\n%s", out)
	if err != nil || !strings.Contains(string(out), "AGG-01 TermsOrderBecameKey") {
		t.Errorf("esperanto readiness: %v", err)
	}
}

// TestReadinessOfANewClient: the master is still the old cluster, but nothing has
// to be changed for the new one.
func TestReadinessOfANewClient(t *testing.T) {
	harness.Real(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t)
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source) + "\ndialect 8.7.1"})
	calls := []call{
		{"PUT", "/%[1]snew", `{"settings":{"number_of_replicas":0},"mappings":{"properties":{"title":{"type":"text"},"year":{"type":"integer"}}}}`, nil},
		{"PUT", "/%[1]snew/_doc/1?refresh=true", `{"title":"dune","year":1965}`, nil},
		{"POST", "/_bulk?refresh=true", `{"index":{"_index":"%[1]snew","_id":"2"}}` + "\n" + `{"title":"emma","year":1815}` + "\n", nil},
		{"POST", "/%[1]snew/_update/1?refresh=true", `{"doc":{"year":1966}}`, nil},
		{"GET", "/%[1]snew/_doc/1?_source_includes=title", "", nil},
		{"POST", "/%[1]snew/_search", `{"query":{"match_phrase":{"title":"dune"}},"track_total_hits":true,"aggs":{"y":{"terms":{"field":"year","order":{"_key":"asc"}}}}}`, nil},
	}
	for _, c := range calls {
		c.send(t, g, prefix)
	}
	r, _ := reportOf(t, g, len(calls))
	if len(r.Application)+len(r.Library)+len(r.Answers) > 0 {
		t.Errorf("application %v, library %v, answers %v", changesIn(r.Application), changesIn(r.Library), changesIn(r.Answers))
	}
	if len(r.NextSteps) == 0 || !strings.HasPrefix(r.NextSteps[0], "point the application at "+target) {
		t.Errorf("the next steps are %q", r.NextSteps)
	}
}

// TestCompareReads: of two clusters of other majors, one document of the follower
// is tampered with; the reads that show it differ, and no others.
func TestCompareReads(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := es5.Prefix(t) + "compared"
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source) + "\ncompare reads 100%"})
	createIndex(t, g, index)
	for i := range 50 {
		status, answer, err := g.Request(ctx, "PUT", fmt.Sprintf("/%s/book/%d", index, i), fmt.Sprintf(`{"title":"book %d of many","n":%d}`, i, i%7))
		if err != nil || status != 201 {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	waitApplied(t, g)
	for _, es := range []*harness.Cluster{es5, es8} {
		if status, answer, err := es.Request(ctx, "POST", "/"+index+"/_refresh", ""); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	reads := []call{
		{"GET", "/" + index + "/book/1", "", nil},
		{"GET", "/" + index + "/book/missing", "", []int{404}},
		{"HEAD", "/" + index + "/book/1", "", nil},
		{"GET", "/" + index + "/book/1/_source", "", nil},
		{"POST", "/" + index + "/_search", `{"query":{"match":{"title":"many"}}}`, nil},
		{"POST", "/" + index + "/_search", `{"query":{"match":{"title":"7 many"}},"size":100}`, nil},
		{"POST", "/" + index + "/_search", `{"sort":[{"n":"desc"}],"size":10,"query":{"match_all":{}}}`, nil},
		{"POST", "/" + index + "/book/_search", `{"size":0,"aggs":{"n":{"terms":{"field":"n","order":{"_term":"asc"}},"aggs":{"s":{"stats":{"field":"n"}}}},"p":{"percentiles":{"field":"n"}}}}`, nil},
		{"POST", "/" + index + "/_count", `{"query":{"term":{"n":3}}}`, nil},
		{"POST", "/_mget", `{"docs":[{"_index":"` + index + `","_type":"book","_id":"1"},{"_index":"` + index + `","_type":"book","_id":"missing"}]}`, nil},
		{"POST", "/_msearch", `{"index":"` + index + `"}` + "\n" + `{"query":{"term":{"n":3}},"size":100}` + "\n", nil},
		{"POST", "/" + index + "/_search?scroll=1m", `{}`, nil}, // not compared
	}
	compared := uint64(len(reads) - 1)
	for _, c := range reads {
		c.send(t, g, "")
	}
	c := comparedReads(t, g, compared)
	if c.Equal+c.Settled != compared || c.Different+c.NotComparable+c.Dropped > 0 {
		t.Errorf("of equal clusters: %s", pretty(c))
	}
	if out, err := g.Command(ctx, "switch", target); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	for _, c := range reads {
		c.send(t, g, "")
	}
	c = comparedReads(t, g, 2*compared)
	if c.Equal+c.Settled != 2*compared || c.Different+c.NotComparable+c.Dropped > 0 {
		t.Errorf("after the switchover: %s", pretty(c))
	}
	if out, err := g.Command(ctx, "switch", source); err != nil {
		t.Fatalf("%s %v", out, err)
	}

	if status, answer, err := es8.Request(ctx, "PUT", "/"+index+"/_doc/17?refresh=true&version=1000&version_type=external", `{"title":"book 17 of none","n":3}`); err != nil || status != 200 {
		t.Fatalf("tampering: %d %s %v", status, answer, err)
	}
	call{"GET", "/" + index + "/book/17", "", nil}.send(t, g, "")
	for _, c := range reads[:4] {
		c.send(t, g, "")
	}
	c = comparedReads(t, g, 2*compared+5)
	if c.Different != 1 || c.NotComparable+c.Dropped > 0 {
		t.Fatalf("after tampering: %s", pretty(c))
	}
	at := slices.IndexFunc(c.Where, func(w readiness.ComparedRead) bool { return w.Different > 0 })
	found := c.Where[at]
	if found.API != "get" || found.Index != index || len(found.Samples) != 1 ||
		!slices.ContainsFunc(found.Samples[0].Differences, func(d readiness.Difference) bool { return d.At == "/_source/title" }) {
		t.Errorf("found %s", pretty(c))
	}
}

func pretty(v any) string {
	text, _ := json.MarshalIndent(v, "", " ")
	return string(text)
}

// comparedReads waits until so many reads have been compared to the end.
func comparedReads(t *testing.T, g *gateway.Gateway, n uint64) *readiness.Comparison {
	t.Helper()
	var c *readiness.Comparison
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		r, _ := report(t, g)
		if c = r.Compare; c != nil && c.Equal+c.Settled+c.Different+c.NotComparable+c.Dropped >= n {
			return c
		}
	}
	t.Fatalf("%d reads were to be compared: %s", n, pretty(c))
	return nil
}
