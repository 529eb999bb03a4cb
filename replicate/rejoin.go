package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

const (
	// rejoinLook is how often it is looked whether there is something aside.
	rejoinLook = 500 * time.Millisecond
	// rejoinRows bounds the rows that are looked at together.
	rejoinRows = 500
	// rejoinHeld bounds the indices that are brought while writes wait once.
	rejoinHeld = 10
	// brought is the uuid in the base of an index that was.
	brought = "brought"
)

// run looks at what is put aside whenever the cluster that has to be asked answers, until
// ctx ends. Several gateways may do the same at a time: nothing is wrong then, each row is
// looked at under the gate.
func (s *asides) run(ctx context.Context) {
	var back time.Time // the cluster that has to be asked has answered since then
	var before string
	for attempt := 0; ctx.Err() == nil; {
		sleep(ctx, rejoinLook/2+rand.N(rejoinLook)) // not all at once
		state := s.r.gate.state()
		from, wanted := state.Rejoin, state.Rejoin != ""
		if !wanted {
			if n, err := s.count(ctx); err != nil || n == 0 {
				continue
			}
			from = state.Master
		}
		c := s.r.clusterNamed(from)
		if c == nil || state.Closing() || !s.r.gate.confirmed() || s.r.applier.isPaused() {
			continue
		}
		if !answers(ctx, c, 2*time.Second) {
			back = time.Time{}
			continue
		}
		if back.IsZero() || before != from {
			back, before = time.Now(), from
			c.Facts().ForgetAll()
		}
		if time.Since(back) < s.r.cfg.Grace {
			continue // what was on its way to it may land yet
		}
		if err := s.settle(ctx, state); err != nil && ctx.Err() == nil {
			s.r.applier.blocked(fmt.Errorf("looking at what was put aside: %w", err))
			pause(ctx, attempt)
			attempt++
			continue
		}
		attempt = 0
	}
}

// settle does one round.
func (s *asides) settle(ctx context.Context, state epoch.State) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	now := s.r.cfg.Now().UnixMilli()
	later := false
	due := func(row *asideRow) bool {
		if row.Until > 0 && row.Until+s.r.cfg.Grace.Milliseconds() > now {
			later = true
			return false
		}
		return true
	}
	if state.Rejoin == "" {
		rows, err := s.list(ctx, rejoinRows, due)
		if err != nil || len(rows) == 0 {
			return err
		}
		return s.readBack(ctx, rows)
	}
	if err := s.keepGuards(ctx, state.Rejoin); err != nil {
		return err
	}
	if err := s.noteAllAnew(ctx, state.Rejoin); err != nil {
		return err
	}
	if err := s.loadWords(ctx); err != nil {
		return err
	}
	if err := s.noteTombs(ctx, state); err != nil {
		return err
	}
	for last := false; ; {
		// An index that was made in place of one that was to be deleted is deleted only when
		// its documents have been looked at.
		rows, err := s.list(ctx, rejoinRows, func(row *asideRow) bool {
			return due(row) && row.From == state.Rejoin && (last || row.UUID == "")
		})
		if err != nil {
			return err
		}
		if len(rows) == 0 && last {
			break
		}
		if len(rows) == 0 {
			last = true
			continue
		}
		if err := s.rejoin(ctx, state, rows); err != nil {
			return err
		}
		s.r.log.Info("what was put aside at a failover was looked at", "rows", len(rows), "cluster", state.Rejoin)
	}
	if later {
		return nil
	}
	if err := s.bringGuards(ctx, state.Master); err != nil {
		return err
	}
	if err := s.forgetNotes(ctx, gonePrefix, wordPrefix, anewPrefix); err != nil {
		return err
	}
	_, err := s.r.change(ctx, func(now *epoch.State) error {
		if now.Rejoin != state.Rejoin || now.Epoch != state.Epoch || now.Closing() {
			return errAsItIs
		}
		now.Rejoin = ""
		return nil
	})
	if errors.Is(err, errAsItIs) {
		return nil
	}
	if err == nil {
		s.r.applier.gotOn(0)
		s.r.log.Info("the former master has been made equal and is the follower", "cluster", state.Rejoin)
	}
	return err
}

// noteAllAnew finds the indices of the former master that were made in place of one that was to be
// deleted.
func (s *asides) noteAllAnew(ctx context.Context, former string) error {
	rows, err := s.list(ctx, 0, func(row *asideRow) bool {
		return row.From == former && row.What == whatIndex && row.UUID != ""
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		uuid, err := uuidOf(ctx, s.r.clusterNamed(former), row.Index)
		if err != nil {
			return err
		}
		if uuid == "" || uuid == row.UUID {
			continue
		}
		if err := s.noteAnew(ctx, row.Index, uuid); err != nil {
			return err
		}
	}
	return nil
}

// noteTombs keeps which deletions the former master remembers, before a document is made equal
// there by force: then it forgets them (pair.force).
func (s *asides) noteTombs(ctx context.Context, state epoch.State) error {
	rows, err := s.list(ctx, 0, func(row *asideRow) bool {
		return row.From == state.Rejoin && row.What == "" && row.Tomb == 0 && row.Base != nil && row.Base.Found
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(rows, readChunk) {
		list, err := s.judge(ctx, s.r.clusterNamed(state.Rejoin), s.r.clusterNamed(state.Master), chunk)
		if err != nil {
			return err
		}
		var noted []asideRow
		for _, v := range list {
			if !v.former || v.tomb == 0 {
				continue
			}
			for _, row := range v.rows {
				row.Tomb = v.tomb
				noted = append(noted, *row)
			}
		}
		if err := s.put(ctx, noted); err != nil {
			return err
		}
	}
	return nil
}

// readBack reads rows back from the master as ever: the failover was given up, or they are
// late. Whatever cluster they are of, the master's documents are what holds.
func (s *asides) readBack(ctx context.Context, rows []asideRow) error {
	a := s.r.applier
	p := a.pairs[s.r.gate.now().master.Name()]
	p.from.Facts().ForgetAll()
	p.to.Facts().ForgetAll()
	var ids []cluster.DocID
	for i := range rows {
		row := &rows[i]
		switch row.What {
		case "":
			id, index, err := placeOf(ctx, p.from, row)
			if err != nil {
				return err
			}
			if index.UUID != "" || !row.Asked {
				ids = append(ids, id)
			}
		case whatResync:
			if err := a.resyncWanted(ctx, p.from.Name(), row.key, row.Index); err != nil {
				return err
			}
		default:
			ref := asked{stateRef: stateRef{row.What, row.Index}, UUID: row.UUID}
			if row.From != p.from.Name() {
				ref.UUID = ""
			}
			if err := a.resolveState(ctx, p, ref, row.key, time.Time{}); err != nil {
				return err
			}
		}
	}
	if err := a.whileAllowed(ctx, func() error { return p.equalise(ctx, ids) })(); err != nil {
		return err
	}
	return s.drop(ctx, rows)
}

// rejoin looks at rows of the former master.
func (s *asides) rejoin(ctx context.Context, state epoch.State, rows []asideRow) error {
	a := s.r.applier
	known := a.pairs[state.Rejoin] // from the former master to the new one
	back, down := newPair(a, known.from, known.to), newPair(a, known.to, known.from)
	back.guarded = true
	down.indices.may = func() error { return s.mayRejoin(state) }
	var docs, parts []asideRow
	for _, row := range rows {
		if row.What == "" {
			docs = append(docs, row)
		} else {
			parts = append(parts, row)
		}
	}
	if err := s.rejoinState(ctx, state, back, down, parts); err != nil {
		return err
	}
	if err := s.drop(ctx, parts); err != nil {
		return err
	}
	if len(parts) > 0 {
		if err := s.noteTombs(ctx, state); err != nil {
			return err
		}
		var err error
		if docs, err = s.again(ctx, docs); err != nil { // an index may have been opened
			return err
		}
	}
	for len(docs) > 0 {
		chunk := docs[:min(readChunk, len(docs))]
		if err := s.rejoinDocs(ctx, state, back, down, chunk); err != nil {
			return err
		}
		if err := s.drop(ctx, chunk); err != nil {
			return err
		}
		docs = docs[len(chunk):]
	}
	return nil
}

// mayRejoin refuses to write to the former master when it is not that any more.
func (s *asides) mayRejoin(state epoch.State) error {
	if now := s.r.gate.state(); now.Rejoin != state.Rejoin || now.Epoch != state.Epoch {
		return errors.New("another gateway has made the former master equal")
	}
	if !s.r.gate.confirmed() {
		return errors.New(epoch.Unconfirmed)
	}
	return nil
}

// A verdict says which cluster's document counts.
type verdict struct {
	rows   []*asideRow
	id     cluster.DocID
	former bool  // that of the former master
	tomb   int64 // the version of its deletion there
}

// judge compares documents of both clusters.
func (s *asides) judge(ctx context.Context, former, master *cluster.Cluster, rows []asideRow) (list []verdict, err error) {
	indices := map[string]string{}  // uuid at the new master, by name
	var uuids []string              // at the former one, of each in the list
	seen := map[cluster.DocID]int{} // where in the list
	var deleted []int
	for i := range rows {
		id, index, err := placeOf(ctx, former, &rows[i])
		if err != nil {
			return nil, err
		}
		if index.UUID == "" { // not there any more, or never: what the new master has of that name counts
			if id, _, err = placeOf(ctx, master, &rows[i]); err != nil {
				return nil, err
			}
		}
		if at, is := seen[id]; is {
			list[at].rows = append(list[at].rows, &rows[i])
			continue
		}
		seen[id] = len(list)
		list = append(list, verdict{rows: []*asideRow{&rows[i]}, id: id, former: index.UUID != ""})
		uuids = append(uuids, index.UUID)
	}
	ids := make([]cluster.DocID, len(list))
	for i := range list {
		ids[i] = list[i].id
		if _, known := indices[ids[i].Index]; known {
			continue
		}
		there, ok, err := master.Facts().Lookup(ctx, ids[i].Index)
		if err != nil {
			return nil, err
		}
		if indices[ids[i].Index] = ""; ok && there.Name == ids[i].Index {
			indices[ids[i].Index] = there.UUID
		}
	}
	masters, err := master.MGet(ctx, ids, false)
	if err != nil {
		return nil, err
	}
	formers, err := former.MGet(ctx, ids, false)
	if err != nil {
		return nil, err
	}
	for i := range list {
		v, m, f := &list[i], &masters[i], &formers[i]
		gone, err := s.isGone(ctx, v.id.Index, v.id.ID)
		if err != nil {
			return nil, err
		}
		word, err := s.hasWord(ctx, v.id.Index, uuids[i], v.id.ID)
		if err != nil {
			return nil, err
		}
		untouched := v.rows[0].untouched(m, v.id.Index, indices[v.id.Index]) || word && !m.Found // it may be on its way to a lower version
		if !v.former || gone || f.Unreadable+m.Unreadable != "" || !untouched {
			v.former = false
			continue
		}
		if word {
			continue
		}
		if !f.Found && m.Found {
			deleted = append(deleted, i)
		}
		v.former = f.Found && (!m.Found || f.Version > m.Version)
	}
	return list, judgeDeleted(ctx, former, masters, list, deleted)
}

// judgeDeleted looks at documents that the former master does not have any more. If it
// remembers a deletion of a higher version, or did before it was made to forget, that counts.
func judgeDeleted(ctx context.Context, former *cluster.Cluster, masters []cluster.Doc, list []verdict, deleted []int) error {
	ids := make([]cluster.DocID, len(deleted))
	for i, at := range deleted {
		ids[i] = list[at].id
	}
	if len(ids) == 0 {
		return nil
	}
	remembered, err := former.Remembered(ctx, ids)
	if err != nil {
		return err
	}
	for i, at := range deleted {
		v := &list[at]
		for _, row := range v.rows {
			v.tomb = max(v.tomb, row.Tomb)
		}
		if untold := remembered[i].Untold; untold != "" && v.tomb == 0 {
			return errors.New(untold)
		}
		v.tomb = max(v.tomb, remembered[i].Version)
		v.former = v.tomb > masters[at].Version
	}
	return nil
}

// untouched reports whether the new master has a document as it had when it became that.
func (row *asideRow) untouched(m *cluster.Doc, index, uuid string) bool {
	b := row.Base
	if b == nil || b.UUID == "" || b.Index != index {
		return !m.Found
	}
	return b.UUID == uuid && b.Found == m.Found && (!m.Found || b.Version == m.Version)
}

// rejoinDocs makes documents equal.
func (s *asides) rejoinDocs(ctx context.Context, state epoch.State, back, down *pair, rows []asideRow) error {
	master := down.from
	list, err := s.judge(ctx, down.to, master, rows)
	if err != nil {
		return err
	}
	var ids []cluster.DocID
	formers := 0
	for _, v := range list {
		if v.former {
			formers++
		} else {
			ids = append(ids, v.id)
		}
	}
	if err := down.equalise(ctx, ids); err != nil || formers == 0 {
		return err
	}
	return s.hold(ctx, state, back, func(ctx context.Context) error {
		for name := range namesOf(list) {
			master.Facts().Forget(name)
		}
		rows, err := s.again(ctx, rows) // another gateway may have brought some, and they may have been written since
		if err != nil {
			return err
		}
		list, err := s.judge(ctx, down.to, master, rows)
		if err != nil {
			return err
		}
		var brought, rest []cluster.DocID
		for _, v := range list {
			if v.former {
				brought = append(brought, v.id)
			} else {
				rest = append(rest, v.id)
			}
		}
		if err := back.equalise(ctx, brought); err != nil {
			return err
		}
		s.r.log.Info("documents of the former master that had not been applied were brought to the new one", "documents", len(brought), "from", back.from.Name(), "to", back.to.Name())
		if err := down.equalise(ctx, rest); err != nil {
			return err
		}
		return s.drop(ctx, rows) // before anything is written again
	})
}

func namesOf(list []verdict) map[string]bool {
	names := map[string]bool{}
	for _, v := range list {
		names[v.id.Index] = true
	}
	return names
}

// rejoinState makes parts of the state what the new master has. Of an index it gets the
// fields that only the former one knows, and the whole index if it never had it.
func (s *asides) rejoinState(ctx context.Context, state epoch.State, back, down *pair, rows []asideRow) error {
	var indices []asideRow
	for _, row := range rows {
		if row.What == whatIndex {
			indices = append(indices, row)
		}
	}
	for chunk := range slices.Chunk(indices, rejoinHeld) {
		if err := s.bringIndices(ctx, state, back, chunk); err != nil {
			return err
		}
	}
	for _, row := range rows {
		if row.What == whatResync {
			if err := s.r.applier.resyncWanted(ctx, down.from.Name(), row.key, row.Index); err != nil {
				return err
			}
			continue
		}
		another, err := s.another(ctx, down, row)
		if err != nil {
			return err
		}
		problem, err := down.applyState(ctx, stateRef{row.What, row.Index}, deletedAt(time.Time{}, another))
		if err != nil {
			return err
		}
		if problem != nil {
			letter := DeadLetter{Cluster: down.to.Name(), From: down.from.Name(), What: row.What, Index: row.Index, Reason: problem.Error()}
			if err := s.r.applier.bury(ctx, letter); err != nil {
				return err
			}
		}
	}
	return nil
}

// bringIndices brings some while writes wait. If there is not enough time for all, it goes on
// from there the next time.
func (s *asides) bringIndices(ctx context.Context, state epoch.State, back *pair, rows []asideRow) error {
	unbrought := func(row asideRow) bool { return row.Base == nil || row.Base.UUID != brought }
	if !slices.ContainsFunc(rows, unbrought) {
		return nil
	}
	return s.hold(ctx, state, back, func(ctx context.Context) error {
		rows, err := s.again(ctx, rows)
		if err != nil {
			return err
		}
		for i := range rows {
			if !unbrought(rows[i]) {
				continue
			}
			if err := s.bringIndex(ctx, back, rows[i]); err != nil {
				return err
			}
			rows[i].Base = &asideBase{Index: rows[i].Index, UUID: brought} // once
			if err := s.put(ctx, rows[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// another reports whether the former master has another index than the one that was to be
// deleted there. If it has another one, or none any more that the new master has, the
// wish is kept that it gets the documents.
func (s *asides) another(ctx context.Context, down *pair, row asideRow) (bool, error) {
	if row.What != whatIndex {
		return false, nil
	}
	formers, err := uuidOf(ctx, down.to, row.Index)
	if err != nil {
		return false, err
	}
	masters, err := uuidOf(ctx, down.from, row.Index)
	if err != nil {
		return false, err
	}
	another := row.UUID != "" && formers != "" && formers != row.UUID
	if masters == "" || formers != "" && !another {
		return another, nil
	}
	return another, s.r.applier.resyncWanted(ctx, down.from.Name(), row.key, row.Index)
}

// bringIndex carries over what the new master does not have of an index.
func (s *asides) bringIndex(ctx context.Context, back *pair, row asideRow) error {
	if gone, err := s.isGone(ctx, row.Index, ""); err != nil || gone {
		return err
	}
	back.to.Facts().Forget(row.Index)
	_, there, err := back.to.Facts().Lookup(ctx, row.Index)
	if err != nil {
		return err
	}
	if !there && (row.Base == nil || row.Base.UUID != "") {
		return nil // it was deleted since
	}
	if err := s.openAgain(ctx, back, row); err != nil {
		return err
	}
	problems, err := back.indices.ready(ctx, []string{row.Index}, true)
	if problem := problems[row.Index]; problem != nil && !errors.Is(problem, errNoIndex) {
		back.a.r.log.Warn("the new master does not take an index as the former one has it", "index", row.Index, "reason", problem)
	}
	return err
}

// openAgain opens an index at the new master that was closed when it took over, and had been
// opened at the former one: documents may have been written there. While it was closed
// nobody has written it since, so that its documents are what their rows are compared with.
func (s *asides) openAgain(ctx context.Context, back *pair, row asideRow) error {
	if row.Base == nil || !row.Base.Closed {
		return nil
	}
	here, err := openState(ctx, back.from, row.Index)
	if err != nil || here != "open" {
		return err
	}
	there, err := openState(ctx, back.to, row.Index)
	if err != nil || there != "close" {
		return err
	}
	if problem, err := back.applyOpen(ctx, row.Index, true); problem != nil || err != nil {
		return errors.Join(problem, err)
	}
	rows, err := s.list(ctx, 0, func(r *asideRow) bool {
		return r.From == row.From && r.What == "" && r.Base != nil && r.Base.Index == row.Index && r.Base.UUID == row.Base.UUID
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(rows, 1000) {
		if err := baseOf(ctx, back.to, chunk); err != nil {
			return err
		}
		if err := s.put(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// hold does something while no write is let in at any gateway, and allows it to write to
// the master.
func (s *asides) hold(ctx context.Context, state epoch.State, back *pair, f func(context.Context) error) error {
	r := s.r
	if !r.switching.TryLock() {
		return errUnderway
	}
	defer r.switching.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.SwitchTimeout)
	defer cancel()
	held, err := r.change(ctx, func(now *epoch.State) error {
		if now.Closing() || now.Epoch != state.Epoch || now.Rejoin != state.Rejoin {
			return errUnderway
		}
		*now = now.Hold(r.instance, r.cfg.SwitchTimeout)
		return nil
	})
	if never := (notChanged{}); errors.As(err, &never) {
		return never.error
	}
	if err == nil {
		back.indices.may = func() error {
			if now := r.gate.state(); now.Seq != held.Seq || !r.gate.confirmed() {
				return errors.New("writes do not wait any more")
			}
			return nil
		}
		err = s.held(ctx, held, f)
	}
	if _, known := r.settle(ctx); !known && err == nil {
		err = errors.New("nobody knows yet whether writes go on")
	}
	return err
}

func (s *asides) held(ctx context.Context, held epoch.State, f func(context.Context) error) error {
	if left, err := s.r.gate.quiet(ctx); err != nil {
		return fmt.Errorf("%d writes did not come to their end: %w", left, err)
	}
	if err := s.r.members.allQuiet(ctx, held.Seq); err != nil {
		return err
	}
	return f(ctx)
}

// guardsKey is where the guards of the former master are kept while it is made equal: it
// loses them as the follower.
const guardsKey = "guards"

// keepGuards keeps what the former master has of them.
func (s *asides) keepGuards(ctx context.Context, former string) error {
	if kept, err := s.table.Get(ctx, guardsKey); err != nil || kept != nil {
		return err
	}
	have, err := guardsOf(ctx, s.r.clusterNamed(former), "_all")
	if err != nil {
		return err
	}
	raw, err := json.Marshal(have)
	if err != nil {
		return err
	}
	return s.table.Put(ctx, guardsKey, raw)
}

// bringGuards gives the new master those that it does not have: it could not get them when it
// took over.
func (s *asides) bringGuards(ctx context.Context, name string) error {
	kept, err := s.table.Get(ctx, guardsKey)
	if err != nil || kept == nil {
		return err
	}
	var former guards
	if err := json.Unmarshal(kept, &former); err != nil {
		return err
	}
	master := s.r.clusterNamed(name)
	if former, err = former.of(s.r).alsoAt(ctx, master); err != nil {
		return err
	}
	have, err := guardsOf(ctx, master, "_all")
	if err != nil {
		return err
	}
	v, err := master.Version(ctx)
	if err != nil {
		return err
	}
	want := guards{}
	for index, all := range former {
		want[index] = maps.Clone(all)
		if !v.AtLeast(finalPipelines) && all["final_pipeline"] != "" {
			s.r.log.Warn("the new master cannot have the final pipeline of an index: documents are stored without it", "index", index, "pipeline", all["final_pipeline"], "cluster", name)
			delete(want[index], "final_pipeline")
		}
		maps.Copy(want[index], have[index])
	}
	for index := range have {
		if want[index] == nil {
			want[index] = have[index]
		}
	}
	if err := guard(ctx, master, guardings(want, have), func() error { return nil }); err != nil {
		return err
	}
	return s.table.Delete(ctx, guardsKey)
}
