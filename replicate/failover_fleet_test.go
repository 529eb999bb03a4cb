package replicate

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// Of several gateways one that reaches the master keeps it where it is. When none does the
// follower takes over, also if the gateway that does it dies in the midst of it.
func TestFleetFailsOver(t *testing.T) {
	f := newFleet(t, 3, func(c *Config) { c.Failover = 2 * time.Second })
	ctx := context.Background()
	if _, _, err := sendTo(ctx, f.gates[0].Replicator, "PUT", "/books/_doc/1", `{"n":1}`); err != nil {
		t.Fatal(err)
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within %s: %+v", what, soon, f.gates[0].Status(ctx).Failover)
			}
		}
	}
	until("it is ready", func() bool { return f.gates[0].Status(ctx).Failover.Ready })
	for _, g := range f.gates[:2] {
		g.lost.Store(true)
	}
	until("two find the master down", func() bool {
		return f.gates[0].failover.down() > 4*time.Second && f.gates[1].failover.down() > 4*time.Second
	})
	if s := f.gates[0].gate.state(); s.Epoch != 1 || s.Closing() {
		t.Errorf("the third gateway reaches the master: %+v", s)
	}
	var by atomic.Pointer[string]
	f.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path != "/_refresh" || by.Load() != nil {
			return estest.Fault{}
		}
		who := f.gates[0].gate.state().By
		by.Store(&who)
		return estest.Fault{Delay: time.Hour}
	})
	f.gates[2].lost.Store(true)
	until("one does it", func() bool { return by.Load() != nil })
	var left []*fleetGate
	for _, g := range f.gates {
		if g.instance == *by.Load() {
			g.end()
		} else {
			left = append(left, g)
		}
	}
	if len(left) != 2 {
		t.Fatalf("%d gateways are left", len(left))
	}
	for _, g := range left {
		until("the follower takes over", func() bool { s := g.gate.state(); return s.Master == "b" && s.Epoch == 2 && !s.Closing() })
	}
	if _, _, err := sendTo(ctx, left[0].Replicator, "PUT", "/books/_doc/2", `{"n":1}`); err != nil {
		t.Fatal(err)
	}
	if _, err := left[0].Switchover(ctx, SwitchRequest{Master: "a"}); err == nil || errors.Is(err, errUnderway) {
		t.Errorf("the master was moved back: %v", err)
	}
	for _, g := range left {
		g.lost.Store(false)
	}
	for _, g := range left {
		until("the former master is equal", func() bool { return g.gate.state().Rejoin == "" })
	}
}
