package replicate

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// With Config.AcceptFile writes go through while the journal is down. What they touch is
// owed to the follower: it is kept in that file before a write is sent, so that a
// kill does not forget it, and journaled when the journal is back, an index as a
// resync. The master is not moved before: this gateway does not vote for it, and the
// others wait for its vote, however long it is silent.

// A debt is an index to be resynced, or a part of the state to be brought over.
type debt struct {
	asked
	From  string `json:"from"` // the master
	Epoch uint64 `json:"epoch"`
}

// A debtState is what is known of a debt in this process.
type debtState struct {
	touched uint64    // counts the writes that have made it
	writes  int       // under way
	at      time.Time // when no write that it came of can be under way any more
}

// owed are the debts of this gateway. A nil *owed is that of one which refuses
// writes while the journal is down.
type owed struct {
	r    *Replicator
	path string
	kick chan struct{} // there are some; capacity 1

	syncDir func(path string) error

	mu       sync.Mutex
	lock     io.Closer // the file is nobody else's; nil if it is not needed, and after the last
	file     *os.File  // appended to; nil before the first debt and after the last
	list     map[debt]*debtState
	former   []string // instances that have written the file before, until they are buried
	down     bool     // writes go without the journal
	problem  string   // why the debts cannot be journaled yet
	accepted int64
}

// maxOwed bounds the debts; beyond, writes of more indices are refused.
const maxOwed = 10_000

// errOwedFull is why a write is refused.
var errOwedFull = errors.New("more indices were written to while the journal is down than are remembered")

// openOwed reads what a former process has left. The file belongs to one gateway at a
// time: two would strike off each other's debts.
func openOwed(r *Replicator, path string) (*owed, error) {
	o := &owed{r: r, path: path, kick: make(chan struct{}, 1), list: map[debt]*debtState{}, syncDir: syncDir}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !r.cfg.AcceptDown {
		return o, nil
	}
	locked := o.take()
	if locked != nil && (r.cfg.AcceptDown || !errors.Is(locked, journal.ErrLocked)) {
		return nil, locked
	}
	if err := o.load(); err != nil {
		return nil, errors.Join(err, o.free())
	}
	if locked != nil && len(o.list) > 0 {
		return nil, locked
	}
	if locked != nil {
		o.former = nil // they are the other gateway's
	}
	return o, nil
}

// take locks the file. It is called with the lock held, or before anyone else knows o.
func (o *owed) take() error {
	if o.lock != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.path), 0o700); err != nil {
		return err
	}
	lock, err := journal.Lock(o.path + ".lock")
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("%s is %w: restart the process instead of reloading it with other clusters or another journal, or give each process a data folder of its own", o.path, err)
	}
	o.lock = lock
	return err
}

// free undoes take.
func (o *owed) free() error {
	if o.lock == nil {
		return nil
	}
	lock := o.lock
	o.lock = nil
	return lock.Close()
}

func (o *owed) load() error {
	r, path := o.r, o.path
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line owedLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // the last one, which was being written: its write was not sent
		}
		if line.Instance != "" {
			if r.members != nil && !slices.Contains(o.former, line.Instance) {
				o.former = append(o.former, line.Instance)
			}
			continue
		}
		o.list[line.debt] = &debtState{at: r.cfg.Now().Add(r.cfg.Grace)}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// An owedLine is a line of the file: a debt, or the instance that has written the
// lines behind it.
type owedLine struct {
	Instance string `json:"instance,omitempty"`
	debt
}

// introduce makes the instance durable before the other gateways hear of it: they wait
// for it until it says that it ends, or its next process does.
func (o *owed) introduce() error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil || !o.r.cfg.AcceptDown && len(o.list) == 0 {
		return nil
	}
	if err := o.rewrite(); err != nil {
		return fmt.Errorf("the file for what is written while the journal is down cannot be written; make room for it, or have journal_down refuse writes: %w", err)
	}
	return nil
}

// bury has the former processes not be waited for any more, as soon as they are silent.
func (o *owed) bury(ctx context.Context) {
	o.mu.Lock()
	former := o.former
	o.mu.Unlock()
	m := o.r.members
	if m == nil || len(former) == 0 {
		return
	}
	for !m.silent(former) {
		sleep(ctx, owedLook)
		if ctx.Err() != nil {
			return
		}
	}
	m.bury(ctx, former)
	if ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.former = nil
	if err := o.rewrite(); err != nil {
		o.r.log.Debug("the former processes stay in the file", "reason", err)
	}
}

// owe makes debts durable, before the write that they come of is sent.
func (o *owed) owe(debts []debt) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var news []debt
	for _, d := range debts {
		if o.list[d] == nil {
			news = append(news, d)
		}
	}
	if len(news) > 0 && len(o.list)+len(news) > maxOwed {
		return errOwedFull
	}
	if len(news) > 0 {
		if err := o.append(news); err != nil {
			return fmt.Errorf("what is written while the journal is down cannot be kept: %w", err)
		}
	}
	for _, d := range debts {
		s := o.list[d]
		if s == nil {
			s = new(debtState)
			o.list[d] = s
		}
		s.touched++
		s.writes++
	}
	o.accepted++
	o.r.gate.owe(true)
	select {
	case o.kick <- struct{}{}:
	default:
	}
	return nil
}

// append writes debts to the file. It is called with the lock held.
func (o *owed) append(news []debt) error {
	if o.file == nil {
		if err := o.rewrite(); err != nil {
			return err
		}
	}
	var lines bytes.Buffer
	for _, d := range news {
		o.line(&lines, owedLine{debt: d})
	}
	// A line that was begun before ends here, so that none is broken by it.
	if _, err := o.file.Write(append([]byte("\n"), lines.Bytes()...)); err != nil {
		return err
	}
	return o.file.Sync()
}

func (o *owed) line(to *bytes.Buffer, l owedLine) {
	raw, err := json.Marshal(l)
	if err != nil {
		panic("replicate: a line of strings and numbers cannot fail: " + err.Error())
	}
	to.Write(append(raw, '\n'))
}

// rewrite makes the file what the list is. It is called with the lock held.
func (o *owed) rewrite() error {
	if err := o.take(); err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, instance := range append(slices.Clip(o.former), o.r.instance) {
		o.line(&lines, owedLine{Instance: instance})
	}
	for d := range o.list {
		o.line(&lines, owedLine{debt: d})
	}
	f, err := os.OpenFile(o.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(lines.Bytes())
	if err = errors.Join(err, f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	if o.file != nil { // the name is about to be that of another file
		o.file.Close()
		o.file = nil
	}
	if err = os.Rename(o.path+".new", o.path); err == nil {
		err = o.syncDir(filepath.Dir(o.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o.file = f
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// written says that a write has come to its end, or will have after a while.
func (o *owed) written(debts []debt, after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.r.cfg.Now().Add(after)
	for _, d := range debts {
		if s := o.list[d]; s != nil {
			s.writes--
			if at.After(s.at) {
				s.at = at
			}
		}
	}
}

// isDown reports whether writes go without the journal.
func (o *owed) isDown() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down
}

func (o *owed) setDown(down bool, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == down {
		return
	}
	o.down = down
	if down {
		o.r.log.Warn("the journal is down; writes go through, and what they touch is resynced when it is back", "reason", why)
	} else {
		o.r.log.Info("the journal is back; writes are journaled again")
	}
}

// count is how many indices and parts of the state are owed, and why they cannot be
// journaled yet.
func (o *owed) count() (n int, accepted int64, problem string) {
	if o == nil {
		return 0, 0, ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list), o.accepted, o.problem
}

// run journals the debts when the journal is back, until ctx ends.
func (o *owed) run(ctx context.Context) {
	defer o.close()
	o.r.run(func() { o.bury(ctx) })
	for ctx.Err() == nil {
		if n, _, _ := o.count(); n == 0 && !o.isDown() {
			select {
			case <-o.kick:
			case <-ctx.Done():
				return
			}
		}
		err := o.pay(ctx)
		o.mu.Lock()
		o.problem = ""
		if err != nil {
			o.problem = err.Error()
		}
		o.mu.Unlock()
		sleep(ctx, owedLook)
	}
}

// close gives the file free; a write that comes later opens it again.
func (o *owed) close() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
	if err := o.free(); err != nil {
		o.r.log.Warn("the file for what is written while the journal is down stays locked", "reason", err)
	}
}

// owedChunk bounds what one record says of the state, as names are long at times, and
// how much is journaled a second time after a failure.
const owedChunk = 500

// owedLook is how often it is looked at whether the journal is back.
const owedLook = 500 * time.Millisecond

// pay journals the debts whose writes are over, if the journal works, and forgets each
// chunk that has landed: what is left is less each time.
func (o *owed) pay(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, o.r.cfg.JournalTimeout)
	defer cancel()
	if err := o.r.cfg.Journal.Ping(within); err != nil {
		return fmt.Errorf("the journal does not work: %w", err)
	}
	o.r.journalErr.Store(nil)
	o.setDown(false, nil)
	due := o.due()
	var state, all []debt
	for d := range due {
		if d.What == whatResync {
			all = append(all, d)
		} else {
			state = append(state, d)
		}
	}
	for chunk := range slices.Chunk(append(state, all...), owedChunk) { // indices are resynced when there is what they need
		if err := o.journal(ctx, chunk); err != nil {
			return err
		}
		if err := o.paid(chunk, due); err != nil {
			return err
		}
	}
	return nil
}

// journal appends records for debts and waits until all are durable.
func (o *owed) journal(ctx context.Context, debts []debt) error {
	ctx, cancel := context.WithTimeout(ctx, o.r.cfg.JournalTimeout)
	defer cancel()
	over := make(chan error, 1)
	landed := newStage(func(err error) { over <- err })
	for _, rec := range o.records(debts) {
		landed.expect()
		if err := o.r.appendPatiently(ctx, rec.key(), rec, landed.land); err != nil {
			landed.land(err)
			break
		}
	}
	landed.land(nil)
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return errSlowJournal
	}
}

// records are what has debts paid: an intent of the state whose outcome is not known,
// for the applier to bring over what the master has, and the resyncs.
func (o *owed) records(debts []debt) (list []*record) {
	r := o.r
	var state *record // all are of one master: it is not moved meanwhile
	for _, d := range debts {
		if d.What == whatResync {
			list = append(list, resyncRecord(r, d.From, d.Epoch, d.Name))
			continue
		}
		if state == nil {
			state = &record{Kind: kindIntent, ID: r.nextIntentID(), Gateway: r.instance, From: d.From, Epoch: d.Epoch, Until: r.cfg.Now().UnixMilli()}
			r.ledger.set(state.ID, intentAbandoned, r.cfg.Now())
			list = append(list, state)
		}
		state.State = append(state.State, d.asked)
	}
	return list
}

// due are the debts whose writes are over, and which of them were counted.
func (o *owed) due() map[debt]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, due := o.r.cfg.Now(), map[debt]uint64{}
	for d, s := range o.list {
		if s.writes <= 0 && !now.Before(s.at) && o.r.clusterNamed(d.From) != nil {
			due[d] = s.touched
		}
	}
	return due
}

// paid forgets debts, unless they were made once more since they were due.
func (o *owed) paid(debts []debt, due map[debt]uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := map[debt]*debtState{}
	for _, d := range debts {
		if s := o.list[d]; s != nil && s.touched == due[d] {
			gone[d] = s
			delete(o.list, d)
		}
	}
	if err := o.rewrite(); err != nil {
		for d, s := range gone {
			o.list[d] = s
		}
		return err
	}
	o.r.log.Info("what was written while the journal was down is journaled", "records", len(gone), "left", len(o.list))
	o.r.gate.owe(len(o.list) > 0)
	return nil
}

// accept lets a write through although the journal does not take it, if the
// configuration says so: what it touches is owed.
func (c *capture) accept(ctx context.Context, docs []recordDoc, state []asked, cause error) (*ticket, error) {
	r := c.r
	if !r.cfg.AcceptDown {
		r.counters.journalRefused.Add(1)
		return nil, r.journalDown(cause)
	}
	debts, err := c.debts(ctx, docs, state)
	if err != nil {
		return nil, unavailable("the journal is down, and what the write touches cannot be found out: %v; nothing was written, try again", err)
	}
	if err := c.lease.holdWrite(); err != nil {
		return nil, err
	}
	if err := r.owed.owe(debts); err != nil {
		r.gate.leave()
		r.counters.journalRefused.Add(1)
		return nil, unavailable("%v; nothing was written, bring the journal back", err)
	}
	r.owed.setDown(true, cause)
	t := &ticket{r: r, roles: c.lease.roles, durable: make(chan error), debts: debts}
	close(t.durable)
	return t, nil
}

// debts are what a write may touch: concrete indices where they are there already.
func (c *capture) debts(ctx context.Context, docs []recordDoc, state []asked) ([]debt, error) {
	seen := map[debt]bool{}
	var list []debt
	add := func(a asked) {
		d := debt{asked: a, From: c.lease.roles.master.Name(), Epoch: c.lease.roles.epoch}
		if !seen[d] {
			seen[d] = true
			list = append(list, d)
		}
	}
	names := map[string]bool{}
	for _, d := range docs {
		if names[d.Index] {
			continue
		}
		names[d.Index] = true
		index, ok, err := c.lease.roles.master.Facts().Lookup(ctx, d.Index)
		if err != nil {
			return nil, err
		}
		if ok {
			add(asked{stateRef: stateRef{whatResync, index.Name}})
		} else {
			add(asked{stateRef: stateRef{whatResync, d.Index}})
		}
	}
	for _, a := range state {
		add(a)
		if a.What == whatIndex {
			add(asked{stateRef: stateRef{whatResync, a.Name}})
		}
	}
	return list, nil
}

// accepted reports whether a write that its journal record does not prove may be
// acknowledged all the same, since what it touches is owed now.
func (c *capture) accepted(ctx context.Context, t *ticket, cause error) bool {
	if !c.r.cfg.AcceptDown {
		return false
	}
	var docs []recordDoc
	var state []asked
	for _, rec := range t.records {
		docs, state = append(docs, rec.Docs...), append(state, rec.State...)
	}
	debts, err := c.debts(ctx, docs, state)
	for _, d := range t.reached {
		if !slices.Contains(debts, d) {
			debts = append(debts, d)
		}
	}
	if err == nil {
		err = c.r.owed.owe(debts)
	}
	if err != nil {
		c.r.log.Warn("what was written cannot be kept either", "reason", err)
		return false
	}
	c.r.owed.setDown(true, cause)
	c.r.owed.written(debts, 0)
	return true
}

// settleOwed notes what a write has done whose records are not journaled: the
// indices that its answer tells may be others than those that it named.
func (t *ticket) settleOwed(effects []*record, after time.Duration) {
	more := slices.DeleteFunc(t.debtsOf(effects), func(d debt) bool { return slices.Contains(t.debts, d) })
	if len(more) > 0 {
		if err := t.r.owed.owe(more); err != nil {
			t.r.log.Error("an index that was written to while the journal is down is not resynced; repair it with esperanto verify", "index", more[0].Name, "reason", err)
			t.forgotten = err
			more = nil
		}
	}
	t.r.owed.written(append(more, t.debts...), after)
	t.r.gate.leave()
}

// debtsOf are what effects have to do with.
func (t *ticket) debtsOf(effects []*record) (list []debt) {
	seen := map[debt]bool{}
	for _, e := range effects {
		name := e.Name
		if e.Kind == kindEffect {
			name = e.Index
		}
		d := debt{From: t.roles.master.Name(), Epoch: t.roles.epoch, asked: asked{stateRef: stateRef{whatResync, name}}}
		if e.Kind == kindState {
			d.stateRef = stateRef{e.What, name}
		}
		if !seen[d] && !(e.Kind == kindState && e.Deleted) {
			seen[d] = true
			list = append(list, d)
		}
	}
	return list
}

// owedState completes a Status by what is owed.
func (r *Replicator) owedState(s *Status) {
	n, accepted, problem := r.owed.count()
	s.Owed, s.Counters.Accepted = n, accepted
	if n > 0 {
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("%d indices and definitions were written while the journal was down and are resynced when it is back; the master is not moved before: %s", n, cmp.Or(problem, "they are being journaled")))
	}
}

// owesNothing refuses to move the master while something is owed.
func (r *Replicator) owesNothing() error {
	n, _, problem := r.owed.count()
	if n == 0 {
		return nil
	}
	return &SwitchError{Reason: fmt.Sprintf("%d indices and definitions were written while the journal was down: the follower does not have what the master has", n),
		NextSteps: append(notNothing(problem), "wait until they are journaled and resynced")}
}
