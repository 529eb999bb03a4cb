//go:build unix

package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The log takes the space of what is in it, and none ahead.
func TestLogSpace(t *testing.T) {
	dir := t.TempDir()
	e := openTest(t, dir, EmbeddedOptions{})
	defer e.Close(context.Background())
	appendWait(t, e, "k", "v")
	if err := e.Table("t").Put(t.Context(), "k", nil); err != nil { // the writer has made the next segment
		t.Fatal(err)
	}
	var taken int64
	names := segmentFiles(t, vfs.Default, dir)
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		taken += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	if taken > 64<<10 {
		t.Errorf("one record takes %d bytes in %s", taken, names)
	}
}

// An opening for which there is no room on the disk ends, says so, and leaves all as it was.
func TestEmbeddedOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	dir, killed := t.TempDir(), t.TempDir()
	e := openTest(t, dir, EmbeddedOptions{})
	appendWait(t, e, "k", "0 x")
	for range 20 { // what pebble has to write into a table when it is opened
		if err := e.Table("t").Put(t.Context(), "k", make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	copyFolder(t, killed, dir, "*")
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	fs := &brokenFS{FS: vfs.Default}
	fs.break_(func(op, name string) error {
		if op == "create" && strings.HasSuffix(name, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})
	opened := make(chan error, 1)
	go func() {
		e, err := OpenEmbedded(killed, EmbeddedOptions{fs: fs, Logf: func(string, ...any) {}})
		if err == nil {
			e.Close(context.Background())
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), filepath.Base(killed)) || !strings.Contains(err.Error(), "free") {
			t.Error(err)
		}
		t.Log(err)
	case <-time.After(2 * time.Minute):
		t.Error("the opening hangs")
	}
	fs.breaks.Store(nil)
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) { // pebble goes on by itself and lets the folder go
		e, err := OpenEmbedded(killed, EmbeddedOptions{fs: fs, Logf: t.Logf})
		if err == nil {
			expectRecords(t, e, 1)
			e.Close(context.Background())
			return
		}
		if !errors.Is(err, ErrInUse) || time.Since(start) > 2*time.Minute {
			t.Fatal(err)
		}
	}
}
