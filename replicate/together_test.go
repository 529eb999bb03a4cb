package replicate

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A halting journal does not take, or does not prove, one of the chunks that effects come in.
type halting struct {
	journal.Journal
	fails  int64 // which one
	taken  bool  // but nobody can tell whether it is durable
	chunks *atomic.Int64
	marks  *atomic.Int64 // done marks
}

// AppendAll implements journal.Batcher.
func (h halting) AppendAll(records []journal.Record, done func(error)) error {
	if gjson.GetBytes(records[0].Value, "kind").Str == kindDone {
		h.marks.Add(1)
		return h.Journal.(journal.Batcher).AppendAll(records, done)
	}
	n := h.chunks.Add(1)
	if n == h.fails && !h.taken {
		return journal.ErrUnavailable
	}
	return h.Journal.(journal.Batcher).AppendAll(records, func(err error) {
		if n == h.fails {
			err = journal.ErrUnavailable
		}
		done(err)
	})
}

// A bulk of which one chunk of effects did not get into the journal is not done: its
// documents are read back.
func TestAChunkOfEffectsIsLost(t *testing.T) {
	for _, taken := range []bool{false, true} {
		for fails := range int64(4) {
			t.Run(fmt.Sprint(fails, taken), func(t *testing.T) {
				var chunks, marks atomic.Int64
				g := newRig(t, v717, v87)
				g.beforeOpen = func(c *Config) {
					c.Journal = halting{c.Journal, fails, taken, &chunks, &marks}
				}
				g.restart()
				var body strings.Builder
				for i := range 300 {
					fmt.Fprintf(&body, `{"index":{"_index":"books-%d","_id":"%d"}}`+"\n"+`{"n":%d,"text":%q}`+"\n", i%3, i, i, strings.Repeat("x", 4000))
				}
				g.must("POST", "/_bulk", body.String())
				g.equal()
				g.noDeadLetters()
				if n := chunks.Load(); n < 3 && n != fails {
					t.Errorf("%d chunks", n)
				}
				if n, want := marks.Load(), int64(1); fails == 0 && n != want || fails > 0 && n != 0 {
					t.Errorf("%d done marks of a bulk that is without its chunk %d", n, fails)
				}
			})
		}
	}
}

// A narrow journal has room for some records at a time.
type narrow struct {
	journal.Journal
	most int
	seen *atomic.Int64 // chunks that were too large
}

// AppendAll implements journal.Batcher.
func (n narrow) AppendAll(records []journal.Record, done func(error)) error {
	if len(records) > max(n.most, 1) { // a single one always finds room in the end
		n.seen.Add(1)
		return journal.ErrBusy
	}
	return n.Journal.(journal.Batcher).AppendAll(records, done)
}

// A chunk for which there is never room at once comes in smaller ones, in its order.
func TestChunksThatFindNoRoomAreHalved(t *testing.T) {
	t.Parallel()
	for _, most := range []int{0, 1, 7, 100} {
		var seen atomic.Int64
		g := newRig(t, v717, v87)
		g.beforeOpen = func(c *Config) { c.Journal = narrow{c.Journal, most, &seen} }
		g.restart()
		var body strings.Builder
		for i := range 150 {
			fmt.Fprintf(&body, `{"index":{"_index":"books","_id":"%d"}}`+"\n"+`{"n":%d}`+"\n", i%20, i)
		}
		reads := g.r.Counts().ReadBacks
		g.must("POST", "/_bulk", body.String())
		g.equal()
		g.noDeadLetters()
		if seen.Load() == 0 {
			t.Error("nothing was too large")
		}
		if n := g.r.Counts().ReadBacks - reads; n != 0 {
			t.Errorf("%d documents were read back: their effects were not journaled", n)
		}
	}
}
