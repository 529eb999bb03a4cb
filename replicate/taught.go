package replicate

import (
	"context"
	"slices"

	"github.com/esperanto-es/esperanto/translate"
)

// A master without types does not tell the follower which type an application writes,
// unless the index's mapping does. A write that is the first to name it teaches it, and
// its intent says so: the mapping tells it before effects are journaled. If that was not
// done, whoever resolves the intent does it first.

// teach notes in what an intent is about what the write tells of it.
func teach(lessons []*translate.Lesson, docs []recordDoc, state []asked) {
	if len(lessons) == 0 {
		return
	}
	types := map[string]string{}
	for _, l := range lessons {
		types[l.Index] = l.Type
	}
	for i := range docs {
		docs[i].Taught = types[docs[i].Index]
	}
	for i := range state {
		if state[i].What == whatIndex {
			state[i].Taught = types[state[i].Name]
		}
	}
}

// learn has the master's mappings tell what a write that was carried out has taught. It
// reports whether they do.
func (c *capture) learn(ctx context.Context) bool {
	told := true
	if lessons := translate.Lessons(ctx); len(lessons) > 0 {
		ctx, cancel := context.WithTimeout(ctx, translate.LearnWait)
		defer cancel()
		for _, l := range lessons {
			if err := l.Learn(ctx, c.lease.roles.master.Facts()); err != nil {
				c.r.log.Warn("the type of an index could not be written into its mapping yet", "cluster", c.lease.roles.master.Name(), "index", l.Index, "type", l.Type, "reason", err)
				told = false
			}
		}
	}
	return told
}

// learn does so for an intent, however long it takes. An error means that ctx has ended.
func (a *applier) learn(ctx context.Context, p *pair, in *record) error {
	types := map[string]string{}
	byName := map[string][]recordDoc{}
	for _, d := range in.Docs {
		if d.Taught != "" {
			byName[d.Index] = append(byName[d.Index], d)
		}
	}
	for name, docs := range byName {
		err := a.persist(ctx, func() error {
			indices, err := p.writtenTo(ctx, name, docs)
			for _, index := range indices {
				types[index] = docs[0].Taught
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, ref := range in.State {
		if ref.Taught != "" {
			types[ref.Name] = ref.Taught
		}
	}
	for index, typ := range types {
		if err := a.persist(ctx, func() error { return p.from.Facts().Learn(ctx, index, typ) }); err != nil {
			return err
		}
	}
	return nil
}

// writtenTo are the indices to which documents may have been written under a name: an alias may
// have been moved since, so that it counts where they are.
func (p *pair) writtenTo(ctx context.Context, name string, docs []recordDoc) (indices []string, err error) {
	ids, err := p.places(ctx, docs)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for chunk := range slices.Chunk(ids, readChunk) {
		if chunk[0].Index == name {
			return []string{name}, nil
		}
		masters, err := p.from.MGet(ctx, chunk, false)
		if err != nil {
			return nil, err
		}
		for i := range masters {
			if masters[i].Found {
				found[chunk[i].Index] = true
			}
		}
	}
	return keys(found), nil
}
