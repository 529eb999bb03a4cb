package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A resync makes an index of the follower equal to the master's as a whole: its
// schema first, then its documents as a backfill copies them, then documents that
// the master does not have are removed. A record of the journal asks for it. It may
// take hours, so that the applier does not do it itself: the other records of its
// partition would wait. It keeps the wish in the table "resync" before it goes on,
// and a job grants it. The master is not moved while there is a wish.

// JobResync is the kind of job that resyncs indices, one after the other.
const JobResync = "resync"

// A resyncWish asks for one index of the master to be resynced.
type resyncWish struct {
	Index string    `json:"index"` // concrete
	Asked time.Time `json:"asked"`

	key string
}

// resyncs are the wishes that are not granted.
type resyncs struct {
	r     *Replicator
	table journal.Table
	kick  chan struct{} // there is a new one; capacity 1
}

func newResyncs(r *Replicator) *resyncs {
	return &resyncs{r: r, table: r.cfg.Journal.Table("resync"), kick: make(chan struct{}, 1)}
}

// wishes lists them, the oldest first.
func (s *resyncs) wishes(ctx context.Context) (list []resyncWish, err error) {
	err = s.table.Scan(ctx, func(key string, value []byte) bool {
		var w resyncWish
		if json.Unmarshal(value, &w) == nil && w.Index != "" && s.r.selection.replicated(w.Index) {
			w.key = key
			list = append(list, w)
		}
		return true
	})
	slices.SortStableFunc(list, func(a, b resyncWish) int { return a.Asked.Compare(b.Asked) })
	return list, err
}

// put keeps a wish. The same key means the same wish: it may come again.
func (s *resyncs) put(ctx context.Context, key, index string) error {
	raw, err := json.Marshal(resyncWish{Index: index, Asked: s.r.cfg.Now()})
	if err != nil {
		return err
	}
	if err := s.table.Put(ctx, key, raw); err != nil {
		return fmt.Errorf("keeping that index %s is to be resynced: %w", index, err)
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return nil
}

func (s *resyncs) drop(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := s.table.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// obstacle is why the master must not be moved, "" if there is no wish.
func (s *resyncs) obstacle(ctx context.Context) (string, error) {
	list, err := s.wishes(ctx)
	if err != nil {
		return "", fmt.Errorf("reading which indices are to be resynced: %w", err)
	}
	if len(list) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d indices are to be resynced, the first is %s: the follower does not have what the master has", len(distinct(list)), list[0].Index), nil
}

// distinct are the indices of wishes.
func distinct(list []resyncWish) (names []string) {
	for _, w := range list {
		if !slices.Contains(names, w.Index) {
			names = append(names, w.Index)
		}
	}
	return names
}

// resyncSteps is what to do while there are wishes.
var resyncSteps = []string{"wait for the resync: GET /esperanto/resync", "or go on without it, and repair what differs later: POST /esperanto/resync/cancel"}

// resyncWanted keeps the wish of a record, for each index that its name stands for at
// the master. One that is no index there any more is that of the follower's. An error
// means that ctx has ended.
func (a *applier) resyncWanted(ctx context.Context, from, key, name string) error {
	if a.pairs[from] == nil {
		return a.bury(ctx, DeadLetter{From: from, What: kindResync, Index: name, Reason: fmt.Sprintf("the resync is of cluster %q, which the configuration does not have", from)})
	}
	return a.persist(ctx, func() error {
		names, err := a.r.gate.now().master.Facts().Expand(ctx, name)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			names = []string{name}
		}
		for i, name := range a.r.selection.of(names) {
			if err := a.r.resyncs.put(ctx, key+"/"+strconv.Itoa(i), name); err != nil {
				return err
			}
		}
		a.gotOn(0)
		return nil
	})
}

const (
	resyncLook  = jobLook          // how often wishes that other gateways have kept are looked at
	resyncAgain = 30 * time.Second // after which a resync that failed is tried again
)

// run has a job grant the wishes, whenever there are some, until ctx ends.
func (s *resyncs) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		if err := s.begin(ctx); err != nil {
			s.r.log.Debug("a resync cannot be begun yet", "reason", err)
			pause(ctx, attempt)
			attempt++
			continue
		}
		attempt = 0
		select {
		case <-s.kick:
		case <-time.After(resyncLook):
		case <-ctx.Done():
		}
	}
}

// begin starts a job if there are wishes and none is under way.
func (s *resyncs) begin(ctx context.Context) error {
	list, err := s.wishes(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	j, ok, err := s.r.jobs.Job(ctx, JobResync)
	switch {
	case err != nil:
		return err
	case ok && !j.State.Ended():
		return nil
	case ok && j.State == JobFailed && j.Ended != nil && s.r.cfg.Now().Sub(*j.Ended) < resyncAgain && !list[len(list)-1].Asked.After(j.Started):
		return nil
	}
	_, err = s.r.jobs.Start(ctx, JobResync, struct{}{})
	return err
}

// ResyncProgress tells how far a resync is.
type ResyncProgress struct {
	BackfillProgress
	Removed int64    `json:"removed"`           // documents that only the follower had
	Waiting []string `json:"waiting,omitempty"` // indices, the first 100
	Left    int      `json:"indices_left"`
}

// A resync grants wishes.
type resync struct {
	*backfill
	removed int64
	waiting []string
}

// wishKey is the part of the job that says which wishes are being granted: those that
// have come since need what was copied to be copied again. No index has that name.
const wishKey = "_wishes"

type grantedWishes struct {
	Index string   `json:"index"`
	Keys  []string `json:"keys"`
}

// resync does a resync, or goes on with it.
func (r *Replicator) resync(ctx context.Context, j *JobRun) error {
	b, err := r.newBackfill(ctx, j)
	if err != nil {
		return err
	}
	s := &resync{backfill: b}
	b.also = r.applier.pace
	s.recall()
	j.Report(s.report)
	return s.grantAll(ctx)
}

// recall reads what the process before had counted.
func (s *resync) recall() {
	var before ResyncProgress
	if raw := s.job.snapshot().Progress; raw != nil && json.Unmarshal(raw, &before) == nil {
		s.removed = before.Removed
	}
}

func (s *resync) report() any {
	p := ResyncProgress{BackfillProgress: s.backfill.report().(BackfillProgress)}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Removed, p.Left = s.removed, len(s.waiting)
	p.Waiting = slices.Clone(s.waiting[:min(len(s.waiting), maxSkipped)])
	return p
}

// grantAll grants wishes until there are none. Those that cannot be granted stay: the
// job fails, and is tried again later.
func (s *resync) grantAll(ctx context.Context) error {
	var failed []string
	for {
		w, err := s.next(ctx, failed)
		if err != nil {
			return err
		}
		if w.Index == "" {
			break
		}
		before := s.skipped
		if err := s.grant(ctx, w); err != nil {
			return err
		}
		if s.skipped > before {
			failed = append(failed, w.Index)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d indices could not be resynced and are tried again; the first: %s: %s", len(failed), s.progress.Skipped[0].Index, s.progress.Skipped[0].Reason)
	}
	return nil
}

// next chooses the wishes to be granted together: all of one index. Those that were
// begun by a process before come first, without the ones that were made since.
func (s *resync) next(ctx context.Context, failed []string) (chosen grantedWishes, err error) {
	err = s.persist(ctx, func() error {
		list, err := s.r.resyncs.wishes(ctx)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(w resyncWish) bool { return slices.Contains(failed, w.Index) })
		s.mu.Lock()
		s.waiting = distinct(list)
		s.progress.Indices = s.progress.IndicesDone + len(s.waiting)
		s.mu.Unlock()
		if chosen, err = s.begun(ctx, list); err != nil || chosen.Index != "" || len(list) == 0 {
			return err
		}
		chosen.Index = list[0].Index
		for _, w := range list {
			if w.Index == chosen.Index {
				chosen.Keys = append(chosen.Keys, w.key)
			}
		}
		return s.job.Put(ctx, wishKey, chosen)
	})
	return chosen, err
}

// begun are the wishes of list that a process before had begun to grant.
func (s *resync) begun(ctx context.Context, list []resyncWish) (chosen grantedWishes, err error) {
	err = s.job.Scan(ctx, func(key string, value []byte) bool {
		if key == wishKey {
			_ = json.Unmarshal(value, &chosen)
		}
		return true
	})
	still := slices.ContainsFunc(list, func(w resyncWish) bool { return slices.Contains(chosen.Keys, w.key) })
	if err != nil || !still {
		return grantedWishes{}, err
	}
	return chosen, nil
}

// grant resyncs one index.
func (s *resync) grant(ctx context.Context, w grantedWishes) error {
	before := s.skipped
	docs, err := s.p.from.Count(ctx, w.Index, nil)
	if err == nil {
		s.change(func(p *BackfillProgress) { p.Total += docs })
	}
	if err := s.copyIndex(ctx, w.Index, defaultSlices); err != nil {
		return err
	}
	if s.skipped == before {
		if err := s.persist(ctx, func() error { return s.removeExtra(ctx, w.Index) }); err != nil {
			return err
		}
	}
	// First what is known of how far it is: later wishes begin anew.
	delete(s.parts, w.Index)
	if err := s.persist(ctx, func() error { return s.job.Drop(ctx, w.Index) }); err != nil || s.skipped > before {
		return err
	}
	s.r.log.Info("an index was resynced", "index", w.Index)
	return s.persist(ctx, func() error { return s.r.resyncs.drop(ctx, w.Keys) })
}

// removeExtra removes the documents that only the follower has. Those of which
// effects are under way are seen at the master, or are made equal when these come.
func (s *resync) removeExtra(ctx context.Context, index string) error {
	if err := s.r.mayApply(s.p.to); err != nil {
		return err
	}
	uuid, err := uuidOf(ctx, s.p.to, index)
	if err != nil || uuid == "" {
		return err
	}
	if state, err := openState(ctx, s.p.to, index); err != nil || state == "close" {
		return err
	}
	if err := s.p.to.Refresh(ctx, index); err != nil {
		return err
	}
	return s.p.to.Scan(ctx, cluster.ScanOptions{Index: index}, func(_ time.Time, docs []cluster.Doc) error {
		if err := s.job.Wait(ctx); err != nil {
			return err
		}
		ids := idsOf(docs)
		masters, err := s.p.from.MGet(ctx, ids, false)
		if err != nil {
			return err
		}
		var extra []cluster.DocID
		for i := range masters {
			m := &masters[i]
			if m.Unreadable == "" && (!m.Found || routingOf(m) != routingOf(&docs[i])) {
				extra = append(extra, ids[i])
			}
		}
		if err := s.p.equalise(ctx, extra); err != nil || s.p.bothWays() { // then only what the master remembers to have deleted
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removed += int64(len(extra))
		return nil
	})
}

// Resync asks for indices to be resynced, by names and patterns. It is done when
// all that was journaled before is applied.
func (r *Replicator) Resync(ctx context.Context, expressions []string) (names []string, err error) {
	if !r.replicating() {
		return nil, &JobError{"there is no second cluster", []string{"name a second cluster as target"}}
	}
	if len(expressions) == 0 || slices.Contains(expressions, "") {
		return nil, &JobError{"it is not said which indices", []string{`name them: {"indices":["books","logs-*"]}`}}
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.JournalTimeout)
	defer cancel()
	lease, err := r.enter(ctx, true)
	if err != nil {
		return nil, err
	}
	defer lease.Exit()
	if names, err = lease.Master().Facts().Expand(ctx, strings.Join(expressions, ",")); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &JobError{fmt.Sprintf("cluster %s has no index %s", lease.Master().Name(), strings.Join(expressions, ",")), []string{"see that the names are right"}}
	}
	first := names[0]
	if names = r.selection.of(names); len(names) == 0 {
		return nil, &JobError{r.selection.why(first).Error(), []string{"see the configuration"}}
	}
	for _, name := range names {
		if err := r.askForResync(ctx, lease.roles, name); err != nil {
			return nil, fmt.Errorf("the journal does not take it: %w", err)
		}
	}
	return names, nil
}

// CancelResync goes on without what is to be resynced, as an operator has decided.
func (r *Replicator) CancelResync(ctx context.Context) (Job, error) {
	if !r.replicating() {
		return Job{}, &JobError{"there is no second cluster", []string{"name a second cluster as target"}}
	}
	list, err := r.resyncs.wishes(ctx)
	if err != nil {
		return Job{}, err
	}
	keys := make([]string, len(list))
	for i := range list {
		keys[i] = list[i].key
	}
	if err := r.resyncs.drop(ctx, keys); err != nil {
		return Job{}, err
	}
	j, err := r.jobs.Cancel(ctx, JobResync)
	if len(list) == 0 {
		return j, err
	}
	r.log.Warn("indices are not resynced, as an operator has decided", "indices", distinct(list))
	if errors.As(err, new(*JobError)) { // it had failed
		err = nil
	}
	return j, err
}

// askForResync journals that an index is to be resynced, and waits until that is
// durable.
func (r *Replicator) askForResync(ctx context.Context, now roles, name string) error {
	return r.appendDurably(ctx, name, resyncRecord(r, now.master.Name(), now.epoch, name))
}

func resyncRecord(r *Replicator, from string, epoch uint64, name string) *record {
	return &record{Kind: kindResync, ID: r.nextIntentID(), Name: name, From: from, Epoch: epoch}
}

// appendDurably appends a record and waits until it is durable.
func (r *Replicator) appendDurably(ctx context.Context, key string, rec *record) error {
	landed := make(chan error, 1)
	if err := r.appendPatiently(ctx, key, rec, func(err error) { landed <- err }); err != nil {
		return err
	}
	select {
	case err := <-landed:
		return err
	case <-ctx.Done():
		return errSlowJournal
	}
}

// resyncState completes a Status by what is to be resynced.
func (r *Replicator) resyncState(ctx context.Context, s *Status) {
	if j, ok, err := r.jobs.Job(ctx, JobResync); err == nil && ok {
		s.Resync = &j
		if j.State == JobFailed || j.State == JobPaused {
			s.NextSteps = append(s.NextSteps, "resync: "+strings.Join(append(j.NextSteps, notNothing(j.Error)...), "; "))
		}
	}
	if list, err := r.resyncs.wishes(ctx); err == nil {
		s.ResyncWaiting = len(distinct(list))
	}
	if s.ResyncWaiting > 0 {
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("%d indices are being resynced; the master is not moved before: GET /esperanto/resync", s.ResyncWaiting))
	}
}

func notNothing(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
