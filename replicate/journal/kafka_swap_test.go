package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func newCopy() *kafkaTable {
	return &kafkaTable{values: map[string][]byte{}, swaps: map[string]*swapped{}, trials: map[string]*trial{}}
}

func (t *kafkaTable) readAll(log []*kgo.Record) *kafkaTable {
	for _, r := range log {
		t.apply(r)
	}
	return t
}

// compacted is what Kafka may make of a log: before some point, records with a
// later one of the same key go, some sooner than others, and so do deletions of
// which the records are gone.
func compacted(log []*kgo.Record, random *rand.Rand) []*kgo.Record {
	clean := random.IntN(len(log) + 1)
	last := map[string]int{}
	for i, r := range log[:clean] {
		last[string(r.Key)] = i
	}
	left := map[string]bool{} // records that a deletion is still needed for
	var out []*kgo.Record
	for i, r := range log {
		key := string(r.Key)
		switch {
		case i >= clean:
		case last[key] != i:
			if random.IntN(3) > 0 {
				continue
			}
			left[key] = true
		case r.Value == nil && !left[key] && random.IntN(2) > 0:
			continue
		}
		out = append(out, r)
	}
	return out
}

// Whatever compaction leaves, who reads the log to its end finds what they found
// who had read all of it.
func TestCompactionChangesNoWinner(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 0))
		all := newCopy()
		var log []*kgo.Record
		write := func(r *kgo.Record) {
			r.Offset = int64(len(log))
			log = append(log, r)
			all.apply(r)
		}
		if random.IntN(2) > 0 {
			write(&kgo.Record{Key: []byte("k"), Value: []byte("put")})
		}
		type late struct {
			at int
			r  *kgo.Record
		}
		var underway []late // what was written earlier and lands later
		for i := range 40 {
			for len(underway) > 0 && underway[0].at <= i {
				write(underway[0].r)
				underway = underway[1:]
			}
			var count uint64
			if s := all.swaps["k"]; s != nil {
				count = s.count
			}
			switch random.IntN(4) {
			case 0: // lands at once
				write(swapRecord(fmt.Sprint("k", i), "k", count, []byte(fmt.Sprint(i))))
			case 1: // lands later, and loses mostly
				underway = append(underway, late{i + random.IntN(10), swapRecord(fmt.Sprint("k", i), "k", count, []byte(fmt.Sprint(i)))})
				slices.SortStableFunc(underway, func(a, b late) int { return a.at - b.at })
			case 2: // the winner sweeps, maybe not all
				if all.swaps["k"] != nil {
					var names []string
					for name := range all.swaps["k"].stale {
						names = append(names, name)
					}
					slices.SortFunc(names, func(a, b string) int { return int(all.swaps["k"].stale[b] - all.swaps["k"].stale[a]) })
					for _, name := range names[:len(names)-random.IntN(len(names)/2+1)] {
						write(swapRecord(name, "k", 0, nil))
					}
				}
			case 3:
				write(&kgo.Record{Key: []byte("other"), Value: []byte("x")})
			}
		}
		for range 10 {
			short := compacted(log, random)
			again := newCopy().readAll(short)
			if again.isSwapped("k") != all.isSwapped("k") || string(again.values["k"]) != string(all.values["k"]) ||
				all.isSwapped("k") && again.swaps["k"].count != all.swaps["k"].count {
				for _, r := range short {
					t.Logf("%d %s %v %q", r.Offset, r.Key, r.Headers, r.Value)
				}
				t.Fatalf("seed %d: of %d records %d are left, and the value is %q, not %q", seed, len(log), len(short), again.values["k"], all.values["k"])
			}
		}
	}
}
