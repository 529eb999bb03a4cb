package replication

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
)

// killing kills the gateway while there are writers, again and again, and counts
// what was acknowledged and is not at both clusters in the end: nothing.
func killing(r *rig) {
	for _, j := range journals {
		g := r.front(j.global(r), true)
		name := r.name("books")
		r.send(g, "PUT", "/"+name, index(r.a.Version))
		acked := r.survive(g, r.pen(g, name))
		check.Final{A: r.a, B: r.b, Prefix: name, Gateways: []*gateway.Gateway{g}, Limit: 5 * time.Minute}.Check(r.T)
		there := check.Documents(r.T, r.b, name)
		lost := 0
		for _, n := range acked {
			if _, ok := there[fmt.Sprint(n)]; !ok {
				lost++
				r.Errorf("write %d was acknowledged, and the follower does not have it", n)
			}
		}
		r.add(Figure{Name: "acknowledged writes that a kill -9 lost", Setting: fmt.Sprintf("%s, %d connections", j.name, *connection), Value: float64(lost), Unit: "writes",
			Note: fmt.Sprintf("%d acknowledged, %d kills", len(acked), *kills)})
	}
}

// between is how many writes are acknowledged between two kills.
func between() int64 {
	if !*figures {
		return 50
	}
	return 500
}

// survive returns the writes that were acknowledged.
func (r *rig) survive(g *gateway.Gateway, p pen) (acked []int64) {
	var mu sync.Mutex
	var count atomic.Int64
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	var writers sync.WaitGroup
	for range *connection {
		writers.Go(func() {
			for ctx.Err() == nil {
				n, _, err := p.write(r.Context())
				if err != nil { // it may have been written, or not
					time.Sleep(20 * time.Millisecond)
					continue
				}
				count.Add(1)
				mu.Lock()
				acked = append(acked, n)
				mu.Unlock()
			}
		})
	}
	for range *kills {
		r.await(&count, count.Load()+between())
		r.done(g.Kill())
		r.done(g.Restart(r.Context()))
	}
	r.await(&count, count.Load()+between())
	stop()
	writers.Wait()
	return acked
}

// await waits for a count.
func (r *rig) await(count *atomic.Int64, want int64) {
	r.Helper()
	for end := time.Now().Add(3 * time.Minute); count.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%d writes instead of %d were acknowledged in three minutes", count.Load(), want)
		}
	}
}
