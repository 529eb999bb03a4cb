package replicate

import (
	"context"
	"testing"
	"time"
)

// Who was let in by nobody takes no place.
func TestPaceKeepsNoPlace(t *testing.T) {
	p := newPace(4, 1000, 5<<20, 0, 0, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 4 {
		if err := p.enter(ended); err == nil {
			t.Fatal("entered")
		}
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := p.enter(soon); err != nil {
		t.Errorf("nobody is in, and nobody gets in: %v", err)
	}
}
