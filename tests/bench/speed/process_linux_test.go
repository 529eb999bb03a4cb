package speed

import (
	"os"
	"testing"
	"time"
)

// TestProcess: this process has worked and has had memory. Without a /proc both are told
// as 0.
func TestProcess(t *testing.T) {
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
	}
	if cpu, mb := cpuSeconds(os.Getpid()), peakMB(os.Getpid()); cpu <= 0 || cpu > 60 || mb < 1 || mb > 4096 {
		t.Errorf("%v s, %v MB", cpu, mb)
	}
}
