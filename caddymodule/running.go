package caddymodule

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/readiness"
	"github.com/esperanto-es/esperanto/translate/emulate"
)

// gateways are the running gateways of this process. They outlive the
// configuration that made them: the next one finds its own by the key.
var gateways = caddy.NewUsagePool()

var made atomic.Int64

// A gatewayKey is what makes a gateway the same over changes of the
// configuration.
type gatewayKey struct {
	name, source, target string
	journal              string // where it is; "" without a target
}

func (h *Handler) key(j *Journal) gatewayKey {
	k := gatewayKey{name: h.Name, source: h.Source, target: h.Target}
	if h.Target != "" {
		k.journal = j.identity(h.Name)
	}
	return k
}

// running is a gateway as it runs: its clusters and, with a target, journal and
// replication. Configurations come and go around it.
type running struct {
	key         gatewayKey
	made        int64 // counts up; a later one has a higher number
	clusters    map[string]*cluster.Cluster
	versions    map[string]string // as configured
	replication *replication
	tasks       *emulate.Tasks // jobs that outlive the requests which began them
	sample      sample
	readiness   *readiness.Watch
	log         relay

	mu     sync.Mutex
	owners []*Handler // of the configurations that use it, the newest last
}

// newRunning makes a gateway, and opens its journal if it has a target.
func newRunning(h *Handler, a *App) (*running, error) {
	r := &running{key: h.key(a.Journal), made: made.Add(1), clusters: map[string]*cluster.Cluster{}, versions: map[string]string{}, tasks: emulate.NewTasks(), log: newRelay()}
	r.log.set(a.slog.Handler())
	for name, c := range h.Clusters {
		v, err := parseVersion(c.Version)
		if err != nil {
			return nil, err
		}
		r.clusters[name] = cluster.New(name, h.ups[name], cluster.Options{Version: v})
		r.versions[name] = c.Version
	}
	var err error
	if r.replication, err = openReplication(h, a.Journal, r); err != nil {
		r.closeClusters()
		return nil, err
	}
	r.readiness = r.newReadiness(h)
	return r, nil
}

// attach makes a configuration the one whose ways to the clusters are used. If
// it names another master than the configuration before, the master is moved;
// if that cannot be done the error says why and nothing has changed.
func (r *running) attach(h *Handler) error {
	for name, c := range h.Clusters {
		if r.versions[name] != c.Version {
			return fmt.Errorf("cluster %s: its version cannot be changed by a reload; restart the process", name)
		}
	}
	r.mu.Lock()
	first := len(r.owners) == 0
	if !first && !h.sameRoles(r.owners[0]) {
		r.mu.Unlock()
		return fmt.Errorf("apply, capture and both_ways of a gateway that runs cannot be changed by a reload; restart the process")
	}
	if !first && !h.sameIndices(r.owners[0]) {
		r.mu.Unlock()
		return fmt.Errorf("indices of a gateway that runs cannot be changed by a reload: what was left out until now is not there; restart the process, then esperanto backfill brings it")
	}
	if !first && !h.sameTimes(r.owners[0]) {
		h.log.Warn("write_timeout, switch_timeout, master_lease, journal_timeout, grace, failover and journal_down have changed; a gateway that runs keeps its own until the process is restarted", "gateway", h.Name)
	}
	r.owners = append(r.owners, h)
	r.use(h)
	r.mu.Unlock()

	if first {
		return nil // it was made for this configuration
	}
	return r.replication.configure(h)
}

// detach undoes attach: the newest of the other configurations is used again.
func (r *running) detach(h *Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.Index(r.owners, h)
	if at < 0 {
		return
	}
	newest := at == len(r.owners)-1
	r.owners = slices.Delete(r.owners, at, at+1)
	if n := len(r.owners); newest && n > 0 {
		r.use(r.owners[n-1])
	}
}

// use sends to the clusters through a configuration's ways, and logs to its log.
func (r *running) use(h *Handler) {
	r.log.set(h.app.slog.Handler())
	r.readiness.Set(h.shares())
	r.replication.replicator.SetThrottle(h.throttle())
	for name, c := range r.clusters {
		c.SetSender(h.ups[name])
	}
}

// names are the names of the clusters, the source first.
func (r *running) names() []string {
	if r.key.target == "" {
		return []string{r.key.source}
	}
	return []string{r.key.source, r.key.target}
}

// Destruct implements caddy.Destructor.
func (r *running) Destruct() error {
	r.tasks.Close() // they write
	r.readiness.Close()
	err := r.replication.close()
	r.closeClusters()
	return err
}

func (r *running) closeClusters() {
	for _, c := range r.clusters {
		c.Close()
	}
}
