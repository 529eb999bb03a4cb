package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A kafkaTable is a compacted topic of one partition and a copy of it in
// memory, which a goroutine keeps up to date from the first use on.
type kafkaTable struct {
	k     *Kafka
	name  string
	topic string
	once  sync.Once

	mu     sync.Mutex
	values map[string][]byte
	bytes  int
	swaps  map[string]*swapped // of the keys that are swapped
	trials map[string]*trial   // of this process, under way
	target int64               // the end of the topic when it was opened, -1 before
	next   int64               // all before this is in values
	seen   int64               // the highest that next was
	err    error               // why the copy is not kept up, or nil
	moved  chan struct{}
}

// Table returns the same table for the same name. Its operations return an
// error if the name is not allowed.
func (k *Kafka) Table(name string) Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.tables[name]
	if t == nil {
		t = &kafkaTable{k: k, name: name, topic: k.opts.Topic + "." + name, values: map[string][]byte{}, swaps: map[string]*swapped{}, trials: map[string]*trial{}, target: -1, moved: make(chan struct{})}
		if checkTableName(name) == nil { // else nothing is kept of it
			k.tables[name] = t
		}
	}
	return t
}

// open starts the goroutine at the first use and waits until the copy is as
// complete as the topic was then.
func (t *kafkaTable) open(ctx context.Context) error {
	if err := checkTableName(t.name); err != nil {
		return err
	}
	t.once.Do(func() {
		t.k.mu.Lock()
		defer t.k.mu.Unlock()
		if !t.k.closed {
			t.k.owned.Go(t.run)
		}
	})
	return t.wait(ctx, func() bool { return t.target >= 0 && t.next >= t.target })
}

// wait waits until ok, which is called with the mutex held. While Kafka is
// known to be away it does not wait.
func (t *kafkaTable) wait(ctx context.Context, ok func() bool) error {
	for {
		t.mu.Lock()
		done, err, moved := ok(), t.err, t.moved
		t.mu.Unlock()
		if t.k.down.Err() != nil {
			return ErrClosed
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-t.k.down.Done():
		case <-ctx.Done():
			return fmt.Errorf("waiting for table %s, which is read up to record %d: %w", t.name, t.upTo(), context.Cause(ctx))
		}
	}
}

func (t *kafkaTable) upTo() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// set changes the state and wakes who waits.
func (t *kafkaTable) set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.moved)
	t.moved = make(chan struct{})
}

// run prepares the topic and then reads it until the journal is closed. Errors
// are told to who uses the table, and it is tried again.
func (t *kafkaTable) run() {
	for {
		err := t.read()
		if t.k.down.Err() != nil {
			t.set(func() {})
			return
		}
		t.set(func() {
			t.err = err
			t.values, t.bytes, t.target, t.next = map[string][]byte{}, 0, -1, 0
			t.swaps, t.trials = map[string]*swapped{}, map[string]*trial{} // see Swap
		})
		t.k.opts.Logf("table %s: %v", t.name, err)
		select {
		case <-time.After(retryInterval):
		case <-t.k.down.Done():
			t.set(func() {})
			return
		}
	}
}

func (t *kafkaTable) prepare() (end int64, err error) {
	ctx, cancel := context.WithTimeout(t.k.down, t.k.opts.checkTimeout())
	defer cancel()
	if err := t.k.prepareTopic(ctx, t.topic, 1, true, true); err != nil {
		return 0, err
	}
	ends, err := t.k.admin.ListEndOffsets(ctx, t.topic)
	if err != nil {
		return 0, fmt.Errorf("%w: topic %s: %w", ErrUnavailable, t.topic, err)
	}
	e, ok := ends.Lookup(t.topic, 0)
	if !ok || e.Err != nil {
		return 0, fmt.Errorf("%w: topic %s: %w", ErrUnavailable, t.topic, e.Err)
	}
	return e.Offset, nil
}

// tableFetchBytes is what is fetched of a table at once; a larger record comes alone.
const tableFetchBytes = 8 << 20

// read returns when the table cannot be kept up.
func (t *kafkaTable) read() error {
	end, err := t.prepare()
	if err != nil {
		return err
	}
	opts, err := commonOptions(t.k.opts)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(tableFetchBytes),
		kgo.FetchMaxWait(time.Second),
	)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	// A broker that was deposed may tell an older end: nobody is shown less than before.
	t.set(func() { t.err, t.target = nil, max(end, t.seen) })
	for {
		fetches := cl.PollFetches(t.k.down)
		if t.k.down.Err() != nil {
			return ErrClosed
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("%w: topic %s: %w", ErrUnavailable, t.topic, e.Err)
		}
		t.set(func() { fetches.EachRecord(t.apply) })
	}
}

// apply is called with the mutex held.
func (t *kafkaTable) apply(r *kgo.Record) {
	if key, expects, ok := swapOf(r); ok {
		t.applySwap(r, key, expects)
	} else if key := string(r.Key); !t.isSwapped(key) {
		t.keep(key, r.Value)
	}
	t.next = r.Offset + 1
	t.seen = max(t.seen, t.next)
}

// keep changes the copy; nil is no value.
func (t *kafkaTable) keep(key string, value []byte) {
	if old, ok := t.values[key]; ok {
		t.bytes -= len(key) + len(old)
		delete(t.values, key)
	}
	if value != nil {
		t.bytes += len(key) + len(value)
		t.values[key] = value
	}
}

// Put returns when the value is confirmed and has come back: then the copy
// holds all that was written before it, by whomever.
func (t *kafkaTable) Put(ctx context.Context, key string, value []byte) error {
	if err := t.fits(ctx, key, value); err != nil {
		return err
	}
	if err := t.unswapped(key); err != nil {
		return err
	}
	return t.write(ctx, key, &kgo.Record{Key: []byte(key), Value: append([]byte{}, value...)})
}

// fits opens the table and refuses what it cannot keep.
func (t *kafkaTable) fits(ctx context.Context, key string, value []byte) error {
	n := len(key) + len(value)
	if n > t.k.opts.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes for %q in table %s, at most %d", ErrTooLarge, n, key, t.name, t.k.opts.MaxRecordBytes)
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	bytes := t.bytes
	t.mu.Unlock()
	if bytes+n > t.k.opts.MaxTableBytes {
		return fmt.Errorf("%w: table %s has %d bytes, at most %d", ErrFull, t.name, bytes, t.k.opts.MaxTableBytes)
	}
	return nil
}

// Delete is like Put.
func (t *kafkaTable) Delete(ctx context.Context, key string) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.unswapped(key); err != nil {
		return err
	}
	return t.write(ctx, key, &kgo.Record{Key: []byte(key)})
}

// write waits on its own for ctx, because the client does not always.
func (t *kafkaTable) write(ctx context.Context, key string, record *kgo.Record) error {
	type result struct {
		offset int64
		err    error
	}
	written := make(chan result, 1)
	record.Topic = t.topic
	if err := t.k.produce(record, func(r *kgo.Record, err error) {
		written <- result{r.Offset, err}
	}); err != nil {
		return err
	}
	var r result
	select {
	case r = <-written:
	case <-ctx.Done():
		return fmt.Errorf("table %s: %q is not confirmed, and it is unknown whether it was written: %w", t.name, key, context.Cause(ctx))
	}
	if r.err != nil {
		return fmt.Errorf("table %s: %q is not confirmed, and it is unknown whether it was written: %w", t.name, key, r.err)
	}
	if r.offset < 0 {
		return fmt.Errorf("table %s: %q is written, but Kafka did not tell where: read it again", t.name, key)
	}
	return t.wait(ctx, func() bool { return t.next > r.offset })
}

// Get reads the copy.
func (t *kafkaTable) Get(ctx context.Context, key string) ([]byte, error) {
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.values[key]), nil
}

// Scan reads the copy as it was when Scan was called.
func (t *kafkaTable) Scan(ctx context.Context, f func(key string, value []byte) bool) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	values := maps.Clone(t.values)
	t.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !f(key, slices.Clone(values[key])) {
			return nil
		}
	}
	return nil
}
