package replicate

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// Status tells how replication does. It asks the clusters and the journal, at
// most some seconds; what does not answer is shown as down.
func (r *Replicator) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now := r.gate.now()
	s := Status{Master: now.master.Name(), Configured: r.cfg.Master, Epoch: now.epoch, Counters: r.Counts(), Roles: r.roleOf(), NextSteps: []string{}}
	inflight, waiting := r.gate.counts()
	s.WritesInFlight, s.WritesWaiting = int64(inflight), int64(waiting)
	s.Clusters = r.clusterStates(ctx, now)
	if !r.replicating() {
		s.Applier.State = "running"
		s.NextSteps = append(s.NextSteps, "name a second cluster as target to begin to replicate")
		return s
	}
	if !r.known.Load() {
		s.NextSteps = append(s.NextSteps, "writes wait: "+notKnown().Error()+"; bring the journal back")
	} else {
		s.Configured = r.gate.state().Configured
	}
	if r.gate.state().Closing() {
		s.Phase, s.Switching = "closing", true
	}
	s.Members = r.members.status()
	if pending := r.pending.Load(); pending != nil {
		s.ConfiguredReason = *pending
	}
	if r.switching.TryLock() {
		r.switching.Unlock()
	} else {
		s.Switching = true
	}
	if err := r.refreshDead(ctx); err != nil {
		r.log.Debug("the dead letters of other gateways are not known", "reason", err)
	}
	if r.selection != nil {
		s.Indices = &r.selection.Indices
	}
	s.DeadLetters = int64(r.applier.dead.count())
	s.Applier = r.applierStatus()
	s.BothWays, s.Remembered = r.cfg.BothWays, r.applier.waits.count()
	r.partitionStates(ctx, &s)
	r.elsewhere(&s)
	r.backfillState(ctx, &s)
	r.resyncState(ctx, &s)
	r.owedState(&s)
	r.failoverState(ctx, &s)
	s.NextSteps = append(s.NextSteps, r.nextSteps(&s)...)
	return s
}

// clusterStates asks both clusters, at the same time.
func (r *Replicator) clusterStates(ctx context.Context, now roles) []ClusterStatus {
	var list []ClusterStatus
	var asked sync.WaitGroup
	clusters := []*cluster.Cluster{now.master}
	if now.follower != nil {
		clusters = append(clusters, now.follower)
	}
	list = make([]ClusterStatus, len(clusters))
	for i, c := range clusters {
		asked.Go(func() {
			list[i] = clusterState(ctx, c)
			list[i].Role = [...]string{"master", "follower"}[i]
		})
	}
	asked.Wait()
	return list
}

func clusterState(ctx context.Context, c *cluster.Cluster) ClusterStatus {
	s := ClusterStatus{Name: c.Name(), Health: "down"}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	v, err := c.Version(ctx)
	if err != nil {
		s.Reason = err.Error()
		return s
	}
	s.Version = v.String()
	status, answer, err := c.Do(ctx, http.MethodGet, "/_cluster/health?timeout=2s", nil)
	if err == nil && status != http.StatusRequestTimeout {
		err = c.Failed(status, answer)
	}
	if err != nil {
		s.Reason = err.Error()
		return s
	}
	if h := gjson.GetBytes(answer, "status").String(); h != "" {
		s.Health = h
	}
	return s
}

func (r *Replicator) applierStatus() Applier {
	a := r.applier
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Applier{State: "running", Reason: a.reason, Error: a.lastErr, Rate: a.rate.rate(r.cfg.Now())}
	r.appliersElsewhere(&s)
	if a.paused {
		s.State, s.Reason = "paused", "paused by the operator"
	}
	if !a.errTime.IsZero() {
		since := a.errTime
		s.Since = &since
	}
	return s
}

// partitionStates completes a Status by what the journal and the workers tell.
func (r *Replicator) partitionStates(ctx context.Context, s *Status) {
	bounds, err := r.cfg.Journal.Bounds(ctx)
	if err != nil {
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("bring the journal back: %v", err))
		return
	}
	now := r.cfg.Now()
	r.applier.mu.Lock()
	defer r.applier.mu.Unlock()
	for _, b := range bounds {
		p := PartitionStatus{Partition: b.Partition, Next: b.Next, Committed: b.Committed, Backlog: b.Next - b.Committed}
		if w := r.applier.workers[b.Partition]; w != nil {
			p.LagSeconds = ageOf(now, w.oldest.Load())
			s.OpenIntents += w.openCount.Load()
			s.OldestIntent = max(s.OldestIntent, ageOf(now, w.openOldest.Load()))
		}
		s.Backlog += p.Backlog
		s.LagSeconds = max(s.LagSeconds, p.LagSeconds)
		s.Partitions = append(s.Partitions, p)
	}
}

// ageOf is how long ago a time in unix ms is, in seconds; 0 for no time.
func ageOf(now time.Time, ms int64) float64 {
	if ms == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(ms)).Seconds())
}

// backlog is the number of records that are not applied, and the age of the
// oldest one in work.
func (r *Replicator) backlog(ctx context.Context) (records int64, lag time.Duration, err error) {
	var s Status
	bounds, err := r.cfg.Journal.Bounds(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, b := range bounds {
		records += b.Next - b.Committed
	}
	r.partitionStates(ctx, &s)
	r.elsewhere(&s)
	return records, time.Duration(s.LagSeconds * float64(time.Second)), nil
}

// nextSteps says what an operator could do.
func (r *Replicator) nextSteps(s *Status) []string {
	var steps []string
	for _, c := range s.Clusters {
		if c.Health == "down" {
			steps = append(steps, fmt.Sprintf("cluster %s (%s) does not answer: %s", c.Name, c.Role, c.Reason))
		}
	}
	if s.Applier.State == "paused" {
		steps = append(steps, "resume the applier: POST /esperanto/apply {\"state\":\"running\"}")
	} else if s.Applier.Reason != "" {
		steps = append(steps, "the applier waits: "+s.Applier.Reason)
	}
	if r.nobodyApplies() {
		steps = append(steps, errNobodyApplies+": "+startApplying)
	}
	if s.Throttle != "" && s.Backlog > 0 {
		steps = append(steps, "the applier is throttled: "+s.Throttle)
	}
	if s.DeadLetters > 0 {
		steps = append(steps, fmt.Sprintf("look at %d dead letters, mend their reason, and retry or drop them", s.DeadLetters))
	}
	if s.ConfiguredReason != "" {
		steps = append(steps, "the master is not the configured one yet: "+s.ConfiguredReason)
	}
	for _, m := range s.Members {
		if m.OtherIndices != "" {
			steps = append(steps, fmt.Sprintf("gateway %s on %s replicates other indices than this one (%s): give all gateways on one journal the same indices", m.Instance, m.Host, m.OtherIndices))
		}
		if m.Accepts && m.HeardSeconds > 2*r.cfg.MasterLease.Seconds() {
			steps = append(steps, silentAccepting(m))
		}
		if m.CutOff {
			steps = append(steps, fmt.Sprintf("gateway %s on %s was not heard of for %.0f s and has stopped taking writes; look whether it reaches the journal", m.Instance, m.Host, m.HeardSeconds))
		}
	}
	if r.members != nil && r.known.Load() && !r.gate.confirmed() {
		steps = append(steps, "writes wait: "+epoch.Unconfirmed+"; bring the journal back")
	}
	return steps
}

// Apply sets the applier's state, "paused" or "running". It outlives a restart.
func (r *Replicator) Apply(ctx context.Context, state string) error {
	if state != "paused" && state != "running" {
		return fmt.Errorf("state %q of the applier: it is \"paused\" or \"running\"", state)
	}
	if !r.replicating() {
		return fmt.Errorf("there is no second cluster to apply to")
	}
	if !r.known.Load() {
		return notKnown()
	}
	kept := state
	if state == "running" {
		kept = ""
	}
	if _, err := r.change(ctx, func(s *epoch.State) error {
		if s.Closing() {
			return errUnderway // it would be given up for that
		}
		s.Applier = kept
		return nil
	}); err != nil {
		return fmt.Errorf("keeping the applier's state: %w", err)
	}
	return nil
}
