package replicate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// Whatever an application does between two requests of the applier, of which the second is sent
// because of the answer to the first, the clusters become equal, without dead letters.

var allBetween = flag.Bool("between", false, "do everything between all requests of all scenarios, from several versions; it takes half an hour")

// A meddler has an application do something just before the applier sends a request.
type meddler struct {
	at  int // which request
	act func()

	mu    sync.Mutex
	armed bool
	seen  int           // requests
	done  chan struct{} // closed when it has acted; nil before it has begun
	log   []string
}

// to is a way to a cluster that it watches.
func (m *meddler) to(c *estest.Cluster, name string) sends {
	return func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if done := m.meet(name, r); done != nil {
			go func() {
				defer close(done)
				m.act()
			}()
			select {
			case <-done:
			case <-time.After(200 * time.Millisecond): // it waits for this very request
			}
		}
		res, err := c.Send(ctx, r)
		if err == nil && res.Status >= 300 {
			m.note(fmt.Sprintf("  %d: %s %s %s", res.Status, name, r.Method, r.Path))
		}
		return res, err
	}
}

// meet counts a request, and returns what is to be closed if it is the one.
func (m *meddler) meet(name string, r *esapi.Request) (done chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.armed {
		return nil
	}
	if m.done == nil && m.seen == m.at {
		m.done = make(chan struct{})
		m.log = append(m.log, "the application acts")
		done = m.done
	}
	m.log = append(m.log, fmt.Sprintf("%s %s %s %.150s", name, r.Method, r.Path, r.Body))
	m.seen++
	return done
}

func (m *meddler) note(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.armed {
		m.log = append(m.log, s)
	}
}

func (m *meddler) arm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = true
}

// begun reports whether it acts or has acted.
func (m *meddler) begun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done != nil
}

// lost has an answer be lost.
func (g *rig) lost(method, target, body string) {
	req := esapi.NewRequest(method, target, nil)
	g.a.Faults(only(method, req.Path, estest.Fault{After: errors.New("lost")}))
	defer g.a.Faults(nil)
	if _, _, err := g.send(method, target, body); err == nil {
		g.t.Error("an answer")
	}
}

// mappings makes the body of an index.
func mappings(v esapi.Version, properties string) string {
	if v.Major < 7 {
		return `{"mappings":{"book":{"properties":` + properties + `}}}`
	}
	return `{"mappings":{"properties":` + properties + `}}`
}

func (g *rig) putMapping(index, properties string) {
	target := "/" + index + "/_mapping"
	if g.a.Version.Major < 7 {
		target += "/book"
	}
	g.must("PUT", target, `{"properties":`+properties+`}`)
}

func (g *rig) line(action, index, id string) string {
	typ := ""
	if g.a.Version.Major < 7 {
		typ = `"_type":"book",`
	}
	return `{"` + action + `":{"_index":"` + index + `",` + typ + `"_id":"` + id + `"}}` + "\n"
}

// try sends what may fail.
func (g *rig) try(method, target, body string) {
	_, _, _ = g.send(method, target, body)
}

const long, word = `{"n":{"type":"long"}}`, `{"n":{"type":"keyword"},"more":{"type":"keyword"}}`

// A scenario is what gives the applier work.
type scenario struct {
	name   string
	before func(g *rig)
	do     func(g *rig)
}

var scenarios = []scenario{
	{name: "deleted without an answer", do: func(g *rig) { g.lost("DELETE", "/books", "") }},
	{name: "deleted", do: func(g *rig) { g.must("DELETE", "/books", "") }},
	{name: "deleted and made again", do: func(g *rig) {
		g.must("DELETE", "/books", "")
		g.must("PUT", "/books", mappings(g.a.Version, `{"n":{"type":"date"}}`))
		g.must("PUT", g.path("books", "1"), `{"n":"2020-01-01"}`)
	}},
	{name: "deleted without an answer and made again", do: func(g *rig) {
		g.lost("DELETE", "/books", "")
		g.must("PUT", "/books", mappings(g.a.Version, `{"n":{"type":"date"}}`))
		g.must("PUT", g.path("books", "1"), `{"n":"2020-01-01"}`)
	}},
	{name: "made without an answer", do: func(g *rig) { g.lost("PUT", "/new", mappings(g.a.Version, long)) }},
	{name: "made by a document without an answer", do: func(g *rig) { g.lost("PUT", g.path("new", "1"), `{"n":1}`) }},
	{name: "made by a document", do: func(g *rig) { g.must("PUT", g.path("new", "1"), `{"n":1}`) }},
	{name: "bulk without an answer", do: func(g *rig) {
		g.lost("POST", "/_bulk", g.line("index", "new", "1")+`{"n":1}`+"\n"+g.line("index", "books", "1")+`{"n":2}`+"\n"+g.line("delete", "books", "2")+g.line("index", "books", "5")+`{"n":1}`+"\n")
	}},
	{name: "bulk", do: func(g *rig) {
		g.must("POST", "/_bulk", g.line("index", "new", "1")+`{"n":1}`+"\n"+g.line("index", "books", "1")+`{"n":2}`+"\n"+g.line("delete", "books", "2")+g.line("index", "books", "5")+`{"n":1}`+"\n")
	}},
	{name: "document without an answer", do: func(g *rig) { g.lost("PUT", g.path("books", "1"), `{"n":2}`) }},
	{name: "deletion of a document without an answer", do: func(g *rig) { g.lost("DELETE", g.path("books", "1"), "") }},
	{name: "read back", do: func(g *rig) {
		g.must("PUT", "/_ingest/pipeline/pipe", `{"processors":[]}`)
		g.must("PUT", g.path("books", "1")+"?pipeline=pipe", `{"n":2}`)
	}},
	{name: "mapping", do: func(g *rig) {
		g.putMapping("books", `{"m":{"type":"keyword"}}`)
		g.must("PUT", g.path("books", "1"), `{"n":1,"m":"x","l":1}`)
	}},
	{name: "settings", do: func(g *rig) { g.must("PUT", "/books/_settings", `{"index":{"refresh_interval":"5s"}}`) }},
	{name: "alias moved", before: func(g *rig) { g.must("PUT", "/books/_alias/ali", "") }, do: func(g *rig) {
		g.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"books","alias":"ali"}},{"add":{"index":"orders","alias":"ali"}},{"add":{"index":"books","alias":"former"}}]}`)
	}},
	{name: "alias moved without an answer", before: func(g *rig) { g.must("PUT", "/books/_alias/ali", "") }, do: func(g *rig) {
		g.lost("POST", "/_aliases", `{"actions":[{"remove":{"index":"books","alias":"ali"}},{"add":{"index":"orders","alias":"ali"}},{"add":{"index":"books","alias":"former"}}]}`)
	}},
	{name: "written through a moved alias without an answer", before: func(g *rig) {
		g.must("PUT", "/books/_alias/ali", "")
		g.must("PUT", g.path("ali", "0"), `{"n":1}`)
	}, do: func(g *rig) {
		g.lost("PUT", g.path("ali", "1"), `{"n":2}`)
		g.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"books","alias":"ali"}},{"add":{"index":"orders","alias":"ali"}}]}`)
	}},
	{name: "closed", do: func(g *rig) { g.must("POST", "/books/_close", "") }},
	{name: "opened", before: func(g *rig) { g.must("POST", "/books/_close", "") }, do: func(g *rig) {
		g.must("POST", "/books/_open", "")
		g.must("PUT", g.path("books", "1"), `{"n":2}`)
	}},
	{name: "rollover", before: func(g *rig) { g.must("PUT", "/books/_alias/ali", "") }, do: func(g *rig) {
		g.must("POST", "/ali/_rollover/new", "")
		g.must("PUT", g.path("ali", "1"), `{"n":2}`)
	}},
	{name: "rollover without an answer", before: func(g *rig) { g.must("PUT", "/books/_alias/ali", "") }, do: func(g *rig) {
		g.lost("POST", "/ali/_rollover/new", "")
		g.must("PUT", g.path("ali", "1"), `{"n":2}`)
	}},
	{name: "resize", do: func(g *rig) { g.must("POST", "/books/_shrink/new", `{"aliases":{"small":{}}}`) }},
	{name: "resize without an answer", do: func(g *rig) { g.lost("POST", "/books/_shrink/new", `{}`) }},
	{name: "template", do: func(g *rig) {
		g.must("PUT", "/_template/t", `{"template":"books*","index_patterns":["books*"],`+mappings(g.a.Version, `{"m":{"type":"keyword"}}`)[1:])
	}},
	{name: "resync", before: func(g *rig) {
		g.a.Set("books", "1", "", 9, `{"n":2}`)
		g.b.Set("books", "2", "", 9, `{"n":3}`)
		g.b.Set("books", "8", "", 9, `{"n":3}`)
	}, do: func(g *rig) {
		if _, err := g.r.Resync(g.t.Context(), []string{"books"}); err != nil {
			g.t.Error(err)
		}
	}},
	{name: "backfill", before: func(g *rig) {
		g.beside(g.a, "PUT", "/new", mappings(g.a.Version, long))
		g.beside(g.a, "PUT", g.path("new", "1"), `{"n":1}`)
		g.beside(g.a, "PUT", g.path("new", "2"), `{"n":1}`)
	}, do: func(g *rig) { g.startBackfill(BackfillOptions{}) }},
	{name: "rejected", before: func(g *rig) {
		g.must("PUT", "/new", mappings(g.a.Version, `{}`))
	}, do: func(g *rig) {
		g.must("PUT", g.path("new", "1"), `{"n":1}`)
		g.must("DELETE", "/new", "")
		g.must("PUT", g.path("new", "2"), `{"n":{"x":1}}`)
	}},
	{name: "conflict", before: func(g *rig) {
		g.b.Set("books", "1", "", 9, `{"n":3}`)
		g.b.Set("books", "2", "", 9, `{"n":3}`)
	}, do: func(g *rig) {
		g.must("PUT", g.path("books", "1"), `{"n":2}`)
		if _, _, err := g.send("DELETE", g.path("books", "2"), ""); err != nil {
			g.t.Error(err)
		}
	}},
}

// A meddling is what an application does meanwhile.
type meddling struct {
	name string
	do   func(g *rig, index string)
	undo func(g *rig, index string) // for the rest to be done
}

var actions = []meddling{
	{"made anew", func(g *rig, index string) {
		g.try("DELETE", "/"+index, "")
		g.try("PUT", "/"+index, mappings(g.a.Version, word))
		g.try("PUT", g.path(index, "2"), `{"n":"a word","more":"x"}`)
		g.try("PUT", g.path(index, "9"), `{"n":"a word"}`)
	}, nil},
	{"made anew by a document", func(g *rig, index string) {
		g.try("DELETE", "/"+index, "")
		g.try("PUT", g.path(index, "2"), `{"n":{"x":1}}`)
		g.try("PUT", g.path(index, "9"), `{"n":{"x":1}}`)
	}, nil},
	{"made anew without an answer", func(g *rig, index string) {
		g.a.Faults(only("DELETE", "/"+index, estest.Fault{After: errors.New("lost")}))
		g.try("DELETE", "/"+index, "")
		g.a.Faults(nil)
		g.try("PUT", "/"+index, mappings(g.a.Version, word))
		g.try("PUT", g.path(index, "2"), `{"n":"a word","more":"x"}`)
		g.try("PUT", g.path(index, "9"), `{"n":"a word"}`)
	}, nil},
	{"made anew after it was deleted twice", func(g *rig, index string) {
		g.try("DELETE", "/"+index, "")
		g.try("PUT", g.path(index, "2"), `{"n":{"x":1}}`)
		g.try("DELETE", "/"+index, "")
		g.try("PUT", g.path(index, "2"), `{"n":true}`)
	}, nil},
	{"deleted", func(g *rig, index string) { g.try("DELETE", "/"+index, "") }, nil},
	{"an alias of the name", func(g *rig, index string) {
		g.try("DELETE", "/"+index, "")
		g.try("POST", "/_aliases", `{"actions":[{"add":{"index":"orders","alias":"`+index+`"}}]}`)
		g.try("PUT", g.path(index, "9"), `{"n":1}`)
	}, nil},
	{"an alias in its place", func(g *rig, index string) {
		g.try("POST", "/_aliases", `{"actions":[{"remove_index":{"index":"`+index+`"}},{"add":{"index":"orders","alias":"`+index+`"}}]}`)
		g.try("PUT", g.path(index, "9"), `{"n":1}`)
	}, nil},
	{"an index in an alias's place", func(g *rig, index string) {
		g.try("DELETE", "/"+index, "")
		g.try("POST", "/_aliases", `{"actions":[{"add":{"index":"orders","alias":"`+index+`"}}]}`)
		g.try("PUT", g.path(index, "9"), `{"n":1}`)
		g.try("POST", "/_aliases", `{"actions":[{"remove":{"index":"orders","alias":"`+index+`"}}]}`)
		g.try("PUT", g.path(index, "2"), `{"n":"a word"}`)
	}, nil},
	{"closed", func(g *rig, index string) { g.try("POST", "/"+index+"/_close", "") }, func(g *rig, index string) { g.try("POST", "/"+index+"/_open", "") }},
	{"closed and opened", func(g *rig, index string) {
		g.try("POST", "/"+index+"/_close", "")
		g.try("POST", "/"+index+"/_open", "")
		g.try("PUT", g.path(index, "9"), `{"n":1}`)
	}, nil},
	{"written", func(g *rig, index string) {
		g.try("PUT", g.path(index, "1"), `{"n":7,"new":"text"}`)
		g.try("PUT", g.path(index, "2"), `{"n":7,"new":"text"}`)
		g.try("PUT", g.path(index, "9"), `{"n":7,"new":"text"}`)
	}, nil},
	{"documents deleted", func(g *rig, index string) {
		g.try("DELETE", g.path(index, "1"), "")
		g.try("DELETE", g.path(index, "2"), "")
	}, nil},
	{"document made anew", func(g *rig, index string) {
		g.try("DELETE", g.path(index, "1"), "")
		g.try("PUT", g.path(index, "1"), `{"n":7,"new":"text"}`)
	}, nil},
	{"document without an answer", func(g *rig, index string) {
		g.a.Faults(only("PUT", g.path(index, "1"), estest.Fault{After: errors.New("lost")}))
		g.try("PUT", g.path(index, "1"), `{"n":7,"new":"text"}`)
		g.a.Faults(nil)
	}, nil},
	{"alias", func(g *rig, index string) {
		g.try("PUT", "/"+index+"/_alias/other", "")
	}, nil},
}

// A coincidence is what is done between two requests of what.
type coincidence struct{ scenario, action, index string }

// coincidences are those that have shown faults.
var coincidences = []coincidence{
	{"alias moved", "made anew", "books"},
	{"made without an answer", "made anew", "new"},
	{"deleted without an answer and made again", "made anew", "books"},
	{"written through a moved alias without an answer", "made anew", "books"},
	{"resync", "made anew by a document", "books"},
	{"settings", "an alias of the name", "books"},
	{"bulk", "an alias in its place", "new"},
	{"conflict", "an index in an alias's place", "books"},
	{"conflict", "closed", "books"},
}

func TestBetween(t *testing.T) {
	t.Parallel()
	pairs := [][2]esapi.Version{{v717, v87}}
	if *allBetween {
		pairs = append(pairs, [2]esapi.Version{v56, v87}, [2]esapi.Version{v87, v68})
	}
	for _, v := range pairs {
		for _, s := range scenarios {
			for _, a := range actions {
				for _, index := range []string{"books", "new"} {
					if !*allBetween && !slices.Contains(coincidences, coincidence{s.name, a.name, index}) {
						continue
					}
					t.Run(fmt.Sprintf("%s to %s/%s/%s/%s", v[0], v[1], s.name, a.name, index), func(t *testing.T) {
						t.Parallel()
						for n, more := 0, true; more && !t.Failed(); n++ {
							t.Run(fmt.Sprint(n), func(t *testing.T) { more = between(t, v, s, a, index, n) })
						}
					})
				}
			}
		}
	}
}

// between does it before the nth request. It reports whether there are so many.
func between(t *testing.T, v [2]esapi.Version, s scenario, a meddling, index string, n int) bool {
	g := newRig(t, v[0], v[1])
	g.must("PUT", "/books", mappings(v[0], long))
	g.must("PUT", "/orders", mappings(v[0], long))
	for _, id := range []string{"1", "2", "3"} {
		g.must("PUT", g.path("books", id), `{"n":1}`)
	}
	g.must("PUT", g.path("orders", "1"), `{"n":1}`)
	g.drained()
	if s.before != nil {
		s.before(g)
		g.drained()
	}
	m := &meddler{at: n, act: func() { a.do(g, index) }}
	g.r.cfg.Source.SetSender(m.to(g.a, "a"))
	g.r.cfg.Target.SetSender(m.to(g.b, "b"))
	g.paused(func() {
		s.do(g)
		m.arm()
	})
	var early func() bool // what is done then has to be undone for it to end
	if a.undo != nil {
		early = m.begun
	}
	err := g.settled(early)
	begun := m.begun()
	if begun {
		<-m.done
	}
	if a.undo != nil {
		a.undo(g, index)
	}
	if err == nil {
		err = g.settled(nil)
	}
	differ := g.alike()
	for end := time.Now().Add(settleTime); err == nil && differ != "" && time.Now().Before(end); differ = g.alike() { // letters are retried by themselves
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || differ != "" {
		t.Errorf("%v; %s\n%s", err, differ, strings.Join(m.log, "\n"))
	}
	return begun
}

// settleTime is more than a slow machine needs.
const settleTime = time.Minute

// settled waits until nothing is left to be done, or it is early enough.
func (g *rig) settled(early func() bool) error {
	ctx := g.t.Context()
	for end := time.Now().Add(settleTime); ; time.Sleep(3 * time.Millisecond) {
		if err := g.r.drain(ctx, settleTime); err != nil {
			return fmt.Errorf("%w: %+v", err, g.r.Status(ctx))
		}
		if early != nil && early() {
			return nil
		}
		list, err := g.r.resyncs.wishes(ctx)
		busy := err != nil || len(list) > 0 || g.r.Status(ctx).OpenIntents > 0
		for _, kind := range []string{JobResync, JobBackfill} {
			j, ok, err := g.r.jobs.Job(ctx, kind)
			busy = busy || err != nil || ok && !j.State.Ended() || ok && kind == JobBackfill && j.State == JobFailed
			if ok && j.State == JobFailed && busy {
				_, _ = g.r.jobs.Start(ctx, kind, j.Options) // it would be tried again later, or by an operator
			}
		}
		if !busy {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("resyncs %v, %+v", list, g.r.Status(ctx))
		}
	}
}

// alike says how the clusters differ, "" if they do not.
func (g *rig) alike() string {
	if a, b := g.a.Docs(), g.b.Docs(); !reflect.DeepEqual(a, b) {
		return "documents:\n" + list("a", a) + list("b", b)
	}
	if a, b := g.a.Indices(), g.b.Indices(); !reflect.DeepEqual(a, b) {
		return fmt.Sprintf("indices: %v and %v", a, b)
	}
	for _, name := range g.a.Indices() {
		if a, b := g.a.Show(name), g.b.Show(name); a != b {
			return fmt.Sprintf("index %s: %s and %s", name, a, b)
		}
	}
	letters, err := g.r.DeadLetters(context.Background(), "", 0)
	if err != nil || len(letters) > 0 {
		return fmt.Sprintf("dead letters: %+v, %v", letters, err)
	}
	return ""
}

// A template that is changed while the older one is being copied stays as it is then.
func TestTemplateIsChangedWhileItIsCopied(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.beside(g.a, "PUT", "/_template/t", `{"index_patterns":["t*"],"order":1}`)
	var changed atomic.Bool
	g.r.cfg.Target.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if r.Method == "PUT" && r.Path == "/_template/t" && !changed.Swap(true) {
			g.must("PUT", "/_template/t", `{"index_patterns":["t*"],"order":2}`)
			g.drained()
		}
		return g.b.Send(ctx, r)
	}))
	g.startBackfill(BackfillOptions{})
	g.backfilled()
	if now := g.b.Named("template", "t"); !strings.Contains(now, `"order":2`) {
		t.Errorf("the follower has %s", now)
	}
}

// A document of unknown outcome is read back while the deletion of a former index of its name stands
// in another partition, which is slower.
func TestReadBackBeforeADeletionInAnotherPartition(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	other := "orders"
	for n := 0; g.journal.Partition(other) == g.journal.Partition("books"); n++ {
		other = fmt.Sprintf("orders-%d", n)
	}
	g.must("PUT", g.path("books", "1"), `{"n":1}`)
	g.must("PUT", g.path(other, "1"), `{"n":1}`)
	g.equal()
	readBack := make(chan struct{})
	var once sync.Once
	g.r.cfg.Target.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if r.Method == "DELETE" && r.Path == "/books" {
			select {
			case <-readBack:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		res, err := g.b.Send(ctx, r)
		if strings.HasSuffix(r.Path, "/_bulk") && strings.Contains(string(r.Body), `"_id":"late"`) {
			once.Do(func() { close(readBack) })
		}
		return res, err
	}))
	g.must("DELETE", "/books", "")
	g.must("PUT", g.path("books", "2"), `{"n":1}`)
	g.lost("POST", "/_bulk", g.line("index", other, "2")+`{"n":1}`+"\n"+g.line("index", "books", "late")+`{"n":1}`+"\n")
	g.equal()
	g.noDeadLetters()
}
