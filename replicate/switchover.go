package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// Switchover makes another cluster the master:
//
//  1. it is refused early while something stands in the way;
//  2. a sentinel goes through every partition while writes go on, slower if the
//     applier would not keep up, until it comes back soon: the applier is close
//     to the journal's end;
//  3. writes wait at all gateways, and those under way come to their end with their
//     records; a gateway that does not answer has stopped taking writes by itself;
//  4. a second sentinel comes back from the applier: the follower has everything;
//  5. the follower makes it visible to searches, the new master and epoch become
//     durable, and writes go on at it.
//
// The error is a *SwitchError if it was refused or given up: then everything is
// as before. Without a master in req, ErrUnknownCluster.
// docs/design/switchover.md has the reasons.
func (r *Replicator) Switchover(ctx context.Context, req SwitchRequest) (SwitchResult, error) {
	return r.switchover(ctx, req, func(*epoch.State) {})
}

// notKnown is why nothing can be changed before Start has come to its end.
func notKnown() error {
	return &SwitchError{Reason: epoch.Unknown, NextSteps: []string{"bring the journal back, then try again"}}
}

// errUnderway is why another switchover is refused.
var errUnderway = &SwitchError{Reason: "another switchover is under way", NextSteps: []string{"try again in some seconds"}}

// switchover does it; also is changed in the control state with it.
func (r *Replicator) switchover(ctx context.Context, req SwitchRequest, also func(*epoch.State)) (SwitchResult, error) {
	if r.clusterNamed(req.Master) == nil {
		return SwitchResult{}, fmt.Errorf("%q: %w", req.Master, ErrUnknownCluster)
	}
	if !r.replicating() {
		return SwitchResult{Master: req.Master, Epoch: 1}, nil
	}
	if !r.known.Load() {
		return SwitchResult{}, notKnown()
	}
	if !r.switching.TryLock() {
		return SwitchResult{}, errUnderway
	}
	defer r.switching.Unlock()
	now := r.gate.now()
	if now.master.Name() == req.Master {
		if !req.DryRun {
			if err := r.keepConfigured(ctx, now, also); err != nil {
				return SwitchResult{}, fmt.Errorf("keeping who the master is: %w", err)
			}
		}
		return SwitchResult{Master: req.Master, Epoch: now.epoch}, nil
	}
	if r.bothWays() {
		return SwitchResult{}, errBothWays
	}
	m := move{now: now, next: r.rolesOf(req.Master, now.epoch+1), limit: r.cfg.SwitchTimeout, failing: req.Failover, unasked: req.unasked, also: also}
	if m.failing {
		m.limit = r.cfg.DrainTimeout // there is no master to write to meanwhile
	}
	if err := r.maymove(ctx, m); err != nil {
		return SwitchResult{}, err
	}
	if req.DryRun {
		return r.foretell(ctx, m.next), nil
	}
	if m.failing {
		if err := r.forgetGuesses(ctx); err != nil {
			return SwitchResult{}, r.givenUp(ctx, "before writes were made to wait", err)
		}
	} else {
		if err := r.approach(ctx, now); errors.Is(err, errUnderway) {
			return SwitchResult{}, errUnderway // who follows the configuration waits for that one
		} else if err != nil {
			return SwitchResult{}, r.givenUp(ctx, "before writes were made to wait", err)
		}
	}
	pause, err := r.cutOver(ctx, m)
	if err != nil {
		r.log.Warn("the switchover was given up", "master", now.master.Name(), "wanted", req.Master, "reason", err, "pause", pause)
		return SwitchResult{}, err
	}
	r.counters.switchover.Add(1)
	r.log.Info("the master was moved", "master", req.Master, "epoch", m.next.epoch, "pause", pause, "failover", m.failing)
	return SwitchResult{Master: req.Master, Epoch: m.next.epoch, PauseMS: float64(pause.Microseconds()) / 1000}, nil
}

// A move is what a switchover does.
type move struct {
	now, next roles
	limit     time.Duration // of the time in which writes wait
	failing   bool          // the master is down
	unasked   bool          // and no operator has asked for it
	also      func(*epoch.State)
}

// maymove tells what stands in the way of it.
func (r *Replicator) maymove(ctx context.Context, m move) error {
	if m.failing {
		if err := r.mayFail(ctx, m.now, m.unasked); err != nil {
			return err
		}
		return r.mustBeDown(ctx, m.now, m.unasked)
	}
	if err := r.mayswitch(ctx, m.now); err != nil {
		return err
	}
	if err := r.guardable(ctx, m.now.master, m.now.follower); err != nil {
		return err
	}
	return r.nothingAside(ctx)
}

// keepConfigured makes the change that comes with a switchover when the master is
// the right one already.
func (r *Replicator) keepConfigured(ctx context.Context, now roles, also func(*epoch.State)) error {
	_, err := r.change(ctx, func(s *epoch.State) error {
		if err := unmoved(s, now); err != nil {
			return err
		}
		before := *s
		if also(s); *s == before {
			return errAsItIs
		}
		return nil
	})
	if errors.Is(err, errAsItIs) {
		return nil
	}
	return err
}

// errAsItIs ends a change that changes nothing.
var errAsItIs = errors.New("there is nothing to change")

// unmoved refuses to go on from roles that are not those of the moment any more.
func unmoved(s *epoch.State, now roles) error {
	if s.Closing() || s.Epoch != now.epoch {
		return errUnderway
	}
	return nil
}

// mayswitch tells what stands in the way of making the follower the master.
func (r *Replicator) mayswitch(ctx context.Context, now roles) error {
	follower := now.follower.Name()
	if err := r.movable(follower); err != nil {
		return &SwitchError{Reason: err.Error(), NextSteps: renamedSteps}
	}
	if former := r.gate.state().Rejoin; former != "" {
		return &SwitchError{Reason: fmt.Sprintf("cluster %s was the master before a failover, and has not been made equal to the new one yet", former), NextSteps: []string{"bring cluster " + former + " back, then wait until the status has no rejoin any more"}}
	}
	if r.applier.isPaused() {
		return &SwitchError{Reason: "the applier is paused: the follower does not have what the master has", NextSteps: []string{"resume the applier"}}
	}
	if r.nobodyApplies() {
		return &SwitchError{Reason: errNobodyApplies, NextSteps: []string{startApplying}}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := r.cfg.Journal.Ping(ctx); err != nil {
		return &SwitchError{Reason: fmt.Sprintf("the journal does not work: %v", err), NextSteps: []string{"bring the journal back, then try again"}}
	}
	if err := r.members.sameIndices(ctx); err != nil {
		return err
	}
	if err := r.unbound(ctx); err != nil {
		return err
	}
	if err := r.resynced(ctx); err != nil {
		return err
	}
	if err := alive(ctx, now.follower); err != nil {
		return &SwitchError{Reason: fmt.Sprintf("the follower %s does not answer: %v", follower, err), NextSteps: []string{"bring cluster " + follower + " back, then try again"}}
	}
	backlog, _, err := r.backlog(ctx)
	if err != nil {
		return fmt.Errorf("reading the journal's bounds: %w", err)
	}
	if backlog > r.cfg.MaxBacklog {
		return &SwitchError{Reason: fmt.Sprintf("backlog %d records: too many to be applied while writes wait", backlog), NextSteps: []string{"wait until the backlog is below " + strconv.FormatInt(r.cfg.MaxBacklog, 10) + " records, then try again"}}
	}
	return nil
}

// unbound refuses to move the master while there is a job about the master and the
// follower of the moment.
func (r *Replicator) unbound(ctx context.Context) error {
	if kind, err := r.jobs.bound(ctx); err != nil {
		return fmt.Errorf("reading the jobs: %w", err)
	} else if kind != "" {
		return &SwitchError{Reason: "there is a " + kind + " under way: the follower does not have what the master has", NextSteps: []string{"wait for or cancel the " + kind}}
	}
	return nil
}

// resynced refuses to move the master while indices are to be resynced.
func (r *Replicator) resynced(ctx context.Context) error {
	if err := r.owesNothing(); err != nil {
		return err
	}
	why, err := r.resyncs.obstacle(ctx)
	if err == nil && why != "" {
		err = &SwitchError{Reason: why, NextSteps: resyncSteps}
	}
	return err
}

// alive reports whether a cluster answers, and is one of a version that is
// spoken.
func alive(ctx context.Context, c *cluster.Cluster) error {
	if _, err := c.Version(ctx); err != nil {
		return err
	}
	status, answer, err := c.Do(ctx, http.MethodGet, "/_cluster/health?timeout=2s", nil)
	if err != nil {
		return err
	}
	return c.Failed(status, answer)
}

// givenUp makes the error of a switchover that could not be done in time.
func (r *Replicator) givenUp(ctx context.Context, when string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	backlog, lag, _ := r.backlog(ctx)
	e := &SwitchError{Reason: fmt.Sprintf("given up %s: %v; backlog %d records, lag %.1f s", when, cause, backlog, lag.Seconds())}
	if reason := r.applierStatus().Reason; reason != "" {
		e.Reason += "; the applier waits: " + reason
		e.NextSteps = append(e.NextSteps, "look at why the applier waits")
	}
	e.NextSteps = append(e.NextSteps, "everything is as before; try again when the backlog is small")
	return e
}

// approach brings the applier so close to the journal's end that the rest takes a
// fraction of the time in which writes may wait. Where the writers are faster
// than the applier they are slowed down, at all gateways and more from round to
// round. Of a gateway that was not heard of lately it waits until it is again or its
// lease has ended: better now than while writes wait.
func (r *Replicator) approach(ctx context.Context, now roles) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DrainTimeout)
	defer cancel()
	defer func() { r.brake(context.WithoutCancel(ctx), now, 0, false) }()
	began, round := time.Now(), r.cfg.SwitchTimeout/4
	for delay := time.Duration(0); ; delay = brakeAfter(time.Since(began), round) {
		if err := r.brake(ctx, now, delay, true); err != nil {
			return err
		}
		if err := r.drain(ctx, round); err == nil {
			break
		} else if !errors.Is(err, errNotDrained) || ctx.Err() != nil {
			return err
		}
	}
	return r.members.allHeard(ctx)
}

// brakeDoubles is after which time at the latest writes are slowed down twice as much: also where
// they may wait for long, and so the rounds of approach take long.
const brakeDoubles = 1250 * time.Millisecond

// brakeAfter is how long each write is held when the applier has not come close for a time.
func brakeAfter(since, round time.Duration) time.Duration {
	doubled := since / max(1, min(round, brakeDoubles))
	return min(time.Millisecond<<min(doubled, 20), round)
}

// brake has all gateways hold each write for a while before it is let in, and the appliers
// hurry. It lasts for some seconds, in case this gateway dies.
func (r *Replicator) brake(ctx context.Context, now roles, delay time.Duration, hurry bool) error {
	if s := r.gate.state(); delay == 0 && s.Brake == 0 && hurry == s.Hurry {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.JournalTimeout)
	defer cancel()
	_, err := r.change(ctx, func(s *epoch.State) error {
		if err := unmoved(s, now); err != nil {
			return err
		}
		s.Brake, s.Hurry, s.Within = delay.Milliseconds(), hurry, (2 * r.cfg.SwitchTimeout).Milliseconds()
		return nil
	})
	return err
}

// cutOver is the part in which writes wait.
func (r *Replicator) cutOver(ctx context.Context, m move) (pause time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	began := time.Now()
	defer func() { pause = time.Since(began) }()
	closed, err := r.change(ctx, func(s *epoch.State) error {
		if err := unmoved(s, m.now); err != nil {
			return err
		}
		if s.Rejoin != "" {
			return errUnderway
		}
		if m.failing {
			*s = s.Fail(m.next.master.Name(), r.instance, m.limit)
		} else {
			*s = s.Close(m.next.master.Name(), r.instance, m.limit)
		}
		return nil
	})
	if never := (notChanged{}); errors.As(err, &never) {
		return 0, never.error
	}
	if err == nil {
		if err = r.handOver(ctx, closed, m); err == nil {
			return 0, nil
		}
	} else {
		err = r.givenUp(ctx, "since the journal did not confirm that writes wait", err)
	}
	if s, known := r.settle(ctx); known && s.Epoch == m.next.epoch && s.Master == m.next.master.Name() {
		return 0, nil // it was done all the same
	} else if !known {
		return 0, &SwitchError{Reason: err.Error() + "; nobody knows yet whether the journal keeps the new master",
			NextSteps: []string{"bring the journal back; then look at the status, who the master is"}}
	}
	return 0, err
}

// handOver waits until the follower has everything, and makes it the master.
func (r *Replicator) handOver(ctx context.Context, closed epoch.State, m move) error {
	if left, err := r.gate.quiet(ctx); err != nil {
		return r.givenUp(ctx, fmt.Sprintf("since %d writes were still under way", left), err)
	}
	if err := r.members.allQuiet(ctx, closed.Seq); err != nil {
		return r.givenUp(ctx, "since other gateways did not come to rest", err)
	}
	if err := r.drain(ctx, m.limit); err != nil {
		return r.givenUp(ctx, "since the follower did not catch up", err)
	}
	if err := catchUp(ctx, r.jobs.table); err != nil {
		return r.givenUp(ctx, "since it is not known what jobs there are", err)
	}
	if err := r.unbound(ctx); err != nil { // begun since it was looked at first
		return err
	}
	if err := r.resynced(ctx); err != nil { // asked for since it was looked at first
		return err
	}
	if !m.failing {
		if err := r.nothingAside(ctx); err != nil {
			return err
		}
	}
	if err := m.next.master.RefreshAll(ctx); err != nil {
		return r.givenUp(ctx, "since the follower could not be refreshed", err)
	}
	if err := r.members.sameIndices(ctx); err != nil { // started since it was looked at first
		return err
	}
	from := func(before epoch.State, f func(*epoch.State)) (epoch.State, error) {
		return r.change(ctx, func(s *epoch.State) error {
			if s.Seq != before.Seq {
				return errTooLong
			}
			f(s)
			return nil
		})
	}
	deadline, _ := ctx.Deadline()
	resting, err := from(closed, func(s *epoch.State) { *s = s.Rest(time.Until(deadline)) })
	if err != nil {
		return r.givenUp(ctx, "since the journal did not confirm that nothing is applied", err)
	}
	if err := r.rest(ctx, resting.Seq); err != nil {
		return r.givenUp(ctx, "since the applier did not come to rest", err)
	}
	still := func() error {
		if r.gate.state().Seq != resting.Seq || !r.gate.confirmed() {
			return errTooLong
		}
		return nil
	}
	if m.failing {
		if err := r.leaveBehind(ctx, m, still); err != nil {
			return err
		}
	} else if err := r.carryGuards(ctx, m.next.follower, m.next.master, still); err != nil {
		return r.givenUp(ctx, "since final pipelines and blocks could not be carried over", err)
	}
	if _, err := from(resting, func(s *epoch.State) { *s = s.Move(); m.also(s) }); err != nil {
		return r.givenUp(ctx, "since the new master could not be kept", err)
	}
	return nil
}

// errTooLong ends a switchover that may not be this gateway's any more.
var errTooLong = errors.New("it took so long, or the journal was out of reach for so long, that another gateway may have given it up")

// rest waits until nothing is being applied, by any gateway.
func (r *Replicator) rest(ctx context.Context, seq uint64) error {
	for r.gate.vote() != seq {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.members.allQuiet(ctx, seq)
}

// settle gives up what this gateway has begun, unless it is done already, and
// returns the state that is kept for sure. An error of the journal means "unknown":
// it may have kept what it was given, or keep it yet, until a later change is made.
// So one is made in any case, if need be in the background. Until then writes wait if the
// journal has them wait.
func (r *Replicator) settle(ctx context.Context) (s epoch.State, known bool) {
	once := func(ctx context.Context) (epoch.State, error) {
		ctx, cancel := context.WithTimeout(ctx, max(r.cfg.JournalTimeout/4, time.Second))
		defer cancel()
		return r.change(ctx, func(s *epoch.State) error {
			if s.Closing() && s.By == r.instance {
				*s = s.GiveUp()
			}
			return nil
		})
	}
	if s, err := once(context.WithoutCancel(ctx)); err == nil {
		return s, true
	}
	r.run(func() {
		for attempt := 0; r.background.Err() == nil; attempt++ {
			if _, err := once(r.background); err == nil {
				return
			}
			pause(r.background, attempt)
		}
	})
	return epoch.State{}, false
}

// change changes what all gateways agree on, and goes by it.
func (r *Replicator) change(ctx context.Context, f func(*epoch.State) error) (epoch.State, error) {
	s, err := r.control.change(ctx, f)
	if err == nil {
		r.obey(s)
	}
	return s, err
}

// obey goes by what all gateways agree on: if several states are heard of at once, by the last one.
func (r *Replicator) obey(s epoch.State) {
	r.obeying.Lock()
	defer r.obeying.Unlock()
	if next, ok := r.rolesIn(s); ok {
		r.gate.see(s, next)
		r.applier.setPaused(r.gate.state().Applier == "paused")
		r.applier.pace.lift(r.gate.hurries())
	}
}

// rolesIn says who is who in a state. It is not ok if the configuration does not have
// that cluster.
func (r *Replicator) rolesIn(s epoch.State) (roles, bool) {
	if r.clusterNamed(s.Master) == nil || r.movable(s.Master) != nil {
		return roles{}, false
	}
	next := r.rolesOf(s.Master, s.Epoch)
	if r.gate.now().master != next.master {
		next.master.Facts().ForgetAll() // as a follower it was not asked what clients do
	}
	return next, true
}

// drain sends a sentinel through every partition and waits until everything
// before it is applied, with all intents resolved.
// If that takes longer than limit the error is errNotDrained, whatever it was
// that took so long.
func (r *Replicator) drain(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.passThrough(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, errNotDrained) {
		return fmt.Errorf("%w: %v", errNotDrained, err)
	}
	return err
}

func (r *Replicator) passThrough(ctx context.Context) error {
	sentinels, err := r.sendSentinels(ctx)
	if err != nil {
		return fmt.Errorf("the journal does not take a record: %w", err)
	}
	for {
		progressed := r.applier.progressed()
		bounds, err := r.cfg.Journal.Bounds(ctx)
		if err != nil {
			return fmt.Errorf("reading the journal's bounds: %w", err)
		}
		reached := 0
		for _, b := range bounds {
			if at, ok := sentinels[b.Partition]; ok && b.Committed > at {
				reached++
			}
		}
		if reached == len(sentinels) {
			return nil
		}
		select {
		case <-progressed:
		case <-time.After(appliedLook): // another process may apply
		case <-ctx.Done():
			return errNotDrained
		}
	}
}

// appliedLook is how often it is looked at how far the appliers of other processes are.
const appliedLook = 25 * time.Millisecond

var errNotDrained = errors.New("the applier did not get to the journal's end in time")

var errUnplaced = errors.New("it does not tell where the record is")

// sendSentinels appends one record to each partition and returns their offsets.
func (r *Replicator) sendSentinels(ctx context.Context) (map[int32]int64, error) {
	type landed struct {
		at  journal.Position
		err error
	}
	n := int(r.cfg.Journal.Partitions())
	results := make(chan landed, n)
	id := r.nextIntentID()
	for p, key := range r.partitionKeys(n) {
		rec := record{Kind: kindSentinel, ID: id, From: r.gate.now().master.Name(), Epoch: r.gate.now().epoch}
		err := r.cfg.Journal.Append(journal.Record{Key: key, Value: rec.encode()}, func(at journal.Position, err error) { results <- landed{at, err} })
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", p, err)
		}
	}
	offsets := map[int32]int64{}
	for range n {
		select {
		case l := <-results:
			if l.err != nil {
				return nil, l.err
			}
			if l.at.Offset < 0 {
				return nil, errUnplaced
			}
			offsets[l.at.Partition] = l.at.Offset
		case <-ctx.Done():
			return nil, errSlowJournal
		}
	}
	return offsets, nil
}

// partitionKeys finds a key for every partition.
func (r *Replicator) partitionKeys(n int) map[int32]string {
	keys := map[int32]string{}
	for i := 0; len(keys) < n && i < 1_000_000; i++ {
		key := "_sentinel" + strconv.Itoa(i)
		p := r.cfg.Journal.Partition(key)
		if _, ok := keys[p]; !ok {
			keys[p] = key
		}
	}
	return keys
}

// SetConfiguredMaster follows a change of the configuration: if name is not
// what the configuration said before, the master is moved to it. A master that
// was moved by other means since stays.
func (r *Replicator) SetConfiguredMaster(ctx context.Context, name string) error {
	if r.clusterNamed(name) == nil {
		return fmt.Errorf("%q: %w", name, ErrUnknownCluster)
	}
	r.configuring.Lock()
	defer r.configuring.Unlock()
	if !r.replicating() || r.configured == name {
		return nil // it was followed, or is in the background
	}
	if r.unfollow != nil {
		r.unfollow()
	}
	if r.gate.state().Configured != name {
		if err := r.moveAsConfigured(ctx, name); err != nil {
			if r.unfollow != nil {
				r.follow(r.configured)
			}
			return err
		}
	}
	r.configured, r.unfollow = name, nil
	return nil
}

// moveAsConfigured moves the master to the configured one. Another gateway may be
// doing so, as all are told at about the same time: that is waited for.
func (r *Replicator) moveAsConfigured(ctx context.Context, name string) error {
	deadline := time.Now().Add(r.cfg.DrainTimeout)
	for {
		_, err := r.switchover(ctx, SwitchRequest{Master: name}, func(s *epoch.State) { s.Configured = name })
		if !errors.Is(err, errUnderway) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
		if r.gate.state().Configured == name {
			return nil
		}
	}
}

// follow has the master moved to the configured one in the background, until
// that works or unfollow is called. The caller holds configuring.
func (r *Replicator) follow(name string) {
	ctx, stop := context.WithCancel(r.background)
	ended := make(chan struct{})
	r.unfollow = func() {
		stop()
		<-ended
	}
	r.run(func() {
		defer close(ended)
		r.followConfiguration(ctx, name)
	})
}

// followConfiguration moves the master to the configured one as soon as that
// works.
func (r *Replicator) followConfiguration(ctx context.Context, name string) {
	defer r.pending.Store(nil)
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := r.moveAsConfigured(ctx, name)
		if err == nil {
			return
		}
		reason := err.Error()
		if old := r.pending.Swap(&reason); old == nil || *old != reason {
			r.log.Warn("the configured master is not the master yet", "configured", name, "master", r.gate.now().master.Name(), "reason", reason)
		}
		pause(ctx, attempt)
	}
}
