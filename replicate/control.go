package replicate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// controlKey is where the state that all gateways agree on stands in the table
// "control". It is swapped, never put.
const controlKey = "state"

// control keeps who the master is, over restarts and for all gateways.
type control struct {
	table journal.Table
}

// read returns the state that the journal has, with Seq 0 and no master if it has
// none, and what it is written as.
func (c *control) read(ctx context.Context) (s epoch.State, raw []byte, err error) {
	raw, err = c.table.Get(ctx, controlKey)
	if err != nil || raw == nil {
		return s, raw, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, raw, fmt.Errorf("the control state %q cannot be read: %w", raw, err)
	}
	return s, raw, nil
}

// A notChanged is why a change was not made, for sure.
type notChanged struct{ error }

func (e notChanged) Unwrap() error { return e.error }

// change makes one change of the state, whoever changes it at the same time, and
// returns the state that has become of it. An error of f ends it with the state as it is
// and is a notChanged. Any other error means that nobody knows whether the
// change was made, or will be; see settle.
func (c *control) change(ctx context.Context, f func(*epoch.State) error) (epoch.State, error) {
	for {
		s, before, err := c.read(ctx)
		if err != nil {
			return s, notChanged{err}
		}
		next := s
		if err := f(&next); err != nil {
			return s, notChanged{err}
		}
		next.Seq++
		after, err := json.Marshal(next)
		if err != nil {
			return s, notChanged{err}
		}
		if done, err := c.table.Swap(ctx, controlKey, before, after); done || err != nil {
			return next, err
		}
	}
}
