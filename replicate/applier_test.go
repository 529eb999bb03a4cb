package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

func TestFollowerDownThenCatchUp(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	g.b.Down(true)
	for i := range 500 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i%100), fmt.Sprintf(`{"n":%d}`, i))
	}
	g.must("PUT", "/books/_mapping", `{"properties":{"extra":{"type":"keyword"}}}`)
	wait(t, func() bool { return g.r.applierStatus().Reason != "" })
	s := g.r.Status(context.Background())
	if s.Clusters[1].Health != "down" || s.Backlog < 500 || s.LagSeconds <= 0 || s.Applier.Reason == "" || len(s.NextSteps) == 0 {
		t.Errorf("status %+v", s)
	}
	before := g.b.Requests()
	g.b.Down(false)
	g.equal()
	if n := g.b.Requests() - before; n > 60 {
		t.Errorf("catching up took %d requests", n)
	}
	if g.b.Fields("books")["extra"] != "keyword" {
		t.Error("the mapping is not carried over")
	}
	g.noDeadLetters()
}

func TestFollowerBusy(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	n := 0
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if strings.HasSuffix(r.Path, "_bulk") {
			if n++; n < 3 {
				return estest.Fault{Status: 429}
			}
			if n < 5 {
				return estest.Fault{After: errors.New("reset")}
			}
		}
		return estest.Fault{}
	})
	for i := range 50 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
	}
	g.equal()
	g.noDeadLetters()
}

// The follower never guesses: what the master took for a long stays one, also
// if the first document to get there would say otherwise.
func TestMappingsAreNotGuessed(t *testing.T) {
	g := newRig(t, v717, v87)
	if err := g.r.Apply(context.Background(), "paused"); err != nil {
		t.Fatal(err)
	}
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/books/_doc/2", `{"n":"2"}`)
	g.must("DELETE", "/books/_doc/1", "")
	if err := g.r.Apply(context.Background(), "running"); err != nil {
		t.Fatal(err)
	}
	g.equal()
	if typ := g.b.Fields("books")["n"]; typ != "long" {
		t.Errorf("n is %s", typ)
	}
}

func TestDeadLetters(t *testing.T) {
	g := newRig(t, v717, v87)
	ctx := context.Background()
	g.must("PUT", "/books/_doc/0", `{"n":1}`)
	g.drained()
	// Someone gave the follower's field another type.
	g.b.Send(ctx, esapi.NewRequest("PUT", "/books/_mapping", []byte(`{"properties":{"x":{"type":"long"}}}`)))
	g.must("PUT", "/books/_doc/1", `{"x":"text"}`)
	g.must("PUT", "/books/_doc/2", `{"x":"more text"}`)
	g.must("DELETE", "/books/_doc/2", "")
	g.must("PUT", "/other/_doc/1", `{"n":1}`)
	g.drained()
	letters, err := g.r.DeadLetters(ctx, "", 0)
	if err != nil || len(letters) == 0 || letters[0].Index != "books" || letters[0].Reason == "" {
		t.Fatalf("dead letters %+v, %v", letters, err)
	}
	if s := g.r.Status(ctx); s.DeadLetters != int64(len(letters)) {
		t.Errorf("status tells %d", s.DeadLetters)
	}
	if _, left, err := g.r.RetryDeadLetters(ctx); err != nil || left == 0 {
		t.Errorf("left %d, %v", left, err)
	}
	// The follower's index is mended.
	g.b.Send(ctx, esapi.NewRequest("DELETE", "/books", nil))
	g.restart()
	if _, left, err := g.r.RetryDeadLetters(ctx); err != nil || left != 0 {
		t.Errorf("left %d, %v", left, err)
	}
	g.noDeadLetters()
	g.must("PUT", "/books/_doc/0", `{"n":2}`)
	g.equal()
}

func TestDeadLettersDropped(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/0", `{"n":1}`)
	g.drained()
	g.b.Send(t.Context(), esapi.NewRequest("PUT", "/books/_mapping", []byte(`{"properties":{"x":{"type":"long"}}}`)))
	g.must("PUT", "/books/_doc/1", `{"x":"text"}`)
	g.drained()
	if n, err := g.r.DropDeadLetters(t.Context()); n != 1 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	g.noDeadLetters()
}

// Old documents in the backlog meet the mapping of the new index.
func TestIndexDeletedAndCreatedAgain(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/books/_doc/2", `{"n":2}`)
	g.drained()
	g.b.Down(true)
	g.must("PUT", "/books/_doc/3", `{"n":3}`)
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books", `{"mappings":{"properties":{"n":{"type":"text"}}}}`)
	g.must("PUT", "/books/_doc/2", `{"n":"two"}`)
	g.must("PUT", "/gone/_doc/1", `{"n":"two"}`)
	g.must("DELETE", "/gone", "")
	g.b.Down(false)
	g.equal()
	g.noDeadLetters()
	if typ := g.b.Fields("books")["n"]; typ != "text" {
		t.Errorf("n is %s", typ)
	}
	if fmt.Sprint(g.b.Indices()) != "[books]" {
		t.Errorf("indices %v", g.b.Indices())
	}
}

// A write that is under way while its index is deleted has its effect behind the
// deletion.
func TestIndexDeletedUnderAWrite(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/0", `{"n":1}`)
	g.a.Faults(only("PUT", "/books/_doc/1", estest.Fault{Late: 300 * time.Millisecond}))
	var late sync.WaitGroup
	late.Go(func() { g.must("PUT", "/books/_doc/1", `{"n":1}`) })
	wait(t, func() bool { return len(g.a.Docs()) == 2 })
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	late.Wait()
	g.equal()
	if n := len(g.b.Docs()); n != 1 {
		t.Errorf("%d documents", n)
	}
	g.noDeadLetters()
}

// A document that was deleted, forgotten and created again starts at version 1.
func TestDeletedForgottenCreatedAgain(t *testing.T) {
	g := newRig(t, v717, v87)
	for i := range 5 {
		g.must("PUT", "/books/_doc/1", fmt.Sprintf(`{"n":%d}`, i))
	}
	g.must("DELETE", "/books/_doc/1", "")
	g.equal()
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	answer := g.must("PUT", "/books/_doc/1", `{"n":10}`)
	if answer.Get("_version").Int() != 1 {
		t.Fatalf("the master's version is %s", answer.Get("_version"))
	}
	g.equal()
	// The follower still has the old document, since its delete was lost on it.
	g.must("PUT", "/books/_doc/1", `{"n":11}`)
	g.equal()
	if g.r.Counts().Forced == 0 {
		t.Error("nothing was forced")
	}
	s, _ := g.b.Send(t.Context(), esapi.NewRequest("GET", "/books/_settings?flat_settings=true", nil))
	buf := make([]byte, 1000)
	n, _ := s.Body.Read(buf)
	if strings.Contains(string(buf[:n]), "gc_deletes") {
		t.Errorf("the follower's setting is left changed: %s", buf[:n])
	}
}

func TestReplayedTwice(t *testing.T) {
	g := newRig(t, v717, v87)
	// Without commits everything is delivered again after a restart.
	g.beforeOpen = func(c *Config) { c.Journal = noCommit{c.Journal} }
	g.restart()
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/books/_doc/1", `{"n":2}`)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.must("DELETE", "/books/_doc/2", "")
	g.fails(404, "DELETE", "/other/_doc/1", "")
	g.must("PUT", "/gone/_doc/1", `{"n":1}`)
	g.must("DELETE", "/gone", "")
	g.must("PUT", "/gone/_doc/1", `{"n":2}`)
	for range 2 {
		wait(t, func() bool { return len(g.b.Docs()) == len(g.a.Docs()) && g.b.Docs()[1].Source == `{"n":2}` })
		g.restart()
	}
	g.beforeOpen = nil
	g.restart()
	g.equal()
	g.noDeadLetters()
}

type noCommit struct{ journal.Journal }

func (noCommit) Commit(context.Context, int32, int64) error { return nil }

func wait(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// A crash between each two steps of a write: the journal takes n records, and
// then the process is killed.
func TestCrashBetweenSteps(t *testing.T) {
	t.Parallel()
	for n := range 8 {
		t.Run(fmt.Sprintf("after %d records", n), func(t *testing.T) {
			g := newRig(t, v717, v87)
			g.must("PUT", "/books/_doc/1", `{"n":0}`)
			g.equal()
			g.beforeOpen = func(c *Config) { d := &dying{Journal: c.Journal}; d.left.Store(int64(n)); c.Journal = d }
			g.restart()
			g.send("PUT", "/books/_doc/1", `{"n":1}`)
			g.send("POST", "/_bulk", `{"index":{"_index":"books","_id":"2"}}`+"\n"+`{"n":1}`+"\n"+`{"delete":{"_index":"books","_id":"1"}}`+"\n")
			g.send("POST", "/books/_doc", `{"n":2}`)
			g.send("PUT", "/made", `{"settings":{"number_of_replicas":0}}`)
			g.beforeOpen = nil
			g.restart()
			g.equal()
			g.noDeadLetters()
			if a, b := fmt.Sprint(g.a.Indices()), fmt.Sprint(g.b.Indices()); a != b {
				t.Errorf("indices %s and %s", a, b)
			}
		})
	}
}

// dying takes a number of records, and then loses what it says it has taken:
// as a process that is killed.
type dying struct {
	journal.Journal
	left atomic.Int64
}

func (d *dying) Append(r journal.Record, done func(journal.Position, error)) error {
	if d.left.Add(-1) < 0 {
		return journal.ErrClosed
	}
	return d.Journal.Append(r, done)
}

func TestStateIsReplicated(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/_template/t", `{"index_patterns":["x*"]}`)
	g.must("PUT", "/_index_template/it", `{"index_patterns":["y*"]}`)
	g.must("PUT", "/_ingest/pipeline/p", `{"processors":[]}`)
	g.must("PUT", "/_scripts/s", `{"script":{"lang":"painless","source":"1"}}`)
	g.must("PUT", "/books-1", `{"settings":{"number_of_replicas":0},"mappings":{"properties":{"n":{"type":"keyword"}}},"aliases":{"books":{}}}`)
	g.must("PUT", "/books-2", `{}`)
	g.must("PUT", "/books-1/_settings", `{"index":{"refresh_interval":"7s"}}`)
	g.drained()
	for _, x := range [][2]string{{"template", "t"}, {"index_template", "it"}, {"pipeline", "p"}, {"script", "s"}} {
		if g.b.Named(x[0], x[1]) == "" {
			t.Errorf("%v is missing", x)
		}
	}
	if g.b.Fields("books-1")["n"] != "keyword" || fmt.Sprint(g.b.Aliases("books-1")) != "[books]" {
		t.Errorf("fields %v, aliases %v", g.b.Fields("books-1"), g.b.Aliases("books-1"))
	}
	g.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"books-1","alias":"books"}},{"add":{"index":"books-2","alias":"books","filter":{"match_all":{}}}}]}`)
	g.must("DELETE", "/_template/t", "")
	g.must("DELETE", "/_scripts/s", "")
	g.must("PUT", "/books-1/_alias/more", "")
	g.drained()
	if g.b.Named("template", "t") != "" || g.b.Named("script", "s") != "" {
		t.Error("deletions are not replicated")
	}
	if fmt.Sprint(g.b.Aliases("books-1"), g.b.Aliases("books-2")) != "[more] [books]" {
		t.Errorf("aliases %v %v", g.b.Aliases("books-1"), g.b.Aliases("books-2"))
	}
	g.must("DELETE", "/books-*", "")
	g.drained()
	if n := g.b.Indices(); len(n) > 0 {
		t.Errorf("indices %v", n)
	}
	g.noDeadLetters()
}

func TestSettingsTheFollowerDoesNotKnow(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	ctx := t.Context()
	// The fake knows few settings; the master is told of one more by a fault.
	g.must("PUT", "/books", `{"settings":{"index.refresh_interval":"3s"}}`)
	if _, err := g.a.Send(ctx, esapi.NewRequest("GET", "/books", nil)); err != nil {
		t.Fatal(err)
	}
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
}

func TestPausedApplierOutlivesRestart(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	ctx := context.Background()
	g.r.Apply(ctx, "paused")
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.restart()
	time.Sleep(100 * time.Millisecond)
	if len(g.b.Docs()) > 0 {
		t.Fatal("a paused applier applies")
	}
	if s := g.r.Status(ctx); s.Applier.State != "paused" {
		t.Errorf("%+v", s.Applier)
	}
	g.r.Apply(ctx, "running")
	g.equal()
}

// moody does not take records, or never confirms them, when it is told so.
type moody struct {
	journal.Journal
	refuse, silent atomic.Bool
}

func (m *moody) Append(r journal.Record, done func(journal.Position, error)) error {
	switch {
	case m.refuse.Load():
		return journal.ErrClosed
	case m.silent.Load():
		return m.Journal.Append(r, func(journal.Position, error) {})
	}
	return m.Journal.Append(r, done)
}

func newMoodyRig(t *testing.T, change func(*Config)) (*rig, *moody) {
	m := &moody{}
	g := newRig(t, v717, v87, change)
	g.beforeOpen = func(c *Config) { m.Journal = c.Journal; c.Journal = m }
	g.restart()
	return g, m
}

func TestJournalRefuses(t *testing.T) {
	g, m := newMoodyRig(t, func(*Config) {})
	m.refuse.Store(true)
	answer := g.fails(503, "PUT", "/books/_doc/1", `{"n":1}`)
	if answer.Get("error.type").String() != "esperanto_unavailable_exception" {
		t.Error(answer.Raw)
	}
	if len(g.a.Docs()) > 0 {
		t.Error("the write was sent all the same")
	}
	m.refuse.Store(false)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
}

func TestIntentNotDurableInTime(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{false, true} {
		g, m := newMoodyRig(t, func(c *Config) { c.IntentFirst = first })
		g.must("PUT", "/books/_doc/0", `{"n":1}`)
		long := g.cfg.JournalTimeout
		g.cfg.JournalTimeout = 3 * time.Second
		g.restart()
		m.silent.Store(true)
		answer := g.fails(503, "PUT", "/books/_doc/1", `{"n":1}`)
		if said := strings.Contains(answer.Raw, "may have been applied"); said == first {
			t.Errorf("first %v: %s", first, answer.Raw)
		}
		if sent := len(g.a.Docs()) == 2; sent == first {
			t.Errorf("first %v: sent %v", first, sent)
		}
		m.silent.Store(false)
		g.cfg.JournalTimeout = long
		g.restart()
		g.equal()
	}
}
