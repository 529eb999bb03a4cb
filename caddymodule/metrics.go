package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/translate"
)

// The metrics are described in docs/metrics.md. They are made once, as they
// count over changes of the configuration; each configuration has a registry of
// its own.
var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esperanto_requests_total",
		Help: "Requests answered, by API (as Elasticsearch's API specification names it), class of status and whether they were translated.",
	}, []string{"gateway", "api", "code", "translated"})

	changes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esperanto_changes_total",
		Help: "Exchanges that needed a change of the catalogue, by its ID.",
	}, []string{"gateway", "change"})

	gatheredBulks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esperanto_gathered_bulks_total",
		Help: "Bulks that single writes were gathered into.",
	}, []string{"gateway"})

	gatheredWrites = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esperanto_gathered_writes_total",
		Help: "Writes of single documents that went to the cluster together with others, in a bulk.",
	}, []string{"gateway"})

	pause = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "esperanto_switchover_pause_seconds",
		Help: "How long writes waited in the last switchover that was asked for by the admin API.",
	}, []string{"gateway"})
)

// register adds the metrics to a configuration's registry.
func register(to *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{requests, changes, gatheredBulks, gatheredWrites, pause, stateCollector{}} {
		var already prometheus.AlreadyRegisteredError
		if err := to.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// counted counts what became of a gateway's requests.
func counted(name string) func(gateway.Outcome) {
	type kind struct {
		api        string
		class      int
		translated bool
	}
	var known atomic.Pointer[map[kind]prometheus.Counter] // few, and found in less time than by their labels
	known.Store(&map[kind]prometheus.Counter{})
	return func(o gateway.Outcome) {
		k := kind{cmp.Or(o.API, "other"), o.Status / 100, o.Translated}
		before := known.Load()
		counter, ok := (*before)[k]
		if !ok {
			counter = requests.WithLabelValues(name, k.api, strconv.Itoa(k.class)+"xx", strconv.FormatBool(k.translated))
			more := maps.Clone(*before)
			more[k] = counter
			known.CompareAndSwap(before, &more) // else the next one does
		}
		counter.Inc()
	}
}

// changed counts which changes a gateway's exchanges needed.
func changed(name string) func(translate.Fired) {
	return func(f translate.Fired) {
		for _, c := range slices.Concat(f.Request, f.Answer) {
			changes.WithLabelValues(name, c.ID).Inc()
		}
	}
}

// gathered counts the writes of a gateway that went together.
func gathered(name string) func(int) {
	bulks, writes := gatheredBulks.WithLabelValues(name), gatheredWrites.WithLabelValues(name)
	return func(n int) {
		bulks.Inc()
		writes.Add(float64(n))
	}
}

// A gauge is one value of a gateway's status.
type gauge struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*replicate.Status) float64
}

func stateGauge(name, help string, kind prometheus.ValueType, value func(*replicate.Status) float64) gauge {
	return gauge{prometheus.NewDesc(name, help, []string{"gateway"}, nil), kind, value}
}

var gauges = []gauge{
	stateGauge("esperanto_writes_captured_total", "Documents and changes of state that were captured.", prometheus.CounterValue,
		func(s *replicate.Status) float64 { return float64(s.Counters.Writes) }),
	stateGauge("esperanto_documents_applied_total", "Documents written to the follower.", prometheus.CounterValue,
		func(s *replicate.Status) float64 { return float64(s.Counters.Applied) }),
	stateGauge("esperanto_writes_refused_total", "Writes answered 503 because the journal could not take them, or not in time.", prometheus.CounterValue,
		func(s *replicate.Status) float64 {
			return float64(s.Counters.JournalRefused + s.Counters.JournalUnproven)
		}),
	stateGauge("esperanto_backlog_records", "Records of the journal that are not applied yet.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.Backlog) }),
	stateGauge("esperanto_lag_seconds", "Age of the oldest record that is not applied yet.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return s.LagSeconds }),
	stateGauge("esperanto_open_intents", "Writes whose effects the applier has not seen yet.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.OpenIntents) }),
	stateGauge("esperanto_dead_letters", "Documents and changes of state that the follower rejects for good.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.DeadLetters) }),
	stateGauge("esperanto_documents_waiting", "Documents that wait until the follower forgets that they were deleted (both_ways).", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.Remembered) }),
	stateGauge("esperanto_resync_waiting", "Indices that are to be resynced.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.ResyncWaiting) }),
	stateGauge("esperanto_resync_owed", "Indices and definitions that were written while the journal was down, and that it does not know of yet.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.Owed) }),
	stateGauge("esperanto_writes_accepted_total", "Writes that were let through while the journal was down.", prometheus.CounterValue,
		func(s *replicate.Status) float64 { return float64(s.Counters.Accepted) }),
	stateGauge("esperanto_epoch", "Grows with each switchover.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 { return float64(s.Epoch) }),
	stateGauge("esperanto_switchovers_total", "Switchovers since the process was started.", prometheus.CounterValue,
		func(s *replicate.Status) float64 { return float64(s.Counters.Switchovers) }),
}

var (
	role = prometheus.NewDesc("esperanto_role", "Whether the process has a role, capture or apply: 1 or 0.", []string{"gateway", "role"}, nil)

	throttled = prometheus.NewDesc("esperanto_throttled", "Whether the applier is slower than it could be because of docs_per_second, bytes_per_second, or the follower, which has too much to do: 1 or 0.", []string{"gateway", "by"}, nil)
)

// collectRoles tells what the process does, and what slows its applier down.
func collectRoles(to chan<- prometheus.Metric, gateway string, s *replicate.Status) {
	is := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	for name, has := range map[string]bool{"capture": s.Roles.Capture, "apply": s.Roles.Apply} {
		to <- prometheus.MustNewConstMetric(role, prometheus.GaugeValue, is(has), gateway, name)
	}
	for _, by := range []string{"docs_per_second", "bytes_per_second", "follower"} {
		to <- prometheus.MustNewConstMetric(throttled, prometheus.GaugeValue, is(s.ThrottledBy == by), gateway, by)
	}
}

var clusterUp = prometheus.NewDesc("esperanto_cluster_up", "Whether a cluster answers: 1 or 0.", []string{"gateway", "cluster", "role"}, nil)

// stateCollector tells the state of the gateways that run when it is asked.
type stateCollector struct{}

// Describe implements prometheus.Collector.
func (stateCollector) Describe(to chan<- *prometheus.Desc) {
	for _, g := range gauges {
		to <- g.desc
	}
	to <- clusterUp
	to <- role
	to <- throttled
	to <- lookedAt
	to <- comparedReads
	describeBackfill(to)
	to <- verifyRunning
	to <- verifyDocuments
	to <- verifyMismatches
}

// Collect implements prometheus.Collector.
func (stateCollector) Collect(to chan<- prometheus.Metric) {
	for _, r := range newest() {
		s := r.sample.get(r)
		for _, g := range gauges {
			to <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(s), r.key.name)
		}
		for _, c := range s.Clusters {
			up := 1.0
			if c.Health == "down" {
				up = 0
			}
			to <- prometheus.MustNewConstMetric(clusterUp, prometheus.GaugeValue, up, r.key.name, c.Name, c.Role)
		}
		collectRoles(to, r.key.name, s)
		r.collectReadiness(to)
		collectBackfill(to, r.key.name, s.Backfill)
		r.collectVerify(to)
	}
}

// A sample is a status that is not asked for too often: it asks the clusters.
type sample struct {
	mu    sync.Mutex
	taken time.Time
	last  replicate.Status
}

const (
	sampleAge  = 5 * time.Second // how old a sample may be
	sampleWait = 3 * time.Second // how long the clusters may take
)

func (s *sample) get(r *running) *replicate.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.taken) > sampleAge {
		ctx, cancel := context.WithTimeout(context.Background(), sampleWait)
		defer cancel()
		s.last, s.taken = r.replication.replicator.Status(ctx), time.Now()
	}
	last := s.last
	return &last
}
