package replicate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// What the applier has read of the master's index may be of a former one when it acts on that:
// the index was deleted meanwhile, maybe made again, and another worker, maybe of another
// process, has deleted the follower's before. Nobody can keep an application from that, so it is
// looked at afterwards: if the master's index is another one by then, the follower's is made anew.

// wishAnew keeps that an index of the follower is to be deleted, made anew and copied.
func (x *indices) wishAnew(ctx context.Context, name string) error {
	r := x.a.r
	r.log.Warn("an index was deleted at the master while it was carried over; it is made anew", "cluster", x.to.Name(), "index", name)
	return r.resyncs.keep(ctx, "anew/"+r.nextIntentID(), resyncWish{Index: name, Anew: true})
}

// acts notes that something is done to the follower's index for the master's of that uuid, and
// may have been for another one before, if it failed.
func (x *indices) acts(ctx context.Context, name, uuid string) error {
	if !x.retypes() {
		return nil
	}
	if before, ok := x.acting[name]; ok && before != uuid {
		if err := x.wishAnew(ctx, name); err != nil {
			return err
		}
	}
	x.acting[name] = uuid
	return nil
}

// acted reports an error if the master's index is another one than it was when that was begun.
func (x *indices) acted(ctx context.Context, name string) error {
	uuid, ok := x.acting[name]
	if !ok {
		return nil
	}
	now, err := uuidOf(ctx, x.from, name)
	if err != nil {
		return err
	}
	if now != uuid {
		if err := x.wishAnew(ctx, name); err != nil {
			return err
		}
		err = fmt.Errorf("index %s was deleted at cluster %s while it was carried over", name, x.from.Name())
	}
	delete(x.acting, name)
	return err
}

// madeSince reports whether the master has an index of a name that it did not have when the
// follower's was to be deleted. It is copied then: the follower may have had documents of it.
func (p *pair) madeSince(ctx context.Context, name string) (bool, error) {
	uuid, err := uuidOf(ctx, p.from, name)
	if err != nil || uuid == "" || !p.indices.retypes() {
		return false, err
	}
	return true, p.indices.wishAnew(ctx, name)
}

// whose tells which indices of the master names stand for: name → uuid, without those that it
// does not have.
func (x *indices) whose(ctx context.Context, names []string) (map[string]string, error) {
	found := map[string]string{}
	for chunk := range slices.Chunk(names, indexChunk) {
		status, answer, err := x.from.Do(ctx, http.MethodGet,
			cluster.Path(strings.Join(chunk, ","), "_settings", "index.uuid")+"?expand_wildcards=open,closed&ignore_unavailable=true&allow_no_indices=true", nil)
		if err != nil {
			return nil, err
		}
		if err := x.from.Failed(status, answer); err != nil && !cluster.NoIndex(status, answer) {
			return nil, err
		}
		for _, name := range chunk {
			if uuid := gjson.GetBytes(answer, gjson.Escape(name)+".settings.index.uuid").String(); uuid != "" {
				found[name] = uuid
			} else if err := x.missing(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// steadily calls f, which makes documents equal, for those that are in indices that the master
// has: what the follower has of others goes with these. wrote tells whether it has written
// something.
func (p *pair) steadily(ctx context.Context, ids []cluster.DocID, f func([]cluster.DocID) (wrote bool, err error)) error {
	if !p.indices.retypes() || p.a.r.gate.failing() {
		_, err := f(ids)
		return err
	}
	names := map[string]bool{}
	for i := range ids {
		names[ids[i].Index] = true
	}
	before, err := p.indices.whose(ctx, keys(names))
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id cluster.DocID) bool { return before[id.Index] == "" })
	wrote, failed := f(ids)
	if !wrote && failed == nil {
		return nil
	}
	for attempt := 0; ; attempt++ {
		err := p.anewUnless(ctx, before)
		switch {
		case err == nil, p.a.r.gate.failing(): // then nobody deletes an index any more that it has
			return failed
		case ctx.Err() != nil:
			return errors.Join(failed, err)
		}
		p.a.blocked(err)
		pause(ctx, attempt)
	}
}

// anewUnless has those of the follower's indices made anew whose master's are other ones now.
func (p *pair) anewUnless(ctx context.Context, before map[string]string) error {
	now, err := p.indices.whose(ctx, slices.Collect(maps.Keys(before)))
	if err != nil {
		return err
	}
	for name, uuid := range before {
		if now[name] != uuid {
			if err := p.indices.wishAnew(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// stillReady reports an error if an index to which documents are to be written was deleted at the
// follower since that was made ready for them.
func (x *indices) stillReady(docs []cluster.Doc) error {
	if !x.retypes() || x.a.r.gate.failing() {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range indicesOf(docs) {
		if c, ok := x.known[name]; !ok || errors.Is(c.problem, errNoIndex) {
			return fmt.Errorf("index %s of cluster %s is being deleted", name, x.to.Name())
		}
	}
	return nil
}

// A name may be that of an index first and of an alias then, or the other way round. What comes of
// both is in two partitions of the journal, so that the follower may hear of the second before the
// first. As the master cannot have both, it is known what has to go.

// ownDocs reads documents of indices. What a name stands for that is an alias by now is not among them.
func ownDocs(ctx context.Context, c *cluster.Cluster, ids []cluster.DocID, source bool) ([]cluster.Doc, error) {
	docs, err := c.MGet(ctx, ids, source)
	for i := range docs {
		if docs[i].Found && docs[i].Index != ids[i].Index {
			docs[i] = cluster.Doc{DocID: ids[i]}
		}
	}
	return docs, err
}

// addAliases calls add while nothing is on its way to indices that had the names of these aliases: it
// would come to the indices of the aliases.
func (p *pair) addAliases(ctx context.Context, want, have map[string]map[string]string, add func() error) error {
	var added []string
	for index, aliases := range want {
		for alias := range aliases {
			if _, ok := have[index][alias]; !ok && !slices.Contains(added, alias) {
				added = append(added, alias)
			}
		}
	}
	slices.Sort(added)
	for _, alias := range added {
		_, release, err := p.quiet.hold(ctx, alias)
		if err != nil {
			return err
		}
		defer release()
	}
	return add()
}

// isTaken reports whether an alias is refused since an index has its name.
func isTaken(err error) bool {
	e := new(cluster.StatusError)
	return errors.As(err, &e) && e.Type == "invalid_alias_name_exception"
}

// deleteTaking deletes indices of the follower that have the names of aliases which are to be added.
func (p *pair) deleteTaking(ctx context.Context, want, have map[string]map[string]string) (deleted bool, err error) {
	if p.bothWays() {
		return false, nil
	}
	for index, aliases := range want {
		for alias := range aliases {
			if _, ok := have[index][alias]; ok {
				continue
			}
			p.to.Facts().Forget(alias)
			there, ok, err := p.to.Facts().Lookup(ctx, alias)
			if err != nil {
				return deleted, err
			}
			if uuid, err := uuidOf(ctx, p.from, alias); err != nil || uuid != "" || !ok || there.Name != alias {
				if err != nil {
					return deleted, err
				}
				continue
			}
			if deleted, err = p.deleteQuietly(ctx, alias); err != nil || !deleted {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

// deleteQuietly deletes an index of the follower while nothing is on its way to it, which would come to
// the indices of the alias.
func (p *pair) deleteQuietly(ctx context.Context, name string) (deleted bool, err error) {
	ctx, release, err := p.quiet.hold(ctx, name)
	if err != nil {
		return false, err
	}
	defer release()
	problem, err := p.deleteIndex(ctx, name)
	if problem != nil || err != nil {
		return false, err
	}
	_, err = p.madeSince(ctx, name)
	return true, err
}

// takeAlias takes an alias from the follower that has the name of an index of the master.
func (x *indices) takeAlias(ctx context.Context, name, uuid string) (problem, err error) {
	names, err := x.to.Facts().Expand(ctx, name)
	if err != nil || len(names) == 0 || slices.Contains(names, name) {
		return nil, err
	}
	var actions []string
	for _, index := range names {
		action, _ := sjson.Set(`{"remove":{}}`, "remove.index", index)
		action, _ = sjson.Set(action, "remove.alias", x.to.There(name))
		actions = append(actions, action)
	}
	status, answer, err := x.to.Do(ctx, http.MethodPost, "/_aliases", []byte(`{"actions":[`+strings.Join(actions, ",")+`]}`))
	x.to.Facts().ForgetAll()
	if err != nil {
		return nil, err
	}
	if failed := x.to.Failed(status, answer); failed != nil && status != http.StatusNotFound {
		if permanent(status, "") {
			return failed, nil
		}
		return nil, failed
	}
	if now, err := uuidOf(ctx, x.from, name); err != nil || now == uuid {
		return nil, err
	}
	for _, index := range names { // the index may have become an alias just before: it comes back with them
		if err := x.a.r.resyncs.put(ctx, "alias/"+x.a.r.nextIntentID(), index); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
