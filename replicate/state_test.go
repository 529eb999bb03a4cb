package replicate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// A template that a 5.x or 6.x application puts while the master has no types
// keeps the application's type when it comes to a cluster with types: else an
// index made there by it has two.
func TestTemplateKeepsTheType(t *testing.T) {
	g := newRig(t, v717, v56)
	g.must("PUT", "/_template/t", `{"index_patterns":["t*"],"mappings":{"_meta":{"esperanto":{"type":"book"}},"properties":{"k":{"type":"keyword"}}}}`)
	g.drained()
	if m := gjson.Get(g.b.Named("template", "t"), "mappings"); m.Get("book.properties.k.type").Str != "keyword" || len(m.Map()) != 1 {
		t.Errorf("the follower's template: %s", m.Raw)
	}
}

// An index may be deleted at the follower by one worker between two requests of
// another one, which moves its aliases: that is not the follower's objection.
func TestIndexDeletedWhileItsAliasesAreApplied(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books", `{}`)
	g.must("PUT", "/orders", `{}`)
	g.drained()
	var asked atomic.Int64
	g.r.cfg.Target.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if r.Path == "/_aliases" && asked.Add(1) <= 3 { // a deletion takes its time
			return esapi.NewResponse(404, []byte(`{"error":{"type":"index_not_found_exception","reason":"no such index [orders]"},"status":404}`)), nil
		}
		return g.b.Send(ctx, r)
	}))
	g.must("POST", "/_aliases", `{"actions":[{"add":{"index":"books","alias":"all"}},{"add":{"index":"orders","alias":"all"}}]}`)
	g.drained()
	if asked.Load() != 4 {
		t.Errorf("aliases were written %d times", asked.Load())
	}
	g.noDeadLetters()
}

// An index that is deleted while the other cluster is the master, and made again
// by a write, is another one: the follower must not make it by its own guess.
func TestIndexMadeAgainAfterSwitches(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	g.moveTo("b")
	g.must("DELETE", "/books", "")
	g.moveTo("a")
	var made atomic.Int64
	g.r.cfg.Target.SetSender(&odd{g.b, func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if r.Method == "PUT" && r.Path == "/books" {
			made.Add(1)
		}
		return status, answer
	}})
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	if made.Load() == 0 {
		t.Error("the follower has made the index by its own guess")
	}
}

func (g *rig) moveTo(name string) {
	g.t.Helper()
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: name}); err != nil {
		g.t.Fatal(err)
	}
}

type sends func(context.Context, *esapi.Request) (*esapi.Response, error)

func (f sends) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) { return f(ctx, r) }

// lost sends a write whose answer is lost, and does something before its document is read back.
func (g *rig) lost(method, target, body string, before func()) {
	g.t.Helper()
	g.paused(func() {
		g.a.Faults(only(method, target, estest.Fault{After: errors.New("lost")}))
		if _, _, err := g.send(method, target, body); err == nil {
			g.t.Errorf("%s %s was answered", method, target)
		}
		g.a.Faults(nil)
		before()
	})
}

// What has to be read back of an index that is closed at the master is retried when it
// is opened.
func TestClosedIndexIsReadBackWhenItIsOpen(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	g.lost("PUT", "/books/_doc/1", `{"n":2}`, func() { g.must("POST", "/books/_close", "") })
	closed := func() bool {
		letters, err := g.r.DeadLetters(context.Background(), "", 0)
		return err == nil && len(letters) == 1 && letters[0].Closed
	}
	wait(t, closed)
	g.restart()
	g.r.applier.indexOpened()
	g.must("PUT", "/orders/_doc/1", `{"n":2}`)
	g.drained()
	if !closed() {
		t.Error("it was retried too early")
	}
	g.must("POST", "/books/_open", "")
	wait(t, func() bool { return g.r.applier.dead.count() == 0 })
	g.equal()
}

// The follower's index can be closed for longer than the master's, which is opened past
// the gateway.
func TestReadBackWhenBothIndicesAreOpen(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	g.lost("PUT", "/books/_doc/1", `{"n":2}`, func() { g.must("POST", "/books/_close", "") })
	g.drained()
	closed := func() bool {
		letters, err := g.r.DeadLetters(t.Context(), "", 0)
		return err == nil && len(letters) == 1 && letters[0].Closed
	}
	if !closed() {
		t.Error("no dead letter of a closed index")
	}
	g.beside(g.a, "POST", "/books/_open", "")
	if _, left, err := g.r.RetryDeadLetters(t.Context()); err != nil || left != 1 || !closed() {
		t.Errorf("it is not known any more that the follower's is closed: %d left, %v", left, err)
	}
	g.r.applier.indexOpened()
	wait(t, func() bool { return g.r.applier.dead.count() == 0 })
	g.equal()
}

// An index that was closed through the gateway and opened past it is opened at the follower
// when there is something to write.
func TestIndexIsOpenedPastTheGateway(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("POST", "/books/_close", "")
	g.drained()
	g.beside(g.a, "POST", "/books/_open", "")
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	g.noDeadLetters()
}

// What the follower cannot take since its index is closed, as the master's is by then, is
// retried when that is open.
func TestClosedPastTheGateway(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	state := func(s string) {
		t.Helper()
		if err := g.r.Apply(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	state("paused")
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.beside(g.a, "POST", "/books/_close", "")
	g.beside(g.b, "POST", "/books/_close", "")
	state("running")
	g.drained()
	letters, err := g.r.DeadLetters(t.Context(), "", 0)
	if err != nil || len(letters) != 1 || !letters[0].Closed {
		t.Errorf("%+v, %v", letters, err)
	}
	g.must("POST", "/books/_open", "")
	wait(t, func() bool { return g.r.applier.dead.count() == 0 })
	g.equal()
}

// An index is made at the follower as the master has it: no template applies to it, and
// what shadows them does not stay, also if the process is killed at the wrong moment.
func TestNoTemplateAppliesToCarriedIndices(t *testing.T) {
	g := newRig(t, v56, v87)
	shadows := func() (n int) {
		answer, err := g.b.Send(context.Background(), esapi.NewRequest("GET", "/_index_template/.esperanto-shadow-*", nil))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := cluster.ReadBody(answer, 1<<20)
		return len(gjson.GetBytes(body, "index_templates").Array())
	}
	var during atomic.Int64
	g.r.cfg.Target.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if r.Method == "PUT" && r.Path == "/books" {
			during.Add(int64(shadows()))
		}
		return g.b.Send(ctx, r)
	}))
	g.must("PUT", "/books/book/1", `{"n":1}`)
	g.equal()
	if during.Load() != 1 || shadows() != 0 {
		t.Errorf("%d while it was made, %d later", during.Load(), shadows())
	}
	leave := func(made string) {
		t.Helper()
		body := `{"index_patterns":["books"],"_meta":{"esperanto":{"made":` + made + `}}}`
		if _, err := g.b.Send(context.Background(), esapi.NewRequest("PUT", "/_index_template/.esperanto-shadow-1", []byte(body))); err != nil {
			t.Fatal(err)
		}
	}
	leave("1")
	g.restart()
	g.must("PUT", "/books/book/2", `{"n":1}`)
	g.equal()
	if shadows() != 0 {
		t.Error("what a former process left behind is still there")
	}
	leave("99999999999999")
	g.moveTo("b")
	if shadows() != 0 {
		t.Error("a template of the replication is there for the application's indices")
	}
}

// A document whose write was not answered is read back also where it went when its alias
// is moved before.
func TestReadBackThroughAMovedAlias(t *testing.T) {
	t.Parallel()
	for _, routing := range []string{"", `"routing":"r",`} {
		g := newRig(t, v68, v87)
		move := func(verb, index string) string {
			if verb == "remove" {
				return `{"remove":{"index":"` + index + `","alias":"ali"}}`
			}
			return `{"add":{` + routing + `"index":"` + index + `","alias":"ali"}}`
		}
		g.must("PUT", "/books-1/doc/0", `{"n":1}`)
		g.must("PUT", "/books-2/doc/0", `{"n":1}`)
		g.must("POST", "/_aliases", `{"actions":[`+move("add", "books-1")+`]}`)
		g.must("PUT", "/ali/doc/1", `{"n":1}`)
		g.equal()
		g.paused(func() { // nothing is read back before the alias is moved
			lost := estest.Fault{After: errors.New("lost")}
			g.a.Faults(func(r *esapi.Request) estest.Fault {
				if r.Path == "/ali/doc/2" || r.Path == "/_bulk" {
					return lost
				}
				return estest.Fault{}
			})
			g.send("PUT", "/ali/doc/2", `{"n":1}`)
			g.send("POST", "/_bulk", `{"index":{"_index":"ali","_type":"doc","_id":"3"}}`+"\n"+`{"n":1}`+"\n")
			g.a.Faults(nil)
			g.must("POST", "/_aliases", `{"actions":[`+move("remove", "books-1")+`,`+move("add", "books-2")+`]}`)
		})
		g.equal()
		if n := len(g.b.Docs()); n != 5 {
			t.Errorf("%d documents", n)
		}
	}
}

// An index that the gateway's user may not see any more is not deleted at the follower:
// among others a cluster leaves it out, and alone it says so.
func TestHiddenIndexIsNotGone(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		switch {
		case r.Method != "GET" || r.Path != "/books":
			return estest.Fault{}
		case r.Params.Bool("ignore_unavailable"):
			return estest.Fault{Change: func([]byte) []byte { return []byte(`{}`) }}
		}
		return estest.Fault{Status: 403}
	})
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.must("PUT", "/books/_mapping", `{"properties":{"k":{"type":"keyword"}}}`)
	wait(t, func() bool { return strings.Contains(g.r.Status(t.Context()).Applier.Reason, "may not see it") })
	if len(g.b.Docs()) == 0 {
		t.Error("the follower's index was deleted")
	}
	g.a.Faults(nil)
	g.equal()
}

// A user who may not make templates replicates all the same.
func TestIndexIsMadeWithoutTheRightToMakeTemplates(t *testing.T) {
	g := newRig(t, v56, v87)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if strings.HasPrefix(r.Path, "/_index_template/") {
			return estest.Fault{Status: 403}
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/book/1", `{"n":1}`)
	g.equal()
	g.moveTo("b")
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
}

// A write index moves at an alias that another index shares which the follower does not
// have as the master has it.
func TestWriteIndexMovesBesideAnIndexWithAProblem(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/logs-1/_doc/1", `{"n":1}`)
	g.must("PUT", "/logs-2/_doc/1", `{"n":1}`)
	g.must("PUT", "/logs-1/_alias/logs", "")
	g.drained()
	g.b.Faults(only("PUT", "/logs-1/_mapping", estest.Fault{Status: 400}))
	g.must("PUT", "/logs-1/_doc/2", `{"m":1}`)
	g.drained()
	g.must("POST", "/_aliases", `{"actions":[{"add":{"index":"logs-2","alias":"logs","is_write_index":true}}]}`)
	g.drained()
	if got := g.b.Aliases("logs-2"); !slices.Equal(got, []string{"logs"}) {
		t.Errorf("aliases of logs-2: %v", got)
	}
}

// A deletion whose answer was lost is found out while another index of that name is being made,
// which the follower's, of other mappings, could not become.
func TestIndexIsMadeWhileItsDeletionIsFoundOut(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87)
	g.must("PUT", "/books", `{"mappings":{"book":{"properties":{"n":{"type":"long"}}}}}`)
	for _, id := range []string{"1", "2"} {
		g.must("PUT", "/books/book/"+id, `{"n":1}`)
	}
	g.equal()
	var made atomic.Bool
	g.r.cfg.Source.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		res, err := g.a.Send(ctx, r)
		if r.Method == "GET" && r.Path == "/books/_settings" && err == nil && res.Status == 404 && !made.Swap(true) {
			g.beside(g.a, "PUT", "/books", `{"mappings":{"book":{"properties":{"n":{"type":"keyword"}}}}}`)
			g.beside(g.a, "PUT", "/books/book/2", `{"n":"a word"}`)
		}
		return res, err
	}))
	g.a.Faults(only("DELETE", "/books", estest.Fault{After: errors.New("lost")}))
	if _, _, err := g.send("DELETE", "/books", ""); err == nil {
		t.Error("an answer")
	}
	g.a.Faults(nil)
	wait(t, made.Load)
	wait(t, func() bool { return len(g.b.Docs()) == 1 && g.r.Status(t.Context()).ResyncWaiting == 0 })
	g.equal()
	g.noDeadLetters()
}
