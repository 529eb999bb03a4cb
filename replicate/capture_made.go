package replicate

import (
	"context"
	"sync"
)

// madeIndex is the effect of a write that failed: clusters make the index of a
// document before they look at the document. nil if the index is not there, or is
// known to be replicated.
func (c *capture) madeIndex(ctx context.Context, name string) *record {
	facts := c.lease.roles.master.Facts()
	index, ok, err := facts.Lookup(ctx, name)
	if err == nil && !ok {
		facts.ForgetAll() // it may not have been there just before
		index, ok, err = facts.Lookup(ctx, name)
	}
	if err != nil || !ok || index.Name != name || !c.r.made.add(name, index.UUID) {
		return nil
	}
	return &record{Kind: kindState, What: whatIndex, Name: name}
}

func asList(rec *record) []*record {
	if rec == nil {
		return nil
	}
	return []*record{rec}
}

// madeIndices has the indices that this process has journaled because of failed
// writes, so that each is journaled once.
type madeIndices struct {
	mu    sync.Mutex
	uuids map[string]string // by name
}

// maxMade bounds the indices that are remembered.
const maxMade = 10_000

// add reports whether an index is new.
func (m *madeIndices) add(name, uuid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uuids[name] == uuid {
		return false
	}
	if m.uuids == nil || len(m.uuids) >= maxMade {
		m.uuids = map[string]string{}
	}
	m.uuids[name] = uuid
	return true
}
