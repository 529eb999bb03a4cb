package harness

import (
	"context"
	"os"
	"testing"
	"time"
)

// What is paused does nothing any more, also if there are more processes than processors, so
// that some hear of it late.
func TestPausedStandsStill(t *testing.T) {
	u, err := newUnit(tempDir(), "busy", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	busy := command{args: []string{"/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do while :; do echo; done & done; wait"}, env: os.Environ()}
	if err := u.begin(background, busy, func(context.Context) bool { return fileSize(u.logFile()) > 0 }); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := u.pause(); err != nil {
			t.Fatal(err)
		}
		before := fileSize(u.logFile())
		time.Sleep(20 * time.Millisecond)
		if behind := fileSize(u.logFile()); behind != before {
			t.Fatalf("%d bytes were written while it was paused", behind-before)
		}
		if err := u.resume(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
