package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// orderPerKey appends without waiting for each other, and looks at the order in
// which done is called, at the offsets, and at what is delivered.
func orderPerKey(t *testing.T, o Opener) {
	const keys, each = 5, 200
	j := open(t, o, Options{})
	var mu sync.Mutex
	acks := map[string][]Ack{}
	var pending sync.WaitGroup
	for i := range each {
		for k := range keys {
			key := fmt.Sprintf("index-%d", k)
			pending.Add(1)
			err := j.Append(journal.Record{Key: key, Value: fmt.Append(nil, i)}, func(p journal.Position, err error) {
				mu.Lock()
				acks[key] = append(acks[key], Ack{p, err})
				mu.Unlock()
				pending.Done()
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	pending.Wait()
	for key, as := range acks {
		for i, a := range as {
			if a.Err != nil || i > 0 && a.Offset <= as[i-1].Offset {
				t.Fatalf("%s: acknowledgement %d is %+v after %+v", key, i, a, as[max(0, i-1)])
			}
		}
	}
	c := NewCollector()
	stop := Consume(t, j, c)
	seen := map[string]int{}
	for _, e := range c.Wait(t, keys*each) {
		i := seen[e.Key]
		if string(e.Value) != fmt.Sprint(i) || e.Position != acks[e.Key][i].Position {
			t.Fatalf("%s: record %d is %q at %v, acknowledged at %v", e.Key, i, e.Value, e.Position, acks[e.Key][i].Position)
		}
		if age := time.Since(e.Time); age < -time.Minute || age > 10*time.Minute {
			t.Fatalf("the record was appended %s ago", age)
		}
		seen[e.Key]++
	}
	stop(nil)
}

func partitions(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	if n := j.Partitions(); n < 4 {
		t.Fatalf("%d partitions", n)
	}
	for p, key := range keysOfAll(j) {
		if got := Append(t, j, key, "x"); got != (journal.Position{Partition: int32(p)}) {
			t.Fatalf("the first record of partition %d is at %v", p, got)
		}
	}
}

func doneElsewhere(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	var mu sync.Mutex // a done that is called from Append would wait for ever
	var pending sync.WaitGroup
	for range 50 {
		mu.Lock()
		pending.Add(1)
		if err := j.Append(journal.Record{Key: "k", Value: []byte("v")}, func(journal.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			pending.Done()
		}); err != nil {
			t.Fatal(err)
		}
		mu.Unlock()
	}
	pending.Wait()
}

func durable(t *testing.T, o Opener) {
	const n = 100
	j := open(t, o, Options{})
	for i := range n {
		Append(t, j, fmt.Sprint("k", i%7), fmt.Sprint(i))
	}
	before, err := j.Bounds(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)

	j = open(t, o, Options{})
	after, err := j.Bounds(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Fatalf("bounds were %v and are %v", before, after)
	}
	c := NewCollector()
	stop := Consume(t, j, c)
	c.Wait(t, n)
	p := Append(t, j, "k0", "last")
	if want := before[p.Partition].Next; p.Offset != want {
		t.Fatalf("the next offset after reopening is %d, not %d", p.Offset, want)
	}
	if entries := c.Wait(t, n+1); len(entries) > n+1 {
		t.Fatalf("%d entries instead of %d", len(entries), n+1)
	}
	stop(nil)
}

func closeWaits(t *testing.T, o Opener) {
	const n = 200
	j := open(t, o, Options{})
	acks := make([]<-chan Ack, n)
	for i := range acks {
		var err error
		if acks[i], err = Start(j, "k", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	closeJournal(t, j)
	for _, c := range acks {
		select {
		case a := <-c:
			if a.Err != nil {
				t.Fatal(a.Err)
			}
		default:
			t.Fatal("Close returned before done was called")
		}
	}
	j = open(t, o, Options{})
	c := NewCollector()
	stop := Consume(t, j, c)
	c.Wait(t, n)
	stop(nil)
}

func closedRefuses(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	closeJournal(t, j)
	_, appended := Start(j, "k", "v")
	for what, err := range map[string]error{
		"Append":  appended,
		"Consume": j.Consume(timeout(t), NewCollector()),
		"Ping":    j.Ping(timeout(t)),
		"Put":     j.Table("state").Put(timeout(t), "k", nil),
	} {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s returned %v", what, err)
		}
	}
	closeJournal(t, j) // twice does no harm
}

func largeRecord(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	value := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	Append(t, j, "k", string(value))
	Append(t, j, "k", "small")
	c := NewCollector()
	stop := Consume(t, j, c)
	entries := c.Wait(t, 2)
	if !bytes.Equal(entries[0].Value, value) || string(entries[1].Value) != "small" {
		t.Fatal("the records differ")
	}
	stop(nil)
}

func tooLarge(t *testing.T, o Opener) {
	j := open(t, o, Options{MaxRecordBytes: 10_000})
	if _, err := Start(j, "k", strings.Repeat("x", 10_001)); !errors.Is(err, journal.ErrTooLarge) {
		t.Fatalf("Append returned %v", err)
	}
	if p := Append(t, j, "k", strings.Repeat("x", 9_999)); p.Offset != 0 {
		t.Fatalf("the refused record took an offset, the next got %d", p.Offset)
	}
}

func emptyRecord(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	Append(t, j, "", "")
	c := NewCollector()
	stop := Consume(t, j, c)
	if e := c.Wait(t, 1)[0]; e.Key != "" || len(e.Value) != 0 {
		t.Fatalf("%+v", e)
	}
	stop(nil)
}

// full appends faster than any disk or network.
func full(t *testing.T, o Opener) {
	j := open(t, o, Options{MaxPendingBytes: 100_000, MaxRecordBytes: 60_000})
	value := strings.Repeat("x", 10_000)
	var acks []<-chan Ack
	for refused := 0; refused == 0; {
		c, err := Start(j, "k", value)
		switch {
		case err == nil:
			acks = append(acks, c)
		case errors.Is(err, journal.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
		if len(acks) > 5_000 {
			t.Fatal("5,000 appends were taken within a bound of 10")
		}
	}
	for _, c := range acks {
		await(t, c)
	}
	if p := Append(t, j, "k", "small"); p.Offset != int64(len(acks)) {
		t.Fatalf("%d appends were taken, then came offset %d", len(acks), p.Offset)
	}
}

func ping(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	Append(t, j, "k", "v")
	if err := j.Ping(timeout(t)); err != nil {
		t.Fatal(err)
	}
}
