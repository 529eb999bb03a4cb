// Package journal keeps the records of writes durably and in order until they
// are applied. It promises: a record that was acknowledged is delivered to the
// consumer at least once, in the order of its partition, whatever is killed in
// between; and what it could not keep it says so, never silently.
//
// There are two implementations behind one interface, embedded (pebble) and
// Kafka (franz-go); the tests in package journaltest run over both. They differ
// in one promise, which the write path of the gateway builds on: when Append of
// the embedded journal has returned, a kill of the process cannot take the
// record back (only a crash of the machine can, until done is called). With
// Kafka nothing is promised before done is called.
package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Record is opaque to the journal. Records with the same key stand in the
// same partition, in the order in which Append was called.
type Record struct {
	Key   string
	Value []byte
}

// A Position is a record's place in the journal.
type Position struct {
	Partition int32
	Offset    int64
}

// An Entry is a record as it is read back.
type Entry struct {
	Record
	Position
	Time time.Time // when it was appended
}

var (
	// ErrFull says that a bound in memory or on disk is reached. Nothing was
	// appended; it may succeed later.
	ErrFull = errors.New("the journal is full")

	// ErrBusy is the ErrFull of a bound in memory: what was appended before waits for
	// the disk, or for Kafka's confirmation.
	ErrBusy = fmt.Errorf("%w for the moment", ErrFull)

	// ErrTooLarge says that a record or a table's value is larger than the
	// journal takes. Nothing was appended, and trying again does not help.
	ErrTooLarge = errors.New("the record is larger than the journal takes")

	// ErrClosed says that the journal was closed, or has stopped itself after an
	// error of the disk. Nothing was appended.
	ErrClosed = errors.New("the journal is closed")

	// ErrUnavailable says that Kafka cannot be reached, or that a topic is not
	// as it has to be; the text says what to do. Nothing was appended; it may
	// succeed later.
	ErrUnavailable = errors.New("the journal is not available")

	// ErrInUse says that another process, or another journal in this process,
	// has the journal's folder open.
	ErrInUse = errors.New("the journal is in use by another process")

	// ErrLost says that records are gone that were not applied, because somebody
	// has deleted them. Consume returns it, with the next step, until an
	// operator has decided to go on without them.
	ErrLost = errors.New("records of the journal are lost")

	// ErrConsuming says that there is a Consume already.
	ErrConsuming = errors.New("the journal is being consumed already")
)

// A Journal is safe for concurrent use.
type Journal interface {
	// Append takes a record without waiting for disk or network. The order of
	// calls is the order in the partition. The record's value is copied or
	// used until done is called; the caller must not change it until then.
	//
	// done is called once, from a goroutine of the journal and never from
	// Append itself, when the record is durable or when it is known not to be
	// kept, or when nobody can tell: an error given to done means "unknown",
	// not "not written", and the Position then has no meaning. Without an error
	// the offset is -1 in the rare case that Kafka confirms a record without
	// telling where it is. done must not block. An error returned by Append
	// means that the record was not taken (ErrFull, ErrTooLarge, ErrUnavailable,
	// ErrClosed) and done will not be called.
	Append(r Record, done func(Position, error)) error

	// Partition is where records of this key go.
	Partition(key string) int32

	// Partitions is the number of partitions; it does not change while the
	// journal is open.
	Partitions() int32

	// Consume delivers entries to h from the committed offsets on, until ctx
	// ends (then it returns nil) or the journal fails or is closed or h returns
	// an error (then it returns that). Only durable entries are delivered.
	// There is at most one Consume in a process at a time, else ErrConsuming.
	// Partitions are handed out and taken back as processes come and go; all
	// are taken back before Consume returns.
	Consume(ctx context.Context, h Handler) error

	// Commit says that all entries before next have been applied: they are not
	// delivered to a later Consume and may be thrown away. Committing less than
	// before changes nothing, and committing what is not there is an error. When
	// it returns nil the commit is durable. While Consume runs, only its
	// partitions can be committed.
	Commit(ctx context.Context, partition int32, next int64) error

	// Bounds tells, per partition, what is there and what is committed.
	Bounds(ctx context.Context) ([]Bounds, error)

	// Table is a small durable map beside the journal, for control state and
	// dead letters. A name consists of a-z, 0-9 and "-".
	Table(name string) Table

	// Ping tells whether appends can be expected to succeed now, and why not.
	Ping(ctx context.Context) error

	// Close refuses new appends, ends Consume (which returns ErrClosed), waits for pending appends within
	// ctx and closes the journal. If ctx ends first, the appends that are left
	// are told so through done, and the rest is closed as soon as it can be.
	Close(ctx context.Context) error
}

// A Batcher is a Journal to which records cost less if they come together, or if nobody waits for them.
type Batcher interface {
	// AppendAll is Append of all records, one at least, in their order, or of none of them; but of
	// a disk that fails in the midst, which ends the journal, some may be read later. It copies
	// them, and so does Append of a Batcher. done is called once, when all are durable, or when that cannot be said of one of them.
	// That may take a few milliseconds more than with Append: they become durable together with what others append.
	AppendAll(records []Record, done func(error)) error
}

// Bounds describes one partition.
type Bounds struct {
	Partition int32
	First     int64 // offset of the oldest entry that is kept
	Next      int64 // offset that the next record gets
	Committed int64 // offset of the first entry that is not applied
}

// A Handler receives what Consume reads. The calls for one partition come one
// after the other; partitions are independent of each other.
type Handler interface {
	// Assigned says that entries of this partition follow, from next on.
	Assigned(partition int32, next int64)

	// Deliver hands over entries in order, at least one. It may block (that is
	// the back-pressure) but returns soon after ctx ends. An error ends
	// Consume. The entries are the handler's to keep.
	Deliver(ctx context.Context, partition int32, entries []Entry) error

	// Revoked says that the partition is another's now. It returns when the
	// handler has stopped working on it; it may still commit until then.
	Revoked(partition int32)
}

// A Table keeps small values by key, durably. The last Put wins. It is safe for
// concurrent use. When Put or Delete has returned, Get and Scan of the same
// journal see it, and with it everything that any process had put before; else
// they may lag a little behind other processes.
type Table interface {
	// Put returns when the value is durable. An error means "unknown", like
	// that of an append, except ErrFull, ErrTooLarge, ErrUnavailable and
	// ErrClosed.
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error

	// Swap puts after, durably, if the key's value is before, which is nil for a
	// key that is not there, and reports whether it did. Of several who swap the
	// same value, in whatever processes, one succeeds. Like Put it sees all that was
	// put and swapped before, whatever it reports; unless this process saw another
	// value to begin with: then nothing is asked and it reports false. An error
	// means "unknown": it may still take effect later, but not after a later Swap
	// of the key has succeeded. A key that is swapped is not put or deleted.
	Swap(ctx context.Context, key string, before, after []byte) (bool, error)

	// Get returns nil if there is no such key.
	Get(ctx context.Context, key string) ([]byte, error)

	// Scan calls f for each key in order until f returns false. The value is
	// f's to keep. f may use the table.
	Scan(ctx context.Context, f func(key string, value []byte) bool) error
}
