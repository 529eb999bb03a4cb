package replication

import (
	"fmt"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
)

// catchUp compares how fast a backlog is applied with plain bulks of the same
// documents, as large and as many at a time, into indices like these of the same
// cluster.
func catchUp(r *rig) {
	for _, j := range journals {
		g := r.front(j.global(r), true)
		for _, indices := range []int{1, 4} {
			var c comparison
			for round := range *rounds {
				names := r.apart(indices)
				for _, name := range names {
					r.send(g, "PUT", "/"+name, index(r.a.Version))
				}
				r.applied(g)
				n := *documents / indices
				var plain time.Duration
				if round%2 == 0 {
					plain = r.plainBulks(indices, n)
				}
				r.pause(g)
				r.fill(g.URL(), r.a.Version, names, n, 4/indices)
				caught := r.caughtUp(g)
				if round%2 == 1 {
					plain = r.plainBulks(indices, n)
				}
				c.add(float64(n*indices)/caught.Seconds(), float64(n*indices)/plain.Seconds())
				for _, name := range names {
					r.send(g, "DELETE", "/"+name, "")
				}
			}
			r.add(c.figure("catch-up, written in bulks", fmt.Sprintf("%s, indices: %d", j.name, indices), "documents/s"))
		}
		r.singly(g, j.name)
	}
}

// singly is the same of documents that were written one by one.
func (r *rig) singly(g *gateway.Gateway, journal string) {
	var c comparison
	for range *rounds {
		name := r.name("books")
		r.send(g, "PUT", "/"+name, index(r.a.Version))
		r.applied(g)
		r.pause(g)
		n := len(r.hammer(r.pen(g, name), *connection, *period))
		caught := r.caughtUp(g)
		plain := r.plainBulks(1, n)
		c.add(float64(n)/caught.Seconds(), float64(n)/plain.Seconds())
		r.send(g, "DELETE", "/"+name, "")
	}
	r.add(c.figure("catch-up, written singly", journal+", indices: 1", "documents/s"))
}

// caughtUp resumes the applier and waits until the backlog is empty.
func (r *rig) caughtUp(g *gateway.Gateway) time.Duration {
	r.Helper()
	ctx := r.context(10 * time.Minute)
	began := time.Now()
	r.resume(g)
	for {
		s, err := g.Status(ctx)
		r.done(err)
		if s.Backlog == 0 && s.OpenIntents == 0 {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// plainBulks sends bulks to the target itself, one at a time for each index.
func (r *rig) plainBulks(indices, n int) time.Duration {
	r.Helper()
	var names []string
	for range indices {
		name := r.name("plain")
		r.send(r.b, "PUT", "/"+name, index(r.b.Version))
		names = append(names, name)
	}
	took := r.fill(r.b.URL(), r.b.Version, names, n, 1)
	for _, name := range names {
		r.send(r.b, "DELETE", "/"+name, "")
	}
	return took
}
