package replicate

import (
	"testing"
	"time"
)

// Two changes of what all agree on that are heard of at the same moment leave the applier as
// the later one says.
func TestApplierObeysTheLastState(t *testing.T) {
	g := newRig(t, v87, v87)
	s := g.r.gate.state()
	for range 200 {
		running, paused := s, s
		running.Seq, running.Applier = s.Seq+1, ""
		paused.Seq, paused.Applier = s.Seq+2, "paused"
		obeyed := make(chan struct{})
		g.r.applier.mu.Lock()
		go func() {
			defer close(obeyed)
			g.r.obey(running)
		}()
		time.Sleep(200 * time.Microsecond) // it waits for the applier
		g.r.applier.mu.Unlock()
		g.r.obey(paused)
		<-obeyed
		if s = g.r.gate.state(); s != paused || !g.r.applier.isPaused() {
			t.Fatalf("the applier is paused: %v, and the state says %+v", g.r.applier.isPaused(), s)
		}
	}
}
