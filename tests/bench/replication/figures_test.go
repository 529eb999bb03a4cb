package replication

import (
	"flag"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

var (
	figures    = flag.Bool("figures", false, "measure; otherwise it is only seen whether everything works")
	out        = flag.String("out", "", "also write the figures to this file, as JSON; its path from the root, for tests run in their own folder")
	sources    = flag.String("source", "5.6.16", "version of the source")
	targets    = flag.String("target", "8.7.1", "version of the target")
	documents  = flag.Int("documents", 30_000, "documents that are copied or caught up with")
	rounds     = flag.Int("rounds", 3, "rounds in which rates are compared")
	period     = flag.Duration("period", 3*time.Second, "how long is written without a pause")
	switches   = flag.Int("switches", 30, "how often the master is moved, each")
	kills      = flag.Int("kills", 10, "how often the gateway is killed, each")
	binary     = flag.String("binary", "", "esperanto's, built before; catch-up compares several, with commas between")
	journal    = flag.String("journal", "", "of catch-up: embedded or Kafka; both if empty")
	connection = flag.Int("connections", 16, "connections of the writers, where nothing else is said")
)

// small sets flags so that everything is run once.
func small() {
	*documents, *rounds, *period, *switches, *kills, *connection = 300, 1, 200*time.Millisecond, 2, 1, 4
}

func TestMain(m *testing.M) {
	flag.Parse()
	if !*figures {
		small()
	}
	os.Exit(gateway.Main(m))
}

// A stage is the clusters on which everything is measured, and what was measured.
type stage struct {
	a, b   *harness.Cluster // source and target
	kafka  *harness.KafkaCluster
	report Report
}

// TestFigures measures, and prints a table in the end if it is to.
func TestFigures(t *testing.T) {
	harness.Real(t)
	s := newStage(t)
	began := time.Now()
	for _, part := range []struct {
		name    string
		measure func(*rig)
	}{
		{"copies", copies},
		{"catch-up", catchUp},
		{"lag", lag},
		{"latency", latency},
		{"switchover", switchover},
		{"kills", killing},
	} {
		t.Run(part.name, func(t *testing.T) { part.measure(s.rig(t)) })
	}
	s.report.Took = time.Since(began).Seconds()
	if *figures {
		if err := s.report.Print(os.Stdout); err != nil {
			t.Error(err)
		}
	}
	if *out != "" {
		if err := measure.Write(*out, s.report); err != nil {
			t.Error(err)
		}
	}
}

// newStage borrows the clusters: of its own and with a JVM that compiles fully if
// something is measured.
func newStage(t *testing.T) *stage {
	s := &stage{report: Report{Date: time.Now(), Machine: measure.Machine(), Cores: runtime.NumCPU(), Source: *sources, Target: *targets, Flags: map[string]string{}}}
	flag.Visit(func(f *flag.Flag) { s.report.Flags[f.Name] = f.Value.String() })
	if !*figures {
		s.a, s.b, s.kafka = harness.Elasticsearch(t, *sources), harness.Elasticsearch(t, *targets), harness.Kafka(t)
		return s
	}
	s.a = harness.Shared(t, harness.Options{Version: *sources, Name: "figures", Fast: true, Heap: "1g"})
	s.b = harness.Shared(t, harness.Options{Version: *targets, Name: "figures", Fast: true, Heap: "1g"})
	s.kafka = harness.SharedKafka(t, harness.KafkaOptions{Name: "figures", Fast: true})
	return s
}

func (s *stage) rig(t *testing.T) *rig {
	r := &rig{T: t, stage: s, prefix: s.a.Prefix(t), load: measure.Load()}
	s.b.CleanPrefix(t, r.prefix)
	return r
}

// add notes a figure.
func (r *rig) add(f Figure) {
	f.Load = max(r.load, measure.Load())
	r.report.Figures = append(r.report.Figures, f)
	r.Logf("%s, %s: %s %s (%s, ratio %.2f) %s", f.Name, f.Setting, measure.Number(f.Value), f.Unit, measure.Number(f.Plain), f.Ratio, f.Note)
}
