package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store is pebble with the keys of the journal:
//
//	m/format             version of this layout, 4 bytes
//	m/partitions         number of partitions, 4 bytes
//	m/begun              records before the part of the log that has no rows, 8 bytes
//	m/closed             records there were when it was closed, 8 bytes
//	s/<number>           what there is in a segment of the log, see segmentRow
//	j/<partition><offset>  stored value of a frame that is not in the log, under the offset of its last record
//	f/<partition>        first kept offset 8, bytes ever appended before it 8
//	c/<partition>        committed offset 8
//	t/<table> 0 <key>    value of a table
//
// where partition takes 4 and offset 8 bytes, big endian.
type store struct {
	*pebble.DB
	lock  *pebble.Lock
	cache *pebble.Cache

	format uint32 // that it was found in, 0 if it is new

	// broken says that pebble may hold its own mutexes for ever: it must not
	// be called any more, not even to be closed.
	broken atomic.Bool
}

// storeFormat 3 has the log. 2 had all records in pebble, also several in an entry, and 1 had not that: what
// they have is read.
const storeFormat = 3

const (
	begunKey  = "m/begun"
	closedKey = "m/closed"
)

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
	failed := make(chan error, 1)
	told := func(err error) {
		fail(err)
		select {
		case failed <- err:
		default:
		}
	}
	if err := s.open(dir, failed, &pebble.Options{
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
		FlushDelayDeleteRange:       10 * time.Second, // else the space of trimmed entries is freed late
		MaxOpenFiles:                256,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      &storeLogger{s, logf, told},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { told(fmt.Errorf("in the background: %w", err)) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				told(fmt.Errorf("%s is damaged: %w", i.Path, i.Details))
			},
		},
	}); err != nil {
		return nil, err
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
	if errors.Is(err, errNotClosed) {
		return fmt.Errorf("opening the embedded journal in %s: %w", dir, err)
	}
	if errors.As(err, &errno) {
		return fmt.Errorf("opening the embedded journal in %s: %w; free or repair the disk and start again, nothing is lost yet", dir, err)
	}
	return fmt.Errorf("opening the embedded journal in %s: %w; restore the folder, or move it away, start again and resync "+
		"the follower, as what it had not applied is lost then", dir, err)
}

// open opens pebble, or returns the first failure that it tells of: on a disk that has no room it
// would try again for ever. Then it is waited for in the background, and what it took is let go.
func (s *store) open(dir string, failed <-chan error, o *pebble.Options) error {
	opened := make(chan error, 1)
	go func() {
		opened <- apart(func() (err error) {
			s.DB, err = pebble.Open(dir, o)
			return err
		})
	}()
	end := func(err error) error {
		if err == nil {
			return s.close()
		}
		return s.letGo()
	}
	select {
	case err := <-opened:
		if err != nil {
			return errors.Join(err, end(err))
		}
		return nil
	case err := <-failed:
		go func() { end(<-opened) }()
		return err
	}
}

// apart calls f in a goroutine of its own, because storeLogger.Fatalf ends the goroutine that calls it.
func apart(f func() error) error {
	err := errors.New("the disk failed")
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f()
	}()
	<-done
	return err
}

func (s *store) close() error {
	if s.broken.Load() {
		return s.letGo()
	}
	return errors.Join(apart(s.DB.Close), s.letGo())
}

// letGo leaves the lock taken if pebble is broken: its goroutines may still
// write, so only a restart of the process makes the folder free.
func (s *store) letGo() error {
	if s.broken.Load() {
		return errors.New("the store is broken, it stays locked until the process ends")
	}
	s.cache.Unref()
	return s.lock.Close()
}

// commit writes b and returns when it is synced.
func (s *store) commit(b *pebble.Batch) error {
	if err := s.begin(b); err != nil {
		return err
	}
	return s.wait(b)
}

// begin writes b, and wait returns when it is synced. The wait is not part of the
// application to pebble, because pebble treats an error of that as fatal.
func (s *store) begin(b *pebble.Batch) (err error) {
	defer s.recovered(&err)
	if err := s.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return fmt.Errorf("writing the log of the store: %w", err)
	}
	return nil
}

func (s *store) wait(b *pebble.Batch) (err error) {
	defer s.recovered(&err)
	if err := b.SyncWait(); err != nil {
		return fmt.Errorf("syncing the log of the store: %w", err)
	}
	return nil
}

// recovered makes an error of a panic of pebble's.
func (s *store) recovered(err *error) {
	if p := recover(); p != nil {
		s.broken.Store(true)
		*err = fmt.Errorf("writing the log of the store: %v", p)
	}
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

// partitions returns the stored number of partitions, and the wanted one for a new journal.
func (s *store) partitions(wanted int) (int, error) {
	var err error
	if s.format, err = s.number("m/format"); err != nil || s.format == 0 {
		return wanted, err
	}
	if s.format > storeFormat {
		return 0, fmt.Errorf("it is written in format %d and this version reads format %d: use the version that wrote it", s.format, storeFormat)
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

// loadPartition reads the offsets. The next offset is behind the last entry that is not in the
// log, or the first kept one if all were trimmed: trimming stores that, so that offsets
// never go back. What the log has comes behind that.
func (s *store) loadPartition(partition int32, p *partition) (err error) {
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

	i, err := s.NewIter(&pebble.IterOptions{LowerBound: partitionKey('j', partition), UpperBound: partitionKey('j', partition+1)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	if !i.Last() {
		return i.Error()
	}
	value, err := i.ValueAndErr()
	if err != nil {
		return err
	}
	_, _, before, err := decodeStored(nil, value)
	if err != nil {
		return err
	}
	p.old = int64(binary.BigEndian.Uint64(i.Key()[6:])) + 1
	if p.old > p.next {
		p.next, p.bytesNext = p.old, before+frameHeader+uint64(len(value))
	}
	return nil
}
