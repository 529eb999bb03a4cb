package faults

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// The follower takes over while writers write: from a master that is killed, and from one
// that is stopped. When it is back it is made equal, and can be the master again.
func TestFailover(t *testing.T) {
	clusters := own(t, "8.7.1", "5.6.16")
	r := newRig(t, clusters[0], clusters[1])
	r.options = "grace 1s\nwrite_timeout 3s\nfailover 6s"
	g := r.start()
	l := r.write(6)
	for _, fault := range []struct {
		name string
		make func(*rig)
	}{{"killed", func(r *rig) { r.blow(r.a.Kill()) }}, {"stopped", func(r *rig) { r.blow(r.a.Pause()) }}} {
		l.await(100, longest)
		r.untilStatus(g, "it is ready", func(s gjson.Result) bool { return s.Get("failover.ready").Bool() })
		began := time.Now()
		fault.make(r)
		r.untilStatus(g, "the follower takes over", func(s gjson.Result) bool { return s.Get("master").String() == "b" })
		s := r.status(g)
		t.Logf("%s: the follower is the master after %.1f s; %s aside, guessed: %s; %s", fault.name, time.Since(began).Seconds(), s.Get("failover.aside"), s.Get("failover.guessed"), moved(g))
		l.await(100, longest)
		if status, answer, err := g.AdminRequest(testContext(t), http.MethodPost, "/esperanto/switchover", `{"master":"a"}`); err != nil || status != http.StatusConflict {
			t.Errorf("moved back to a master that is down: %d %s %v", status, answer, err)
		}
		l.stop() // the cluster starts sooner
		r.mend(r.a)
		l.resume()
		r.untilStatus(g, "the former master is made equal", func(s gjson.Result) bool { return !s.Get("failover.rejoin").Exists() && s.Get("failover.ready").Bool() })
		l.await(50, longest)
		if out, err := g.Command(testContext(t), "switch", "a"); err != nil {
			t.Fatal(out, err)
		}
	}
	l.await(50, longest)
	r.final()
}

// Of two gateways one reaches the master: nothing is moved. Both lose it: the follower
// takes over.
func TestFailoverIsVetoed(t *testing.T) {
	r, kafka := shared(t, "8.7.1", "5.6.16"), harness.Kafka(t)
	r.inKafka(kafka)
	direct := r.ends[0]
	p := r.through(0)
	r.options = "grace 500ms\nwrite_timeout 3s\njournal_timeout 3s\nfailover 6s"
	first := r.start()
	r.ends[0] = direct
	q := r.through(0)
	second := r.start()
	l := r.write(4)
	l.await(50, longest)
	for _, g := range r.gateways {
		r.untilStatus(g, "it is ready", func(s gjson.Result) bool { return s.Get("failover.ready").Bool() })
	}
	p.does(nothingComes)
	r.untilStatus(first, "it finds the master down", func(s gjson.Result) bool { return s.Get("failover.master_down_seconds").Float() > 10 })
	if s := r.status(first); s.Get("master").String() != "a" || s.Get("failover.ready").Bool() {
		t.Errorf("one of two gateways has lost the master: %s %s", s.Get("master"), s.Get("failover"))
	}
	q.does(nothingComes)
	for _, g := range []*gateway.Gateway{first, second} {
		r.untilStatus(g, "the follower takes over", func(s gjson.Result) bool { return s.Get("master").String() == "b" })
	}
	l.await(50, longest)
	p.does(nil)
	q.does(nil)
	for _, g := range r.gateways {
		r.untilStatus(g, "the former master is made equal", func(s gjson.Result) bool {
			return !s.Get("failover.rejoin").Exists() && s.Get("failover.aside").Int() == 0
		})
	}
	l.await(50, longest)
	r.final()
}

// nothingComes cuts each answer before its first byte.
func nothingComes([]byte) ([]byte, bool) { return nil, true }

func (r *rig) untilStatus(g *gateway.Gateway, what string, ok func(gjson.Result) bool) {
	r.Helper()
	began := time.Now()
	defer func() { r.Logf("%s: after %.1f s", what, time.Since(began).Seconds()) }()
	for !ok(r.status(g)) {
		time.Sleep(50 * time.Millisecond)
		if time.Since(began) > longest {
			r.Fatalf("%s: not within %s: %s", what, longest, fmt.Sprint(r.status(g)))
		}
	}
}

// moved is what the log says of the last move of the master.
func moved(g *gateway.Gateway) (line string) {
	for l := range strings.Lines(g.Log()) {
		if strings.Contains(l, "the master was moved") {
			line = l
		}
	}
	return strings.TrimSpace(line)
}
