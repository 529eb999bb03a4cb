package epoch

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The model is several gateways, the log of states and heartbeats, the journal of
// writes and two clusters, in one goroutine and with a clock of its own. Gateways
// decide by the same Guard, Roll and State as the real ones. They die, are stopped
// anywhere between two steps, lose Kafka, have clocks of different speeds, and their
// records are lost, late, or written without an answer.

// A breakage leaves out a part of the protocol, to see that the model finds it.
type breakage string

const (
	whole          breakage = ""
	noLease        breakage = "a gateway takes writes however long ago the journal confirmed its epoch"
	noCheckSend    breakage = "nothing is checked before a write is sent, or answered"
	noCheckAnswer  breakage = "nothing is checked before a write is answered"
	noTerm         breakage = "a lease that has ended goes on as if it had not"
	noVotes        breakage = "who moves the master does not wait for the others"
	noSync         breakage = "who moves the master takes for cut off who it has not heard of, without asking the log"
	noRest         breakage = "appliers do not rest before the master is moved"
	noSentinel     breakage = "who moves the master does not wait for the follower"
	noLate         breakage = "records of an epoch that has ended are applied as they are"
	noAgain        breakage = "a write that lost its lease is not looked at again"
	noSwap         breakage = "the state is put, not swapped"
	noVeto         breakage = "a gateway that finds the master down does not ask the others"
	noAside        breakage = "what the master has to be asked for is dropped"
	noHigher       breakage = "the new master counts whatever the former one has"
	noBase         breakage = "the higher version counts, also over what was written since"
	noRejoin       breakage = "the former master gets what was written since before it is looked at"
	noGone         breakage = "nobody keeps what is deleted before the former master is looked at"
	noHold         breakage = "writes go on while something is brought to the new master"
	voteWithWrites breakage = "a gateway says that it is quiet while writes are under way"
)

// Times of the model, which are short so that much happens.
const (
	lease       = 500 * time.Millisecond
	writeLimit  = 300 * time.Millisecond
	grace       = 100 * time.Millisecond
	switchLimit = 1200 * time.Millisecond
	replyLimit  = 250 * time.Millisecond // of Kafka
)

type event struct {
	at    time.Duration
	order int
	f     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// An entry of the control log: a state that was swapped, or a heartbeat.
type entry struct {
	expects uint64
	state   State
	won     bool
	member  *Member
}

// A note is a record of the journal.
type note struct {
	kind  string // intent, effect, done, sentinel
	id    int    // of the write
	epoch uint64
	from  int
	doc   string
	until time.Duration
	after docState // of an effect
	read  bool     // the effect does not have the document
}

// A docState is a document: its version and the writes that are in it.
type docState struct {
	version int
	writes  []int
	gone    bool // by the last of them
}

func (d docState) equal(o docState) bool {
	return d.version == o.version && slices.Equal(d.writes, o.writes) && d.gone == o.gone
}

var clusterNames = []string{"a", "b"}

type model struct {
	random *rand.Rand
	broken breakage
	now    time.Duration
	queue  events
	order  int

	log       []entry
	truth     State
	journal   []note
	committed int // all before this is applied

	clusters [2]map[string]docState
	gates    []*modelGate
	applying *modelApplier

	writes   int
	acked    map[int]string
	late     map[int]bool // landed when nobody waited for them any more, and not told since
	dead     map[int]bool // writes whose gateway died
	ending   bool
	moves    int
	refused  int
	wrong    []string
	trace    []string
	tracing  bool
	resolved map[int]bool // writes that were read back
	noted    map[int]bool // writes that the journal has a record of

	failoverModel
}

// A modelGate is a gateway.
type modelGate struct {
	m       *model
	index   int
	life    int // counts up with each start
	alive   bool
	cut     bool
	stopped time.Duration // until then
	beside  bool          // intents are written beside the writes, not before
	rate    float64       // of its clock
	skew    time.Duration
	guard   Guard
	roll    Roll
	read    int // of the log
	state   State
	members map[string]Member
	beats   uint64
	voted   uint64
	beating bool
	moving  bool
	inWork  int // writes under way
	open    map[int]bool

	failoverGate
}

func newModel(seed uint64, b breakage) *model {
	m := &model{random: rand.New(rand.NewPCG(seed, 7)), broken: b, acked: map[int]string{}, late: map[int]bool{}, dead: map[int]bool{}, resolved: map[int]bool{}, noted: map[int]bool{}}
	m.clusters = [2]map[string]docState{{}, {}}
	m.truth = State{Seq: 1, Master: "a", Epoch: 1}
	m.log = []entry{{state: m.truth, won: true}}
	for i := range 2 + m.random.IntN(2) {
		g := &modelGate{m: m, index: i, rate: 0.97 + 0.06*m.random.Float64(), skew: m.upTo(50 * time.Millisecond)}
		g.beside = seed%2 == 0
		m.gates = append(m.gates, g)
		g.start()
	}
	m.applying = &modelApplier{m: m}
	m.after(0, m.applying.elect)
	return m
}

func (m *model) after(d time.Duration, f func()) {
	m.order++
	heap.Push(&m.queue, event{m.now + d, m.order, f})
}

func (m *model) upTo(d time.Duration) time.Duration {
	return time.Duration(m.random.Int64N(max(int64(d), 1)))
}

func (m *model) between(low, high time.Duration) time.Duration { return low + m.upTo(high-low) }

func (m *model) chance(percent int) bool { return m.random.IntN(100) < percent }

func (m *model) say(format string, args ...any) {
	if m.tracing {
		m.trace = append(m.trace, fmt.Sprintf("%8.3f  ", m.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

func (m *model) violated(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
	m.say(format, args...)
}

// run lets it run, faults and all, and then come to rest.
func (m *model) run(d time.Duration) {
	if m.failover {
		m.after(m.between(0, 500*time.Millisecond), m.breakCluster)
	}
	m.after(m.between(0, 300*time.Millisecond), m.fault)
	m.after(m.between(0, 300*time.Millisecond), m.operate)
	m.until(d)
	m.ending = true
	m.say("the faults end")
	for c := range m.clusters {
		m.mend(c)
	}
	for _, g := range m.gates {
		g.cut, g.stopped, g.blind = false, 0, [2]bool{}
		if !g.alive {
			g.start()
		}
	}
	m.until(d + 8*time.Second)
	m.check()
}

func (m *model) until(end time.Duration) {
	for len(m.queue) > 0 && m.queue[0].at <= end && len(m.wrong) == 0 {
		e := heap.Pop(&m.queue).(event)
		m.now = e.at
		e.f()
	}
	m.now = end
}

// fault has something go wrong, again and again.
func (m *model) fault() {
	if m.ending {
		return
	}
	g := m.gates[m.random.IntN(len(m.gates))]
	switch m.random.IntN(6) {
	case 0, 1:
		g.stopped = m.now + m.between(10*time.Millisecond, 2*time.Second)
		m.say("gateway %d is stopped until %.3f", g.index, g.stopped.Seconds())
	case 2, 3:
		g.cut = true
		m.say("gateway %d loses Kafka", g.index)
		m.after(m.between(50*time.Millisecond, 2*time.Second), func() { g.cut = false; m.say("gateway %d finds Kafka", g.index) })
	case 4:
		if g.alive {
			g.die()
			m.after(m.between(10*time.Millisecond, time.Second), func() {
				if !g.alive {
					g.start()
				}
			})
		}
	case 5:
		for _, g := range m.gates {
			g.cut = true
		}
		m.after(m.between(50*time.Millisecond, 700*time.Millisecond), func() {
			for _, g := range m.gates {
				g.cut = false
			}
		})
	}
	m.after(m.rarely()*m.between(100*time.Millisecond, 1500*time.Millisecond), m.fault)
}

// operate moves the master, again and again.
func (m *model) operate() {
	if m.ending {
		return
	}
	if g := m.gates[m.random.IntN(len(m.gates))]; g.alive {
		g.step(0, g.move)
	}
	m.after(m.rarely()*m.between(100*time.Millisecond, 1200*time.Millisecond), m.operate)
}

func (m *model) check() {
	if len(m.wrong) > 0 {
		return
	}
	if m.truth.Closing() {
		m.violated("writes wait for ever")
	}
	if m.truth.Rejoin != "" || len(m.aside) > 0 {
		m.violated("the former master is never made equal: %+v %d", m.truth, len(m.aside))
	}
	for doc, a := range m.clusters[0] {
		b := m.clusters[1][doc]
		if a.equal(b) {
			continue
		}
		if slices.ContainsFunc(append(slices.Clone(a.writes), b.writes...), func(w int) bool { return m.late[w] && m.dead[w] }) {
			continue // see docs/design/switchover.md, what is left
		}
		m.violated("document %s differs: %+v %+v", doc, a, b)
	}
	for w, doc := range m.acked {
		if m.overwritten[w] {
			continue
		}
		for c := range m.clusters {
			if !slices.Contains(m.clusters[c][doc].writes, w) {
				m.violated("write %d to %s was acknowledged and is not in cluster %s: %+v %+v", w, doc, clusterNames[c], m.clusters[0][doc], m.clusters[1][doc])
			}
		}
	}
}

// The gateway.

func (g *modelGate) start() {
	g.life++
	g.alive, g.guard, g.roll, g.read, g.state, g.members, g.beats, g.voted, g.beating, g.moving, g.inWork = true, Guard{Lease: lease}, Roll{}, 0, State{}, map[string]Member{}, 0, 0, false, false, 0
	if g.m.broken == noLease {
		g.guard.Lease = 0
	}
	g.open = map[int]bool{}
	g.startPulse()
	g.m.say("gateway %d starts", g.index)
	g.step(0, g.fetch)
	g.step(0, g.tick)
	g.step(0, g.watch)
	for range 2 {
		g.step(0, g.client)
	}
}

func (g *modelGate) die() {
	g.m.say("gateway %d dies", g.index)
	g.life++
	g.alive = false
	for w := range g.open {
		g.m.dead[w] = true
	}
}

// step does something later, unless the gateway dies before, and not while it is
// stopped.
func (g *modelGate) step(d time.Duration, f func()) { g.stepIn(g.life, d, f) }

// stepIn is for what comes back from outside: it is lost if the gateway has died since.
func (g *modelGate) stepIn(life int, d time.Duration, f func()) {
	var try func()
	try = func() {
		switch {
		case g.life != life:
		case g.m.now < g.stopped:
			g.m.after(g.stopped-g.m.now+g.m.upTo(time.Millisecond), try)
		default:
			f()
		}
	}
	g.m.after(d, try)
}

// time is what its clock says.
func (g *modelGate) time() time.Time {
	return time.Unix(1000, 0).Add(time.Duration(g.rate * float64(g.m.now)))
}

// wall is what its other clock says, by which intents are dated.
func (g *modelGate) wall() time.Duration { return g.m.now + g.skew }

// fetch keeps its copy of the log.
func (g *modelGate) fetch() {
	if !g.cut {
		upTo := len(g.m.log)
		g.step(g.m.between(time.Millisecond, 15*time.Millisecond), func() { g.readTo(upTo) })
	}
	g.step(g.m.between(2*time.Millisecond, 20*time.Millisecond), g.fetch)
}

func (g *modelGate) readTo(end int) {
	for ; g.read < end; g.read++ {
		switch e := g.m.log[g.read]; {
		case e.member != nil:
			g.members[e.member.Name()] = *e.member
		case e.won:
			g.state = e.state
		}
	}
}

func (g *modelGate) everyone() (all []Member) {
	for _, m := range g.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return int(a.Beat) - int(b.Beat) })
	return all
}

// write sends something to Kafka. land is called when it is there, and then with what
// became of it, unless nobody can tell.
func (g *modelGate) write(land func(), answer func(ok bool)) {
	m, life := g.m, g.life
	asked := false
	reply := func(ok bool) {
		if !asked {
			asked = true
			answer(ok)
		}
	}
	g.step(replyLimit, func() { reply(false) })
	if g.cut {
		return
	}
	way := m.between(500*time.Microsecond, 5*time.Millisecond)
	if m.chance(2) {
		way = m.between(0, time.Second) // it is late
	}
	if m.chance(1) {
		return // it is lost
	}
	m.after(way, func() {
		land()
		if g.cut || m.chance(2) {
			return // the answer is lost
		}
		g.stepIn(life, m.between(500*time.Microsecond, 5*time.Millisecond), func() { reply(true) })
	})
}

// put writes into the control log and waits until it has come back.
func (g *modelGate) put(e entry, answer func(e *entry)) {
	m, at := g.m, -1
	g.write(func() {
		if e.member == nil {
			e.won = e.expects == m.truth.Seq || m.broken == noSwap
			if e.won {
				if e.state.Epoch > m.truth.Epoch {
					m.moves++
					m.moved(e.state)
				}
				m.truth = e.state
				m.say("state %+v by gateway %d", e.state, g.index)
			}
		}
		at = len(m.log)
		m.log = append(m.log, e)
	}, func(ok bool) {
		if !ok {
			answer(nil)
			return
		}
		deadline := m.now + replyLimit
		var wait func()
		wait = func() {
			switch {
			case g.read > at:
				answer(&m.log[at])
			case m.now > deadline:
				answer(nil)
			default:
				g.step(m.between(time.Millisecond, 4*time.Millisecond), wait)
			}
		}
		wait()
	})
}

// swap changes the state. done gets whether that is known, and whether change refused.
func (g *modelGate) swap(change func(State) (State, bool), done func(s State, known, changed bool)) {
	before := g.state
	next, ok := change(before)
	if !ok {
		done(before, true, false)
		return
	}
	next.Seq++
	g.put(entry{expects: before.Seq, state: next}, func(e *entry) {
		switch {
		case e == nil:
			done(State{}, false, false)
		case e.won:
			g.guard.See(next, g.time())
			done(next, true, true)
		default:
			g.swap(change, done)
		}
	})
}

func (g *modelGate) tick() {
	g.heartbeat()
	g.step(time.Duration(float64(lease/5)/g.rate), g.tick)
}

func (g *modelGate) heartbeat() {
	if g.beating {
		return
	}
	g.beating = true
	began := g.time()
	term := uint64(0)
	if g.m.broken != noTerm {
		term = g.guard.Beat(began)
	}
	g.beats++
	work := g.inWork
	if g.m.broken == voteWithWrites {
		work = 0
	}
	me := Member{Instance: fmt.Sprint(g.index, "/", g.life), Term: term, Beat: g.beats, Quiet: g.guard.Vote(work, 0), LeaseMS: lease.Milliseconds(), Epoch: g.guard.State().Epoch, DownMS: g.down().Milliseconds()}
	g.voted = me.Quiet
	g.put(entry{member: &me}, func(e *entry) {
		g.beating = false
		if e == nil {
			return
		}
		// It may be stopped between having read all this and going by it.
		s, all, now := g.state, g.everyone(), g.time()
		g.step(0, func() {
			g.roll.Sync(all, began, now)
			if g.m.broken == noTerm {
				g.guard.until = time.Time{}
			}
			g.guard.Confirm(term, began, now, s)
			g.m.say("gateway %d heartbeat %d began %v now %v until %v seq %d", g.index, me.Beat, began.Sub(time.Unix(1000, 0)), now.Sub(time.Unix(1000, 0)), g.guard.until.Sub(time.Unix(1000, 0)), s.Seq)
		})
	})
}

func (g *modelGate) watch() {
	if g.state.Master != "" {
		g.guard.See(g.state, g.time())
	}
	g.roll.See(g.everyone(), g.time())
	if g.m.broken == noSync {
		g.roll.synced = g.time()
	}
	if vote := g.guard.Vote(g.inWork, 0); vote != 0 && vote != g.voted {
		g.heartbeat()
	}
	g.feel()
	if (g.guard.Overdue(g.time()) || g.failedBy()) && g.m.chance(20) {
		seen := g.guard.State().Seq
		g.swap(func(s State) (State, bool) { return s.GiveUp(), s.Seq == seen }, func(State, bool, bool) {})
	}
	g.step(g.m.between(5*time.Millisecond, 20*time.Millisecond), g.watch)
}

// A write.

func (g *modelGate) client() {
	if g.m.ending {
		return
	}
	pass, why := g.guard.Admit(g.time())
	if why != "" {
		g.step(g.m.between(10*time.Millisecond, 40*time.Millisecond), g.client)
		return
	}
	m := g.m
	m.writes++
	w := &modelWrite{g: g, id: m.writes, pass: pass, epoch: g.guard.State().Epoch, to: slices.Index(clusterNames, g.guard.State().Master), doc: string(rune('p' + m.random.IntN(m.docs())))}
	g.inWork++
	m.say("gateway %d lets write %d in under %+v, state %+v", g.index, w.id, pass, g.guard.State())
	g.open[w.id] = true
	w.parts = 1
	beside := g.beside
	g.record(note{kind: "intent", id: w.id, epoch: w.epoch, from: w.to, doc: w.doc, until: g.wall() + writeLimit + replyLimit}, func(ok bool) {
		w.durable, w.failed = ok, !ok
		switch {
		case beside:
			w.part()
		case ok:
			g.step(m.upTo(5*time.Millisecond), w.send)
		default:
			w.part()
		}
	})
	if beside {
		w.parts++
		g.step(m.upTo(5*time.Millisecond), w.send)
	}
	g.step(m.between(5*time.Millisecond, 60*time.Millisecond), g.client)
}

// record appends to the journal.
func (g *modelGate) record(n note, answer func(ok bool)) {
	g.write(func() {
		g.m.journal = append(g.m.journal, n)
		if n.kind == "effect" || n.kind == "intent" {
			delete(g.m.late, n.id)
			g.m.noted[n.id] = true
		}
	}, answer)
}

type modelWrite struct {
	g               *modelGate
	parts           int  // what has to end before it is not under way any more
	durable, failed bool // what is known of its intent
	id              int
	pass            Pass
	epoch           uint64
	to              int
	doc             string
}

// part ends one of its parts: its records are written or given up.
func (w *modelWrite) part() {
	if w.parts--; w.parts == 0 {
		w.g.inWork--
		delete(w.g.open, w.id)
	}
}

func (w *modelWrite) valid(b ...breakage) bool {
	return slices.Contains(b, w.g.m.broken) || w.g.guard.Valid(w.pass, w.g.time())
}

func (w *modelWrite) send() {
	g, m := w.g, w.g.m
	if !w.valid(noCheckSend) {
		m.refused++
		g.record(note{kind: "done", id: w.id}, func(bool) { w.part() })
		return
	}
	// It may be stopped here.
	g.step(m.upTo(2*time.Millisecond), func() {
		answered, life := false, g.life
		answer := func(after docState, ok bool) {
			if !answered {
				answered = true
				w.answered(after, ok)
			}
		}
		g.step(writeLimit, func() { answer(docState{}, false) })
		way := m.between(time.Millisecond, 10*time.Millisecond)
		if m.chance(3) {
			way = m.between(0, writeLimit)
		}
		if g.blind[w.to] {
			return
		}
		m.after(way, m.landing(w.to, func() {
			after := m.clusters[w.to][w.doc]
			after = docState{after.version + 1, append(slices.Clone(after.writes), w.id), m.failover && m.chance(25)}
			m.clusters[w.to][w.doc] = after
			m.noteGone(w.to, w.doc, after)
			m.say("write %d of gateway %d lands at %s/%s: %+v", w.id, g.index, clusterNames[w.to], w.doc, after)
			if m.truth.Master != clusterNames[w.to] || m.resolved[w.id] || !m.noted[w.id] {
				m.late[w.id] = true
			}
			if m.chance(3) {
				return // the answer is lost
			}
			g.stepIn(life, m.between(time.Millisecond, 10*time.Millisecond), func() { answer(after, true) })
		}))
	})
}

func (w *modelWrite) answered(after docState, ok bool) {
	g, m := w.g, w.g.m
	part := w.part
	if ok {
		w.parts++
		g.record(note{kind: "effect", id: w.id, epoch: w.epoch, from: w.to, doc: w.doc, after: after, read: m.failover && m.chance(15)}, func(ok bool) {
			if !ok {
				part()
				return
			}
			g.record(note{kind: "done", id: w.id}, func(bool) { part() })
		})
	}
	var reply func()
	reply = func() {
		if !w.durable && !w.failed {
			g.step(m.between(time.Millisecond, 5*time.Millisecond), reply)
			return
		}
		if w.durable && w.valid(noCheckSend, noCheckAnswer) {
			if ok {
				m.acked[w.id] = w.doc
				m.say("write %d is acknowledged", w.id)
				if m.truth.Epoch != w.epoch {
					m.violated("write %d of epoch %d was acknowledged in epoch %d", w.id, w.epoch, m.truth.Epoch)
				}
			}
			part()
			return
		}
		m.refused++
		if m.broken == noAgain {
			part()
			return
		}
		var again func()
		again = func() {
			g.record(note{kind: "intent", id: -w.id, epoch: w.epoch, from: w.to, doc: w.doc, until: g.wall()}, func(ok bool) {
				if !ok {
					g.step(20*time.Millisecond, again)
					return
				}
				delete(m.late, w.id)
				part()
			})
		}
		again()
	}
	g.step(m.upTo(3*time.Millisecond), reply)
}

// Moving the master, by the same steps as Replicator.Switchover.

func (g *modelGate) move() {
	now := g.guard.State()
	if g.moving || now.Master == "" || now.Closing() || now.Rejoin != "" || len(g.m.aside) > 0 || !g.m.reach(g, slices.Index(clusterNames, now.Master)) {
		return
	}
	g.moving = true
	to := clusterNames[1-slices.Index(clusterNames, now.Master)]
	heard := g.time().Add(2 * time.Second)
	g.poll(func() bool { return g.m.broken == noVotes || len(g.others(g.roll.Silent(lease/2, g.time()))) == 0 }, heard, func(ok bool) {
		if !ok {
			g.moving = false
			return
		}
		deadline := g.time().Add(switchLimit)
		g.swap(func(s State) (State, bool) {
			return s.Close(to, fmt.Sprint(g.index, "/", g.life), switchLimit), !s.Closing() && s.Epoch == now.Epoch && s.Rejoin == ""
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
	})
}

func (g *modelGate) others(list []Sighting) []Sighting {
	return slices.DeleteFunc(list, func(s Sighting) bool { return s.Instance == fmt.Sprint(g.index, "/", g.life) })
}

// poll waits until ok or the deadline.
func (g *modelGate) poll(ok func() bool, deadline time.Time, done func(bool)) {
	var try func()
	try = func() {
		switch {
		case ok():
			done(true)
		case g.time().After(deadline):
			done(false)
		default:
			g.step(g.m.between(2*time.Millisecond, 10*time.Millisecond), try)
		}
	}
	try()
}

func (g *modelGate) handOver(closed State, deadline time.Time) {
	m := g.m
	g.poll(func() bool { return g.inWork == 0 }, deadline, func(ok bool) {
		if !ok {
			g.settle()
			return
		}
		g.poll(func() bool {
			g.roll.See(g.everyone(), g.time())
			return m.broken == noVotes || len(g.others(g.roll.Missing(closed.Seq))) == 0
		}, deadline, func(ok bool) {
			if !ok {
				g.settle()
				return
			}
			at := -1
			life := g.life
			g.write(func() {
				if g.life == life {
					at = len(m.journal)
				}
				m.journal = append(m.journal, note{kind: "sentinel"})
			}, func(ok bool) {
				if !ok {
					g.settle()
					return
				}
				g.poll(func() bool { return m.committed > at || m.broken == noSentinel }, deadline, func(ok bool) {
					if !ok {
						g.settle()
						return
					}
					if len(m.aside) > 0 && !closed.Failover || !m.reach(g, slices.Index(clusterNames, closed.To)) {
						g.settle()
						return
					}
					g.rest(closed, deadline, func(closed State) {
						if closed.Failover && !g.leaveBehind() {
							g.settle()
							return
						}
						g.swap(func(s State) (State, bool) { return s.Move(), s.Seq == closed.Seq || m.broken == noSwap }, func(_ State, known, changed bool) {
							if !known || !changed {
								g.settle()
								return
							}
							g.moving = false
						})
					})
				})
			})
		})
	})
}

// rest has the appliers wait.
func (g *modelGate) rest(closed State, deadline time.Time, then func(State)) {
	m := g.m
	if m.broken == noRest {
		g.step(m.upTo(20*time.Millisecond), func() { then(closed) })
		return
	}
	g.swap(func(s State) (State, bool) {
		return s.Rest(deadline.Sub(g.time())), s.Seq == closed.Seq || m.broken == noSwap
	}, func(s State, known, changed bool) {
		if !known || !changed {
			g.settle()
			return
		}
		g.poll(func() bool {
			g.roll.See(g.everyone(), g.time())
			return m.broken == noVotes || len(g.others(g.roll.Missing(s.Seq))) == 0
		}, deadline, func(ok bool) {
			if !ok {
				g.settle()
				return
			}
			then(s)
		})
	})
}

func (g *modelGate) settle() {
	me := fmt.Sprint(g.index, "/", g.life)
	g.swap(func(s State) (State, bool) {
		if s.Closing() && s.By == me {
			s = s.GiveUp()
		}
		return s, true
	}, func(_ State, known, _ bool) {
		if !known {
			g.step(20*time.Millisecond, g.settle)
			return
		}
		g.moving = false
	})
}

// The applier is a worker at one of the gateways. When that is not there another one
// begins where the last commit was; the former may go on for a while, if it lives.
type modelApplier struct {
	m      *model
	worker *modelWorker
}

type modelWorker struct {
	m      *model
	at     *modelGate
	life   int
	next   int
	open   map[int]int // write → where its intent is
	fenced time.Duration
}

func (a *modelApplier) elect() {
	m := a.m
	if w := a.worker; w == nil || w.at.life != w.life || w.at.cut || m.now < w.at.stopped {
		candidates := slices.DeleteFunc(slices.Clone(m.gates), func(g *modelGate) bool { return !g.alive || g.cut || m.now < g.stopped })
		if len(candidates) > 0 {
			if w != nil {
				w.fenced = m.now + m.upTo(3*time.Second)
			}
			g := candidates[m.random.IntN(len(candidates))]
			a.worker = &modelWorker{m: m, at: g, life: g.life, next: m.committed, open: map[int]int{}, fenced: time.Hour}
			g.step(0, a.worker.work)
		}
	}
	m.after(m.between(20*time.Millisecond, 200*time.Millisecond), a.elect)
}

func (a *modelWorker) work() {
	m, g := a.m, a.at
	if m.now > a.fenced {
		return
	}
	defer g.step(m.between(2*time.Millisecond, 20*time.Millisecond), a.work)
	if why := g.guard.Apply(g.time()); why != "" && !(m.broken == noRest && g.guard.Held(g.time())) && !(m.broken == noRejoin && why == Rejoining) {
		return
	}
	now := g.guard.State()
	limit := a.next + 1 + m.random.IntN(20)
	for ; a.next < len(m.journal) && a.next < limit; a.next++ {
		n := m.journal[a.next]
		if n.epoch > now.Epoch {
			break
		}
		switch n.kind {
		case "intent":
			a.open[n.id] = a.next
		case "done":
			delete(a.open, n.id)
		case "effect":
			switch {
			case now.Failing():
				if !m.reach(g, slices.Index(clusterNames, now.To)) {
					return
				}
				a.alone(n, now)
			case !m.reach(g, 0) || !m.reach(g, 1):
				return
			default:
				a.apply(n, now)
			}
		}
	}
	var due []int
	done := a.next
	for id, at := range a.open {
		if now.Failing() || g.wall() > m.journal[at].until+grace && m.reach(g, 0) && m.reach(g, 1) {
			due = append(due, id)
		} else {
			done = min(done, at)
		}
	}
	slices.Sort(due)
	for _, id := range due {
		n := m.journal[a.open[id]]
		from := n.from
		if n.epoch < now.Epoch && m.broken != noLate {
			from = slices.Index(clusterNames, now.Master)
		}
		if now.Failing() {
			m.putAside(now, n.doc)
		} else {
			m.equalise(from, n.doc, "an open intent")
		}
		m.resolved[id] = true
		delete(a.open, id)
	}
	if !g.cut && m.now < a.fenced {
		m.committed = max(m.committed, done)
	}
}

func (a *modelWorker) apply(n note, now State) {
	m := a.m
	if n.epoch < now.Epoch && m.broken != noLate {
		m.equalise(slices.Index(clusterNames, now.Master), n.doc, "a late effect")
		return
	}
	follower := m.clusters[1-n.from]
	have := follower[n.doc]
	switch {
	case n.read:
		m.equalise(n.from, n.doc, "an effect without its document")
	case n.after.version > have.version:
		follower[n.doc] = n.after
	case !have.equal(m.clusters[n.from][n.doc]) && (have.version != m.clusters[n.from][n.doc].version || have.version == n.after.version && !have.equal(n.after)):
		m.equalise(n.from, n.doc, "a conflict")
	}
}

func (m *model) equalise(from int, doc, why string) {
	if !m.clusters[0][doc].equal(m.clusters[1][doc]) {
		m.say("%s: %s/%s is made what it is at %s: %+v", why, clusterNames[1-from], doc, clusterNames[from], m.clusters[from][doc])
	}
	m.clusters[1-from][doc] = m.clusters[from][doc]
}
