package epoch

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Member is a gateway as its last heartbeat tells.
type Member struct {
	Instance string `json:"instance"`
	Term     uint64 `json:"term"` // see Guard.Beat
	Beat     uint64 `json:"beat"` // counts its heartbeats
	Host     string `json:"host,omitempty"`
	Epoch    uint64 `json:"epoch"`           // that it takes writes under
	Quiet    uint64 `json:"quiet,omitempty"` // see Guard.Vote
	InFlight int    `json:"in_flight"`
	LeaseMS  int64  `json:"lease_ms"`
	Accepts  bool   `json:"accepts,omitempty"` // it takes writes also when its lease has ended

	DownMS     int64 `json:"down_ms,omitempty"`     // for how long it has found the master of its epoch down; 0: it is alive
	FailoverMS int64 `json:"failover_ms,omitempty"` // after how long it would have the follower take over; 0: it does not ask whether the master is alive

	NoCapture bool    `json:"no_capture,omitempty"` // it takes no writes
	NoApply   bool    `json:"no_apply,omitempty"`   // it applies nothing
	Applier   Applier `json:"applier,omitzero"`     // how its part of the applier does

	Indices string    `json:"indices,omitempty"` // which it replicates, "" for all, for people
	Time    time.Time `json:"time"`              // by its clock, for people
}

// An Applier is how the applier of one gateway does, for the status of the others.
type Applier struct {
	Lag      float64 `json:"lag_s,omitempty"` // age of the oldest record in work, in seconds
	Open     int64   `json:"open,omitempty"`  // intents
	Oldest   float64 `json:"oldest_s,omitempty"`
	Rate     float64 `json:"rate,omitempty"`     // documents per second
	Waits    string  `json:"waits,omitempty"`    // why it does not get on
	Throttle string  `json:"throttle,omitempty"` // why it is slower than it could be

	ThrottledBy string `json:"throttled_by,omitempty"`
}

// A Roll is what one gateway knows of all: when it first saw the last heartbeat of
// each, by its own clock. The lease that the heartbeat prolonged began before that.
type Roll struct {
	seen   map[string]Sighting // by instance
	synced time.Time           // seen holds all heartbeats that were written before
}

// A Sighting is a member, and when its last heartbeat was seen first.
type Sighting struct {
	Member
	At time.Time
}

// Name is what a member goes by in the log: another one in each term.
func (m *Member) Name() string { return m.Instance + "." + strconv.FormatUint(m.Term, 10) }

// See takes notice of the heartbeats as the log shows them now. An older one that
// lands late changes nothing. Of a gateway with a later term the earlier one has ended.
func (r *Roll) See(members []Member, now time.Time) {
	next := map[string]Sighting{}
	for _, m := range members {
		if s, ok := next[m.Instance]; ok && s.Term > m.Term {
			continue
		}
		if s, ok := r.seen[m.Instance]; ok && (s.Term > m.Term || s.Term == m.Term && s.Beat >= m.Beat) {
			next[m.Instance] = s
			continue
		}
		next[m.Instance] = Sighting{m, now}
	}
	r.seen = next
}

// Sync is See, when the log is known to hold all that was written before the own
// heartbeat that began then.
func (r *Roll) Sync(members []Member, began, now time.Time) {
	r.See(members, now)
	r.synced = began
}

// wait is after which a member's lease has ended, also if its clock is slower than
// this one by 4 %.
func (s Sighting) wait() time.Duration {
	lease := time.Duration(s.LeaseMS) * time.Millisecond
	return lease + lease/10
}

// CutOff reports whether the lease of a member has ended for sure: it was not heard of
// for so long, and nothing of it was written meanwhile.
// One that Accepts goes on without it.
func (r *Roll) CutOff(s Sighting) bool { return !s.Accepts && r.synced.Sub(s.At) > s.wait() }

// Members are all that the log has, in the order of their instances.
func (r *Roll) Members() []Sighting {
	list := make([]Sighting, 0, len(r.seen))
	for _, s := range r.seen {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Sighting) int {
		return strings.Compare(a.Instance, b.Instance)
	})
	return list
}

// Missing are the members that may have something under way that has to wait since
// that state: neither has said that it has none, nor has its lease ended.
func (r *Roll) Missing(seq uint64) []Sighting {
	return slices.DeleteFunc(r.Members(), func(s Sighting) bool { return s.Quiet == seq || r.CutOff(s) })
}

// Silent are the members that were not heard of for longer than that, and whose lease
// has not ended for sure yet.
func (r *Roll) Silent(longer time.Duration, now time.Time) []Sighting {
	return slices.DeleteFunc(r.Members(), func(s Sighting) bool { return now.Sub(s.At) <= longer || r.CutOff(s) })
}

// Gone are those of all heartbeats in the log that need not be kept: of gateways that
// were not heard of for so long, and of terms that have ended. Nothing is decided by
// them any more, also if their gateway goes on: then it is in another term.
func (r *Roll) Gone(all []Member, longer time.Duration) []Member {
	var gone []Member
	for _, m := range all {
		s, ok := r.seen[m.Instance]
		if ok && (m.Term < s.Term || r.CutOff(s) && r.synced.Sub(s.At) > longer) {
			gone = append(gone, m)
		}
	}
	return gone
}
