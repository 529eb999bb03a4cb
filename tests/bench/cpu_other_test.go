//go:build !unix

package bench

import "time"

var began = time.Now()

// cpuTime is the time itself where that of processors is not told.
func cpuTime() time.Duration { return time.Since(began) }
