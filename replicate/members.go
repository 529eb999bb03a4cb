package replicate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// memberPrefix begins the keys of the gateways' heartbeats. They stand in the table
// "control", whose order with the states is what a lease is about.
const memberPrefix = "member/"

// members are the gateways that share the journal, this one among them. A nil
// *members is that of a journal which is not shared.
type members struct {
	r    *Replicator
	host string

	beating sync.Mutex // held during a heartbeat
	beat    uint64

	mu     sync.Mutex
	roll   epoch.Roll
	me     epoch.Member // as the last heartbeat that succeeded has it
	voted  uint64       // what the last heartbeat said, whatever became of it
	reason string       // why the last heartbeat failed, or ""

	kick chan struct{} // a heartbeat is wanted now; capacity 1
}

func newMembers(r *Replicator) *members {
	host, _ := os.Hostname()
	return &members{r: r, host: host, kick: make(chan struct{}, 1)}
}

const (
	// beatsPerLease is how many heartbeats there are in the time of a lease.
	beatsPerLease = 5
	// watchPause is how often the state is looked at. That asks nobody: the journal
	// keeps a copy of the table.
	watchPause = 20 * time.Millisecond
	// forgetAfter is how long the heartbeat of a gateway is kept that is gone.
	forgetAfter = 10 * time.Minute
)

// heartbeat says that this gateway is there and prolongs its lease.
func (m *members) heartbeat(ctx context.Context) error {
	m.beating.Lock()
	defer m.beating.Unlock()
	err := m.beatOnce(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.reason
	m.reason = ""
	if err != nil {
		m.reason = err.Error()
	}
	switch {
	case err != nil && before == "":
		m.r.log.Warn("the journal did not take a heartbeat; writes wait when the lease ends", "lease", m.r.cfg.MasterLease, "reason", err)
	case err == nil && before != "":
		m.r.log.Info("the journal takes heartbeats again")
	}
	return err
}

func (m *members) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.r.cfg.MasterLease)
	defer cancel()
	began := time.Now()
	me := m.r.gate.beat()
	m.beat++
	me.Instance, me.Beat, me.Host, me.Time = m.r.instance, m.beat, m.host, m.r.cfg.Now()
	me.DownMS, me.FailoverMS = m.r.failover.down().Milliseconds(), m.r.cfg.Failover.Milliseconds()
	me.NoCapture, me.NoApply, me.Applier = m.r.cfg.NoCapture, m.r.cfg.NoApply, m.r.applier.account()
	me.Indices = m.r.selection.told()
	m.mu.Lock()
	m.voted = me.Quiet
	m.mu.Unlock()
	raw, err := json.Marshal(me)
	if err != nil {
		return err
	}
	if err := m.r.control.table.Put(ctx, memberPrefix+me.Name(), raw); err != nil {
		return err
	}
	// What is read now holds all that was written before the heartbeat.
	s, _, err := m.r.control.read(ctx)
	if err != nil {
		return err
	}
	all, err := m.read(ctx)
	if err != nil {
		return err
	}
	next, ok := m.r.rolesIn(s)
	if !ok {
		return foreignMaster(m.r, s)
	}
	m.mu.Lock()
	m.roll.Sync(all, began, time.Now())
	m.me = me
	m.mu.Unlock()
	m.r.gate.confirm(me.Term, began, s, next)
	m.r.obey(s)
	return nil
}

// foreignMaster says that the journal belongs to other clusters.
func foreignMaster(r *Replicator, s epoch.State) error {
	return fmt.Errorf("the journal says that cluster %q is the master, but the configuration has %q and %q only; name that cluster again, or start with an empty journal",
		s.Master, r.cfg.Source.Name(), r.cfg.Target.Name())
}

// read reads all heartbeats.
func (m *members) read(ctx context.Context) (all []epoch.Member, err error) {
	err = m.r.control.table.Scan(ctx, func(key string, value []byte) bool {
		if strings.HasPrefix(key, memberPrefix) {
			var one epoch.Member
			if json.Unmarshal(value, &one) == nil {
				all = append(all, one)
			}
		}
		return true
	})
	return all, err
}

// look takes notice of new heartbeats.
func (m *members) look(ctx context.Context) error {
	all, err := m.read(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roll.See(all, time.Now())
	return nil
}

// run sends heartbeats and goes by what all agree on, until ctx ends.
func (m *members) run(ctx context.Context) {
	m.r.run(func() { m.watch(ctx) })
	tick := time.NewTicker(m.r.cfg.MasterLease / beatsPerLease)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-m.kick:
		case <-ctx.Done():
			return
		}
		if m.heartbeat(ctx) != nil {
			continue
		}
		if n%100 == 0 {
			m.forget(ctx)
		}
		if n%beatsPerLease == 0 {
			_ = m.r.refreshDead(ctx) // later, then
		}
	}
}

// watch looks at the state between the heartbeats, so that nobody waits for long.
func (m *members) watch(ctx context.Context) {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if s, _, err := m.r.control.read(ctx); err == nil {
			m.r.obey(s)
		}
		vote := m.r.gate.vote()
		m.mu.Lock()
		news := vote != 0 && vote != m.voted
		m.mu.Unlock()
		if news {
			select {
			case m.kick <- struct{}{}:
			default:
			}
		}
		if m.r.gate.overdue() || m.failedBy() {
			m.giveUp(ctx)
		}
	}
}

// failedBy reports whether the gateway that does a failover has ended: as nothing is
// written meanwhile, its time is not waited for.
func (m *members) failedBy() bool {
	s := m.r.gate.state()
	if !s.Failing() || s.By == m.r.instance {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.roll.Ended(s.By)
}

// giveUp ends a switchover in the place of a gateway that did not.
func (m *members) giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.r.cfg.MasterLease)
	defer cancel()
	seen := m.r.gate.state()
	_, err := m.r.change(ctx, func(s *epoch.State) error {
		if s.Seq != seen.Seq {
			return errAsItIs
		}
		*s = s.GiveUp()
		return nil
	})
	if err == nil {
		m.r.log.Warn("a switchover was given up in the place of the gateway that had begun it", "gateway", seen.By, "wanted", seen.To, "master", seen.Master)
	}
}

// forget deletes heartbeats of gateways that are gone, and of former terms.
func (m *members) forget(ctx context.Context) {
	all, err := m.read(ctx)
	if err != nil {
		return
	}
	m.mu.Lock()
	gone := m.roll.Gone(all, forgetAfter)
	m.mu.Unlock()
	for _, one := range gone {
		if m.r.control.table.Delete(ctx, memberPrefix+one.Name()) != nil {
			return
		}
	}
}

// bury deletes the heartbeats of former processes of this gateway, which would be
// waited for otherwise.
func (m *members) bury(ctx context.Context, instances []string) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		all, err := m.read(ctx)
		for _, one := range all {
			if err == nil && one.Instance != m.r.instance && slices.Contains(instances, one.Instance) {
				err = m.r.control.table.Delete(ctx, memberPrefix+one.Name())
			}
		}
		if err == nil {
			return
		}
		pause(ctx, attempt)
	}
}

// silent reports whether nothing was heard of instances for longer than their leases:
// their processes have ended, and are not about to, as with a reload.
func (m *members) silent(instances []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.roll.Members() {
		lease := time.Duration(s.LeaseMS) * time.Millisecond
		if slices.Contains(instances, s.Instance) && time.Since(s.At) <= lease+lease/10 {
			return false
		}
	}
	return true
}

// DropMember has a gateway not be waited for any more that has ended for good, and
// that took writes without the journal. One that was heard of lately is not dropped,
// unless it is forced: it would take writes for a master that was moved.
func (r *Replicator) DropMember(ctx context.Context, instance string, force bool) error {
	unknown := &JobError{"there is no other gateway " + instance, []string{"name one of those that GET /esperanto/status shows"}}
	if r.members == nil || instance == "" || instance == r.instance {
		return unknown
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.JournalTimeout)
	defer cancel()
	if err := r.members.heartbeat(ctx); err != nil { // what is known of the others is new then
		return fmt.Errorf("the journal does not tell which gateways there are: %w", err)
	}
	other, ok := r.members.sighting(instance)
	if !ok {
		return unknown
	}
	if !force && !r.members.silent([]string{instance}) {
		return &JobError{fmt.Sprintf("gateway %s on %s was heard of %.1f s ago: it runs, and takes writes", instance, other.Host, time.Since(other.At).Seconds()),
			[]string{"stop it; it is dropped by itself if it owes nothing", fmt.Sprintf("or try again when nothing was heard of it for %.0f s", 1.1*float64(other.LeaseMS)/1000),
				`or, if it takes no writes for sure: {"instance":"` + instance + `","force":true}`}}
	}
	r.members.bury(ctx, []string{instance})
	return ctx.Err()
}

func (m *members) sighting(instance string) (epoch.Sighting, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.roll.Members() {
		if s.Instance == instance {
			return s, true
		}
	}
	return epoch.Sighting{}, false
}

// leave says that this gateway takes no writes any more. Its gate is closed and no
// write is under way.
func (m *members) leave(ctx context.Context) {
	if m == nil {
		return
	}
	m.mu.Lock()
	names := []string{m.me.Name()}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	all, err := m.read(ctx)
	for _, one := range all { // those of former terms stay when the journal was away
		if one.Instance == m.r.instance && !slices.Contains(names, one.Name()) {
			names = append(names, one.Name())
		}
	}
	for _, name := range names {
		err = errors.Join(err, m.r.control.table.Delete(ctx, memberPrefix+name))
	}
	if err != nil {
		m.r.log.Debug("the last heartbeat stays in the journal", "reason", err)
	}
}

// allQuiet waits until no other gateway has writes under way since they wait.
func (m *members) allQuiet(ctx context.Context, seq uint64) error {
	return m.await(ctx, func() []epoch.Sighting { return m.roll.Missing(seq) })
}

// allHeard waits until each gateway was heard of lately, or its lease has ended.
func (m *members) allHeard(ctx context.Context) error {
	return m.await(ctx, func() []epoch.Sighting { return m.roll.Silent(m.r.cfg.MasterLease/2, time.Now()) })
}

// await waits until nobody but this gateway is left. left is called with the mutex
// held.
func (m *members) await(ctx context.Context, left func() []epoch.Sighting) error {
	if m == nil {
		return nil
	}
	for {
		if err := m.look(ctx); err != nil {
			return err
		}
		var names []string
		m.mu.Lock()
		for _, s := range left() {
			if s.Instance != m.r.instance {
				names = append(names, fmt.Sprintf("%s on %s (%d writes under way, last heard of %.1f s ago)", s.Instance, s.Host, s.InFlight, time.Since(s.At).Seconds()))
			}
		}
		m.mu.Unlock()
		if len(names) == 0 {
			return nil
		}
		select {
		case <-time.After(watchPause / 2):
		case <-ctx.Done():
			return errors.New("gateway " + strings.Join(names, ", gateway "))
		}
	}
}

// sameIndices refuses to move the master while another gateway replicates other indices:
// what it was given to apply and has left out is not at the follower.
func (m *members) sameIndices(ctx context.Context) error {
	if m == nil {
		return nil
	}
	if err := m.look(ctx); err != nil {
		return fmt.Errorf("the journal does not tell which gateways there are: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.roll.Members() {
		if m.hasOtherIndices(s) && !m.roll.CutOff(s) {
			return &SwitchError{Reason: fmt.Sprintf("gateway %s on %s replicates other indices than this one (%s): the follower does not have what the master has", s.Instance, s.Host, cmp.Or(s.Indices, "all")),
				NextSteps: []string{"give all gateways on one journal the same indices", "verify with repair, as that gateway may have left out documents; then try again"}}
		}
	}
	return nil
}

func (m *members) hasOtherIndices(s epoch.Sighting) bool {
	return s.Instance != m.r.instance && s.Indices != m.r.selection.told()
}

// others reports how many other gateways were heard of lately. It is for questions
// that a mistake does no harm to.
func (m *members) others() int {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, s := range m.roll.Members() {
		if s.Instance != m.r.instance && m.r.cfg.Now().Sub(s.Time) < 2*m.r.cfg.MasterLease {
			n++
		}
	}
	return n
}

// status shows them.
func (m *members) status() (list []MemberStatus) {
	if m == nil {
		return nil
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	closed := m.r.gate.state()
	for _, s := range m.roll.Members() {
		list = append(list, MemberStatus{Instance: s.Instance, Host: s.Host, This: s.Instance == m.r.instance, Epoch: s.Epoch, HeardSeconds: now.Sub(s.At).Seconds(),
			Roles: Roles{Capture: !s.NoCapture, Apply: !s.NoApply}, WritesInFlight: s.InFlight, Quiet: closed.Closing() && s.Quiet == closed.Seq, CutOff: m.roll.CutOff(s), Accepts: s.Accepts})
		if m.hasOtherIndices(s) {
			list[len(list)-1].OtherIndices = cmp.Or(s.Indices, "all")
		}
	}
	return list
}
