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
	if err != nil || !ok || index.Name != name || c.r.made.knows(name, index.UUID) {
		return nil
	}
	return &record{Kind: kindState, What: whatIndex, Name: name, made: index.UUID}
}

// noteMade remembers the indices that failed writes have made, whose records are durable.
func (m *madeIndices) noteMade(effects []*record) {
	for _, e := range effects {
		m.add(e.Name, e.made)
	}
}

// ofMade are the effects that came of madeIndex.
func ofMade(effects []*record) (list []*record) {
	for _, e := range effects {
		if e.made != "" {
			list = append(list, e)
		}
	}
	return list
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

func (m *madeIndices) knows(name, uuid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.uuids[name] == uuid
}

func (m *madeIndices) add(name, uuid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uuids == nil || len(m.uuids) >= maxMade {
		m.uuids = map[string]string{}
	}
	m.uuids[name] = uuid
}
