package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// indices keeps the follower's indices what documents of the master need: they
// exist, and their mappings contain the master's, so that the follower never
// guesses the type of a field.
type indices struct {
	a        *applier
	from, to *cluster.Cluster

	mu    sync.Mutex // also orders the requests that change the follower's indices
	state string     // the master's cluster state when known was last complete
	asked time.Time  // before it was asked for that
	known map[string]carried

	pair *pair        // whose indices they are
	may  func() error // refuses to write to the follower when that is not allowed
}

// carried is what was carried over of one index. problem is why that failed for
// good. uuid tells it from another index of that name.
type carried struct {
	uuid, mapping string
	problem       error
}

// errNoIndex says that the master does not have the index.
var errNoIndex = errors.New("the master does not have the index")

func newIndices(a *applier, from, to *cluster.Cluster) *indices {
	return &indices{a: a, from: from, to: to, known: map[string]carried{}, may: func() error { return a.r.mayApply(to) }}
}

// forget has indices looked at again before the next documents.
func (x *indices) forget(names ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.state = ""
	for _, name := range names {
		delete(x.known, name)
	}
}

// indexChunk bounds the indices of one request: their names stand in its path.
const indexChunk = 30

// maxKnown bounds the indices that are remembered.
const maxKnown = 10_000

// ready brings the follower's indices to what the documents of the master need.
// problems tells which are not: errNoIndex, or what the follower objects to. The
// error is about the request as a whole and passes.
func (x *indices) ready(ctx context.Context, names []string, again bool) (problems map[string]error, err error) {
	if again {
		x.forget(names...)
	}
	return x.readyFor(ctx, names, time.Now())
}

// readyFor is ready for documents that the master had at that time at the latest: what it
// was asked for later tells of the mappings that they made.
func (x *indices) readyFor(ctx context.Context, names []string, at time.Time) (problems map[string]error, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	state, asked := x.state, x.asked
	if state == "" || !asked.After(at) {
		asked = time.Now()
		if state, err = stateOf(ctx, x.from); err != nil {
			return nil, err
		}
	}
	if len(x.known) > maxKnown {
		clear(x.known)
	}
	if state != x.state {
		for name, c := range x.known {
			c.problem = errStale
			x.known[name] = c
		}
	}
	var look []string
	for _, name := range names {
		if c, ok := x.known[name]; !ok || errors.Is(c.problem, errStale) || errors.Is(c.problem, errMistyped) { // a wish may have been canceled
			look = append(look, name)
		}
	}
	slices.Sort(look)
	for chunk := range slices.Chunk(look, indexChunk) {
		if err := x.carryOver(ctx, chunk); err != nil {
			return nil, err
		}
	}
	x.state, x.asked = state, asked
	for _, name := range names {
		if problem := x.known[name].problem; problem != nil {
			if problems == nil {
				problems = map[string]error{}
			}
			problems[name] = problem
		}
	}
	return problems, nil
}

// errStale marks what is known from an older cluster state.
var errStale = errors.New("the master's cluster state has changed")

// stateOf is what changes when anything in a cluster's state does.
func stateOf(ctx context.Context, c *cluster.Cluster) (string, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, "/_cluster/state/version", nil)
	if err != nil {
		return "", err
	}
	if err := c.Failed(status, answer); err != nil {
		return "", err
	}
	state := gjson.GetBytes(answer, "state_uuid").String() + "/" + gjson.GetBytes(answer, "version").String()
	if state == "/" {
		return "", fmt.Errorf("cluster %s: GET /_cluster/state/version tells no version", c.Name())
	}
	return state, nil
}

// carryOver reads indices from the master and carries over what is new.
func (x *indices) carryOver(ctx context.Context, names []string) error {
	if err := x.may(); err != nil {
		return err
	}
	if err := x.pair.unguard(ctx); err != nil {
		return err
	}
	found, err := x.read(ctx, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		index, ok := found[name]
		if !ok {
			x.known[name] = carried{problem: errNoIndex}
			continue
		}
		before, uuid := x.known[name], index.settings.Get("uuid").String()
		if errors.Is(before.problem, errStale) && before.mapping != "" && before.mapping == index.mappings.Raw && before.uuid == uuid {
			x.known[name] = carried{uuid: before.uuid, mapping: before.mapping}
			continue
		}
		problem, err := x.carryIndex(ctx, index)
		if err != nil {
			return err
		}
		if errors.Is(problem, errMistyped) {
			x.known[name] = carried{problem: problem}
			continue
		}
		if problem != nil {
			x.a.r.log.Warn("the follower does not take an index as it is", "cluster", x.to.Name(), "index", name, "reason", problem)
			x.known[name] = carried{problem: problem}
			continue
		}
		x.known[name] = carried{uuid: strings.Clone(uuid), mapping: strings.Clone(index.mappings.Raw)}
	}
	return nil
}

// An indexState is one index as the master shows it, in its dialect.
type indexState struct {
	name                        string
	mappings, settings, aliases gjson.Result
	typ                         string // the type that applications see, "" if there is none
	leader                      string // its name, if the follower's is another one
}

// read reads indices from the master. Those that it does not have are left out.
func (x *indices) read(ctx context.Context, names []string) (map[string]indexState, error) {
	v, err := x.from.Version(ctx)
	if err != nil {
		return nil, err
	}
	target := cluster.Path(strings.Join(names, ",")) + "?ignore_unavailable=true&allow_no_indices=true&expand_wildcards=open,closed"
	status, answer, err := x.from.Do(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	if err := x.from.Failed(status, answer); err != nil && !cluster.NoIndex(status, answer) {
		return nil, err
	}
	found := map[string]indexState{}
	gjson.ParseBytes(answer).ForEach(func(name, o gjson.Result) bool {
		if slices.Contains(names, name.String()) { // an alias of that name is another thing
			found[name.String()] = indexState{name: name.String(), leader: x.leader(name.String()), mappings: o.Get("mappings"), settings: o.Get("settings.index"), aliases: o.Get("aliases")}
		}
		return true
	})
	for _, name := range names {
		if _, ok := found[name]; !ok {
			if err := x.missing(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	for name, index := range found {
		if v.Major < 7 {
			continue
		}
		// What is known of the index may be from before it was made.
		if index.typ = index.mappings.Get("_meta.esperanto.type").String(); index.typ == "" {
			facts, _, err := x.from.Facts().Lookup(ctx, name)
			if err != nil {
				return nil, err
			}
			index.typ = facts.Type
		}
		found[name] = index
	}
	return found, nil
}

// missing reports an error if an index that was not shown may be there all the same: a
// user who may not see it is not told so among others.
func (x *indices) missing(ctx context.Context, name string) error {
	status, answer, err := x.from.Do(ctx, http.MethodGet, cluster.Path(name)+"?filter_path=*.settings.index.uuid", nil)
	if err != nil || cluster.NoIndex(status, answer) {
		return err
	}
	if err := x.from.Failed(status, answer); err != nil {
		return fmt.Errorf("whether index %s is gone, or the gateway's user may not see it: %w", name, err)
	}
	return nil
}

// carryIndex creates an index at the follower, or brings its mapping to the
// master's. problem is what the follower objects to.
func (x *indices) carryIndex(ctx context.Context, index indexState) (problem, err error) {
	if problem, err := x.stranger(ctx, index.name); problem != nil || err != nil {
		return problem, err
	}
	there, exists, err := x.to.Facts().Lookup(ctx, index.name)
	if err != nil {
		return nil, err
	}
	defer x.to.Facts().Forget(index.name)
	if wrong, err := x.mistyped(ctx, index, there); err != nil {
		return nil, err
	} else if wrong && x.retypes() {
		x.to.Facts().Forget(index.name) // it may have been made anew
		if there, exists, err = x.to.Facts().Lookup(ctx, index.name); err != nil {
			return nil, err
		}
		if wrong, err = x.mistyped(ctx, index, there); err != nil {
			return nil, err
		} else if wrong {
			return errMistyped, x.wishRetyped(ctx, index, there)
		}
	}
	s, err := newScribe(ctx, x.a.r.cfg, x.from, x.to, index.typ)
	if err != nil {
		return nil, err
	}
	p := x.pair
	if !exists {
		if err := x.pair.unmeet(ctx, stateRef{whatIndex, index.name}); err != nil {
			return nil, err
		}
		problem, err = s.createIndex(ctx, index, &x.a.shadows)
		if err == nil && problem == nil {
			err = x.mark(ctx, index)
		}
		if problem == nil && err == nil {
			return nil, p.unguardIndex(ctx, index.name)
		}
		if err != nil || !isAlreadyExists(problem) {
			return problem, err
		}
	}
	if x.known[index.name].uuid == "" {
		if err := p.unguardIndex(ctx, index.name); err != nil {
			return nil, err
		}
	}
	if there.Bare {
		if err := x.mark(ctx, index); err != nil {
			return nil, err
		}
	}
	return s.putMapping(ctx, index)
}

func isAlreadyExists(err error) bool {
	e := new(cluster.StatusError)
	return errors.As(err, &e) && (e.Type == "resource_already_exists_exception" || e.Type == "index_already_exists_exception")
}
