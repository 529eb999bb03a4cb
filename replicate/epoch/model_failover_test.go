package epoch

import (
	"fmt"
	"slices"
	"time"
)

// failAfter is how long a master has to be down.
const failAfter = 400 * time.Millisecond

// failoverModel is the part of the model in which clusters die, stop and come back.
type failoverModel struct {
	failover    bool // they do
	killed      [2]bool
	frozen      [2]bool
	held        [2][]func() // what lands when a stopped cluster goes on
	aside       map[asideKey]*docState
	gone        map[asideKey]bool // what was deleted at the new master since
	overwritten map[int]bool      // writes that a later one has overwritten, which did not see them
	failovers   int
	brought     int
}

// An asideKey is a document of the cluster that has to be asked. Its value is what the new
// master had of it, nil while that is not known.
type asideKey struct {
	from int
	doc  string
}

// failoverGate is the part of a gateway that feels whether clusters are alive.
type failoverGate struct {
	blind   [2]bool
	seen    [2]time.Time     // when it last reached a cluster
	felt    time.Time        // when it last looked
	reached [2]time.Duration // since when it has reached it all the time
	unheld  time.Duration    // when its lease was last not held
	back    time.Duration    // since when both are there
}

func newFailoverModel(seed uint64, b breakage) *model {
	m := newModel(seed, b)
	m.failover, m.aside, m.gone, m.overwritten = true, map[asideKey]*docState{}, map[asideKey]bool{}, map[int]bool{}
	for _, g := range m.gates {
		g.startPulse()
	}
	return m
}

// docs is how many documents are written, and rarely how much less else goes wrong: many, and
// not much, so that a document is left alone between a failover and the rejoin.
func (m *model) docs() int {
	if m.failover {
		return 40
	}
	return 4
}

func (m *model) rarely() time.Duration {
	if m.failover {
		return 4
	}
	return 1
}

// breakCluster kills or stops a cluster, or has a gateway not reach it.
func (m *model) breakCluster() {
	if m.ending {
		return
	}
	c := m.random.IntN(2)
	if m.chance(70) {
		c = slices.Index(clusterNames, m.truth.Master)
	}
	last := m.between(100*time.Millisecond, 2500*time.Millisecond)
	switch m.random.IntN(3) {
	case 0:
		m.killed[c] = true
		m.say("cluster %s is killed", clusterNames[c])
		m.after(last, func() { m.mend(c) })
	case 1:
		m.frozen[c] = true
		m.say("cluster %s is stopped", clusterNames[c])
		m.after(last, func() { m.mend(c) })
	case 2:
		g := m.gates[m.random.IntN(len(m.gates))]
		g.blind[c] = true
		m.say("gateway %d does not reach cluster %s", g.index, clusterNames[c])
		m.after(last, func() { g.blind[c] = false; m.say("gateway %d reaches cluster %s", g.index, clusterNames[c]) })
	}
	m.after(m.between(500*time.Millisecond, 4*time.Second), m.breakCluster)
}

// mend has a cluster be there again. What was on its way to one that was stopped lands.
func (m *model) mend(c int) {
	if m.killed[c] || m.frozen[c] {
		m.say("cluster %s is back", clusterNames[c])
	}
	m.killed[c], m.frozen[c] = false, false
	held := m.held[c]
	m.held[c] = nil
	for _, land := range held {
		land()
	}
}

// landing is what becomes of a request when it gets to a cluster.
func (m *model) landing(c int, land func()) func() {
	return func() {
		switch {
		case m.killed[c]:
		case m.frozen[c]:
			m.held[c] = append(m.held[c], land)
		default:
			land()
		}
	}
}

func (m *model) reach(g *modelGate, c int) bool { return !m.killed[c] && !m.frozen[c] && !g.blind[c] }

// moved looks whether the master was taken over from while a gateway with a lease had it.
func (m *model) moved(s State) {
	if s.Rejoin == "" {
		return
	}
	m.failovers++
	c := slices.Index(clusterNames, s.Rejoin)
	for _, g := range m.gates {
		well := g.alive && m.now-g.unheld > 3*lease && m.now > g.stopped && g.time().Sub(g.felt) < 50*time.Millisecond
		if well && m.reach(g, c) && m.now-g.reached[c] > 3*lease {
			m.violated("the master %s was taken over from although gateway %d has reached it since %v", s.Rejoin, g.index, g.reached[c])
		}
	}
}

func (g *modelGate) startPulse() {
	g.failoverGate = failoverGate{blind: g.blind, seen: [2]time.Time{g.time(), g.time()}, felt: g.time(), reached: [2]time.Duration{g.m.now, g.m.now}, unheld: g.m.now}
	if g.m.failover {
		g.step(0, g.lookAside)
	}
}

// feel asks both clusters, and takes over if it is time.
func (g *modelGate) feel() {
	m, now := g.m, g.time()
	if !m.failover {
		return
	}
	gap := now.Sub(g.felt) > 100*time.Millisecond // it was stopped itself
	g.felt = now
	for c := range m.clusters {
		if m.reach(g, c) || gap {
			g.seen[c] = now
		}
		if !m.reach(g, c) || gap {
			g.reached[c] = m.now
		}
	}
	if !g.guard.Held(now) {
		g.unheld = m.now
	}
	s := g.guard.State()
	if s.Master == "" || s.Closing() || s.Rejoin != "" || g.moving || !g.guard.Held(now) || g.down() < failAfter || len(g.vetoes()) > 0 {
		return
	}
	if to := 1 - slices.Index(clusterNames, s.Master); m.reach(g, to) && m.chance(20) {
		g.takeOver(s, to)
	}
}

// down is for how long it has not reached the master.
func (g *modelGate) down() time.Duration {
	c := slices.Index(clusterNames, g.guard.State().Master)
	if !g.m.failover || c < 0 || g.m.reach(g, c) {
		return 0
	}
	return g.time().Sub(g.seen[c])
}

func (g *modelGate) vetoes() []Sighting {
	if g.m.broken == noVeto {
		return nil
	}
	return g.others(g.roll.Vetoes(g.guard.State().Epoch, failAfter, g.time()))
}

// takeOver is a failover.
func (g *modelGate) takeOver(now State, to int) {
	g.moving = true
	deadline := g.time().Add(switchLimit)
	g.swap(func(s State) (State, bool) {
		return s.Fail(clusterNames[to], fmt.Sprint(g.index, "/", g.life), switchLimit), !s.Closing() && s.Epoch == now.Epoch && s.Rejoin == ""
	}, func(closed State, known, changed bool) {
		switch {
		case !known:
			g.settle()
		case !changed:
			g.moving = false
		default:
			g.handOver(closed, deadline)
		}
	})
}

// leaveBehind keeps what the new master has, and looks once more whether the former one is down.
func (g *modelGate) leaveBehind() bool {
	m, s := g.m, g.guard.State()
	to := slices.Index(clusterNames, s.To)
	if to < 0 || !m.reach(g, to) || g.down() < failAfter || len(g.vetoes()) > 0 {
		return false
	}
	for key := range m.aside {
		base := m.clusters[to][key.doc]
		m.aside[key] = &base
	}
	return true
}

// failedBy reports whether the gateway that does a failover has ended.
func (g *modelGate) failedBy() bool {
	s := g.guard.State()
	return s.Failing() && s.By != fmt.Sprint(g.index, "/", g.life) && g.roll.Ended(s.By)
}

func (m *model) putAside(now State, doc string) {
	if m.broken == noAside {
		return
	}
	m.say("%s/%s is put aside", now.Master, doc)
	m.aside[asideKey{slices.Index(clusterNames, now.Master), doc}] = nil
}

// alone applies an effect without the master.
func (a *modelWorker) alone(n note, now State) {
	m := a.m
	follower := m.clusters[slices.Index(clusterNames, now.To)]
	have := follower[n.doc]
	switch {
	case n.epoch < now.Epoch && m.broken != noLate, n.read:
		m.putAside(now, n.doc)
	case n.after.version > have.version:
		follower[n.doc] = n.after
	case !have.equal(n.after):
		m.putAside(now, n.doc)
	}
}

// lookAside looks at what was put aside when the cluster that has to be asked is there.
func (g *modelGate) lookAside() {
	m, s := g.m, g.guard.State()
	g.step(m.between(10*time.Millisecond, 60*time.Millisecond), g.lookAside)
	if s.Master == "" || s.Closing() || g.moving || !g.guard.Held(g.time()) {
		return
	}
	if !m.reach(g, 0) || !m.reach(g, 1) {
		g.back = 0
		return
	}
	if g.back == 0 {
		g.back = m.now
	}
	if m.now-g.back < grace {
		return
	}
	if s.Rejoin == "" {
		for key := range m.aside {
			m.equalise(slices.Index(clusterNames, s.Master), key.doc, "it was put aside")
		}
		clear(m.aside)
		return
	}
	from := slices.Index(clusterNames, s.Rejoin)
	var formers []asideKey
	for key := range m.aside {
		switch {
		case key.from != from:
			delete(m.aside, key)
		case m.former(key):
			formers = append(formers, key)
		default:
			m.masterCounts(from, key.doc)
			delete(m.aside, key)
		}
	}
	if len(formers) > 0 {
		g.hold(s, formers)
		return
	}
	g.moving = true
	g.swap(func(now State) (State, bool) {
		ok := now.Rejoin == s.Rejoin && now.Epoch == s.Epoch && !now.Closing() && len(m.aside) == 0
		now.Rejoin = ""
		return now, ok
	}, func(_ State, _, changed bool) {
		if g.moving = false; changed {
			clear(m.gone)
		}
	})
}

// former reports whether the former master's document counts.
func (m *model) former(key asideKey) bool {
	f, n := m.clusters[key.from][key.doc], m.clusters[1-key.from][key.doc]
	base := m.aside[key]
	switch {
	case m.broken == noHigher:
		return false
	case m.broken != noBase && (base == nil || base.seen() != n.seen() || m.gone[key]):
		return false
	case f.gone:
		return n.seen() > 0 && f.version > n.version // it remembers that
	}
	return f.version > n.seen()
}

// seen is the version that a read shows, 0 if it finds nothing.
func (d docState) seen() int {
	if d.gone {
		return 0
	}
	return d.version
}

// noteGone keeps that a document was deleted at the new master. Gateways do so when they
// have the answer, before its client is told; what becomes of one whose answer is lost
// stands among the limits in docs/design/failover.md.
func (m *model) noteGone(to int, doc string, after docState) {
	if m.truth.Rejoin == "" || m.truth.Master != clusterNames[to] || !after.gone || m.broken == noGone {
		return
	}
	key := asideKey{slices.Index(clusterNames, m.truth.Rejoin), doc}
	if _, has := m.aside[key]; has {
		m.gone[key] = true
	}
}

// masterCounts makes a document of the former master what the new one has. What it had
// and the new one has not is lost, unless something was written there since.
func (m *model) masterCounts(from int, doc string) {
	f, n := m.clusters[from][doc], m.clusters[1-from][doc]
	if f.seen() == 0 && n.seen() == 0 || slices.ContainsFunc(n.writes, func(w int) bool { return !slices.Contains(f.writes, w) }) {
		for _, w := range f.writes {
			if !slices.Contains(n.writes, w) {
				m.overwritten[w] = true
			}
		}
	}
	m.equalise(1-from, doc, "the new master counts")
}

// hold brings documents of the former master to the new one while writes wait.
func (g *modelGate) hold(s State, keys []asideKey) {
	m := g.m
	bring := func() {
		for _, key := range keys {
			if _, still := m.aside[key]; still && m.former(key) {
				m.brought++
				m.equalise(key.from, key.doc, "it is brought to the new master")
				delete(m.aside, key)
			}
		}
	}
	g.moving = true
	if m.broken == noHold {
		g.step(m.upTo(50*time.Millisecond), func() { bringLate(m, keys); g.moving = false })
		return
	}
	deadline := g.time().Add(switchLimit)
	g.swap(func(now State) (State, bool) {
		return now.Hold(fmt.Sprint(g.index, "/", g.life), switchLimit), !now.Closing() && now.Epoch == s.Epoch && now.Rejoin == s.Rejoin
	}, func(held State, known, changed bool) {
		if known && !changed {
			g.moving = false // another one is at it
			return
		}
		if !known {
			g.settle()
			return
		}
		g.poll(func() bool {
			g.roll.See(g.everyone(), g.time())
			return g.inWork == 0 && len(g.others(g.roll.Missing(held.Seq))) == 0
		}, deadline, func(ok bool) {
			if ok && g.guard.State().Seq == held.Seq && g.guard.Held(g.time()) && m.reach(g, 0) && m.reach(g, 1) {
				bring()
			}
			g.settle()
		})
	})
}

// bringLate brings what was looked at before, whatever was written meanwhile.
func bringLate(m *model, keys []asideKey) {
	for _, key := range keys {
		m.equalise(key.from, key.doc, "it is brought to the new master")
		delete(m.aside, key)
	}
}
