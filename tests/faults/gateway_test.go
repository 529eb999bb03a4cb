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
		l.await(100, 30*time.Second)
		time.Sleep(rand.N(200 * time.Millisecond))
		r.restart(g)
	}
	l.await(100, 30*time.Second)
	r.final()
}
