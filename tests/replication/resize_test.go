package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate"
)

// resynced waits until nothing is to be resynced any more.
func (g *bench) resynced() {
	g.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s := g.r.Status(context.Background())
		if s.Backlog == 0 && s.OpenIntents == 0 && s.ResyncWaiting == 0 && (s.Resync == nil || s.Resync.State.Ended()) {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("not resynced: %+v; %+v", s, s.Resync)
		}
	}
}

// A losing master loses the answers to requests whose paths have this in them.
type losing struct {
	*link
	what string
}

func (l *losing) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	res, err := l.link.Send(ctx, r)
	if err == nil && l.what != "" && r.Method != "GET" && strings.Contains(r.Path, l.what) {
		res.Body.Close()
		return nil, errors.New("the connection broke before the answer")
	}
	return res, err
}

// Rollover, shrink, split and clone come to the follower, also if the process is
// killed right after the answer, or the answer is lost.
func TestResize(t *testing.T) {
	somePairs(t, [][2]string{{"6.8.23", "8.7.1"}, {"8.7.1", "5.6.16"}, {"5.6.16", "8.7.1"}}, func(t *testing.T, g *bench) {
		lost := &losing{link: g.a}
		g.over = func(esapi.Sender) esapi.Sender { return lost }
		g.restart()
		v := g.master(context.Background())
		source := "/" + g.prefix + "source"
		routing := ""
		if v.Major == 6 {
			routing = `"number_of_routing_shards":8,`
		}
		g.must("PUT", source, `{"settings":{`+routing+`"number_of_shards":2,"number_of_replicas":0},"mappings":`+g.mapping(`{"title":{"type":"keyword"},"n":{"type":"long"}}`)+`}`)
		for i := range 120 {
			g.must("PUT", g.doc("source", fmt.Sprint(i))+fmt.Sprintf("?routing=r%d", i%7), fmt.Sprintf(`{"n":%d,"title":"t"}`, i))
		}
		for i := range 30 { // versions other than 1
			g.must("PUT", g.doc("source", fmt.Sprint(i*4))+fmt.Sprintf("?routing=r%d", i*4%7), `{"n":-1}`)
		}
		g.must("PUT", source+"/_settings", `{"index.blocks.write":true}`)
		body := func(shards int) string {
			s := fmt.Sprintf(`"index.number_of_shards":%d,`, shards)
			if shards == 0 {
				s = ""
			}
			return `{"settings":{` + s + `"index.number_of_replicas":0,"index.blocks.write":null},"aliases":{"` + g.prefix + `alias":{}}}`
		}
		if v.Major == 5 {
			body = func(shards int) string {
				return fmt.Sprintf(`{"settings":{"index.number_of_shards":%d,"index.number_of_replicas":0}}`, max(shards, 1))
			}
		}
		resizes := []string{"shrink"}
		if v.Major >= 6 {
			resizes = append(resizes, "split")
		}
		if v.Major >= 8 {
			resizes = append(resizes, "clone")
		}
		shards := map[string]int{"shrink": 1, "split": 4}
		for _, what := range resizes {
			for _, how := range []string{"kill", "lost"} {
				target := what + "-" + how
				if how == "lost" {
					lost.what = "/_" + what + "/"
				}
				status, answer, err := g.send("PUT", source+"/_"+what+"/"+g.prefix+target, body(shards[what]))
				if how == "kill" {
					if err != nil || status != 200 || !answer.Get("acknowledged").Bool() {
						t.Fatalf("%s: %d %s %v", target, status, answer.Raw, err)
					}
					g.restart()
				} else if err == nil {
					t.Fatalf("%s: %d %s", target, status, answer.Raw)
				}
				lost.what = ""
				if v.Major == 5 {
					g.must("PUT", "/"+g.prefix+target+"/_settings", `{"index.blocks.write":null}`)
				}
				g.must("PUT", g.doc(target, "later"), `{"n":1}`)
			}
		}
		g.resynced()
		g.equal()
		for _, what := range resizes {
			if _, b := g.b.real.Do(t, "GET", "/"+g.prefix+what+"-lost/_search?size=0", ""); total(b) != 121 {
				t.Errorf("%s: %s", what, b)
			}
		}

		// Rollover, with an alias that moves and, where there are some, one that writes to the newest.
		kinds := map[string]string{"move": `{}`}
		if v.Major >= 6 {
			kinds["write"] = `{"is_write_index":true}`
		}
		for kind, alias := range kinds {
			name := g.prefix + kind
			g.must("PUT", "/"+name+"-000001", `{"settings":{"number_of_replicas":0},"mappings":`+g.mapping(`{"n":{"type":"long"}}`)+`,"aliases":{"`+name+`":`+alias+`}}`)
			g.must("PUT", g.doc(kind, "1"), `{"n":1}`)
			if answer := g.must("POST", "/"+name+"/_rollover?dry_run=true", `{"conditions":{"max_docs":0}}`); answer.Get("rolled_over").Bool() {
				t.Errorf("%s", answer.Raw)
			}
			if answer := g.must("POST", "/"+name+"/_rollover", `{"conditions":{"max_docs":1000}}`); answer.Get("rolled_over").Bool() {
				t.Errorf("%s", answer.Raw)
			}
			mappings := ""
			if v.Major < 7 {
				mappings = `{"mappings":` + g.mapping(`{"n":{"type":"long"}}`) + `}`
			}
			if answer := g.must("POST", "/"+name+"/_rollover", mappings); !answer.Get("rolled_over").Bool() {
				t.Errorf("%s", answer.Raw)
			}
			g.must("PUT", g.doc(kind, "2"), `{"n":2}`)
			g.restart()
			g.must("PUT", g.doc(kind, "3"), `{"n":2}`)
			lost.what = "/_rollover"
			if status, answer, err := g.send("POST", "/"+name+"/_rollover", mappings); err == nil {
				t.Errorf("%d %s", status, answer.Raw)
			}
			lost.what = ""
			g.must("PUT", g.doc(kind, "4"), `{"n":2}`)
			g.resynced()
			if kind == "write" && g.b.real.Version < "6" {
				letters, err := g.r.DeadLetters(context.Background(), "", 0)
				if err != nil || len(letters) == 0 || slices.ContainsFunc(letters, func(l replicate.DeadLetter) bool { return !strings.Contains(l.Reason, "is_write_index") || l.ID != "" }) {
					t.Errorf("%v, %v", letters, err)
				}
				if _, err := g.r.DropDeadLetters(context.Background()); err != nil {
					t.Error(err)
				}
			}
			g.equal()
			_, a := g.a.real.Do(t, "GET", "/"+name+"*/_alias/"+name, "")
			_, b := g.b.real.Do(t, "GET", "/"+name+"*/_alias/"+name, "")
			if len(gjson.ParseBytes(a).Map()) != len(gjson.ParseBytes(b).Map()) || !strings.Contains(string(b), name+"-000003") {
				t.Errorf("%s: %s, at the follower %s", kind, a, b)
			}
		}

		// What the cluster does not do changes nothing.
		if status, answer, err := g.send("PUT", source+"/_shrink/"+g.prefix+"Upper", `{}`); err != nil || status != 400 {
			t.Errorf("%d %s %v", status, answer.Raw, err)
		}
		g.resynced()
		g.equal()
	})
}

func total(answer []byte) int64 {
	n := gjson.GetBytes(answer, "hits.total")
	if n.IsObject() {
		return n.Get("value").Int()
	}
	return n.Int()
}

// An index that is deleted and made again while the answer to the deletion is
// lost does not keep its old documents.
func TestLostDeletion(t *testing.T) {
	somePairs(t, [][2]string{{"8.7.1", "5.6.16"}, {"5.6.16", "8.7.1"}}, func(t *testing.T, g *bench) {
		lost := &losing{link: g.a, what: g.prefix + "books"}
		g.over = func(esapi.Sender) esapi.Sender { return lost }
		lost.what = ""
		g.restart()
		for _, kill := range []bool{false, true} {
			g.must("PUT", "/"+g.prefix+"books", `{"settings":{"number_of_replicas":0},"mappings":`+g.mapping(`{"n":{"type":"long"}}`)+`}`)
			for i := range 20 {
				g.must("PUT", g.doc("books", fmt.Sprint(i)), `{"n":1}`)
			}
			g.equal()
			lost.what = g.prefix + "books"
			if status, answer, err := g.send("DELETE", "/"+g.prefix+"books", ""); err == nil {
				t.Errorf("%d %s", status, answer.Raw)
			}
			lost.what = ""
			// Of another type than the old one.
			g.must("PUT", "/"+g.prefix+"books", `{"settings":{"number_of_replicas":0},"mappings":`+g.mapping(`{"n":{"type":"keyword"}}`)+`}`)
			for i := range 5 {
				g.must("PUT", g.doc("books", fmt.Sprint(i*3)), `{"n":"a word"}`)
			}
			if kill {
				g.restart()
			}
			g.resynced()
			g.equal()
			g.must("DELETE", "/"+g.prefix+"books", "")
			g.equal()
		}
	})
}
