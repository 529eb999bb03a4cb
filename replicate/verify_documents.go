package replicate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/verify"
)

// The documents of an index are compared in two steps. First both clusters are
// read, at the same time, and hashes of their documents are added up, in as many
// sums as memory of a constant size has room for; which sum a document counts to
// depends on its id. Then only the documents of those sums that differ are looked
// at one by one, until it is sure what they are.

// maxSums bounds the sums of an index, per cluster; 8 bytes each.
const maxSums = 1 << 18

// sums are those of one cluster.
type sums []uint64

func newSums(docs int64) sums {
	n := min(max(uint64(docs), 64), maxSums)
	return make(sums, 1<<bits.Len64(n-1))
}

func (v *verification) at(s sums, id string) int {
	return int(maphash.String(v.seed, id) & uint64(len(s)-1))
}

// add adds a document, safe for concurrent use.
func (v *verification) add(s sums, d *cluster.Doc) {
	var h maphash.Hash
	h.SetSeed(v.seed)
	h.WriteString(d.ID)
	h.WriteByte(0)
	h.WriteString(routingOf(d))
	var n [9]byte
	binary.LittleEndian.PutUint64(n[1:], uint64(d.Version))
	h.Write(n[:])
	h.Write(d.Source)
	atomic.AddUint64(&s[v.at(s, d.ID)], h.Sum64())
}

// differing tells which sums differ.
type differing []bool

func (v *verification) differs(s differing, id string) bool {
	return s[maphash.String(v.seed, id)&uint64(len(s)-1)]
}

// documents compares the documents of an index that both clusters have, or the
// master at least.
func (v *verification) documents(ctx context.Context, index string, size cluster.Size, follower bool) error {
	differ, any, err := v.sumUp(ctx, index, size, follower)
	if err != nil || !any {
		return err
	}
	page := size.PageDocs()
	if err := v.lookThrough(ctx, v.p.from, index, page, func(id string) bool { return v.differs(differ, id) }, v.compareAt); err != nil || !follower {
		return err
	}
	return v.lookThrough(ctx, v.p.to, index, page, func(id string) bool { return v.differs(differ, id) }, v.extraAt)
}

// sumUp reads both clusters and tells which sums differ, and whether any do.
func (v *verification) sumUp(ctx context.Context, index string, size cluster.Size, follower bool) (d differing, any bool, err error) {
	sides := []*cluster.Cluster{v.p.from}
	if follower {
		sides = append(sides, v.p.to)
	}
	all := []sums{newSums(size.Docs), newSums(size.Docs)}
	errs := make([]error, len(sides))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var reading sync.WaitGroup
	for i, c := range sides {
		reading.Go(func() {
			if errs[i] = v.sumSide(ctx, c, index, all[i]); errs[i] != nil && !errors.Is(errs[i], cluster.ErrNotJSON) {
				cancel()
			}
		})
	}
	reading.Wait()
	d = make(differing, len(all[0]))
	unreadable := false
	for i, err := range errs {
		if errors.Is(err, cluster.ErrNotJSON) {
			unreadable, errs[i] = true, nil
		}
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, false, err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, false, err
	}
	for i := range d {
		d[i] = unreadable || all[0][i] != all[1][i] // what is not JSON is looked at one by one
		any = any || d[i]
	}
	return d, any, nil
}

// sumSide adds up the documents of one cluster, slice beside slice.
func (v *verification) sumSide(ctx context.Context, c *cluster.Cluster, index string, into sums) error {
	var size cluster.Size
	err := v.still(ctx, func() (err error) {
		if err = c.Refresh(ctx, index); err == nil {
			size, err = c.Size(ctx, index)
		}
		return err
	})
	if err != nil {
		return err
	}
	const attempts = 5
	page := size.PageDocs()
	for attempt := 0; ; attempt++ {
		var read atomic.Int64
		err := v.scanSlices(ctx, c, cluster.ScanOptions{Index: index, PageDocs: page, Source: true}, v.slices(size), func(docs []cluster.Doc) error {
			for i := range docs {
				v.add(into, &docs[i])
			}
			if c == v.p.from {
				read.Add(int64(len(docs)))
				v.change(func(p *VerifyProgress) { p.Documents += int64(len(docs)) })
			}
			return v.slow(ctx, c, len(docs))
		})
		switch {
		case err == nil || ctx.Err() != nil || attempt == attempts || errors.Is(err, cluster.ErrNotJSON):
			return err
		case errors.Is(err, cluster.ErrTooLarge) && page == 1:
			return err
		case errors.Is(err, cluster.ErrTooLarge):
			page = max(1, page/10)
		default:
			pause(ctx, attempt)
		}
		clear(into)
		v.change(func(p *VerifyProgress) { p.Documents -= read.Load() })
	}
}

// scanSlices reads an index in slices beside each other.
func (v *verification) scanSlices(ctx context.Context, c *cluster.Cluster, o cluster.ScanOptions, n int, page func([]cluster.Doc) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reading sync.WaitGroup
	for i := range n {
		part := o
		part.Slice, part.Slices = i, n
		reading.Go(func() {
			err := c.Scan(ctx, part, func(_ time.Time, docs []cluster.Doc) error { return page(docs) })
			if err != nil {
				cancel(err)
			}
		})
	}
	reading.Wait()
	return context.Cause(ctx)
}

// slow waits if documents are read faster than they may be, or the job is
// paused.
func (v *verification) slow(ctx context.Context, c *cluster.Cluster, docs int) error {
	p := v.paces[c]
	if err := p.hold(ctx, docs, 0); err != nil {
		return err
	}
	return v.job.Wait(ctx)
}

const (
	// lookBatch is how many documents are looked at together.
	lookBatch = 1000
	// lookKeepAlive is how long a scroll outlives the looking at them.
	lookKeepAlive = 15 * time.Minute
)

// lookThrough reads which documents a cluster has and gives those of differing
// sums to look, many at a time.
func (v *verification) lookThrough(ctx context.Context, c *cluster.Cluster, index string, page int, differs func(id string) bool,
	look func(ctx context.Context, ids []cluster.DocID, page int) error) error {
	var batch []cluster.DocID
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		v.change(func(p *VerifyProgress) { p.LookedAgain += int64(len(batch)) })
		err := look(ctx, batch, page)
		batch = nil
		return err
	}
	err := c.Scan(ctx, cluster.ScanOptions{Index: index, PageDocs: 1000, KeepAlive: lookKeepAlive}, func(_ time.Time, docs []cluster.Doc) error {
		for i := range docs {
			if differs(docs[i].ID) {
				batch = append(batch, docs[i].DocID)
			}
			if len(batch) == lookBatch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return v.slow(ctx, c, len(docs))
	})
	if err != nil {
		return err
	}
	return flush()
}

// A look is what both clusters hold of one document.
type look struct {
	id   cluster.DocID
	f, m cluster.Doc
}

// compareAt makes sure what documents of the master are like at the follower.
func (v *verification) compareAt(ctx context.Context, ids []cluster.DocID, page int) error {
	return v.makeSure(ctx, ids, page, false)
}

// extraAt makes sure which documents of the follower the master does not have.
func (v *verification) extraAt(ctx context.Context, ids []cluster.DocID, page int) error {
	return v.makeSure(ctx, ids, page, true)
}

// judge says in what a follower's document differs from the master's.
func (v *verification) judge(l *look) *Mismatch {
	m := mismatchOf(l.id)
	f, master := &l.f, &l.m
	switch {
	case f.Unreadable+master.Unreadable != "":
		m.Kind, m.Why = KindDifferent, "cannot be read: "+f.Unreadable+master.Unreadable
	case !master.Found:
		return nil // judgeExtra tells
	case !f.Found:
		m.Kind, m.Why = KindMissing, fmt.Sprintf("the master has version %d", master.Version)+v.p.otherWay(l)
	default:
		m.Kind, m.Why = KindDifferent, difference(master, f)
		if m.Why == "" {
			return nil
		}
		m.Why += v.p.otherWay(l)
	}
	return m
}

// judgeExtra says whether the follower has a document that the master does not
// have under this routing.
func (v *verification) judgeExtra(l *look) *Mismatch {
	f, master := &l.f, &l.m
	asked := routingOf(&cluster.Doc{DocID: l.id})
	switch {
	case !f.Found || routingOf(f) != asked:
		return nil // it is gone, or another one
	case master.Unreadable != "" || (master.Found && routingOf(master) == asked):
		return nil // judge tells
	}
	m := mismatchOf(l.id)
	m.Kind, m.Why = KindExtra, fmt.Sprintf("the master does not have it, the follower has version %d", f.Version)+v.p.otherWay(l)
	return m
}

// otherRoutings looks for extra documents at the master under other routings.
// Where the follower has one of these in place of the master's, on the same
// shard, judge has told it.
func (v *verification) otherRoutings(ctx context.Context, sure []*suspect) ([]*suspect, error) {
	if len(sure) == 0 {
		return nil, nil
	}
	values := []byte(`{"ids":{"values":[`)
	for i, s := range sure {
		if i > 0 {
			values = append(values, ',')
		}
		values = gjson.AppendJSONString(values, s.id.ID)
	}
	values = append(values, `]}}`...)
	masters := map[string][]cluster.DocID{}
	err := v.p.from.Scan(ctx, cluster.ScanOptions{Index: sure[0].id.Index, Query: values}, func(_ time.Time, docs []cluster.Doc) error {
		for i := range docs {
			masters[docs[i].ID] = append(masters[docs[i].ID], docs[i].DocID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(sure, func(s *suspect) bool {
		for _, id := range masters[s.id.ID] {
			s.m.Why = fmt.Sprintf("the master has it under routing %q, the follower under %q", routingOf(&cluster.Doc{DocID: id}), s.id.Routing)
			there, failed := v.p.to.MGet(ctx, []cluster.DocID{id}, true)
			if failed != nil {
				err = failed
			} else if there[0].Found && routingOf(&there[0]) == routingOf(&cluster.Doc{DocID: s.id}) {
				return true
			}
		}
		return false
	}), err
}

func mismatchOf(id cluster.DocID) *Mismatch {
	return &Mismatch{What: whatDocument, Index: id.Index, Type: id.Type, ID: id.ID, Routing: id.Routing}
}

// difference says in what two documents differ, "" if they do not.
func difference(master, follower *cluster.Doc) string {
	why := ""
	and := func(format string, args ...any) {
		if why != "" {
			why += "; "
		}
		why += fmt.Sprintf(format, args...)
	}
	if master.Version != follower.Version {
		and("version %d, at the follower %d", master.Version, follower.Version)
	}
	if a, b := routingOf(master), routingOf(follower); a != b {
		and("routing %q, at the follower %q", a, b)
	}
	if pointer, same := verify.Source(esapi.KeysOnce(master.Source), esapi.KeysOnce(follower.Source)); !same {
		and("source differs at %q", pointer)
	}
	return why
}

// A suspect is a document that differs, as far as is known.
type suspect struct {
	id    cluster.DocID
	seen  bool      // it was read before the last settling
	found bool      // the master had it then
	state [2]uint64 // hashes of what the clusters had: one that the master lacks again and again may have been there in between
	at    int64     // the master's version
	sure  int       // how often it differed although it did not change meanwhile
	m     *Mismatch
}

const (
	// sureAfter is how often a document has to differ after all that had been
	// journaled was applied, without having changed at either cluster.
	sureAfter = 2
	// maxLooks bounds how often a document is looked at that changes all the time.
	maxLooks = 10
)

// makeSure looks at documents until it is sure which differ, then counts and
// repairs them.
func (v *verification) makeSure(ctx context.Context, ids []cluster.DocID, page int, extra bool) error {
	judge := v.judge
	if extra {
		judge = v.judgeExtra
	}
	suspects := make([]*suspect, len(ids))
	for i := range ids {
		suspects[i] = &suspect{id: ids[i]}
	}
	sure, unsure, err := v.surviving(ctx, suspects, page, judge)
	v.change(func(p *VerifyProgress) { p.Unsure += int64(len(unsure)) })
	if err == nil && extra {
		sure, err = v.otherRoutings(ctx, sure)
	}
	if err != nil || len(sure) == 0 {
		return err
	}
	list := make([]Mismatch, 0, len(sure))
	for _, s := range sure {
		list = append(list, *s.m)
	}
	if !v.o.Repair {
		v.explain(ctx, list)
		v.found(list)
		return nil
	}
	left, err := v.repair(ctx, sure, page, judge)
	if err != nil {
		// What was found is not lost with it.
		v.explain(ctx, list)
		v.found(list)
		return fmt.Errorf("repairing: %w", err)
	}
	for i, s := range sure {
		if still := left[s.id]; still != nil {
			list[i] = *still
		} else {
			list[i].Repaired = true
		}
	}
	v.explain(ctx, list)
	v.found(list)
	return nil
}

// explain adds the reasons of dead letters to mismatches.
func (v *verification) explain(ctx context.Context, list []Mismatch) {
	for i := range list {
		if m := &list[i]; !m.Repaired {
			d := cluster.Doc{DocID: cluster.DocID{Index: m.Index, Type: m.Type, ID: m.ID}}
			reason := v.letter(ctx, v.p.letter(d, ""))
			if d.Type == "" && reason == "" && v.r.applier.dead.count() > 0 {
				if facts, ok, err := v.p.from.Facts().Lookup(ctx, m.Index); err == nil && ok {
					d.Type = facts.Type
					reason = v.letter(ctx, v.p.letter(d, ""))
				}
			}
			m.Why += reason
			if v.resyncing(ctx, m.Index) {
				m.Why += resyncingWhy
			}
		}
	}
}

const resyncingWhy = "; the index is to be resynced: GET /esperanto/resync"

// resynced waits for the resync of an index, not for long as it may take hours, and
// reports whether there is none any more.
func (v *verification) resynced(ctx context.Context, index string) (bool, error) {
	for deadline := time.Now().Add(v.r.cfg.DrainTimeout); v.resyncing(ctx, index); {
		if time.Now().After(deadline) {
			return false, nil
		}
		v.job.Throttled("index " + index + " is to be resynced")
		if err := v.job.Wait(ctx); err != nil {
			return false, err
		}
		sleep(ctx, 100*time.Millisecond)
	}
	v.job.Throttled("")
	return true, ctx.Err()
}

// resyncing reports whether an index of the follower is to be made equal as a whole,
// as far as is known.
func (v *verification) resyncing(ctx context.Context, index string) bool {
	list, err := v.r.resyncs.wishes(ctx)
	return err == nil && slices.Contains(distinct(list), index)
}

// surviving are the suspects that differ for sure: at a look, and at two more,
// each after all that had been journaled at the look before was applied, while
// it did not change. Those that have changed at every look are not sure.
func (v *verification) surviving(ctx context.Context, suspects []*suspect, page int, judge func(*look) *Mismatch) (sure, unsure []*suspect, err error) {
	for looks := 0; len(suspects) > 0; looks++ {
		if looks > 0 {
			if err := v.settle(ctx); err != nil {
				return nil, nil, err
			}
		}
		if looks == maxLooks {
			return sure, suspects, nil
		}
		var next []*suspect
		for start := 0; start < len(suspects); start += page {
			chunk := suspects[start:min(start+page, len(suspects))]
			seen, err := v.lookAt(ctx, chunk)
			if err != nil {
				return nil, nil, err
			}
			for i, s := range chunk {
				m := judge(&seen[i])
				if m == nil || s.kept(&seen[i], looks) {
					continue
				}
				state := [2]uint64{v.stateOf(&seen[i].m), v.stateOf(&seen[i].f)}
				if s.seen && s.state == state {
					s.sure++
				} else {
					s.sure = 0
				}
				s.seen, s.found, s.state, s.at, s.m = true, seen[i].m.Found, state, seen[i].m.Version, m
				if s.sure >= sureAfter {
					sure = append(sure, s)
				} else {
					next = append(next, s)
				}
			}
		}
		suspects = next
	}
	return sure, nil, nil
}

// kept reports whether a document that changes again and again is one that the
// follower keeps up with: it has at least what the master had before the last
// settling, and no more than what the master has now.
func (s *suspect) kept(l *look, looks int) bool {
	return looks >= 2 && s.seen && s.found && l.f.Found && l.m.Found &&
		s.at < l.m.Version && s.at <= l.f.Version && l.f.Version < l.m.Version
}

// stateOf is a hash of a document, or of its absence.
func (v *verification) stateOf(d *cluster.Doc) uint64 {
	if !d.Found {
		return 0
	}
	s := make(sums, 1)
	v.add(s, d)
	return s[0]
}

// lookAt reads documents at both clusters, the follower first: what the master
// changes in between is found to have changed at the next look.
func (v *verification) lookAt(ctx context.Context, suspects []*suspect) (seen []look, err error) {
	ids := make([]cluster.DocID, len(suspects))
	for i := range ids {
		ids[i] = suspects[i].id
	}
	var followers, masters []cluster.Doc
	err = v.still(ctx, func() (err error) {
		if followers, err = v.p.to.MGet(ctx, ids, true); err == nil {
			masters, err = v.p.from.MGet(ctx, ids, true)
		}
		return err
	})
	if errors.Is(err, cluster.ErrTooLarge) && len(suspects) > 1 {
		half := len(suspects) / 2
		first, err := v.lookAt(ctx, suspects[:half])
		if err != nil {
			return nil, err
		}
		rest, err := v.lookAt(ctx, suspects[half:])
		return append(first, rest...), err
	}
	if err != nil {
		return nil, err
	}
	seen = make([]look, len(ids))
	for i := range ids {
		seen[i] = look{id: ids[i], f: followers[i], m: masters[i]}
	}
	return seen, nil
}

// repair makes documents equal, and tells which still differ for sure, or may.
func (v *verification) repair(ctx context.Context, sure []*suspect, page int, judge func(*look) *Mismatch) (left map[cluster.DocID]*Mismatch, err error) {
	ids := make([]cluster.DocID, len(sure))
	again := make([]*suspect, len(sure))
	for i, s := range sure {
		ids[i], again[i] = s.id, &suspect{id: s.id}
	}
	err = v.holding(ctx, func() error {
		return v.still(ctx, func() error { return v.p.equalise(ctx, ids) })
	})
	if err != nil {
		return nil, err
	}
	sure, unsure, err := v.surviving(ctx, again, page, judge)
	left = map[cluster.DocID]*Mismatch{}
	for _, s := range unsure {
		s.m.Why += "; it was repaired and has changed whenever it was looked at since: verify again when less is written"
	}
	for _, s := range append(sure, unsure...) {
		left[s.id] = s.m
	}
	return left, err
}
