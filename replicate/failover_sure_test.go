package replicate

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// What is forced at a failover, and what must not be: a deletion that was acknowledged behind it is not undone.

// deletedStays makes the follower the master and looks that the document is not there.
func (g *rig) deletedStays() {
	g.t.Helper()
	g.until("the follower takes over", g.master("b"))
	if d := at(g.b, "1"); d != nil {
		g.t.Errorf("a document is back whose deletion was acknowledged after it: %+v (%d were forced)", d, g.r.Counts().Forced)
	}
}

// A journal that takes no effects of deletions and, with full, nothing that is to be read back.
type withoutDeletions struct {
	journal.Journal
	on, full atomic.Bool
	read     func() // is called once, before it takes what is to be read back
}

func (j *withoutDeletions) Append(r journal.Record, done func(journal.Position, error)) error {
	s := string(r.Value)
	deleted, read := strings.Contains(s, `"deleted":true`), strings.Contains(s, `"read":true`)
	switch {
	case j.on.Load() && (deleted || read) && j.full.Load():
		return fmt.Errorf("%w: it is a test", journal.ErrFull)
	case j.on.Load() && deleted:
		return errors.New("it is a test")
	case j.on.Load() && read:
		j.on.Store(false)
		j.read()
	}
	return j.Journal.Append(r, done)
}

// withLateWrite makes a rig with a document whose last write, of version 5, is at the master alone: its effect is to come late.
func withLateWrite(t *testing.T, change func(*Config)) (*rig, *withoutDeletions) {
	g := newFailing(t, change)
	g.b.ForgetsAtOnce()
	var j *withoutDeletions
	g.beforeOpen = func(c *Config) { j = &withoutDeletions{Journal: c.Journal}; c.Journal = j }
	g.restart()
	for range 4 {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	beside(t, g.a, "PUT", "/books/_doc/1", `{"n":7}`)
	return g, j
}

// A journal that is full takes neither the effect of a deletion nor that the document is to be looked at once more; then an older
// effect comes.
func TestFailoverDeletedWhileTheJournalIsFull(t *testing.T) {
	t.Parallel()
	g, j := withLateWrite(t, func(c *Config) { c.JournalTimeout, c.WriteTimeout = 4*time.Second, 20*time.Second })
	j.full.Store(true)
	j.on.Store(true)
	g.must("DELETE", "/books/_doc/1", "")
	g.drained()
	g.a.Down(true)
	g.late("books", "1", 5)
	g.deletedStays()
}

// The effect of a deletion is not journaled, and an older one stands before what has the document looked at once more.
func TestFailoverWriteBeforeItsReadBack(t *testing.T) {
	t.Parallel()
	g, j := withLateWrite(t, func(c *Config) { c.JournalTimeout, c.WriteTimeout = 5*time.Second, 20*time.Second })
	j.read = func() {
		late(t, j.Journal, "books", "1", 5)
		g.a.Down(true)
	}
	j.on.Store(true)
	g.must("DELETE", "/books/_doc/1", "")
	g.deletedStays()
}

// The journal is full, and the document was also deleted in an earlier epoch.
func TestFailoverDeletedAgainWhileTheJournalIsFull(t *testing.T) {
	t.Parallel()
	g, j := withLateWrite(t, func(c *Config) { c.JournalTimeout, c.WriteTimeout = 4*time.Second, 20*time.Second })
	g.must("DELETE", "/books/_doc/1", "")
	g.drained()
	for _, to := range []string{"b", "a"} {
		if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: to}); err != nil {
			t.Fatal(err)
		}
	}
	g.until("it is ready again", func() bool { return g.failover().Ready })
	version := g.must("PUT", "/books/_doc/1", `{"n":1}`).Get("_version").Int()
	g.equal()
	beside(t, g.a, "PUT", "/books/_doc/1", `{"n":7}`)
	j.full.Store(true)
	j.on.Store(true)
	g.must("DELETE", "/books/_doc/1", "")
	g.drained()
	epoch := g.r.gate.now().epoch
	g.a.Down(true)
	journalLate(t, g.journal, &record{Kind: kindEffect, From: "a", Epoch: epoch, Index: "books", ID: "1", Version: version + 1, Source: []byte(`{"n":7}`)})
	g.deletedStays()
}

// forgetsLate makes a rig with a document whose last write, of version 9, is at the master alone: its effect is to come late. Behind it
// the document was deleted without an answer, which the master has forgotten. With deleted it was also deleted before.
func forgetsLate(t *testing.T, deleted bool, change ...func(*Config)) (g *rig, sent int64) {
	g = newFailing(t, append(change, func(c *Config) {
		c.JournalTimeout, c.WriteTimeout, c.Grace = 20*time.Second, 20*time.Second, 20*time.Second
	})...)
	g.b.ForgetsAtOnce()
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	if deleted {
		g.must("DELETE", "/books/_doc/1", "")
	} else {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	for range 6 {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	time.Sleep(10 * time.Millisecond)
	sent = time.Now().UnixMilli()
	beside(t, g.a, "PUT", "/books/_doc/1", `{"n":7}`)
	g.a.Faults(only("DELETE", "/books/_doc/1", estest.Fault{After: errors.New("no answer")}))
	if _, _, err := g.send("DELETE", "/books/_doc/1", ""); err == nil {
		t.Error("there was an answer")
	}
	g.a.Faults(nil)
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	return g, sent
}

// A document begins anew and is deleted, which is acknowledged; then an effect of before comes, of a higher version.
func TestFailoverEffectOfBeforeItBeganAnew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ deleted, behind bool }{{false, false}, {false, true}, {true, true}} { // before; behind the old effect
		g, sent := forgetsLate(t, c.deleted)
		var forcing atomic.Bool
		g.b.Faults(func(r *esapi.Request) estest.Fault {
			if r.Method == "PUT" && r.Path == "/books/_settings" {
				forcing.Store(true)
				return estest.Fault{Status: 503}
			}
			return estest.Fault{}
		})
		g.must("PUT", "/books/_doc/1", `{"n":2}`) // version 1
		g.until("it is being forced", forcing.Load)
		if c.behind {
			beside(t, g.a, "DELETE", "/books/_doc/1", "")
		} else if v := g.must("DELETE", "/books/_doc/1", "").Get("_version").Int(); v != 2 {
			t.Fatal(v)
		}
		g.b.Faults(nil)
		g.until("it is deleted there, and what did that has come to its end", func() bool {
			return at(g.b, "1") == nil && g.worker("books").oldest.Load() == 0
		})
		g.a.Down(true)
		journalLate(t, g.journal, &record{Kind: kindEffect, From: "a", Epoch: 1, Index: "books", ID: "1", Version: 9, Sent: sent, Source: []byte(`{"n":7}`)})
		if c.behind {
			g.lateDeletion("books", "1", 2)
		}
		g.deletedStays()
	}
}

// The effect of before has been read when it becomes known that the document began anew.
func TestFailoverEffectOfBeforeWasRead(t *testing.T) {
	t.Parallel()
	g, sent := forgetsLate(t, false, func(c *Config) { c.BatchDocs = 1 })
	var goesOn, forcing, dies atomic.Bool
	var bulks atomic.Int32
	deleted := make(chan struct{})
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		switch {
		case strings.HasSuffix(r.Path, "/_bulk"):
			bulks.Add(1)
			for end := time.Now().Add(soon); !goesOn.Load() && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			g.a.Down(dies.Load())
		case r.Method == "PUT" && r.Path == "/books/_settings" && !dies.Load():
			forcing.Store(true)
			select { // when it is tried again the master dies
			case <-deleted:
			case <-time.After(soon):
			}
			return estest.Fault{Status: 503}
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/1", `{"n":2}`) // version 1
	g.until("it is being written", func() bool { return bulks.Load() > 0 })
	before := g.latest("books")
	time.Sleep(2 * time.Millisecond) // which is in ms
	journalLate(t, g.journal, &record{Kind: kindEffect, From: "a", Epoch: 1, Index: "books", ID: "1", Version: 9, Sent: sent, Source: []byte(`{"n":7}`)})
	g.until("it is read", func() bool { return g.latest("books") > before })
	goesOn.Store(true)
	g.until("the other is being forced", forcing.Load)
	if v := g.must("DELETE", "/books/_doc/1", "").Get("_version").Int(); v != 2 {
		t.Fatal(v)
	}
	dies.Store(true)
	close(deleted)
	g.deletedStays()
}

// Of two writes the first one is sent once more, as it has a key twice, and is refused last.
func TestFailoverRefusedInAnotherOrder(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87, func(c *Config) {
		c.Failover, c.MaxRecord = 300*time.Millisecond, 400
	}, doubting)
	g.b.ForgetsAtOnce()
	path := g.path("books", "1")
	for range 5 {
		g.must("PUT", path, `{"n":1}`)
	}
	g.must("DELETE", path, "")
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.later() // the deletion is in doubt no more
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	g.r.applier.setPaused(true)
	g.must("PUT", path, `{"n":2,"n":3}`)
	g.must("PUT", path, `{"n":4}`)
	g.a.Down(true)
	g.r.applier.setPaused(false)
	g.until("the follower takes over", g.master("b"))
	if d := at(g.b, "1"); d == nil || d.Source != `{"n":4}` {
		t.Errorf("an acknowledged write is not there: %+v", d)
	}
}

// A deletion and a write behind it are in a load. The follower carries out the deletion and says that it is busy for it.
func TestFailoverBusyForADeletion(t *testing.T) {
	t.Parallel()
	g := newFailing(t, doubting)
	g.b.ForgetsAtOnce()
	for range 5 {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	var told atomic.Bool
	goOn := g.gathers(func(r *esapi.Request) estest.Fault {
		if !strings.HasSuffix(r.Path, "_bulk") || !strings.Contains(string(r.Body), `"delete"`) || told.Swap(true) {
			return estest.Fault{}
		}
		return estest.Fault{Change: func(answer []byte) []byte {
			s := strings.ReplaceAll(string(answer), `"status":200`, `"status":429`)
			return []byte(strings.ReplaceAll(s, `"result":"deleted"`, `"error":{"type":"es_rejected_execution_exception","reason":"busy"}`))
		}}
	})
	g.must("DELETE", "/books/_doc/1", "")
	g.later() // it leaves no doubt any more
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	g.must("PUT", "/books/_doc/1", `{"n":2}`)
	g.a.Down(true)
	goOn()
	g.until("the follower takes over", g.master("b"))
	if d := at(g.b, "1"); !told.Load() || d == nil || d.Source != `{"n":2}` {
		t.Errorf("told %v: an acknowledged write is not there: %+v", told.Load(), d)
	}
	g.a.Down(false)
	g.rejoined()
}

// worker is that of an index.
func (g *rig) worker(index string) *worker {
	a := g.r.applier
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[g.journal.Partition(index)]
}

// latest is when the last effect that was read for an index was journaled.
func (g *rig) latest(index string) int64 {
	d := g.worker(index).doubts
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.latest
}

// gathers has what is written from now on be applied in one load, when goOn is called: one document keeps the others waiting.
func (g *rig) gathers(then func(*esapi.Request) estest.Fault) (goOn func()) {
	var on, underWay atomic.Bool
	on.Store(true)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if on.Load() && strings.Contains(string(r.Body), "the one that waits") {
			underWay.Store(true)
			return estest.Fault{Status: 503}
		}
		return then(r)
	})
	g.must("PUT", "/books/_doc/waits", `{"text":"the one that waits"}`)
	g.until("it is on its way", underWay.Load)
	return func() { on.Store(false) }
}

// withDeleted makes a rig with a document that was deleted under version 6.
func withDeleted(t *testing.T) *rig {
	g := newFailing(t)
	g.b.ForgetsAtOnce()
	for range 5 {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	g.must("DELETE", "/books/_doc/1", "")
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	return g
}

// The clock was set back between a write and the deletion behind it.
func TestFailoverClockSetBack(t *testing.T) {
	t.Parallel()
	g := withDeleted(t)
	g.a.Down(true)
	journalLate(t, g.journal, &record{Kind: kindEffect, From: "a", Epoch: 1, Index: "books", ID: "1", Version: 5, Sent: time.Now().Add(time.Minute).UnixMilli(), Source: []byte(`{"n":7}`)})
	g.deletedStays()
}

// A write that is surely later is forced, also if a change that is to be read back stands before it in its load.
func TestFailoverBehindWhatIsReadBack(t *testing.T) {
	t.Parallel()
	g := withDeleted(t)
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	goOn := g.gathers(func(*esapi.Request) estest.Fault { return estest.Fault{} })
	g.must("PUT", "/books/_doc/1", big)
	g.must("PUT", "/books/_doc/1", `{"n":2}`)
	g.a.Down(true)
	goOn()
	g.until("the follower takes over", g.master("b"))
	if d := at(g.b, "1"); d == nil || d.Source != `{"n":2}` {
		t.Errorf("an acknowledged write is not there: %+v", d)
	}
	g.a.Down(false)
	g.rejoined()
	g.noDeadLetters()
}
