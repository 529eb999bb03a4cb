package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// controlKey is where the control state stands in the table "control".
const controlKey = "state"

// controlState is who the master is, kept over restarts.
type controlState struct {
	Master     string `json:"master"`
	Epoch      uint64 `json:"epoch"`
	Configured string `json:"configured"`        // the master in the configuration when it was last followed
	Applier    string `json:"applier,omitempty"` // "paused", or "" for running
}

// control keeps the control state.
type control struct {
	table journal.Table

	changing sync.Mutex // held from reading the state to having changed it

	mu    sync.Mutex
	state controlState
}

func (c *control) load(ctx context.Context) (controlState, error) {
	raw, err := c.table.Get(ctx, controlKey)
	if err != nil || raw == nil {
		return controlState{}, err
	}
	var s controlState
	if err := json.Unmarshal(raw, &s); err != nil {
		return controlState{}, fmt.Errorf("the control state %q cannot be read: %w", raw, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	return s, nil
}

func (c *control) now() controlState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// store makes s durable.
func (c *control) store(ctx context.Context, s controlState) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := c.table.Put(ctx, controlKey, raw); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	return nil
}

// change makes one change of the state durable.
func (c *control) change(ctx context.Context, f func(*controlState)) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	s := c.now()
	f(&s)
	return c.store(ctx, s)
}
