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
	for end := time.Now().Add(time.Minute); OwnSeconds() == 0 && time.Now().Before(end); {
	}
	own := OwnSeconds() // before the other is asked: it works on meanwhile
	if cpu, mb := CPUSeconds(os.Getpid()), PeakMB(os.Getpid()); cpu < own || own <= 0 || cpu > 60 || mb < 1 || mb > 4096 {
		t.Errorf("%v s, %v of its own, %v MB", cpu, own, mb)
	}
}
