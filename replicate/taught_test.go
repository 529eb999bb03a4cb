package replicate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/translate"
)

// sendAs sends a request as a client of another version does.
func (g *rig) sendAs(client esapi.Version, method, target, body string) (int, string, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	req := esapi.NewRequest(method, target, []byte(body))
	lease, err := g.r.Enter(ctx, IsWrite(esapi.ParseEndpoint(method, req.Path, client)))
	if err != nil {
		return 0, "", err
	}
	defer lease.Exit()
	v, err := lease.Master().Version(ctx)
	if err != nil {
		return 0, "", err
	}
	res, err := translate.NewSender(client, v, lease.Master().Facts(), lease.Sender()).Send(ctx, req)
	if err != nil {
		return 0, "", err
	}
	answer, err := cluster.ReadBody(res, 1<<20)
	return res.Status, string(answer), err
}

// writes sends a write of a client of 6.x that has to succeed.
func (g *rig) writes(method, target, body string) {
	g.t.Helper()
	if status, answer, err := g.sendAs(v68, method, target, body); err != nil || status >= 300 {
		g.t.Fatalf("%s %s: %d %s %v", method, target, status, answer, err)
	}
}

// typed checks the type that an index has at the follower, and that the mapping of the
// master, which has none, tells it.
func (g *rig) typed(index, want string) {
	g.t.Helper()
	show := func(c *cluster.Cluster) gjson.Result {
		_, answer, err := c.Do(context.Background(), "GET", "/"+index+"/_mapping", nil)
		if err != nil {
			g.t.Fatal(err)
		}
		return gjson.GetBytes(answer, index+".mappings")
	}
	if m := show(g.r.cfg.Source); m.Get("_meta.esperanto.type").Str != want {
		g.t.Errorf("the master's mapping is %s", m.Raw)
	}
	if m := show(g.r.cfg.Target); !m.Get(want).Exists() || len(m.Map()) != 1 {
		g.t.Errorf("the follower's mapping is %s", m.Raw)
	}
}

// Nothing is applied of the first write to an index before the master's mapping tells the
// type, however slow that is: the follower would make an index of another one.
func TestTypeIsToldBeforeTheEffects(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]struct{ method, path, body string }{
		"document": {"PUT", "/books/book/1", `{"n":1}`},
		"bulk":     {"POST", "/_bulk", `{"index":{"_index":"books","_type":"book","_id":"1"}}` + "\n" + `{"n":1}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, v717, v68)
			g.a.Faults(only("PUT", "/books/_mapping", estest.Fault{Delay: 300 * time.Millisecond}))
			g.writes(target.method, target.path, target.body)
			g.equal()
			g.typed("books", "book")
			g.noDeadLetters()
		})
	}
}

// The process may end between a write and that: the intent tells the type.
func TestTypeIsToldAfterAKill(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v68)
	g.a.Faults(only("PUT", "/books/_doc/1", estest.Fault{After: errors.New("lost")}))
	if status, answer, err := g.sendAs(v68, "PUT", "/books/book/1", `{"n":1}`); err == nil {
		t.Fatal(status, answer)
	}
	g.a.Faults(nil)
	g.restart()
	g.drained()
	wait(t, func() bool { return len(g.b.Docs()) == 1 })
	g.equal()
	g.typed("books", "book")
	g.noDeadLetters()
}

// A write is acknowledged although the mapping cannot be written; then the intent is what
// tells the type, also if the process ends.
func TestTypeIsToldLater(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		g := newRig(t, v717, v68)
		g.a.Faults(only("PUT", "/books/_mapping", estest.Fault{Status: 503}))
		g.writes("PUT", "/books/book/1", `{"n":1}`)
		g.writes("PUT", "/books/book/2", `{"n":1}`)
		time.Sleep(100 * time.Millisecond)
		if killed {
			g.kill()
		}
		g.a.Faults(nil)
		if killed {
			g.start()
		}
		wait(t, func() bool { return len(g.b.Docs()) == 2 })
		g.equal()
		g.typed("books", "book")
		g.noDeadLetters()
	}
}

// The same holds of a mapping that is the first to name a type.
func TestTypeOfAMappingIsTold(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v68)
	g.writes("PUT", "/books", ``)
	g.drained()
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/books/_mapping" && gjson.GetBytes(r.Body, "_meta").Exists() {
			return estest.Fault{Delay: 300 * time.Millisecond}
		}
		return estest.Fault{}
	})
	g.writes("PUT", "/books/_mapping/book", `{"properties":{"k":{"type":"keyword"}}}`)
	g.drained()
	g.typed("books", "book")
	g.noDeadLetters()
}

// A write through an alias, whose outcome is not known, teaches the index that it went to, and not
// another that has got the alias since.
func TestTypeOfAnAliasThatWasMoved(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		g := newRig(t, v717, v68)
		g.writes("PUT", "/one", ``)
		g.writes("PUT", "/two", ``)
		g.writes("POST", "/_aliases", `{"actions":[{"add":{"index":"one","alias":"all"}}]}`)
		if before { // it is known what the alias stood for
			g.must("PUT", "/all/_doc/0", `{"n":1}`)
		}
		g.drained()
		g.paused(func() { // nothing is read back before the alias is moved
			g.a.Faults(only("PUT", "/all/_doc/1", estest.Fault{After: errors.New("lost")}))
			if status, answer, err := g.sendAs(v68, "PUT", "/all/book/1", `{"n":1}`); err == nil {
				t.Fatal(status, answer)
			}
			g.a.Faults(nil)
			g.writes("POST", "/_aliases", `{"actions":[{"remove":{"index":"one","alias":"all"}},{"add":{"index":"two","alias":"all"}}]}`)
		})
		g.drained()
		for index, want := range map[string]string{"one": map[bool]string{true: "book"}[before], "two": ""} {
			_, answer, err := g.r.cfg.Source.Do(t.Context(), "GET", "/"+index+"/_mapping", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := gjson.GetBytes(answer, index+".mappings._meta.esperanto.type").Str; got != want {
				t.Errorf("index %s, before %t: type %q", index, before, got)
			}
		}
	}
}
