package replicate

import "sync/atomic"

// counters are totals since the start of the process; see Counts.
type counters struct {
	writes, effects, readBacks, unknown         atomic.Int64
	applied, conflicts, forced, dead, state     atomic.Int64
	leftOut                                     atomic.Int64
	journalRefused, journalUnproven, switchover atomic.Int64
}

// Counts returns the totals since the start of the process, without asking
// anyone.
func (r *Replicator) Counts() Counts {
	c := &r.counters
	return Counts{
		Writes: c.writes.Load(), Effects: c.effects.Load(), ReadBacks: c.readBacks.Load(), Unknown: c.unknown.Load(),
		Applied: c.applied.Load(), Conflicts: c.conflicts.Load(), Forced: c.forced.Load(), Dead: c.dead.Load(),
		StateApplied: c.state.Load(), JournalRefused: c.journalRefused.Load(), JournalUnproven: c.journalUnproven.Load(),
		Switchovers: c.switchover.Load(), LeftOut: c.leftOut.Load(),
	}
}
