package replicate

import (
	"context"
	"errors"
	"net/http"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// Roles say what a process does of replication. Of those that share a journal some may
// only take writes, and some only apply them.
type Roles struct {
	Capture bool `json:"capture"` // it takes writes
	Apply   bool `json:"apply"`   // it applies them to the follower
}

func (r *Replicator) roleOf() Roles {
	return Roles{Capture: !r.cfg.NoCapture, Apply: r.replicating() && !r.cfg.NoApply}
}

func (c *Config) validateRoles() error {
	switch {
	case c.NoApply && !c.SharedJournal:
		return errors.New("the embedded journal belongs to one process: nobody else can apply")
	case c.NoApply && c.NoCapture:
		return errors.New("a process that neither captures nor applies has nothing to do")
	case c.NoCapture && c.AcceptDown:
		return errors.New("a process that captures nothing has no writes to accept while the journal is down")
	}
	return nil
}

// ErrNoCapture answers a write with what Elasticsearch says of a cluster that is read-only.
var ErrNoCapture error = &esapi.Error{Status: http.StatusForbidden, Type: "cluster_block_exception",
	Reason: "blocked by: this gateway only applies (capture off) and takes no writes; nothing was written, send it to a gateway that captures"}

// beginApplying notes in what all agree on that a process is there that applies. The
// first one has the applier begin paused, if its configuration says so.
func (r *Replicator) beginApplying(s *epoch.State) {
	if r.cfg.NoApply || s.Applied || s.Closing() {
		return
	}
	s.Applied = true
	if r.cfg.BeginPaused {
		s.Applier = "paused"
	}
}

// beginApplyingLater does so when it could not be done at the start, as the master was
// being moved.
func (r *Replicator) beginApplyingLater(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		_, err := r.change(ctx, func(s *epoch.State) error {
			if s.Closing() {
				return errUnderway
			}
			before := *s
			if r.beginApplying(s); *s == before {
				return errAsItIs
			}
			return nil
		})
		if err == nil || errors.Is(err, errAsItIs) {
			return
		}
		pause(ctx, attempt)
	}
}

const (
	errNobodyApplies = "no process applies: none with apply on was heard of"
	startApplying    = "start a gateway with apply on"
)

// nobodyApplies reports whether this process does not, and no other one that does was
// heard of.
func (r *Replicator) nobodyApplies() bool {
	return r.cfg.NoApply && r.known.Load() && len(r.members.appliers()) == 0
}

// appliers are the other gateways that apply.
func (m *members) appliers() (list []epoch.Sighting) {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.roll.Members() {
		if s.Instance != m.r.instance && !s.NoApply && !m.roll.CutOff(s) {
			list = append(list, s)
		}
	}
	return list
}

// account is how the applier of this process does, for the other ones.
func (a *applier) account() (s epoch.Applier) {
	now := a.r.cfg.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		s.Lag = max(s.Lag, ageOf(now, w.oldest.Load()))
		s.Open += w.openCount.Load()
		s.Oldest = max(s.Oldest, ageOf(now, w.openOldest.Load()))
	}
	s.Rate, s.Waits = a.rate.rate(now), a.reason
	s.Throttle, s.ThrottledBy = a.pace.slow()
	return s
}

// elsewhere completes a Status by what the other processes tell of the partitions that
// they apply.
func (r *Replicator) elsewhere(s *Status) {
	s.Throttle, s.ThrottledBy = r.applier.pace.slow()
	for _, m := range r.members.appliers() {
		s.LagSeconds = max(s.LagSeconds, m.Applier.Lag)
		s.OpenIntents += m.Applier.Open
		s.OldestIntent = max(s.OldestIntent, m.Applier.Oldest)
		if s.Throttle == "" {
			s.Throttle, s.ThrottledBy = m.Applier.Throttle, m.Applier.ThrottledBy
		}
	}
}

// appliersElsewhere completes it by how their appliers do.
func (r *Replicator) appliersElsewhere(s *Applier) {
	if r.cfg.NoApply {
		s.State = "off"
	}
	for _, m := range r.members.appliers() {
		s.Rate += m.Applier.Rate
		if s.Reason == "" && m.Applier.Waits != "" {
			s.Reason = "gateway " + m.Instance + " on " + m.Host + ": " + m.Applier.Waits
		}
	}
}
