package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// Final is what must be true after a test that broke things, once nobody writes
// any more and everything runs again.
type Final struct {
	A, B     *harness.Cluster
	Prefix   string             // of the names of all indices of the test
	Gateways []*gateway.Gateway // all that share the journal
	Ledger   *Ledger            // what the clients know; may be nil

	// Caused, if not nil, tells which dead letters the test has provoked.
	Caused func(DeadLetter) bool

	// Limit is how long it may take until the journal is applied. If zero, three
	// minutes.
	Limit time.Duration
}

// A DeadLetter is a document or a part of the state that the follower does not
// take.
type DeadLetter struct {
	Index  string `json:"index"`
	ID     string `json:"id"`
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Check waits until the journal is applied, and then checks that
//
//   - the committed offset of every partition is at its end, and no intent is open;
//   - there is no dead letter but those that were caused;
//   - both clusters have the same indices with the same documents: id, version,
//     routing and source. So what was not acknowledged is on both or on none;
//   - each of them has every acknowledged write, and no document that was deleted.
func (f Final) Check(t testing.TB) {
	t.Helper()
	f.waitApplied(t)
	f.checkDeadLetters(t)
	EqualPrefix(t, f.A, f.B, f.Prefix)
	if f.Ledger != nil {
		f.Ledger.Check(t, f.A)
		f.Ledger.Check(t, f.B)
	}
}

// progress is the part of a gateway's status that tells how far it is.
type progress struct {
	OpenIntents int64 `json:"open_intents"`
	Partitions  []struct {
		Partition int32 `json:"partition"`
		Next      int64 `json:"next"`
		Committed int64 `json:"committed"`
	} `json:"partitions"`
}

// behind says what a gateway has left to do, "" if nothing.
func (f Final) behind(ctx context.Context, g *gateway.Gateway) string {
	status, body, err := g.AdminRequest(ctx, http.MethodGet, "/esperanto/status", "")
	var p progress
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &p) != nil {
		return fmt.Sprintf("the status cannot be read: %d %v %s", status, err, body)
	}
	if len(p.Partitions) == 0 || p.OpenIntents > 0 {
		return string(body)
	}
	for _, p := range p.Partitions {
		if p.Committed != p.Next {
			return string(body)
		}
	}
	return ""
}

func (f Final) waitApplied(t testing.TB) {
	t.Helper()
	limit := f.Limit
	if limit == 0 {
		limit = 3 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	defer cancel()
	left := ""
	for ctx.Err() == nil {
		left = ""
		for _, g := range f.Gateways {
			if s := f.behind(ctx, g); s != "" {
				left = s
			}
		}
		if left == "" {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Errorf("the journal is not applied after %v: %s", limit, left)
}

// mostLetters bounds the dead letters that are reported.
const mostLetters = 5

func (f Final) checkDeadLetters(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	for _, g := range f.Gateways {
		status, body, err := g.AdminRequest(ctx, http.MethodGet, "/esperanto/dead_letters", "")
		var list struct {
			Letters []DeadLetter `json:"dead_letters"`
		}
		if err != nil || status != http.StatusOK || json.Unmarshal(body, &list) != nil {
			t.Errorf("dead letters: %d %v %s", status, err, body)
		}
		found := 0
		for _, d := range list.Letters {
			if f.Caused != nil && f.Caused(d) {
				continue
			}
			if found++; found <= mostLetters {
				t.Errorf("a dead letter that was not caused: %+v", d)
			}
		}
		if more := found - mostLetters; more > 0 {
			t.Errorf("and %d more dead letters", more)
		}
	}
}
