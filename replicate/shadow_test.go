package replicate

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// shadowsAt counts the templates that are there for a moment only.
func shadowsAt(t *testing.T, c *estest.Cluster) int {
	t.Helper()
	answer, err := c.Send(context.Background(), esapi.NewRequest("GET", "/_index_template/.esperanto-shadow-*", nil))
	if err != nil {
		t.Fatal(err)
	}
	body, err := cluster.ReadBody(answer, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(gjson.GetBytes(body, "index_templates").Array())
}

// leaveShadow is what a process leaves that was killed some time ago.
func leaveShadow(t *testing.T, c *estest.Cluster, ago time.Duration) {
	t.Helper()
	beside(t, c, "PUT", "/_index_template/.esperanto-shadow-1", fmt.Sprintf(`{"index_patterns":["books"],"_meta":{"esperanto":{"made":%d}}}`, time.Now().Add(-ago).UnixMilli()))
}

// A process that is started at once after one was killed deletes what that left behind.
func TestShadowOfAProcessThatWasKilled(t *testing.T) {
	g := newRig(t, v56, v87)
	g.must("PUT", "/other/book/1", `{"n":1}`)
	g.equal()
	leaveShadow(t, g.b, 5*time.Second)
	g.restart()
	g.must("PUT", "/other/book/2", `{"n":1}`)
	g.equal()
	if n := shadowsAt(t, g.b); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// With other gateways on the journal it is not deleted at once, as it may be one of theirs,
// but later, without anything else happening.
func TestShadowOfAnotherGateway(t *testing.T) {
	var later atomic.Int64
	f := newFleet(t, 1, patient, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	put := func(doc string) {
		t.Helper()
		if _, _, err := sendTo(t.Context(), f.gates[0].Replicator, "PUT", "/other/_doc/"+doc, `{"n":1}`); err != nil {
			t.Fatal(err)
		}
		if err := f.gates[0].drain(t.Context(), soon); err != nil {
			t.Fatal(err)
		}
	}
	leaveShadow(t, f.b, 5*time.Second)
	put("1")
	if n := shadowsAt(t, f.b); n != 1 {
		t.Errorf("%d are left of another gateway, which may need it", n)
	}
	later.Store(int64(time.Hour))
	put("2")
	if n := shadowsAt(t, f.b); n != 0 {
		t.Errorf("%d are left an hour later", n)
	}
}

// What could not be deleted is deleted when that works again.
func TestShadowThatIsNotDeletedAtOnce(t *testing.T) {
	for name, change := range map[string]func(*Config){"one master": func(*Config) {}, "both ways": func(c *Config) { c.BothWays = "a" }} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, v717, v87, change)
			var refused atomic.Bool
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				if r.Method == "DELETE" && strings.HasPrefix(r.Path, "/_index_template/.esperanto") && refused.CompareAndSwap(false, true) {
					return estest.Fault{Status: 503}
				}
				return estest.Fault{}
			})
			g.must("PUT", "/books/_doc/1", `{"n":1}`)
			g.drained()
			if n := shadowsAt(t, g.b); n != 0 || !refused.Load() {
				t.Errorf("%d are left", n)
			}
		})
	}
}

// The follower that takes over has none when applications write to it.
func TestShadowsAreGoneAfterAFailover(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	leaveShadow(t, g.b, 0)
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.a.Down(true)
	g.until("the follower takes over", g.master("b"))
	if n := shadowsAt(t, g.b); n != 0 {
		t.Errorf("%d are left", n)
	}
}
