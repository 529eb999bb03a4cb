package epoch

import (
	"slices"
	"time"
)

// Fail is Close for a master that is down: the follower gets what it can without it.
func (s State) Fail(to, by string, limit time.Duration) State {
	s = s.Close(to, by, limit)
	s.Failover = true
	return s
}

// Failing reports whether that is under way.
func (s State) Failing() bool { return s.Failover && s.Closing() }

// Hold has writes wait everywhere, for something to be written to the master itself.
// GiveUp ends it.
func (s State) Hold(by string, limit time.Duration) State { return s.Close(s.Master, by, limit) }

// Vetoes are the members because of which the master of an epoch is not taken for down:
// they have not said that it is for so long, or not lately. Those whose lease has ended
// have no say.
func (r *Roll) Vetoes(number uint64, longer time.Duration, now time.Time) []Sighting {
	return slices.DeleteFunc(r.Members(), func(s Sighting) bool {
		fresh := now.Sub(s.At) <= time.Duration(s.LeaseMS)*time.Millisecond/2
		return r.CutOff(s) || fresh && s.Epoch == number && s.DownMS >= longer.Milliseconds()
	})
}

// Ended reports whether a gateway is gone: its heartbeat is, or its lease has ended for sure.
func (r *Roll) Ended(instance string) bool {
	s, ok := r.seen[instance]
	return !ok || r.CutOff(s)
}
