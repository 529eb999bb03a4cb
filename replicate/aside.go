package replicate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// asides keeps what the master has to be asked for, in the table "aside", while it is down
// and the follower takes over. Nothing is dropped: a row stays until its cluster was
// asked. There is one for each document or part of the state.
type asides struct {
	r     *Replicator
	table journal.Table

	mu    sync.Mutex
	epoch uint64          // that ids is of
	ids   map[string]bool // of documents that have a row

	words map[wordOn]bool // see loadWords; only of the goroutine that looks at rows
}

// An asideRow says what has to be looked at.
type asideRow struct {
	From string `json:"from"`           // the cluster that has to be asked
	What string `json:"what,omitempty"` // as of a stateRef, or kindResync; "" for a document

	Index   string `json:"index"`          // or the name of the part of the state
	UUID    string `json:"uuid,omitempty"` // of an index that was to be deleted: which one
	Type    string `json:"type,omitempty"`
	ID      string `json:"id,omitempty"`
	Routing string `json:"routing,omitempty"`
	Parent  string `json:"parent,omitempty"`
	Asked   bool   `json:"asked,omitempty"` // Index is the name as asked: maybe an alias
	Until   int64  `json:"until,omitempty"` // unix ms; no later is the write under way

	Base *asideBase `json:"base,omitempty"`
	Tomb int64      `json:"tomb,omitempty"` // the version of its deletion, which the former master has remembered

	key string
}

// An asideBase is what the new master had of a document when it became that: what differs
// from it later was written since.
type asideBase struct {
	Index   string `json:"index"`
	UUID    string `json:"uuid,omitempty"` // of the index; "" if it was not there
	Found   bool   `json:"found,omitempty"`
	Version int64  `json:"version,omitempty"`
	Closed  bool   `json:"closed,omitempty"` // the index, of its own row
}

const (
	asidePrefix = "row/"
	guessPrefix = "guess/"
	gonePrefix  = "gone/" // what was deleted at the new master since: documents that have a row, and indices
	wordPrefix  = "word/" // documents that the former master has the last word on, and
	anewPrefix  = "anew/" // indices of which it has that on all
)

// makeKey makes the key of a new row. Rows of different attempts at a failover have different
// ones: a row that was looked at after one was given up must not take that of the next one
// with it.
func (row *asideRow) makeKey(seq uint64) string {
	parts := []string{row.From, row.What, row.Index, row.Type, row.ID, row.Routing}
	if row.UUID != "" {
		parts = append(parts, row.UUID) // next to what else became of an index of that name
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	kind := "concrete/"
	if row.Asked {
		kind = "asked/"
	}
	return asidePrefix + strconv.FormatUint(seq, 10) + "/" + kind + strings.Join(parts, "/")
}

// docID is the document, under the name that its index has in the row.
func (row *asideRow) docID() cluster.DocID {
	return cluster.DocID{Index: row.Index, Type: row.Type, ID: row.ID, Routing: row.Routing, Parent: row.Parent}
}

func asideDoc(from string, id cluster.DocID) asideRow {
	return asideRow{From: from, Index: id.Index, Type: id.Type, ID: id.ID, Routing: id.Routing, Parent: id.Parent}
}

// atOnce is how many rows are written at a time.
const atOnce = 64

// put keeps rows, those that were kept before anew.
func (s *asides) put(ctx context.Context, rows []asideRow) error {
	seq := s.r.gate.state().Seq
	return each(s.r.selection.ofRows(rows), func(row *asideRow) error {
		raw, err := json.Marshal(row)
		if err != nil {
			return err
		}
		return s.table.Put(ctx, cmp.Or(row.key, row.makeKey(seq)), raw)
	})
}

// again returns those of the rows that are there still, as they are now.
func (s *asides) again(ctx context.Context, rows []asideRow) (kept []asideRow, err error) {
	if err := catchUp(ctx, s.table); err != nil {
		return nil, err
	}
	for i := range rows {
		row := asideRow{key: rows[i].key}
		raw, err := s.table.Get(ctx, row.key)
		if err != nil {
			return nil, err
		}
		if raw != nil && json.Unmarshal(raw, &row) == nil {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

// goneKey is of a document, or without an id of an index.
func goneKey(index, id string) string {
	return gonePrefix + url.PathEscape(index) + "/" + url.PathEscape(id)
}

func anewKey(index string) string { return anewPrefix + url.PathEscape(index) }

// wordKey is of the row of a document, and goes with it.
func (row *asideRow) wordKey() string { return wordPrefix + strings.TrimPrefix(row.key, asidePrefix) }

// noteWord keeps that effects may be of an index that was deleted, or of documents that were,
// before they are applied: their versions tell nothing, and what the former master has counts
// unless somebody has written it since. The documents have rows.
func (s *asides) noteWord(ctx context.Context, rows []asideRow) error {
	return each(rows, func(row *asideRow) error {
		raw, err := json.Marshal(row)
		if err != nil {
			return err
		}
		return s.table.Put(ctx, row.wordKey(), raw)
	})
}

// loadWords reads which documents noteWord has kept, of those that have their row still. There are
// no new ones while the former master is made equal.
func (s *asides) loadWords(ctx context.Context) error {
	if err := catchUp(ctx, s.table); err != nil {
		return err
	}
	rows, words := map[string]bool{}, map[string]asideRow{}
	err := s.table.Scan(ctx, func(key string, value []byte) bool {
		if name, is := strings.CutPrefix(key, asidePrefix); is {
			rows[name] = true
		}
		var row asideRow
		if name, is := strings.CutPrefix(key, wordPrefix); is && json.Unmarshal(value, &row) == nil {
			words[name] = row
		}
		return true
	})
	s.words = map[wordOn]bool{}
	for name, row := range words {
		if rows[name] {
			s.words[wordOn{row.Index, row.ID}] = true
		}
	}
	return err
}

// A wordOn is a document that the former master has the last word on.
type wordOn struct{ index, id string }

// hasWord reports whether noteWord, or noteAnew, has kept that of a document. uuid is that of the
// former master's index.
func (s *asides) hasWord(ctx context.Context, index, uuid, id string) (bool, error) {
	if s.words[wordOn{index, id}] {
		return true, nil
	}
	whole, err := s.table.Get(ctx, anewKey(index))
	return whole != nil && string(whole) == uuid, err
}

// noteAnew keeps the same for all of an index that was made at the former master in place of one
// that was to be deleted there: once, as that index is deleted when it has been looked at.
func (s *asides) noteAnew(ctx context.Context, index, uuid string) error {
	key := anewKey(index)
	if kept, err := s.table.Get(ctx, key); err != nil || kept != nil {
		return err
	}
	return s.table.Put(ctx, key, []byte(uuid))
}

// noteGone keeps which documents that have a row were deleted at the new master, and which
// indices: what it does not have cannot tell. It is done before the client is answered.
func (s *asides) noteGone(ctx context.Context, effects []*record) error {
	state := s.r.gate.state()
	if state.Rejoin == "" {
		return nil
	}
	for _, e := range effects {
		var err error
		switch {
		case !e.Deleted && !e.Read:
			continue
		case e.What == whatIndex:
			err = s.table.Put(ctx, goneKey(e.Name, ""), []byte("{}"))
		case e.Kind == kindEffect:
			var has bool
			if has, err = s.has(ctx, state.Epoch, e.ID); err == nil && has {
				err = s.table.Put(ctx, goneKey(e.Index, e.ID), []byte("{}"))
			}
		}
		if err != nil {
			return fmt.Errorf("keeping that a document or an index was deleted: %w", err)
		}
	}
	return nil
}

// isGone reports whether noteGone has kept a document, or its index.
func (s *asides) isGone(ctx context.Context, index, id string) (bool, error) {
	whole, err := s.table.Get(ctx, goneKey(index, ""))
	if err != nil || whole != nil || id == "" {
		return whole != nil, err
	}
	one, err := s.table.Get(ctx, goneKey(index, id))
	return one != nil, err
}

// has reports whether documents of an id have a row. There are no new ones in an epoch.
func (s *asides) has(ctx context.Context, epoch uint64, id string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		if err := catchUp(ctx, s.table); err != nil {
			return false, err
		}
		rows, err := s.list(ctx, 0, func(row *asideRow) bool { return row.What == "" })
		if err != nil {
			return false, err
		}
		s.epoch, s.ids = epoch, map[string]bool{}
		for i := range rows {
			s.ids[rows[i].ID] = true
		}
	}
	return s.ids[id], nil
}

// forgetNotes drops what some of noteGone, noteWord and noteAnew have kept.
func (s *asides) forgetNotes(ctx context.Context, prefixes ...string) error {
	var gone []asideRow
	err := s.table.Scan(ctx, func(key string, _ []byte) bool {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			gone = append(gone, asideRow{key: key})
		}
		return true
	})
	if err != nil {
		return err
	}
	return s.drop(ctx, gone)
}

func (s *asides) drop(ctx context.Context, rows []asideRow) error {
	return each(rows, func(row *asideRow) error {
		if strings.HasPrefix(row.key, asidePrefix) {
			if word, err := s.table.Get(ctx, row.wordKey()); err != nil || word != nil {
				if err := errors.Join(err, s.table.Delete(ctx, row.wordKey())); err != nil {
					return err
				}
			}
		}
		return s.table.Delete(ctx, row.key)
	})
}

// each does something with all rows, many at a time, and returns the errors.
func each[T any](rows []T, f func(*T) error) error {
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	errs := make([]error, len(rows))
	for i := range rows {
		free <- struct{}{}
		all.Go(func() {
			errs[i] = f(&rows[i])
			<-free
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("keeping what is put aside: %w", err)
		}
	}
	return nil
}

// list returns the rows that a filter takes, at most limit (0: all).
func (s *asides) list(ctx context.Context, limit int, take func(*asideRow) bool) (rows []asideRow, err error) {
	err = s.table.Scan(ctx, func(key string, value []byte) bool {
		if !strings.HasPrefix(key, asidePrefix) {
			return true
		}
		row := asideRow{key: key}
		if json.Unmarshal(value, &row) == nil && take(&row) {
			rows = append(rows, row)
		}
		return limit == 0 || len(rows) < limit
	})
	return rows, err
}

func (s *asides) count(ctx context.Context) (n int, err error) {
	err = s.table.Scan(ctx, func(key string, _ []byte) bool {
		if strings.HasPrefix(key, asidePrefix) {
			n++
		}
		return true
	})
	return n, err
}

// stateAlone puts a change of the state aside, but deletes an index that was deleted: its
// documents must not be there any more.
func (a *applier) stateAlone(ctx context.Context, rec *record) error {
	if a.pairs[rec.From] == nil {
		return a.buryForeign(ctx, rec)
	}
	if err := a.await(ctx, rec.Epoch); err != nil {
		return err
	}
	p, late := a.course(rec.From, rec.Epoch)
	row := asideRow{From: p.from.Name(), What: cmp.Or(rec.What, rec.Kind), Index: rec.Name}
	return a.persist(ctx, a.whileAllowed(ctx, func() error {
		if rec.What == whatIndex && rec.Deleted && !late {
			problem, err := p.deleteIndex(ctx, rec.Name)
			if err != nil {
				return err
			}
			if problem != nil {
				a.r.log.Warn("an index could not be deleted at the follower that takes over", "cluster", p.to.Name(), "index", rec.Name, "reason", problem)
			}
		}
		err := a.r.asides.put(ctx, []asideRow{row})
		if err == nil {
			a.gotOn(0)
		}
		return err
	}))
}

// buryForeign makes a dead letter of a record of a cluster that is not configured.
func (a *applier) buryForeign(ctx context.Context, rec *record) error {
	return a.bury(ctx, DeadLetter{From: rec.From, What: rec.Kind, Index: cmp.Or(rec.Name, rec.ID),
		Reason: fmt.Sprintf("the record comes from cluster %q, which the configuration does not have", rec.From)})
}

// intentsAlone puts aside what writes with an unknown outcome may have changed.
func (a *applier) intentsAlone(ctx context.Context, intents []*record) error {
	var rows []asideRow
	for _, in := range intents {
		if a.pairs[in.From] == nil {
			if err := a.buryForeign(ctx, in); err != nil {
				return err
			}
			continue
		}
		if err := a.await(ctx, in.Epoch); err != nil {
			return err
		}
		p, late := a.course(in.From, in.Epoch)
		until := in.Until
		if !a.r.cfg.SharedJournal {
			until = 0 // its gateway is this one, or gone
		}
		for _, ref := range in.State {
			if late {
				ref.UUID = "" // it is of another cluster
			}
			rows = append(rows, asideRow{From: p.from.Name(), What: ref.What, Index: ref.Name, UUID: ref.UUID, Until: until})
		}
		for _, name := range unnamed(in.Docs) { // a resync would take it from the former master
			letter := DeadLetter{Cluster: p.to.Name(), From: p.from.Name(), What: kindIntent, Index: name,
				Reason: "a document may have been written whose id nobody knows: look for it at the former master with esperanto verify, then drop this"}
			if err := a.bury(ctx, letter); err != nil {
				return err
			}
		}
		for _, d := range in.Docs {
			if d.ID == "" {
				continue
			}
			row := asideRow{From: p.from.Name(), Index: d.Index, Type: d.Type, ID: d.ID, Routing: d.Routing, Parent: d.Parent, Asked: true, Until: until}
			rows = append(rows, row)
			if d.On != "" { // the alias may have been moved since
				row.Index, row.Routing, row.Asked = d.On, cmp.Or(d.OnRouting, d.Routing), false
				rows = append(rows, row)
			}
		}
	}
	return a.persist(ctx, a.whileAllowed(ctx, func() error {
		err := a.r.asides.put(ctx, rows)
		if err == nil {
			a.gotOn(0)
		}
		return err
	}))
}

// base keeps with each row of a document what the new master has of it, and returns the indices
// that it has of them. Nothing is applied meanwhile and no write is under way, as long as still
// says so.
func (s *asides) base(ctx context.Context, from, to *cluster.Cluster, still func() error) (indices []string, err error) {
	rows, err := s.list(ctx, 0, func(row *asideRow) bool {
		return row.From == from.Name() && (row.What == "" || row.What == whatIndex)
	})
	if err != nil {
		return nil, err
	}
	to.Facts().ForgetAll()
	names := map[string]bool{}
	for start := 0; start < len(rows); start += 1000 {
		chunk := rows[start:min(start+1000, len(rows))]
		if err := baseOf(ctx, to, chunk); err != nil {
			return nil, err
		}
		if err := still(); err != nil {
			return nil, err
		}
		if err := s.put(ctx, chunk); err != nil {
			return nil, err
		}
		for i := range chunk {
			if chunk[i].Base.UUID != "" {
				names[chunk[i].Base.Index] = true
			}
		}
	}
	return keys(names), nil
}

// baseOf asks the new master.
func baseOf(ctx context.Context, to *cluster.Cluster, rows []asideRow) error {
	var ids []cluster.DocID
	var at []int
	for i := range rows {
		id, index, err := placeOf(ctx, to, &rows[i])
		if err != nil {
			return err
		}
		rows[i].Base = &asideBase{Index: id.Index, UUID: index.UUID}
		if index.UUID != "" && rows[i].What == "" {
			ids, at = append(ids, id), append(at, i)
		}
		if index.UUID != "" && rows[i].What == whatIndex {
			state, err := openState(ctx, to, index.Name)
			if err != nil {
				return err
			}
			rows[i].Base.Closed = state == "close"
		}
	}
	docs, err := to.MGet(ctx, ids, false)
	if err != nil {
		return err
	}
	for i := range docs {
		rows[at[i]].Base.Found, rows[at[i]].Base.Version = docs[i].Found, docs[i].Version
	}
	return nil
}

// placeOf finds where a cluster has the document of a row: the concrete index, with its
// routing. Of an index that is not there the name is that of the row, and the Index empty.
func placeOf(ctx context.Context, c *cluster.Cluster, row *asideRow) (id cluster.DocID, index cluster.Index, err error) {
	id = row.docID()
	index, ok, err := c.Facts().Lookup(ctx, row.Index)
	refused := new(cluster.StatusError)
	if errors.As(err, &refused) && permanent(refused.Status, refused.Type) {
		return id, cluster.Index{}, nil // no index can have such a name
	}
	if err != nil || !ok {
		return id, cluster.Index{}, err
	}
	if !row.Asked && index.Name != row.Index {
		return id, cluster.Index{}, nil // an alias of that name
	}
	id.Index = index.Name
	if alias, is := index.Aliases[row.Index]; is && alias.IndexRouting != "" {
		id.Routing = alias.IndexRouting
	}
	return id, index, nil
}
