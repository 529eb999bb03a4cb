package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memoryDisk is a disk that can be copied as a kill or a power cut would leave it.
func memoryDisk(t testing.TB, dir string) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		f, err := disk.OpenDir(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if d == filepath.Dir(d) {
			return disk
		}
	}
}

// afterKill is the disk with all that was written, afterCut with what was synced and about so much of the rest.
func afterKill(disk *vfs.MemFS) *vfs.MemFS { return afterCut(disk, 100) }

func afterCut(disk *vfs.MemFS, percent int) *vfs.MemFS {
	return disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(rand.Uint64(), 1))})
}

func readFile(t testing.TB, disk vfs.FS, name string) []byte {
	t.Helper()
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if n, _ := f.ReadAt(b, 0); n != len(b) {
		t.Fatalf("%d of %d bytes", n, len(b))
	}
	return b
}

func writeFile(t testing.TB, disk vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// readAll reads a partition from where it is committed.
func readAll(e *Embedded, p int32) (entries []Entry, err error) {
	for next := e.parts[p].committed; next < e.parts[p].durable; {
		some, err := e.read(p, next, e.parts[p].durable)
		if err != nil {
			return entries, err
		}
		for _, entry := range some {
			if entry.Offset != next {
				return entries, fmt.Errorf("offset %d where %d should be", entry.Offset, next)
			}
			next++
		}
		entries = append(entries, some...)
	}
	return entries, nil
}

// shrinkAll has the trimmer do all that there is to do.
func shrinkAll(t testing.TB, e *Embedded) {
	t.Helper()
	for moved := true; moved; {
		var err error
		if moved, err = e.shrinkLog(); err != nil {
			t.Fatal(err)
		}
	}
}

func segmentFiles(t testing.TB, disk vfs.FS, dir string) (names []string) {
	t.Helper()
	all, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if segmentNumber(name) > 0 {
			names = append(names, filepath.Join(dir, name))
		}
	}
	return names
}

// Whatever byte of the log is flipped, and wherever one of its files is cut: nothing that was
// durable is missing without a word.
func TestLogEveryByte(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	o := EmbeddedOptions{fs: disk, segmentBytes: 400, Partitions: 2, TrimInterval: time.Hour}
	e := openTest(t, dir, o)
	var want [2][]string
	for i := range 8 {
		key, value := fmt.Sprint("k", i%3), fmt.Sprint("v", i)
		appendWait(t, e, key, value)
		want[e.Partition(key)] = append(want[e.Partition(key)], value)
	}
	appendAllWait(t, e, []Record{{"k0", []byte("a")}, {"k0", []byte("b")}})
	want[e.Partition("k0")] = append(want[e.Partition("k0")], "a", "b")
	if err := e.Table("t").Put(t.Context(), "k", nil); err != nil { // the writer has done what follows
		t.Fatal(err)
	}
	states := map[string]*vfs.MemFS{"killed": afterKill(disk)}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	states["closed"] = afterKill(disk)
	for state, disk := range states {
		files := append(segmentFiles(t, disk, dir), filepath.Join(dir, noteName))
		if len(files) < 4 {
			t.Fatal(files)
		}
		opened, unread := 0, 0
		// try opens what somebody has damaged.
		try := func(what string, damaged *vfs.MemFS) {
			o := o
			o.fs, o.Logf = damaged, nil
			e, err := OpenEmbedded(dir, o)
			if err != nil {
				if !errors.Is(err, errBroken) {
					t.Fatalf("%s: %v", what, err)
				}
				return
			}
			defer e.Close(context.Background())
			opened++
			for p := range int32(2) {
				entries, err := readAll(e, p)
				for i, entry := range entries {
					if string(entry.Value) != want[p][i] {
						t.Fatalf("%s: record %d of partition %d is %q, want %q", what, i, p, entry.Value, want[p][i])
					}
				}
				if err != nil {
					unread++
				} else if len(entries) != len(want[p]) {
					t.Fatalf("%s: partition %d has %d records, want %d", what, p, len(entries), len(want[p]))
				}
			}
		}
		for _, name := range files {
			content := readFile(t, disk, name)
			for at := 0; at < len(content); at++ {
				if testing.Short() {
					at += rand.IntN(10)
					if at >= len(content) {
						break
					}
				}
				damaged := afterKill(disk)
				b := bytes.Clone(content)
				b[at] ^= 1 << rand.IntN(8)
				writeFile(t, damaged, name, b)
				try(fmt.Sprintf("%s, %s flipped at %d", state, filepath.Base(name), at), damaged)
				damaged = afterKill(disk)
				writeFile(t, damaged, name, content[:at])
				try(fmt.Sprintf("%s, %s cut at %d", state, filepath.Base(name), at), damaged)
			}
		}
		t.Logf("%s: of all the damage %d could be opened, of which %d said it when they were read", state, opened, unread)
	}
}

// A model is what writers know of a journal: per key how many records were appended, and
// acknowledged. Each record says which one of its key it is.
type model struct {
	mu                     sync.Mutex
	appended, acknowledged map[string]int
}

func (m *model) counts() (appended, acknowledged map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	appended, acknowledged = map[string]int{}, map[string]int{}
	for k, n := range m.appended {
		appended[k] = n
	}
	for k, n := range m.acknowledged {
		acknowledged[k] = n
	}
	return appended, acknowledged
}

func (m *model) begin(key string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appended[key], m.acknowledged[key] = n, n
}

// write appends records of one key until stop is closed.
func (m *model) write(e *Embedded, key string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		m.mu.Lock()
		from := m.appended[key]
		m.mu.Unlock()
		n := 1
		if rand.IntN(2) == 0 {
			n += rand.IntN(30)
		}
		var records []Record
		for i := range n {
			value := fmt.Appendf(nil, "%d ", from+i)
			records = append(records, Record{key, append(value, make([]byte, rand.IntN(700))...)})
		}
		done := func(err error) {
			if err == nil {
				m.mu.Lock()
				m.acknowledged[key] = max(m.acknowledged[key], from+n)
				m.mu.Unlock()
			}
		}
		var err error
		if n == 1 {
			err = e.Append(records[0], func(_ Position, err error) { done(err) })
		} else {
			err = e.AppendAll(records, done)
		}
		if err == nil {
			m.mu.Lock()
			m.appended[key] = from + n
			m.mu.Unlock()
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
}

// checkModel reads all that is not committed. Each partition has the records of one key, so
// that a record's number is its offset, and at least as many as its key has to have.
func checkModel(t *testing.T, e *Embedded, least map[string]int) {
	t.Helper()
	for p := range e.Partitions() {
		entries, err := readAll(e, p)
		if err != nil {
			t.Fatalf("partition %d: %v", p, err)
		}
		for _, entry := range entries {
			var i int64
			fmt.Sscan(string(bytes.TrimRight(entry.Value, "\x00")), &i)
			if i != entry.Offset || entry.Partition != e.Partition(entry.Key) {
				t.Fatalf("partition %d at %d: record %d of %s", p, entry.Offset, i, entry.Key)
			}
		}
	}
	for key, n := range least {
		if there := e.parts[e.Partition(key)].durable; there < int64(n) {
			t.Fatalf("%d records of %s are there, want %d", there, key, n)
		}
	}
}

// Kills and power cuts at any moment, while writers append, some partitions are applied and one
// is not, segments change, are removed and are moved into pebble. The journal that is left goes on.
func TestLogCrashes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	const stuck = "stuck"
	var least map[string]int // of each key
	moved, removed := false, false
	rounds := 20
	if testing.Short() {
		rounds = 8
	}
	for round := 0; round < rounds || !(moved && removed) && round < 10*rounds; round++ {
		slow := &brokenFS{FS: disk, delay: time.Duration(rand.IntN(3)) * time.Millisecond}
		e := openTest(t, dir, EmbeddedOptions{fs: slow, Partitions: 5, segmentBytes: 20_000, slackBytes: 50_000, TrimInterval: time.Hour, Logf: func(string, ...any) {}})
		checkModel(t, e, least)
		m := &model{appended: map[string]int{}, acknowledged: map[string]int{}}
		removed = removed || e.log.begun > 0 && e.log.segments[0].number > 1
		moved = moved || e.parts[e.Partition(stuck)].old > 0
		stop := make(chan struct{})
		var wg sync.WaitGroup
		keys := []string{stuck, "a", "b", "c", "d", "e"}
		used := map[int32]bool{}
		for _, key := range keys {
			if p := e.Partition(key); !used[p] { // one key a partition, so that counts are offsets
				used[p] = true
				m.begin(key, int(e.parts[p].next))
				wg.Go(func() { m.write(e, key, stop) })
			}
		}
		wg.Go(func() { // what is applied is trimmed at once
			for ctx := context.Background(); ; time.Sleep(time.Millisecond) {
				select {
				case <-stop:
					return
				default:
				}
				for p := range e.Partitions() {
					e.mu.Lock()
					durable := e.parts[p].durable
					e.mu.Unlock()
					if p == e.Partition(stuck) {
						continue
					}
					if err := e.Commit(ctx, p, durable-min(durable, rand.Int64N(20))); err != nil {
						t.Error(err)
						return
					}
					if err := e.trim(p, 1); err != nil {
						t.Error(err)
						return
					}
				}
				if _, err := e.shrinkLog(); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for more := 300 + rand.IntN(300); ; time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) {
			if appended, _ := m.counts(); appended[stuck] > least[stuck]+more {
				break
			}
		}
		if round%2 == 0 {
			least, _ = m.counts()
			disk = afterKill(disk) // whatever has returned is there
		} else {
			_, least = m.counts()
			disk = afterCut(disk, rand.IntN(100))
		}
		close(stop)
		wg.Wait()
		if err := e.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	e := openTest(t, dir, EmbeddedOptions{fs: disk, segmentBytes: 20_000})
	defer e.Close(context.Background())
	checkModel(t, e, least)
	p := &e.parts[e.Partition(stuck)]
	if p.committed != 0 {
		t.Errorf("%d is committed", p.committed)
	}
	if !moved || !removed {
		t.Errorf("moved %t, removed %t: that was not tested", moved, removed)
	}
	t.Logf("%d records of the partition that is not applied, %d in pebble; %d segments, from %d on", p.durable, p.old, len(e.log.segments), e.log.segments[0].number)
}

// A partition that is not applied does not hold up the space of the others, and has all of
// its records in their order when it is.
func TestLogStuckPartition(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const slack = 200_000
	o := EmbeddedOptions{Partitions: 4, segmentBytes: 30_000, slackBytes: slack, TrimInterval: time.Hour}
	e := openTest(t, dir, o)
	stuck, other := e.Partition("stuck"), e.Partition("other")
	if stuck == other {
		t.Fatal("choose other keys")
	}
	kept := 0
	for i := range 2000 {
		value := fmt.Sprint(i, " ", string(make([]byte, 900)))
		if i%10 == 0 {
			appendWait(t, e, "stuck", value)
			kept++
		} else {
			appendWait(t, e, "other", value)
		}
		if i%100 != 99 {
			continue
		}
		if err := e.Commit(t.Context(), other, e.parts[other].durable); err != nil {
			t.Fatal(err)
		}
		if err := e.trim(other, 1); err != nil {
			t.Fatal(err)
		}
		shrinkAll(t, e)
		var log int64
		for _, name := range segmentFiles(t, vfs.Default, dir) {
			info, err := vfs.Default.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			log += info.Size()
		}
		if most := int64(kept*1000*3/2 + slack + 2*30_000); log > most {
			t.Fatalf("the log has %d bytes, at most %d are right", log, most)
		}
		if i%500 == 499 {
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			e = openTest(t, dir, o)
		}
	}
	defer func() { e.Close(context.Background()) }()
	if e.parts[stuck].old == 0 || e.parts[stuck].old >= int64(kept) {
		t.Fatalf("%d of %d records are in pebble", e.parts[stuck].old, kept)
	}
	check := func(committed int) {
		t.Helper()
		entries, err := readAll(e, stuck)
		if err != nil || len(entries) != kept-committed {
			t.Fatalf("%d records, %v", len(entries), err)
		}
		for i, entry := range entries {
			if want := fmt.Sprint((committed+i)*10, " "); !bytes.HasPrefix(entry.Value, []byte(want)) {
				t.Fatalf("record %d is %.10q, want %q", i, entry.Value, want)
			}
		}
	}
	check(0)
	for _, committed := range []int{1, kept / 4, kept - 3, kept} {
		if err := e.Commit(t.Context(), stuck, int64(committed)); err != nil {
			t.Fatal(err)
		}
		if err := e.trim(stuck, 1); err != nil {
			t.Fatal(err)
		}
		shrinkAll(t, e)
		check(committed)
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e = openTest(t, dir, o)
		check(committed)
	}
	if e.used != 0 || len(segmentFiles(t, vfs.Default, dir)) > 3 {
		t.Errorf("%d bytes are in use, and there are %s", e.used, segmentFiles(t, vfs.Default, dir))
	}
}

// A journal that is opened often does not gather files, nor lose count.
func TestLogReopened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	total, committed := 0, 0
	for round := range 60 {
		e := openTest(t, dir, EmbeddedOptions{fs: disk, Partitions: 1, TrimInterval: time.Hour, Logf: func(string, ...any) {}})
		if e.parts[0].committed != int64(committed) || e.parts[0].next != int64(total) {
			t.Fatalf("round %d: %+v, want %d and %d", round, e.parts[0], committed, total)
		}
		entries, err := readAll(e, 0)
		if err != nil || len(entries) != total-committed {
			t.Fatalf("%d records, want %d: %v", len(entries), total-committed, err)
		}
		for i, entry := range entries {
			if string(entry.Value) != fmt.Sprint(committed+i) {
				t.Fatalf("record %d is %q", committed+i, entry.Value)
			}
		}
		for range rand.IntN(4) {
			appendWait(t, e, "k", fmt.Sprint(total))
			total++
		}
		committed = max(committed, total-rand.IntN(6))
		if err := e.Commit(t.Context(), 0, int64(committed)); err != nil {
			t.Fatal(err)
		}
		if round%3 > 0 {
			if err := e.trim(0, 1); err != nil {
				t.Fatal(err)
			}
			shrinkAll(t, e)
		}
		if n := len(segmentFiles(t, disk, dir)); n > 12 {
			t.Fatalf("round %d: there are %d segments", round, n)
		}
		if round%2 == 0 {
			disk = afterKill(disk)
			e.Close(context.Background())
		} else if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// As many partitions as there may be, over several segments, and again after opening.
func TestLogManyPartitions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	e := openTest(t, dir, EmbeddedOptions{fs: disk, Partitions: maxPartitions, segmentBytes: 1 << 20})
	const total = 20_000
	for i := 0; i < total; i += 500 {
		var records []Record
		for k := range 500 {
			records = append(records, Record{fmt.Sprint("index-", rand.IntN(5000)), fmt.Appendf(nil, "%d%s", i+k, string(make([]byte, 200)))})
		}
		appendAllWait(t, e, records)
	}
	for range 2 {
		if n := e.log.runs; n > 2*total {
			t.Errorf("%d runs", n)
		}
		last := map[string]int{}
		n := 0
		for _, entries := range delivered(t, e, total) {
			for i, entry := range entries {
				var number int
				fmt.Sscan(string(bytes.TrimRight(entry.Value, "\x00")), &number)
				if before, seen := last[entry.Key]; seen && number < before || entry.Offset != int64(i) {
					t.Fatalf("%s: %d behind %d, at %d", entry.Key, number, before, entry.Offset)
				}
				last[entry.Key] = number
				n++
			}
		}
		if n != total {
			t.Fatalf("%d records", n)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e = openTest(t, dir, EmbeddedOptions{fs: disk})
	}
	e.Close(context.Background())
}

// Runs are long when there are many, and records are found in them.
func TestLogLongRuns(t *testing.T) {
	e := openTest(t, t.TempDir(), EmbeddedOptions{Partitions: 20})
	defer e.Close(context.Background())
	e.mu.Lock()
	e.log.runs += manyRuns
	e.mu.Unlock()
	records := manyRecords("a", 4000, 600)
	appendAllWait(t, e, records)
	appendAllWait(t, e, records)
	if n := e.log.runs - manyRuns; n > 40*7 {
		t.Errorf("%d runs", n)
	}
	delivered(t, e, 2*len(records))
	p := e.Partition("index-3")
	if err := e.Commit(t.Context(), p, 500); err != nil {
		t.Fatal(err)
	}
	if err := e.trim(p, 1); err != nil {
		t.Fatal(err)
	}
	if first := e.parts[p].first; first != 500 {
		t.Errorf("it begins at %d", first)
	}
}

// Whatever stands in a file of the log, the journal opens or says that it is broken.
func FuzzOpenLog(f *testing.F) {
	dir := f.TempDir()
	disk := memoryDisk(f, dir)
	e, err := OpenEmbedded(dir, EmbeddedOptions{fs: disk, Partitions: 2, segmentBytes: 300})
	if err != nil {
		f.Fatal(err)
	}
	var done sync.WaitGroup
	for i := range 9 {
		done.Add(1)
		e.Append(Record{fmt.Sprint("k", i%3), []byte("value")}, func(Position, error) { done.Done() })
	}
	done.Wait()
	empty := memoryDisk(f, dir)
	for _, name := range segmentFiles(f, disk, dir) {
		f.Add(readFile(f, disk, name), uint64(0))
		f.Add(readFile(f, disk, name), uint64(3))
	}
	e.Close(context.Background())
	f.Fuzz(func(t *testing.T, content []byte, durable uint64) {
		disk := afterKill(empty)
		writeFile(t, disk, filepath.Join(dir, segmentName(1)), content)
		e, err := OpenEmbedded(dir, EmbeddedOptions{fs: disk, Partitions: 2})
		if err != nil {
			if !errors.Is(err, errBroken) {
				t.Error(err)
			}
			return
		}
		defer e.Close(context.Background())
		for p := range int32(2) {
			if _, err := readAll(e, p); err != nil && !errors.Is(err, errBroken) {
				t.Error(err)
			}
		}
	})
}

// A write that fails in the midst is the last one: nobody gets in behind it.
func TestLogFailedWriteIsTheLast(t *testing.T) {
	t.Parallel()
	for range 5 {
		fs := &brokenFS{FS: vfs.NewMem()}
		var failed, after atomic.Int64
		dir := t.TempDir()
		fs.MkdirAll(dir, 0o700)
		e := openTest(t, dir, EmbeddedOptions{fs: fs, Logf: func(string, ...any) {}})
		fs.break_(func(op, name string) error {
			if op != "write" || segmentNumber(name) == 0 {
				return nil
			}
			time.Sleep(2 * time.Millisecond) // others wait for the mutex, and get it in turn
			if failed.Load() > 0 {
				after.Add(1)
			} else if rand.IntN(8) == 0 {
				failed.Add(1)
				return syscall.ENOSPC
			}
			return nil
		})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for e.Append(Record{"k", []byte("v")}, func(Position, error) {}) == nil {
				}
			})
		}
		wg.Wait()
		if n := after.Load(); n > 0 {
			t.Errorf("%d records were written behind it", n)
		}
		e.Close(context.Background())
	}
}

// What is left of a write that failed, behind the last record, does not keep the journal closed.
func TestLogFrameThatDoesNotBelong(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f frame, next int64, before uint64) uint64{
		"another count":  func(_ frame, _ int64, before uint64) uint64 { return before + 3 },
		"another offset": func(f frame, next int64, before uint64) uint64 { f.place(next+2, time.Now(), 0); return before },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk := memoryDisk(t, dir)
			e := openTest(t, dir, EmbeddedOptions{fs: disk})
			for i := range 5 {
				appendWait(t, e, "k", fmt.Sprint(i, " x"))
			}
			disk = afterKill(disk)
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := Record{"k", []byte("5 x")}
			f := newFrame(make([]byte, frameBytes(r)), r)
			f.assign(e.Partition("k"))
			f.place(5, time.Now(), 0)
			f.seal(1, change(f, 5, 5), 5)
			log := filepath.Join(dir, segmentName(1))
			content, damaged := readFile(t, disk, log), afterKill(disk)
			writeFile(t, disk, log, append(bytes.Clone(content), f...))
			for range 2 {
				e := openTest(t, dir, EmbeddedOptions{fs: disk})
				expectRecords(t, e, 5)
				if err := e.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			// But one that says that more was durable tells of damage.
			f.seal(1, 8, 7)
			writeFile(t, damaged, log, append(content, f...))
			if _, err := OpenEmbedded(dir, EmbeddedOptions{fs: damaged}); !errors.Is(err, errBroken) {
				t.Error(err)
			}
		})
	}
}

// Damage in what is applied does not keep what is intact from being read, trimmed and moved.
func TestLogDamageInWhatIsApplied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	e := openTest(t, dir, EmbeddedOptions{fs: disk, Partitions: 2, TrimInterval: time.Hour})
	const total, applied = 60, 10
	for i := range total {
		appendWait(t, e, "k", fmt.Sprint(i, " x"))
	}
	// One frame is applied in part.
	var last []Record
	for i := range 3 {
		last = append(last, Record{"other", fmt.Append(nil, i)})
	}
	appendAllWait(t, e, last)
	p, other := e.Partition("k"), e.Partition("other")
	if p == other {
		t.Fatal("choose other keys")
	}
	for partition, n := range map[int32]int64{p: applied, other: 2} {
		if err := e.Commit(t.Context(), partition, n); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the next opening stores a row of the segment, so that it is not read any more
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e = openTest(t, dir, EmbeddedOptions{fs: disk, TrimInterval: time.Hour, Logf: func(string, ...any) {}})
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, segmentName(1))
	content := readFile(t, disk, log)
	for _, what := range []string{"k0 x", "k9 x"} {
		damaged := afterKill(disk)
		b := bytes.Clone(content)
		b[bytes.Index(b, []byte(what))] ^= 4
		writeFile(t, damaged, log, b)
		for round := range 4 { // read; trimmed; moved, too; and opened again
			e := openTest(t, dir, EmbeddedOptions{fs: damaged, TrimInterval: time.Hour, Logf: func(string, ...any) {}})
			if round > 0 {
				if err := e.trim(p, 1); err != nil {
					t.Fatal(what, err)
				}
			}
			if round == 2 {
				if err := e.move(e.log.segments[0], 0); err != nil {
					t.Fatal(what, err)
				}
			}
			entries, err := readAll(e, p)
			if err != nil || len(entries) != total-applied || string(entries[0].Value) != fmt.Sprint(applied, " x") {
				t.Fatal(what, round, len(entries), err)
			}
			if entries, err = readAll(e, other); err != nil || len(entries) != 1 || string(entries[0].Value) != "2" {
				t.Fatal(what, round, len(entries), err)
			}
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(what, err)
			}
		}
	}
}

// Large records are moved also while there is always something that is not durable yet.
func TestLogMovesUnderLoad(t *testing.T) {
	t.Parallel()
	const most = 200_000
	fs := &brokenFS{FS: vfs.NewMem(), delay: 2 * time.Millisecond}
	dir := t.TempDir()
	fs.MkdirAll(dir, 0o700)
	e := openTest(t, dir, EmbeddedOptions{fs: fs, MaxPendingBytes: most, segmentBytes: 7 << 20, TrimInterval: time.Hour})
	defer e.Close(context.Background())
	for range 40 {
		appendWait(t, e, "large", string(make([]byte, most-100)))
	}
	full := e.log.segments[0]
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for w := range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				e.Append(Record{fmt.Sprint("k", w), make([]byte, 900)}, func(Position, error) {})
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	moved := make(chan error, 1)
	go func() { moved <- e.move(full, 0) }()
	select {
	case err := <-moved:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is moved")
	}
}

// A journal that is opened again and again, and killed before it trims, does not gather segments that have
// nothing that is kept, and not more of the others than the trimmer allows.
func TestLogOpenedInALoop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	open := func() *Embedded {
		return openTest(t, dir, EmbeddedOptions{fs: disk, Partitions: 1, TrimInterval: time.Hour, Logf: func(string, ...any) {}})
	}
	total := 0
	for range 20 {
		e := open()
		appendWait(t, e, "k", fmt.Sprint(total))
		total++
		if err := e.Commit(t.Context(), 0, int64(total)); err != nil {
			t.Fatal(err)
		}
		if err := e.trim(0, 1); err != nil { // but the segments are not looked at
			t.Fatal(err)
		}
		disk = afterKill(disk)
		e.Close(context.Background())
	}
	e := open()
	if names := segmentFiles(t, disk, dir); len(names) > 3 {
		t.Errorf("there are %s", names)
	}
	e.Close(context.Background())
	for range mostSegments + 10 {
		e := open()
		appendWait(t, e, "k", fmt.Sprint(total))
		total++
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e = open()
	defer func() { e.Close(context.Background()) }()
	for start := time.Now(); len(segmentFiles(t, disk, dir)) > mostSegments+1; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("there are %d segments", len(segmentFiles(t, disk, dir)))
		}
	}
	entries, err := readAll(e, 0)
	if err != nil || len(entries) != mostSegments+10 {
		t.Error(len(entries), err)
	}
}

// If the next segment cannot be made, the present one is gone on with, and it is tried again.
func TestLogSegmentCannotBeMade(t *testing.T) {
	t.Parallel()
	for _, lacking := range []error{syscall.ENOSPC, syscall.EMFILE} {
		dir, fs := t.TempDir(), &brokenFS{FS: vfs.Default}
		var mu sync.Mutex
		var lines []string
		e := openTest(t, dir, EmbeddedOptions{fs: fs, segmentBytes: 10_000, Logf: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, fmt.Sprintf(format, args...))
		}})
		fs.break_(func(op, name string) error {
			if op == "open" && segmentNumber(name) > 0 {
				return lacking
			}
			return nil
		})
		n := 0
		write := func() {
			for range 50 {
				appendWait(t, e, "k", fmt.Sprint(n, " x", string(make([]byte, 1000))))
				n++
			}
		}
		write()
		if len(e.log.segments) > 2 {
			t.Fatalf("there are %d segments: nothing was broken", len(e.log.segments))
		}
		mu.Lock()
		if len(lines) != 1 || !strings.Contains(lines[0], lacking.Error()) || !strings.Contains(lines[0], dir) {
			t.Errorf("%d lines: %q", len(lines), lines)
		}
		mu.Unlock()
		fs.breaks.Store(nil)
		write()
		if len(e.log.segments) < 4 {
			t.Errorf("there are %d segments: it was not tried again", len(e.log.segments))
		}
		for range 2 {
			expectRecords(t, e, int64(n))
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			e = openTest(t, dir, EmbeddedOptions{})
		}
		e.Close(context.Background())
	}
}
