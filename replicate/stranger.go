package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// The copy of an index under another name says whose copy it is, in its mapping. So
// nothing is written to an index that has the name by chance, or deleted from it, and an
// operator can have an index taken that was made beforehand.

// stranger is why an index of the follower is not the copy of the master's index, nil
// if it is, or will be when it is made. Indices of one name are what they are.
func (x *indices) stranger(ctx context.Context, name string) (problem, err error) {
	s := x.a.r.selection
	if !s.renames() {
		return nil, nil
	}
	if problem := s.taken(name); problem != nil {
		return problem, nil
	}
	if s.ruleOf(name) == nil {
		return nil, nil
	}
	index, ok, err := x.to.Facts().Lookup(ctx, name)
	if err != nil || !ok || index.Leader == name || index.Bare {
		return nil, err
	}
	return fmt.Errorf("cluster %s has an index %s that is not known as the copy of %s: delete it, choose another name in indices, or write %s into its mapping as _meta.esperanto.leader_index if it is to be the copy",
		x.to.Name(), s.There(name), name, name), nil
}

// deletable reports whether an index of the follower may be deleted when the master's is:
// it is no stranger. problem is why it is not, although it may be the copy.
func (x *indices) deletable(ctx context.Context, name string) (may bool, problem, err error) {
	if !x.a.r.selection.replicated(name) {
		return false, nil, nil
	}
	strange, err := x.stranger(ctx, name)
	if err != nil || strange != nil || x.leader(name) == "" {
		return strange == nil && err == nil, nil, err
	}
	v, err := x.to.Version(ctx)
	if err != nil {
		return false, nil, err
	}
	index, there, err := x.to.Facts().Lookup(ctx, name)
	if err != nil || !there || index.Leader == name || v.Major < 7 { // before 7.0 an index without types remembers nothing
		return err == nil, nil, err
	}
	return false, fmt.Errorf("cluster %s has an index %s without a mapping that is not known as the copy of %s, which was deleted: delete it, if it is the copy", x.to.Name(), x.a.r.selection.There(name), name), nil
}

// mark has a copy remember whose it is, if it has no type whose mapping could say so.
func (x *indices) mark(ctx context.Context, index indexState) error {
	from, err := x.from.Version(ctx)
	if err != nil {
		return err
	}
	to, err := x.to.Version(ctx)
	if err != nil || index.leader == "" || index.hasTypes() || from.Major >= 7 || to.Major < 7 {
		return err
	}
	body := (&scribe{}).reminded(index, "{}", "")
	status, answer, err := x.to.Do(ctx, http.MethodPut, cluster.Path(index.name, "_mapping"), []byte(body))
	if err == nil {
		err = x.to.Failed(status, answer)
	}
	return err
}

// hasTypes reports whether there are mapping types, as a master before 7.0 shows them.
func (s indexState) hasTypes() (has bool) {
	s.mappings.ForEach(func(typ, _ gjson.Result) bool {
		has = typ.Str != "_default_"
		return !has
	})
	return has
}

// leader is what the mapping of a copy remembers: the index's name, if the copy has
// another one.
func (x *indices) leader(name string) string {
	if x.a.r.selection.There(name) != name {
		return name
	}
	return ""
}

// ours are the documents that belong into indices of the follower which are the
// master's copies. Of the others nothing is deleted.
func (p *pair) ours(ctx context.Context, docs []cluster.Doc) (kept []cluster.Doc, strange []rejection, err error) {
	if !p.a.r.selection.renames() {
		return docs, nil, nil
	}
	names := indicesOf(docs)
	for chunk := range slices.Chunk(names, indexChunk) {
		p.to.Facts().Gather(ctx, strings.Join(chunk, ","), chunk)
	}
	problems := map[string]error{}
	for _, name := range names {
		if problems[name], err = p.indices.stranger(ctx, name); err != nil {
			return nil, nil, err
		}
	}
	for _, d := range docs {
		switch problem := problems[d.Index]; {
		case problem == nil:
			kept = append(kept, d)
		case d.Found:
			strange = append(strange, rejection{d, problem.Error()})
		}
	}
	return kept, strange, nil
}

// stranger reports whether the follower has another index in place of the master's, and
// counts that as a mismatch.
func (v *verification) stranger(ctx context.Context, name string) (bool, error) {
	problem, err := v.p.indices.stranger(ctx, name)
	if err != nil || problem == nil {
		return false, err
	}
	uuid, err := uuidOf(ctx, v.p.from, name)
	if err == nil && uuid != "" { // else it does not matter whose the other one is
		v.found([]Mismatch{{What: whatIndex, Kind: KindDifferent, Index: name, Name: name, Why: problem.Error()}})
	}
	return true, err
}

// ofDocs are those of documents that are in indices which are replicated.
func (s *selection) ofDocs(ids []cluster.DocID) []cluster.DocID {
	if s == nil {
		return ids
	}
	var list []cluster.DocID
	for _, id := range ids {
		if s.replicated(id.Index) {
			list = append(list, id)
		}
	}
	return list
}

// ofRows are the rows that are put aside, without those of indices that are not replicated.
// What is told by an alias shows when it is looked at.
func (s *selection) ofRows(rows []asideRow) []asideRow {
	if s == nil {
		return rows
	}
	var list []asideRow
	for _, row := range rows {
		if (row.What == "" && !row.Asked || row.What == whatIndex) && !s.replicated(row.Index) {
			continue
		}
		list = append(list, row)
	}
	return list
}

// ofState is a part of the state without the indices that are not replicated; any is
// false if nothing is left.
func (s *selection) ofState(ref stateRef) (left stateRef, any bool) {
	switch ref.What {
	case whatIndex:
		return ref, s.replicated(ref.Name)
	case whatAliases:
		names := s.of(strings.Split(ref.Name, ","))
		return stateRef{ref.What, strings.Join(names, ",")}, len(names) > 0
	}
	return ref, true
}

// errRenamed is why the target cannot become the master.
var errRenamed = errors.New("its indices have other names (rename in indices), under which applications would not find them")

var renamedSteps = []string{"take rename out of indices, restart the gateway, copy the indices under their own names (POST /esperanto/backfill) and verify; then move the master"}

// movable tells why a cluster cannot be the master, nil if it can.
func (r *Replicator) movable(master string) error {
	if r.selection.renames() && master != r.cfg.Source.Name() {
		return fmt.Errorf("cluster %s cannot become the master: %w", master, errRenamed)
	}
	return nil
}
