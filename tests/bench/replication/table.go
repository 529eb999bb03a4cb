package replication

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Figure is one line of the table.
type Figure struct {
	Name    string  `json:"name"`
	Setting string  `json:"setting"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`

	// Plain is what Value is compared with, measured in turn with it. Ratio is the
	// median over the rounds; 0 if there is nothing to compare with.
	Plain float64 `json:"plain,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`

	Note string  `json:"note,omitempty"`
	Load float64 `json:"load"` // the machine's, when this was measured
}

// A Report is all figures of a run, and where they are from.
type Report struct {
	Date    time.Time         `json:"date"`
	Machine string            `json:"machine"`
	Cores   int               `json:"cores"`
	Source  string            `json:"source"`
	Target  string            `json:"target"`
	Flags   map[string]string `json:"flags"`
	Took    float64           `json:"took_seconds"`
	Figures []Figure          `json:"figures"`
}

// Print writes the table.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, %d cores, %s -> %s, %.0f s\n\n", r.Date.Format(time.DateOnly), r.Machine, r.Cores, r.Source, r.Target, r.Took)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tsetting\tvalue\tunit\tplain\tratio\tload\tnote")
	for _, f := range r.Figures {
		plain, ratio := "", ""
		if f.Ratio != 0 {
			plain, ratio = number(f.Plain), fmt.Sprintf("%.2f", f.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%s\n", f.Name, f.Setting, number(f.Value), f.Unit, plain, ratio, f.Load, f.Note)
	}
	return t.Flush()
}

// Write writes the report as JSON.
func (r *Report) Write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// number keeps three digits or so.
func number(v float64) string {
	switch {
	case v == float64(int64(v)), v >= 100, v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10, v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// machine says what processor this is, as far as it can be told.
func machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

// load is the machine's load of the last minute, 0 where it cannot be told.
func load() (average float64) {
	b, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(b), &average)
	}
	return average
}

// quantile is the smallest value that at least the share q of all are not above.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, min(len(sorted)-1, int(float64(len(sorted))*q+0.999999)-1))]
}

func median(all []float64) float64 { return quantile(all, 0.5) }

// A comparison is what was measured in rounds, each beside what it is compared
// with.
type comparison struct{ value, plain []float64 }

func (c *comparison) add(value, plain float64) {
	c.value, c.plain = append(c.value, value), append(c.plain, plain)
}

// figure takes the medians over the rounds.
func (c *comparison) figure(name, setting, unit string) Figure {
	ratios := make([]float64, len(c.value))
	for i := range ratios {
		ratios[i] = c.value[i] / c.plain[i]
	}
	return Figure{Name: name, Setting: setting, Value: median(c.value), Plain: median(c.plain), Unit: unit, Ratio: median(ratios),
		Note: fmt.Sprintf("%d rounds, ratios %.2f to %.2f", len(ratios), slices.Min(ratios), slices.Max(ratios))}
}
