package journaltest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// RunShared tests a kind of journal that several processes may open at once.
func RunShared(t *testing.T, empty func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Opener)
	}{
		{"partitions are shared out and taken back", sharedOut},
		{"what is committed in Revoked is not delivered again", commitInRevoked},
		{"what a consumer leaves behind goes to the others", leftBehind},
		{"tables are seen by all", sharedTables},
		{"of those who swap the same value one succeeds, in all processes", sharedSwaps},
		{"what was swapped once can be swapped later by a process that begins anew", sharedSwapsLater},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // they mostly wait for heartbeats
			test.run(t, empty(t))
		})
	}
}

// owners checks that a partition has one owner at a time, whoever consumes.
type owners struct {
	mu     sync.Mutex
	owner  map[int32]string
	broken error
}

// owning is a Collector of one of several consumers. It commits what it has
// got, and takes its time to let go of a partition.
type owning struct {
	*Collector
	name   string
	owners *owners
	j      journal.Journal
	late   bool // commit in Revoked instead of in Deliver

	mu   sync.Mutex
	next map[int32]int64
}

func newOwning(name string, o *owners, j journal.Journal) *owning {
	return &owning{Collector: NewCollector(), name: name, owners: o, j: j, next: map[int32]int64{}}
}

func (h *owning) Assigned(p int32, next int64) {
	h.owners.mu.Lock()
	if other, taken := h.owners.owner[p]; taken && h.owners.broken == nil {
		h.owners.broken = fmt.Errorf("%s got partition %d, which %s still has", h.name, p, other)
	}
	h.owners.owner[p] = h.name
	h.owners.mu.Unlock()
	h.Collector.Assigned(p, next)
}

func (h *owning) Deliver(ctx context.Context, p int32, entries []journal.Entry) error {
	if err := h.Collector.Deliver(ctx, p, entries); err != nil {
		return err
	}
	next := entries[len(entries)-1].Offset + 1
	h.mu.Lock()
	h.next[p] = next
	h.mu.Unlock()
	if h.late {
		return nil
	}
	return h.j.Commit(ctx, p, next)
}

func (h *owning) Revoked(p int32) {
	time.Sleep(50 * time.Millisecond)
	h.mu.Lock()
	next := h.next[p]
	h.mu.Unlock()
	if h.late && next > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := h.j.Commit(ctx, p, next); err != nil {
			h.owners.mu.Lock()
			h.owners.broken = fmt.Errorf("%s: committing in Revoked: %w", h.name, err)
			h.owners.mu.Unlock()
		}
	}
	h.Collector.Revoked(p)
	h.owners.mu.Lock()
	delete(h.owners.owner, p)
	h.owners.mu.Unlock()
}

func (o *owners) check(t testing.TB) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		t.Fatal(o.broken)
	}
}

// until waits for something that no single Collector sees.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen within %s", what, limit)
		}
	}
}

// sharedOut has records appended all the time while consumers come and go.
func sharedOut(t *testing.T, o Opener) {
	a, b := open(t, o, Options{}), open(t, o, Options{})
	own := &owners{owner: map[int32]string{}}
	keys := keysOfAll(a)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var writer sync.WaitGroup
	appended := 0
	writer.Go(func() {
		for ; ctx.Err() == nil; appended++ {
			c, err := Start(a, keys[appended%len(keys)], fmt.Sprint(appended))
			if err != nil {
				t.Error(err)
				return
			}
			if ack := <-c; ack.Err != nil {
				t.Error(ack.Err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})

	ha, hb := newOwning("a", own, a), newOwning("b", own, b)
	all := len(keys)
	stopA := Consume(t, a, ha)
	ha.Until(t, "a has all", func() bool { return len(ha.Assignment()) == all })
	stopB := Consume(t, b, hb)
	until(t, "b has some", func() bool {
		na, nb := len(ha.Assignment()), len(hb.Assignment())
		return na > 0 && nb > 0 && na+nb == all
	})
	own.check(t)
	got := len(hb.Entries())
	hb.Wait(t, got+20)
	stopA(nil)
	hb.Until(t, "b has all", func() bool { return len(hb.Assignment()) == all })
	ha2 := newOwning("a2", own, a)
	stopA = Consume(t, a, ha2)
	ha2.Until(t, "a has some again", func() bool { return len(ha2.Assignment()) > 0 })
	got = len(ha2.Entries())
	ha2.Wait(t, got+20)
	cancel()
	writer.Wait()

	seen := map[journal.Position]string{}
	until(t, "all records", func() bool {
		clear(seen)
		for _, h := range []*owning{ha, hb, ha2} {
			for _, e := range h.Entries() {
				seen[e.Position] = string(e.Value)
			}
		}
		return len(seen) >= appended
	})
	total := len(ha.Entries()) + len(hb.Entries()) + len(ha2.Entries())
	t.Logf("%d records, %d deliveries", appended, total)
	if len(seen) != appended {
		t.Errorf("%d records were appended, %d positions delivered", appended, len(seen))
	}
	stopA(nil)
	stopB(nil)
	own.check(t)
}

func commitInRevoked(t *testing.T, o Opener) {
	a, b := open(t, o, Options{}), open(t, o, Options{})
	own := &owners{owner: map[int32]string{}}
	keys := keysOfAll(a)
	ha, hb := newOwning("a", own, a), newOwning("b", own, b)
	ha.late, hb.late = true, true
	stopA := Consume(t, a, ha)
	for i := range 5 * len(keys) {
		Append(t, a, keys[i%len(keys)], fmt.Sprint(i))
	}
	ha.Wait(t, 5*len(keys))
	stopB := Consume(t, b, hb)
	until(t, "b has some", func() bool { return len(hb.Assignment()) > 0 })
	stopA(nil)
	hb.Until(t, "b has all", func() bool { return len(hb.Assignment()) == len(keys) })
	for p, next := range hb.Assignment() {
		if next != 5 {
			t.Errorf("partition %d begins at %d, and 5 is committed", p, next)
		}
	}
	if n := len(hb.Entries()); n > 0 {
		t.Errorf("%d records were delivered again", n)
	}
	stopB(nil)
	own.check(t)
}

func leftBehind(t *testing.T, o Opener) {
	a, b := open(t, o, Options{}), open(t, o, Options{})
	keys := keysOfAll(a)
	ca, cb := NewCollector(), NewCollector() // they commit nothing
	stopA := Consume(t, a, ca)
	for i := range 3 * len(keys) {
		Append(t, b, keys[i%len(keys)], fmt.Sprint(i))
	}
	ca.Wait(t, 3*len(keys))
	stopB := Consume(t, b, cb)
	until(t, "b has some", func() bool { return len(cb.Assignment()) > 0 })
	closeJournal(t, a)
	stopA(journal.ErrClosed)
	cb.Wait(t, 3*len(keys))
	stopB(nil)
}

func sharedTables(t *testing.T, o Opener) {
	a, b := open(t, o, Options{}), open(t, o, Options{})
	ta, tb := a.Table("state"), b.Table("state")
	expect(t, get(t, tb, "epoch"), "(none)")
	for i := range 10 {
		put(t, ta, "epoch", fmt.Sprint(i))
		// Who has put something has seen what was put before.
		put(t, tb, "b is alive", "")
		expect(t, get(t, tb, "epoch"), fmt.Sprint(i))
	}
	if err := ta.Delete(timeout(t), "epoch"); err != nil {
		t.Fatal(err)
	}
	until(t, "b sees it without putting", func() bool { return get(t, tb, "epoch") == "(none)" })
}
