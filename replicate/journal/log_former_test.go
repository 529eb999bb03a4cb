package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// formerJournal makes a folder as formats 1 and 2 left it: all records are in pebble, of format 2 so
// many together in an entry, and what there was outside of it says how many they are.
func formerJournal(t *testing.T, dir string, partitions int, records []Record, together int) {
	t.Helper()
	s, err := openStore(dir, vfs.Default, t.Logf, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	set := func(key string, value []byte) {
		t.Helper()
		if err := s.Set([]byte(key), value, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	format := uint32(2)
	if together == 1 {
		format = 1
	}
	set("m/format", binary.BigEndian.AppendUint32(nil, format))
	set("m/partitions", binary.BigEndian.AppendUint32(nil, uint32(partitions)))
	by := map[int32][]Record{}
	for _, r := range records {
		p := partitionOf(r.Key, int32(partitions))
		by[p] = append(by[p], r)
	}
	for p, records := range by {
		offset, before := 0, uint64(0)
		for len(records) > 0 {
			n := min(together, len(records))
			var v []byte
			v = binary.BigEndian.AppendUint64(v, uint64(1e18+offset))
			v = binary.BigEndian.AppendUint64(v, before)
			if together == 1 {
				v = binary.BigEndian.AppendUint32(v, uint32(len(records[0].Key)))
				v = append(append(v, records[0].Key...), records[0].Value...)
			} else {
				v = binary.BigEndian.AppendUint32(v, 1<<31|uint32(n))
				for _, r := range records[:n] {
					v = binary.BigEndian.AppendUint32(v, uint32(len(r.Key)))
					v = binary.BigEndian.AppendUint32(v, uint32(len(r.Value)))
					v = append(append(v, r.Key...), r.Value...)
				}
			}
			records, offset, before = records[n:], offset+n, before+uint64(len(v))
			set(string(entryKey(p, int64(offset-1))), v)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	writeFormerTail(t, dir, uint64(len(records)), nil)
}

func writeFormerTail(t *testing.T, dir string, durable uint64, frames []byte) {
	t.Helper()
	h := binary.BigEndian.AppendUint64([]byte("esptail\x01"), 7)
	h = binary.BigEndian.AppendUint64(h, durable)
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	for name, content := range map[string][]byte{"tail-0": append(h, frames...), "tail-1": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A journal of a former format goes on: what it has is delivered, then what is appended.
func TestFormerFormat(t *testing.T) {
	for _, together := range []int{1, 7} {
		t.Run(fmt.Sprint(together, " in an entry"), func(t *testing.T) {
			dir := t.TempDir()
			want := manyRecords("old", 100, 50)
			formerJournal(t, dir, 3, want, together)
			for round := range 4 {
				e := openTest(t, dir, EmbeddedOptions{})
				if names, _ := filepath.Glob(filepath.Join(dir, "tail-*")); len(names) > 0 {
					t.Errorf("there are still %s", names)
				}
				if e.db.format != storeFormat && round > 0 {
					t.Errorf("format %d", e.db.format)
				}
				more := manyRecords(fmt.Sprint("new", round, "-"), 20, 50)
				appendAllWait(t, e, more)
				want = append(want, more...)
				by := delivered(t, e, len(want))
				next := map[int32]int{}
				for _, r := range want {
					p := e.Partition(r.Key)
					if entry := by[p][next[p]]; entry.Key != r.Key || string(entry.Value) != string(r.Value) || entry.Offset != int64(next[p]) {
						t.Fatalf("partition %d has %.20s at %d, want %.20s at %d", p, entry.Value, entry.Offset, r.Value, next[p])
					}
					next[p]++
				}
				if err := e.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			// All of it is applied, and nothing stays.
			e := openTest(t, dir, EmbeddedOptions{})
			defer e.Close(context.Background())
			for p := range e.parts {
				if err := e.Commit(t.Context(), int32(p), e.parts[p].durable); err != nil {
					t.Fatal(err)
				}
				if err := e.trim(int32(p), 1); err != nil {
					t.Fatal(err)
				}
				i, err := e.db.NewIter(&pebble.IterOptions{LowerBound: partitionKey('j', int32(p)), UpperBound: partitionKey('j', int32(p)+1)})
				if err != nil {
					t.Fatal(err)
				}
				if i.First() {
					t.Errorf("%x is left", i.Key())
				}
				i.Close()
			}
			if e.used != 0 {
				t.Errorf("%d bytes are in use", e.used)
			}
		})
	}
}

func TestFormerFormatThatWasKilled(t *testing.T) {
	dir := t.TempDir()
	formerJournal(t, dir, 3, manyRecords("old", 100, 50), 7)
	writeFormerTail(t, dir, 100, make([]byte, 200))
	for range 2 {
		_, err := OpenEmbedded(dir, EmbeddedOptions{})
		if !errors.Is(err, errNotClosed) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "resync") {
			t.Fatal(err)
		}
	}
	writeFormerTail(t, dir, 100, nil) // as the version before leaves it
	e := openTest(t, dir, EmbeddedOptions{})
	delivered(t, e, 100)
	e.Close(context.Background())
}

func TestFormerFormatThatIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(dir string){
		"records are missing": func(dir string) { writeFormerTail(t, dir, 101, nil) },
		"no tail":             func(dir string) { os.Remove(filepath.Join(dir, "tail-0")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			formerJournal(t, dir, 3, manyRecords("old", 100, 50), 7)
			damage(dir)
			expectRefused(t, dir)
		})
	}
}
