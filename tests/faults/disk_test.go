package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// No file of the gateway may grow over a limit, as if the disk was full: writes
// are refused, and nothing that was acknowledged is lost once there is room
// again.
func TestFullDisk(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	r.inFolder()
	r.options += "\njournal_timeout 2s"
	g := r.start()
	// The limit is not that of a disk but of the size of files, which needs no
	// privileges. Writes that go over it fail as those to a full disk do.
	limited := filepath.Join(t.TempDir(), "limited")
	script := fmt.Sprintf("#!/bin/sh\nexec prlimit --fsize=%d %s \"$@\"\n", 1<<20, binary(t))
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	l := r.write(6)
	for range *rounds {
		l.await(50, longest)
		r.wrapper = limited
		if err := g.Configure(r.gatewayOptions()); err != nil {
			t.Fatal(err)
		}
		r.restart(g)
		l.awaitNote("the journal", longest)
		time.Sleep(500 * time.Millisecond)
		r.wrapper = ""
		if err := g.Configure(r.gatewayOptions()); err != nil {
			t.Fatal(err)
		}
		r.restart(g)
		l.await(100, longest)
	}
	r.final()
}

// The gateway is killed, and what was on its way to the disk is torn: the end of the log that
// pebble has of tables and offsets is cut off or garbled, that of the records is followed by garbage.
func TestTornJournal(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	dir := r.inFolder()
	g := r.start()
	l := r.write(6)
	for n := range 3 * *rounds {
		l.await(80, longest)
		r.blow(g.Kill())
		switch n % 3 {
		case 0:
			name, end := logEnd(t, dir)
			r.blow(os.Truncate(name, end-1-rand.Int64N(min(100, end))))
		case 1:
			name, end := logEnd(t, dir)
			r.blow(overwrite(name, end-1-rand.Int64N(min(20, end)), []byte{0xff}))
		case 2:
			for _, name := range matches(t, dir, "log-*") {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				r.blow(overwrite(name, info.Size(), []byte(strings.Repeat("garbage", 10))))
			}
		}
		if err := g.Restart(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	l.await(80, longest)
	r.final()
}

// logEnd finds the newest log of pebble's and where its content ends: it is
// allocated ahead.
func logEnd(t *testing.T, dir string) (name string, end int64) {
	t.Helper()
	names := matches(t, dir, "*.log")
	name = names[len(names)-1]
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	end = int64(len(strings.TrimRight(string(content), "\x00")))
	if end < 2 {
		t.Fatalf("the log %s is empty", name)
	}
	return name, end
}

func matches(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return names
}

func overwrite(name string, at int64, with []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(with, at)
	return err
}
