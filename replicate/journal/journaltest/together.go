package journaltest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// appendTogether appends records, in one go where the journal can.
func appendTogether(j journal.Journal, records []journal.Record) (<-chan Ack, error) {
	acks := make(chan Ack, 2*len(records))
	b, can := j.(journal.Batcher)
	if can {
		return acks, b.AppendAll(records, func(err error) { acks <- Ack{Err: err} })
	}
	over := make(chan Ack, len(records))
	for _, r := range records {
		if err := j.Append(r, func(p journal.Position, err error) { over <- Ack{p, err} }); err != nil {
			return nil, err
		}
	}
	go func() {
		var last Ack
		for range records {
			if a := <-over; a.Err != nil {
				last = a
			}
		}
		acks <- last
	}()
	return acks, nil
}

// together appends groups of records between single ones, also to several partitions.
func together(t *testing.T, o Opener) {
	const rounds, size = 5, 50
	j := open(t, o, Options{MaxRecordBytes: 10_000})
	if _, err := appendTogether(j, []journal.Record{{Key: "first"}, {Key: "k", Value: []byte(strings.Repeat("x", 10_001))}}); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("of records of which one is too large: %v", err)
	}
	want := map[string][]string{}
	taken := 0
	_, all := j.(journal.Batcher)
	if !all {
		want["first"], taken = []string{""}, 1
	}
	for round := range rounds {
		var group []journal.Record
		for i := range size {
			key, value := fmt.Sprint("index-", i%7), fmt.Sprint(round, "-", i)
			group = append(group, journal.Record{Key: key, Value: []byte(value)})
			want[key] = append(want[key], value)
		}
		acks, err := appendTogether(j, group)
		if err != nil {
			t.Fatal(err)
		}
		for i := range group { // they are copied
			if all {
				copy(group[i].Value, "changed")
			}
		}
		await(t, acks)
		Append(t, j, "index-3", fmt.Sprint("alone", round))
		want["index-3"] = append(want["index-3"], fmt.Sprint("alone", round))
		taken += size + 1
		select {
		case a := <-acks:
			t.Fatalf("done was called twice, with %v", a.Err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	closeJournal(t, j)
	if _, err := appendTogether(j, []journal.Record{{Key: "a"}, {Key: "b"}}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("of a closed journal: %v", err)
	}
	j = open(t, o, Options{})
	c := NewCollector()
	stop := Consume(t, j, c)
	got := map[string][]string{}
	for _, e := range c.Wait(t, taken) {
		got[e.Key] = append(got[e.Key], string(e.Value))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	stop(nil)
}
