package speed

import (
	"math"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	direct := &Line{Backend: "cluster", Mode: "document", Connections: 16, Way: "direct", Plain: "direct",
		Rounds: []Round{{Requests: 1000, PerSecond: 1000, P50: 1, P99: 2, ClusterCPU: 0.1}, {Requests: 3000, PerSecond: 3000, P50: 1, P99: 4, ClusterCPU: 0.3}}}
	through := &Line{Backend: "cluster", Mode: "document", Connections: 16, Way: "nginx", Plain: "direct", PeakMB: 17.2,
		Rounds: []Round{{Requests: 500, PerSecond: 500, P50: 3, P99: 5, GatewayCPU: 0.02, ClusterCPU: 0.05, Load: 2}, {Requests: 2400, PerSecond: 2400, P50: 2, P99: 5, GatewayCPU: 0.067, ClusterCPU: 0.24}}}
	bulk := *direct
	bulk.Mode = "bulk"
	more := *through
	more.Connections = 100
	for _, l := range []*Line{direct, through, &bulk, &more} {
		l.compare(direct)
	}
	if through.Ratio != 0.5 || through.Smallest != 0.5 || through.Largest != 0.8 || through.AddedP50 != 1 || math.Abs(through.GatewayCPU-0.03) > 1e-9 {
		t.Errorf("%+v", through)
	}
	var b strings.Builder
	r := Report{Cores: 2, Machine: "some", Pinned: true, Missing: []string{"nginx"}, Lines: []*Line{direct, through, &bulk, &more}}
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"some, 2 cores, load 0.0 to 2.0, 0 s, clusters on one core", "Not measured: nginx\n", "\n\n**cluster, document**\n\n| way", "\n| ---",
		"| nginx  | 100         | 500        | 0.50 (0.50 to 0.80)         | 2.00 (+1.00)   | 5.00 (+1.00)   | 0.030                | 0.100   | 17      |\n\n**cluster, bulk**\n\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
