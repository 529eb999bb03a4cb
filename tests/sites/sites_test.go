// Package sites runs two gateways on two clusters, each of which replicates to the
// other's (both_ways).
package sites

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// A site is a cluster with its gateway and its application.
type site struct {
	t       *testing.T
	name    string
	cluster *harness.Cluster
	gateway *gateway.Gateway
	acked   atomic.Int64
}

// twoSites starts both; the first one's cluster counts.
func twoSites(t *testing.T) (a, b *site, prefix string) {
	a = &site{t: t, name: "old", cluster: harness.Elasticsearch(t, "5.6.16")}
	b = &site{t: t, name: "new", cluster: harness.Elasticsearch(t, "8.7.1")}
	prefix = a.cluster.Prefix(t)
	b.cluster.CleanPrefix(t, prefix)
	for _, s := range [][2]*site{{a, b}, {b, a}} {
		s[0].gateway = gateway.Run(t, gateway.Options{Block: fmt.Sprintf(
			"cluster %s {\nto %s\n}\ncluster %s {\nto %s\n}\nsource %[1]s\ntarget %[3]s\nboth_ways old\ngrace 2s", s[0].name, s[0].cluster.URL(), s[1].name, s[1].cluster.URL())})
	}
	return a, b, prefix
}

// send sends a request to the site's gateway.
func (s *site) send(method, path, body string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	return s.gateway.Request(ctx, method, path, body)
}

func (s *site) must(method, path, body string) {
	s.t.Helper()
	if status, answer, err := s.send(method, path, body); err != nil || status >= 300 {
		s.t.Fatalf("%s: %s %s: %d %s %v", s.name, method, path, status, answer, err)
	}
}

// admin asks the gateway's admin endpoint.
func (s *site) admin(method, path, body string) gjson.Result {
	s.t.Helper()
	_, answer, err := s.gateway.AdminRequest(s.t.Context(), method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return gjson.ParseBytes(answer)
}

// typ is the mapping type of the site's application.
func (s *site) typ() string {
	if s.name == "old" {
		return "book"
	}
	return "_doc"
}

// write has the site's application write until it is enough, always the same few documents. What
// fails because the gateway is being killed may or may not have happened.
func (s *site) write(index string, seed uint64, enough func() bool) {
	r := rand.New(rand.NewPCG(seed, 7))
	for n := 0; !enough(); n++ {
		id := fmt.Sprint(r.IntN(5))
		source := fmt.Sprintf(`{"by":"%s","n":%d}`, s.name, n)
		method, path, body := "PUT", "/"+index+"/"+s.typ()+"/"+id, source
		switch r.IntN(6) {
		case 0:
			method, body = "DELETE", ""
		case 1:
			method, body = "POST", `{"doc":`+source+`}`
			if path = "/" + index + "/_update/" + id; s.typ() != "_doc" {
				path = "/" + index + "/" + s.typ() + "/" + id + "/_update"
			}
		case 2:
			method, path = "POST", "/"+index+"/"+s.typ()+"/_bulk"
			if s.typ() == "_doc" {
				path = "/" + index + "/_bulk"
			}
			body = fmt.Sprintf("{\"index\":{\"_id\":%q}}\n%s\n{\"delete\":{\"_id\":\"%d\"}}\n{\"update\":{\"_id\":\"%d\"}}\n{\"doc\":%s}\n", id, source, r.IntN(5), r.IntN(5), source)
		}
		if status, _, err := s.send(method, path, body); err == nil && status < 300 {
			s.acked.Add(1)
		}
	}
}

// applied waits until the site's journal is empty.
func (s *site) applied() {
	s.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status := s.admin("GET", "/esperanto/status", "")
		if status.Get("backlog").Int()+status.Get("open_intents").Int()+status.Get("writes_in_flight").Int() == 0 {
			if n := status.Get("dead_letters").Int(); n > 0 {
				s.t.Errorf("%s: %d dead letters: %s", s.name, n, s.admin("GET", "/esperanto/dead_letters", "").Raw)
			}
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not applied: %s", s.name, status.Raw)
		}
	}
}

// waiting is how many documents wait until their deletion is forgotten.
func (s *site) waiting() int64 {
	s.t.Helper()
	return s.admin("GET", "/esperanto/status", "").Get("documents_waiting").Int()
}

// written is how many writes a cluster's indices have seen.
func (s *site) written(index string) (n int64) {
	s.t.Helper()
	_, answer, err := s.cluster.Request(s.t.Context(), "GET", "/"+index+"/_stats/indexing", "")
	if err != nil {
		s.t.Fatal(err)
	}
	total := gjson.GetBytes(answer, "_all.total.indexing")
	return total.Get("index_total").Int() + total.Get("delete_total").Int()
}

// Applications at both sites write the same few documents, while one direction is paused
// and the other gateway is killed: in the end both clusters hold the same, and then
// nothing is written any more.
func TestBothSitesWriteTheSameDocuments(t *testing.T) {
	harness.Real(t)
	a, b, prefix := twoSites(t)
	index := prefix + "books"
	a.must("PUT", "/"+index, `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"book":{"properties":{"by":{"type":"keyword"},"n":{"type":"long"}}}}}`)
	a.must("PUT", "/"+index+"/book/0", `{"by":"old","n":0}`)
	a.applied()
	var writers sync.WaitGroup
	began, least := time.Now(), int64(30) // requests at each site: fewer prove nothing
	enough := func() bool {
		took := time.Since(began)
		return took > 8*time.Second && min(a.acked.Load(), b.acked.Load()) >= least || took > 3*time.Minute
	}
	for i, s := range []*site{a, b, a, b} {
		writers.Go(func() { s.write(index, uint64(i), enough) })
	}
	time.Sleep(time.Second)
	a.admin("POST", "/esperanto/apply", `{"state":"paused"}`)
	time.Sleep(2 * time.Second)
	if err := b.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := b.gateway.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	a.admin("POST", "/esperanto/apply", `{"state":"running"}`)
	writers.Wait()
	for range 2 {
		a.applied()
		b.applied()
	}
	t.Logf("%d and %d requests were acknowledged", a.acked.Load(), b.acked.Load())
	if a.acked.Load() < least || b.acked.Load() < least {
		t.Error("too few for this to prove anything")
	}
	check.EqualPrefix(t, a.cluster, b.cluster, prefix)

	// A document that waits until a deletion is forgotten is written once when its time has come.
	for deadline := time.Now().Add(3 * time.Minute); ; {
		waiting, before := a.waiting()+b.waiting(), [2]int64{a.written(index), b.written(index)}
		time.Sleep(1500 * time.Millisecond)
		after := [2]int64{a.written(index), b.written(index)}
		if after == before {
			break
		}
		if waiting == 0 || time.Now().After(deadline) {
			t.Fatalf("writes go on although nobody writes: %v, then %v", before, after)
		}
	}

	// Nothing of that needs both: each side does verify for itself.
	for _, s := range []*site{a, b} {
		s.admin("POST", "/esperanto/verify", fmt.Sprintf(`{"indices":[%q]}`, index))
		for {
			j := s.admin("GET", "/esperanto/verify", "")
			if state := j.Get("state").String(); state == "done" && j.Get("progress.mismatches").Int() == 0 {
				break
			} else if state != "running" {
				t.Fatalf("%s: %s", s.name, j.Raw)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}

	// The master stays what it is.
	refused := a.admin("POST", "/esperanto/switchover", `{"master":"new"}`)
	if !strings.Contains(refused.Raw, "both_ways") {
		t.Errorf("switchover: %s", refused.Raw)
	}
}

// Each side carries over what it has changed of an index, and nothing else.
func TestBothSitesChangeAliases(t *testing.T) {
	harness.Real(t)
	a, b, prefix := twoSites(t)
	one, two, alias := prefix+"books-1", prefix+"books-2", prefix+"books"
	a.must("PUT", "/"+one, `{"settings":{"number_of_replicas":0},"aliases":{"`+alias+`":{}}}`)
	a.applied()
	b.must("PUT", "/"+two, `{"settings":{"number_of_replicas":0}}`)
	b.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"`+one+`","alias":"`+alias+`"}},{"add":{"index":"`+two+`","alias":"`+alias+`"}}]}`)
	b.applied()
	a.must("POST", "/_aliases", `{"actions":[{"add":{"index":"`+two+`","alias":"`+alias+`-a","filter":{"term":{"n":1}}}}]}`)
	b.must("PUT", "/"+two+"/_settings", `{"index":{"refresh_interval":"7s"}}`)
	a.applied()
	b.applied()
	a.must("PUT", "/"+two+"/book/1", `{"n":1}`)
	a.must("DELETE", "/"+one, "")
	a.applied()
	b.applied()
	for _, s := range []*site{a, b} {
		_, answer, err := s.cluster.Request(t.Context(), "GET", "/"+prefix+"*/_alias", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := gjson.ParseBytes(answer); len(got.Map()) != 1 || len(got.Get(gjson.Escape(two)+".aliases").Map()) != 2 {
			t.Errorf("%s: %s", s.name, answer)
		}
		_, answer, err = s.cluster.Request(t.Context(), "GET", "/"+two+"/_settings", "")
		if err != nil || gjson.GetBytes(answer, gjson.Escape(two)+".settings.index.refresh_interval").String() != "7s" {
			t.Errorf("%s: %s %v", s.name, answer, err)
		}
	}
	check.EqualPrefix(t, a.cluster, b.cluster, prefix)
}

// A document that begins anew where its deletion is forgotten, while the other site
// remembers it, gets there when that has forgotten it, too.
func TestADocumentBeginsAnew(t *testing.T) {
	harness.Real(t)
	a, b, prefix := twoSites(t)
	index := prefix + "books"
	a.must("PUT", "/"+index, `{"settings":{"number_of_replicas":0,"index.gc_deletes":"1s"}}`)
	a.must("PUT", "/"+index+"/book/1", `{"n":1}`)
	a.applied()
	b.cluster.Do(t, "PUT", "/"+index+"/_settings", `{"index.gc_deletes":"30s"}`)
	a.must("DELETE", "/"+index+"/book/1", "")
	a.applied()
	time.Sleep(2 * time.Second)
	a.must("PUT", "/"+index+"/book/1", `{"n":2}`)
	a.applied()
	if n := a.waiting(); n != 1 {
		t.Errorf("%d documents wait", n)
	}
	for deadline := time.Now().Add(3 * time.Minute); a.waiting() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it waits for ever")
		}
	}
	if docs := check.Documents(t, b.cluster, index); len(docs) != 1 {
		t.Errorf("%+v", docs)
	}
	check.EqualPrefix(t, a.cluster, b.cluster, prefix)
}
