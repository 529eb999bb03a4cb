package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// With both_ways the other cluster is written too, by another gateway whose applier
// writes to this one's master. Two states of a document, found or deleted, are ordered by
// their versions, and those of one version by whose they are: that of the cluster
// which both_ways names counts. Each applier lets the cluster that it writes to decide:
// what the named cluster did is written with external_gte, what the other one did with
// external. So both end up with the same state, in whatever order and however
// often things arrive, as long as deletions are remembered (index.gc_deletes). A 409 says
// that something is there that counts more. Nothing is ever made lower, and nothing
// is deleted but by a deletion that happened. docs/design/bothways.md has the reasons.

func (r *Replicator) bothWays() bool { return r.cfg.BothWays != "" }

func (p *pair) bothWays() bool { return p.a.r.bothWays() }

// counts reports whether of two states of one version it is this pair's.
func (p *pair) counts() bool { return p.from.Name() == p.a.r.cfg.BothWays }

func (c *Config) validateBothWays() error {
	switch {
	case c.BothWays == "":
	case c.BothWays != c.Source.Name() && c.BothWays != c.Target.Name():
		return fmt.Errorf("both_ways names %q, which is neither source %q nor target %q: name the cluster that counts when both have written the same version of a document", c.BothWays, c.Source.Name(), c.Target.Name())
	case c.Master != c.Source.Name():
		return fmt.Errorf("with both_ways the master is the source, %q, and stays it: the gateway of the other site has source and target exchanged", c.Source.Name())
	case c.Failover > 0:
		return errors.New("both_ways and failover exclude each other: with both_ways the other cluster has applications and a gateway of its own")
	case c.AcceptDown:
		return errors.New("with both_ways journal_down cannot be accept: a resync cannot tell a document that was deleted while the journal was down from one that the other site has written")
	}
	return nil
}

// errBothWays is why the master cannot be moved.
var errBothWays = &SwitchError{Reason: "with both_ways each site writes to its own cluster, and the master of this gateway stays what it is",
	NextSteps: []string{"point the applications at the gateway of the other site", "or take both_ways out of both configurations first"}}

// stays refuses to begin with another master than the configuration names.
func (r *Replicator) stays(master string) error {
	if r.bothWays() && master != r.cfg.Master {
		return fmt.Errorf("the master is %s since a switchover, and with both_ways it has to be %s: take both_ways out, move the master back with esperanto switch, and put it in again", master, r.cfg.Master)
	}
	return nil
}

// bothWaysVersions refuses what writes one version of a document twice.
func (c *capture) bothWaysVersions(writes ...write) error {
	if !c.r.bothWays() {
		return nil
	}
	for i := range writes {
		if writes[i].again || writes[i].forced {
			return unsupported("version_type external_gte and force are refused with both_ways: the same version could be written twice, and the other site could not tell which counts; use external; nothing was written")
		}
	}
	return nil
}

// A question is about a document that has to be looked at before it is written.
type question struct {
	id cluster.DocID

	// deleted is the version of a deletion that is known to have happened, or a version
	// that it has had at least; 0 if there was none.
	deleted int64
	// unknown says that it is not known what happened: the document may have been
	// deleted without a record of it.
	unknown bool
}

// applyBothWays writes changes to the follower. What a change says is written as it is,
// unless it is to be read back anyhow or is so old that the follower may have forgotten a
// deletion that came after it.
func (p *pair) applyBothWays(ctx context.Context, changes []change) (left []change, err error) {
	var docs []cluster.Doc
	var questions []question
	var asked []change
	for i := range changes {
		c := &changes[i]
		old := false
		if !c.read {
			if old, err = p.tooOld(ctx, c.Index, c.at); err != nil {
				return changes, err
			}
		}
		if !c.read && !old {
			docs = append(docs, c.Doc)
			continue
		}
		q := question{id: c.DocID, unknown: c.read && !c.Found}
		keep := old && !c.read
		if !keep && !c.Found && c.Version > 0 {
			if keep, err = p.sinceMade(ctx, c); err != nil {
				return changes, err
			}
		}
		if keep && !c.Found {
			q.deleted = c.Version
		}
		questions, asked = append(questions, q), append(asked, *c)
	}
	o, err := p.put(ctx, docs)
	if err != nil && o.left == nil {
		return changes, err
	}
	left = changesOf(changes, o.left)
	if err == nil {
		err = p.settleAll(ctx, questions)
	}
	if err != nil {
		left = append(left, asked...)
	}
	return left, err
}

// sinceMade reports whether a change is younger than the master's index: what it tells is of
// that one then, and not of another one that was deleted.
func (p *pair) sinceMade(ctx context.Context, c *change) (bool, error) {
	made, err := madeAt(ctx, p.from, c.Index)
	return !made.IsZero() && c.at.After(made), err
}

// settle is what equalise is with both_ways: it brings documents over of which nothing is
// known.
func (p *pair) settle(ctx context.Context, ids []cluster.DocID) error {
	questions := make([]question, len(ids))
	for i := range ids {
		questions[i] = question{id: ids[i], unknown: true}
	}
	return p.settleAll(ctx, questions)
}

// settleAll brings documents over as the answers say, so many at a time as may be held in
// memory.
func (p *pair) settleAll(ctx context.Context, questions []question) error {
	for chunk := range slices.Chunk(joined(questions), readChunk) {
		if err := p.settleInHalves(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (p *pair) settleInHalves(ctx context.Context, questions []question) error {
	docs, err := p.ask(ctx, questions)
	if err == nil {
		_, err = p.put(ctx, docs)
	}
	switch {
	case !errors.Is(err, cluster.ErrTooLarge):
		return err
	case len(questions) == 1:
		return p.buryAll(ctx, []rejection{{cluster.Doc{DocID: questions[0].id}, err.Error()}})
	}
	half := len(questions) / 2
	if err := p.settleInHalves(ctx, questions[:half]); err != nil {
		return err
	}
	return p.settleInHalves(ctx, questions[half:])
}

// settleCopied is for documents that a backfill has written although the follower may have
// forgotten their deletion. The master does not have the version any more that was written:
// what was deleted since had a higher one.
func (p *pair) settleCopied(ctx context.Context, ids []cluster.DocID, wrote map[cluster.DocID]int64) error {
	questions := make([]question, len(ids))
	for i, id := range ids {
		questions[i] = question{id: id, deleted: wrote[id] + 1, unknown: true}
	}
	return p.settleAll(ctx, questions)
}

// otherWay says what a mismatch may also be with both_ways: the other site's.
func (p *pair) otherWay(l *look) string {
	f, m := &l.f, &l.m
	switch {
	case !p.bothWays() || f.Unreadable+m.Unreadable != "":
	case m.Found && !f.Found && p.a.waits.has(p, m.DocID):
		return fmt.Sprintf("; it waits until %s forgets that it was deleted (index.gc_deletes)", p.to.Name())
	case m.Found && !f.Found:
		return fmt.Sprintf("; if it was deleted at %s, the other gateway has not applied that yet", p.to.Name())
	case f.Found && (!m.Found || f.Version > m.Version || f.Version == m.Version && !p.counts()):
		return fmt.Sprintf("; that of %s counts: the other gateway has not applied it yet, or a verify --repair there brings it", p.to.Name())
	}
	return ""
}

// joined makes one question of all about the same document.
func joined(questions []question) (list []question) {
	at := map[cluster.DocID]int{}
	for _, q := range questions {
		i, ok := at[q.id]
		if !ok {
			at[q.id] = len(list)
			list = append(list, q)
			continue
		}
		list[i].deleted = max(list[i].deleted, q.deleted)
		list[i].unknown = list[i].unknown || q.unknown
	}
	return list
}

// ask looks at documents of the master, and tells what is to be written to the follower.
func (p *pair) ask(ctx context.Context, questions []question) (docs []cluster.Doc, err error) {
	ids := make([]cluster.DocID, len(questions))
	for i := range questions {
		ids[i] = questions[i].id
	}
	masters, err := p.from.MGet(ctx, ids, true)
	if err != nil {
		return nil, err
	}
	p.a.r.counters.readBacks.Add(int64(len(ids)))
	if err := p.deletions(ctx, questions, masters); err != nil {
		return nil, err
	}
	var anew []cluster.Doc // of the master
	var over []int64       // versions of deletions that they are lower than
	for i := range masters {
		q, m := &questions[i], masters[i]
		switch {
		case m.Unreadable != "":
			err = p.buryAll(ctx, []rejection{{m, m.Unreadable}})
		case m.Found && q.deleted > m.Version:
			anew, over = append(anew, m), append(over, q.deleted)
		case m.Found:
			docs = append(docs, m)
		case q.deleted > 0:
			docs = append(docs, cluster.Doc{DocID: q.id, Version: q.deleted})
		}
		if err != nil {
			return nil, err
		}
	}
	begun, err := p.begunAnew(ctx, anew, over)
	return append(docs, begun...), err
}

// deletions completes the questions about documents that the master does not have and of
// which nothing is known: by the deletions that it remembers. It reads those
// documents again, as they may have come back in between.
func (p *pair) deletions(ctx context.Context, questions []question, masters []cluster.Doc) error {
	var ids []cluster.DocID
	var at []int
	there := map[string]bool{}
	for i := range masters {
		if masters[i].Found || masters[i].Unreadable != "" || !questions[i].unknown {
			continue
		}
		index := questions[i].id.Index
		if _, looked := there[index]; !looked {
			uuid, err := uuidOf(ctx, p.from, index)
			if err != nil {
				return err
			}
			there[index] = uuid != ""
		}
		if there[index] {
			ids, at = append(ids, questions[i].id), append(at, i)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	remembered, err := p.from.Remembered(ctx, ids)
	if err != nil {
		return err
	}
	again, err := p.from.MGet(ctx, ids, true)
	if err != nil {
		return err
	}
	for n, i := range at {
		masters[i] = again[n]
		if again[n].Found || again[n].Unreadable != "" {
			continue
		}
		t := &remembered[n]
		if t.Untold != "" && questions[i].deleted == 0 {
			masters[i].Unreadable, masters[i].Closed = t.Untold, t.Shut
		}
		questions[i].deleted = max(questions[i].deleted, t.Version)
	}
	return nil
}

// begunAnew is for documents of the master whose versions are lower than that of a deletion:
// the master has forgotten it, and they were created again, here or at the other site.
// Where the follower has something else, the deletion still has to reach it, and
// the document waits until the follower forgets it, too.
func (p *pair) begunAnew(ctx context.Context, masters []cluster.Doc, over []int64) (docs []cluster.Doc, err error) {
	if len(masters) == 0 {
		return nil, nil
	}
	ids := idsOf(masters)
	followers, err := p.to.MGet(ctx, ids, true)
	if err != nil {
		return nil, err
	}
	var wait []cluster.DocID
	for i := range masters {
		if !sameDocument(&followers[i], &masters[i]) {
			docs, wait = append(docs, cluster.Doc{DocID: ids[i], Version: over[i]}), append(wait, ids[i])
		}
	}
	return docs, p.a.waits.add(ctx, p, wait)
}

// refused looks at documents that the follower did not take: it has something that counts
// more. If that is a deletion while the master has the document, either the
// deletion is on its way to the master, or the master had forgotten it when the
// document was created again. Both cannot be told apart now, but later: the document
// waits until the follower has forgotten the deletion, and is written then if the master
// still has it.
func (p *pair) refused(ctx context.Context, docs []cluster.Doc) error {
	var ids []cluster.DocID
	for i := range docs {
		if docs[i].Found {
			ids = append(ids, docs[i].DocID)
		}
	}
	ids, err := p.whichHas(ctx, p.to, ids, false)
	if err != nil {
		return err
	}
	ids, err = p.whichHas(ctx, p.from, ids, true)
	if err != nil {
		return err
	}
	return p.a.waits.add(ctx, p, ids)
}

// whichHas are those of documents that a cluster has, or does not have.
func (p *pair) whichHas(ctx context.Context, c *cluster.Cluster, ids []cluster.DocID, found bool) (list []cluster.DocID, err error) {
	for chunk := range slices.Chunk(ids, p.a.r.cfg.BatchDocs) {
		docs, err := c.MGet(ctx, chunk, false)
		if err != nil {
			return nil, err
		}
		for i := range docs {
			if docs[i].Unreadable == "" && docs[i].Found == found {
				list = append(list, chunk[i])
			}
		}
	}
	return list, nil
}

// tooOld reports whether what a record tells of an index may have been followed by a
// deletion that the follower has forgotten by now.
func (p *pair) tooOld(ctx context.Context, index string, at time.Time) (bool, error) {
	if at.IsZero() {
		return false, nil
	}
	age := p.a.r.cfg.Now().Sub(at)
	if age < freshFor {
		return false, nil
	}
	m, err := p.memories.of(ctx, p, index)
	return age > m.least/2, err
}

const (
	// freshFor is how old records are at most that are applied without asking how long
	// deletions are remembered.
	freshFor = 500 * time.Millisecond
	// memoryKnown is how long that is taken for known.
	memoryKnown = time.Minute
)

// memories are how long indices remember deletions.
type memories struct {
	mu    sync.Mutex
	known map[string]remembering
}

type remembering struct {
	least    time.Duration // of both clusters
	follower time.Duration
	asked    time.Time
}

func (m *memories) of(ctx context.Context, p *pair, index string) (remembering, error) {
	now := time.Now()
	m.mu.Lock()
	known, ok := m.known[index]
	m.mu.Unlock()
	if ok && now.Sub(known.asked) < memoryKnown {
		return known, nil
	}
	known = remembering{asked: now}
	mine, err := memoryAt(ctx, p.from, index)
	if err != nil {
		return known, err
	}
	if known.follower, err = memoryAt(ctx, p.to, index); err != nil {
		return known, err
	}
	known.least = min(mine, known.follower)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxKnown {
		m.known = map[string]remembering{}
	}
	m.known[index] = known
	return known, nil
}

// memoryAt is how long an index remembers deletions; one that is not there will do so for
// the time that is usual.
func memoryAt(ctx context.Context, c *cluster.Cluster, index string) (time.Duration, error) {
	settings, err := settingsOf(ctx, c, index)
	if gone(err) {
		return defaultGC, nil
	}
	if err != nil {
		return 0, err
	}
	return gcDeletes(settings), nil
}
