package replication

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
	"github.com/esperanto-es/esperanto/tests/gateway"
)

// appliers is how many bulks of an index the applier has under way.
const appliers = 2

// backlogs is how many times as much as elsewhere is caught up with: so much that beginning and
// end do not count.
const backlogs = 3

// A backlog is what is caught up with: written to so many indices, in bulks or singly.
type backlog struct {
	indices int
	singly  bool
}

// catchUp compares how fast a backlog is applied with plain bulks of the same
// documents, as large and as many at a time, into indices like these of the same
// cluster.
func catchUp(r *rig) {
	for _, j := range journals {
		if *journal != "" && *journal != j.name {
			continue
		}
		var runners []*runner
		for _, binary := range r.binaries() {
			runners = append(runners, r.runner(j.name, j.global(r), binary))
		}
		for _, b := range []backlog{{1, false}, {4, false}, {1, true}} {
			all := make([]caughtUps, len(runners))
			for round := range *rounds {
				for i := range runners {
					i = (i + round) % len(runners)
					runners[i].catchUp(b, round%2 == 1, &all[i])
				}
			}
			for i, one := range runners {
				r.add(all[i].figureOf(b, one.label))
			}
		}
	}
}

// binaries are those that take turns: that of this code if none is given.
func (r *rig) binaries() []string {
	if *binary == "" {
		return []string{gateway.Built(r.T)}
	}
	return strings.Split(*binary, ",")
}

// A runner is a gateway that catches up.
type runner struct {
	*rig
	label string
	g     *gateway.Gateway
	pids  []int // of the workers, but for the client, which is this process
}

// workers are the processes that share the work.
var workers = [...]string{"gateway", "follower", "master", "Kafka", "client"}

func (r *rig) runner(journal, global, path string) *runner {
	r.Helper()
	one := &runner{rig: r, label: journal, g: r.frontOf(path, global, true)}
	if *binary != "" {
		one.label += ", " + filepath.Base(path)
	}
	one.pids = []int{one.g.PID(), measure.Listener(strings.TrimPrefix(r.b.URL(), "http://")),
		measure.Listener(strings.TrimPrefix(r.a.URL(), "http://")), measure.Listener(r.kafka.Addrs()[0])}
	return one
}

// catchUp is one round.
func (one *runner) catchUp(b backlog, plainFirst bool, all *caughtUps) {
	one.Helper()
	names := one.apart(b.indices)
	for _, name := range names {
		one.send(one.g, "PUT", "/"+name, index(one.a.Version))
	}
	one.applied(one.g)
	n := backlogs * *documents / b.indices
	var plain span
	if plainFirst && !b.singly { // only what is written tells how many documents singly are
		plain = one.plainBulks(b.indices, n)
	}
	one.pause(one.g)
	if b.singly {
		n = len(one.hammer(one.pen(one.g, names[0]), *connection, backlogs*(*period)))
	} else {
		one.fill(one.g.URL(), one.a.Version, names, n, 4/b.indices)
	}
	one.rest()
	caught := one.measured(func() time.Duration { return one.caughtUp(one.g) })
	if plain.took == 0 {
		plain = one.plainBulks(b.indices, n)
	}
	all.put(n*b.indices, caught, plain)
	for _, name := range names {
		one.send(one.g, "DELETE", "/"+name, "")
	}
}

// A span is how long something took, by the clock and by each of the workers, in seconds.
type span struct {
	took float64
	cpu  [len(workers)]float64
}

// measured tells what something that says how long it took has cost.
func (one *runner) measured(f func() time.Duration) (s span) {
	before := one.cpu()
	s.took = f().Seconds()
	s.cpu = one.cpu()
	for i := range s.cpu {
		s.cpu[i] -= before[i]
	}
	return s
}

func (one *runner) cpu() (cpu [len(workers)]float64) {
	for i, pid := range one.pids {
		if pid != 0 {
			cpu[i] = measure.CPUSeconds(pid)
		}
	}
	cpu[len(workers)-1] = measure.OwnSeconds()
	return cpu
}

// caughtUps are the rounds of one runner.
type caughtUps struct {
	comparison
	documents     int
	caught, plain [len(workers)]float64 // what each of the workers took in all rounds, in seconds
}

func (c *caughtUps) put(documents int, caught, plain span) {
	c.add(float64(documents)/caught.took, float64(documents)/plain.took)
	c.documents += documents
	for i := range workers {
		c.caught[i] += caught.cpu[i]
		c.plain[i] += plain.cpu[i]
	}
}

// figureOf also tells processor time: other users of the machine change that less than
// rates. Its ratio is what both rates would have if nobody ever waited.
func (c *caughtUps) figureOf(b backlog, name string) Figure {
	how := "in bulks"
	if b.singly {
		how = "singly"
	}
	f := c.figure("catch-up, written "+how, fmt.Sprintf("%s, indices: %d", name, b.indices), "documents/s")
	caught, all := c.perThousand(&c.caught)
	plain, allPlain := c.perThousand(&c.plain)
	f.Note += fmt.Sprintf("; CPU ms/1,000: %s; plain: %s; ratio %.2f", caught, plain, allPlain/all)
	return f
}

// perThousand is what the workers took for 1,000 documents, in milliseconds, and together.
func (c *caughtUps) perThousand(seconds *[len(workers)]float64) (text string, all float64) {
	var parts []string
	for i, s := range seconds {
		took := s * 1000 / (float64(c.documents) / 1000)
		all += took
		if took >= 0.05 {
			parts = append(parts, fmt.Sprintf("%s %.1f", workers[i], took))
		}
	}
	return strings.Join(parts, ", "), all
}

// rest lets the source end what it does behind writes, which would take the processors
// from what is measured: plain bulks are written when nothing else was.
func (r *rig) rest() {
	r.send(r.a, "POST", "/_flush", "")
	time.Sleep(time.Second)
}

// statusPause is between two looks at the backlog: each asks both clusters how they are, which
// must not be a part of what is measured.
const statusPause = 50 * time.Millisecond

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
		time.Sleep(statusPause)
	}
}

// plainBulks sends bulks to the target itself, as many at a time as the applier does.
func (one *runner) plainBulks(indices, n int) span {
	one.Helper()
	var names []string
	for range indices {
		name := one.name("plain")
		one.send(one.b, "PUT", "/"+name, index(one.b.Version))
		names = append(names, name)
	}
	bulks := bulksOf(one.b.Version, names, n)
	plain := one.measured(func() time.Duration { return one.sendBulks(one.b.URL(), bulks, appliers) })
	for _, name := range names {
		one.send(one.b, "DELETE", "/"+name, "")
	}
	return plain
}
