package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Table returns a table that is stored beside the records. Its operations
// return an error if the name is not allowed.
func (e *Embedded) Table(name string) Table { return &embeddedTable{e, name} }

type embeddedTable struct {
	e    *Embedded
	name string
}

// key is t/<table> 0 <key>; a table's name cannot contain 0.
func (t *embeddedTable) key(key string) []byte {
	return append(append([]byte("t/"+t.name), 0), key...)
}

func (t *embeddedTable) Put(ctx context.Context, key string, value []byte) error {
	if err := checkTableName(t.name); err != nil {
		return err
	}
	if n := len(key) + len(value); n > t.e.opts.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes for %q in table %s, at most %d", ErrTooLarge, n, key, t.name, t.e.opts.MaxRecordBytes)
	}
	k, v := t.key(key), append([]byte{}, value...)
	return t.e.do(ctx, len(k)+len(v), func(b *pebble.Batch) error { return b.Set(k, v, nil) })
}

// Swap is one at a time, also when the disk is slower than its caller waits: the
// next one sees what became of it.
func (t *embeddedTable) Swap(ctx context.Context, key string, before, after []byte) (bool, error) {
	if after == nil {
		return false, errNilSwap
	}
	select {
	case t.e.swapping <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("waiting for the disk of the embedded journal: %w", context.Cause(ctx))
	}
	now, err := t.Get(ctx, key)
	if err != nil || !sameValue(now, before) {
		<-t.e.swapping
		return false, err
	}
	after = bytes.Clone(after)
	written := make(chan error, 1)
	go func() {
		defer func() { <-t.e.swapping }()
		written <- t.Put(context.WithoutCancel(ctx), key, after)
	}()
	select {
	case err := <-written:
		return err == nil, err
	case <-ctx.Done():
		return false, fmt.Errorf("waiting for the disk of the embedded journal: %w", context.Cause(ctx))
	}
}

var errNilSwap = errors.New("a key of a table cannot be deleted by a swap")

// sameValue tells a value from one that is not there, too.
func sameValue(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func (t *embeddedTable) Delete(ctx context.Context, key string) error {
	if err := checkTableName(t.name); err != nil {
		return err
	}
	k := t.key(key)
	return t.e.do(ctx, len(k), func(b *pebble.Batch) error { return b.Delete(k, nil) })
}

func (t *embeddedTable) Get(_ context.Context, key string) ([]byte, error) {
	if err := checkTableName(t.name); err != nil {
		return nil, err
	}
	if err := t.e.use(); err != nil {
		return nil, err
	}
	defer t.e.using.Done()
	v, err := t.e.db.value(t.key(key))
	if err != nil {
		return nil, fmt.Errorf("%q in table %s: %w", key, t.name, err)
	}
	return v, nil
}

// Scan reads in steps, so that f may take its time without holding pebble's
// files.
func (t *embeddedTable) Scan(ctx context.Context, f func(key string, value []byte) bool) error {
	if err := checkTableName(t.name); err != nil {
		return err
	}
	from := t.key("")
	for {
		step, err := t.step(from)
		if err != nil {
			return fmt.Errorf("reading table %s: %w", t.name, err)
		}
		if len(step) == 0 {
			return nil
		}
		for _, r := range step {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !f(r.Key, r.Value) {
				return nil
			}
		}
		from = append(t.key(step[len(step)-1].Key), 0) // right behind it
	}
}

func (t *embeddedTable) step(from []byte) (step []Record, err error) {
	if err := t.e.use(); err != nil {
		return nil, err
	}
	defer t.e.using.Done()
	prefix := t.key("")
	end := append([]byte{}, prefix...)
	end[len(end)-1] = 1
	i, err := t.e.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: end})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	bytes := 0
	for ok := i.First(); ok && len(step) < deliverEntries && bytes < deliverBytes; ok = i.Next() {
		value, err := i.ValueAndErr()
		if err != nil {
			return nil, err
		}
		bytes += len(value)
		step = append(step, Record{string(i.Key()[len(prefix):]), append([]byte{}, value...)})
	}
	return step, i.Error()
}
