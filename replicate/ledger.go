package replicate

import (
	"sync"
	"time"
)

// A ledger knows the intents of this process that are not done, so that the
// applier, which finds them in the journal, knows whether the write is still
// under way.
type ledger struct {
	mu   sync.Mutex
	open map[string]ledgerEntry

	pruned time.Time
}

type ledgerEntry struct {
	state  intentState
	readAt time.Time // abandoned: when its documents are read back
	until  time.Time // after that nobody asks any more
}

// intentState is what this process knows of an intent of its own.
type intentState int

const (
	intentUnknown   intentState = iota // not of this process, or done
	intentUnderway                     // the write or its records are under way
	intentAbandoned                    // its documents are to be read back
	intentFinished                     // its effects are durable, its done mark is not
)

func newLedger() *ledger {
	return &ledger{open: map[string]ledgerEntry{}}
}

func (l *ledger) begin(id string, until time.Time) {
	l.mu.Lock()
	l.open[id] = ledgerEntry{state: intentUnderway, until: until}
	l.mu.Unlock()
}

func (l *ledger) set(id string, s intentState, readAt time.Time) {
	l.mu.Lock()
	e := l.open[id]
	e.state, e.readAt = s, readAt
	l.open[id] = e
	l.mu.Unlock()
}

// end forgets an intent: its done mark is durable, or the applier has resolved
// it.
func (l *ledger) end(id string) {
	l.mu.Lock()
	delete(l.open, id)
	l.mu.Unlock()
}

func (l *ledger) state(id string) (intentState, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.open[id]
	return e.state, e.readAt
}

// pruneEvery bounds how often all intents are looked at.
const pruneEvery = time.Second

// prune forgets what no applier of this process has asked for: another process
// applies.
func (l *ledger) prune(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.pruned) < pruneEvery {
		return
	}
	l.pruned = now
	for id, e := range l.open {
		if e.state != intentUnderway && now.After(e.until) {
			delete(l.open, id)
		}
	}
}
