package replication

import (
	"fmt"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
	"github.com/esperanto-es/esperanto/tests/gateway"
)

// A way is a gateway that is compared with one that has no target.
type way struct {
	name   string
	g      *gateway.Gateway
	paused bool // the applier, while it is measured
	p      pen
	took   []float64
}

// latency measures what the journal adds to a write: in turn with a gateway of one
// cluster, first while the applier waits, then while it works on the same
// processors.
func latency(r *rig) {
	plain := &way{name: "no target", g: r.front("", false)}
	embedded := r.front(embedded(r), true)
	kafka := r.front(inKafka("")(r), true)
	ways := []*way{
		plain,
		{name: "embedded, applier paused", g: embedded, paused: true},
		{name: "Kafka, applier paused", g: kafka, paused: true},
		{name: "Kafka, intent beside, applier paused", g: r.front(inKafka("intent beside")(r), true), paused: true},
		{name: "embedded", g: embedded},
		{name: "Kafka", g: kafka},
	}
	for _, w := range ways {
		name := r.name("books")
		r.send(w.g, "PUT", "/"+name, index(r.a.Version))
		w.p = r.pen(w.g, name)
		r.visit(plain, w, *connection, *period/10) // all is warm
	}
	for _, connections := range []int{1, *connection} {
		for _, w := range ways {
			w.took = nil
		}
		for range 4 * (*rounds) {
			for _, w := range ways {
				w.took = append(w.took, r.visit(plain, w, connections, *period/8)...)
			}
		}
		for _, w := range ways {
			for _, q := range []float64{0.5, 0.99} {
				f := Figure{Name: "added latency, " + quantileName(q), Setting: fmt.Sprintf("%s, connections: %d", w.name, connections), Unit: "ms", Plain: measure.Quantile(plain.took, q)}
				f.Value = measure.Quantile(w.took, q) - f.Plain
				f.Ratio = measure.Quantile(w.took, q) / f.Plain
				f.Note = fmt.Sprintf("%d writes", len(w.took))
				if w == plain {
					f = Figure{Name: "latency, " + quantileName(q), Setting: f.Setting, Unit: "ms", Value: f.Plain, Note: f.Note}
				}
				r.add(f)
			}
		}
	}
}

// visit writes through one gateway while the others have nothing to do.
func (r *rig) visit(plain, w *way, connections int, period time.Duration) []float64 {
	r.Helper()
	if w.paused {
		r.pause(w.g)
	}
	took := r.hammer(w.p, connections, period)
	if w.paused {
		r.resume(w.g)
	}
	if w != plain {
		r.applied(w.g)
	}
	return took
}
