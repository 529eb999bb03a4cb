package epoch

import "time"

// A State is what all gateways agree on. It is changed only from one to the next,
// by swapping it in the journal's table "control".
type State struct {
	Seq        uint64 `json:"seq,omitempty"` // counts the changes
	Master     string `json:"master"`
	Epoch      uint64 `json:"epoch"`
	Configured string `json:"configured"`        // the master in the configuration when it was last followed
	Applier    string `json:"applier,omitempty"` // "paused", or "" for running
	Applied    bool   `json:"applied,omitempty"` // a gateway was there that applies: its configuration does not pause the applier any more

	// While the master is being moved.
	Phase  string `json:"phase,omitempty"` // "closing": writes wait; "closed": applying, too
	To     string `json:"to,omitempty"`
	By     string `json:"by,omitempty"`       // instance of the gateway that does it
	Within int64  `json:"limit_ms,omitempty"` // how long it may take
	Brake  int64  `json:"brake_ms,omitempty"` // how long each write is held before that, so that the applier gets near
	Hurry  bool   `json:"hurry,omitempty"`    // nothing throttles the appliers meanwhile

	// After a switchover was given up: the cluster that was to become the master may get
	// yet what only the master has, and in which state that was.
	Late   string `json:"late,omitempty"`
	LateIn uint64 `json:"late_in,omitempty"`

	Failover bool   `json:"failover,omitempty"` // the master is moved since it is down
	Rejoin   string `json:"rejoin,omitempty"`   // the master before a failover, until it is as the new one is
}

const (
	closing = "closing"
	closed  = "closed"
)

// Closing reports whether writes wait because the master is being moved.
func (s State) Closing() bool { return s.Phase != "" }

// Closed reports whether nothing is applied either.
func (s State) Closed() bool { return s.Phase == closed }

// Close has writes wait everywhere, until the follower has everything.
func (s State) Close(to, by string, limit time.Duration) State {
	s.Phase, s.To, s.By, s.Within, s.Brake = closing, to, by, limit.Milliseconds(), 0
	return s
}

// Rest has the appliers wait everywhere, too: who does not know yet that the master was
// moved must not make its follower of before, which is the master, equal to anything. limit
// is what is left of that of Close.
func (s State) Rest(limit time.Duration) State {
	s.Phase, s.Within = closed, limit.Milliseconds()
	return s
}

// Move ends Close and Rest with the new master.
func (s State) Move() State {
	if s.Failover {
		s.Rejoin = s.Master
	}
	s.Master, s.Epoch = s.To, s.Epoch+1
	return s.open()
}

// GiveUp ends them with the master that was. The epoch stays the same: what was
// written under it is as good as before.
func (s State) GiveUp() State {
	if s.Closed() && !s.Failover {
		s.Late, s.LateIn = s.To, s.Seq
	}
	return s.open()
}

// Settle ends the time in which something may come late.
func (s State) Settle() State {
	s.Late, s.LateIn = "", 0
	return s
}

func (s State) open() State {
	s.Phase, s.To, s.By, s.Within, s.Brake, s.Hurry, s.Failover = "", "", "", 0, 0, false, false
	return s
}

// Limit is how long moving the master may take.
func (s State) Limit() time.Duration { return time.Duration(s.Within) * time.Millisecond }
