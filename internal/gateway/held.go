package gateway

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// held bounds what the bodies of writes take in memory together: those under way, those that
// wait while the master is moved, and those that are still being read. There are two bounds.
// Long bodies take turns before they are read on, so that there are no more of them than keep
// a cluster busy. What takes longer than a turn should gives it up and stays, up to the
// other bound: nobody waits for long because others are slow.
type held struct {
	most  int64        // bytes; beyond, writes are refused
	bytes atomic.Int64 // of all
	turns *semaphore.Weighted
}

const (
	// Who has sent the first piece and the second sends on, most likely: a body that is no
	// longer needs no turn, and who sends nothing does not even wait for one.
	shortBody = firstPiece + nextPiece

	// Those who have a turn have calmBytes together, and the long ones among them count as
	// longTurn: there are leastTurns at least.
	calmBytes  = 4 << 20
	leastTurns = 16
	longTurn   = calmBytes / leastTurns

	pieceTakes = 100 * time.Millisecond // who takes longer to send another piece loses the turn
	turnTakes  = 2 * time.Second        // longer than that nobody has one
	turnWait   = 5 * time.Second        // longer than that nobody waits for one
)

func newHeld(most int64) *held {
	return &held{most: most, turns: semaphore.NewWeighted(calmBytes)}
}

// A hold is what one request holds.
type hold struct {
	of    *held
	bytes int64

	idle  bool         // it does nothing most of the time, such as waiting for a refresh: no turn is needed
	turn  atomic.Int64 // bytes of its turn, 0 if it has none
	limit *time.Timer  // of its turn, nil if it has had none
	ends  time.Time    // no later
}

// take counts more bytes, unless there are too many. One body goes through however long it is.
func (h *hold) take(n int64) error {
	if sum := h.of.bytes.Add(n); sum > h.of.most && sum > h.bytes+n {
		h.of.bytes.Add(-n)
		return &esapi.Error{Status: http.StatusTooManyRequests, Type: "es_rejected_execution_exception",
			Reason: fmt.Sprintf("the bodies of writes under way take %d MiB already, of at most %d; nothing was written, try again", (sum-n)>>20, h.of.most>>20)}
	}
	h.bytes += n
	return nil
}

// give counts fewer bytes.
func (h *hold) give(n int64) {
	h.of.bytes.Add(-n)
	h.bytes -= n
}

// free ends it.
func (h *hold) free() {
	h.give(h.bytes)
	if h.limit != nil {
		h.limit.Stop()
		h.endTurn()
	}
}

// wait waits for a turn to read on in a body of n bytes, -1 if that is not known. Without one
// it goes on all the same after turnWait. That its client has left shows when it is read on.
func (h *hold) wait(ctx context.Context, n int64) error {
	if n < 0 || n > longTurn {
		n = longTurn
	}
	limited, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	if h.of.turns.Acquire(limited, n) != nil {
		return ctx.Err()
	}
	h.turn.Store(n)
	h.ends = time.Now().Add(turnTakes)
	h.limit = time.AfterFunc(turnTakes, h.endTurn)
	return nil
}

// within has the turn end unless what comes next is done within a time.
func (h *hold) within(d time.Duration) {
	if h.limit != nil {
		h.limit.Reset(min(d, time.Until(h.ends)))
	}
}

// endTurn gives the turn to those who wait, if it has one.
func (h *hold) endTurn() {
	if n := h.turn.Swap(0); n > 0 {
		h.of.turns.Release(n)
	}
}

// read reads a body of n bytes, -1 if that is not known, and counts what it has of it.
func (h *hold) read(ctx context.Context, from io.Reader, n int64) ([]byte, error) {
	if n >= 0 && n <= firstPiece {
		if err := h.take(n); err != nil {
			return nil, err
		}
		body := make([]byte, n)
		_, err := io.ReadFull(from, body)
		return body, err
	}
	most := n
	if n < 0 {
		most = math.MaxInt64
	}
	var come pieces
	defer come.giveBack()
	var err error
	for err == nil && come.length < most {
		if come.length == shortBody && !h.idle {
			if err := h.wait(ctx, n); err != nil {
				return nil, err
			}
		}
		if err := h.take(come.add()); err != nil {
			return nil, err
		}
		h.within(pieceTakes)
		err = come.fill(from, most)
	}
	h.within(turnTakes)
	switch {
	case come.length == n, n < 0 && err == io.EOF:
		return h.joined(&come)
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// joined makes one of the pieces. Both are in memory, and counted, meanwhile.
func (h *hold) joined(p *pieces) ([]byte, error) {
	apart := h.bytes
	if err := h.take(p.length); err != nil {
		return nil, err
	}
	body := make([]byte, 0, p.length)
	for _, piece := range p.all {
		body = append(body, piece...)
	}
	h.give(apart)
	return body, nil
}
