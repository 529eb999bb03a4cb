package speed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// family is a process and all that it has started, such as the workers of nginx.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, family(n)...)
			}
		}
	}
	return all
}

// cpuSeconds is how long processors have worked for a process and those that it has
// started, 0 where that is not told.
func cpuSeconds(pid int) (seconds float64) {
	const ticks = 100 // a second, in all that Linux tells
	for _, pid := range family(pid) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// pid (name) state ...; the name may hold anything.
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(f) < 13 {
			continue
		}
		user, _ := strconv.ParseFloat(string(f[11]), 64)
		system, _ := strconv.ParseFloat(string(f[12]), 64)
		seconds += (user + system) / ticks
	}
	return seconds
}

// peakMB is the most memory that a process and those that it has started have had,
// 0 where that is not told.
func peakMB(pid int) (mb float64) {
	for _, pid := range family(pid) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				mb += kb / 1024
			}
		}
	}
	return mb
}

// pin makes a process run on one processor: all its threads, and those that they
// start.
func pin(ctx context.Context, pid, processor int) error {
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", strconv.Itoa(processor), strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset, which -pin needs: %w: %s", err, out)
	}
	return nil
}
