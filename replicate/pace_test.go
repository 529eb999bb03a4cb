package replicate

import (
	"context"
	"testing"
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
	within, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := p.enter(within); err != nil {
		t.Errorf("nobody is in, and nobody gets in: %v", err)
	}
}
