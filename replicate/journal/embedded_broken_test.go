package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// brokenFS makes the files of pebble slow or broken while a test runs.
type brokenFS struct {
	vfs.FS
	delay  time.Duration // of every sync of a log
	read   atomic.Int64  // bytes of segments
	breaks atomic.Pointer[func(op, name string) error]
}

func (fs *brokenFS) break_(f func(op, name string) error) { fs.breaks.Store(&f) }

func (fs *brokenFS) check(op, name string) error {
	if f := fs.breaks.Load(); f != nil {
		return (*f)(op, filepath.Base(name))
	}
	return nil
}

func (fs *brokenFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &brokenFile{f, fs, name}, nil
}

func (fs *brokenFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.check("create", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

func (fs *brokenFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := fs.check("open", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return fs.wrap(name, f, err)
}

func (fs *brokenFS) Remove(name string) error {
	if err := fs.check("remove", name); err != nil {
		return err
	}
	return fs.FS.Remove(name)
}

func (fs *brokenFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return fs.wrap(name, f, err)
}

type brokenFile struct {
	vfs.File
	fs   *brokenFS
	name string
}

func (f *brokenFile) Write(p []byte) (int, error) {
	if err := f.fs.check("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *brokenFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.fs.check("write", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

func (f *brokenFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if segmentNumber(f.name) > 0 {
		f.fs.read.Add(int64(n))
	}
	return n, err
}

func (f *brokenFile) SyncData() error { return f.sync(f.File.SyncData) }
func (f *brokenFile) Sync() error     { return f.sync(f.File.Sync) }

func (f *brokenFile) sync(do func() error) error {
	if strings.HasSuffix(f.name, ".log") || segmentNumber(f.name) > 0 {
		time.Sleep(f.fs.delay)
	}
	if err := f.fs.check("sync", f.name); err != nil {
		return err
	}
	return do()
}

func openTest(t *testing.T, dir string, o EmbeddedOptions) *Embedded {
	t.Helper()
	if o.Logf == nil {
		o.Logf = t.Logf
	}
	e, err := OpenEmbedded(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Each case breaks the disk under a running journal. It has to stop, say why,
// and after reopening on a sound disk everything that was acknowledged is there.
func TestEmbeddedStopsWhenTheDiskBreaks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks func(op, name string) error
		locked bool // only a new process can open it again
	}{
		"sync of the log fails": {breaks: func(op, name string) error {
			if op == "sync" && segmentNumber(name) > 0 {
				return syscall.EIO
			}
			return nil
		}},
		"sync of the store's log fails": {breaks: func(op, name string) error {
			if op == "sync" && strings.HasSuffix(name, ".log") {
				return syscall.EIO
			}
			return nil
		}},
		"a segment cannot be made": {breaks: func(op, name string) error {
			if op == "open" && segmentNumber(name) > 0 {
				return syscall.EIO
			}
			return nil
		}},
		"it cannot be noted what is durable": {breaks: func(op, name string) error {
			if op == "write" && name == noteName {
				return syscall.ENOSPC
			}
			return nil
		}},
		"the disk is full": {breaks: func(op, name string) error {
			if op != "sync" {
				return syscall.ENOSPC
			}
			return nil
		}},
		"a table cannot be written": {breaks: func(op, name string) error {
			if strings.HasSuffix(name, ".sst") {
				return syscall.ENOSPC
			}
			return nil
		}},
		"the manifest cannot be written": {locked: true, breaks: func(op, name string) error {
			if strings.HasPrefix(name, "MANIFEST") {
				return syscall.EIO
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, fs := t.TempDir(), &brokenFS{FS: vfs.Default}
			e := openTest(t, dir, EmbeddedOptions{fs: fs, segmentBytes: 1 << 20})
			consumed := make(chan error, 1)
			go func() { consumed <- e.Consume(context.Background(), newCollector()) }()
			acknowledged := 0
			for range 100 {
				appendWait(t, e, "k", "v")
				acknowledged++
			}
			fs.break_(test.breaks)
			var refused error
			value := []byte(strings.Repeat("x", 10_000))
			limit := time.Now().Add(2 * time.Minute)
			for refused == nil && time.Now().Before(limit) {
				put := e.Table("state").Put(context.Background(), "k", value)
				if put != nil && !errors.Is(put, ErrClosed) {
					t.Fatalf("Put returned %v", put)
				}
				acks := make(chan error, 1)
				if refused = e.Append(Record{"k", value}, func(_ Position, err error) { acks <- err }); refused != nil {
					break
				}
				select {
				case err := <-acks:
					if err == nil {
						acknowledged++
					} else if !errors.Is(err, ErrClosed) {
						t.Fatalf("done got %v", err)
					}
				case <-time.After(time.Minute):
					t.Fatal("done was not called")
				}
			}
			if !errors.Is(refused, ErrClosed) || !strings.Contains(refused.Error(), dir) {
				t.Fatalf("Append returned %v", refused)
			}
			if err := e.Ping(context.Background()); !errors.Is(err, ErrClosed) || err.Error() != refused.Error() {
				t.Errorf("Ping: %v", err)
			}
			if err := e.Commit(context.Background(), e.Partition("k"), 1); !errors.Is(err, ErrClosed) {
				t.Errorf("Commit: %v", err)
			}
			select {
			case err := <-consumed:
				if !errors.Is(err, ErrClosed) {
					t.Errorf("Consume: %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("Consume has not ended")
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			err := e.Close(ctx)
			t.Logf("refused: %v", refused)
			t.Logf("Close: %v", err)
			fs.breaks.Store(nil)
			if test.locked {
				if _, err := OpenEmbedded(dir, EmbeddedOptions{}); !errors.Is(err, ErrInUse) {
					t.Fatalf("opened again: %v", err)
				}
				return
			}
			e = openTest(t, dir, EmbeddedOptions{})
			if b, _ := e.Bounds(ctx); b[e.Partition("k")].Next < int64(acknowledged) {
				t.Fatalf("%d acknowledged, %+v", acknowledged, b)
			}
			e.Close(context.Background())
		})
	}
}

// The disk may also fail while the journal is opened.
func TestEmbeddedOpenOnBrokenDisk(t *testing.T) {
	for _, pattern := range []string{"MANIFEST*", "*.log", "marker*", "OPTIONS*", "log-*", noteName} {
		for _, op := range []string{"create", "open", "write", "sync"} {
			dir, fs := t.TempDir(), &brokenFS{FS: vfs.Default}
			fs.break_(func(o, name string) error {
				if ok, _ := filepath.Match(pattern, name); ok && o == op {
					return syscall.EIO
				}
				return nil
			})
			e, err := OpenEmbedded(dir, EmbeddedOptions{fs: fs})
			if err == nil {
				e.Close(context.Background())
				t.Logf("%s of %s: not noticed", op, pattern)
				continue
			}
			t.Logf("%s of %s: %v", op, pattern, err)
			if !strings.Contains(err.Error(), dir) {
				t.Error("it does not say where")
			}
		}
	}
}

func TestEmbeddedSlowDisk(t *testing.T) {
	t.Parallel()
	fs := &brokenFS{FS: vfs.Default}
	e := openTest(t, t.TempDir(), EmbeddedOptions{MaxPendingBytes: 100_000, fs: fs})
	// The disk takes as long for a sync as the test likes.
	hold := func() (begun chan bool, goOn func()) {
		begun, held := make(chan bool, 1000), make(chan bool)
		fs.break_(func(op, name string) error {
			if op == "sync" && segmentNumber(name) > 0 {
				begun <- true
				<-held
			}
			return nil
		})
		return begun, func() { close(held) }
	}
	begun, goOn := hold()
	var err error
	taken, acks := 0, make(chan error, 1000)
	full := make(chan bool)
	go func() {
		defer close(full)
		for err == nil {
			if err = e.Append(Record{"k", make([]byte, 1000)}, func(_ Position, err error) { acks <- err }); err == nil {
				taken++
			}
		}
	}()
	select {
	case <-full:
	case <-time.After(time.Minute):
		t.Fatal("the appends wait for the disk")
	}
	if !errors.Is(err, ErrFull) || taken > 100 {
		t.Fatalf("after %d: %v", taken, err)
	}
	<-begun
	e.mu.Lock()
	e.oldest = time.Now().Add(-time.Minute)
	e.mu.Unlock()
	if err := e.Ping(context.Background()); err == nil || !strings.Contains(err.Error(), " for 1m") {
		t.Errorf("Ping: %v", err)
	}
	// Room is waited for by what is not an append.
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := e.Table("state").Put(ctx, "k", make([]byte, 50_000)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v", err)
	}
	put := make(chan error, 1)
	go func() { put <- e.Table("state").Put(context.Background(), "k", make([]byte, 50_000)) }()
	goOn()
	if err := <-put; err != nil {
		t.Error(err)
	}
	for range taken {
		if err := <-acks; err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Table("state").Put(context.Background(), "k", nil); err != nil { // now the queue is empty
		t.Fatal(err)
	}
	begun, goOn = hold()
	e.Append(Record{"k", []byte("x")}, func(_ Position, err error) { acks <- err })
	<-begun // it is being synced; the next waits
	e.Append(Record{"k", []byte("x")}, func(_ Position, err error) { acks <- err })
	if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	goOn()
	if err := <-acks; err != nil {
		t.Errorf("the append that was being synced: %v", err)
	}
	if err := <-acks; !errors.Is(err, ErrClosed) {
		t.Errorf("the append that Close did not wait for: %v", err)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Errorf("waiting for Close: %v", err)
	}
}

// filledRecords are so many that the log has several segments of filledSegment.
const filledRecords, filledSegment = 700, 1 << 20

// filled returns copies of the folder of a journal with filledRecords records: as a kill leaves it, as a
// power cut leaves it when nothing that was not synced has come to the disk, and as Close leaves it.
func filled(t *testing.T) (killed, cut, closed string) {
	t.Helper()
	dir := t.TempDir()
	killed, cut, closed = t.TempDir(), t.TempDir(), t.TempDir()
	e := openTest(t, dir, EmbeddedOptions{segmentBytes: filledSegment})
	for i := 0; i < filledRecords; i += 50 {
		acks := make(chan error, 50)
		for k := range 50 {
			value := fmt.Sprintf("%d %s", i+k, strings.Repeat("x", 5000))
			if err := e.Append(Record{"k", []byte(value)}, func(_ Position, err error) { acks <- err }); err != nil {
				t.Fatal(err)
			}
		}
		for range 50 {
			if err := <-acks; err != nil {
				t.Fatal(err)
			}
		}
	}
	// What the writer does between two batches is over when the next one is durable.
	if err := e.Table("state").Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, killed, dir, "*")
	copyFolder(t, cut, dir, "*")
	if err := os.Remove(filepath.Join(cut, noteName)); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, closed, dir, "*")
	return killed, cut, closed
}

func copyFolder(t *testing.T, to, from, pattern string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(from, pattern))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // an old log, deleted meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// expectRecords checks that the first n records of partition "k" are there and
// no more.
func expectRecords(t *testing.T, e *Embedded, n int64) {
	t.Helper()
	p := &e.parts[e.Partition("k")]
	if p.durable != n {
		t.Fatalf("%d records are there, not %d", p.durable, n)
	}
	for next := int64(0); next < n; {
		entries, err := e.read(e.Partition("k"), next, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if !strings.HasPrefix(string(entry.Value), fmt.Sprint(next, " x")) {
				t.Fatalf("record %d is damaged", next)
			}
			next++
		}
	}
}

// expectRefused checks that the journal does not open and says what to do, and
// leaves the folder unlocked.
func expectRefused(t *testing.T, dir string) {
	t.Helper()
	e, err := OpenEmbedded(dir, EmbeddedOptions{Logf: t.Logf})
	if err == nil {
		e.Close(context.Background())
		t.Fatalf("it opened with %+v", e.parts[e.Partition("k")])
	}
	t.Log(err)
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "resync") {
		t.Error("it does not say where and what next")
	}
	if e, err := OpenEmbedded(dir, EmbeddedOptions{}); err == nil {
		e.Close(context.Background())
		t.Error("it opened at the second time")
	} else if errors.Is(err, ErrInUse) {
		t.Error("it stays locked")
	}
}

// lastSegment is the one that has records, and its content.
func lastSegment(t *testing.T, dir string) (string, []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log-*"))
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	for i := len(names) - 1; i >= 0; i-- {
		content, err := os.ReadFile(names[i])
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > 10_000 {
			return names[i], content
		}
	}
	t.Fatal("there is no segment with records")
	return "", nil
}

func TestEmbeddedTornLog(t *testing.T) {
	t.Parallel()
	killed, cut, closed := filled(t)
	tear := func(dir string) {
		name, content := lastSegment(t, dir)
		if err := os.Truncate(name, int64(len(content)-100)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("after a kill it is damage", func(t *testing.T) {
		tear(killed)
		expectRefused(t, killed)
	})
	t.Run("after a power cut what is torn is gone, if nobody can tell that it was durable", func(t *testing.T) {
		tear(cut)
		for range 2 {
			e := openTest(t, cut, EmbeddedOptions{})
			expectRecords(t, e, filledRecords-1)
			e.Close(context.Background())
		}
	})
	t.Run("after Close it is damage", func(t *testing.T) {
		tear(closed)
		expectRefused(t, closed)
	})
}

func flip(t *testing.T, name string, content []byte, at int) {
	t.Helper()
	content[at] ^= 0x10
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedFlippedByteInLog(t *testing.T) {
	t.Parallel()
	flipAt := func(t *testing.T, dir string, part float64) {
		name, content := lastSegment(t, dir)
		flip(t, name, content, int(float64(len(content)-1)*part))
	}
	for _, part := range []float64{0, 0.5, 1} {
		t.Run(fmt.Sprint("in the last segment at ", part), func(t *testing.T) {
			killed, cut, closed := filled(t)
			flipAt(t, killed, part)
			expectRefused(t, killed)
			flipAt(t, closed, part)
			expectRefused(t, closed)
			if flipAt(t, cut, part); part == 0 { // behind it are witnesses
				expectRefused(t, cut)
			}
		})
	}
	t.Run("the last segment is missing", func(t *testing.T) {
		killed, _, closed := filled(t)
		for _, dir := range []string{killed, closed} {
			name, _ := lastSegment(t, dir)
			os.Remove(name)
			expectRefused(t, dir)
		}
	})
	t.Run("another segment is missing", func(t *testing.T) {
		_, cut, _ := filled(t)
		os.Remove(filepath.Join(cut, segmentName(2)))
		expectRefused(t, cut)
	})
	t.Run("in a segment that is not read at opening", func(t *testing.T) {
		_, _, closed := filled(t)
		name := filepath.Join(closed, segmentName(2))
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		flip(t, name, content, len(content)/2)
		expectFailsReading(t, closed)
	})
}

// expectFailsReading consumes until the journal has seen that it is damaged.
func expectFailsReading(t *testing.T, dir string) {
	t.Helper()
	e := openTest(t, dir, EmbeddedOptions{})
	defer e.Close(context.Background())
	c := newCollector()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.Consume(ctx, c); !errors.Is(err, ErrClosed) {
		t.Errorf("Consume returned %v", err)
	} else {
		t.Log(err)
	}
	if err := e.Append(Record{"k", nil}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Append returned %v", err)
	}
	if len(c.entries) == 0 {
		t.Error("nothing was delivered")
	}
	for i, entry := range c.entries {
		if !strings.HasPrefix(string(entry.Value), fmt.Sprint(i, " x")) {
			t.Errorf("entry %d is damaged", i)
		}
	}
}

// What is not in the log is in a table of pebble's.
func TestEmbeddedFlippedByteInTable(t *testing.T) {
	dir := t.TempDir()
	var records []Record
	for i := range filledRecords {
		records = append(records, Record{"k", []byte(fmt.Sprint(i, " ", strings.Repeat("x", 5000)))})
	}
	formerJournal(t, dir, 8, records, 1)
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	content, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		t.Fatal(err)
	}
	flip(t, names[len(names)-1], content, len(content)/2)
	expectFailsReading(t, dir)
}
