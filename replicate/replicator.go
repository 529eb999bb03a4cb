package replicate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// A Replicator owns who the master is, what its writes did, and the bringing of
// it to the follower. It is safe for concurrent use.
type Replicator struct {
	cfg      Config
	log      *slog.Logger
	instance string // of this process, in its intents
	ids      *idMaker
	gate     gate
	ledger   *ledger
	control  control
	members  *members // nil unless the journal is shared
	applier  *applier
	jobs     *Jobs // nil if there is one cluster only
	resyncs  *resyncs
	owed     *owed
	counters counters
	made     madeIndices
	stood    stood
	desks    desks
	asides   *asides
	failover *failover

	selection *selection // nil: all indices, under their own names

	known      atomic.Bool // who the master is: Start has come to its end
	intentSeq  atomic.Uint64
	journalErr atomic.Pointer[error]  // the last failure of the journal; nil while it works
	switching  sync.Mutex             // held during a switchover
	obeying    sync.Mutex             // held while something is changed because all agree on it
	pending    atomic.Pointer[string] // why the configured master is not the master yet

	configuring sync.Mutex
	configured  string // the master that the configuration names
	unfollow    func() // ends moving the master to it in the background; nil if nobody does

	background context.Context // of what runs until Close
	stop       context.CancelFunc
	running    sync.WaitGroup
}

// New makes a Replicator. It neither asks a cluster nor reads the journal.
func New(cfg Config) (*Replicator, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	selection, err := newSelection(cfg.Indices)
	if err != nil {
		return nil, fmt.Errorf("indices: %w", err)
	}
	if selection.renames() {
		cfg.Target = cfg.Target.Renamed(selection) // from here on it knows the source's names
	}
	var instance [6]byte
	rand.Read(instance[:])
	r := &Replicator{
		cfg:       cfg,
		log:       cfg.Logger,
		instance:  hex.EncodeToString(instance[:]),
		ids:       newIDMaker(),
		ledger:    newLedger(),
		desks:     newDesks(),
		selection: selection,

		configured: cfg.Master,
	}
	r.gate.waitLimit, r.gate.maxWaiters = cfg.GateWait, cfg.GateWaiters
	r.gate.roles = r.rolesOf(cfg.Master, 1)
	if r.replicating() {
		r.applier = newApplier(r)
		r.control.table = cfg.Journal.Table("control")
		if cfg.SharedJournal {
			r.gate.guard.Lease = cfg.MasterLease
			r.members = newMembers(r)
		}
		r.jobs = newJobs(r)
		r.resyncs = newResyncs(r)
		r.asides = &asides{r: r, table: cfg.Journal.Table("aside")}
		r.failover = newFailover(r)
		if cfg.OwedFile != "" {
			if r.owed, err = openOwed(r, cfg.OwedFile); err != nil {
				return nil, fmt.Errorf("reading what was written while the journal was down: %w", err)
			}
			r.gate.accepts, r.gate.owes = cfg.AcceptDown, len(r.owed.list) > 0
		}
	}
	return r, nil
}

// replicating reports whether there are two clusters.
func (r *Replicator) replicating() bool { return r.cfg.Target != nil }

// rolesOf says who is who when a cluster is the master.
func (r *Replicator) rolesOf(master string, epoch uint64) roles {
	if r.cfg.Target != nil && r.cfg.Target.Name() == master {
		return roles{master: r.cfg.Target, follower: r.cfg.Source, epoch: epoch}
	}
	return roles{master: r.cfg.Source, follower: r.cfg.Target, epoch: epoch}
}

// clusterNamed returns one of the two clusters.
func (r *Replicator) clusterNamed(name string) *cluster.Cluster {
	for _, c := range []*cluster.Cluster{r.cfg.Source, r.cfg.Target} {
		if c != nil && c.Name() == name {
			return c
		}
	}
	return nil
}

// other is the cluster that effects of a cluster are applied to.
func (r *Replicator) other(name string) *cluster.Cluster {
	if r.cfg.Source.Name() == name {
		return r.cfg.Target
	}
	return r.cfg.Source
}

// Start reads who the master is from the journal and begins to apply. Clusters
// that are down do not keep it from starting, and neither does a shared journal:
// then writes wait at the gate until it tells who the master is. If the
// configuration names another master than when it was last read, the master is
// moved in the background, as soon as that works.
func (r *Replicator) Start(ctx context.Context) error {
	if !r.replicating() {
		r.known.Store(true)
		return nil
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.background, r.stop = background, stop
	ctx, cancel := context.WithTimeout(ctx, r.cfg.JournalTimeout)
	defer cancel()
	state, err := r.readControl(ctx)
	if err != nil && !r.cfg.SharedJournal {
		stop()
		r.owed.close()
		return err
	}
	if err != nil {
		r.log.Warn("writes wait until the journal tells who the master is", "reason", err)
		r.run(func() {
			for attempt := 0; err != nil && background.Err() == nil; attempt++ {
				pause(background, attempt)
				before := err.Error()
				if state, err = r.readControl(background); err != nil && err.Error() != before && background.Err() == nil {
					r.log.Warn("writes still wait until the journal tells who the master is", "reason", err)
				}
			}
			if err != nil {
				r.owed.close()
				return
			}
			r.begin(background, state)
		})
		return nil
	}
	r.begin(background, state)
	return nil
}

// readControl reads what is kept over restarts, or keeps it for the first time. With a
// shared journal the other gateways are told that there is one more.
func (r *Replicator) readControl(ctx context.Context) (epoch.State, error) {
	state, err := r.control.change(ctx, func(s *epoch.State) error {
		before := *s
		switch {
		case s.Master == "":
			*s = epoch.State{Master: r.cfg.Master, Epoch: 1, Configured: r.cfg.Master}
		case (s.Closing() || s.Hurry) && !r.cfg.SharedJournal:
			*s = s.GiveUp() // the process ended within a switchover
		}
		r.beginApplying(s)
		if *s == before {
			return errAsItIs
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAsItIs) {
		return state, fmt.Errorf("reading who the master is: %w", err)
	}
	if r.clusterNamed(state.Master) == nil {
		return state, foreignMaster(r, state)
	}
	if err := r.stays(state.Master); err != nil {
		return state, err
	}
	if err := r.movable(state.Master); err != nil {
		return state, fmt.Errorf("the master is %s: %w; move it to %s with the configuration from before, then start with this one", state.Master, err, r.cfg.Source.Name())
	}
	if err := r.applier.load(ctx, state.Applier == "paused"); err != nil {
		return state, fmt.Errorf("reading the dead letters: %w", err)
	}
	if r.members != nil {
		if err := r.owed.introduce(); err != nil {
			return state, err
		}
		if err := r.members.heartbeat(ctx); err != nil {
			return state, fmt.Errorf("telling the other gateways of this one: %w", err)
		}
	}
	return state, nil
}

// begin lets writes in and applies.
func (r *Replicator) begin(ctx context.Context, state epoch.State) {
	r.obey(state)
	r.known.Store(true)
	if r.members != nil {
		r.run(func() { r.members.run(ctx) })
	}
	if !state.Applied && !r.cfg.NoApply {
		r.run(func() { r.beginApplyingLater(ctx) })
	}
	r.run(func() { r.applier.restoreMemory(ctx) })
	if !r.cfg.NoApply {
		r.run(func() { r.applier.run(ctx) })
		r.run(func() { r.applier.retryOpened(ctx) })
		r.run(func() { r.jobs.goOn(ctx) })
		if r.bothWays() {
			r.run(func() { r.applier.waits.run(ctx) })
		}
		r.run(func() { r.resyncs.run(ctx) })
		r.run(func() { r.asides.run(ctx) })
	}
	if r.owed != nil {
		r.run(func() { r.owed.run(ctx) })
	}
	if r.cfg.Failover > 0 {
		r.run(func() { r.failover.run(ctx) })
	}
	if state.Configured == r.cfg.Master {
		return
	}
	if r.members.others() > 0 {
		// It may be this one that was started with an old file.
		reason := fmt.Sprintf("this gateway was started with master %s while others run that were told %s; a start moves the master only if no other gateway runs: reload the configuration, or use esperanto switch", r.cfg.Master, state.Configured)
		r.pending.Store(&reason)
		r.log.Warn("the configured master is not followed", "reason", reason)
		return
	}
	r.configuring.Lock()
	defer r.configuring.Unlock()
	r.follow(r.cfg.Master)
}

// run runs f in a goroutine that Close waits for.
func (r *Replicator) run(f func()) {
	r.running.Add(1)
	go func() {
		defer r.running.Done()
		f()
	}()
}

// Close waits for writes under way, within ctx, and stops the applier. What is
// not applied stays in the journal.
func (r *Replicator) Close(ctx context.Context) error {
	r.gate.close("this gateway is ending")
	left, err := r.gate.quiet(ctx)
	if r.stop != nil {
		r.stop()
	}
	stopped := make(chan struct{})
	go func() {
		r.running.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		r.gate.end()
		if r.selection.renames() {
			r.cfg.Target.Close() // it was made by New
		}
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("the applier did not stop in time: %w", ctx.Err()), err)
	}
	if n, _, _ := r.owed.count(); err == nil && r.known.Load() && n == 0 { // else its next process is waited for
		r.members.leave(ctx)
	}
	if err != nil {
		return fmt.Errorf("%d writes are still under way; they are read back at the next start: %w", left, err)
	}
	return nil
}
