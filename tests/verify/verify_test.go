package verify

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// The long form: go test ./tests/verify -run Tampered/5 -documents 1000000 -timeout 60m -v
var documents = flag.Int("documents", 4000, "documents among which some are tampered with")

// most is how many documents are written through the gateway. More are written
// to both clusters, which takes less time.
const most = 20_000

// load writes documents to an index; every tenth has a routing.
func (r *rig) load(index string, n int) {
	if n <= most {
		r.loadAt(nil, index, n)
		return
	}
	var loading sync.WaitGroup
	for _, c := range []*harness.Cluster{r.a, r.b} {
		loading.Go(func() { r.loadAt(c, index, n) })
	}
	loading.Wait()
}

func (r *rig) loadAt(c *harness.Cluster, index string, n int) {
	speaks := c
	if c == nil {
		speaks = r.a
	}
	const page = 5000
	for from := 0; from < n; from += page {
		var lines strings.Builder
		for i := from; i < min(from+page, n); i++ {
			lines.WriteString(action(speaks, "index", index, fmt.Sprint(i), routing(i)) + source(i))
		}
		r.bulk(c, lines.String())
	}
}

// source is the line of a document.
func source(i int) string {
	return fmt.Sprintf(`{"n":%d,"title":"document number %d","price":%d.50,"code":"c%d","tags":["a","b%d"]}`+"\n", i, i, i%100, i, i%7)
}

func routing(i int) string {
	if i%10 == 0 {
		return `,"routing":"r"`
	}
	return ""
}

// applications write, update and delete documents of an index until stop is
// called, which tells how many writes were acknowledged.
func (r *rig) applications(index string, count int) (stop func() int) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	acked := make([]int, count)
	for w := range count {
		random := rand.New(rand.NewPCG(1, uint64(w)))
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				var lines strings.Builder
				size := 1 + random.IntN(20)
				for range size {
					id := fmt.Sprintf("w%d-%d", w, random.IntN(100))
					if random.IntN(5) == 0 {
						lines.WriteString(action(r.a, "delete", index, id, ""))
					} else {
						lines.WriteString(action(r.a, "index", index, id, "") + fmt.Sprintf(`{"n":%d}`+"\n", n))
					}
				}
				// Not ctx: a write that is under way at the end is waited for.
				status, answer, err := r.g.Request(r.t.Context(), "POST", "/_bulk", lines.String())
				switch {
				case r.t.Context().Err() != nil:
					return
				case err != nil || status != 200:
					r.t.Errorf("a write failed: %d %s %v", status, answer, err)
					return
				}
				acked[w] += size
			}
		})
	}
	return func() int {
		cancel()
		running.Wait()
		total := 0
		for _, n := range acked {
			total += n
		}
		return total
	}
}

// A tampering is what was done to a document of the follower.
type tampering struct{ kind, why string }

// tamper changes a hundred documents of the follower, in every way there is, and
// says what is to be found.
func (r *rig) tamper(index string, n int) map[string]tampering {
	done := map[string]tampering{}
	var lines strings.Builder
	external := func(verb, id, more string, version int, line string) {
		lines.WriteString(action(r.b, verb, index, id, fmt.Sprintf(`%s,"version":%d,"version_type":"external_gte"`, more, version)) + line)
	}
	step := n / 100
	for k := range 100 {
		i := k*step + k%step // anywhere, with a routing or without
		id := fmt.Sprint(i)
		switch k % 5 {
		case 0:
			external("index", id, routing(i), 1, strings.Replace(source(i), "document", "forgery", 1))
			done[id] = tampering{replicate.KindDifferent, `source differs at "/title"`}
		case 1:
			external("delete", id, routing(i), 2, "")
			done[id] = tampering{replicate.KindMissing, "the master has version 1"}
		case 2:
			id = "extra" + id
			external("index", id, routing(i), 3, source(i))
			done[id] = tampering{replicate.KindExtra, "the master does not have it, the follower has version 3"}
		case 3:
			external("index", id, routing(i), 70, source(i))
			done[id] = tampering{replicate.KindDifferent, "version 1, at the follower 70"}
		case 4:
			// Where it is on the same shard, it is one document with another
			// routing; else one is missing and another one extra.
			external("delete", id, routing(i), 2, "")
			external("index", id, `,"routing":"other"`, 3, source(i))
			done[id] = tampering{"", "routing"}
		}
	}
	r.bulk(r.b, lines.String())
	r.send(r.b, "POST", "/"+index+"/_refresh", "")
	return done
}

// tamperState changes what the follower's index is made of.
func (r *rig) tamperState(index string) map[string]string {
	mapping := "/" + index + "/_mapping"
	if typ := typeAt(r.b); typ != "" {
		mapping += "/" + typ
	}
	r.send(r.b, "PUT", mapping, `{"properties":{"code":{"type":"keyword","ignore_above":50}}}`)
	r.send(r.b, "PUT", "/"+index+"/_settings", `{"index":{"refresh_interval":"77s"}}`)
	r.send(r.b, "POST", "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}},{"add":{"index":%[1]q,"alias":%[3]q}},{"add":{"index":%[1]q,"alias":%[4]q,"routing":"wrong"}}]}`,
		index, r.prefix+"lost", r.prefix+"new", r.prefix+"routed"))
	return map[string]string{
		"mapping different ":                     "code.ignore_above is 100, at the follower 50",
		"setting different refresh_interval":     `at the follower "77s"`,
		"alias missing " + r.prefix + "lost":     "",
		"alias extra " + r.prefix + "new":        "",
		"alias different " + r.prefix + "routed": `routing is "r", at the follower "wrong"`,
	}
}

// expectTampered checks that what was tampered with was found, and nothing else.
func (r *rig) expectTampered(v verified, docs map[string]tampering, state map[string]string) {
	r.t.Helper()
	found, parts := map[string]bool{}, map[string]bool{}
	for _, m := range v.Samples {
		if m.What != "document" {
			key := m.What + " " + m.Kind + " " + m.Name
			why, ok := state[key]
			if !ok || !strings.Contains(m.Why, why) {
				r.t.Errorf("%+v", m)
			}
			parts[key] = true
			continue
		}
		done, ok := docs[m.ID]
		switch {
		case !ok:
			r.t.Errorf("a false alarm: %+v", m)
		case done.kind == "" && (m.Kind == replicate.KindMissing || m.Kind == replicate.KindExtra || strings.Contains(m.Why, done.why)):
		case done.kind != m.Kind || !strings.Contains(m.Why, done.why):
			r.t.Errorf("%+v found in %+v", done, m)
		}
		found[m.ID] = true
	}
	if len(found) != len(docs) || len(parts) != len(state) {
		r.t.Errorf("%d of %d documents found, %d of %d parts of the state", len(found), len(docs), len(parts), len(state))
	}
	if v.Unsure != 0 {
		r.t.Errorf("%d documents are not told", v.Unsure)
	}
}

// TestTampered finds and repairs a hundred documents that were tampered with on
// the follower, among many, while applications write.
func TestTampered(t *testing.T) {
	for _, pair := range [][2]string{{"5.6.16", "8.7.1"}, {"8.7.1", "5.6.16"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) { testTampered(newRig(t, pair[0], pair[1]), *documents) })
	}
}

func testTampered(r *rig, n int) {
	t, index := r.t, r.prefix+"books"
	r.send(nil, "PUT", "/"+index, `{"settings":{"number_of_shards":3,"number_of_replicas":0},"aliases":{"`+r.prefix+`lost":{},"`+r.prefix+`routed":{"routing":"r"},"`+
		r.prefix+`filtered":{"filter":{"term":{"code":"c1"}}}},"mappings":`+
		r.mapping(`{"properties":{"title":{"type":"text","fields":{"raw":{"type":"keyword"}}},"code":{"type":"keyword","ignore_above":100},"when":{"type":"date"},"place":{"type":"geo_point"}}}`)+`}`)
	r.waitApplied()
	r.load(index, n)
	r.waitApplied()
	stop := r.applications(index, 3)
	r.clean()

	docs := r.tamper(index, n)
	state := r.tamperState(index)
	v := r.verify()
	if v.status != 1 || v.job.State != replicate.JobDone || v.Left != v.Mismatches {
		t.Errorf("status %d, %s %s, %d left", v.status, v.job.State, v.job.Error, v.Left)
	}
	r.expectTampered(v, docs, state)

	v = r.verify("--repair")
	if v.status != 0 || v.Left != 0 || v.Repaired != v.Mismatches {
		t.Errorf("status %d, %s %s, %d left: %+v", v.status, v.job.State, v.job.Error, v.Left, unrepaired(v))
	}
	r.expectTampered(v, docs, state)
	r.clean()

	acked := stop()
	t.Logf("%d writes were acknowledged meanwhile", acked)
	r.waitApplied()
	r.clean()
	if n <= 100_000 {
		check.EqualPrefix(t, r.a, r.b, r.prefix)
	}
	if s, err := r.g.Status(t.Context()); err != nil || s.DeadLetters != 0 {
		t.Errorf("%+v %v", s, err)
	}
}

func unrepaired(v verified) (list []replicate.Mismatch) {
	for _, m := range v.Samples {
		if !m.Repaired && len(list) < 10 {
			list = append(list, m)
		}
	}
	return list
}
