package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// doubts know which effects of a partition may be older than a deletion that stands before
// them in the journal: such are read back. The follower mostly refuses them, but
// it does not know of which index of a name they are, and it forgets the deletion of a
// document after index.gc_deletes, or at once while another document of the index is
// forced, by whatever gateway. An older write ends WriteTimeout after the deletion at the latest,
// and waits JournalTimeout for room in the journal.
//
// Deletions of documents are remembered one by one by the worker that reads them. For the
// next one, here or in another process, which does not, each index has a row in the table
// "deletions". It is durable before the offset goes beyond the deletion.
//
// A document that began anew (its deletion was forgotten at the master, and it was written again) has
// lower versions than before, at the follower too once it was forced there. Then no effect of it is
// believed for a while, whatever its version, and no deletion either.
//
// All times are those of the journal, in ms, so that it comes out the same when entries come again. Only at a failover that
// of a gateway counts, too: when it sent a write (record.Sent).
type doubts struct {
	mu     sync.Mutex // documents are also forced beside the worker
	loaded bool
	latest int64 // of the entry that was read last

	table  journal.Table
	rest   string // the key of the row for indices that have none of their own
	window int64
	skew   int64             // by how much the clocks of gateways and journal may differ
	rows   map[string]*doubt // as in the table
	docs   map[uint64]tomb   // by a hash of index and id
	order  []tombIn          // of docs, by when they were noted
	seed   maphash.Seed
	swept  int64
}

// A doubt says until when what of an index was deleted.
type doubt struct {
	Index int64 `json:"index,omitempty"` // the index itself
	Docs  int64 `json:"docs,omitempty"`  // maybe documents
	Anew  int64 `json:"anew,omitempty"`  // maybe documents that began anew

	// Maybe documents that are not remembered one by one.
	unknown, unknownAnew int64
}

// A tomb is what is known of the deletions of a document, and whether it began anew.
type tomb struct {
	version int64  // up to which it was deleted; anyVersion if that is not known of one of them
	at      int64  // when the last deletion was journaled, or was found to be missing in the journal
	epoch   uint64 // the highest one of a deletion
	anew    int64  // when it was last said to have begun anew
}

// anyVersion is not lower than the versions of a document before it began anew.
const anyVersion = math.MaxInt64

// A tombIn says in which index it is.
type tombIn struct {
	doc  uint64
	at   int64
	row  *doubt
	anew bool
}

const (
	// maxDoubts bounds the rows of a partition.
	maxDoubts = 1000
	// maxTombs bounds the deletions of documents that are remembered one by one.
	maxTombs = 50_000
	// maxSwept bounds the rows that are dropped at once.
	maxSwept = 100
)

func newDoubts(table journal.Table, partition int32, window, skew time.Duration) *doubts {
	return &doubts{table: table, rest: fmt.Sprintf("*/%d", partition), window: window.Milliseconds(), skew: skew.Milliseconds(),
		rows: map[string]*doubt{}, docs: map[uint64]tomb{}, seed: maphash.MakeSeed()}
}

// load reads what those have left that worked on the partition before, maybe in another process. of
// tells whether an index is of it. Of a row that cannot be read broken is told; all that comes of its index
// is in doubt for a while from now on.
func (d *doubts) load(ctx context.Context, shared bool, of func(index string) bool, now time.Time, broken func(key string, err error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if shared { // what is read behind a deletion of this process holds all that another one has put before
		if err := d.table.Delete(ctx, d.rest+"/read"); err != nil {
			return err
		}
	}
	until := now.UnixMilli()
	err := d.table.Scan(ctx, func(key string, value []byte) bool {
		if common := strings.HasPrefix(key, "*"); common && key != d.rest || !common && !of(key) {
			return true
		}
		row := new(doubt)
		if err := json.Unmarshal(value, row); err != nil {
			broken(key, err)
			*row = doubt{Index: until, Docs: until}
		}
		row.unknown, row.unknownAnew = row.Docs, row.Anew
		d.rows[key] = row
		return true
	})
	d.loaded = err == nil
	return err
}

// doubtful reports whether an effect is to be read back, as it may be older than a deletion or its document began anew.
// It may be sure nevertheless that it is later than all deletions that stand before it.
func (d *doubts) doubtful(rec *record, at time.Time) (is, sure bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := at.UnixMilli()
	d.latest = now
	for _, key := range []string{rec.Index, d.rest} {
		row := d.rows[key]
		if row == nil {
			continue
		}
		since := max(row.Index, row.unknownAnew)
		if !rec.Deleted {
			since = max(since, row.unknown)
		}
		if since > 0 && now <= since+d.window {
			return true, false
		}
	}
	t := d.tombOf(rec.Index, rec.ID, now)
	deleted := t.at > 0 && rec.Version <= t.version
	if !deleted && t.anew == 0 {
		return false, true
	}
	return true, d.follows(rec, t, now)
}

// follows reports whether the write of an effect was sent when the deletions were in the journal, and the document had
// begun anew. A time of the write behind that of its own effect is of a wrong clock. All deletions of an epoch whose
// versions are known are in the journal before the next one begins.
func (d *doubts) follows(rec *record, t tomb, now int64) bool {
	if rec.Sent > max(t.at, t.anew)+d.skew && rec.Sent <= now+d.skew {
		return true
	}
	return t.anew == 0 && t.version != anyVersion && t.epoch > 0 && t.epoch < rec.Epoch
}

// tombOf is what of a document's deletions leaves a doubt at that time.
func (d *doubts) tombOf(index, id string, now int64) tomb {
	if len(d.docs) == 0 {
		return tomb{}
	}
	t := d.docs[d.hash(index, id)]
	if now > t.at+d.window {
		t = tomb{anew: t.anew}
	}
	if now > t.anew+d.window {
		t.anew = 0
	}
	return t
}

// lookAgain takes into account what has become known of a document since doubtful has looked at a change of it: it may
// have begun anew, or was deleted behind the change, nobody knows when. That the change itself is being forced makes
// it no less sure.
func (d *doubts) lookAgain(c *change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := c.at.UnixMilli()
	t := d.tombOf(c.Index, c.ID, at)
	c.read = c.read || t.unknown()
	if t.version == anyVersion && t.at >= at || t.anew >= at && !c.tried {
		c.sure = false
	}
	c.tried = true
}

// beganAnew reports whether a document was forced, or deleted nobody knows when, since its change was found to be
// without doubt.
func (d *doubts) beganAnew(c *change) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tombOf(c.Index, c.ID, c.at.UnixMilli()).unknown()
}

// unknown reports whether versions tell nothing.
func (t tomb) unknown() bool { return t.anew > 0 || t.version == anyVersion }

func (d *doubts) hash(index, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	h.WriteString(index)
	h.WriteByte(0)
	h.WriteString(id)
	return h.Sum64()
}

// indexDeleted notes that an index was deleted.
func (d *doubts) indexDeleted(ctx context.Context, index string, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.buryIndex(ctx, index, at.UnixMilli())
}

// indexGone is indexDeleted by one that does not read the partition, see docAnew.
func (d *doubts) indexGone(ctx context.Context, index string, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.loaded {
		return errUnread
	}
	return d.buryIndex(ctx, index, max(d.latest, now.UnixMilli()))
}

// errUnread passes.
var errUnread = errors.New("what is known of deletions has not been read yet")

func (d *doubts) buryIndex(ctx context.Context, index string, at int64) error {
	_, err := d.keep(ctx, index, func(row *doubt) *int64 { return &row.Index }, at, 0)
	return err
}

// goneBy tells whether a record says that a document was deleted, or may have been, and up to which
// version effects of it may be older. See lookAgain.
func goneBy(rec *record) (version int64, gone bool) {
	if rec.Read && rec.Version == 0 {
		return anyVersion, true
	}
	return rec.Version, rec.Deleted
}

// docDeleted notes that a document was deleted. The row of its index is put ahead of the
// time, so that this has to be done now and then only.
func (d *doubts) docDeleted(ctx context.Context, rec *record, version int64, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latest = at.UnixMilli()
	return d.bury(ctx, rec.Index, rec.ID, tomb{version: version, at: at.UnixMilli(), epoch: rec.Epoch})
}

// docAnew notes that a document began anew. It may be older than the entries that were read, or
// younger.
func (d *doubts) docAnew(ctx context.Context, index, id string, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.loaded {
		return errUnread
	}
	return d.bury(ctx, index, id, tomb{anew: max(d.latest, now.UnixMilli())})
}

// docGone is docAnew of a document that was also deleted, nobody knows when.
func (d *doubts) docGone(ctx context.Context, index, id string, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.loaded {
		return errUnread
	}
	at := max(d.latest, now.UnixMilli())
	if err := d.bury(ctx, index, id, tomb{version: anyVersion, at: at}); err != nil {
		return err
	}
	return d.bury(ctx, index, id, tomb{anew: at})
}

// bury adds a deletion to those of a document, or that it began anew.
func (d *doubts) bury(ctx context.Context, index, id string, t tomb) error {
	what, at := func(row *doubt) *int64 { return &row.Docs }, t.at
	if t.anew > 0 {
		what, at = func(row *doubt) *int64 { return &row.Anew }, t.anew
	}
	row, err := d.keep(ctx, index, what, at, d.window/2)
	if err != nil {
		return err
	}
	for len(d.order) > 0 && (d.order[0].at+d.window < d.latest || len(d.order) >= maxTombs) {
		d.drop()
	}
	doc := d.hash(index, id)
	before := d.docs[doc]
	d.docs[doc] = tomb{max(before.version, t.version), max(before.at, t.at), max(before.epoch, t.epoch), max(before.anew, t.anew)}
	d.order = append(d.order, tombIn{doc, at, row, t.anew > 0})
	return nil
}

// drop forgets what was noted first.
func (d *doubts) drop() {
	first := d.order[0]
	d.order = d.order[1:]
	left := d.docs[first.doc]
	switch {
	case first.anew && left.anew == first.at:
		left.anew = 0
	case !first.anew && left.at == first.at:
		left = tomb{anew: left.anew}
	}
	if d.docs[first.doc] = left; left == (tomb{}) {
		delete(d.docs, first.doc)
	}
	switch {
	case first.at+d.window < d.latest:
	case first.anew:
		first.row.unknownAnew = max(first.row.unknownAnew, first.at)
	default:
		first.row.unknown = max(first.row.unknown, first.at)
	}
}

// keep has the row of an index reach up to a time, durably, and ahead of it if it did not. If
// there are too many rows that is the common one.
func (d *doubts) keep(ctx context.Context, index string, what func(*doubt) *int64, upTo, ahead int64) (*doubt, error) {
	row := d.rows[index]
	if row == nil && len(d.rows) >= maxDoubts {
		index, ahead = d.rest, d.window/2
		row = d.rows[index]
	}
	next := doubt{}
	if row != nil {
		next = *row
	}
	if *what(&next) >= upTo {
		return row, nil
	}
	*what(&next) = upTo + ahead
	raw, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	if err := d.table.Put(ctx, index, raw); err != nil {
		return nil, fmt.Errorf("keeping that something was deleted: %w", err)
	}
	if row == nil {
		row = new(doubt)
		d.rows[index] = row
	}
	*row = next
	return row, nil
}

// sweep drops rows whose time is over, now and then. What fails is done the next time.
func (d *doubts) sweep(ctx context.Context, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := at.UnixMilli()
	if now < d.swept+d.window {
		return
	}
	d.swept = now
	left := maxSwept
	for key, row := range d.rows {
		if max(row.Index, row.Docs, row.Anew)+d.window >= now {
			continue
		}
		if left--; left < 0 || d.table.Delete(ctx, key) != nil {
			return
		}
		delete(d.rows, key)
	}
}
