package replicate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// What a bound lets through in a time, whether it is of documents or of bytes; and what
// waits goes on at once when the bound is raised or does not count for a while.
func TestPaceBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		p := newPace(4, 1000, 5<<20, 100, 0, nil)
		took := func(docs, bytes int) time.Duration {
			t.Helper()
			began := time.Now()
			if err := p.hold(ctx, docs, bytes); err != nil {
				t.Fatal(err)
			}
			return time.Since(began).Round(time.Millisecond)
		}
		about := func(got, want time.Duration) {
			t.Helper()
			if got < want-50*time.Millisecond || got > want+50*time.Millisecond {
				t.Errorf("it took %s, not %s", got, want)
			}
		}
		if n := p.size(); n != 100 {
			t.Errorf("a bulk of %d: what goes in a second is the most", n)
		}
		about(took(525, 1<<30), 5*time.Second) // the first 25 may go at once
		if why, by := p.slow(); why != "docs_per_second is 100" || by != "docs_per_second" {
			t.Errorf("%q %q", why, by)
		}
		time.Sleep(time.Minute)
		if why, _ := p.slow(); why != "" {
			t.Errorf("long after: %q", why)
		}
		p.bound(0, 1000)
		about(took(1_000_000, 10_250), 10*time.Second)
		if why, by := p.slow(); why != "bytes_per_second is 1000" || by != "bytes_per_second" {
			t.Errorf("%q %q", why, by)
		}

		time.AfterFunc(2*time.Second, func() { p.bound(1000, 0) })
		p.bound(0.01, 0)
		about(took(1000, 1), 2*time.Second+750*time.Millisecond)
		time.AfterFunc(3*time.Second, func() { p.lift(true) })
		p.bound(0.01, 0)
		about(took(100_000, 1), 3*time.Second)
		if n := p.size(); n != 1000 {
			t.Errorf("a bulk of %d while nothing is bounded", n)
		}
		p.lift(false)
		if n := p.size(); n != 1 {
			t.Errorf("a bulk of %d", n)
		}
		within, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.hold(within, 10, 0); err == nil {
			t.Error("it has not waited")
		}
		p.bound(0, 0)
		about(took(1_000_000, 1<<40), 0)
	})
}

// What a cluster refused long ago does not slow anything down.
func TestPaceForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(4, 1000, 5<<20, 0, 0, nil)
		p.trouble(&cluster.StatusError{Cluster: "b", Status: 429})
		if why, by := p.slow(); !strings.Contains(why, "429") || !strings.Contains(why, "2 of 4 bulks at a time, of at most 500") || by != "follower" {
			t.Errorf("%q %q", why, by)
		}
		time.Sleep(paceForget + time.Second)
		if why, _ := p.slow(); why != "" || p.size() != 1000 || p.limit != 4 {
			t.Errorf("%q, %d documents, %d bulks", why, p.size(), p.limit)
		}
	})
}

func (g *rig) bulkOf(from, n int) {
	g.t.Helper()
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"index":{"_index":"books","_id":"%d"}}`+"\n"+`{"n":%d}`+"\n", from+i, i)
	}
	g.must("POST", "/_bulk", body.String())
}

// The applier goes no faster than the throttle says, which can be changed while it does; and
// it tells why.
func TestThrottledApplier(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87, func(c *Config) { c.Throttle = Throttle{DocsPerSecond: 20} })
	var began time.Time
	var written int64
	g.paused(func() { // until all is there, however long that takes
		for i := range 100 {
			g.bulkOf(10*i, 10)
		}
		written, began = g.r.Status(t.Context()).Backlog, time.Now()
	})
	wait(t, func() bool { return len(g.b.Docs()) > 0 })
	var s Status
	wait(t, func() bool { s = g.r.Status(t.Context()); return s.Throttle != "" })
	if s.Throttle != "docs_per_second is 20" || s.ThrottledBy != "docs_per_second" || !strings.Contains(strings.Join(s.NextSteps, "\n"), "throttled: docs_per_second is 20") {
		t.Errorf("%q %q %q", s.Throttle, s.ThrottledBy, s.NextSteps)
	}
	if n, most := len(g.b.Docs()), 100+int(20*time.Since(began).Seconds()); n > most {
		t.Errorf("%d documents have arrived, and not at most %d", n, most)
	}
	wait(t, func() bool { // what is applied is committed, also within what was read at once
		s := g.r.Status(t.Context())
		return s.Backlog < written-50 && s.Backlog > 0
	})
	g.r.SetThrottle(Throttle{})
	g.equal()
}

// A switchover does not wait for the throttle.
func TestSwitchoverOfAThrottledApplier(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87, func(c *Config) { c.Throttle = Throttle{BytesPerSecond: 10} })
	g.bulkOf(0, 1000)
	dry, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return g.r.Status(t.Context()).Throttle != "" })
	if dry, err = g.r.Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true}); err != nil || !strings.Contains(strings.Join(dry.NextSteps, "\n"), "bytes_per_second is 10") {
		t.Errorf("%+v %v", dry, err)
	}
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	if a, b := len(g.a.Docs()), len(g.b.Docs()); a != 1000 || b != 1000 {
		t.Errorf("%d and %d documents", a, b)
	}
	if state := g.r.gate.state(); state.Hurry || g.r.gate.hurries() {
		t.Errorf("%+v", state)
	}
	g.bulkOf(2000, 100)
	wait(t, func() bool { return strings.Contains(g.r.Status(t.Context()).Throttle, "bytes_per_second") })
	g.r.SetThrottle(Throttle{})
	g.drained()
}

// A process that is killed while the appliers hurry does not leave them so.
func TestHurryIsNotForEver(t *testing.T) {
	g := newRig(t, v87, v87)
	if err := g.r.brake(t.Context(), g.r.gate.now(), 0, true); err != nil || !g.r.gate.hurries() {
		t.Fatal(err)
	}
	g.restart()
	if g.r.gate.hurries() {
		t.Error("it still hurries")
	}
}

// A follower that has too much to do gets fewer and smaller bulks, until it does better.
func TestFollowerAnswers429(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_bulk" && strings.Count(string(r.Body), "\n") > 2*60 {
			return estest.Fault{Status: 429}
		}
		return estest.Fault{}
	})
	g.bulkOf(0, 1000)
	wait(t, func() bool { return g.r.Status(t.Context()).ThrottledBy == "follower" })
	if s := g.r.Status(t.Context()); !strings.Contains(s.Throttle, "429") || !strings.Contains(s.Throttle, "bulks at a time") {
		t.Errorf("%q", s.Throttle)
	}
	g.equal()
	g.b.Faults(nil)
	for i := 0; g.r.Status(t.Context()).Throttle != ""; i++ {
		if g.bulkOf(1000+10*i, 10); i == 2000 {
			t.Fatalf("when it does better: %q", g.r.Status(t.Context()).Throttle)
		}
	}
	g.equal()
	g.noDeadLetters()
}
