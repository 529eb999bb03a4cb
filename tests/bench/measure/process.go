package measure

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
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

// CPUSeconds is how long processors have worked for a process and those that it has
// started, 0 where that is not told.
func CPUSeconds(pid int) (seconds float64) {
	for _, pid := range family(pid) {
		seconds += ownSeconds(pid)
	}
	return seconds
}

// ownSeconds is how long processors have worked for a process alone.
func ownSeconds(pid int) float64 {
	const ticks = 100 // a second, in all that Linux tells
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// pid (name) state ...; the name may hold anything.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(string(f[11]), 64)
	system, _ := strconv.ParseFloat(string(f[12]), 64)
	return (user + system) / ticks
}

// OwnSeconds is how long processors have worked for this process, without those that it
// has started.
func OwnSeconds() float64 { return ownSeconds(os.Getpid()) }

// PeakMB is the most memory that a process and those that it has started have had,
// 0 where that is not told.
func PeakMB(pid int) (mb float64) {
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

// Listener is the process that listens on a port of this machine, 0 where that cannot be
// told.
func Listener(addr string) (pid int) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	number, _ := strconv.Atoi(port)
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		lines, _ := os.ReadFile(table)
		for line := range strings.Lines(string(lines)) {
			// sl local_address rem_address st queues timer retransmits uid timeout inode
			const listening = "0A"
			if f := strings.Fields(line); len(f) > 9 && f[3] == listening && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && sockets[target] {
			pid, _ = strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	return 0
}
