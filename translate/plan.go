package translate

import (
	"slices"
	"sync"
)

// A Plan holds the rules that lie between a client's and a cluster's version,
// by place. It is built once for a pair and never changes.
type Plan struct {
	client, cluster Version
	request         *ruleSet
	answer          *ruleSet
	lossy           map[*Change]bool
}

// A ruleSet is one way through the grammar with its rules.
type ruleSet struct {
	places map[Place]*place
	heads  sync.Map // headOf → *place, with the rules that are for an API
}

type headOf struct {
	name Place
	api  string // one that there is, or ""
}

// head is a place of heads with the rules that can have something to do for an API.
func (s *ruleSet) head(name Place, api string) *place {
	if p, ok := s.heads.Load(headOf{name, api}); ok {
		return p.(*place)
	}
	p := *s.places[name]
	p.rules = slices.DeleteFunc(slices.Clone(p.rules), func(r bound) bool { return !isOn(r.on, api) })
	s.heads.Store(headOf{name, api}, &p)
	return &p
}

// A place is a Place compiled for one plan and way.
type place struct {
	name    Place
	rules   []bound
	members map[string]*place // nil pointers are left out: nothing to do there
	each    *place
	opaque  map[string]bool // keys that each does not concern
	too     *place
	isToo   func(*Node) bool
	list    bool
	stream  bool
	live    bool // has rules at or below it

	// The rules that a member needs, by its key, and those that no member is needed for, as
	// bits in the order of rules. wants is nil if all rules are always asked.
	wants map[string]uint64
	free  uint64
}

// index finds out which rules need which members.
func (p *place) index() {
	if len(p.rules) > 64 || p.members == nil && p.each == nil {
		return // they are not parsed unless a rule wants it
	}
	for i := range p.rules {
		keys := p.rules[i].keys
		if keys == nil {
			p.free |= 1 << i
			continue
		}
		if p.wants == nil {
			p.wants = map[string]uint64{}
		}
		for _, key := range keys {
			p.wants[key] |= 1 << i
		}
	}
}

// asked are the rules that can have something to do on a node, as bits.
func (p *place) asked(n *Node) uint64 {
	if p.wants == nil || !n.parse() {
		return all
	}
	asked := p.free
	for i := range n.members {
		asked |= p.wants[string(n.members[i].key)]
	}
	return asked
}

const all = ^uint64(0)

// bound is a rule with the change it belongs to.
type bound struct {
	change *Change
	do     func(x *Exchange, n *Node) error
	on     []string
	when   Condition
	keys   []string
}

// child is the place of a member, nil if nothing has to be done there.
func (p *place) child(key []byte) *place {
	if c, ok := p.members[string(key)]; ok {
		return c
	}
	if p.opaque[string(key)] {
		return nil
	}
	return p.each
}

type pair struct{ client, cluster Version }

var plans sync.Map // pair → *Plan

// PlanFor returns the plan for a client's and a cluster's version. Patch
// releases share a plan's rules but not its plan, as some answers show the
// whole version.
func PlanFor(client, cluster Version) *Plan {
	key := pair{client, cluster}
	if p, ok := plans.Load(key); ok {
		return p.(*Plan)
	}
	p, _ := plans.LoadOrStore(key, newPlan(client, cluster))
	return p.(*Plan)
}

func newPlan(client, cluster Version) *Plan {
	if len(registered) == 0 {
		panic("translate: no changes are registered; import package translate/catalogue")
	}
	// A request walks the versions from the client's to the cluster's, the
	// answer walks back.
	way := slices.Clone(registered)
	if cluster.Before(client) {
		slices.Reverse(way)
	}
	// What belongs to no version stands next to the client: it sees the request
	// as it came.
	slices.SortStableFunc(way, func(a, b *Change) int { return btoi(b.Since.IsZero()) - btoi(a.Since.IsZero()) })
	request, answer, lossy := map[Place][]bound{}, map[Place][]bound{}, map[*Change]bool{}
	for i, c := range way {
		if d := c.Between(client, cluster); d != nil {
			bind(request, c, d.Request, client)
			if d.Fidelity == Lossy {
				lossy[c] = true
			}
		}
		c = way[len(way)-1-i]
		if d := c.Between(client, cluster); d != nil {
			bind(answer, c, d.Response, client)
		}
	}
	return &Plan{client: client, cluster: cluster, request: compile(request), answer: compile(answer), lossy: lossy}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func bind(m map[Place][]bound, c *Change, rules []Rule, client Version) {
	for _, r := range rules {
		if !r.isFor(client) {
			continue
		}
		m[r.At] = append(m[r.At], bound{c, r.Do, r.On, r.If, r.Keys})
	}
}

// compile joins rules and grammar.
func compile(rules map[Place][]bound) *ruleSet {
	s := &ruleSet{places: map[Place]*place{}}
	for name := range grammar {
		s.places[name] = &place{name: name, rules: rules[name], live: len(rules[name]) > 0}
	}
	for changed := true; changed; {
		changed = false
		for name, g := range grammar {
			p := s.places[name]
			if p.live {
				continue
			}
			for _, child := range g.Members {
				p.live = p.live || s.places[child].live
			}
			p.live = p.live || (g.Each != "" && s.places[g.Each].live) || (g.Too != "" && s.places[g.Too].live)
			changed = changed || p.live
		}
	}
	for name, g := range grammar {
		p := s.places[name]
		p.list, p.stream = g.List, g.Stream
		if g.Each != "" {
			p.each = s.liveOrNil(g.Each)
		}
		if g.Too != "" {
			p.too, p.isToo = s.liveOrNil(g.Too), g.IsToo
		}
		for key, child := range g.Members {
			if c := s.liveOrNil(child); c != nil {
				if p.members == nil {
					p.members = map[string]*place{}
				}
				p.members[key] = c
			} else if p.each != nil {
				if p.opaque == nil {
					p.opaque = map[string]bool{}
				}
				p.opaque[key] = true
			}
		}
		p.index()
	}
	return s
}

func (s *ruleSet) liveOrNil(name Place) *place {
	if p := s.places[name]; p.live {
		return p
	}
	return nil
}

// root returns the place of an API's body, nil if nothing has to be done to it.
func (s *ruleSet) root(roots map[string]Place, api string, other Place) *place {
	name, ok := roots[api]
	if !ok {
		name = other
	}
	return s.liveOrNil(name)
}

// has reports whether a place has rules of its own.
func (s *ruleSet) has(name Place) bool { return len(s.places[name].rules) > 0 }

// Touches reports whether requests to an API or their answers can need
// anything. What the plan does not touch may be forwarded unread.
func (p *Plan) Touches(api string) bool {
	if p.request.has(RequestHead) || p.request.has(RequestEnd) || p.answer.has(AnswerHead) {
		return true
	}
	if l, ok := requestLines[api]; ok {
		if p.request.places[l.Head].live || p.request.places[UpdateBody].live || p.request.places[SearchBody].live {
			return true
		}
	} else if p.request.root(requestRoots, api, Body) != nil {
		return true
	}
	return p.answer.root(answerRoots, api, Answer) != nil
}

// mayLose lists the lossy changes that only the answer's body can show. They are
// to be named before a large one is translated, as headers go first: all that
// have a rule in it, except in its errors, and none in the request, where they
// would have shown.
func (p *Plan) mayLose(api string, root Place) []*Change {
	requests := map[Place]bool{RequestHead: true, RequestEnd: true}
	if l, ok := requestLines[api]; ok {
		for _, at := range []Place{l.Head, UpdateBody, Document, SearchBody, TemplatedSearch} {
			reach(at, requests)
		}
	} else if at, ok := requestRoots[api]; ok {
		reach(at, requests)
	}
	shown := map[*Change]bool{}
	for at := range requests {
		for _, r := range p.request.places[at].rules {
			shown[r.change] = true
		}
	}
	answers := map[Place]bool{Error: true, Shards: true}
	reach(root, answers)
	delete(answers, Error)
	delete(answers, Shards)
	var lost []*Change
	for at := range answers {
		for _, r := range p.answer.places[at].rules {
			if p.lossy[r.change] && !shown[r.change] && !slices.Contains(lost, r.change) {
				lost = append(lost, r.change)
			}
		}
	}
	slices.SortFunc(lost, compareChanges)
	return lost
}

// reach adds the places at and below one to those that are known.
func reach(at Place, known map[Place]bool) {
	if at == "" || known[at] {
		return
	}
	known[at] = true
	g := grammar[at]
	reach(g.Each, known)
	reach(g.Too, known)
	for _, below := range g.Members {
		reach(below, known)
	}
}
