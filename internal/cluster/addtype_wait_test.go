package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/translate"
)

// Who waits for another one's type to be added gives up when its request ends.
func TestAddTypeWaitsWithItsContext(t *testing.T) {
	f := newFacts(nil)
	f.adding <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, _, err := f.AddType(ctx, "b", "t", translate.MergeTypes); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
