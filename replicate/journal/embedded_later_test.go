package journal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A countingDisk counts the syncs of segments.
func countingDisk() (fs *brokenFS, syncs *atomic.Int64) {
	fs, syncs = &brokenFS{FS: vfs.Default}, new(atomic.Int64)
	fs.break_(func(op, name string) error {
		if op == "sync" && segmentNumber(name) > 0 {
			syncs.Add(1)
		}
		return nil
	})
	return fs, syncs
}

// laterTest appends records that nobody waits for, which by themselves are not synced in this test.
func laterTest(t *testing.T, o EmbeddedOptions) (e *Embedded, dir string, landed chan error) {
	o.leftFor, o.Partitions = time.Hour, 2
	dir, landed = t.TempDir(), make(chan error, 10)
	e = openTest(t, dir, o)
	t.Cleanup(func() { e.Close(context.Background()) })
	for i := range 3 {
		if err := e.AppendAll(manyRecords(fmt.Sprint("later-", i), 1+i, 20), func(err error) { landed <- err }); err != nil {
			t.Fatal(err)
		}
	}
	return e, dir, landed
}

func allLanded(t *testing.T, landed chan error, n int) {
	t.Helper()
	for range n {
		select {
		case err := <-landed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it is not durable after a minute")
		}
	}
}

// What nobody waits for has no sync of its own: it becomes durable with what is.
func TestLaterGoesWithTheNext(t *testing.T) {
	next := map[string]func(*testing.T, *Embedded){
		"append": func(t *testing.T, e *Embedded) { appendWait(t, e, "k", "v") },
		"put": func(t *testing.T, e *Embedded) {
			if err := e.Table("t").Put(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, comes := range next {
		t.Run(name, func(t *testing.T) {
			fs, syncs := countingDisk()
			e, _, landed := laterTest(t, EmbeddedOptions{fs: fs})
			time.Sleep(20 * time.Millisecond)
			before := syncs.Load()
			if len(landed) > 0 {
				t.Error("it is durable and nothing came")
			}
			comes(t, e)
			allLanded(t, landed, 3)
			if n := syncs.Load() - before; n != 1 {
				t.Errorf("%d syncs, want one for all", n)
			}
		})
	}
}

// If nothing comes it becomes durable all the same, each time.
func TestLaterIsNotNever(t *testing.T) {
	e := openTest(t, t.TempDir(), EmbeddedOptions{})
	defer e.Close(context.Background())
	for i := range 20 {
		appendAllWait(t, e, manyRecords(fmt.Sprint(i), 1+i%3, 20))
		if i%5 == 0 {
			time.Sleep(2 * leftFor)
		}
	}
	delivered(t, e, 39)
}

// It does not take the room of others.
func TestLaterIsNotMuch(t *testing.T) {
	e, _, landed := laterTest(t, EmbeddedOptions{MaxPendingBytes: 4000})
	allLanded(t, landed, 1) // the last ones may be left
	for i := range 100 {
		err := e.AppendAll(manyRecords("more", 1, 100+i), func(err error) { landed <- err })
		for end := time.Now().Add(time.Minute); errors.Is(err, ErrBusy) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
			err = e.AppendAll(manyRecords("more", 1, 100+i), func(err error) { landed <- err })
		}
		if err != nil {
			t.Fatal(err)
		}
		for len(landed) > 0 {
			allLanded(t, landed, 1)
		}
	}
}

// Closing leaves nothing behind.
func TestLaterAndClose(t *testing.T) {
	e, dir, landed := laterTest(t, EmbeddedOptions{})
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	allLanded(t, landed, 3)
	e = openTest(t, dir, EmbeddedOptions{})
	defer e.Close(context.Background())
	delivered(t, e, 6)
}

// A disk that fails is told of, also to those who do not wait.
func TestLaterAndABrokenDisk(t *testing.T) {
	fs := &brokenFS{FS: vfs.Default}
	e, _, landed := laterTest(t, EmbeddedOptions{fs: fs})
	fs.break_(func(op, name string) error {
		if op == "sync" && segmentNumber(name) > 0 {
			return fmt.Errorf("broken")
		}
		return nil
	})
	e.Append(Record{"k", nil}, func(_ Position, err error) { landed <- err })
	for range 4 {
		select {
		case err := <-landed:
			if err == nil {
				t.Error("durable on a broken disk")
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing is told after a minute")
		}
	}
}

// Whoever appended first is told first, whether few or many wait for a sync.
func TestToldInOrder(t *testing.T) {
	e := openTest(t, t.TempDir(), EmbeddedOptions{fs: &brokenFS{FS: vfs.Default, delay: 100 * time.Microsecond}})
	defer e.Close(context.Background())
	const records = 3000
	told := make(chan int, records)
	for i := range records {
		done := func(error) { told <- i }
		var err error
		if i%3 == 0 {
			err = e.AppendAll([]Record{{"k", nil}}, done)
		} else {
			err = e.Append(Record{fmt.Sprint(i % 7), nil}, func(_ Position, err error) { done(err) })
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%50 > 30 {
			time.Sleep(time.Duration(i%4) * 50 * time.Microsecond) // few of them wait then
		}
	}
	for want := range records {
		select {
		case got := <-told:
			if got != want {
				t.Fatalf("%d was told as number %d", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%d was not told after a minute", want)
		}
	}
}
