package readiness

import (
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/internal/gateway"
)

// BenchmarkWants is what a request pays that is not looked at: nearly all of
// them, when there are many.
func BenchmarkWants(b *testing.B) {
	c := cluster.New("c", estest.New(v8), cluster.Options{Version: v8})
	defer c.Close()
	w := New(Config{To: c, Pair: []*cluster.Cluster{c, c}, Lag: func() time.Duration { return 0 }})
	defer w.Close()
	w.Set(1, 0.01)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var all gateway.Purpose
		for p.Next() {
			all |= w.Wants("search")
		}
		_ = all
	})
}

// BenchmarkLook is what looking at one search costs, beside its way.
func BenchmarkLook(b *testing.B) {
	r := &rig{old: estest.New(v5), young: estest.New(v8)}
	r.source = cluster.New("old", r.old, cluster.Options{Version: v5})
	r.target = cluster.New("young", r.young, cluster.Options{Version: v8})
	defer r.source.Close()
	defer r.target.Close()
	r.Watch = New(Config{To: r.target, Lag: func() time.Duration { return 0 }})
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		r.look(r.sight(forReport, "POST", "/a/_search", oldSearch))
	}
}
