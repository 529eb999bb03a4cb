package epoch

import "time"

// A Guard decides for one gateway whether writes may be let in, sent and
// acknowledged, and whether its applier may work. The gateway holds a lease: each heartbeat that it writes into the
// log of states, and reads back together with all that stands before it, prolongs
// that. Who wants to move the master waits until each gateway has said that no write
// is under way, or its lease must have ended.
//
// The zero Guard with a State is that of a gateway which has the journal to itself:
// nobody else moves the master, so its lease does not end.
type Guard struct {
	Lease time.Duration // 0: the journal is not shared

	state State
	since time.Time // state was seen first
	until time.Time // the lease ends
	term  uint64    // counts how often it has begun anew
}

// A Pass is what a write was let in under. It holds as long as no other epoch has
// begun and the lease has not ended in between.
type Pass struct{ epoch, term uint64 }

// See takes notice of a state of the log, from whatever source. One that is older
// than what was seen before changes nothing.
func (g *Guard) See(s State, now time.Time) {
	if g.known() && s.Seq <= g.state.Seq {
		return
	}
	g.state, g.since = s, now
}

// Beat begins a heartbeat and returns the term that it is of. If the lease has ended
// a new term begins: writes of before do not count any more, as others may not have
// waited for them. In each term a gateway goes by another name, so that the name of a
// term that has ended can be forgotten at any time.
func (g *Guard) Beat(now time.Time) (term uint64) {
	if !g.Held(now) {
		g.term++
		g.until = time.Time{}
	}
	return g.term
}

// Confirm prolongs the lease: a heartbeat of that term that began then was written,
// and s is the state as of it or later. It does not if the lease has ended meanwhile.
func (g *Guard) Confirm(term uint64, began, now time.Time, s State) {
	g.See(s, now)
	if term != g.term || !g.until.IsZero() && !g.Held(now) {
		return
	}
	g.until = began.Add(g.Lease)
}

func (g *Guard) known() bool { return g.state.Master != "" }

// Held reports whether the lease has not ended.
func (g *Guard) Held(now time.Time) bool { return g.Lease == 0 || now.Before(g.until) }

// State is the newest one that was seen.
func (g *Guard) State() State { return g.state }

// Since is when it was seen first.
func (g *Guard) Since() time.Time { return g.since }

// The reasons for which writes wait.
const (
	Unknown     = "the journal does not tell yet who the master is"
	Moving      = "the master is being moved"
	Unconfirmed = "the journal does not confirm who the master is"
	Rejoining   = "the former master has to be made equal to the new one first, when it answers"
)

// Admit lets a write in, or says why not.
func (g *Guard) Admit(now time.Time) (Pass, string) {
	switch {
	case !g.known():
		return Pass{}, Unknown
	case g.state.Closing():
		return Pass{}, Moving
	case !g.Held(now):
		return Pass{}, Unconfirmed
	}
	return Pass{g.state.Epoch, g.term}, ""
}

// Trust lets a write in although the lease has ended. Only a gateway does so whose
// heartbeats say that it Accepts: nobody moves the master without its vote.
func (g *Guard) Trust() Pass { return Pass{g.state.Epoch, g.term} }

// Trusts reports whether a write of such a gateway may be sent, or acknowledged.
func (g *Guard) Trusts(p Pass) bool { return p.epoch == g.state.Epoch }

// Brake is how long a write is held before it is let in. It ends by itself if nobody
// renews it.
func (g *Guard) Brake(now time.Time) time.Duration {
	if g.state.Closing() || now.Sub(g.since) > g.state.Limit() {
		return 0
	}
	return time.Duration(g.state.Brake) * time.Millisecond
}

// Hurry reports whether the appliers go as fast as they can, since the master is about to
// be moved. Like Brake it ends by itself.
func (g *Guard) Hurry(now time.Time) bool {
	return g.state.Closing() || g.state.Hurry && now.Sub(g.since) <= g.state.Limit()
}

// Valid reports whether a write that was let in may be sent, or acknowledged. While
// the master is being moved it may: who moves it waits for it.
func (g *Guard) Valid(p Pass, now time.Time) bool {
	return g.Held(now) && p == Pass{g.state.Epoch, g.term}
}

// Apply lets something be applied to the follower, or says why not.
func (g *Guard) Apply(now time.Time) string {
	switch {
	case !g.known():
		return Unknown
	case g.state.Closed():
		return Moving
	case !g.Held(now):
		return Unconfirmed
	case g.state.Rejoin != "":
		return Rejoining
	}
	return ""
}

// Vote is what a heartbeat says when so many writes, and things applied, are under way:
// the number of the state in which they have to wait, if none is, else 0. Nothing is let in
// between a vote and the next state.
func (g *Guard) Vote(writes, applied int) uint64 {
	if g.state.Closing() && writes == 0 && (applied == 0 || !g.state.Closed()) {
		return g.state.Seq
	}
	return 0
}

// overtime is given to who moves the master beyond its own limit.
const overtime = time.Second

// Overdue reports whether who moves the master has not ended it in time. Then
// anyone gives it up in its place.
func (g *Guard) Overdue(now time.Time) bool {
	return g.state.Closing() && now.Sub(g.since) > g.state.Limit()+overtime
}
