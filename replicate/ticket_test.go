package replicate

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// busy is a journal whose buffers are full for as many intents as left says.
type busy struct {
	journal.Journal
	left *atomic.Int64
	free *atomic.Int64 // these are taken before; may be nil
}

func (j busy) Append(r journal.Record, done func(journal.Position, error)) error {
	intent := strings.Contains(string(r.Value), `"kind":"intent"`)
	if intent && j.free != nil && j.free.Add(-1) >= 0 {
		return j.Journal.Append(r, done)
	}
	if intent && j.left.Add(-1) >= 0 {
		return journal.ErrBusy
	}
	return j.Journal.Append(r, done)
}

// A burst of writes waits for the journal's buffers: nothing was wrong with it.
func TestIntentsWaitForRoom(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	g := newRig(t, v717, v87, func(c *Config) { c.JournalTimeout = 5 * time.Second })
	g.beforeOpen = func(c *Config) { c.Journal = busy{c.Journal, &left, nil} }
	g.restart()
	left.Store(5)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	if left.Load() >= 0 {
		t.Error("the intent did not wait")
	}
	left.Store(3)
	g.must("POST", "/_bulk", `{"index":{"_index":"books","_id":"2"}}`+"\n{}\n")
	left.Store(1 << 40)
	g.fails(503, "PUT", "/books/_doc/3", `{"n":1}`)
	left.Store(0)
	g.must("PUT", "/books/_doc/3", `{"n":3}`)
	g.equal()
	g.noDeadLetters()
}

// A journal that is busy is not down: nothing is written without it, and nothing is owed.
func TestBusyIsNotDown(t *testing.T) {
	t.Parallel()
	var left, free atomic.Int64
	g := newRig(t, v717, v87, func(c *Config) {
		c.AcceptDown, c.OwedFile, c.IntentFirst, c.JournalTimeout = true, filepath.Join(t.TempDir(), "owed"), true, 8*time.Second
	})
	g.beforeOpen = func(c *Config) { c.Journal = busy{c.Journal, &left, &free} }
	g.restart()
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	nothing := func(what string) {
		t.Helper()
		if n, accepted, _ := g.r.owed.count(); n != 0 || accepted != 0 || len(g.a.Docs()) != 1 {
			t.Errorf("%s: %d are owed, %d were accepted, the master has %d documents", what, n, accepted, len(g.a.Docs()))
		}
	}
	left.Store(1 << 40)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := sendTo(ctx, g.r, "PUT", "/books/_doc/1", `{}`); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	nothing("the client went away")
	g.fails(503, "PUT", "/books/_doc/1", `{}`)
	nothing("the journal stayed busy")
	free.Store(1)
	g.fails(503, "POST", "/books/_bulk", strings.Repeat("{\"index\":{}}\n{}\n", intentDocs+1))
	nothing("the second intent found it busy")
	left.Store(0)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal() // no intent is left open
	g.noDeadLetters()
}
