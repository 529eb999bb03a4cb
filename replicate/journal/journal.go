// Package journal keeps the records of writes durably and in order until they
// are applied. It promises: a record that was acknowledged is delivered to the
// consumer at least once, in the order of its partition, whatever is killed in
// between; and what it could not keep it says so, never silently.
//
// There are two implementations behind one interface, embedded (pebble) and
// Kafka (franz-go); the tests in package journaltest run over both.
package journal

import (
	"context"
	"errors"
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
	// appended.
	ErrFull = errors.New("the journal is full")

	// ErrClosed says that the journal was closed, or has stopped itself after an
	// error of the disk. Nothing was appended.
	ErrClosed = errors.New("the journal is closed")

	// ErrInUse says that another process has the journal's folder open.
	ErrInUse = errors.New("the journal is in use by another process")
)

// A Journal is safe for concurrent use.
type Journal interface {
	// Append takes a record without waiting for disk or network. The order of
	// calls is the order in the partition. done is called once, from a
	// goroutine of the journal and never from Append itself, when the record
	// is durable or when it is known not to be kept, or when nobody can tell:
	// an error given to done means "unknown", not "not written". It must not
	// block. An error returned by Append means that the record was not taken
	// (ErrFull, ErrClosed) and done will not be called.
	Append(r Record, done func(Position, error)) error

	// Partition is where records of this key go.
	Partition(key string) int32

	// Partitions is the number of partitions; it does not change while the
	// journal is open.
	Partitions() int32

	// Consume delivers entries to h from the committed offsets on, until ctx
	// ends or the journal fails. There is at most one Consume in a process at a
	// time. Partitions are handed out and taken back as processes come and go.
	Consume(ctx context.Context, h Handler) error

	// Commit says that all entries before next have been applied.
	Commit(ctx context.Context, partition int32, next int64) error

	// Bounds tells, per partition, what is there and what is committed.
	Bounds(ctx context.Context) ([]Bounds, error)

	// Table is a small durable map beside the journal, for control state and
	// dead letters.
	Table(name string) Table

	// Ping tells whether appends can be expected to succeed now, and why not.
	Ping(ctx context.Context) error

	// Close waits for pending appends within ctx and closes the journal.
	Close(ctx context.Context) error
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

	// Deliver hands over entries in order. It may block (that is the
	// back-pressure) but returns soon after ctx ends. An error ends Consume.
	Deliver(ctx context.Context, partition int32, entries []Entry) error

	// Revoked says that the partition is another's now. It returns when the
	// handler has stopped working on it; it may still commit until then.
	Revoked(partition int32)
}

// A Table keeps small values by key, durably. The last Put wins. It is safe for
// concurrent use.
type Table interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error

	// Get returns nil if there is no such key.
	Get(ctx context.Context, key string) ([]byte, error)

	// Scan calls f for each key in order until f returns false.
	Scan(ctx context.Context, f func(key string, value []byte) bool) error
}
