package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/esperanto-es/esperanto/internal/readiness"
)

// readiness is the report of the only gateway.
func (p *process) readiness() (r readinessReport) {
	p.t.Helper()
	code, answer := p.tell("GET", "/esperanto/readiness", "")
	if err := json.Unmarshal([]byte(answer), &r); code != 200 || err != nil {
		p.t.Fatalf("readiness: %d %s", code, answer)
	}
	return r
}

// looked waits until so many requests have been looked at.
func (p *process) looked(n uint64) readinessReport {
	p.t.Helper()
	var r readinessReport
	waitFor(p.t, func() bool {
		r = p.readiness()
		return r.Requests.LookedAt >= n
	})
	return r
}

func needs(list []readiness.Need) (names []string) {
	for _, n := range list {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// traffic is what an application for 5.x may send.
func (p *process) traffic() (requests uint64) {
	p.t.Helper()
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "/books/book/1?routing=alice", `{"name":"alice"}`, 0},
		{"GET", "/books/book/1?routing=alice", "", 0},
		{"POST", "/books/_search?_source_include=name", `{"aggs":{"names":{"terms":{"field":"name","order":{"_term":"asc"}}}},"query":{"term":{"name":"alice"}}}`, 0},
		{"POST", "/books/_search", `{"query":{"template":{"inline":"alice"}}}`, 0},
		{"POST", "/_bulk", `{"index":{"_index":"films","_type":"film","_id":"alice"}}` + "\n" + `{"name":"alice"}` + "\n", 0},
	} {
		p.ask(r.method, r.path, r.body)
		requests++
	}
	return requests
}

// TestReadinessBeforeAndAfter: what the requests need is known before the master
// is moved, and is the same afterwards; the report survives reloads and restarts.
func TestReadinessBeforeAndAfter(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	p.mustLoad(two(a, b, "switch_timeout 1m"), "")
	if r := p.readiness(); len(r.NextSteps) != 1 || !strings.Contains(r.NextSteps[0], "no request has been looked at") {
		t.Errorf("the next steps of nothing are %q", r.NextSteps)
	}
	n := p.traffic()
	before := p.looked(n)
	application, library := needs(before.Application), needs(before.Library)
	for _, want := range []string{"TermsOrderBecameKey", "SourceIncludeBecamePlural", "TemplateAndGeoQueriesWereRemoved"} {
		if !slices.Contains(application, want) {
			t.Errorf("%s is not among %v", want, application)
		}
	}
	for _, want := range []string{"TypesWereHiddenBehindDoc", "BulkItemsLostTheirType"} {
		if !slices.Contains(library, want) {
			t.Errorf("%s is not among %v", want, library)
		}
	}
	if before.From != "5.6" || before.To != "8.7" || before.Cluster != "b" || before.Requests.Needing != 2 {
		t.Errorf("the report is from %s to %s, %s; %+v", before.From, before.To, before.Cluster, before.Requests)
	}
	first := before.Application[0]
	if where := first.Where[0]; first.Name != "TemplateAndGeoQueriesWereRemoved" || where.Refused != 1 || !strings.Contains(where.Reason, "template") ||
		where.Index != "books" || where.API != "search" {
		t.Errorf("what is refused does not come first: %+v", first)
	}
	at := slices.IndexFunc(before.Application, func(n readiness.Need) bool { return n.ID == "AGG-01" })
	e := before.Application[at].Where[0].Example
	if e == nil || e.Request != "POST /books/_search?_source_include=…" || e.Sent != "POST /books/_search?_source_includes=…" ||
		e.Was != `{"field":"…","order":{"_term":"asc"}}` || e.Becomes != `{"field":"…","order":{"_key":"asc"}}` ||
		!strings.Contains(e.Body, `"query":{"term":{"name":"…"}}`) {
		t.Errorf("the example is %+v", e)
	}
	if _, text := p.tell("GET", "/esperanto/readiness", ""); strings.Contains(text, "alice") {
		t.Error("a user's value is shown")
	}

	p.mustLoad(two(a, b, "switch_timeout 1m\nmax_body 1MB"), "")
	if r := p.readiness(); r.Requests.LookedAt != n {
		t.Errorf("after a reload %d requests are known, not %d", r.Requests.LookedAt, n)
	}
	p.waitApplied()
	if code, answer := p.tell("POST", "/esperanto/readiness/reset", ""); code != 200 || !strings.Contains(answer, `"looked_at":0`) {
		t.Errorf("reset: %d %s", code, answer)
	}
	if code, answer := p.tell("POST", "/esperanto/switchover", `{"master":"b"}`); code != 200 {
		t.Fatal(answer)
	}
	n = p.traffic()
	after := p.looked(n)
	if got := needs(after.Application); !slices.Equal(got, application) {
		t.Errorf("before the switchover the application needed %v, after it %v", application, got)
	}
	if got := needs(after.Library); !slices.Equal(got, library) {
		t.Errorf("before the switchover the library needed %v, after it %v", library, got)
	}
	at = slices.IndexFunc(after.Application, func(n readiness.Need) bool { return n.ID == "AGG-01" })
	if e := after.Application[at].Where[0].Example; e == nil || e.Was == "" || e.Becomes == "" {
		t.Errorf("the example is %+v", e)
	}

	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	p.mustLoad(two(a, b, "switch_timeout 1m"), "")
	if r := p.readiness(); r.Requests.LookedAt != n || !slices.Equal(needs(r.Application), application) {
		t.Errorf("after a restart %d requests are known, and %v", r.Requests.LookedAt, needs(r.Application))
	}

	address := fmt.Sprintf("localhost:%d", p.admin)
	for _, c := range []struct{ arg, want string }{
		{"", "AGG-01 TermsOrderBecameKey (exact): A terms aggregation"},
		{"", "next: "},
		{"--json", `"name": "TermsOrderBecameKey"`},
		{"--reset", "no request has been looked at"},
	} {
		out, err := run("readiness", slices.DeleteFunc([]string{c.arg, "--address", address}, func(s string) bool { return s == "" })...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("readiness %s: %v\n%s", c.arg, err, out)
		}
	}
}

// TestReadinessOfCleanClients: who speaks the new cluster's version needs nothing,
// whatever the master is, and neither does who sends what both versions know.
func TestReadinessOfCleanClients(t *testing.T) {
	for _, c := range []struct {
		name, dialect string
		requests      [][3]string
	}{
		{"a client of the new version", "dialect 8.7.1", [][3]string{
			{"PUT", "/books/_doc/1", `{"n":1}`}, {"POST", "/books/_update/1", `{"doc":{"n":2}}`}, {"GET", "/books/_doc/1", ""},
			{"POST", "/books/_search", `{"track_total_hits":true,"query":{"match_all":{}}}`},
		}},
		{"what both versions know", "", [][3]string{
			{"PUT", "/books", `{"settings":{"number_of_shards":1}}`}, {"POST", "/books/_search", `{"query":{"match_all":{}}}`}, {"GET", "/books/_count", ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
			p := newProcess(t)
			p.mustLoad(two(a, b, c.dialect), "")
			for _, r := range c.requests {
				if code, answer := p.ask(r[0], r[1], r[2]); code >= 300 {
					t.Fatalf("%v: %d %s", r, code, answer)
				}
			}
			r := p.looked(uint64(len(c.requests)))
			if len(r.Application)+len(r.Library) > 0 || r.Requests.Needing > 0 {
				t.Errorf("needs %v %v", needs(r.Application), needs(r.Library))
			}
			if !slices.ContainsFunc(r.NextSteps, func(s string) bool { return strings.HasPrefix(s, "point the application at b") }) {
				t.Errorf("the next steps are %q", r.NextSteps)
			}
		})
	}
}

// TestReadinessOfOneCluster: with a dialect the report is about the only cluster;
// without one there is nothing to tell.
func TestReadinessOfOneCluster(t *testing.T) {
	b := newElasticsearch(t, 8, 7)
	p := newProcess(t)
	one := fmt.Sprintf("cluster b {\nto %s\n}\n", b.address)
	p.mustLoad(one, "")
	p.ask("GET", "/books/_search", "")
	if r := p.readiness(); r.Share != 0 || !strings.Contains(strings.Join(r.NextSteps, ""), "the report is off") {
		t.Errorf("without a dialect: %+v", r)
	}
	p.mustLoad(one+"dialect 5.6", "")
	p.ask("GET", "/books/book/1", "")
	if r := p.looked(1); !slices.Contains(needs(r.Library), "TypesWereHiddenBehindDoc") || r.Cluster != "b" {
		t.Errorf("with a dialect: %+v", r)
	}
	p.mustLoad(one+"dialect 5.6\nreadiness off", "")
	p.ask("GET", "/books/book/1", "")
	if r := p.readiness(); r.Share != 0 || r.Requests.LookedAt > 1 {
		t.Errorf("switched off: %+v", r)
	}
}

// TestCompareFindsWhatDiffers, and nothing else.
func TestCompareFindsWhatDiffers(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad(two(a, b, "compare reads 100%"), "")
	p.ask("PUT", "/books/_doc/1", `{"name":"alice"}`)
	p.ask("PUT", "/books/_doc/2", `{"name":"bob"}`)
	p.waitApplied()
	if status, answer, err := request("PUT", b.address+"/books/_doc/2?version=9&version_type=external", `{"name":"mallory"}`); err != nil || status > 201 {
		t.Fatal(status, answer, err)
	}
	p.ask("GET", "/books/_doc/1", "")
	p.ask("GET", "/books/_doc/2", "")
	p.ask("POST", "/books/_search?scroll=1m", `{}`) // leaves something open
	p.ask("PUT", "/books/_doc/3", `{}`)             // is no read
	var c *readiness.Comparison
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if c = p.readiness().Compare; c != nil && c.Different > 0 {
			break
		}
	}
	if c == nil || c.Equal != 1 || c.Different != 1 || c.Settled+c.NotComparable+c.Dropped != 0 || len(c.Where) != 1 || len(c.Where[0].Samples) != 1 {
		t.Fatalf("compared: %+v", c)
	}
	s := c.Where[0].Samples[0]
	if s.Request != "GET /books/_doc/{…}" || !slices.ContainsFunc(s.Differences, func(d readiness.Difference) bool { return d.At == "/_source/name" }) {
		t.Errorf("the sample is %+v", s)
	}
	if out, err := run("readiness", "--address", fmt.Sprintf("localhost:%d", p.admin)); err != nil || !strings.Contains(out, "/_source/name: … on the master, … on the follower") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, text := p.tell("GET", "/metrics", ""); !strings.Contains(text, `esperanto_compared_reads_total{gateway="default",result="different"} 1`) ||
		!strings.Contains(text, `esperanto_readiness_requests_total{gateway="default",result="looked_at"}`) {
		t.Error("the metrics lack the comparison")
	}
}
