package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A swap is a record that says which state of the key it expects: the number of
// swaps that have succeeded before. All read the topic in the same order, and so
// the first of those that expect the same wins, and the others change nothing.
//
// Compaction must not change who has won. So each of these records has a Kafka
// key of its own, and goes only when it is deleted, which is done when a later
// one has won. Then the last winner is always there, and nobody before or behind
// it expects as much as it does; whoever reads the topic from the start may take
// a loser for a winner on the way, but not at the end.
//
// A process that was behind may read what compaction has left, and then sees a
// loser as the winner for a moment, until it has read on. So who must be sure
// goes by what it sees after a Put or Swap of its own.

// swapHeader is the name of the record's header: "<expected> <key>".
const swapHeader = "swap"

// swapped is what the copy knows of a key that is swapped.
type swapped struct {
	count  uint64 // swaps that have succeeded
	winner string // the record's key of the last one
	at     int64
	stale  map[string]int64 // keys of records that can be deleted → offset
}

// A trial is a swap of this process under way.
type trial struct{ decided, won bool }

// swapOf reads the header.
func swapOf(r *kgo.Record) (key string, expects uint64, ok bool) {
	for _, h := range r.Headers {
		if h.Key == swapHeader {
			number, key, _ := strings.Cut(string(h.Value), " ")
			expects, err := strconv.ParseUint(number, 10, 63)
			return key, expects, err == nil
		}
	}
	return "", 0, false
}

func swapRecord(recordKey, key string, expects uint64, value []byte) *kgo.Record {
	return &kgo.Record{Key: []byte(recordKey), Value: value,
		Headers: []kgo.RecordHeader{{Key: swapHeader, Value: []byte(strconv.FormatUint(expects, 10) + " " + key)}}}
}

// applySwap is called with the mutex held.
func (t *kafkaTable) applySwap(r *kgo.Record, key string, expects uint64) {
	s := t.swaps[key]
	if s == nil {
		s = &swapped{stale: map[string]int64{}}
		t.swaps[key] = s
	}
	name := string(r.Key)
	if r.Value == nil {
		delete(s.stale, name)
		return
	}
	won := expects >= s.count // more only where compaction has left a gap
	if won {
		if s.winner != "" {
			s.stale[s.winner] = s.at
		}
		s.count, s.winner, s.at = expects+1, name, r.Offset
		t.keep(key, r.Value)
	} else {
		s.stale[name] = r.Offset
	}
	if mine := t.trials[name]; mine != nil {
		mine.decided, mine.won = true, won
	}
}

// unswapped refuses to put or delete what is swapped: nobody would see it.
func (t *kafkaTable) unswapped(key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isSwapped(key) {
		return fmt.Errorf("table %s: %q is changed by swaps only", t.name, key)
	}
	return nil
}

// isSwapped is called with the mutex held.
func (t *kafkaTable) isSwapped(key string) bool {
	s := t.swaps[key]
	return s != nil && s.count > 0
}

// Swap writes what it expects and waits for its record to come back. If the copy
// was begun anew meanwhile the outcome is unknown: it may have been compacted.
func (t *kafkaTable) Swap(ctx context.Context, key string, before, after []byte) (bool, error) {
	if after == nil {
		return false, errNilSwap
	}
	if err := t.fits(ctx, key, after); err != nil {
		return false, err
	}
	name := key + "\x00swap\x00" + rand.Text()
	mine := &trial{}
	t.mu.Lock()
	if !sameValue(t.values[key], before) {
		t.mu.Unlock()
		return false, nil
	}
	var expects uint64
	if s := t.swaps[key]; s != nil {
		expects = s.count
	}
	t.trials[name] = mine
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.trials, name)
		t.mu.Unlock()
	}()
	if err := t.write(ctx, key, swapRecord(name, key, expects, append([]byte{}, after...))); err != nil {
		return false, err
	}
	t.mu.Lock()
	decided, won := mine.decided, mine.won
	t.mu.Unlock()
	if !decided {
		return false, fmt.Errorf("table %s: %q is written, and what became of it is unknown: the table was read anew", t.name, key)
	}
	if won {
		t.sweep(key)
	}
	return won, nil
}

// sweepAtOnce bounds the records that one swap deletes.
const sweepAtOnce = 100

// sweep deletes the records of a key that decide nothing any more: the losers
// before the winner that they lost against. What fails is left to the next winner.
func (t *kafkaTable) sweep(key string) {
	type old struct {
		name string
		at   int64
	}
	var list []old
	t.mu.Lock()
	if s := t.swaps[key]; s != nil {
		for name, at := range s.stale {
			list = append(list, old{name, at})
		}
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b old) int { return cmp.Compare(b.at, a.at) })
	for _, o := range list[:min(len(list), sweepAtOnce)] {
		record := swapRecord(o.name, key, 0, nil)
		record.Topic = t.topic
		if t.k.produce(record, func(*kgo.Record, error) {}) != nil {
			return
		}
	}
}
