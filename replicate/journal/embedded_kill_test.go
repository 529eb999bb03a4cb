//go:build unix

package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A process that is killed while it appends must lose nothing that was
// acknowledged, and nothing whose Append had returned. What it has done it
// writes into a mapped file, because that is as fast as the loss that is looked
// for: with pebble's log alone this test fails in most rounds.

const (
	killWriters = 8
	childEnv    = "JOURNAL_TEST_CHILD"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		killedChild(dir)
	}
	os.Exit(m.Run())
}

// counters is what the child has done: per writer the number of appends that
// have returned, and of those acknowledged.
type counters []byte

func openCounters(dir string) (counters, error) {
	f, err := os.OpenFile(filepath.Join(dir, "counters"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(killWriters * 16); err != nil {
		return nil, err
	}
	return syscall.Mmap(int(f.Fd()), 0, killWriters*16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

func (c counters) of(writer int) (returned, acknowledged []byte) {
	return c[writer*16:][:8], c[writer*16+8:][:8]
}

// killedChild appends until it is killed, by its parent or by itself: the
// earliest moment for the loss is right after Append.
func killedChild(dir string) {
	check := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	delay, _ := time.ParseDuration(os.Getenv(childEnv + "_SYNC"))
	e, err := OpenEmbedded(filepath.Join(dir, "journal"), EmbeddedOptions{fs: &brokenFS{FS: vfs.Default, delay: delay}, segmentBytes: 200 << 10})
	check(err)
	count, err := openCounters(dir)
	check(err)
	round := os.Getenv(childEnv + "_ROUND")
	suicide, _ := strconv.Atoi(os.Getenv(childEnv + "_SUICIDE"))
	fmt.Println("ready")
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			returned, acknowledged := count.of(w)
			for i := uint64(0); ; {
				n := i + 1
				if w%2 == 1 { // some append many together
					n += rand.Uint64N(200)
				}
				var records []Record
				for at := i; at < n; at++ {
					value := make([]byte, 100+rand.IntN(1000))
					binary.BigEndian.PutUint64(value, at)
					records = append(records, Record{fmt.Sprintf("%s-%d", round, w), value})
				}
				done := func(err error) {
					if err == nil {
						binary.BigEndian.PutUint64(acknowledged, n)
					}
				}
				var err error
				if n == i+1 {
					err = e.Append(records[0], func(_ Position, err error) { done(err) })
				} else {
					err = e.AppendAll(records, done)
				}
				if err != nil { // full
					time.Sleep(time.Millisecond)
					continue
				}
				i = n
				binary.BigEndian.PutUint64(returned, i)
				if suicide > 0 && int(i) == suicide && w == 0 {
					syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
				if i%10 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}

func startChild(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(append(os.Environ(), childEnv+"="+dir), env...)
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 1000)
	n, _ := stdout.Read(line)
	if string(line[:n]) != "ready\n" {
		child.Process.Kill()
		child.Wait()
		t.Fatalf("the child says %q", line[:n])
	}
	return child
}

func TestEmbeddedInUseByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	child := startChild(t, dir)
	defer child.Wait()
	defer child.Process.Kill()
	folder := filepath.Join(dir, "journal")
	if _, err := OpenEmbedded(folder, EmbeddedOptions{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), folder) {
		t.Error(err)
	} else {
		t.Log(err)
	}
}

func TestEmbeddedKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	total := 0
	for round := range 10 {
		os.Remove(filepath.Join(dir, "counters"))
		env := []string{fmt.Sprint(childEnv+"_ROUND=", round)}
		if round%2 == 1 { // a disk as in a cloud
			env = append(env, childEnv+"_SYNC=3ms")
		}
		if round%3 == 2 {
			env = append(env, fmt.Sprint(childEnv+"_SUICIDE=", 1+rand.IntN(500)))
		}
		child := startChild(t, dir, env...)
		if round%3 != 2 {
			time.Sleep(time.Duration(rand.IntN(100_000)) * time.Microsecond)
			child.Process.Kill()
		}
		child.Wait()
		total += checkKilled(t, dir, round)
	}
	t.Logf("%d records, none lost", total)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// checkKilled reads and commits everything, so that trimming is part of the
// test, and looks for holes.
func checkKilled(t *testing.T, dir string, round int) (records int) {
	t.Helper()
	count, err := openCounters(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := OpenEmbedded(filepath.Join(dir, "journal"), EmbeddedOptions{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	there := map[string]uint64{}
	for p := range e.parts {
		for next := e.parts[p].committed; next < e.parts[p].durable; {
			entries, err := e.read(int32(p), next, e.parts[p].durable)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if i := binary.BigEndian.Uint64(entry.Value); i != there[entry.Key] {
					t.Fatalf("round %d: %s: record %d where %d should be", round, entry.Key, i, there[entry.Key])
				}
				there[entry.Key]++
			}
			next += int64(len(entries))
			if err := e.Commit(ctx, int32(p), next); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.trim(int32(p), 1); err != nil {
			t.Fatal(err)
		}
	}
	for w := range killWriters {
		key := fmt.Sprintf("%d-%d", round, w)
		returned, acknowledged := count.of(w)
		r, a := binary.BigEndian.Uint64(returned), binary.BigEndian.Uint64(acknowledged)
		if n := there[key]; n < a || n < r {
			t.Errorf("round %d: of writer %d %d records are there, %d appends had returned, %d were acknowledged", round, w, n, r, a)
		}
		records += int(there[key])
	}
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return records
}
