package replicate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A pair applies what one cluster did to the other one.
type pair struct {
	a        *applier
	from, to *cluster.Cluster
	indices  *indices

	memory   memory
	quiet    quiet
	memories memories // with both_ways

	// forcing orders what takes more than one request to one document, so that
	// no two workers do it to the same one.
	forcing sync.Mutex

	bringing bringing

	unguarding
	guarded bool // the follower keeps its guards, as it is the master
}

func newPair(a *applier, from, to *cluster.Cluster) *pair {
	p := &pair{a: a, from: from, to: to, indices: newIndices(a, from, to), unguarding: unguarding{foreign: map[string]bool{}, stuck: map[string]bool{}}}
	p.indices.pair = p
	return p
}

// readChunk bounds the documents of one read-back: their sizes are not known
// before.
const readChunk = 100

// apply writes changes that were in the journal at a time to the follower. left are those that have to be tried
// again; then the error says why. Changes that the follower rejects for good
// become dead letters.
func (p *pair) apply(ctx context.Context, changes []change, journaled time.Time) (left []change, err error) {
	if p.bothWays() {
		return p.applyBothWays(ctx, changes)
	}
	changes, err = p.readBack(ctx, changes)
	if err != nil {
		return changes, err
	}
	docs := make([]cluster.Doc, len(changes))
	for i := range changes {
		docs[i] = changes[i].Doc
	}
	o, err := p.putOf(ctx, docs, journaled)
	if err != nil && o.left == nil {
		return changes, err
	}
	return changesOf(changes, o.left), err
}

// placed is what became of documents that put was given.
type placed struct {
	present int           // the follower had this version or a higher one
	dead    int           // became dead letters
	left    []cluster.Doc // to be tried again; nil with an error: all
}

// put writes documents to the follower: into indices that are as the master's,
// those that it has already compared, those that it rejects for good as dead
// letters. The error passes; then all, or what is left, has to be tried again. It
// uses up all.
func (p *pair) put(ctx context.Context, all []cluster.Doc) (o placed, err error) {
	return p.putOf(ctx, all, time.Now())
}

// putOf is put of documents that the master had at that time at the latest.
func (p *pair) putOf(ctx context.Context, all []cluster.Doc, at time.Time) (o placed, err error) {
	problems, err := p.indices.readyFor(ctx, indicesOf(all), at)
	if err != nil {
		return o, err
	}
	docs := all[:0]
	var rejected []rejection
	for _, d := range all {
		switch problem := problems[d.Index]; {
		case errors.Is(problem, errNoIndex):
			// The index is gone at the master: so are its documents.
		case errors.Is(problem, errMistyped) && d.Found:
			// The resync copies it.
		case errors.Is(problem, errMistyped):
			docs = append(docs, d)
		case problem != nil:
			rejected = append(rejected, p.rejectedBy(problem, d))
		case d.Found && len(d.Source) == 0:
			rejected = append(rejected, rejection{d, errNoSource})
		default:
			docs = append(docs, d)
		}
	}
	w, err := p.write(ctx, docs)
	if err != nil {
		return o, err
	}
	o.present = len(w.conflicts)
	if err := p.compare(ctx, w.conflicts); err != nil {
		return o, err
	}
	if o.dead, err = p.judge(ctx, append(rejected, w.rejected...)); err != nil {
		return o, err
	}
	o.left = w.again
	return o, w.busy
}

// readBack reads from the master what the changes do not tell. Documents that
// it does not have any more are made equal at once, and fall out.
func (p *pair) readBack(ctx context.Context, changes []change) ([]change, error) {
	var ids []cluster.DocID
	var at []int
	for i := range changes {
		if changes[i].read {
			ids, at = append(ids, changes[i].DocID), append(at, i)
		}
	}
	if len(ids) == 0 {
		return changes, nil
	}
	if err := p.equalise(ctx, ids); err != nil {
		return changes, err
	}
	kept := make([]change, 0, len(changes)-len(at))
	for _, c := range changes {
		if !c.read {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// A rejection is a document that the follower does not take as it is.
type rejection struct {
	doc    cluster.Doc
	reason string
}

// written is what became of documents.
type written struct {
	conflicts []cluster.Doc // the follower has this version or a higher one
	rejected  []rejection
	again     []cluster.Doc // to be tried again, because of busy
	busy      error
}

// write sends documents to the follower and sorts the answers.
func (p *pair) write(ctx context.Context, docs []cluster.Doc) (w written, err error) {
	if err := p.indices.may(); err != nil {
		return written{}, err
	}
	docs, strange, err := p.ours(ctx, docs)
	if err != nil {
		return written{}, err
	}
	w.rejected = strange
	state, err := p.unguardFor(ctx, indicesOf(docs))
	if err != nil {
		return written{}, err
	}
	if p.bothWays() {
		for i := range docs {
			docs[i].Again = p.counts()
		}
	}
	leave, err := p.quiet.enter(ctx, indicesOf(docs))
	if err != nil {
		return written{}, err
	}
	results, err := p.to.WriteExternal(ctx, docs)
	leave()
	if err != nil {
		whole := new(cluster.StatusError)
		foreign := !errors.As(err, &whole) || (whole.Status == http.StatusNotFound && whole.Type == "") // of a proxy
		if foreign || !permanent(whole.Status, whole.Type) {
			return written{}, err
		}
		if len(docs) > 1 {
			w, err := p.writeSingly(ctx, docs)
			w.rejected = append(w.rejected, strange...)
			return w, err
		}
		return written{rejected: append(strange, rejection{docs[0], whole.Error()})}, nil
	}
	var shut, taken, repeated []cluster.Doc
	for i, r := range results {
		failed := &cluster.StatusError{Cluster: p.to.Name(), Status: r.Status, Type: r.Type, Reason: r.Reason}
		switch {
		case r.Type == "index_closed_exception" && !p.bothWays():
			shut = append(shut, docs[i])
		case r.OK():
			p.a.r.counters.applied.Add(1)
			if p.a.dead.count() > 0 {
				if err := p.a.dead.applied(ctx, p.letter(docs[i], "")); err != nil {
					return written{}, err
				}
			}
			if state != "" {
				taken = append(taken, docs[i])
			}
		case r.Status == http.StatusConflict:
			p.a.r.counters.conflicts.Add(1)
			w.conflicts = append(w.conflicts, docs[i])
		case p.shut(failed):
			w.rejected = append(w.rejected, p.rejectedBy(failed, docs[i]))
		case !permanent(r.Status, r.Type):
			w.again = append(w.again, docs[i])
			w.busy = fmt.Errorf("%s/%s: %w", docs[i].Index, docs[i].ID, failed)
			if r.Type == "index_not_found_exception" {
				p.indices.forget(docs[i].Index)
			}
		case hasRepeatedKeys(docs[i].Source):
			docs[i].Source = esapi.KeysOnce(docs[i].Source)
			repeated = append(repeated, docs[i])
		default:
			w.rejected = append(w.rejected, rejection{docs[i], r.Type + ": " + r.Reason})
		}
	}
	if late, err := p.cameLate(ctx, state); err != nil {
		return written{}, err // what was taken is a conflict the next time
	} else if late {
		w.conflicts = append(w.conflicts, taken...)
	}
	if len(repeated) > 0 {
		once, err := p.write(ctx, repeated)
		if err != nil {
			return written{}, err
		}
		w.add(once)
	}
	return w, p.sortShut(ctx, &w, shut)
}

// hasRepeatedKeys reports whether a source has keys that an object has twice: 5.x takes the
// last of them, and clusters from 6.0 on refuse them.
func hasRepeatedKeys(source []byte) bool {
	once := esapi.KeysOnce(source)
	return !bytes.Equal(once, source) && !bytes.Equal(once, compact(source))
}

func (w *written) add(more written) {
	w.conflicts = append(w.conflicts, more.conflicts...)
	w.rejected = append(w.rejected, more.rejected...)
	w.again = append(w.again, more.again...)
	if more.busy != nil {
		w.busy = more.busy
	}
}

// errShut is the reason of a dead letter.
const errShut = "the index is closed"

// sortShut sorts documents whose index is closed at the follower. If the master's is open, it
// was opened past the gateway, and the follower's is, too.
func (p *pair) sortShut(ctx context.Context, w *written, docs []cluster.Doc) error {
	if p.a.r.gate.failing() { // the master cannot be asked
		for _, d := range docs {
			w.rejected = append(w.rejected, rejection{d, errShut})
		}
		return nil
	}
	for _, index := range indicesOf(docs) {
		state, err := openState(ctx, p.from, index)
		if err != nil {
			return err
		}
		problem, err := p.applyOpen(ctx, index, true)
		if err != nil {
			return err
		}
		for _, d := range docs {
			switch {
			case d.Index != index:
			case problem != nil:
				w.rejected = append(w.rejected, rejection{d, problem.Error()})
			case state == "close":
				d.Closed = true
				w.rejected = append(w.rejected, rejection{d, errShut})
			default:
				w.again = append(w.again, d)
				w.busy = fmt.Errorf("%s/%s: the index was closed at cluster %s", d.Index, d.ID, p.to.Name())
			}
		}
	}
	return nil
}

// writeSingly finds the document because of which a whole bulk is refused.
func (p *pair) writeSingly(ctx context.Context, docs []cluster.Doc) (all written, err error) {
	for i := range docs {
		w, err := p.write(ctx, docs[i:i+1])
		if err != nil {
			return written{}, err
		}
		all.add(w)
	}
	return all, nil
}

// permanent reports whether trying again will not help as long as nobody
// changes something.
func permanent(status int, typ string) bool {
	switch {
	case status == http.StatusTooManyRequests, status >= 500, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return false // blocks of a full disk are 403
	case typ == "cluster_block_exception", typ == "index_closed_exception", typ == "index_not_found_exception":
		return false
	}
	return status >= 400
}

// judge decides about documents that the follower rejects. One that the master
// does not have any more is no loss: it belonged to an index that is gone, or
// is deleted by now. One that it has is tried once more, as it is now and with
// the master's mapping carried over again; then it is a dead letter.
func (p *pair) judge(ctx context.Context, rejected []rejection) (dead int, err error) {
	if rejected, dead, err = p.buryShut(ctx, rejected); err != nil {
		return dead, err
	}
	if len(rejected) == 0 {
		return 0, nil
	}
	ids := make([]cluster.DocID, len(rejected))
	names := map[string]bool{}
	for i, r := range rejected {
		ids[i] = r.doc.DocID
		names[r.doc.Index] = true
	}
	problems, err := p.indices.ready(ctx, keys(names), true)
	if err != nil {
		return dead, err
	}
	var masters []cluster.Doc
	for start := 0; start < len(ids); start += len(masters) {
		if masters, err = p.readSome(ctx, ids[start:min(start+readChunk, len(ids))]); err != nil {
			return dead, err
		}
		p.a.r.counters.readBacks.Add(int64(len(masters)))
		for i, m := range masters {
			reason := rejected[start+i].reason
			if m.Unreadable != "" {
				letter := p.letter(rejected[start+i].doc, reason+"; "+m.Unreadable)
				letter.Closed = m.Closed
				if err := p.a.bury(ctx, letter); err != nil {
					return dead, err
				}
				dead++
				continue
			}
			if !m.Found {
				if err := p.equaliseOne(ctx, ids[start+i]); err != nil {
					return dead, err
				}
				continue
			}
			if problem := problems[m.Index]; errors.Is(problem, errMistyped) {
				continue
			} else if problem != nil {
				reason = problem.Error()
			} else if len(m.Source) > 0 {
				w, err := p.write(ctx, []cluster.Doc{m})
				if err != nil {
					return dead, err
				}
				if w.busy != nil {
					return dead, w.busy
				}
				if err := p.compare(ctx, w.conflicts); err != nil {
					return dead, err
				}
				if len(w.rejected) == 0 {
					continue
				}
				reason, m.Closed = w.rejected[0].reason, w.rejected[0].doc.Closed
			}
			if err := p.a.bury(ctx, p.letter(m, reason)); err != nil {
				return dead, err
			}
			dead++
		}
	}
	return dead, nil
}

// readSome reads the first of these documents from the master: as many as can be held
// together.
func (p *pair) readSome(ctx context.Context, ids []cluster.DocID) ([]cluster.Doc, error) {
	for n := len(ids); ; n /= 2 {
		docs, err := p.from.MGet(ctx, ids[:n], true)
		switch {
		case !errors.Is(err, cluster.ErrTooLarge):
			return docs, err
		case n == 1:
			return []cluster.Doc{{DocID: ids[0], Found: true, Unreadable: err.Error()}}, nil
		}
	}
}

// letter makes a dead letter of a document.
func (p *pair) letter(d cluster.Doc, reason string) DeadLetter {
	return DeadLetter{Cluster: p.to.Name(), From: p.from.Name(), Index: d.Index, Type: d.Type, ID: d.ID, Routing: d.Routing,
		Version: d.Version, Reason: reason, Closed: d.Closed}
}

func indicesOf(docs []cluster.Doc) []string {
	names := map[string]bool{}
	for i := range docs {
		if i == 0 || docs[i].Index != docs[i-1].Index {
			names[docs[i].Index] = true
		}
	}
	return keys(names)
}

func keys(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for k := range set {
		list = append(list, k)
	}
	return list
}

// changesOf are those of the changes that these documents are of, in their order and with all that is known of them.
func changesOf(changes []change, docs []cluster.Doc) (list []change) {
	type state struct {
		cluster.DocID
		version int64
	}
	wanted := map[state]bool{}
	for i := range docs {
		wanted[state{docs[i].DocID, docs[i].Version}] = true
	}
	for _, c := range changes {
		if wanted[state{c.DocID, c.Version}] {
			list = append(list, c)
		}
	}
	return list
}

// sameDocument reports whether both clusters hold the same document. White
// space does not count: a bulk cannot carry line ends. Nor do values before the last one
// of a repeated key: they cannot be written from 6.0 on.
func sameDocument(a, b *cluster.Doc) bool {
	if !a.Found || !b.Found {
		return a.Found == b.Found
	}
	return a.Version == b.Version && routingOf(a) == routingOf(b) &&
		(bytes.Equal(a.Source, b.Source) || bytes.Equal(compact(a.Source), compact(b.Source)) || bytes.Equal(esapi.KeysOnce(a.Source), esapi.KeysOnce(b.Source)))
}

// routingOf is the routing that a document has: of a 5.x child it is its parent,
// unless it is given.
func routingOf(d *cluster.Doc) string { return cmp.Or(d.Routing, d.Parent) }

func compact(source []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, source) != nil {
		return source
	}
	return b.Bytes()
}
