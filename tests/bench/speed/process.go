package speed

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
)

// pin makes a process run on one processor: all its threads, and those that they
// start.
func pin(ctx context.Context, pid, processor int) error {
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", strconv.Itoa(processor), strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset, which -pin needs: %w: %s", err, out)
	}
	return nil
}
