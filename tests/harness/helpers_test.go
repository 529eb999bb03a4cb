package harness

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

var background = context.Background()

func always(context.Context) bool { return true }
func never(context.Context) bool  { return false }

// begin is start for callers that do not hold the lock.
func (u *unit) begin(ctx context.Context, c command, ready func(context.Context) bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.start(ctx, c, ready)
}

// must sends a request and fails the test unless it succeeds.
func must(t *testing.T, c *Cluster, method, path, body string) []byte {
	t.Helper()
	status, answer := c.Do(t, method, path, body)
	if status != http.StatusOK && status != http.StatusCreated {
		t.Fatalf("elasticsearch %s: %s %s: %d %s", c.Version, method, path, status, answer)
	}
	return answer
}

// typed returns the path of an index's documents or mappings: typeless from 7 on.
func typed(version, index, api, typeless string) string {
	if version < "7" {
		return fmt.Sprintf("/%s/%s", index, api)
	}
	return fmt.Sprintf("/%s/%s", index, typeless)
}
