package replicate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

func TestQuiet(t *testing.T) {
	var q quiet
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	leave, err := q.enter(t.Context(), []string{"books", "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := q.hold(soon, "books"); err == nil {
		t.Error("held while it is written")
	}
	leave()
	holding, release, err := q.hold(t.Context(), "books")
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, indices := range [][]string{{"books"}, {"orders", "books"}} {
		if _, err := q.enter(soon, indices); err == nil {
			t.Errorf("%v are written while books is held", indices)
		}
	}
	for ctx, indices := range map[context.Context][]string{t.Context(): {"orders"}, holding: {"books"}} {
		leave, err := q.enter(ctx, indices)
		if err != nil {
			t.Errorf("%v: %v", indices, err)
			continue
		}
		leave()
	}
	entered := make(chan error)
	go func() {
		_, err := q.enter(t.Context(), []string{"books"})
		entered <- err
	}()
	release()
	if err := <-entered; err != nil {
		t.Error(err)
	}
}

// Nothing else is written to an index while it forgets deletions at once.
func TestNothingIsWrittenWhileDeletionsAreForgotten(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	g.watch(func(ids []string) time.Duration {
		if len(ids) > 0 && ids[0] != "books/again" {
			return 60 * time.Millisecond // so that it would get there while deletions are forgotten
		}
		return 0
	})
	var mu sync.Mutex
	forgets, rounds := false, 0
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasSuffix(r.Path, "_settings") && r.Method == "PUT":
			if forgets = strings.Contains(string(r.Body), forgetAtOnce); forgets {
				rounds++
			}
		case strings.HasSuffix(r.Path, "_bulk") && forgets:
			if ids := bulkIDs(r.Body); len(ids) != 1 || ids[0] != "books/again" {
				t.Errorf("%v are written while deletions are forgotten", ids)
			}
		}
		return estest.Fault{}
	})
	for range 5 {
		g.must("PUT", "/books/_doc/again", `{"n":0}`)
	}
	g.drained()
	g.paused(func() {
		g.must("DELETE", "/books/_doc/again", "")
		g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
		g.must("PUT", "/books/_doc/again", `{"n":1}`)
		for i := range 40 {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
		}
	})
	g.equal()
	if rounds == 0 {
		t.Error("no deletion was forgotten")
	}
	g.noDeadLetters()
}

// A setting that could not be restored at once is restored all the same.
func TestMemoryIsRestoredLater(t *testing.T) {
	g := newRig(t, v717, v87)
	for range 5 {
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
	}
	g.drained()
	var failed atomic.Bool
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" && strings.HasSuffix(r.Path, "_settings") && !strings.Contains(string(r.Body), forgetAtOnce) && failed.CompareAndSwap(false, true) {
			return estest.Fault{Status: 503}
		}
		return estest.Fault{}
	})
	g.must("DELETE", "/books/_doc/1", "")
	g.drained()
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	g.must("PUT", "/books/_doc/1", `{"n":10}`)
	g.equal()
	wait(t, func() bool { return g.b.Setting("books", "gc_deletes") != "0s" })
	if !failed.Load() {
		t.Error("nothing had to be restored")
	}
}
