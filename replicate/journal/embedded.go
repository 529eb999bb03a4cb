package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// EmbeddedOptions are the options of OpenEmbedded; the zero value is good.
type EmbeddedOptions struct {
	// Partitions is the number of partitions of a new journal. If zero, 8. An
	// existing journal keeps the number that it was created with.
	Partitions int

	// MaxBytes bounds the records that are kept, in bytes.
	// When it is reached Append returns ErrFull until entries are committed. If
	// zero, 10 GiB. On disk it takes at most about half more and a few hundred MiB:
	// records that are committed, beside others that are not.
	MaxBytes int64

	// MaxPendingBytes bounds the appends that are in the page cache and not synced yet, in bytes.
	// When it is reached, because the disk is too slow, Append returns ErrFull.
	// If zero, 16 MiB.
	MaxPendingBytes int

	// MaxRecordBytes bounds key and value of one record, and the value of a
	// table's entry. If zero, 16 MiB.
	MaxRecordBytes int

	// TrimInterval is how often the space of committed entries is freed. If
	// zero, 10 s. It is freed earlier when MaxBytes is near.
	TrimInterval time.Duration

	// Logf is told what an operator should know, one line without newline at a
	// time: errors of the disk, and what was found at opening. If nil, nothing
	// is logged.
	Logf func(format string, args ...any)

	// For tests: broken disks, short segments, how much of the log may be committed
	// records beside others, and how long appends are left that nobody waits for.
	fs           vfs.FS
	segmentBytes int64
	slackBytes   int64
	leftFor      time.Duration
}

func (o *EmbeddedOptions) setDefaults() {
	setDefault(&o.Partitions, defaultPartitions)
	setDefault(&o.MaxBytes, 10<<30)
	setDefault(&o.MaxPendingBytes, 16<<20)
	setDefault(&o.MaxRecordBytes, 16<<20)
	setDefault(&o.TrimInterval, 10*time.Second)
	setDefault(&o.segmentBytes, segmentBytesFor(o.MaxBytes))
	setDefault(&o.leftFor, leftFor)
	setDefault(&o.slackBytes, min(slackBytes, max(4<<20, o.MaxBytes/4)))
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
}

func setDefault[T ~int | ~int32 | ~int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Embedded is a Journal in a folder of this machine, for one process.
//
// An append goes through three stages. Append gives the record its offset and
// writes it to the log, where it survives a kill of the process, under one mutex.
// The writer goroutine takes what has gathered and syncs the log: one sync for all
// who have appended in the meantime. Of appends that nobody waits for (AppendAll) it does not
// begin one for some milliseconds: the next append takes them along. The done functions are called
// in order, by the acknowledger goroutine, or by the writer if they are few.
//
// Everything else that writes (commits, tables, trimming) goes through the same
// queue into pebble, so that there is one place that can fail. When it fails, or when
// pebble reports an error, the journal stops: nothing is accepted any more, and
// Ping says why. It does not go on by itself, because after a failed sync the
// operating system may have dropped the pages without telling again.
type Embedded struct {
	dir  string
	opts EmbeddedOptions
	db   *store
	log  *log

	mu         sync.Mutex
	parts      []partition
	queue      []op // what the writer takes next, in order
	queueBytes int  // of the queue, and of what the writer and acknowledger hold
	used       uint64
	due        bool        // the writer is to take the queue; else it is left for what comes next
	left       int         // bytes of the queue that nobody waits for
	leftSince  time.Time   // when the first of them came
	flush      *time.Timer // for when nothing comes
	flushing   bool        // flush is started
	telling    int         // batches that the acknowledger has
	oldest     time.Time   // when the writer took what it is writing; zero when idle
	failed     error       // why the journal has stopped, or nil
	closing    bool        // no appends any more
	closed     bool        // no writes of any kind any more
	aborted    bool        // what is queued has to fail
	consuming  bool

	wake   chan struct{} // the writer has work; capacity 1
	room   chan struct{} // queueBytes has shrunk; capacity 1
	urgent chan struct{} // the trimmer has work; capacity 1
	acks   chan acked    // from the writer to the acknowledger

	spare   spare       // memory of frames
	buffers chan []byte // of readers of the log: so many may read at once

	// reading is held by who reads the log; before the file of a segment is closed, whoever
	// may have found it there is waited for.
	reading sync.RWMutex

	swapping chan struct{} // has one while a table's key is being swapped

	// down ends when the journal stops or begins to close, with the reason as
	// its cause; Consume and the trimmer run under it.
	down context.Context
	stop context.CancelCauseFunc

	consumer sync.WaitGroup // the running Consume
	using    sync.WaitGroup // goroutines that read from db
	trimmer  sync.WaitGroup
	finished chan struct{} // closed when writer and acknowledger have ended
	closer   sync.Once
	closeErr error
	gone     chan struct{} // closed when Close has finished, closeErr is set then
}

// leftFor is how long what nobody waits for is left for what comes next, if it is not more than leftBytes.
const leftFor, leftBytes = 5 * time.Millisecond, 1 << 20

// A partition's offsets: first <= committed <= durable <= next.
type partition struct {
	first     int64 // oldest that is kept
	committed int64
	durable   int64 // first that is not durable
	next      int64 // what the next record gets

	// The bytes ever appended before first, durable and next.
	bytesFirst, bytesDurable, bytesNext uint64

	// stored is the committed offset on disk; only the writer uses it.
	stored int64

	// What is in the log, in order, and where a reader was. What is before the first run
	// is in pebble, which may have more: entries below old.
	runs   []run
	cursor cursor
	old    int64

	arrived chan struct{} // durable has grown; capacity 1
}

var _ Journal = (*Embedded)(nil)

// OpenEmbedded opens the journal in the folder dir, or creates both. An error
// is ErrInUse, or one that names the folder and the next step. Records that a
// killed process has left are durable when it returns.
func OpenEmbedded(dir string, opts EmbeddedOptions) (*Embedded, error) {
	opts.setDefaults()
	if opts.Partitions < 1 || opts.Partitions > maxPartitions {
		return nil, fmt.Errorf("the embedded journal cannot have %d partitions: choose 1 to %d", opts.Partitions, maxPartitions)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the folder of the embedded journal: %w", err)
	}
	e := &Embedded{
		dir:      dir,
		opts:     opts,
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		urgent:   make(chan struct{}, 1),
		acks:     make(chan acked, 1),
		swapping: make(chan struct{}, 1),
		finished: make(chan struct{}),
		gone:     make(chan struct{}),
		buffers:  make(chan []byte, 4),
	}
	for range cap(e.buffers) {
		e.buffers <- nil // made when it is needed
	}
	e.down, e.stop = context.WithCancelCause(context.Background())
	var err error
	if e.db, err = openStore(dir, opts.fs, opts.Logf, e.fail); err != nil {
		if errors.Is(err, ErrInUse) {
			return nil, err
		}
		if f := e.failure(); f != nil {
			err = f // what pebble could not return
		}
		return nil, openingError(dir, err)
	}
	if err := e.load(); err != nil {
		e.abandonOpen()
		return nil, openingError(dir, err)
	}
	e.flush = time.AfterFunc(time.Hour, e.flushLeft)
	e.flush.Stop()
	go e.acknowledge()
	go e.write()
	e.trimmer.Add(1)
	go e.trimNowAndThen()
	return e, nil
}

// load reads what is stored, and what the log has.
func (e *Embedded) load() error {
	n, err := e.db.partitions(e.opts.Partitions)
	if err != nil {
		return err
	}
	if n != e.opts.Partitions {
		e.opts.Logf("the embedded journal in %s keeps its %d partitions; %d are configured", e.dir, n, e.opts.Partitions)
	}
	e.parts = make([]partition, n)
	for i := range e.parts {
		p := &e.parts[i]
		p.arrived = make(chan struct{}, 1)
		if err := e.db.loadPartition(int32(i), p); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
		p.stored = p.committed
	}
	if err := e.openLog(); err != nil {
		return err
	}
	for i := range e.parts {
		e.used += e.parts[i].bytesNext - e.parts[i].bytesFirst
	}
	return nil
}

// records is how many were ever appended.
func (e *Embedded) records() (n uint64) {
	for i := range e.parts {
		n += uint64(e.parts[i].next)
	}
	return n
}

func (e *Embedded) abandonOpen() {
	e.stop(ErrClosed)
	if e.log != nil {
		e.log.close()
	}
	e.db.close() // its errors follow from the one that is told
}

// fail stops the journal. It may be called from any goroutine, also from
// pebble's while it holds locks: it does not touch the db.
func (e *Embedded) fail(err error) {
	e.mu.Lock()
	first := e.refuseAll(err)
	e.mu.Unlock()
	if first {
		e.logStop(err)
	}
}

// refuseAll is the part of fail that others must not come before. It reports whether this is the first
// error; then logStop is to be called. e.mu is held.
func (e *Embedded) refuseAll(err error) (first bool) {
	if e.failed != nil {
		return false
	}
	e.failed = fmt.Errorf("%w: it has stopped after an error, free or repair the disk of %s and restart: %w", ErrClosed, e.dir, err)
	e.stop(e.failed)
	return true
}

func (e *Embedded) logStop(err error) {
	e.opts.Logf("the embedded journal in %s has stopped: %v", e.dir, err)
}

func (e *Embedded) Partition(key string) int32 { return partitionOf(key, e.Partitions()) }

func (e *Embedded) Partitions() int32 { return int32(len(e.parts)) }

// stuckAfter is how long a sync may take until Ping calls it a failure.
const stuckAfter = 5 * time.Second

// Ping returns nil, or why appends are refused or get stuck; when MaxBytes is
// reached to a hundredth, large appends are. It does not touch the disk.
func (e *Embedded) Ping(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refusal(int(e.opts.MaxBytes / 100)); err != nil {
		return err
	}
	if d := time.Since(e.oldest); !e.oldest.IsZero() && d > stuckAfter {
		return fmt.Errorf("the disk of the embedded journal in %s has not finished a sync for %s", e.dir, d.Round(time.Second))
	}
	return nil
}

// Bounds counts records that are not durable yet in Next.
func (e *Embedded) Bounds(context.Context) ([]Bounds, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return nil, e.failed
	}
	bounds := make([]Bounds, len(e.parts))
	for i := range e.parts {
		p := &e.parts[i]
		bounds[i] = Bounds{int32(i), p.first, p.next, p.committed}
	}
	return bounds, nil
}

// Close syncs. It can be called more than once.
func (e *Embedded) Close(ctx context.Context) error {
	e.closer.Do(func() { go e.shutdown() })
	select {
	case <-e.gone:
		return e.closeErr
	case <-ctx.Done():
		e.mu.Lock()
		e.closed, e.aborted = true, true
		pending := len(e.queue)
		e.mu.Unlock()
		notify(e.wake)
		return fmt.Errorf("closing the embedded journal in %s, %d writes pending, it goes on in the background: %w", e.dir, pending, context.Cause(ctx))
	}
}

// shutdown ends the goroutines in the order in which they need each other:
// consumers may commit until the end, and only then nothing writes any more.
func (e *Embedded) shutdown() {
	defer close(e.gone)
	e.mu.Lock()
	e.closing = true
	failed := e.failed
	e.mu.Unlock()
	e.stop(ErrClosed)
	e.consumer.Wait()
	e.trimmer.Wait()

	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	notify(e.wake)
	<-e.finished
	e.using.Wait()

	var err error
	if failed == nil && e.failure() == nil {
		err = apart(e.noteClosed)
	}
	if err = errors.Join(err, e.db.close(), e.log.close()); err != nil {
		e.closeErr = fmt.Errorf("closing the embedded journal in %s: %w", e.dir, err)
	}
}

// noteClosed has the next opening see it if anything is missing then.
func (e *Embedded) noteClosed() error {
	b := e.db.NewBatch()
	defer b.Close()
	return errors.Join(b.Set([]byte(closedKey), binary.BigEndian.AppendUint64(nil, e.log.durable), nil), e.db.commit(b))
}

// use marks the caller as a reader of db until e.using.Done, or says why there
// is no db any more.
func (e *Embedded) use() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return e.failed
	}
	if e.closed {
		return ErrClosed
	}
	e.using.Add(1)
	return nil
}

// notify wakes who waits for c, which has capacity 1, and never blocks.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
