package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// Guards are settings of an index that stand in the way of applying: its final pipeline,
// which no write can go around and which would change documents a second time, and its
// blocks. So only the master has them. They are carried over when the other cluster
// becomes the master, while nothing is applied, and the applier takes them away from its
// follower before it applies anything in what all agree on from then on. Of a switchover that
// was given up some may come late: a request that nobody waits for any more is still under
// way. So for write_timeout they are looked for again whenever something has changed at the
// follower, and what was written meanwhile is compared.

// guardKeys are the guards in the order in which they are set. The last two forbid to set
// anything else. The block of a full disk is the cluster's own.
var guardKeys = []string{"final_pipeline", "blocks.write", "blocks.read", "blocks.metadata", "blocks.read_only"}

// finalPipelines is the first version that has them.
var finalPipelines = esapi.V(7, 5)

// guards are those of indices, by name and key.
type guards map[string]map[string]string

// guardsOf reads the guards of all indices that have some, or of one.
func guardsOf(ctx context.Context, c *cluster.Cluster, index string) (guards, error) {
	indices, err := readSettings(ctx, c, index, "final_pipeline", "blocks")
	return readGuards(indices), err
}

// namesAt are the indices of a cluster.
func namesAt(ctx context.Context, c *cluster.Cluster) (map[string]bool, error) {
	indices, err := readSettings(ctx, c, "_all", "uuid")
	return indexNames(indices), err
}

func indexNames(indices gjson.Result) map[string]bool {
	names := map[string]bool{}
	indices.ForEach(func(name, _ gjson.Result) bool {
		names[name.String()] = true
		return true
	})
	return names
}

// readSettings reads settings, or groups of them, of all indices or of one: those that have any.
func readSettings(ctx context.Context, c *cluster.Cluster, index string, keys ...string) (gjson.Result, error) {
	var names, paths []string
	for _, key := range keys {
		names = append(names, "index."+key, "index."+key+".*")
		paths = append(paths, "metadata.indices.*.settings.index."+key)
	}
	status, answer, err := c.Do(ctx, http.MethodGet, cluster.Path(index, "_settings", strings.Join(names, ","))+"?expand_wildcards=all&ignore_unavailable=true", nil)
	if err == nil && c.Failed(status, answer) == nil {
		return gjson.ParseBytes(answer), nil
	}
	// A block of the metadata forbids to read them, but not the cluster's state, which is
	// a longer answer to make.
	if status, answer, err = c.Do(ctx, http.MethodGet, "/_cluster/state/metadata?filter_path="+strings.Join(paths, ","), nil); err != nil {
		return gjson.Result{}, err
	}
	if err := c.Failed(status, answer); err != nil {
		return gjson.Result{}, err
	}
	all := gjson.GetBytes(answer, "metadata.indices")
	if index != "_all" {
		one := "{}"
		if o := all.Get(gjson.Escape(index)); o.Exists() {
			one, _ = sjson.SetRaw(one, gjson.Escape(index), o.Raw)
		}
		return gjson.Parse(one), nil
	}
	return all, nil
}

func readGuards(indices gjson.Result) guards {
	all := guards{}
	indices.ForEach(func(name, o gjson.Result) bool {
		flatten("", "", o.Get("settings.index"), func(key, _ string, v gjson.Result) {
			if !slices.Contains(guardKeys, key) || v.String() == "false" || v.String() == "_none" {
				return
			}
			if all[name.Str] == nil {
				all[name.Str] = map[string]string{}
			}
			all[name.Str][key] = v.String()
		})
		return true
	})
	return all
}

// A guarding sets one guard of some indices; "" takes it away.
type guarding struct {
	key, value string
	indices    []string
}

// guardings lead from have to want: first those that take away, in the order that allows it.
func guardings(want, have guards) (list []guarding) {
	names := slices.Sorted(maps.Keys(want))
	for name := range have {
		if want[name] == nil {
			names = append(names, name)
		}
	}
	add := func(key string, away bool) {
		byValue := map[string][]string{}
		for _, name := range names {
			if value := want[name][key]; value != have[name][key] && away == (value == "") {
				byValue[value] = append(byValue[value], name)
			}
		}
		for _, value := range slices.Sorted(maps.Keys(byValue)) {
			list = append(list, guarding{key, value, byValue[value]})
		}
	}
	for _, key := range slices.Backward(guardKeys) {
		add(key, true)
	}
	for _, key := range guardKeys {
		add(key, false)
	}
	return list
}

// pathBytes bounds the names in one request's path: Elasticsearch takes a first line of 4 KB.
const pathBytes = 3000

// inPaths are as many names each as one path can have.
func inPaths(c *cluster.Cluster, names []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		bytes := func(name string) int { return len(url.PathEscape(c.There(name) + ",")) }
		for len(names) > 0 {
			n, size := 0, 0
			for n < len(names) && (n == 0 || size+bytes(names[n]) <= pathBytes) {
				size += bytes(names[n])
				n++
			}
			if !yield(names[:n]) {
				return
			}
			names = names[n:]
		}
	}
}

// guard sets guards at a cluster, as long as still says so. An index that is gone is none of
// its business.
func guard(ctx context.Context, c *cluster.Cluster, list []guarding, still func() error) error {
	for _, g := range list {
		var value any
		if g.value != "" {
			value = g.value
		}
		body, err := json.Marshal(map[string]any{"index." + g.key: value}) // alone: else a block forbids to take itself away
		if err != nil {
			return err
		}
		for names := range inPaths(c, g.indices) {
			if err := still(); err != nil {
				return err
			}
			status, answer, err := c.Do(ctx, http.MethodPut, cluster.Path(strings.Join(names, ","), "_settings")+"?ignore_unavailable=true"+masterTimeout(ctx), body)
			if err != nil {
				return err
			}
			if err := c.Failed(status, answer); err != nil && !gone(err) {
				return fmt.Errorf("index.%s of %s: %w", g.key, strings.Join(names, ", "), err)
			}
		}
	}
	return nil
}

// masterTimeout has the cluster's elected node not carry out what has waited there for longer than
// anybody waits for it.
func masterTimeout(ctx context.Context) string {
	end, limited := ctx.Deadline()
	if !limited {
		return ""
	}
	return fmt.Sprintf("&master_timeout=%dms", max(time.Until(end).Milliseconds(), 1))
}

// carryGuards gives the cluster that is about to become the master the guards that the
// master of before has. Nothing is being applied, as long as still says so.
func (r *Replicator) carryGuards(ctx context.Context, from, to *cluster.Cluster, still func() error) error {
	if err := sweepShadows(ctx, to, time.UnixMilli(math.MaxInt64)); err != nil {
		return err
	}
	// Writes wait meanwhile: both are asked at once.
	var there gjson.Result
	asked := make(chan error, 1)
	go func() {
		var err error
		there, err = readSettings(ctx, to, "_all", "uuid", "final_pipeline", "blocks")
		asked <- err
	}()
	here, err := readSettings(ctx, from, "_all", "uuid", "final_pipeline", "blocks")
	if err := errors.Join(<-asked, err); err != nil {
		return err
	}
	want := readGuards(here).of(r).among(indexNames(there))
	have := readGuards(there).of(r).among(indexNames(here))
	return guard(ctx, to, guardings(want, have), still)
}

// of are the guards of the indices that are replicated. Those whose names begin with a dot
// are mostly the cluster's own, such as Kibana's of just that version: they count if a
// pattern of the configuration names them, or this process has applied something to them.
func (g guards) of(r *Replicator) guards {
	maps.DeleteFunc(g, func(name string, _ map[string]string) bool {
		return !r.selection.replicated(name) || strings.HasPrefix(name, ".") && !r.selection.dotted(name) && !r.applier.dots.has(name)
	})
	return g
}

// dotted reports whether a pattern with a dot includes an index.
func (s *selection) dotted(name string) bool {
	return s != nil && slices.ContainsFunc(s.Include, func(p string) bool { return strings.HasPrefix(p, ".") && cluster.MatchIndex(p, name) })
}

// dots are the indices with a dot that this process has applied something to.
type dots struct {
	mu    sync.Mutex
	names map[string]bool
}

func (d *dots) add(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names == nil || len(d.names) > maxKnown {
		d.names = map[string]bool{}
	}
	d.names[name] = true
}

func (d *dots) has(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name]
}

// alsoAt are the guards of those indices that another cluster has, too.
func (g guards) alsoAt(ctx context.Context, c *cluster.Cluster) (guards, error) {
	if len(g) == 0 {
		return g, nil
	}
	names, err := namesAt(ctx, c)
	return g.among(names), err
}

func (g guards) among(names map[string]bool) guards {
	some := maps.Clone(g)
	maps.DeleteFunc(some, func(name string, _ map[string]string) bool { return !names[name] })
	return some
}

// guardable refuses to make a cluster the master that does not know the final pipelines
// of the present one: documents would be stored without them.
func (r *Replicator) guardable(ctx context.Context, from, to *cluster.Cluster) error {
	v, err := to.Version(ctx)
	if err != nil || v.AtLeast(finalPipelines) {
		return err
	}
	all, err := guardsOf(ctx, from, "_all")
	if err != nil {
		return fmt.Errorf("reading which indices have a final pipeline: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(all.of(r))) {
		if pipeline := all[name]["final_pipeline"]; pipeline != "" {
			return &SwitchError{Reason: fmt.Sprintf("index %s has the final pipeline %s, which cluster %s (%s) cannot have: it would store documents without it", name, pipeline, to.Name(), v),
				NextSteps: []string{"take the setting index.final_pipeline of " + name + " away, or move what the pipeline does into its default pipeline"}}
		}
	}
	return nil
}

// An unguarding is how far a pair has come with taking guards away.
type unguarding struct {
	guarding  sync.Mutex
	unguarded uint64          // 1 more than the number of the state in which unguard was done
	foreign   map[string]bool // indices of the follower that the master does not have
	foreignIn uint64          // the epoch in which
	stuck     map[string]bool // indices whose guards the follower does not let go

	lateIn    uint64    // the state in which a switchover was given up
	lateSince time.Time // when that was seen first
	lateState string    // the follower's cluster state when they were last looked for
}

// unguard takes the guards away from the follower's indices, once in each of the states
// that all agree on: before a state that made the follower the master was given up, or
// after it was moved, it may have some. The error passes.
func (p *pair) unguard(ctx context.Context) error {
	_, err := p.unguardFor(ctx, nil)
	return err
}

// unguardFor does it before something is written to indices; the error may be about these.
// While guards may come late state is the follower's cluster state as of which there are
// none; see cameLate.
func (p *pair) unguardFor(ctx context.Context, indices []string) (state string, err error) {
	if err := p.a.shadows.clear(ctx, p.to); err != nil {
		return "", err
	}
	p.guarding.Lock()
	defer p.guarding.Unlock()
	if p.bothWays() || p.guarded { // then both clusters are masters
		return "", nil
	}
	agreed := p.a.r.gate.state()
	late, err := p.mayComeLate(ctx, agreed)
	if err != nil {
		return "", err
	}
	if late {
		if state, err = stateOf(ctx, p.to); err != nil {
			return "", err
		}
	}
	if p.a.r.gate.failing() { // the master cannot be asked what else it has
		return state, p.unguardLate(ctx, indices)
	}
	if agreed = p.a.r.gate.state(); p.unguarded != agreed.Seq+1 || state != p.lateState {
		if err := p.unguardAll(ctx, agreed); err != nil {
			return "", err
		}
		p.lateState = state
	}
	for _, index := range indices {
		if p.stuck[index] {
			if err := p.unguardOne(ctx, index); err != nil {
				return "", err
			}
		}
	}
	return state, nil
}

// mayComeLate reports whether a switchover to the follower was given up no longer than
// write_timeout ago, so that it may get guards yet. By the clock of this process, since it
// knows of that; then all agree that it is over, and look a last time. It is called with the
// lock held.
func (p *pair) mayComeLate(ctx context.Context, agreed epoch.State) (bool, error) {
	if agreed.Late != p.to.Name() {
		return false, nil
	}
	now := p.a.r.cfg.Now()
	if p.lateIn != agreed.LateIn || p.lateSince.IsZero() {
		p.lateIn, p.lateSince = agreed.LateIn, now
	}
	if now.Sub(p.lateSince) <= p.a.r.cfg.WriteTimeout || agreed.Closing() {
		return true, nil
	}
	_, err := p.a.r.change(ctx, func(s *epoch.State) error {
		if s.LateIn != agreed.LateIn || s.Closing() {
			return errAsItIs
		}
		*s = s.Settle()
		return nil
	})
	if err != nil && !errors.Is(err, errAsItIs) {
		return false, fmt.Errorf("keeping that the follower gets no final pipelines and blocks late any more: %w", err)
	}
	return p.a.r.gate.state().LateIn == agreed.LateIn, nil
}

// cameLate reports whether anything at the follower has changed since unguard, so that what
// was written since may have gone through a guard. It may have been taken away by another
// process by now.
func (p *pair) cameLate(ctx context.Context, state string) (bool, error) {
	if state == "" {
		return false, nil
	}
	now, err := stateOf(ctx, p.to)
	return now != state, err
}

// unguardLate takes away what these indices may have of a switchover that was given up. It is
// called with the lock held.
func (p *pair) unguardLate(ctx context.Context, indices []string) error {
	if p.a.r.gate.state().Late != p.to.Name() {
		return nil
	}
	for _, index := range indices {
		if err := p.unguardOne(ctx, index); err != nil {
			return err
		}
	}
	return nil
}

// unguardAside does so before the follower takes over: what is put aside must not be changed by
// a final pipeline when it is brought.
func (p *pair) unguardAside(ctx context.Context, indices []string) error {
	p.guarding.Lock()
	defer p.guarding.Unlock()
	return p.unguardLate(ctx, indices)
}

// unguardAll is called with the lock held.
func (p *pair) unguardAll(ctx context.Context, state epoch.State) error {
	have, err := guardsOf(ctx, p.to, "_all")
	if err != nil {
		return err
	}
	if state.Epoch != p.foreignIn { // the clusters have changed places since
		clear(p.foreign)
		p.foreignIn = state.Epoch
	}
	// The master may be down by now: it is not asked twice.
	maps.DeleteFunc(have, func(name string, _ map[string]string) bool { return p.foreign[name] })
	ours, err := have.of(p.a.r).alsoAt(ctx, p.from)
	if err != nil {
		return err
	}
	for name := range ours {
		if problem, err := p.indices.stranger(ctx, name); err != nil {
			return err
		} else if problem != nil {
			delete(ours, name)
		}
	}
	clear(p.stuck)
	if err := p.takeAway(ctx, ours); refused(err) {
		if err := p.takeSingly(ctx, ours); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for name := range have {
		if ours[name] == nil {
			p.foreign[name] = true
		}
	}
	p.unguarded = state.Seq + 1
	return nil
}

// unguardIndex takes away what an index of the follower had before the master had one of
// its name, or has by a template.
func (p *pair) unguardIndex(ctx context.Context, index string) error {
	if strings.HasPrefix(index, ".") {
		p.a.dots.add(index)
	}
	if p.bothWays() || p.guarded {
		return nil
	}
	p.guarding.Lock()
	defer p.guarding.Unlock()
	delete(p.foreign, index)
	return p.unguardOne(ctx, index)
}

// unguardOne is called with the lock held.
func (p *pair) unguardOne(ctx context.Context, index string) error {
	have, err := guardsOf(ctx, p.to, index)
	if err != nil {
		return err
	}
	if err := p.takeAway(ctx, have); err != nil {
		return err
	}
	delete(p.stuck, index)
	return nil
}

func (p *pair) takeAway(ctx context.Context, have guards) error {
	if len(have) == 0 {
		return nil
	}
	if err := guard(ctx, p.to, guardings(nil, have), p.indices.may); err != nil {
		return fmt.Errorf("the follower's indices have to be without final pipelines and blocks: %w", err)
	}
	p.a.r.log.Info("final pipelines and blocks of the follower are taken away, as the master has them", "cluster", p.to.Name(), "indices", slices.Sorted(maps.Keys(have)))
	return nil
}

// takeSingly takes away what the follower lets go. Only the other indices have to wait.
func (p *pair) takeSingly(ctx context.Context, have guards) error {
	for _, name := range slices.Sorted(maps.Keys(have)) {
		err := p.takeAway(ctx, guards{name: have[name]})
		if refused(err) {
			p.a.r.log.Warn("nothing is applied to an index until its final pipeline and blocks are taken away", "cluster", p.to.Name(), "index", name, "reason", err)
			p.stuck[name] = true
		} else if err != nil {
			return err
		}
	}
	return nil
}

// refused reports whether a cluster has understood a request and does not do it.
func refused(err error) bool {
	e := new(cluster.StatusError)
	return errors.As(err, &e) && (e.Status == http.StatusForbidden || permanent(e.Status, ""))
}
