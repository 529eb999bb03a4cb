package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store is pebble with the keys of the journal:
//
//	m/format             version of this layout, 4 bytes
//	m/partitions         number of partitions, 4 bytes
//	j/<partition><offset>  stored value of a frame, under the offset of its last record
//	f/<partition>        first kept offset 8, bytes ever appended before it 8
//	c/<partition>        committed offset 8
//	t/<table> 0 <key>    value of a table
//
// where partition takes 4 and offset 8 bytes, big endian.
type store struct {
	*pebble.DB
	lock  *pebble.Lock
	cache *pebble.Cache

	// broken says that pebble may hold its own mutexes for ever: it must not
	// be called any more, not even to be closed.
	broken atomic.Bool
}

// storeFormat 2 has entries of several records; 1, which has not, is read as well.
const storeFormat = 2

// Sizes for a sidecar: with the pending appends everything stays below about
// 40 MB. Batches are kept below half a memtable, above which pebble flushes a
// memtable for each of them.
const (
	cacheBytes    = 4 << 20
	memTableBytes = 4 << 20
	maxBatchBytes = 1 << 20
)

// openStore takes the folder's lock and opens pebble. fail is called when
// pebble reports an error from one of its goroutines.
func openStore(dir string, fs vfs.FS, logf func(string, ...any), fail func(error)) (*store, error) {
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		if heldByAnother(err) {
			return nil, fmt.Errorf("%w: %s; stop the other process or give each its own folder", ErrInUse, dir)
		}
		return nil, fmt.Errorf("locking the embedded journal in %s: %w", dir, err)
	}
	s := &store{lock: lock, cache: pebble.NewCache(cacheBytes)}
	s.DB, err = openPebble(dir, &pebble.Options{
		// Older formats drop everything behind a damaged record of the log
		// without a word; this one refuses to open.
		FormatMajorVersion: pebble.FormatNewest,

		FS:                          fs,
		Lock:                        lock,
		Cache:                       s.cache,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                256,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      &storeLogger{s, logf, fail},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { fail(fmt.Errorf("in the background: %w", err)) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				fail(fmt.Errorf("%s is damaged: %w", i.Path, i.Details))
			},
		},
	})
	if err != nil {
		s.cache.Unref()
		if s.broken.Load() {
			return nil, err
		}
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// openingError says what to do about a journal that cannot be opened. Damage and
// a disk that refuses are told apart, because moving the folder away gives up
// what is in it.
func openingError(dir string, err error) error {
	var errno syscall.Errno
	if errors.Is(err, ErrClosed) { // it says already where and what next
		return fmt.Errorf("opening the embedded journal: %w", err)
	}
	if errors.As(err, &errno) {
		return fmt.Errorf("opening the embedded journal in %s: %w; free or repair the disk and start again, nothing is lost yet", dir, err)
	}
	return fmt.Errorf("opening the embedded journal in %s: %w; restore the folder, or move it away, start again and resync "+
		"the follower, as what it had not applied is lost then", dir, err)
}

// openPebble opens in a goroutine of its own, because storeLogger.Fatalf ends
// the goroutine that calls it.
func openPebble(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	err = errors.New("the disk failed")
	done := make(chan struct{})
	go func() {
		defer close(done)
		db, err = pebble.Open(dir, o)
	}()
	<-done
	return db, err
}

// close leaves the lock taken if pebble is broken: its goroutines may still
// write, so only a restart of the process makes the folder free.
func (s *store) close() error {
	if s.broken.Load() {
		return errors.New("the store is broken, it stays locked until the process ends")
	}
	err := s.DB.Close()
	s.cache.Unref()
	return errors.Join(err, s.lock.Close())
}

// commit writes b and returns when it is synced. The wait is not part of the
// application to pebble, because pebble treats an error of that as fatal.
func (s *store) commit(b *pebble.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.broken.Store(true)
			err = fmt.Errorf("writing the log: %v", p)
		}
	}()
	if err := s.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	if err := b.SyncWait(); err != nil {
		return fmt.Errorf("syncing the log: %w", err)
	}
	return nil
}

// storeLogger passes errors on and drops the rest, which is chatter.
type storeLogger struct {
	s    *store
	logf func(string, ...any)
	fail func(error)
}

func (l *storeLogger) Infof(string, ...any) {}

func (l *storeLogger) Errorf(format string, args ...any) {
	l.logf("the embedded journal: "+format, args...)
}

// Fatalf ends the goroutine that calls it, where pebble's own logger ends the
// process: the gateway can still serve reads. Pebble must not be used any more.
func (l *storeLogger) Fatalf(format string, args ...any) {
	l.s.broken.Store(true)
	l.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}

func partitionKey(prefix byte, partition int32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix, '/'}, uint32(partition))
}

func entryKey(partition int32, offset int64) []byte {
	return binary.BigEndian.AppendUint64(partitionKey('j', partition), uint64(offset))
}

// setFrame stores a frame.
func setFrame(b *pebble.Batch, f frame) error {
	p := f.position()
	return b.Set(entryKey(p.Partition, p.Offset+f.records()-1), f.stored(), nil)
}

// partitions returns the stored number of partitions and stores it in a new
// journal.
func (s *store) partitions(wanted int) (int, error) {
	format, err := s.number("m/format")
	if err != nil {
		return 0, err
	}
	if format > storeFormat {
		return 0, fmt.Errorf("it is written in format %d and this version reads format %d: use the version that wrote it", format, storeFormat)
	}
	if format < storeFormat {
		b := s.NewBatch()
		defer b.Close()
		err := b.Set([]byte("m/format"), binary.BigEndian.AppendUint32(nil, storeFormat), nil)
		if format == 0 {
			err = errors.Join(err, b.Set([]byte("m/partitions"), binary.BigEndian.AppendUint32(nil, uint32(wanted)), nil))
		}
		if err = errors.Join(err, s.commit(b)); err != nil || format == 0 {
			return wanted, err
		}
	}
	n, err := s.number("m/partitions")
	if err == nil && (n < 1 || n > maxPartitions) {
		err = fmt.Errorf("it has %d partitions: %w", n, errBroken)
	}
	return int(n), err
}

// number is 0 if there is no such key.
func (s *store) number(key string) (uint32, error) {
	v, err := s.value([]byte(key))
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 4 {
		return 0, fmt.Errorf("%s: %w", key, errBroken)
	}
	return binary.BigEndian.Uint32(v), nil
}

// value returns a copy, or nil if there is no such key.
func (s *store) value(key []byte) ([]byte, error) {
	v, closer, err := s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

// loadPartition reads the offsets. The next offset is behind the last entry, or
// the first kept one if all were trimmed: trimming stores that, so that offsets
// never go back.
func (s *store) loadPartition(partition int32, p *partition) error {
	v, err := s.value(partitionKey('f', partition))
	if err != nil {
		return err
	}
	if v != nil {
		if len(v) != 16 {
			return errBroken
		}
		p.first, p.bytesFirst = int64(binary.BigEndian.Uint64(v)), binary.BigEndian.Uint64(v[8:])
	}
	p.next, p.bytesNext, p.committed = p.first, p.bytesFirst, p.first

	if v, err = s.value(partitionKey('c', partition)); err != nil {
		return err
	}
	if v != nil {
		if len(v) != 8 {
			return errBroken
		}
		p.committed = max(p.first, int64(binary.BigEndian.Uint64(v)))
	}

	i, err := s.NewIter(&pebble.IterOptions{LowerBound: entryKey(partition, p.first), UpperBound: partitionKey('j', partition+1)})
	if err != nil {
		return err
	}
	if i.Last() {
		value, err := i.ValueAndErr()
		if err != nil {
			return errors.Join(err, i.Close())
		}
		_, _, before, err := decodeStored(nil, value)
		if err != nil {
			return errors.Join(err, i.Close())
		}
		p.next = int64(binary.BigEndian.Uint64(i.Key()[6:])) + 1
		p.bytesNext = before + uint64(len(value))
	}
	if err := errors.Join(i.Error(), i.Close()); err != nil {
		return err
	}
	p.durable, p.bytesDurable = p.next, p.bytesNext
	if p.committed > p.next {
		return fmt.Errorf("%d is committed and %d is the next offset: records are missing", p.committed, p.next)
	}
	return nil
}
