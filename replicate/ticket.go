package replicate

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/translate"
)

// intentDocs bounds the documents of one intent, and Config.MaxRecord its bytes;
// a larger bulk has several.
const intentDocs = 2000

// A ticket is one write on its way through the journal: intents, then effects,
// then done marks. It holds the gate until its records are written or given up.
type ticket struct {
	r       *Replicator
	roles   roles
	intents []intentMark
	records []*record   // of the intents
	debts   []debt      // instead of intents, while the journal is down
	reached []debt      // what its effects would have to be owed for, if writes are accepted
	begun   int64       // unix ms; no earlier was it sent to the master
	sent    bool        // to the master
	untold  bool        // the master's mapping does not tell a type that this write has taught
	ended   atomic.Bool // finish, nothing or abandon was called

	forgotten error // why nothing remembers a part of what it has done

	durable chan error // gets one value when all intents are durable, or cannot be said to be
}

type intentMark struct{ id, key string }

// A stage waits for appends and then goes on with the first error of them.
type stage struct {
	then func(error)

	mu   sync.Mutex
	left int
	err  error
}

// newStage makes a stage that ends when as many calls of land were made as
// calls of expect, and one more.
func newStage(then func(error)) *stage { return &stage{then: then, left: 1} }

func (s *stage) expect() {
	s.mu.Lock()
	s.left++
	s.mu.Unlock()
}

func (s *stage) land(err error) {
	s.mu.Lock()
	if err != nil && s.err == nil {
		s.err = err
	}
	s.left--
	last := s.left == 0
	s.mu.Unlock()
	if last {
		s.then(s.err)
	}
}

// begin journals the intent of a write. The error is an *esapi.Error: nothing
// was sent, and nothing is left behind that would keep the applier waiting.
func (c *capture) begin(ctx context.Context, docs []recordDoc, state []asked, key string) (*ticket, error) {
	r := c.r
	teach(translate.Lessons(ctx), docs, state)
	if err := r.journalReady(ctx); err != nil {
		return c.accept(ctx, docs, state, err)
	}
	if err := c.lease.holdWrite(); err != nil {
		return nil, err
	}
	t := &ticket{r: r, roles: c.lease.roles, begun: r.cfg.Now().UnixMilli(), durable: make(chan error, 1)}
	var records []*record
	var keys []string
	add := func(rec *record, key string) {
		rec.Kind, rec.ID, rec.Gateway = kindIntent, r.nextIntentID(), r.instance
		rec.From, rec.Epoch = t.roles.master.Name(), t.roles.epoch
		records, keys = append(records, rec), append(keys, key)
	}
	if state != nil {
		add(&record{State: state}, key)
	}
	r.stood.complete(docs)
	all := docs
	for len(docs) > 0 {
		n := c.intentLength(docs)
		add(&record{Docs: docs[:n]}, docs[0].Index)
		docs = docs[n:]
	}

	landed := newStage(func(err error) { t.durable <- err; close(t.durable) })
	var refused error
	for i, rec := range records {
		landed.expect()
		refused = r.intend(keys[i], rec, landed.land)
		if i == 0 { // those behind it must not make it wait
			for p := r.patience(); errors.Is(refused, journal.ErrBusy) && p.wait(ctx); {
				refused = r.intend(keys[i], rec, landed.land)
			}
		}
		if refused != nil {
			r.ledger.end(rec.ID)
			landed.land(refused)
			break
		}
		t.intents = append(t.intents, intentMark{rec.ID, keys[i]})
		t.records = append(t.records, rec)
	}
	landed.land(nil)
	if refused != nil {
		t.nothing()
		switch {
		case ctx.Err() != nil:
			r.counters.journalRefused.Add(1)
			return nil, ctx.Err()
		case errors.Is(refused, journal.ErrBusy): // it is not down, and a resync would be more work still
			r.counters.journalRefused.Add(1)
			return nil, r.journalDown(refused)
		}
		return c.accept(ctx, all, state, refused)
	}
	if r.cfg.IntentFirst {
		if err := t.waitDurable(ctx); err != nil {
			t.nothing()
			if ctx.Err() != nil {
				r.counters.journalRefused.Add(1)
				return nil, ctx.Err()
			}
			return c.accept(ctx, all, state, err)
		}
	}
	return t, nil
}

// intend appends an intent: from now on its write may be under way.
func (r *Replicator) intend(key string, rec *record, landed func(error)) error {
	until := r.cfg.Now().Add(r.cfg.WriteTimeout)
	if r.cfg.IntentFirst {
		until = until.Add(r.cfg.JournalTimeout) // it is sent that late at most
	}
	rec.Until = until.UnixMilli()
	r.ledger.begin(rec.ID, until)
	return r.append(key, rec, landed)
}

// intentLength is how many of docs, at least one, go into one intent.
func (c *capture) intentLength(docs []recordDoc) int {
	const (
		names = 100 // bytes of the members' names, and more
		worst = 6   // bytes that one of a text has at most: \u003c
	)
	room := c.r.cfg.MaxRecord - 300
	for n, d := range docs[:min(len(docs), intentDocs)] {
		room -= names + worst*(len(d.Index)+len(d.Type)+len(d.ID)+len(d.Routing)+len(d.Parent)+len(d.On)+len(d.OnRouting)+len(d.Taught))
		if room < 0 {
			return max(n, 1)
		}
	}
	return min(len(docs), intentDocs)
}

var errSlowJournal = errors.New("the journal did not confirm the write in time")

// waitDurable waits until the intents are durable, at most JournalTimeout.
func (t *ticket) waitDurable(ctx context.Context) error {
	select {
	case err := <-t.durable:
		return err
	default:
	}
	limit := time.NewTimer(t.r.cfg.JournalTimeout)
	defer limit.Stop()
	select {
	case err := <-t.durable:
		return err
	case <-limit.C:
		t.r.noteJournal(errSlowJournal)
		return errSlowJournal
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish journals the effects and, when all are durable, the done marks. It
// waits only while the journal's buffers are full. Effects that cannot be
// journaled are read back by the applier.
func (t *ticket) finish(ctx context.Context, effects []*record) {
	t.noteGone(ctx, effects)
	if t.untold { // the applier has that done first
		t.abandon(0)
		return
	}
	t.ended.Store(true)
	if t.debts != nil {
		t.settleOwed(effects, 0)
		return
	}
	if t.r.cfg.AcceptDown {
		t.reached = t.debtsOf(effects)
	}
	t.r.counters.effects.Add(int64(len(effects)))
	made := ofMade(effects)
	landed := newStage(func(err error) {
		if err != nil {
			t.abandon(0)
			return
		}
		t.r.made.noteMade(made)
		t.nothing()
	})
	for _, e := range effects {
		e.From, e.Epoch = t.roles.master.Name(), t.roles.epoch
		if e.Kind == kindEffect {
			e.Sent = t.begun
		}
	}
	land := landed.land
	for len(effects) > 0 {
		n, size := t.r.together(effects)
		landed.expect()
		if err := t.r.appendEncoded(ctx, effects[:n], size, land); err != nil {
			land(err)
			break
		}
		effects = effects[n:]
	}
	land(nil)
}

// nothing ends a write that has no effects left to journal: it writes the done
// marks.
func (t *ticket) nothing() {
	t.ended.Store(true)
	if t.debts != nil {
		t.settleOwed(nil, 0)
		return
	}
	landed := newStage(func(error) {
		t.r.ledger.prune(t.r.cfg.Now())
		t.r.gate.leave()
	})
	for _, in := range t.intents {
		done := func(err error) {
			if err != nil {
				t.r.ledger.set(in.id, intentFinished, time.Time{})
			} else {
				t.r.ledger.end(in.id)
			}
			landed.land(nil)
		}
		landed.expect()
		mark := &record{Kind: kindDone, ID: in.id}
		if err := t.r.appendTogether([]journal.Record{{Key: in.key, Value: mark.encode()}}, done); err != nil {
			done(err)
		}
	}
	landed.land(nil)
}

// abandon leaves a write to the applier, which reads its documents back after
// a while: the outcome is not known, or the effects could not be journaled.
func (t *ticket) abandon(after time.Duration) {
	t.ended.Store(true)
	if t.debts != nil {
		t.settleOwed(nil, after)
		return
	}
	at := t.r.cfg.Now().Add(after)
	for _, in := range t.intents {
		t.r.ledger.set(in.id, intentAbandoned, at)
	}
	t.r.ledger.prune(t.r.cfg.Now())
	t.r.gate.leave()
}

// again appends the intents once more, for the documents to be read back: nobody may be
// there any more who does that for the first ones. Until they are durable the write
// counts as under way.
func (t *ticket) again() {
	r := t.r
	for i, rec := range t.records {
		once := *rec
		once.Docs = slices.Clone(rec.Docs) // their memory is the bulk's
		once.ID, once.Until = r.nextIntentID(), r.cfg.Now().UnixMilli()
		r.ledger.set(once.ID, intentAbandoned, r.cfg.Now().Add(r.cfg.Grace))
		r.gate.hold()
		r.run(func() {
			defer r.gate.leave()
			for attempt := 0; r.background.Err() == nil; attempt++ {
				landed := make(chan error, 1)
				err := r.append(t.intents[i].key, &once, func(err error) { landed <- err })
				if err == nil {
					err = <-landed
				}
				if err == nil {
					return
				}
				pause(r.background, attempt)
			}
		})
	}
}

// rescue abandons a write that nobody has ended: carrying it out has panicked.
// It would be under way for ever, and the master could not be moved any more.
func (t *ticket) rescue() {
	if !t.ended.Load() {
		t.abandon(t.r.cfg.Grace)
	}
}

// key is where a record goes: to the others of its index.
func (r *record) key() string {
	switch {
	case r.Kind == kindEffect:
		return r.Index
	case r.What == whatIndex, r.Kind == kindResync:
		return r.Name
	}
	return stateKey
}

// append encodes and appends a record. landed is called when it is durable, or
// not known to be.
func (r *Replicator) append(key string, rec *record, landed func(error)) error {
	return r.appendOne(journal.Record{Key: key, Value: rec.encode()}, landed)
}

func (r *Replicator) appendOne(rec journal.Record, landed func(error)) error {
	err := r.cfg.Journal.Append(rec, func(_ journal.Position, err error) {
		r.noteJournal(err)
		landed(err)
	})
	if err != nil {
		r.noteJournal(err)
	}
	return err
}

// togetherBytes bounds the records that are appended in one go.
const togetherBytes = 512 << 10

// together is how many of the records, at least one, are appended in one go, and about how
// long they are.
func (r *Replicator) together(records []*record) (n, size int) {
	if _, can := r.cfg.Journal.(journal.Batcher); !can {
		return 1, 0
	}
	for n, rec := range records {
		more := rec.room()
		if n > 0 && size+more > togetherBytes {
			return n, size
		}
		size += more
	}
	return len(records), size
}

// appendTogether appends records that go together, and that nobody waits for.
func (r *Replicator) appendTogether(records []journal.Record, landed func(error)) error {
	batcher, can := r.cfg.Journal.(journal.Batcher)
	if !can {
		return r.appendOne(records[0], landed)
	}
	err := batcher.AppendAll(records, func(err error) {
		r.noteJournal(err)
		landed(err)
	})
	if err != nil {
		r.noteJournal(err)
	}
	return err
}

// An encoding is memory of records that go together.
type encoding struct {
	bytes   []byte
	records []journal.Record

	like *record // the effect whose beginnings these are
	head []byte  // up to the id
	mid  []byte  // the index
}

var encodings = sync.Pool{New: func() any { return new(encoding) }}

// appendEncoded encodes records that go together, one behind the other, and appends them.
func (r *Replicator) appendEncoded(ctx context.Context, records []*record, size int, landed func(error)) error {
	if len(records) == 1 {
		return r.appendPatiently(ctx, records[0].key(), records[0], landed)
	}
	e := encodings.Get().(*encoding)
	e.encode(records, size)
	err := r.appendAllPatiently(ctx, e.records, landed)
	if cap(e.bytes) <= 2*togetherBytes && cap(e.records) <= roomDocs {
		clear(e.records)
		encodings.Put(e) // the journal has copied all
	}
	return err
}

func (e *encoding) encode(records []*record, size int) {
	e.bytes = slices.Grow(e.bytes[:0], size)
	e.records = slices.Grow(e.records[:0], len(records))
	for _, rec := range records {
		from := len(e.bytes)
		if rec.Kind == kindEffect {
			e.effect(rec)
		} else {
			e.bytes = rec.appendTo(e.bytes)
		}
		e.records = append(e.records, journal.Record{Key: rec.key(), Value: e.bytes[from:len(e.bytes):len(e.bytes)]})
	}
	e.like = nil
}

// effect appends an effect: what it has in common with the one before is there already.
func (e *encoding) effect(rec *record) {
	if e.like == nil || e.like.From != rec.From || e.like.Epoch != rec.Epoch {
		e.head = rec.appendHead(e.head[:0])
	}
	if e.like == nil || e.like.Index != rec.Index {
		e.mid = appendMember(e.mid[:0], `,"index":`, rec.Index)
	}
	e.like = rec
	b := appendMember(append(e.bytes, e.head...), `,"id":`, rec.ID)
	e.bytes = rec.appendRest(append(b, e.mid...))
}

// appendPatiently waits while the journal's buffers are full.
func (r *Replicator) appendPatiently(ctx context.Context, key string, rec *record, landed func(error)) error {
	return r.appendAllPatiently(ctx, []journal.Record{{Key: key, Value: rec.encode()}}, landed)
}

// appendAllPatiently is appendPatiently of records that go together.
func (r *Replicator) appendAllPatiently(ctx context.Context, records []journal.Record, landed func(error)) error {
	p := r.patience()
	err := r.appendTogether(records, landed)
	for errors.Is(err, journal.ErrFull) && p.wait(ctx) {
		if len(records) > 1 {
			return r.appendInParts(ctx, p, records, landed)
		}
		err = r.appendTogether(records, landed)
	}
	return err
}

// appendInParts appends records for which there was no room together: others that append
// less at a time would always be faster.
func (r *Replicator) appendInParts(ctx context.Context, p patience, records []journal.Record, landed func(error)) error {
	over, taken := newStage(landed), false
	for n := max(len(records)/2, 1); len(records) > 0; {
		n = min(n, len(records))
		over.expect()
		err := r.appendTogether(records[:n], over.land)
		switch {
		case err == nil:
			records, taken = records[n:], true
		case errors.Is(err, journal.ErrFull) && p.wait(ctx):
			over.land(nil)
			n = max(n/2, 1)
		case !taken:
			return err
		default:
			over.land(err)
			over.land(nil)
			return nil
		}
	}
	over.land(nil)
	return nil
}

// A patience is with a journal that is full.
type patience struct {
	pause    time.Duration
	deadline time.Time
}

func (r *Replicator) patience() patience {
	return patience{time.Millisecond, time.Now().Add(r.cfg.JournalTimeout)}
}

// wait waits for a while, longer each time. It reports false if there was enough of
// that.
func (p *patience) wait(ctx context.Context) bool {
	if time.Now().After(p.deadline) {
		return false
	}
	select {
	case <-time.After(p.pause):
	case <-ctx.Done():
		return false
	}
	p.pause = min(2*p.pause, 100*time.Millisecond)
	return true
}

// journalReady refuses early when the journal was seen to fail and does not
// answer now.
func (r *Replicator) journalReady(ctx context.Context) error {
	failed := r.journalErr.Load()
	if failed == nil {
		return nil
	}
	if r.owed.isDown() {
		return *failed // when it is back is found out elsewhere
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := r.cfg.Journal.Ping(ctx); err != nil {
		return err
	}
	r.journalErr.Store(nil)
	return nil
}

// noteJournal remembers whether the journal works.
func (r *Replicator) noteJournal(err error) {
	switch {
	case err == nil:
		if r.journalErr.Load() != nil {
			r.journalErr.Store(nil)
		}
	case !errors.Is(err, journal.ErrTooLarge) && !errors.Is(err, journal.ErrBusy):
		r.journalErr.Store(&err)
	}
}

func (r *Replicator) journalDown(err error) error {
	return unavailable("the journal cannot take the write: %v; nothing was written, try again", err)
}

func (r *Replicator) nextIntentID() string {
	return r.instance + "-" + strconv.FormatUint(r.intentSeq.Add(1), 36)
}
