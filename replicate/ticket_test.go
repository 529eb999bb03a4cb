package replicate

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// busy is a journal whose buffers are full for as many intents as left says.
type busy struct {
	journal.Journal
	left *atomic.Int64
}

func (j busy) Append(r journal.Record, done func(journal.Position, error)) error {
	if strings.Contains(string(r.Value), `"kind":"intent"`) && j.left.Add(-1) >= 0 {
		return journal.ErrBusy
	}
	return j.Journal.Append(r, done)
}

// A burst of writes waits for the journal's buffers: nothing was wrong with it.
func TestIntentsWaitForRoom(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	g := newRig(t, v717, v87)
	g.beforeOpen = func(c *Config) { c.Journal = busy{c.Journal, &left} }
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
