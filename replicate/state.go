package replicate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// applyState brings one part of the follower's state to the master's, however
// long it takes. What the follower rejects for good becomes a dead letter. An
// error means that ctx has ended.
func (a *applier) applyState(ctx context.Context, from string, ref stateRef, deleted *deletion) error {
	p := a.pairs[from]
	if p == nil {
		return a.bury(ctx, DeadLetter{From: from, What: ref.What, Index: ref.Name, Reason: fmt.Sprintf("the change comes from cluster %q, which the configuration does not have", from)})
	}
	return a.persist(ctx, a.whileAllowed(ctx, func() error {
		err := a.tryState(ctx, p, ref, deleted)
		if err == nil {
			a.gotOn(0)
		}
		return err
	}))
}

// tryState does it once. The error passes.
func (a *applier) tryState(ctx context.Context, p *pair, ref stateRef, deleted *deletion) error {
	problem, err := p.applyState(ctx, ref, deleted)
	for attempt := 0; attempt < goneAttempts && (gone(err) || gone(problem)); attempt++ {
		// It was deleted in between, at the master, or is being deleted by another
		// worker.
		pause(ctx, attempt)
		problem, err = p.applyState(ctx, ref, deleted)
	}
	if err != nil {
		return err
	}
	letter := DeadLetter{Cluster: p.to.Name(), From: p.from.Name(), What: ref.What, Index: ref.Name}
	if problem == nil {
		a.r.counters.state.Add(1)
		return a.dead.applied(ctx, letter)
	}
	letter.Reason = problem.Error()
	return a.bury(ctx, letter)
}

// goneAttempts bounds how often state is applied anew because an index was gone:
// for some seconds.
const goneAttempts = 6

// gone reports whether a cluster says that an index is not there.
func gone(err error) bool {
	e := new(cluster.StatusError)
	return errors.As(err, &e) && e.Type == "index_not_found_exception"
}

// applyState does it once.
func (p *pair) applyState(ctx context.Context, ref stateRef, deleted *deletion) (problem, err error) {
	if err := p.indices.may(); err != nil {
		return nil, err
	}
	if err := p.unguard(ctx); err != nil {
		return nil, err
	}
	ref, any := p.a.r.selection.ofState(ref)
	if !any {
		return nil, nil
	}
	switch ref.What {
	case whatIndex:
		return p.applyIndex(ctx, ref.Name, deleted)
	case whatAliases:
		return p.applyAliases(ctx, strings.Split(ref.Name, ","))
	case whatRollover:
		return p.applyRollover(ctx, ref.Name)
	case whatTemplate, whatIndexTemplate, whatComponentTemplate, whatPipeline, whatScript:
		return p.applyNamed(ctx, ref)
	}
	return fmt.Errorf("this esperanto does not know how to apply %q", ref.What), nil
}

// applyIndex brings one index over: its existence, settings, mapping, aliases,
// and whether it is open. An index that was deleted is deleted here first, as
// the master's may be another one of that name by now.
func (p *pair) applyIndex(ctx context.Context, name string, deleted *deletion) (problem, err error) {
	if deleted != nil {
		if problem, err = p.deleteOnce(ctx, name, deleted); problem != nil || err != nil {
			return problem, err
		}
	}
	problems, err := p.indices.ready(ctx, []string{name}, true)
	if err != nil {
		return nil, err
	}
	problem = problems[name]
	switch {
	case errors.Is(problem, errNoIndex) && p.bothWays():
		return nil, p.unmeet(ctx, stateRef{whatIndex, name}) // what has deleted it at the master deletes it here
	case errors.Is(problem, errNoIndex) && deleted == nil:
		return p.deleteIndex(ctx, name)
	case errors.Is(problem, errNoIndex), errors.Is(problem, errMistyped):
		return nil, nil
	case problem != nil:
		return problem, nil
	}
	if problem, err = p.applyOpen(ctx, name, true); problem != nil || err != nil {
		return problem, err
	}
	if problem, err = p.applySettings(ctx, name); problem != nil || err != nil {
		return problem, err
	}
	if problem, err = p.applyAliases(ctx, []string{name}); problem != nil || err != nil {
		return problem, err
	}
	problem, err = p.applyOpen(ctx, name, false)
	p.a.indexOpened()
	return problem, err
}

// deleteIndex deletes an index of the follower, and the dead letters of its
// documents.
func (p *pair) deleteIndex(ctx context.Context, name string) (problem, err error) {
	if strings.ContainsAny(name, "*,?") || name == "_all" || name == "" {
		return fmt.Errorf("%q is not the name of one index", name), nil
	}
	p.to.Facts().Forget(name)
	if may, problem, err := p.indices.deletable(ctx, name); !may || err != nil {
		return problem, err
	}
	if index, ok, err := p.to.Facts().Lookup(ctx, name); err != nil || ok && index.Name != name {
		return nil, err // an alias: 5.x would delete what it stands for
	}
	status, answer, err := p.to.Do(ctx, http.MethodDelete, cluster.Path(name), nil)
	p.to.Facts().Forget(name)
	p.indices.forget(name)
	if err != nil {
		return nil, err
	}
	if failed := p.to.Failed(status, answer); failed != nil && status != http.StatusNotFound {
		if permanent(status, "") || p.shut(failed) {
			return failed, nil
		}
		return nil, failed
	}
	if err := p.unmeet(ctx, stateRef{whatIndex, name}); err != nil {
		return nil, err
	}
	return nil, p.a.dead.dropIndex(ctx, p.to.Name(), name)
}

// openState is "open" or "close", "" if there is no such index.
func openState(ctx context.Context, c *cluster.Cluster, name string) (string, error) {
	status, answer, err := c.Do(ctx, http.MethodGet,
		cluster.Path("_cluster", "state", "metadata", name)+"?filter_path=metadata.indices.*.state&expand_wildcards=open,closed&ignore_unavailable=true", nil)
	if err != nil {
		return "", err
	}
	if err := c.Failed(status, answer); err != nil {
		return "", err
	}
	return gjson.GetBytes(answer, "metadata.indices."+gjson.Escape(name)+".state").String(), nil
}

// applyOpen opens an index (first) or closes it, if the master's is open or
// closed.
func (p *pair) applyOpen(ctx context.Context, name string, first bool) (problem, err error) {
	want, err := openState(ctx, p.from, name)
	if err != nil {
		return nil, err
	}
	have, err := openState(ctx, p.to, name)
	if err != nil || want == "" || have == "" {
		return nil, err
	}
	if want, err = p.ownOpen(ctx, name, want, have); err != nil || want == have {
		return nil, err
	}
	action := "_close"
	if want == "open" {
		action = "_open"
	}
	if first != (want == "open") {
		return nil, nil
	}
	status, answer, err := p.to.Do(ctx, http.MethodPost, cluster.Path(name, action), nil)
	if err != nil {
		return nil, err
	}
	failed := p.to.Failed(status, answer)
	if failed != nil && !permanent(status, "") && !p.shut(failed) {
		return nil, failed
	}
	if failed == nil {
		err = p.metOpen(ctx, name, want, want)
	}
	return failed, err
}

// resettable are the groups of settings that an application may take back, so
// that they are only at the follower.
var resettable = []string{"refresh_interval", "max_", "gc_deletes", "default_pipeline", "search.", "indexing.", "mapping.", "translog."}

// applySettings changes the follower's settings where they differ. A setting
// that it does not take is left as it is: most can be set at creation only, and
// were.
func (p *pair) applySettings(ctx context.Context, name string) (problem, err error) {
	want, err := settingsOf(ctx, p.from, name)
	if err != nil {
		return nil, err
	}
	have, err := settingsOf(ctx, p.to, name)
	if err != nil {
		return nil, err
	}
	mine := want
	if want, err = p.own(ctx, partSettings, name, mine, have); err != nil {
		return nil, err
	}
	s, err := newScribe(ctx, p.a.r.cfg, p.from, p.to, "")
	if err != nil {
		return nil, err
	}
	set := func(key, raw string) error {
		body, _ := sjson.SetRaw(`{}`, "index."+gjson.Escape(key), raw)
		_, _, problem, err := s.do(ctx, http.MethodPut, cluster.Path(name, "_settings"), []byte(body))
		if problem != nil {
			p.a.r.log.Debug("a setting is not carried over", "cluster", p.to.Name(), "index", name, "setting", key, "reason", problem)
		}
		return err
	}
	for key, raw := range want {
		if settable(key) && have[key] != raw {
			if err := set(key, raw); err != nil {
				return nil, err
			}
		}
	}
	for key := range have {
		if _, ok := want[key]; !ok && hasAnyPrefix(key, resettable) {
			if err := set(key, "null"); err != nil {
				return nil, err
			}
		}
	}
	return nil, p.metSettings(ctx, name, mine)
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// settingsOf reads an index's settings: full name without "index." → raw value.
func settingsOf(ctx context.Context, c *cluster.Cluster, name string) (map[string]string, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, cluster.Path(name, "_settings"), nil)
	if err != nil {
		return nil, err
	}
	if err := c.Failed(status, answer); err != nil {
		return nil, err
	}
	settings := map[string]string{}
	flatten("", "", gjson.GetBytes(answer, gjson.Escape(name)+".settings.index"), func(key, _ string, v gjson.Result) {
		settings[key] = v.Raw
	})
	return settings, nil
}

// applyAliases makes the aliases of indices what they are at the master, in one
// request.
func (p *pair) applyAliases(ctx context.Context, names []string) (problem, err error) {
	problems, err := p.indices.ready(ctx, names, false)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, name := range names {
		if problems[name] == nil {
			there = append(there, name)
		}
	}
	if len(there) == 0 {
		return nil, nil
	}
	want, err := aliasesAt(ctx, p.from, there)
	if err != nil {
		return nil, err
	}
	have, err := aliasesAt(ctx, p.to, there)
	if err != nil {
		return nil, err
	}
	mine := want
	if want, err = p.ownAliases(ctx, there, mine, have); err != nil {
		return nil, err
	}
	if more, err := p.sharing(ctx, names, want, have); err != nil {
		return nil, err
	} else if len(more) > 0 {
		return p.applyAliases(ctx, slices.Concat(names, more)) // with those that are not ready: each is looked at once
	}
	actions := aliasChanges(there, want, have)
	if len(actions) == 0 {
		return nil, p.metAliases(ctx, there, mine)
	}
	s, err := newScribe(ctx, p.a.r.cfg, p.from, p.to, "")
	if err != nil {
		return nil, err
	}
	_, _, problem, err = s.do(ctx, http.MethodPost, "/_aliases", []byte(`{"actions":[`+strings.Join(actions, ",")+`]}`))
	if aboutWriteIndex(problem) { // searches find what they should, at least
		for i := range actions {
			actions[i], _ = sjson.Delete(actions[i], "add.is_write_index")
		}
		_, _, _, err = s.do(ctx, http.MethodPost, "/_aliases", []byte(`{"actions":[`+strings.Join(actions, ",")+`]}`))
	}
	p.to.Facts().Forget(there...)
	if problem == nil && err == nil {
		err = p.metAliases(ctx, there, mine)
	}
	return problem, err
}

// sharing are the other indices of the follower whose aliases have to change in the
// same request: an alias that gets a write index there has another one.
func (p *pair) sharing(ctx context.Context, names []string, want, have map[string]map[string]string) (more []string, err error) {
	for index, aliases := range want {
		for alias, raw := range aliases {
			if !gjson.Get(raw, "is_write_index").Bool() || gjson.Get(have[index][alias], "is_write_index").Bool() {
				continue
			}
			others, err := p.to.Facts().Expand(ctx, alias)
			if err != nil {
				return nil, err
			}
			for _, other := range others {
				if other != alias && !slices.Contains(names, other) && !slices.Contains(more, other) && p.a.r.selection.replicated(other) {
					more = append(more, other)
				}
			}
		}
	}
	if len(more) == 0 {
		return nil, nil
	}
	masters, err := aliasesAt(ctx, p.from, more)
	return slices.DeleteFunc(more, func(name string) bool { return masters[name] == nil }), err
}

// aliasesAt reads aliases: index → alias → what it is, raw.
func aliasesAt(ctx context.Context, c *cluster.Cluster, names []string) (map[string]map[string]string, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, cluster.Path(strings.Join(names, ","), "_alias")+"?ignore_unavailable=true", nil)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	if status == http.StatusNotFound {
		return all, nil
	}
	if err := c.Failed(status, answer); err != nil {
		return nil, err
	}
	gjson.ParseBytes(answer).ForEach(func(index, o gjson.Result) bool {
		aliases := map[string]string{}
		o.Get("aliases").ForEach(func(alias, a gjson.Result) bool {
			aliases[alias.String()] = a.Raw
			return true
		})
		all[index.String()] = aliases
		return true
	})
	return all, nil
}

// aliasChanges makes the actions that lead from have to want.
func aliasChanges(names []string, want, have map[string]map[string]string) []string {
	var actions []string
	action := func(verb, index, alias, raw string) {
		raw, _ = sjson.Set(raw, "index", index)
		raw, _ = sjson.Set(raw, "alias", alias)
		actions = append(actions, `{"`+verb+`":`+raw+`}`)
	}
	for _, index := range names {
		for alias := range have[index] {
			if _, ok := want[index][alias]; !ok {
				action("remove", index, alias, `{}`)
			}
		}
	}
	for _, index := range names {
		for alias, raw := range want[index] {
			if have[index][alias] != raw {
				action("add", index, alias, raw)
			}
		}
	}
	return actions
}

// applyNamed brings over a template, a pipeline or a script.
func (p *pair) applyNamed(ctx context.Context, ref stateRef) (problem, err error) {
	status, answer, err := p.from.Do(ctx, http.MethodGet, statePath(ref.What, ref.Name), nil)
	if err != nil {
		return nil, err
	}
	body := ""
	if status != http.StatusNotFound || !gjson.ValidBytes(answer) {
		if err := p.from.Failed(status, answer); err != nil {
			return nil, err
		}
		body = definition(ref, answer)
	}
	typ := ""
	if ref.What == whatTemplate {
		typ = gjson.Get(body, "mappings._meta.esperanto.type").String()
	}
	may, carried, err := p.ownNamed(ctx, ref, body)
	if err != nil || !may {
		return nil, err
	}
	s, err := newScribe(ctx, p.a.r.cfg, p.from, p.to, typ)
	if err != nil {
		return nil, err
	}
	if body == "" {
		status, _, problem, err := s.do(ctx, http.MethodDelete, statePath(ref.What, ref.Name), nil)
		if status == http.StatusNotFound {
			problem = nil
		}
		if problem == nil && err == nil {
			err = carried()
		}
		return problem, err
	}
	target := statePath(ref.What, ref.Name)
	if typ != "" && s.typed { // the follower has types: an index made by the template must not get a second one
		body, _ = sjson.SetRaw(body, "mappings", s.mappings(indexState{mappings: gjson.Get(body, "mappings")}))
		target += s.typeParam()
	}
	if _, _, problem, err = s.do(ctx, http.MethodPut, target, []byte(body)); problem == nil && err == nil {
		err = carried()
	}
	return problem, err
}

// definition takes the body that makes a thing out of the answer that shows it,
// "" if it is not there.
func definition(ref stateRef, answer []byte) string {
	name := gjson.Escape(ref.Name)
	switch ref.What {
	case whatIndexTemplate:
		return gjson.GetBytes(answer, "index_templates.0.index_template").Raw
	case whatComponentTemplate:
		return gjson.GetBytes(answer, "component_templates.0.component_template").Raw
	case whatScript:
		if !gjson.GetBytes(answer, "found").Bool() {
			return ""
		}
		return `{"script":` + gjson.GetBytes(answer, "script").Raw + `}`
	}
	return gjson.GetBytes(answer, name).Raw
}

// resolve reads back what writes with an unknown outcome may have changed, and
// makes the follower equal. An error means that ctx has ended.
func (a *applier) resolve(ctx context.Context, intents []*record) error {
	docs := map[string][]recordDoc{} // by the cluster that they are read from
	last := map[string]*record{}     // an intent of the latest epoch
	type sent struct {
		from string
		doc  recordDoc
	}
	seen := map[sent]bool{}
	for _, in := range intents {
		if a.pairs[in.From] == nil {
			letter := DeadLetter{From: in.From, What: "intent", Index: in.ID, Reason: fmt.Sprintf("the write went to cluster %q, which the configuration does not have", in.From)}
			if err := a.bury(ctx, letter); err != nil {
				return err
			}
			continue
		}
		if err := a.await(ctx, in.Epoch); err != nil {
			return err
		}
		p, late := a.course(in.From, in.Epoch)
		from := p.from.Name()
		if err := a.learn(ctx, p, in); err != nil {
			return err
		}
		for i, ref := range in.State {
			if late {
				ref.UUID = "" // it is of another cluster
			}
			if err := a.resolveState(ctx, p, ref, in.ID+"/"+strconv.Itoa(i), in.at); err != nil {
				return err
			}
		}
		if last[from] == nil || in.Epoch > last[from].Epoch {
			last[from] = in
		}
		if err := a.resolveUnnamed(ctx, p, in); err != nil {
			return err
		}
		for _, d := range in.Docs {
			if key := (sent{from, d}); !seen[key] {
				seen[key] = true
				docs[from] = append(docs[from], d)
			}
		}
	}
	for from, list := range docs {
		p := a.pairs[from]
		var missing []cluster.DocID
		err := a.persist(ctx, a.whileAllowed(ctx, func() error {
			ids, err := p.places(ctx, list)
			if err != nil {
				return err
			}
			if missing, err = p.missing(ctx, ids); err != nil {
				return err
			}
			if err := p.equalise(ctx, ids); err != nil {
				return err
			}
			a.gotOn(len(ids))
			return nil
		}))
		if err == nil {
			err = a.resolveMade(ctx, p, missing)
		}
		if err == nil && len(missing) > 0 {
			err = a.persist(ctx, func() error { return a.lookAgain(ctx, last[from], missing) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resolveMade brings over indices of documents that the master does not have: a write that
// failed may have made one, see madeIndex.
func (a *applier) resolveMade(ctx context.Context, p *pair, missing []cluster.DocID) error {
	seen := map[string]bool{}
	for _, id := range missing {
		if seen[id.Index] {
			continue
		}
		seen[id.Index] = true
		there := false
		err := a.persist(ctx, func() (err error) {
			p.to.Facts().Forget(id.Index)
			_, there, err = p.to.Facts().Lookup(ctx, id.Index)
			return err
		})
		if err == nil && !there {
			err = a.applyState(ctx, p.from.Name(), stateRef{whatIndex, id.Index}, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resolveUnnamed has each index resynced for which the intent has a document without an id:
// the cluster is to refuse that, and if it did not, nobody knows which one to read back.
func (a *applier) resolveUnnamed(ctx context.Context, p *pair, in *record) error {
	for _, name := range unnamed(in.Docs) {
		var index cluster.Index
		there := false
		err := a.persist(ctx, func() (err error) {
			p.from.Facts().ForgetAll()
			index, there, err = p.from.Facts().Lookup(ctx, name)
			if refused := new(cluster.StatusError); errors.As(err, &refused) && permanent(refused.Status, refused.Type) {
				return nil // no index can have such a name
			}
			return err
		})
		if err == nil && there {
			err = a.resyncWanted(ctx, p.from.Name(), in.ID+"/"+name, index.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unnamed are the indices of documents without an id.
func unnamed(docs []recordDoc) (indices []string) {
	for _, d := range docs {
		if d.ID == "" && !slices.Contains(indices, d.Index) {
			indices = append(indices, d.Index)
		}
	}
	return indices
}

// resolveState carries over what a write with an unknown outcome may have changed of
// the state. key is where a wish is kept that comes of it.
func (a *applier) resolveState(ctx context.Context, p *pair, ref asked, key string, at time.Time) error {
	if ref.What == whatResync {
		return a.resyncWanted(ctx, p.from.Name(), key, ref.Name)
	}
	gone := false // the index that was to be deleted
	if ref.UUID != "" {
		err := a.persist(ctx, func() error {
			uuid, err := uuidOf(ctx, p.from, ref.Name)
			gone = err == nil && uuid != ref.UUID
			return err
		})
		if err != nil {
			return err
		}
	}
	// Another one of that name may be there by now, or in a moment: the follower's is deleted first.
	if err := a.applyState(ctx, p.from.Name(), ref.stateRef, deletedAt(at, gone)); err != nil || !gone {
		return err
	}
	if !at.IsZero() { // behind a rejoin all is read back
		if err := a.persist(ctx, func() error { return a.doubtIndex(ctx, p.from.Name(), ref.Name) }); err != nil {
			return err
		}
	}
	// Documents of the new one may have been deleted with the old one.
	return a.resyncWanted(ctx, p.from.Name(), key, ref.Name)
}

// places finds the concrete indices and routings of documents as they were
// asked for, and those of aliases that have been moved since. Those whose index the master
// does not have are left out: what the follower has of it goes with the index's own
// records.
func (p *pair) places(ctx context.Context, docs []recordDoc) ([]cluster.DocID, error) {
	p.from.Facts().ForgetAll() // an index may not have been there before its first document
	ids := make([]cluster.DocID, 0, len(docs))
	for _, d := range docs {
		if d.ID == "" {
			continue // see resolveUnnamed
		}
		index, ok, err := p.from.Facts().Lookup(ctx, d.Index)
		refused := new(cluster.StatusError)
		if errors.As(err, &refused) && permanent(refused.Status, refused.Type) {
			continue // no index can have such a name
		}
		if err != nil {
			return nil, err
		}
		id := cluster.DocID{Index: index.Name, Type: d.Type, ID: d.ID, Routing: d.Routing, Parent: d.Parent}
		if ok {
			if alias, is := index.Aliases[d.Index]; is && alias.IndexRouting != "" {
				id.Routing = alias.IndexRouting
			}
			ids = append(ids, id)
		}
		if d.On == "" || ok && d.On == index.Name {
			continue
		}
		before, there, err := p.from.Facts().Lookup(ctx, d.On)
		if err != nil {
			return nil, err
		}
		if there && before.Name == d.On {
			id.Index, id.Routing = d.On, cmp.Or(d.OnRouting, d.Routing)
			ids = append(ids, id)
		}
	}
	return ids, nil
}
