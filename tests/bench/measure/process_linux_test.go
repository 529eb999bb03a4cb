package measure

import (
	"net"
	"os"
	"testing"
	"time"
)

// TestProcess: this process has worked, has had memory, and listens. Without a /proc nothing
// of it is told.
func TestProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if pid := Listener(l.Addr().String()); pid != os.Getpid() {
		t.Errorf("%d listens, want %d", pid, os.Getpid())
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
	}
	if cpu, own, mb := CPUSeconds(os.Getpid()), OwnSeconds(), PeakMB(os.Getpid()); cpu < own || own <= 0 || cpu > 60 || mb < 1 || mb > 4096 {
		t.Errorf("%v s, %v of its own, %v MB", cpu, own, mb)
	}
}
