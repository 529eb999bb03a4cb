package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// deadLetters keeps what the follower rejects for good, in the table "dead".
type deadLetters struct {
	table journal.Table

	mu      sync.Mutex
	keys    map[string]bool
	changes int // of keys
}

// key says what a dead letter is about: one document or thing has one letter.
func (d *DeadLetter) key() string {
	parts := []string{d.Cluster, d.Index, d.What, d.Type, d.ID}
	if d.What == "record" {
		parts = append(parts, d.Reason)
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// load reads which letters there are. Where they change all the time it leaves it at those
// that this process knows of.
func (l *deadLetters) load(ctx context.Context) error {
	for range 5 {
		l.mu.Lock()
		began := l.changes
		l.mu.Unlock()
		keys := map[string]bool{}
		err := l.table.Scan(ctx, func(key string, _ []byte) bool {
			keys[key] = true
			return true
		})
		if err != nil {
			return err
		}
		l.mu.Lock()
		same := l.changes == began
		if same {
			l.keys = keys
		}
		l.mu.Unlock()
		if same {
			return nil
		}
	}
	return nil
}

// set notes that there is a letter, or that there is none any more.
func (l *deadLetters) set(key string, there bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	if there {
		l.keys[key] = true
	} else {
		delete(l.keys, key)
	}
}

// refreshDead takes notice of the letters of other processes.
func (r *Replicator) refreshDead(ctx context.Context) error {
	if !r.cfg.SharedJournal || !r.known.Load() {
		return nil
	}
	return r.applier.dead.load(ctx)
}

func (l *deadLetters) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}

func (l *deadLetters) has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[key]
}

func (l *deadLetters) put(ctx context.Context, d DeadLetter) error {
	d.Key = d.key()
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := l.table.Put(ctx, d.Key, raw); err != nil {
		return err
	}
	l.set(d.Key, true)
	return nil
}

func (l *deadLetters) drop(ctx context.Context, key string) error {
	if err := l.table.Delete(ctx, key); err != nil {
		return err
	}
	l.set(key, false)
	return nil
}

// applied drops the letter of what was applied after all.
func (l *deadLetters) applied(ctx context.Context, d DeadLetter) error {
	if key := d.key(); l.has(key) {
		return l.drop(ctx, key)
	}
	return nil
}

// dropIndex drops the letters of an index that is gone.
func (l *deadLetters) dropIndex(ctx context.Context, cluster, index string) error {
	prefix := url.PathEscape(cluster) + "/" + url.PathEscape(index) + "/"
	for _, key := range l.list("", 0) {
		if strings.HasPrefix(key, prefix) {
			if err := l.drop(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// list returns the keys behind after, in order, at most limit (0: all).
func (l *deadLetters) list(after string, limit int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for key := range l.keys {
		if key > after {
			list = append(list, key)
		}
	}
	slices.Sort(list)
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list
}

func (l *deadLetters) get(ctx context.Context, key string) (d DeadLetter, ok bool, err error) {
	raw, err := l.table.Get(ctx, key)
	if err != nil || raw == nil {
		return d, false, err
	}
	return d, true, json.Unmarshal(raw, &d)
}

// bury makes a dead letter, however long it takes. An error means that ctx has
// ended.
func (a *applier) bury(ctx context.Context, d DeadLetter) error {
	d.Time = a.r.cfg.Now()
	err := a.persist(ctx, func() error { return a.dead.put(ctx, d) })
	if err == nil {
		a.r.counters.dead.Add(1)
		a.r.log.Error("dead letter", "cluster", d.Cluster, "what", d.What, "index", d.Index, "id", d.ID, "version", d.Version, "reason", d.Reason)
	}
	return err
}

// MaxDeadList bounds one answer of DeadLetters.
const MaxDeadList = 10_000

// DeadLetters lists dead letters in the order of their keys, from the one
// behind after on ("" for the first), at most limit. If limit is zero, 10,000.
func (r *Replicator) DeadLetters(ctx context.Context, after string, limit int) ([]DeadLetter, error) {
	letters := []DeadLetter{}
	if !r.replicating() {
		return letters, nil
	}
	if limit <= 0 || limit > MaxDeadList {
		limit = MaxDeadList
	}
	if err := r.refreshDead(ctx); err != nil {
		return letters, err
	}
	for _, key := range r.applier.dead.list(after, limit) {
		d, ok, err := r.applier.dead.get(ctx, key)
		if err != nil {
			return letters, err
		}
		if ok {
			letters = append(letters, d)
		}
	}
	return letters, nil
}

// RetryDeadLetters reads what the letters are about from the master, as it is
// now, and applies it again; without keys all of them. It tells how many letters
// are gone and how many are left, with a newer reason, or because the master was
// moved since: they can be retried when it is moved back.
func (r *Replicator) RetryDeadLetters(ctx context.Context, keys ...string) (done, left int, err error) {
	if !r.replicating() {
		return 0, 0, nil
	}
	if err := r.refreshDead(ctx); err != nil {
		return 0, 0, err
	}
	dead := &r.applier.dead
	if len(keys) == 0 {
		keys = dead.list("", 0)
	}
	for _, key := range keys {
		d, ok, err := dead.get(ctx, key)
		if err != nil {
			return done, left, err
		}
		if !ok {
			continue
		}
		gone, err := r.applier.retry(ctx, d)
		if err != nil {
			return done, left, err
		}
		if gone {
			done++
		} else {
			left++
		}
	}
	return done, left, nil
}

// retry applies what a letter is about once more.
func (a *applier) retry(ctx context.Context, d DeadLetter) (gone bool, err error) {
	p := a.pairs[d.From]
	if p == nil || d.What == "record" || d.What == "intent" {
		return false, nil
	}
	lease, err := a.r.enter(ctx, true) // the master stays where it is
	if err != nil {
		return false, err
	}
	defer lease.Exit()
	if lease.Master() != p.from {
		return false, nil // it would take what the former master had to the new one
	}
	if err := a.dead.drop(ctx, d.Key); err != nil {
		return false, err
	}
	if d.What == "" {
		p.indices.forget(d.Index)
		err = p.equalise(ctx, []cluster.DocID{{Index: d.Index, Type: d.Type, ID: d.ID, Routing: d.Routing}})
	} else {
		var problem error
		problem, err = p.applyState(ctx, stateRef{d.What, d.Index}, nil)
		if problem != nil {
			d.Reason = problem.Error()
			err = a.dead.put(ctx, d)
		}
	}
	if err != nil {
		return false, errors.Join(err, a.dead.put(context.WithoutCancel(ctx), d))
	}
	return !a.dead.has(d.Key), nil
}

// DropDeadLetters forgets dead letters; without keys all of them.
func (r *Replicator) DropDeadLetters(ctx context.Context, keys ...string) (dropped int, err error) {
	if !r.replicating() {
		return 0, nil
	}
	if err := r.refreshDead(ctx); err != nil {
		return 0, err
	}
	dead := &r.applier.dead
	if len(keys) == 0 {
		keys = dead.list("", 0)
	}
	for _, key := range keys {
		if !dead.has(key) {
			continue
		}
		if err := dead.drop(ctx, key); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}
