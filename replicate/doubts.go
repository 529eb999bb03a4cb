package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math"
	"strings"
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
// All times are those of the journal, in ms, so that it comes out the same when entries come again.
type doubts struct {
	table  journal.Table
	rest   string // the key of the row for indices that have none of their own
	window int64
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

	unknown int64 // maybe documents that are not remembered one by one
}

// A tomb is a deletion of a document.
type tomb struct{ version, at int64 }

// A tombIn says in which index it is.
type tombIn struct {
	doc uint64
	at  int64
	row *doubt
}

const (
	// maxDoubts bounds the rows of a partition.
	maxDoubts = 1000
	// maxTombs bounds the deletions of documents that are remembered one by one.
	maxTombs = 50_000
	// maxSwept bounds the rows that are dropped at once.
	maxSwept = 100
)

func newDoubts(table journal.Table, partition int32, window time.Duration) *doubts {
	return &doubts{table: table, rest: fmt.Sprintf("*/%d", partition), window: window.Milliseconds(),
		rows: map[string]*doubt{}, docs: map[uint64]tomb{}, seed: maphash.MakeSeed()}
}

// load reads what those have left that worked on the partition before, maybe in another process. of
// tells whether an index is of it.
func (d *doubts) load(ctx context.Context, shared bool, of func(index string) bool) error {
	if shared { // what is read behind a deletion of this process holds all that another one has put before
		if err := d.table.Delete(ctx, d.rest+"/read"); err != nil {
			return err
		}
	}
	var broken error
	err := d.table.Scan(ctx, func(key string, value []byte) bool {
		if common := strings.HasPrefix(key, "*"); common && key != d.rest || !common && !of(key) {
			return true
		}
		row := new(doubt)
		if err := json.Unmarshal(value, row); err != nil {
			broken = fmt.Errorf("what is known of deletions in %s cannot be read: %w", key, err)
		}
		row.unknown = row.Docs
		d.rows[key] = row
		return true
	})
	if err == nil {
		err = broken
	}
	return err
}

// doubtful reports whether an effect may be older than a deletion.
func (d *doubts) doubtful(rec *record, at time.Time) bool {
	now := at.UnixMilli()
	for _, key := range []string{rec.Index, d.rest} {
		row := d.rows[key]
		if row == nil {
			continue
		}
		if row.Index > 0 && now <= row.Index+d.window || !rec.Deleted && row.unknown > 0 && now <= row.unknown+d.window {
			return true
		}
	}
	if rec.Deleted || len(d.docs) == 0 {
		return false
	}
	t, ok := d.docs[d.hash(rec)]
	return ok && rec.Version <= t.version && now <= t.at+d.window
}

func (d *doubts) hash(rec *record) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	h.WriteString(rec.Index)
	h.WriteByte(0)
	h.WriteString(rec.ID)
	return h.Sum64()
}

// indexDeleted notes that an index was deleted.
func (d *doubts) indexDeleted(ctx context.Context, index string, at time.Time) error {
	_, err := d.keep(ctx, index, func(row *doubt) *int64 { return &row.Index }, at.UnixMilli(), 0)
	return err
}

// goneBy tells whether a record says that a document was deleted, or may have been, and up to which
// version effects of it may be older. See lookAgain.
func goneBy(rec *record) (version int64, gone bool) {
	if rec.Read && rec.Version == 0 {
		return math.MaxInt64, true
	}
	return rec.Version, rec.Deleted
}

// docDeleted notes that a document was deleted. The row of its index is put ahead of the
// time, so that this has to be done now and then only.
func (d *doubts) docDeleted(ctx context.Context, rec *record, version int64, at time.Time) error {
	now := at.UnixMilli()
	row, err := d.keep(ctx, rec.Index, func(row *doubt) *int64 { return &row.Docs }, now, d.window/2)
	if err != nil {
		return err
	}
	for len(d.order) > 0 && (d.order[0].at+d.window < now || len(d.order) >= maxTombs) {
		d.drop(now)
	}
	doc := d.hash(rec)
	d.docs[doc] = tomb{version: max(d.docs[doc].version, version), at: now}
	d.order = append(d.order, tombIn{doc, now, row})
	return nil
}

// drop forgets the oldest deletion of a document.
func (d *doubts) drop(now int64) {
	first := d.order[0]
	d.order = d.order[1:]
	if d.docs[first.doc].at == first.at {
		delete(d.docs, first.doc)
	}
	if first.at+d.window >= now {
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
	now := at.UnixMilli()
	if now < d.swept+d.window {
		return
	}
	d.swept = now
	left := maxSwept
	for key, row := range d.rows {
		if max(row.Index, row.Docs)+d.window >= now {
			continue
		}
		if left--; left < 0 || d.table.Delete(ctx, key) != nil {
			return
		}
		delete(d.rows, key)
	}
}
