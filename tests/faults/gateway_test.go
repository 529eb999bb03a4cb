package faults

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The gateway is killed under load, with the journal in its own process.
func TestGatewayKilled(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	g := r.start()
	l := r.write(6)
	for range 8 * *rounds {
		l.await(100, longest)
		time.Sleep(rand.N(200 * time.Millisecond))
		r.restart(g)
	}
	l.await(100, longest)
	r.final()
}

// The configuration is loaded anew under load. A request on a connection that
// the reload closes gets no answer (docs/roadmap.md); all others do.
func TestReloads(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	r.options = "grace 3s\nwrite_timeout 30s" // no write is given up on a slow machine
	g := r.start()
	l := r.write(6)
	for n := range 10 * *rounds {
		l.await(40, longest)
		r.options = "grace 3s\nwrite_timeout 30s\nmax_body " + []string{"50MiB", "60MiB"}[n%2]
		if err := g.Configure(r.gatewayOptions()); err != nil {
			t.Fatal(err)
		}
		if out, err := g.Reload(testContext(t)); err != nil {
			t.Fatal(err, out)
		}
		r.kills++
	}
	l.await(40, longest)
	r.final()
	for what := range l.broken {
		switch what {
		case "EOF", "connection reset by peer", "http: server closed idle connection":
		default:
			t.Errorf("a request was answered %q in a reload", what)
		}
	}
	if _, unknown := l.counts(); unknown > int64(50*r.kills) {
		t.Errorf("%d writes in %d reloads got no answer", unknown, r.kills)
	}
}
