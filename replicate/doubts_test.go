package replicate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// late journals an effect of the master behind all that is there.
func late(t *testing.T, j journal.Journal, index, id string, version int64) {
	t.Helper()
	journalLate(t, j, &record{Kind: kindEffect, From: "a", Epoch: 1, Index: index, ID: id, Version: version, Source: []byte(`{"n":7}`)})
}

func journalLate(t *testing.T, j journal.Journal, rec *record) {
	t.Helper()
	durable := make(chan error, 1)
	if err := j.Append(journal.Record{Key: rec.key(), Value: rec.encode()}, func(_ journal.Position, err error) { durable <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-durable; err != nil {
		t.Fatal(err)
	}
}

func (g *rig) late(index, id string, version int64) { late(g.t, g.journal, index, id, version) }

// lateDeletion is late of a deletion.
func (g *rig) lateDeletion(index, id string, version int64) {
	g.t.Helper()
	journalLate(g.t, g.journal, &record{Kind: kindEffect, From: "a", Epoch: 1, Index: index, ID: id, Version: version, Deleted: true})
}

// forget has the follower forget deletions in an index, as another gateway does that forces a
// document.
func (g *rig) forget(index string) {
	g.t.Helper()
	for _, value := range []string{forgetAtOnce, "null"} {
		if err := putMemory(g.t.Context(), cluster.New("b", g.b, cluster.Options{}), index, value); err != nil {
			g.t.Fatal(err)
		}
	}
}

// An effect of an index that was deleted, and of which the worker has read the deletion before
// it was restarted, does not get into the new index.
func TestIndexDeletedBeforeARestart(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books", `{}`)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	g.restart()
	g.late("books", "1", 1)
	g.equal()
	g.restart()
	g.late("books", "1", 2)
	g.equal()
	g.noDeadLetters()
}

// The same if another process has read the deletion.
func TestIndexDeletedBeforeARebalance(t *testing.T) {
	t.Parallel()
	slow := func(c *Config) { patient(c); c.WriteTimeout = time.Minute }
	f := newFleet(t, 1, slow)
	send := func(method, target, body string) {
		t.Helper()
		res, answer, err := sendTo(t.Context(), f.gates[0].Replicator, method, target, body)
		if err != nil || res.Status >= 300 {
			t.Fatalf("%s %s: %s %v", method, target, answer, err)
		}
	}
	send("PUT", "/books/_doc/1", `{"n":1}`)
	send("PUT", "/orders/_doc/1", `{"n":1}`)
	send("DELETE", "/books", "")
	send("DELETE", "/orders/_doc/1", "")
	send("PUT", "/books", `{}`)
	send("PUT", "/books/_doc/2", `{"n":1}`)
	f.check(map[string]bool{"2": true})
	other := f.start(slow)
	// kfake waits a minute for a member that dies while the partitions are given out anew.
	wait(t, func() bool {
		other.applier.mu.Lock()
		defer other.applier.mu.Unlock()
		return len(other.applier.workers) > 0
	})
	if err := f.gates[0].drain(t.Context(), soon); err != nil {
		t.Fatal(err)
	}
	f.gates[0].end()
	f.b.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	late(t, other.journal, "books", "1", 1)
	late(t, other.journal, "orders", "1", 1)
	if err := other.drain(t.Context(), soon); err != nil {
		t.Fatal(err)
	}
	f.check(map[string]bool{"2": true})
}

// An older effect of a document whose deletion the follower has forgotten does not bring it
// back: because a document of its index was forced, here or by another gateway, or because so
// much time has gone by.
func TestDeletionsThatTheFollowerHasForgotten(t *testing.T) {
	for name, forget := range map[string]func(g *rig){
		"forced": func(g *rig) {
			g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
			g.must("PUT", "/books/_doc/again", `{"n":1}`)
			g.equal()
			if g.r.Counts().Forced == 0 {
				t.Error("nothing was forced")
			}
		},
		"forced elsewhere":                  func(g *rig) { g.forget("books") },
		"forced elsewhere after a restart":  func(g *rig) { g.restart(); g.forget("books") },
		"forced elsewhere before a restart": func(g *rig) { g.forget("books"); g.restart() },
		"after an outage": func(g *rig) {
			g.restart()
			g.b.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
		},
		"after two restarts": func(g *rig) { g.restart(); g.restart(); g.forget("books") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, v717, v87)
			g.b.ForgetsAtOnce()
			for range 5 {
				g.must("PUT", "/books/_doc/1", `{"n":1}`)
				g.must("PUT", "/books/_doc/again", `{"n":1}`)
			}
			g.must("DELETE", "/books/_doc/1", "")
			g.must("DELETE", "/books/_doc/again", "")
			g.equal()
			forget(g)
			g.late("books", "1", 5)
			g.equal()
			g.noDeadLetters()
		})
	}
}

// An effect of a document from before it began anew does not change it, be it a deletion or not, and
// whether the deletion was journaled before or not.
func TestEffectsOfBeforeADocumentBeganAnew(t *testing.T) {
	for name, c := range map[string]struct {
		before func(g *rig)
		late   func(g *rig)
	}{
		"the deletion": {
			func(g *rig) { g.beside(g.a, "DELETE", "/books/_doc/1", "") },
			func(g *rig) { g.lateDeletion("books", "1", 6) },
		},
		"a write, and the deletion later": {
			func(g *rig) { g.beside(g.a, "DELETE", "/books/_doc/1", "") },
			func(g *rig) { g.late("books", "1", 5); g.lateDeletion("books", "1", 6) },
		},
		"an older deletion": {
			func(g *rig) {
				g.must("DELETE", "/books/_doc/1", "")
				g.must("PUT", "/books/_doc/1", `{"n":1}`)
				g.must("DELETE", "/books/_doc/1", "")
			},
			func(g *rig) { g.lateDeletion("books", "1", 6) },
		},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restart ", restart), func(t *testing.T) {
				t.Parallel()
				g := newRig(t, v717, v87)
				for range 5 {
					g.must("PUT", "/books/_doc/1", `{"n":1}`)
				}
				c.before(g)
				g.drained()
				g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
				g.must("PUT", "/books/_doc/1", `{"n":2}`)
				g.equal()
				if g.r.Counts().Forced == 0 {
					t.Error("nothing was forced")
				}
				if restart {
					g.restart()
				}
				c.late(g)
				g.equal()
				g.noDeadLetters()
			})
		}
	}
}

// What nothing was deleted of is not read back, also after a restart; and neither is a document
// that was written again.
func TestNothingIsReadBackWithoutDoubt(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/orders/_doc/1", `{"n":1}`)
	g.must("DELETE", "/orders/_doc/1", "")
	g.must("PUT", "/orders/_doc/1", `{"n":2}`)
	g.must("PUT", "/orders/_doc/2", `{"n":1}`)
	g.equal()
	if n := g.r.Counts().ReadBacks; n != 0 {
		t.Errorf("%d documents were read back", n)
	}
	g.restart()
	for i := range 20 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":2}`)
	}
	g.equal()
	if n := g.r.Counts().ReadBacks; n != 0 {
		t.Errorf("%d documents were read back after a restart", n)
	}
}

// A document that was deleted without an answer is read back as soon as that is due. Effects of
// it that are still on their way then, in another partition, do not bring it back.
func TestReadBackBeforeOlderEffects(t *testing.T) {
	g := newRig(t, v717, v87)
	g.watch(func(ids []string) time.Duration {
		if len(ids) > 0 && ids[0] == "books/1" {
			return 300 * time.Millisecond
		}
		return 0
	})
	alias := "a0"
	for n := 1; g.journal.Partition(alias) == g.journal.Partition("books"); n++ {
		alias = fmt.Sprint("a", n)
	}
	g.must("PUT", "/books", fmt.Sprintf(`{"aliases":{%q:{}}}`, alias))
	g.drained()
	g.paused(func() {
		g.must("PUT", "/"+alias+"/_doc/1", `{"n":1}`)
		g.a.Faults(only("DELETE", "/"+alias+"/_doc/1", estest.Fault{After: errors.New("no answer")}))
		if _, _, err := g.send("DELETE", "/"+alias+"/_doc/1", ""); err == nil {
			t.Error("there was an answer")
		}
		g.a.Faults(nil)
	})
	g.drained() // what is to be looked at once more is in the journal
	g.equal()
	g.noDeadLetters()
}

// A fullJournal takes no documents that are to be looked at once more: the first few, with an error.
type fullJournal struct {
	journal.Journal
	err  error
	left atomic.Int32
}

func (j *fullJournal) Append(r journal.Record, done func(journal.Position, error)) error {
	if strings.Contains(string(r.Value), `"read":true`) && j.left.Add(-1) >= 0 {
		return fmt.Errorf("%w: it is a test", j.err)
	}
	return j.Journal.Append(r, done)
}

// The same if the journal has no room at that moment, or has none until something is applied.
func TestReadBackBeforeOlderEffectsWithAFullJournal(t *testing.T) {
	for name, err := range map[string]error{"for a moment": journal.ErrBusy, "on disk": journal.ErrFull} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, v717, v87)
			g.b.ForgetsAtOnce()
			var j *fullJournal
			g.beforeOpen = func(c *Config) { j = &fullJournal{Journal: c.Journal, err: err}; c.Journal = j }
			g.restart()
			g.must("PUT", "/books", `{}`)
			for range 5 {
				g.must("PUT", "/books/_doc/1", `{"n":1}`)
			}
			g.equal()
			j.left.Store(2)
			g.a.Faults(only("DELETE", "/books/_doc/1", estest.Fault{After: errors.New("no answer")}))
			if _, _, err := g.send("DELETE", "/books/_doc/1", ""); err == nil {
				t.Error("there was an answer")
			}
			g.a.Faults(nil)
			g.drained()
			if j.left.Load() > 1 {
				t.Error("nothing was to be looked at once more")
			}
			g.forget("books")
			g.late("books", "1", 5)
			g.equal()
			g.noDeadLetters()
		})
	}
}

// An index of which nobody knows whether it was deleted: what comes late of it does not get into the
// next one of that name, whether that was there already when it was looked for or not.
func TestIndexDeletedWithoutAnAnswer(t *testing.T) {
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprint("made before ", before), func(t *testing.T) {
			t.Parallel()
			g := newRig(t, v717, v87, func(c *Config) {
				if before {
					c.Grace = time.Second
				}
			})
			for range 5 {
				g.must("PUT", "/books/_doc/1", `{"n":1}`)
			}
			g.equal()
			g.a.Faults(only("DELETE", "/books", estest.Fault{After: errors.New("no answer")}))
			if _, _, err := g.send("DELETE", "/books", ""); err == nil {
				t.Error("there was an answer")
			}
			g.a.Faults(nil)
			if !before {
				g.drained()
			}
			g.must("PUT", "/books/_doc/2", `{"n":1}`)
			g.drained() // what is to be doubted is in the journal
			g.drained()
			waitFor(t, func() bool { return g.r.Status(t.Context()).ResyncWaiting == 0 })
			g.equal()
			g.late("books", "1", 5)
			g.equal()
			g.restart()
			g.late("books", "1", 6)
			g.equal()
			g.noDeadLetters()
		})
	}
}

// A row that nobody can read does not stop its partition: nothing of its index is believed for a while.
func TestABrokenRowOfDeletions(t *testing.T) {
	g := newRig(t, v717, v87)
	for range 5 {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	if err := g.journal.Table("deletions").Put(t.Context(), "books", []byte(`{"index":`)); err != nil {
		t.Fatal(err)
	}
	g.restart()
	g.late("books", "1", 5)
	g.equal()
	g.noDeadLetters()
}

// More deletions than are remembered one by one are remembered as one: then effects are read
// back for a while. What is over is forgotten, also in the table.
func TestManyDeletions(t *testing.T) {
	g := newRig(t, v87, v87)
	ctx, table := t.Context(), g.journal.Table("test")
	now, window := time.Now(), time.Minute
	all := func(string) bool { return true }
	rows := func() (n int) {
		if err := table.Scan(ctx, func(string, []byte) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	doc := func(index, id string, version int64) *record {
		return &record{Kind: kindEffect, Index: index, ID: id, Version: version}
	}
	d := newDoubts(table, 3, window, 0)
	for i := range maxDoubts + 10 {
		if err := d.indexDeleted(ctx, fmt.Sprint("index-", i), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := rows(); n != maxDoubts+1 || len(d.rows) != n {
		t.Errorf("%d rows, %d known", n, len(d.rows))
	}
	again := newDoubts(table, 3, window, 0)
	if err := again.load(ctx, false, all, now, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*doubts{d, again} {
		for _, name := range []string{"index-0", fmt.Sprint("index-", maxDoubts+9), "another"} {
			if is, _ := d.doubtful(doc(name, "1", 1), now.Add(time.Second)); !is {
				t.Errorf("%s is forgotten", name)
			}
			if is, _ := d.doubtful(doc(name, "1", 1), now.Add(2*window)); is {
				t.Errorf("%s is remembered for ever", name)
			}
		}
	}
	other := newDoubts(table, 4, window, 0)
	if err := other.load(ctx, true, func(string) bool { return false }, now, nil); err != nil || len(other.rows) > 0 {
		t.Errorf("%v, and %d rows of another partition", err, len(other.rows))
	}
	for at := now; len(d.rows) > 0; at = at.Add(2 * window) {
		before := len(d.rows)
		if d.sweep(ctx, at.Add(2*window)); len(d.rows) != max(0, before-maxSwept) {
			t.Fatalf("%d of %d are left", len(d.rows), before)
		}
	}
	if n := rows(); n > 0 {
		t.Errorf("%d rows are left", n)
	}

	for i := range maxTombs + 2 {
		deleted := doc("books", fmt.Sprint(i), 5)
		deleted.Deleted = true
		if err := d.docDeleted(ctx, deleted, 5, now.Add(time.Duration(i/10)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.docs) != maxTombs || len(d.order) != maxTombs {
		t.Errorf("%d and %d are remembered", len(d.docs), len(d.order))
	}
	last := fmt.Sprint(maxTombs)
	for _, c := range []struct {
		rec   *record
		after time.Duration
		want  bool
	}{
		{doc("books", "0", 4), 10 * time.Second, true}, // it was dropped
		{doc("books", "new", 1), 10 * time.Second, true},
		{doc("books", last, 5), window + time.Second, true},
		{doc("books", last, 6), window + time.Second, false},
		{doc("books", last, 4), window + 10*time.Second, false},
		{doc("books", "new", 1), window + time.Second, false},
		{doc("orders", last, 1), 10 * time.Second, false},
		{&record{Kind: kindEffect, Index: "books", ID: last, Version: 4, Deleted: true}, 10 * time.Second, true},
		{&record{Kind: kindEffect, Index: "books", ID: last, Version: 6, Deleted: true}, 10 * time.Second, false},
		{&record{Kind: kindEffect, Index: "books", ID: "0", Version: 4, Deleted: true}, 10 * time.Second, false}, // many deletions go on fast
	} {
		if got, _ := d.doubtful(c.rec, now.Add(c.after)); got != c.want {
			t.Errorf("%+v after %s: %v", c.rec, c.after, got)
		}
	}
}

// What is surely later than a deletion that stands before it: in the next epoch, or sent when the deletion was in the
// journal, as far as clocks tell. That its document began anew makes it no earlier.
func TestDoubtsAreSure(t *testing.T) {
	g := newRig(t, v87, v87)
	ctx, now := t.Context(), time.Now().Truncate(time.Millisecond)
	for i, c := range []struct {
		of          string
		rec         record
		doubt, sure bool
	}{
		{"deleted", record{Version: 6, Epoch: 2, Sent: now.UnixMilli()}, false, true},
		{"deleted", record{Version: 5, Epoch: 2, Sent: now.UnixMilli()}, true, false},
		{"deleted", record{Version: 5, Epoch: 2, Sent: now.Add(time.Second).UnixMilli()}, true, false},
		{"deleted", record{Version: 5, Epoch: 2, Sent: now.Add(time.Second + time.Millisecond).UnixMilli()}, true, true},
		{"deleted", record{Version: 5, Epoch: 2, Sent: now.Add(11 * time.Second).UnixMilli()}, true, true}, // clocks may differ by a second
		{"deleted", record{Version: 5, Epoch: 2, Sent: now.Add(12 * time.Second).UnixMilli()}, true, false},
		{"deleted", record{Version: 5, Epoch: 2}, true, false}, // an older gateway's
		{"deleted", record{Version: 1, Epoch: 3}, true, true},
		{"deleted", record{Version: 5, Deleted: true, Epoch: 2, Sent: now.UnixMilli()}, true, false},
		{"maybe deleted", record{Version: 9, Epoch: 2, Sent: now.UnixMilli()}, true, false},
		{"maybe deleted", record{Version: 1, Epoch: 2, Sent: now.Add(5 * time.Second).UnixMilli()}, true, true},
		{"maybe deleted", record{Version: 1, Epoch: 3}, true, false},
		{"anew", record{Version: 1, Epoch: 2, Sent: now.UnixMilli()}, true, false},
		{"anew", record{Version: 1, Epoch: 2, Sent: now.Add(5 * time.Second).UnixMilli()}, true, true},
		{"deleted, anew", record{Version: 1, Epoch: 2, Sent: now.UnixMilli()}, true, false},
		{"deleted, anew", record{Version: 9, Epoch: 2, Sent: now.UnixMilli()}, true, false},
		{"deleted, anew", record{Version: 1, Epoch: 3, Sent: now.UnixMilli()}, true, false},
		{"deleted, anew", record{Version: 1, Epoch: 2, Sent: now.Add(5 * time.Second).UnixMilli()}, true, true},
		{"", record{Version: 1, Epoch: 2}, false, true},
	} {
		d := newDoubts(g.journal.Table(fmt.Sprint("test-", i)), 3, time.Minute, time.Second)
		if err := d.load(ctx, false, func(string) bool { return true }, now, nil); err != nil {
			t.Fatal(err)
		}
		deleted := &record{Kind: kindEffect, Index: "books", ID: "1", Epoch: 2, Deleted: true}
		var err error
		switch {
		case strings.HasPrefix(c.of, "deleted"):
			err = d.docDeleted(ctx, deleted, 5, now)
		case c.of == "maybe deleted":
			err = d.docDeleted(ctx, deleted, anyVersion, now)
		}
		if strings.HasSuffix(c.of, "anew") {
			err = errors.Join(err, d.docAnew(ctx, "books", "1", now))
		}
		if err != nil {
			t.Fatal(err)
		}
		rec := c.rec
		rec.Index, rec.ID = "books", "1"
		if doubt, sure := d.doubtful(&rec, now.Add(10*time.Second)); doubt != c.doubt || sure != c.sure {
			t.Errorf("%s, %+v: in doubt %v, sure %v", c.of, c.rec, doubt, sure)
		}
		if doubt, sure := d.doubtful(&rec, now.Add(time.Minute+10*time.Second)); doubt || !sure {
			t.Errorf("%s, %+v, long after: in doubt %v, sure %v", c.of, c.rec, doubt, sure)
		}
		other := &record{Kind: kindEffect, Index: "books", ID: "2", Epoch: 2, Deleted: true}
		if err := d.docDeleted(ctx, other, 5, now.Add(2*time.Minute)); err != nil || len(d.docs) != 1 || len(d.order) != 1 {
			t.Errorf("%s: %v, %d documents and %d notes of them are kept", c.of, err, len(d.docs), len(d.order))
		}
	}
}

// A document that was forced while an older change of it was under way is read back, also if
// that fails at first, or another document of the same bulk has to be tried again.
func TestForcedWhileUnderWay(t *testing.T) {
	for _, trouble := range []string{"none", "reading back fails", "another is busy"} {
		t.Run(trouble, func(t *testing.T) {
			g := newRig(t, v717, v87)
			g.must("PUT", "/books/_doc/1", `{"n":1}`)
			g.must("PUT", "/books/_doc/2", `{"n":1}`)
			g.drained()
			var forced, failed atomic.Bool
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				switch {
				case strings.HasSuffix(r.Path, "_bulk") && strings.Contains(string(r.Body), `"n":7`) && !forced.Swap(true):
					if err := g.r.applier.beganAnew(t.Context(), []cluster.DocID{{Index: "books", ID: "1"}}); err != nil {
						t.Error(err)
					}
					if trouble == "another is busy" {
						return estest.Fault{Change: func(b []byte) []byte {
							s := string(b)
							i := strings.LastIndex(s, `"status":`)
							return []byte(s[:i] + `"status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}` + s[i+len(`"status":200`):])
						}}
					}
				case forced.Load() && trouble == "reading back fails" && strings.HasSuffix(r.Path, "_mget") && !failed.Swap(true):
					return estest.Fault{Before: errors.New("connection reset")}
				}
				return estest.Fault{}
			})
			g.paused(func() {
				g.late("books", "1", 9)
				if trouble == "another is busy" {
					g.late("books", "2", 9)
				}
			})
			g.equal()
		})
	}
}

// What comes again after a kill, because a bulk that takes long has it, needs what was
// remembered of deletions, however much was read and committed since.
func TestRowsOfDeletionsStayForWhatComesAgain(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87, smallBulks, doubting)
	var seen, freed [2]chan struct{}
	var see, free [2]func()
	for i := range seen {
		seen[i], freed[i] = make(chan struct{}), make(chan struct{})
		see[i], free[i] = sync.OnceFunc(func() { close(seen[i]) }), sync.OnceFunc(func() { close(freed[i]) })
		t.Cleanup(free[i])
	}
	g.watch(func(ids []string) time.Duration {
		for i, id := range []string{"books/before", "books/held"} {
			if slices.Contains(ids, id) {
				see[i]()
				<-freed[i]
			}
		}
		return 0
	})
	bounds := func() journal.Bounds {
		t.Helper()
		all, err := g.journal.Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all[g.journal.Partition("books")]
	}
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books/_doc/new", `{"n":1}`)
	g.drained()
	g.must("PUT", "/books/_doc/before", `{"n":1}`)
	flies := func(i int) {
		t.Helper()
		select {
		case <-seen[i]:
		case <-time.After(soon):
			t.Fatal("it is not sent")
		}
	}
	flies(0)
	wait(t, func() bool { underway, _ := g.r.gate.counts(); return underway == 0 }) // also its records
	first := bounds().Next
	g.late("books", "1", 5)
	g.must("PUT", "/books/_doc/held", `{"n":1}`)
	g.later()
	for i := range 12 {
		g.must("PUT", fmt.Sprintf("/books/_doc/x%d", i), `{"n":1}`)
	}
	flies(1)
	free[0]()
	wait(t, func() bool { return bounds().Committed == first })
	time.AfterFunc(300*time.Millisecond, free[1])
	g.restart()
	g.equal()
}
