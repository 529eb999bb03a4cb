// Package measure holds what all measurements of tests/bench say about numbers and
// about the machine.
package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Machine says what processor this is, as far as it can be told.
func Machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

// Load is the machine's load of the last minute, 0 where it cannot be told.
func Load() (average float64) {
	b, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(b), &average)
	}
	return average
}

// Quantile is the smallest value that at least the share q of all are not above.
func Quantile(all []float64, q float64) float64 {
	return Quantiles(all, q)[0]
}

// Quantiles are several at once: of many values, sorting is what takes time.
func Quantiles(all []float64, qs ...float64) []float64 {
	found := make([]float64, len(qs))
	if len(all) == 0 {
		return found
	}
	sorted := slices.Sorted(slices.Values(all))
	for i, q := range qs {
		found[i] = sorted[max(0, min(len(sorted)-1, int(float64(len(sorted))*q+0.999999)-1))]
	}
	return found
}

// Median is the middle one.
func Median(all []float64) float64 { return Quantile(all, 0.5) }

// Number keeps three digits or so.
func Number(v float64) string {
	switch {
	case v == float64(int64(v)), v >= 100, v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10, v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Write writes a report as JSON.
func Write(path string, report any) error {
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
